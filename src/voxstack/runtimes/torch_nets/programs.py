"""Keep a net that torch.export has made for one set of sizes, and read it back without trusting it.

`torch.export.load` is not used: it unpickles what an archive asks it to unpickle, and executes text that
stands in it. Here a program is a list of calls in JSON, beside its tensors; reading one makes tensors
and numbers, and refuses every call that is not in a list of harmless ones.
Source:   torch.load with weights_only, which makes tensors, numbers, strings and lists, and nothing else
"""

import io
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from voxstack.core.errors import NetError
from voxstack.runtimes.torch_nets.steps import Here, Step, StepNet

__all__ = ["CALLS", "START", "program_of", "read_program"]

START = b"PK"
"""How a program begins, and no ONNX file does."""

FORMAT = 1

CALLS = frozenset(
    """
    abs acos add alias amax amin arange argmax argmin asin atan avg_pool1d avg_pool2d avg_pool3d batch_norm
    cat ceil celu chunk clamp conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cos
    cosh cumsum detach_ div einsum elu eq erf exp expand flip floor fmod full gather ge gelu group_norm gru
    gt index index_select instance_norm isinf isnan isneginf isposinf layer_norm le leaky_relu
    lift_fresh_copy linear log log_softmax logical_and logical_not logical_or logical_xor logsumexp lstm
    lstm_cell lt matmul max_pool1d max_pool2d max_pool3d maximum mean minimum mish mul neg new_full
    new_zeros numpy_T ones_like pad permute pow prod reciprocal relu remainder repeat repeat_interleave
    reshape rms_norm rnn_relu rnn_tanh round rsqrt rsub scatter scatter_reduce select sigmoid sign sin sinh
    slice softmax softplus split_with_sizes sqrt square squeeze stack sub sum tan tanh threshold to
    transpose tril triu unbind unsqueeze where zeros zeros_like
    """.split()  # noqa: SIM905 - as a list they would be ten times as many lines
)
"""Operators of torch that a program may call: those that compute tensors of tensors."""

Tensor = torch.Tensor


def program_of(module: StepNet, examples: Sequence[Tensor]) -> bytes:
    """Return a net as a program for the sizes of `examples`.

    Raises:   NetError if its sizes follow from the values that it is given
    """
    module.requires_grad_(False)
    try:
        exported = torch.export.export(module, tuple(examples), strict=False)
    except Exception as error:  # torch.export raises many unrelated classes
        text = (error.what if isinstance(error, NetError) else str(error)).strip().splitlines()
        raise NetError(
            f"cannot be compiled ahead of time: {text[0] if text else type(error).__name__}"
        ) from error
    return _Writer(exported).written()


def read_program(data: bytes) -> StepNet:
    """Return the module that a program describes.

    Raises:   NetError if it is damaged, or calls what no net calls
    """
    try:
        kept = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        program = json.loads(kept["program"])
        if program["format"] != FORMAT:
            raise NetError(f"is a program of format {program['format']!r}, this voxstack reads {FORMAT}")
        tensors = {int(place): tensor for place, tensor in kept["tensors"].items()}
        steps = [_step(step) for step in program["steps"]]
        return StepNet(steps, tensors, {}, program["inputs"], program["outputs"]).eval()
    except NetError:
        raise
    except Exception as error:  # what a damaged file raises has no end
        raise NetError(f"is no program that can be read: {type(error).__name__}") from error


