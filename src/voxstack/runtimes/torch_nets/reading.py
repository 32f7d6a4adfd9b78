"""Read an ONNX model and make a torch module of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import inliner

from voxstack.core.errors import NetError
from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets import (
    convolutions,
    elementwise,
    normalisations,
    pads,
    products,
    quantised,
    recurrent,
    reductions,
    selections,
    shapes,
)
from voxstack.runtimes.torch_nets.known import KNOWN, MOST
from voxstack.runtimes.torch_nets.operators import Node, Operator, known
from voxstack.runtimes.torch_nets.protos import array_of, constant_of, node_of
from voxstack.runtimes.torch_nets.steps import NOTHING, Here, Step, StepNet

__all__ = ["OPERATORS", "module_of"]

OPERATORS: Mapping[str, Operator] = {
    **elementwise.OPERATORS,
    **shapes.OPERATORS,
    **selections.OPERATORS,
    **reductions.OPERATORS,
    **products.OPERATORS,
    **convolutions.OPERATORS,
    **pads.OPERATORS,
    **normalisations.OPERATORS,
    **recurrent.OPERATORS,
    **quantised.OPERATORS,
}
"""ONNX's name of an operator → how torch runs it."""

DOMAINS = ("", "ai.onnx")


def module_of(data: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> StepNet:
    """Return a module that computes what an ONNX model does, in f32.

    Its weights are buffers: `.to()` moves them, and changes the dtype that it computes in.

    In:       data  an ONNX model that holds all of its weights
    Raises:   NetError if it is none, has other names, or needs an operator that is not here
    """
    try:
        model = onnx.load_model_from_string(data)
        if model.functions:
            model = inliner.inline_local_functions(model)
    except (DecodeError, ValueError) as error:
        raise NetError(f"cannot be loaded: {error}") from error
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    _same_names("input", inputs, [value.name for value in graph.input if value.name not in constants])
    _same_names("output", outputs, [value.name for value in graph.output])
    return _Reader(model, inputs, outputs).net()


class _Reader:
    """A model while it is read: which place each of its names has, and what is known before it runs."""

    def __init__(self, model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._model = model
        self._inputs, self._outputs = inputs, outputs
        self._places: dict[str, int] = {"": NOTHING}
        self._tensors: dict[int, torch.Tensor] = {}
        self._known: dict[int, Array] = {}
        self._here = Here(torch.zeros(0), {})

    def net(self) -> StepNet:
        for tensor in self._model.graph.initializer:
            self._keep(self._place(tensor.name), array_of(tensor))
        inputs = [self._place(name) for name in self._inputs]
        nodes = self._needed()
        _refuse(nodes)
        steps = [step for node in nodes if (step := self._step(node)) is not None]
        outputs = [self._place(name) for name in self._outputs]
        read = {place for step in steps for place in step.takes} | {*outputs}
        return StepNet(
            steps,
            {place: tensor for place, tensor in self._tensors.items() if place in read},
            {place: array for place, array in self._known.items() if place in read},
            inputs,
            outputs,
        ).eval()

    def _place(self, name: str) -> int:
        return self._places.setdefault(name, len(self._places))

    def _keep(self, place: int, value: torch.Tensor | Array) -> None:
        """Keep a value that is there before the net runs: small whole numbers and single ones as known."""
        is_small = value.size <= MOST if isinstance(value, np.ndarray) else False
        if isinstance(value, np.ndarray) and is_small and (value.dtype.kind != "f" or value.size == 1):
            self._known[place] = value
        else:
            self._tensors[place] = torch.tensor(value) if isinstance(value, np.ndarray) else value

    def _needed(self) -> list[tuple[onnx.NodeProto, Node]]:
        """Return the nodes from which an output follows, in the order in which they run."""
        opset = max(o.version for o in self._model.opset_import if o.domain in DOMAINS)
        wanted = {*self._outputs}
        kept: list[tuple[onnx.NodeProto, Node]] = []
        for proto in reversed(self._model.graph.node):
            if not wanted.intersection(proto.output):
                continue
            gives = tuple(name in wanted and name != "" for name in proto.output)
            wanted.update(name for name in proto.input if name)
            kept.append((proto, node_of(proto, opset, gives)))
        return kept[::-1]

    def _step(self, named: tuple[onnx.NodeProto, Node]) -> Step | None:
        """Return a node's step; None where what it gives is known already."""
        proto, node = named
        gives = tuple(
            self._place(name) if is_read else NOTHING
            for name, is_read in zip(proto.output, node.gives, strict=True)
        )
        if proto.op_type == "Constant":
            self._keep(gives[0], constant_of(node))
            return None
        takes = tuple(self._place(name) for name in proto.input)
        label = f"{proto.op_type} '{proto.name or next(filter(None, proto.output), '')}'"
        step = Step(label, _Call(node, OPERATORS[node.op], KNOWN.get(node.op)), takes, gives)
        return None if self._folded(step) else step

    def _folded(self, step: Step) -> bool:
        """Run a step of constants now, unless what it gives is much larger than what it takes."""
        if not all(
            place == NOTHING or place in self._tensors or place in self._known for place in step.takes
        ):
            return False
        values = [self._tensors.get(place, self._known.get(place)) for place in step.takes]
        with torch.no_grad():
            result = step.call(self._here, *values)
        results = result if isinstance(result, tuple) else (result,)
        if sum(map(_count, results)) > max(MOST, sum(_count(value) for value in values if value is not None)):
            return False
        for place, value in zip(step.gives, results, strict=False):
            if place != NOTHING:
                self._keep(place, value)
        return True


class _Call:
    """A node as a step calls it: with known values in numpy where it can be, else with tensors."""

    __slots__ = ("_compute", "_node", "_operator")

    def __init__(self, node: Node, operator: Operator, compute: Any) -> None:
        self._node = node
        self._operator = operator
        self._compute = compute

    def __call__(self, here: Here, *values: Any) -> Any:
        has_arrays = any(isinstance(value, np.ndarray) for value in values)
        if has_arrays and self._compute and not any(isinstance(value, torch.Tensor) for value in values):
            found = self._compute(self._node, *values)
            found = tuple(map(np.asarray, found)) if isinstance(found, tuple) else np.asarray(found)
            if sum(map(_count, found if isinstance(found, tuple) else (found,))) <= MOST:
                return found
        if has_arrays or self._operator.known:
            values = tuple(self._handed(here, values, place) for place in range(len(values)))
        if self._operator.places:
            return self._operator.function(self._node, here.like, *values)
        return self._operator.function(self._node, *values)

    def _handed(self, here: Here, values: tuple[Any, ...], place: int) -> Any:
        """Return an input as the operator's function takes it."""
        value = values[place]
        if value is None:
            return None
        if place in self._operator.known:
            return known(value)
        if isinstance(value, torch.Tensor) or (place in self._operator.numbers and value.ndim == 0):
            return value
        if self._operator.scalars and value.size == 1 and _has_wider(values, value.ndim):
            return value.item()
        return here.tensor(value)


def _has_wider(values: tuple[Any, ...], rank: int) -> bool:
    return any(isinstance(value, torch.Tensor) and value.ndim >= rank for value in values)


def _count(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else int(value.size)


def _refuse(nodes: Sequence[tuple[onnx.NodeProto, Node]]) -> None:
    """Raise NetError if the nodes are not all such as torch can run."""
    unknown = {
        f"{proto.domain}.{node.op}" if proto.domain not in DOMAINS else node.op
        for proto, node in nodes
        if proto.domain not in DOMAINS or (node.op not in OPERATORS and node.op != "Constant")
    }
    if unknown:
        raise NetError(
            f"needs operators that the runtime torch does not have: {', '.join(sorted(unknown))}; "
            "run it on onnxruntime"
        )
    for _, node in nodes:
        fault = "" if node.op == "Constant" else OPERATORS[node.op].refuses(node)
        if fault:
            raise NetError(
                f"needs {node.op} with {fault}, which the runtime torch does not have; run it on onnxruntime"
            )


def _same_names(what: str, declared: Sequence[str], real: Sequence[str]) -> None:
    if set(declared) != set(real):
        raise NetError(f"addon.json names the {what}s {sorted(declared)}, the file has {sorted(real)}")
