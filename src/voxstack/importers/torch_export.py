"""Turn a torch module into an ONNX net as addons hold them: one plain graph with named, typed edges."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.vits_parity import TOLERANCE, open_session

__all__ = ["Axes", "Example", "check_close", "export_graph", "run_net"]

Json = dict[str, Any]
Axes = tuple[str | int, ...]
OPSET = 18
"""What torch's exporter writes without converting; a lower one would go through ONNX's version converter."""


@dataclass(frozen=True)
class Example:
    """An input as it is traced: a tensor, and what its axes are called.

    A name is a free axis: the same name is the same size everywhere, and in the example no two names have
    the same size, nor any the size 1, which a tracer takes for a constant. "batch" may be 1 nevertheless:
    the net then keeps to a batch of one.
    """

    value: Any
    axes: Axes
    random: str | None = None


def export_graph(
    module: Any,
    inputs: Mapping[str, Example],
    outputs: Mapping[str, Axes],
    *,
    call: Callable[..., Any] | None = None,
    opset: int = OPSET,
) -> Graph:
    """Trace a torch module and return its graph, folded, without functions or data in other files.

    In:       module   called with the examples in their order; returns a tensor or a tuple of them
              inputs   by the names that the net's inputs get
              outputs  their axes, by the names that the module's results get, in their order
              call     what is traced instead of the module's forward: call(module, *examples)
    Raises:   ImporterError where the module cannot be traced, a free axis was traced as a constant, or an
              input is not read
    """
    sizes = _sizes(inputs)
    model = onnx.inliner.inline_local_functions(_trace(_called(module, call), inputs, tuple(outputs), opset))
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ImporterError("torch kept the weights apart from the graph; want one model that holds them")
    graph = Graph.read(model)
    if len(graph.outputs) != len(outputs):
        raise ImporterError(f"the module gives {len(graph.outputs)} tensors, want {sorted(outputs)}")
    _check_free(graph, inputs, sizes)
    kinds = {edge.name: edge.dtype for edge in (*graph.inputs, *graph.outputs)}
    graph.inputs = [Edge(name, kinds[name], example.axes) for name, example in inputs.items()]
    graph.outputs = [Edge(name, kinds[name], axes) for name, axes in outputs.items()]
    fold(graph)
    unread = [edge.name for edge in graph.inputs if not graph.users(edge.name)]
    if unread:
        raise ImporterError(f"nothing that the module gives depends on its inputs {unread}")
    return graph


def run_net(net: CutNet, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a net once, plainly, with what it takes of `feeds` in its own layout."""
    session = open_session(net.model)
    names = [item.name for item in session.get_outputs()]
    results = session.run(names, {item.name: feeds[item.name] for item in session.get_inputs()})
    return dict(zip(names, [np.asarray(result) for result in results], strict=True))


def check_close(what: str, got: NDArray[Any], want: NDArray[Any], *, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference between what a net gives and what its module gives.

    Raises:   ImporterError above the tolerance, or where the shapes differ
    """
    if got.shape != want.shape:
        raise ImporterError(f"{what}: the net gives {list(got.shape)}, the model {list(want.shape)}")
    difference = float(np.abs(got - want).max(initial=0.0))
    if not difference <= tolerance:
        raise ImporterError(
            f"{what}: the net differs from the model by {difference:.2g}, want at most {tolerance:g}"
        )
    return difference


def _sizes(inputs: Mapping[str, Example]) -> dict[str, int]:
    """Return the size of each free axis; a size that stands for two names could not be told apart."""
    sizes: dict[str, int] = {}
    for name, example in inputs.items():
        if len(example.axes) != example.value.ndim:
            raise ImporterError(f"example '{name}' has {example.value.ndim} axes, want {list(example.axes)}")
        for axis, size in zip(example.axes, example.value.shape, strict=True):
            if isinstance(axis, int) and axis != size:
                raise ImporterError(f"example '{name}' has {size} where its axes say {axis}")
            if isinstance(axis, str) and sizes.setdefault(axis, int(size)) != size:
                raise ImporterError(f"'{axis}' is {size} long in example '{name}', {sizes[axis]} in another")
    free = [size for axis, size in sizes.items() if axis != "batch" or size > 1]
    if 1 in free or len(set(free)) != len(free):
        raise ImporterError(f"free axes need sizes of their own above 1; got {sizes}")
    return sizes


def _called(module: Any, call: Callable[..., Any] | None) -> Any:
    """Return a module whose forward is a call of another module, or a function of one."""
    import torch  # pyright: ignore[reportMissingImports]

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *examples: Any) -> Any:
            return call(self.inner, *examples) if call else self.inner(*examples)

    return Called().eval()


def _trace(
    module: Any, inputs: Mapping[str, Example], outputs: tuple[str, ...], opset: int
) -> onnx.ModelProto:
    import torch  # pyright: ignore[reportMissingImports]

    sizes = _sizes(inputs)
    dims = {axis: torch.export.Dim(axis) for axis, size in sizes.items() if size > 1}
    shapes = tuple(
        {place: dims[axis] for place, axis in enumerate(example.axes) if axis in dims}
        for example in inputs.values()
    )
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(example.value for example in inputs.values()),
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its many passes raise
        what = ", ".join(outputs)
        raise ImporterError(f"torch cannot export what makes {what}: {_line(error)}") from error
    assert program is not None
    return program.model_proto


def _check_free(graph: Graph, inputs: Mapping[str, Example], sizes: Mapping[str, int]) -> None:
    """Refuse a graph in which the tracer fixed an axis that must stay free."""
    for edge in graph.inputs:
        for axis, got in zip(inputs[edge.name].axes, edge.axes or (), strict=True):
            if isinstance(axis, str) and sizes[axis] > 1 and isinstance(got, int):
                raise ImporterError(f"torch fixed '{axis}' of '{edge.name}' to {got}; want it free")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice, progress and deprecations to itself: what goes wrong is raised."""
    names = ("torch", "torch.__trace", "torch.onnx", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _line(error: BaseException) -> str:
    """Return what the innermost error says, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    return text.partition("\n")[0]
