"""Read the parts of an ONNX file: nodes, their attributes, tensors."""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from voxstack.core.errors import NetError
from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import TYPES, Node

__all__ = ["array_of", "constant_of", "node_of"]


def node_of(proto: onnx.NodeProto, opset: int, gives: tuple[bool, ...]) -> Node:
    """Return a node without its names."""
    attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
    return Node(proto.op_type, opset, attributes, tuple(map(bool, proto.input)), gives)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.STRING:
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [item.decode() for item in value]
    if attribute.type == onnx.AttributeProto.TENSOR:
        return array_of(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value


def array_of(tensor: onnx.TensorProto) -> Array:
    """Return a tensor's values, halves as f32; raise NetError if torch nets do not know its dtype."""
    if tensor.data_type not in TYPES:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise NetError(f"has a tensor '{tensor.name}' of dtype {name}, which torch nets do not know")
    array = numpy_helper.to_array(tensor)
    is_small_float = TYPES[tensor.data_type] in (torch.float16, torch.bfloat16)
    return array.astype(np.float32) if is_small_float else array


def constant_of(node: Node) -> Array:
    """Return what the operator Constant gives."""
    [(kind, value)] = node.attributes.items()
    if kind == "value":
        return value
    return np.array(value, np.float32 if kind.startswith("value_float") else np.int64)
