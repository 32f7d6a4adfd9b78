"""Read and change an ONNX graph: who makes a tensor, who uses it, what lies between two tensors.

Everything here asks for operators and edges, never for names: exporters and optimisers rename at will.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from voxstack.core.errors import ImporterError

__all__ = ["Constant", "Edge", "Graph", "attribute", "attributes"]

Constant = NDArray[Any]
AttributeValue = int | float | str | list[int] | list[float] | list[str] | onnx.TensorProto

MAIN_DOMAIN = ("", "ai.onnx")


@dataclass(frozen=True)
class Edge:
    """Name a tensor where a graph begins or ends: its dtype ("float32") and its axes, None = unknown rank."""

    name: str
    dtype: str
    axes: tuple[str | int, ...] | None


@dataclass
class Graph:
    """Hold nodes, constants and edges of one graph, and an index of who makes and who uses what."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, Constant]
    inputs: list[Edge]
    outputs: list[Edge]
    opset: int
    _producers: dict[str, onnx.NodeProto] | None = field(default=None, repr=False)
    _users: dict[str, list[onnx.NodeProto]] | None = field(default=None, repr=False)
    _fresh: int = field(default=0, repr=False)

    @classmethod
    def read(cls, model: onnx.ModelProto) -> "Graph":
        """Read a model; Constant nodes become constants, Identity nodes vanish."""
        foreign = sorted({node.domain for node in model.graph.node if node.domain not in MAIN_DOMAIN})
        if foreign:
            raise ImporterError(
                f"operators of {foreign} are not standard ONNX; export the model without them"
            )
        constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        renamed: dict[str, str] = {}
        outputs = {value.name for value in model.graph.output}
        nodes: list[onnx.NodeProto] = []
        for original in model.graph.node:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            node.ClearField("name")
            node.ClearField("doc_string")
            node.input[:] = [renamed.get(name, name) for name in node.input]
            if node.op_type == "Constant":
                constants[node.output[0]] = _constant_value(node)
            elif node.op_type == "Identity" and node.output[0] not in outputs:
                renamed[node.output[0]] = node.input[0]
            else:
                nodes.append(node)
        opset = max((entry.version for entry in model.opset_import if entry.domain in MAIN_DOMAIN), default=0)
        return cls(
            nodes=nodes,
            constants=constants,
            inputs=[_edge(value) for value in model.graph.input if value.name not in constants],
            outputs=[_edge(value) for value in model.graph.output],
            opset=opset,
        )

    def model(self, known: Sequence[Edge] = ()) -> onnx.ModelProto:
        """Return the graph as a checked model, nodes in a runnable order, without anything unused.

        In:       known   inner tensors whose shapes are written down for the runtime
        """
        self.prune()
        graph = helper.make_graph(
            self.nodes,
            "net",
            [_value(edge) for edge in self.inputs],
            [_value(edge) for edge in self.outputs],
            [
                numpy_helper.from_array(np.asarray(array, order="C"), name)
                for name, array in self.constants.items()
            ],
        )
        graph.value_info.extend(_value(edge) for edge in known)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor; None for constants and for the graph's inputs."""
        if self._producers is None:
            self._producers = {name: node for node in self.nodes for name in node.output if name}
        return self._producers.get(tensor)

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor, each once."""
        if self._users is None:
            self._users = {}
            for node in self.nodes:
                for name in dict.fromkeys(node.input):
                    self._users.setdefault(name, []).append(node)
        return list(self._users.get(tensor, ()))

    def is_output(self, tensor: str) -> bool:
        return any(edge.name == tensor for edge in self.outputs)

    def value(self, tensor: str) -> Constant | None:
        """Return a tensor's value where it is a constant."""
        return self.constants.get(tensor)

    def scalar(self, tensor: str) -> float | None:
        """Return a constant's single value, or the value that all its elements share; else None."""
        array = self.constants.get(tensor)
        if array is None or array.size == 0 or not np.all(array == array.flat[0]):
            return None
        return float(array.flat[0])

    def changed(self) -> None:
        """Forget the index; call after editing nodes in place."""
        self._producers = None
        self._users = None

    def constant(self, array: Constant) -> str:
        """Add a constant and return its name."""
        name = self._name("constant")
        self.constants[name] = array
        return name

    def add(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, AttributeValue] | None = None
    ) -> str:
        """Add a node with one output (`prune` puts it in place) and return the output's name."""
        name = self._name(op.lower())
        node = helper.make_node(op, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.nodes.append(node)
        if self._producers is not None:
            self._producers[name] = node
        if self._users is not None:
            for read in dict.fromkeys(node.input):
                self._users.setdefault(read, []).append(node)
        return name

    def replace(self, old: str, new: str) -> None:
        """Let every node that reads `old` read `new` instead.

        Where `old` is an output of the graph, `new` is made under its name, if it is made by a node and is
        not an output itself; else the output stays as it was.
        """
        readers = self.users(old)
        for node in readers:
            node.input[:] = [new if name == old else name for name in node.input]
        if self._users is not None:
            already = self._users.setdefault(new, [])
            already += [node for node in readers if all(node is not other for other in already)]
            self._users[old] = []
        maker = self.producer(old)
        if self.is_output(old) and maker is not None and self.producer(new) and not self.is_output(new):
            maker.output[:] = [self._name("replaced") if name == old else name for name in maker.output]
            self.rename(new, old)

    def rename(self, old: str, new: str) -> None:
        """Call a tensor otherwise, where it is made and where it is read; the outputs' names stay."""
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        self.changed()

    def ancestors(self, tensor: str, *, stop: Iterable[str] = ()) -> list[onnx.NodeProto]:
        """Return every node on which a tensor depends, producers first; the walk ends at `stop`."""
        return self._walk([tensor], set(stop))

    def sources(self, tensor: str) -> set[str]:
        """Return the names of the graph's inputs on which a tensor depends."""
        names = {edge.name for edge in self.inputs}
        read = {name for node in self.ancestors(tensor) for name in node.input}
        return names & (read | {tensor})

    def extract(self, inputs: Mapping[str, Edge], outputs: Mapping[str, Edge]) -> "Graph":
        """Cut out the part between tensors, renamed as the edges say.

        A tensor in `inputs` ends the walk. To reach one of this graph's own inputs that is not listed is an
        error: the part then depends on more than it was said to.
        """
        nodes = self._walk(list(outputs), set(inputs))
        names = {tensor: edge.name for tensor, edge in (*inputs.items(), *outputs.items())}
        own = {edge.name for edge in self.inputs}
        made = {name for node in nodes for name in node.output}
        constants: dict[str, Constant] = {}
        kept: list[onnx.NodeProto] = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for name in node.input:
                if name in own and name not in inputs:
                    raise ImporterError(
                        f"{sorted(edge.name for edge in outputs.values())} depend on input '{name}'"
                    )
                if name in self.constants and name not in inputs:
                    constants[_inner(name)] = self.constants[name]
            copy.input[:] = [names.get(name) or _inner(name) for name in node.input]
            copy.output[:] = [names.get(name) or _inner(name) for name in node.output]
            kept.append(copy)
        read = {name for node in nodes for name in node.input}
        result = Graph(
            nodes=kept,
            constants=constants,
            inputs=[edge for tensor, edge in inputs.items() if tensor in read],
            outputs=list(outputs.values()),
            opset=self.opset,
            _fresh=self._fresh,
        )
        for tensor, edge in outputs.items():
            if tensor not in made:
                raise ImporterError(f"nothing computes '{edge.name}'")
        return result

    def prune(self) -> None:
        """Drop nodes and constants that no output needs, and put the rest in a runnable order."""
        self.nodes = self._walk([edge.name for edge in self.outputs], set())
        read = {name for node in self.nodes for name in node.input}
        read |= {edge.name for edge in self.outputs}
        self.constants = {name: array for name, array in self.constants.items() if name in read}
        self.changed()

    def _walk(self, tensors: list[str], stop: set[str]) -> list[onnx.NodeProto]:
        found: list[onnx.NodeProto] = []
        seen: set[int] = set()
        done: set[int] = set()
        stack = [node for name in tensors if name not in stop and (node := self.producer(name)) is not None]
        while stack:
            node = stack[-1]
            if id(node) in done:
                stack.pop()
                continue
            if id(node) in seen:
                stack.pop()
                done.add(id(node))
                found.append(node)
                continue
            seen.add(id(node))
            for name in node.input:
                maker = self.producer(name) if name and name not in stop else None
                if maker is not None and id(maker) not in seen:
                    stack.append(maker)
        return found

    def _name(self, hint: str) -> str:
        self._fresh += 1
        return f"{hint}.{self._fresh}"


def attribute(node: onnx.NodeProto, name: str) -> AttributeValue | None:
    """Return one attribute of a node, or None where it is not set."""
    return attributes(node).get(name)


def attributes(node: onnx.NodeProto) -> dict[str, AttributeValue]:
    """Return a node's attributes by name; text as str."""
    values = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _inner(name: str) -> str:
    """Keep an inner tensor apart from the edges' new names, whatever the exporter called it."""
    return f"{name}'" if name else ""


def _constant_value(node: onnx.NodeProto) -> Constant:
    ((name, value),) = attributes(node).items()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if name not in kinds:
        raise ImporterError(f"a Constant node holds '{name}', which no speech net needs")
    return np.asarray(value, kinds[name])


def _edge(value: onnx.ValueInfoProto) -> Edge:
    kind = value.type.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    if not kind.HasField("shape"):
        return Edge(value.name, dtype, None)
    axes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in kind.shape.dim]
    return Edge(value.name, dtype, tuple(axes))


def _value(edge: Edge) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        edge.name, helper.np_dtype_to_tensor_dtype(np.dtype(edge.dtype)), edge.axes
    )
