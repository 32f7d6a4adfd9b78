"""Compute element by element: arithmetic, comparisons, logic, activations, casts."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from voxstack.runtimes.torch_nets.operators import Node, Operator, dtype_of

__all__ = ["OPERATORS"]

Tensor = torch.Tensor
Number = Tensor | float


def _of_two(function: Callable[[Any, Any], Any]) -> Operator:
    return Operator(lambda _, a, b: function(a, b), scalars=True)


def _of_two_tensors(function: Callable[[Any, Any], Any]) -> Operator:
    return Operator(lambda _, a, b: function(a, b))


def _of_many(function: Callable[[Any, Any], Any]) -> Operator:
    return Operator(lambda _, *values: functools.reduce(function, values))


def _of_one(function: Callable[[Any], Any]) -> Operator:
    return Operator(lambda _, x: function(x))


def _divide(a: Number, b: Number) -> Tensor:
    tensor = a if isinstance(a, Tensor) else b
    assert isinstance(tensor, Tensor)
    if tensor.is_floating_point():
        return a / b  # pyright: ignore[reportReturnType] - one of them is a tensor
    a, b = (x if isinstance(x, Tensor) else tensor.new_full((), x) for x in (a, b))
    return torch.div(a, b, rounding_mode="trunc")


def _power(node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    del node
    return torch.pow(base, exponent).to(base.dtype)


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _mean(node: Node, *values: Tensor) -> Tensor:
    del node
    return functools.reduce(torch.add, values) / len(values)


def _where(node: Node, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    del node
    return torch.where(condition, yes, no)


def _clip(node: Node, x: Tensor, least: Number | None = None, most: Number | None = None) -> Tensor:
    least, most = node.get("min", least), node.get("max", most)
    if least is not None:
        x = torch.clamp(x, min=least)  # pyright: ignore[reportArgumentType, reportCallIssue] - a number or a tensor
    return x if most is None else torch.clamp(x, max=most)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _cast(node: Node, like: Tensor, x: Tensor) -> Tensor:
    return x.to(dtype_of(node.attributes["to"], like))


def _cast_like(node: Node, x: Tensor, other: Tensor) -> Tensor:
    del node
    return x.to(other.dtype)


def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, node.get("alpha", 0.01))


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    del node
    return torch.where(x < 0, x * slope, x)


def _elu(node: Node, x: Tensor) -> Tensor:
    return functional.elu(x, node.get("alpha", 1.0))


def _celu(node: Node, x: Tensor) -> Tensor:
    return functional.celu(x, node.get("alpha", 1.0))


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    return gamma * functional.elu(x, alpha)


def _gelu(node: Node, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return (x * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0, 1)


def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return functional.threshold(x, node.get("alpha", 1.0), 0.0)


def _is_infinite(node: Node, x: Tensor) -> Tensor:
    if not node.get("detect_negative", 1):
        return torch.isposinf(x)
    return torch.isinf(x) if node.get("detect_positive", 1) else torch.isneginf(x)


def _dropout(node: Node, x: Tensor, *_: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    return (x, torch.ones_like(x, dtype=torch.bool)) if node.wants(1) else x


OPERATORS: Mapping[str, Operator] = {
    # Two values
    "Add": _of_two(operator.add),
    "Sub": _of_two(operator.sub),
    "Mul": _of_two(operator.mul),
    "Div": _of_two(_divide),
    "Pow": Operator(_power),
    "Mod": Operator(_modulo),
    "Equal": _of_two(operator.eq),
    "Less": _of_two(operator.lt),
    "LessOrEqual": _of_two(operator.le),
    "Greater": _of_two(operator.gt),
    "GreaterOrEqual": _of_two(operator.ge),
    "And": _of_two_tensors(torch.logical_and),
    "Or": _of_two_tensors(torch.logical_or),
    "Xor": _of_two_tensors(torch.logical_xor),
    "Where": Operator(_where),
    # Any number
    "Max": _of_many(torch.maximum),
    "Min": _of_many(torch.minimum),
    "Sum": _of_many(torch.add),
    "Mean": Operator(_mean),
    # One value
    "Identity": _of_one(lambda x: x),
    "Dropout": Operator(_dropout),
    "Cast": Operator(_cast, places=True),
    "CastLike": Operator(_cast_like),
    "Not": _of_one(torch.logical_not),
    "Abs": _of_one(torch.abs),
    "Neg": _of_one(torch.neg),
    "Sign": _of_one(torch.sign),
    "Exp": _of_one(torch.exp),
    "Log": _of_one(torch.log),
    "Sqrt": _of_one(torch.sqrt),
    "Reciprocal": _of_one(torch.reciprocal),
    "Floor": _of_one(torch.floor),
    "Ceil": _of_one(torch.ceil),
    "Round": _of_one(torch.round),
    "Erf": _of_one(torch.erf),
    "Sin": _of_one(torch.sin),
    "Cos": _of_one(torch.cos),
    "Tan": _of_one(torch.tan),
    "Asin": _of_one(torch.asin),
    "Acos": _of_one(torch.acos),
    "Atan": _of_one(torch.atan),
    "Sinh": _of_one(torch.sinh),
    "Cosh": _of_one(torch.cosh),
    "IsNaN": _of_one(torch.isnan),
    "IsInf": Operator(_is_infinite),
    # Activations
    "Clip": Operator(_clip, scalars=True),
    "Relu": _of_one(torch.relu),
    "LeakyRelu": Operator(_leaky_relu),
    "PRelu": Operator(_prelu),
    "ThresholdedRelu": Operator(_thresholded_relu),
    "Elu": Operator(_elu),
    "Celu": Operator(_celu),
    "Selu": Operator(_selu),
    "Gelu": Operator(_gelu),
    "Sigmoid": _of_one(torch.sigmoid),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": _of_one(lambda x: x * (x / 6 + 0.5).clamp(0, 1)),
    "Mish": _of_one(functional.mish),
    "Tanh": _of_one(torch.tanh),
    "Softplus": _of_one(functional.softplus),
    "Softsign": _of_one(functional.softsign),
}
