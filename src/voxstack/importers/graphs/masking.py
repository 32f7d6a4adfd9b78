"""Keep padding behind a net's last step out of its result: measure where it gets in, and shut that off.

    input ─ Where(mask, x, 0) ─ … ─ x · mask ─ Conv ─ … ─ Where(mask, scores, least) ─ Softmax ─ …
            where NaN gets in       where a kernel        where padding is
            otherwise               reaches padding       attended to otherwise

Nothing is known of the net but what runs show, of inputs padded with random numbers: an operator that mixes
steps and meets padding that is not zero gets a mask before it. Most nets have masks of their own, and what
those do already is not done again. A sum may be one of rounded numbers, which are zero by chance: there the
graph itself must show that padding is zero. What else mixes steps (a mean over all, say) is left as it is:
hold the net to its mask afterwards.
"""

from collections.abc import Sequence

import numpy as np
import onnx

from voxstack.importers.graphs.graph import Constant, Edge, Graph, attribute
from voxstack.importers.graphs.mask_views import MaskViews
from voxstack.importers.graphs.measuring import run_tensors
from voxstack.importers.graphs.padded import Padding, draw_inputs
from voxstack.importers.graphs.shape_rules import ELEMENTWISE, axes_of

__all__ = ["add_mask", "mask_padding"]

STEPS, SIZE = 17, 29
"""Sizes that no other axis of a net is likely to have."""

LEAST = float(np.finfo(np.float32).min)
ATTENDING = ("Softmax",)
MIXING = ("Conv", "ConvTranspose", "ReduceSum")
VIEWS = ("Cast", "Identity", "Neg", "Relu", "Squeeze", "Transpose", "Unsqueeze")
"""What keeps zeros zeros, and steps apart."""


def mask_padding(
    graph: Graph,
    axis: str,
    *,
    mask: str | None = None,
    lengths: str | None = None,
    symbols: int = 1,
    zeroes_ids: bool = False,
) -> int:
    """Insert in place what is missing, so that steps where a mask is 0 do not change the others.

    In:       mask        the input that is 1 inside and 0 in padding; None: a mask is made of the lengths
              lengths     the input that holds the number of steps, if there is one
              symbols     ids are below it
              zeroes_ids  whether ids in padding become 0, the id from which a net makes masks itself
    Out:      how many operators were put in the way of padding
    """
    graph.prune()
    masker = _Masker(graph, Padding(axis, STEPS, SIZE, mask, lengths, symbols))
    count = masker.zero_ids() if zeroes_ids else 0
    # A score that is replaced lets no NaN through; a factor of 0 does, so what kernels read comes last.
    return count + masker.shut_inside(ATTENDING) + masker.shut_inputs() + masker.shut_inside(MIXING)


def add_mask(graph: Graph, axis: str, *, symbols: int = 1, zeroes_ids: bool = False) -> str | None:
    """Give a net a mask input of its own, and mask its padding by it.

    Out:      the input's name; None if no step changes another, so that no mask is needed
    """
    mask = f"{axis}_mask"
    graph.inputs.append(Edge(mask, "bool", ("batch", axis)))
    mask_padding(graph, axis, mask=mask, symbols=symbols, zeroes_ids=zeroes_ids)
    if graph.users(mask):
        return mask
    graph.inputs.pop()
    return None


