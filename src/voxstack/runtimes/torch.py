"""Run nets on PyTorch, on a CPU or on CUDA, in f32 or in half of that.

A net is read from its ONNX file into a module (`torch_nets`); weights and floats inside it have the
chosen precision, what goes in and comes out has the dtype that addon.json says.

Threads are torch's, of the whole process: the number is set in the thread that runs a net and put back
after the run, so other work of that thread keeps its own. On CUDA f32 means f32: TF32 is turned off, for
the whole process, whenever such a net runs.

A run cannot be stopped inside an operator: it stops before the next one.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError, suggest
from voxstack.core.executables import Choice, FixedAxes, Precision
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec, TensorSpec
from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets import module_of
from voxstack.runtimes.torch_nets.captures import Capture, Captured, capture_cuda
from voxstack.runtimes.torch_nets.programs import START, program_of, read_program
from voxstack.runtimes.torch_nets.steps import StepNet

__all__ = ["NAME", "TorchExecutable", "TorchRuntime"]

NAME = "torch"
WHERE = f"runtime {NAME}"

PRECISIONS: Mapping[str, torch.dtype] = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
OPTIONS = ("graphs",)

Tensor = torch.Tensor
Run = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class TorchRuntime:
    """How PyTorch runs nets.

    threads    that one run may use, on a CPU
    device     "cpu", "cuda" or "cuda:1"
    precision  of weights and of floats inside the net
    graphs     on CUDA, run a net of fixed sizes as one captured graph
    """

    threads: int = 1
    device: str = "cpu"
    precision: Precision = "f32"
    graphs: bool = False

    name = NAME
    needs_sizes = False
    needs_artefact = False
    bound_to = None

    @classmethod
    def choose(cls, choice: Choice) -> "TorchRuntime":
        """Return the runtime that a profile asks for.

        In:       choice  its one option is `graphs`, true or false
        Raises:   ConfigError if this engine, or this machine, cannot do that
        """
        _check_device(choice.device)
        if choice.precision not in PRECISIONS:
            raise ConfigError(
                f"got precision '{choice.precision}', want {', '.join(PRECISIONS)}; "
                "nets in int8 run on onnxruntime",
                where=WHERE,
            )
        options = dict(choice.options)
        for name in options:
            if name not in OPTIONS:
                raise ConfigError(f"no option '{name}'{suggest(name, OPTIONS)}", where=WHERE)
        graphs = options.get("graphs", False)
        if not isinstance(graphs, bool):
            raise ConfigError(f"option 'graphs': got {graphs!r}, want true or false", where=WHERE)
        if graphs and choice.device == "cpu":
            raise ConfigError("option 'graphs' needs a CUDA device, got device 'cpu'", where=WHERE)
        return cls(choice.threads, choice.device, choice.precision, graphs)

    @property
    def keeps_threads(self) -> bool:
        return self.threads > 1 or self.device != "cpu"

    @property
    def version(self) -> str:
        return torch.__version__

    @property
    def locks_sizes(self) -> bool:
        """A captured graph has one size; a module takes them all."""
        return self.graphs

    def build(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> "TorchExecutable":
        with _named(spec):
            return self._open(spec, module_of(data, list(spec.inputs), list(spec.outputs)), axes)

    def compile(self, spec: NetSpec, data: bytes, axes: FixedAxes) -> bytes:
        """Return the net as torch.export makes it for these sizes; where one is free, the file as it is.

        It is exported on the CPU, and runs on any device.
        """
        with _named(spec), torch.no_grad():
            module = module_of(data, list(spec.inputs), list(spec.outputs))
            shapes = _shapes(spec, axes)
            if shapes is None:
                return data
            module = self._cast(module)
            return program_of(module, _examples(spec, shapes, axes, module.like))

    def restore(self, spec: NetSpec, artefact: bytes, axes: FixedAxes) -> "TorchExecutable":
        """Make a compiled net ready; nothing in it is unpickled but tensors and plain values."""
        if not artefact.startswith(START):
            return self.build(spec, artefact, axes)
        with _named(spec):
            return self._open(spec, read_program(artefact), axes)

    def _open(self, spec: NetSpec, module: StepNet, axes: FixedAxes) -> "TorchExecutable":
        _check_device(self.device)
        module = self._cast(module).to(self.device).requires_grad_(False)
        run: Run = module
        shapes = _shapes(spec, axes)
        captures = self.graphs and bool(axes) and shapes is not None
        if captures and shapes is not None:
            run = _captured(module, _examples(spec, shapes, axes, module.like), capture_cuda)
        return TorchExecutable(spec, run, self, axes, " as a graph" if captures else "")

    def _cast(self, module: StepNet) -> StepNet:
        """Return a module in the precision; f32 leaves the f64 that a net has."""
        return module if self.precision == "f32" else module.to(PRECISIONS[self.precision])


class TorchExecutable:
    """A net as a torch module; safe from many threads at once."""

    def __init__(self, spec: NetSpec, run: Run, engine: TorchRuntime, axes: FixedAxes, how: str = "") -> None:
        self.axes = axes
        self._spec = spec
        self._run = run
        self._engine = engine
        self._device = torch.device(engine.device)
        self._dtype = PRECISIONS[engine.precision]
        self._how = how
        self._wanted = {name: _shape(tensor, axes) for name, tensor in spec.inputs.items()} if axes else {}

    @property
    def runtime(self) -> str:
        device = self._device.type
        if device == "cuda":
            device = f"{self._device} {torch.cuda.get_device_name(self._device)}"
        return f"{NAME} {torch.__version__} {device}{self._how}"

    @property
    def precision(self) -> str:
        """What the net computes in; whole numbers stay what they are."""
        return self._engine.precision

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        results = self.run_values({name: self._borrowed(array) for name, array in feeds.items()})
        return {name: self.array(value) for name, value in results.items()}

    def value(self, array: Array) -> Tensor:
        return torch.tensor(array, device=self._device)

    def array(self, value: Tensor) -> Array:
        # A copy: an output may be an input passed through, a weight, or another output seen otherwise.
        return value.detach().cpu().contiguous().numpy().copy()

    def run_values(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scope = CancelScope.current()
        _stop_if_cancelled(scope)
        self._check_shapes(feeds)
        try:
            with torch.inference_mode(), self._as_chosen():
                results = self._run(*[self._inside(feeds[name]) for name in self._spec.inputs])
                named = zip(self._spec.outputs.items(), results, strict=True)
                outputs = {name: value.to(getattr(torch, tensor.dtype)) for (name, tensor), value in named}
        except (NetError, RuntimeError) as error:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
            text = error.what if isinstance(error, NetError) else _first_line(error)
            raise NetError(f"failed on {shapes}: {text}", where=f"net '{self._spec.name}'") from error
        _stop_if_cancelled(scope)
        return outputs

    def _borrowed(self, array: Array) -> Tensor:
        """Return an array as a tensor that may lie in the array's memory: nothing here writes to it."""
        return torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)

    def _inside(self, value: Tensor) -> Tensor:
        """Return an input as the net computes with it."""
        is_cast = value.is_floating_point() and not (
            value.dtype == torch.float64 and self._dtype == torch.float32
        )
        return value.to(self._device, self._dtype if is_cast else value.dtype)

    def _check_shapes(self, feeds: Mapping[str, Tensor]) -> None:
        for name, wanted in self._wanted.items():
            got = list(feeds[name].shape)
            if len(got) != len(wanted) or any(
                want not in (None, size) for want, size in zip(wanted, got, strict=True)
            ):
                said = ", ".join("any" if size is None else str(size) for size in wanted)
                raise NetError(
                    f"was compiled for {name} [{said}], got {got}", where=f"net '{self._spec.name}'"
                )

    @contextmanager
    def _as_chosen(self) -> Generator[None, None, None]:
        """Run with the chosen threads, or without TF32."""
        if self._device.type == "cuda":
            if self._dtype == torch.float32:
                torch.backends.cuda.matmul.allow_tf32 = False
                torch.backends.cudnn.allow_tf32 = False
            yield
            return
        before = torch.get_num_threads()
        if before == self._engine.threads:
            yield
            return
        torch.set_num_threads(self._engine.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _check_device(device: str) -> None:
    """Raise ConfigError if there is no such device; none is ever replaced by another."""
    if device == "cpu":
        return
    found = re.fullmatch(r"cuda(?::(\d+))?", device)
    if found is None:
        raise ConfigError(f"got device '{device}', want cpu, cuda or cuda:N", where=WHERE)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ConfigError(
            f"got device '{device}', but torch {torch.__version__} finds no CUDA device here", where=WHERE
        )
    if int(found[1] or 0) >= count:
        raise ConfigError(f"got device '{device}', but the last one here is cuda:{count - 1}", where=WHERE)


def _captured(module: StepNet, examples: Sequence[Tensor], capture: Capture) -> Captured:
    try:
        with torch.inference_mode():
            return Captured(module, examples, capture)
    except (NetError, RuntimeError) as error:
        text = error.what if isinstance(error, NetError) else _first_line(error)
        raise NetError(f"cannot be captured as a graph: {text}; choose the option graphs: false") from error


@contextmanager
def _named(spec: NetSpec) -> Generator[None, None, None]:
    """Say of every NetError which net it is about."""
    try:
        yield
    except NetError as error:
        raise NetError(error.what, where=f"net '{spec.name}'") from error


def _shape(tensor: TensorSpec, axes: FixedAxes) -> list[int | None]:
    return [axis if isinstance(axis, int) else axes.get(axis) for axis in tensor.axes]


def _shapes(spec: NetSpec, axes: FixedAxes) -> dict[str, list[int]] | None:
    """Return the shape of each input; None if one is not fixed. A batch that nobody fixed is of one."""
    shapes = {name: _shape(tensor, {BATCH: 1, **axes}) for name, tensor in spec.inputs.items()}
    found = {name: [size for size in shape if size is not None] for name, shape in shapes.items()}
    return found if all(len(found[name]) == len(shape) for name, shape in shapes.items()) else None


def _examples(
    spec: NetSpec, shapes: Mapping[str, Sequence[int]], axes: FixedAxes, like: Tensor
) -> list[Tensor]:
    """Return inputs of an utterance that fills every size: a net must be able to run on them."""
    ragged = spec.ragged
    examples: list[Tensor] = []
    for name, tensor in spec.inputs.items():
        dtype = getattr(torch, tensor.dtype)
        dtype = like.dtype if dtype in PRECISIONS.values() else dtype
        fill = 0
        if ragged is not None and name == ragged.mask:
            fill = 1
        elif ragged is not None and name == ragged.lengths:
            fill = axes[ragged.axis]
        examples.append(torch.full(shapes[name], fill, dtype=dtype, device=like.device))
    return examples


def _stop_if_cancelled(scope: CancelScope | None) -> None:
    if scope is not None and scope.is_cancelled:
        raise Cancelled("the stream was closed")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
