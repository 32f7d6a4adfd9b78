"""Look into an ONNX file, without the onnx package, for what a net must not ask of its reader.

Two things are looked for: tensors stored in other files (ONNX "external data"), which could point
anywhere and which no hash covers, and operators that only a custom-op library could serve.
Source:   the protobuf wire format, and the field numbers of onnx.proto3
"""

from collections.abc import Iterator

from voxstack.core.errors import AddonError

__all__ = ["scan_net"]

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

MODEL_GRAPH, MODEL_OPSETS, MODEL_FUNCTIONS = 7, 8, 25
OPSET_DOMAIN = 1
GRAPH_NODES, GRAPH_INITIALIZERS, GRAPH_SPARSE = 1, 5, 15
FUNCTION_NODES = 7
NODE_ATTRIBUTES = 5
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
TENSOR_EXTERNAL = 13
ENTRY_KEY, ENTRY_VALUE = 1, 2

MOST_NESTED = 30
"""Graphs inside one another (loops, branches); real nets have two or three."""


def scan_net(data: bytes, *, name: str, where: str) -> None:
    """Raise AddonError unless the ONNX file `name` holds all of its data and needs no custom operators."""
    if data[4:8] == b"ORTM":
        raise AddonError(f"net '{name}' is in ONNX Runtime's own format; want plain ONNX", where=where)
    is_model = False
    try:
        for field, value in _fields(memoryview(data)):
            if field == MODEL_OPSETS:
                domain = next((bytes(v).decode() for f, v in _fields(value) if f == OPSET_DOMAIN), "")
                if domain not in DOMAINS:
                    raise AddonError(
                        f"net '{name}' needs operators of '{domain}', that is a custom-op library; "
                        "none is ever loaded",
                        where=where,
                    )
            is_model |= field == MODEL_GRAPH
            # The key of every external entry is the word "location": without it there are none.
            if field in (MODEL_GRAPH, MODEL_FUNCTIONS) and b"location" in data:
                found = _graph_locations(value) if field == MODEL_GRAPH else _function_locations(value)
                for location in found:
                    raise AddonError(
                        f"net '{name}' keeps data in another file, {location!r}; "
                        "save it with its data inside",
                        where=where,
                    )
    except ValueError as error:  # UnicodeDecodeError is one
        raise AddonError(f"net '{name}' is not an ONNX file: {error}", where=where) from error
    if not is_model:
        raise AddonError(f"net '{name}' is not an ONNX file: it holds no graph", where=where)


def _graph_locations(graph: memoryview, depth: int = 0) -> Iterator[str]:
    if depth > MOST_NESTED:
        raise ValueError(f"graphs nest more than {MOST_NESTED} deep")
    for field, value in _fields(graph):
        if field == GRAPH_INITIALIZERS:
            yield from _tensor_locations(value)
        elif field == GRAPH_SPARSE:
            for _, part in _fields(value):
                yield from _tensor_locations(part)
        elif field == GRAPH_NODES:
            yield from _node_locations(value, depth)


def _function_locations(function: memoryview) -> Iterator[str]:
    for field, value in _fields(function):
        if field == FUNCTION_NODES:
            yield from _node_locations(value, 0)


def _node_locations(node: memoryview, depth: int) -> Iterator[str]:
    for attribute in (value for field, value in _fields(node) if field == NODE_ATTRIBUTES):
        for field, value in _fields(attribute):
            if field in ATTRIBUTE_TENSORS:
                yield from _tensor_locations(value)
            elif field in ATTRIBUTE_GRAPHS:
                yield from _graph_locations(value, depth + 1)


def _tensor_locations(tensor: memoryview) -> Iterator[str]:
    for field, value in _fields(tensor):
        if field == TENSOR_EXTERNAL:
            entry = {f: bytes(v).decode() for f, v in _fields(value)}
            if entry.get(ENTRY_KEY) == "location":
                yield entry.get(ENTRY_VALUE, "")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield field number and bytes of each length-delimited field of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if tag < 8:
            raise ValueError("field with number 0")
        if wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("it ends too early")
            yield tag >> 3, data[at : at + size]
            at += size
        elif wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"field with wire type {wire}")
    if at > len(data):
        raise ValueError("it ends too early")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("it ends too early")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
