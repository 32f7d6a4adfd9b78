"""Find out when a Loop stops: which probability ends it, above which threshold, after how many steps at most.

The condition is not read but tried: it is cut out as a small net and asked what it says to this and that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.measuring import open_part, run
from voxstack.importers.loops.body import Carried, LoopBody, growth

__all__ = ["StopRule", "find_stop"]

_LOGIC = ["And", "Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where"]
_LAYOUT = ["Gather", "Identity", "Reshape", "Round", "Slice", "Squeeze", "Unsqueeze", "Xor"]
_WHOLE = ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"]
LOGIC = frozenset([*_LOGIC, *_LAYOUT, *_WHOLE])
MOST = 1 << 22
WIDEST = 8


@dataclass(frozen=True)
class StopRule:
    """When a Loop ends; the step that says so is part of what it collects.

    tensor      in the body, what the condition hangs on; None: the count alone
    is_logit    whether its sigmoid is the probability
    flipped     whether it is the probability of going on
    threshold   probability above which the loop ends
    wants_all   where a step gives several: whether all must be above it (else one suffices)
    flags       carried flags that are never set at a step's beginning: who sets one ends the loop
    least       steps before which it is not listened to
    most        steps after which the loop ends anyway; None: never
    """

    tensor: str | None
    is_logit: bool = False
    flipped: bool = False
    threshold: float = 0.5
    wants_all: bool = False
    least: int = 1
    most: int | None = None
    flags: tuple[str, ...] = ()


def find_stop(
    body: LoopBody, firsts: dict[str, Constant], shape_of: Callable[[str], Sequence[int]]
) -> StopRule:
    """Try a Loop's condition.

    In:       firsts    what carried values begin with, where that is the same in every utterance
              shape_of  tells the shape of a tensor of the body
    Raises:   ImporterError if the condition hangs on several things, or on the step before
    """
    if body.graph.producer(body.goes_on) is None:
        return StopRule(None, most=body.most)
    counters = {item.before: item for item in body.carried if growth(body.graph, item) is not None}
    leaves = sorted(_leaves(body, counters))
    if len(leaves) > 1:
        raise ImporterError(f"{len(leaves)} tensors decide when the Loop stops, want one")
    condition = _Condition(body, counters, firsts, leaves, [tuple(shape_of(name)) for name in leaves])
    if not leaves:
        return StopRule(None, most=_least_most(body.most, condition.end(0.0)), flags=condition.flags())
    (leaf,) = leaves
    maker = body.graph.producer(leaf)
    condition.is_logit = maker is None or maker.op_type != "Sigmoid"
    low, high = condition.end(0.0), condition.end(1.0)
    flipped = (high or MOST) > (low or MOST)
    condition.flipped = flipped
    if flipped:
        low, high = high, low
    if high is None or high == low:
        raise ImporterError("the probability on which the Loop's condition hangs cannot stop it at once")
    step = high - 1
    return StopRule(
        tensor=leaf,
        is_logit=condition.is_logit,
        flipped=flipped,
        threshold=condition.threshold(step),
        wants_all=condition.wants_all(step),
        least=high,
        most=_least_most(body.most, low),
        flags=condition.flags(),
    )


def _leaves(body: LoopBody, counters: dict[str, Carried]) -> set[str]:
    """Return the floats at which the condition's logic begins."""
    graph, found = body.graph, set[str]()
    whole = {body.index, *counters, *(item.after for item in counters.values())}
    carried = {item.before: item for item in body.carried}
    todo, seen = [body.goes_on], set[str]()
    while todo:
        name = todo.pop()
        if not name or name in seen or name in graph.constants or name in whole:
            continue
        seen.add(name)
        node = graph.producer(name)
        if node is None:
            item = carried.get(name)
            if item is None or _is_flag(graph, item):
                continue
            if item.after != name:  # a state; what passes through unchanged is as good as a constant
                raise ImporterError("the Loop's condition hangs on a state of the step before")
        elif node.op_type in LOGIC:
            todo += node.input
        else:
            found.add(name)
    return found