class _Writer:
    """An exported graph while it is written: which place each of its nodes has."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        self._exported = exported
        self._places: dict[torch.fx.Node, int] = {}

    def written(self) -> bytes:
        graph, signature = self._exported.graph, self._exported.graph_signature
        names = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
        names |= signature.inputs_to_lifted_tensor_constants
        held = {**self._exported.state_dict, **self._exported.constants}
        tensors: dict[str, Tensor] = {}
        inputs: list[int] = []
        steps: list[dict[str, Any]] = []
        outputs: list[Any] = []
        read = _read(graph)
        for node in graph.nodes:
            place = self._places[node] = len(self._places) + 1
            if node.op == "output":
                outputs = [self._places[value] for value in node.args[0]]
            elif node.op == "placeholder" and node.name not in names:
                inputs.append(place)
            elif node not in read:
                continue
            elif node.op == "placeholder":
                tensors[str(place)] = held[names[node.name]].detach().clone().contiguous()
            else:
                steps.append(self._step(node, place))
        program = {"format": FORMAT, "inputs": inputs, "outputs": outputs, "steps": steps}
        buffer = io.BytesIO()
        torch.save({"program": json.dumps(program), "tensors": tensors}, buffer)
        return buffer.getvalue()

    def _step(self, node: torch.fx.Node, place: int) -> dict[str, Any]:
        name = "getitem" if node.target is operator.getitem else str(node.target)
        _call(name)  # what could not be read is not written
        return {
            "call": name,
            "args": [self._plain(argument) for argument in node.args],
            "kwargs": {key: self._plain(argument) for key, argument in node.kwargs.items()},
            "gives": place,
        }

    def _plain(self, argument: Any) -> Any:
        """Return an argument as JSON has it: what JSON lacks is an object of one key."""
        match argument:
            case torch.fx.Node():
                return {"place": self._places[argument]}
            case list() | tuple():
                return [self._plain(item) for item in argument]
            case torch.dtype():
                return {"dtype": str(argument).removeprefix("torch.")}
            case torch.device():
                return {"device": None}
            case torch.layout():
                return {"layout": str(argument).removeprefix("torch.")}
            case torch.memory_format():
                return {"memory_format": str(argument).removeprefix("torch.")}
            case None | bool() | int() | float() | str():
                return argument
        raise NetError(
            f"cannot be compiled ahead of time: it needs an argument of type {type(argument).__name__}"
        )


def _read(graph: torch.fx.Graph) -> set[torch.fx.Node]:
    """Return the nodes from which an output follows; checks that torch.export adds are none of them."""
    found: set[torch.fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in found:
            found.update(node.all_input_nodes)
    return found


def _call(name: str) -> Callable[..., Any]:
    """Return what a program may call by a name; raise NetError."""
    if name == "getitem":
        return operator.getitem
    space, _, rest = name.partition(".")
    called, _, overload = rest.partition(".")
    found = getattr(getattr(torch.ops.aten, called), overload, None) if called in CALLS else None
    if space != "aten" or not isinstance(found, torch._ops.OpOverload):  # noqa: SLF001 - it has no public name
        raise NetError(f"calls '{name}', which no net of this voxstack calls; nothing of it was run")
    return found


def _step(step: Mapping[str, Any]) -> Step:
    read: list[int] = []
    args = [_argument(argument, read) for argument in step["args"]]
    kwargs = {key: _argument(argument, read) for key, argument in step["kwargs"].items()}
    return Step(
        step["call"], _Call(_call(step["call"]), args, kwargs, read), tuple(read), (int(step["gives"]),)
    )


class _Place:
    """Stands in an argument for a value that the step takes; without a number, for the device."""

    def __init__(self, number: int | None) -> None:
        self.number = number


def _argument(plain: Any, read: list[int]) -> Any:
    """Return an argument; the places that it names are added to `read`."""
    if isinstance(plain, list):
        return [_argument(item, read) for item in plain]
    if not isinstance(plain, dict):
        return plain
    [(kind, value)] = plain.items()
    if kind == "place":
        read.append(int(value))
        return _Place(len(read) - 1)
    if kind == "device":
        return _Place(None)
    found = getattr(torch, value)
    if not isinstance(found, torch.dtype | torch.layout | torch.memory_format):
        raise NetError(f"is no program that can be read: '{value}' is no {kind}")
    return found


class _Call:
    """A call of a program, as a step makes it."""

    __slots__ = ("_args", "_function", "_kwargs", "_plain")

    def __init__(
        self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], read: list[int]
    ) -> None:
        self._function = function
        # Arguments that hold no place are the same in every run.
        self._args = [(argument, _has_place(argument)) for argument in args]
        self._kwargs = {key: (argument, _has_place(argument)) for key, argument in kwargs.items()}

    def __call__(self, here: Here, *values: Any) -> Any:
        args = [_filled(argument, here, values) if open_ else argument for argument, open_ in self._args]
        kwargs = {
            key: _filled(argument, here, values) if open_ else argument
            for key, (argument, open_) in self._kwargs.items()
        }
        result = self._function(*args, **kwargs)
        return (result,) if isinstance(result, tuple | list) else result


def _has_place(argument: Any) -> bool:
    if isinstance(argument, list):
        return any(map(_has_place, argument))
    return isinstance(argument, _Place)


def _filled(argument: Any, here: Here, values: Sequence[Any]) -> Any:
    if isinstance(argument, _Place):
        return here.like.device if argument.number is None else values[argument.number]
    return [_filled(item, here, values) if _has_place(item) else item for item in argument]
