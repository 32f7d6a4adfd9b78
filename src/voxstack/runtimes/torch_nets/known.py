"""Compute what follows from sizes alone, in numpy: no tensor, no device, nothing for a trace to record."""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import TYPES, Node
from voxstack.runtimes.torch_nets.reductions import reduced_axes
from voxstack.runtimes.torch_nets.selections import slices_of
from voxstack.runtimes.torch_nets.shapes import axes_of, reshaped, split_sizes, stretched, transposed

__all__ = ["KNOWN", "MOST"]

MOST = 64
"""Elements of a known value; what is larger is no size but data, and becomes a tensor."""

NUMPY = {number: str(dtype).removeprefix("torch.") for number, dtype in TYPES.items()}
NUMPY |= {10: "float32", 16: "float32"}
"""ONNX's number of a dtype → numpy's; known values have one kind of small float."""

Known = Callable[..., Array | tuple[Array, ...]]


def _of_two(function: Callable[[Array, Array], Array]) -> Known:
    return lambda _, a, b: function(a, b)


def _of_one(function: Callable[[Array], Array]) -> Known:
    return lambda _, x: function(x)


def _of_many(function: Callable[[Array, Array], Array]) -> Known:
    return lambda _, *values: functools.reduce(function, values)


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    return (np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)).astype(a.dtype)


def _modulo(node: Node, a: Array, b: Array) -> Array:
    return np.fmod(a, b) if node.get("fmod", 0) else np.mod(a, b)


def _squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    has_axes = axes is not None or "axes" in node.attributes
    return np.squeeze(x, tuple(axes_of(node, axes, x.ndim)) if has_axes else None)


def _unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    count = len(node.get("axes", [])) if axes is None else axes.size
    return np.expand_dims(x, tuple(axes_of(node, axes, x.ndim + count)))


def _slice(node: Node, x: Array, *given: Array | None) -> Array:
    starts, ends, axes, steps = (*given, None, None, None, None)[:4]
    parts = slices_of(node, list(x.shape), starts, ends, axes, steps)
    return x[tuple(parts.get(axis, slice(None)) for axis in range(x.ndim))]


def _split(node: Node, x: Array, parts: Array | None = None) -> tuple[Array, ...]:
    axis = node.get("axis", 0)
    ends = np.cumsum(split_sizes(node, x.shape[axis], parts))[:-1]
    return tuple(np.split(x, ends, axis))


def _constant_of_shape(node: Node, shape: Array) -> Array:
    value = node.get("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(()), shape.tolist())


def _range(node: Node, start: Array, limit: Array, step: Array) -> Array:
    del node
    return np.arange(start.item(), limit.item(), step.item()).astype(start.dtype)


def _reduction(function: Callable[..., Array]) -> Known:
    def run(node: Node, x: Array, axes: Array | None = None) -> Array:
        along = reduced_axes(node, axes, x.ndim)
        kept = bool(node.get("keepdims", 1))
        return function(x, axis=tuple(along), keepdims=kept).astype(x.dtype) if along else x

    return run


KNOWN: Mapping[str, Known] = {
    "Identity": _of_one(lambda x: x),
    "Add": _of_two(np.add),
    "Sub": _of_two(np.subtract),
    "Mul": _of_two(np.multiply),
    "Div": _of_two(_divide),
    "Mod": _modulo,
    "Max": _of_many(np.maximum),
    "Min": _of_many(np.minimum),
    "Neg": _of_one(np.negative),
    "Abs": _of_one(np.abs),
    "Floor": _of_one(np.floor),
    "Ceil": _of_one(np.ceil),
    "Sqrt": _of_one(np.sqrt),
    "Reciprocal": _of_one(lambda x: (1 / x).astype(x.dtype)),
    "Equal": _of_two(np.equal),
    "Less": _of_two(np.less),
    "LessOrEqual": _of_two(np.less_equal),
    "Greater": _of_two(np.greater),
    "GreaterOrEqual": _of_two(np.greater_equal),
    "And": _of_two(np.logical_and),
    "Or": _of_two(np.logical_or),
    "Not": _of_one(np.logical_not),
    "Where": lambda _, condition, yes, no: np.where(condition, yes, no),
    "Cast": lambda node, x: x.astype(NUMPY[node.attributes["to"]]),
    "Shape": lambda node, x: np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64),
    "Size": lambda _, x: np.array(x.size, np.int64),
    "Reshape": lambda node, x, shape: x.reshape(reshaped(node, x.shape, shape)),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda node, x: x.transpose(transposed(node, x.ndim)),
    "Expand": lambda _, x, shape: np.broadcast_to(x, stretched(x.shape, shape.tolist())),
    "Tile": lambda _, x, repeats: np.tile(x, repeats.tolist()),
    "Concat": lambda node, *values: np.concatenate(values, node.attributes["axis"]),
    "Split": _split,
    "Slice": _slice,
    "Gather": lambda node, x, indices: np.take(x, indices, node.get("axis", 0)),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "ReduceSum": _reduction(np.sum),
    "ReduceProd": _reduction(np.prod),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
}
"""What an operator gives where all that it takes is known."""