def _is_flag(graph: Graph, item: Carried) -> bool:
    return any(edge.name == item.before and edge.dtype == "bool" for edge in graph.inputs)


class _Condition:
    """The condition of a Loop as a net of its own, asked with probabilities and step numbers."""

    def __init__(
        self,
        body: LoopBody,
        counters: dict[str, Carried],
        firsts: dict[str, Constant],
        leaves: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        graph = body.graph
        self.is_logit = self.flipped = False
        self._shape = shapes[0] if shapes else ()
        self._strides = {name: growth(graph, item) or 0 for name, item in counters.items()}
        self._firsts = dict(firsts)
        self._index = body.index
        self._leaf = next(iter(leaves), None)
        condition = Graph(
            [node for node in graph.nodes if not set(node.output) & set(leaves)],
            dict(graph.constants),
            [*graph.inputs, *(Edge(name, "float32", None) for name in leaves)],
            [],
            graph.opset,
        )
        dtypes = {edge.name: edge.dtype for edge in condition.inputs}
        self._session = open_part(condition, [body.goes_on], dtypes)
        self._inputs = {value.name: dtypes[value.name] for value in self._session.get_inputs()}
        unknown = self._inputs.keys() - {self._leaf, self._index, *firsts}
        if unknown:
            raise ImporterError(f"the Loop's condition hangs on {sorted(unknown)}, which differ by utterance")

    def flags(self) -> tuple[str, ...]:
        """Return the flags that end the loop once they are set."""
        found: list[str] = []
        for name, dtype in self._inputs.items():
            if dtype == "bool" and name in self._firsts and not np.any(self._firsts[name]):
                clear = self._firsts[name]
                self._firsts[name] = np.ones_like(clear)
                found += [] if self.goes_on(np.zeros(self._shape), 0) else [name]
                self._firsts[name] = clear
        return tuple(found)

    def goes_on(self, chance: NDArray[Any], step: int) -> bool:
        """Say whether another step follows step number `step` if it gave this probability of the end."""
        chance = 1 - chance if self.flipped else chance
        if self.is_logit:
            with np.errstate(divide="ignore"):
                chance = np.log(chance) - np.log1p(-chance)
            chance = np.clip(chance, -1e30, 1e30)
        feeds: dict[str, Constant] = {}
        for name, dtype in self._inputs.items():
            if name == self._leaf:
                feeds[name] = chance.astype(np.float32).reshape(self._shape)
            elif name == self._index:
                feeds[name] = np.asarray(step, dtype)
            else:
                first = self._firsts[name]
                grown = first + self._strides[name] * step if name in self._strides else first
                feeds[name] = np.asarray(grown, dtype)
        return all(bool(np.all(value)) for value in run(self._session, feeds).values())

    def end(self, chance: float) -> int | None:
        """Return after how many steps of this probability the loop is over; None: never."""
        many = np.full(self._shape, chance)
        if self.goes_on(many, MOST):
            return None
        low, high = -1, MOST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.goes_on(many, middle) else (low, middle)
        return high + 1

    def threshold(self, step: int) -> float:
        low, high = 0.0, 1.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if self.goes_on(np.full(self._shape, middle), step) else (low, middle)
        return round((low + high) / 2, 5)

    def wants_all(self, step: int) -> bool:
        size = int(np.prod(self._shape, dtype=int))
        if size > WIDEST:
            raise ImporterError(f"{size} probabilities decide when the Loop stops, want at most {WIDEST}")
        if size == 1:
            return False
        answers = {
            number: self.goes_on(np.asarray([(number >> place) & 1 for place in range(size)], float), step)
            for number in range(1 << size)
        }
        every, none = (1 << size) - 1, 0
        if all(answers[number] == (number != every) for number in answers):
            return True
        if all(answers[number] == (number == none) for number in answers):
            return False
        raise ImporterError("the Loop stops neither when all its probabilities say so nor when one does")


def _least_most(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return min(known) if known else None