class _Masker:
    """Masks one graph, by what it measures of it."""

    def __init__(self, graph: Graph, padding: Padding) -> None:
        self.graph = graph
        self.padding = padding
        self.views = MaskViews(graph, padding)
        self.zeroed: dict[str, str] = {}
        self.silent: set[str] = set()
        self.along = [edge for edge in graph.inputs if padding.axis in (edge.axes or ())]

    def zero_ids(self) -> int:
        """Let ids in padding be 0."""
        graph = self.graph
        ids = [edge for edge in self.along if edge.dtype.startswith("int") and edge.name != self.padding.mask]
        for edge in ids:
            place = list(edge.axes or ()).index(self.padding.axis)
            cond = self.views.flags(len(edge.axes or ()), place)
            zero = graph.constant(np.zeros((), edge.dtype))
            self._instead(edge.name, graph.add("Where", [cond, edge.name, zero]))
        return len(ids)

    def shut_inside(self, ops: Sequence[str]) -> int:
        """Mask what such operators of the graph read, where padding would get in."""
        mixing = [node for node in self.graph.nodes if node.op_type in ops]
        names = list(dict.fromkeys(name for node in mixing for name in (node.input[0], node.output[0])))
        runs = [self._measure(names, seed=seed) for seed in (0, 1)]
        count = 0
        for node in mixing:
            tensor, other = (run[node.input[0]] for run in runs)
            place = _mixed(self.graph, node, tensor)
            if place is None or tensor.shape[place] != SIZE:
                continue
            reached = node.output[0] if node.op_type in ATTENDING else node.input[0]
            if self._is_kept_out(node, [run[reached] for run in runs], place):
                continue
            if tensor.any() and np.array_equal(tensor, other):  # whatever the inputs hold: a mask itself
                continue
            count += self._shut(node, tensor.ndim, place)
        self.graph.prune()
        return count

    def shut_inputs(self) -> int:
        """Zero those float inputs from which NaN in the padding reaches anything else.

        A factor of 0 does not stop it, so it is replaced: as far behind the input as each step is still
        worked on alone, where several inputs may have become one.
        """
        graph, count = self.graph, 0
        for edge in self.along:
            if not edge.dtype.startswith("float") or edge.name == self.padding.mask or not self._leaks(edge):
                continue
            tensor, shape = self._sunk(edge.name)
            cond = self.views.flags(len(shape), shape.index(SIZE))
            zero = graph.constant(np.zeros((), edge.dtype))
            made = graph.add("Where", [cond, tensor, zero])
            self._instead(tensor, made)
            self.silent.add(made)
            count += 1
        graph.prune()
        return count

    def _is_kept_out(self, node: onnx.NodeProto, values: Sequence[Constant], place: int) -> bool:
        """Say whether padding is zero because of a mask: not where all is zero, which it is by chance."""
        if any(_padding_of(value, place).any() for value in values):
            return False
        if node.op_type == "ReduceSum" and not self._is_silent(node.input[0]):
            return False
        return any(value.any() for value in values)

    def _is_silent(self, tensor: str) -> bool:
        """Say whether the graph shows that a tensor's padding is zero: by a mask, or by attention to it."""
        node = self.graph.producer(tensor)
        if tensor in self.silent or tensor in self.zeroed.values():
            return True
        if node is None:
            return tensor == self.padding.mask
        if node.op_type in ATTENDING:
            return True
        if node.op_type == "Mul":
            return any(map(self._is_silent, node.input))
        return node.op_type in VIEWS and self._is_silent(node.input[0])

    def _shut(self, node: onnx.NodeProto, rank: int, place: int) -> int:
        """Put a mask before a node; return how many operators that takes."""
        graph, read = self.graph, node.input[0]
        if node.op_type in ATTENDING:
            low = graph.constant(np.asarray(LEAST, np.float32))
            made = graph.add("Where", [self.views.flags(rank, place), read, low])
            count = 1
        else:
            count = int(read not in self.zeroed)
            if count:
                self.zeroed[read] = graph.add("Mul", [read, self.views.factors(rank, place)])
            made = self.zeroed[read]
        node.input[0] = made
        graph.changed()
        return count

    def _measure(self, names: list[str], *, seed: int = 0, not_a_number: str = "") -> dict[str, Constant]:
        """Run the graph on padded inputs and return tensors; one input may hold NaN in its padding."""
        random = np.random.default_rng(seed)
        inputs = self.graph.inputs
        feeds = draw_inputs(inputs, self.padding, random)
        padded = self.padding.padded(inputs, feeds, random)
        edges = [edge for edge in inputs if edge.name == not_a_number]
        filled = self.padding.padded(edges, feeds, random, fill=np.nan)
        return run_tensors(self.graph, names, padded | {edge.name: filled[edge.name] for edge in edges})

    def _leaks(self, edge: Edge) -> bool:
        """Say whether NaN in the padding of an input gets into an output."""
        outputs = [output for output in self.graph.outputs if not output.dtype.startswith("int")]
        found = self._measure([output.name for output in outputs], not_a_number=edge.name)
        inside = [self.padding.inside(output, found[output.name]) for output in outputs]
        return any(bool(np.isnan(values).any()) for values in inside if values.dtype.kind == "f")

    def _sunk(self, tensor: str) -> tuple[str, list[int]]:
        """Follow a tensor while one operator alone reads it, element by element; return it and its shape."""
        graph, chain = self.graph, [tensor]
        while len(users := graph.users(chain[-1])) == 1 and not graph.is_output(chain[-1]):
            if users[0].op_type not in (*ELEMENTWISE, "Unsqueeze"):
                break
            chain.append(users[0].output[0])
        values = self._measure(chain)
        size = values[tensor].size
        kept = [
            name
            for name in chain
            if values[name].dtype == values[tensor].dtype
            and (values[name].size, values[name].shape.count(SIZE)) == (size, 1)
        ]
        return kept[-1], list(values[kept[-1]].shape)

    def _instead(self, old: str, new: str) -> None:
        """Let everything that reads a tensor read another that is made of it."""
        maker = self.graph.producer(new)
        for node in self.graph.users(old):
            if node is not maker:
                node.input[:] = [new if name == old else name for name in node.input]
        self.graph.changed()


def _mixed(graph: Graph, node: onnx.NodeProto, tensor: Constant) -> int | None:
    """Return the axis of a node's input along which it mixes steps: the ragged one, if that has its size."""
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = graph.value(node.input[1])
        return tensor.ndim - 1 if weight is None or weight.shape[-1] > 1 else None
    if node.op_type == "ReduceSum":
        axes = [axis % tensor.ndim for axis in axes_of(graph, node) or range(tensor.ndim)]
        return next((axis for axis in axes if tensor.shape[axis] == SIZE), None)
    axis = attribute(node, "axis")
    return (axis if isinstance(axis, int) else -1) % tensor.ndim


def _padding_of(values: Constant, place: int) -> Constant:
    """Return the padding of a tensor, for the steps inside where a second axis is as long."""
    for other, size in enumerate(values.shape):
        if size == SIZE and other != place:
            values = values.take(range(STEPS), axis=other)
    return values.take(range(STEPS, SIZE), axis=place)
