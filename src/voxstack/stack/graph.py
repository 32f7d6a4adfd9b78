"""Turn a wired stack into a graph: frames around blocks, and edges that carry tensors between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from voxstack.core.ports import Port, Ports
from voxstack.stack.describe import Row, branches_of, inner_nets
from voxstack.stack.faults import END, Faults, Unwired
from voxstack.stack.wire import Block, Wired

__all__ = ["NOBODY", "OUTPUT", "REQUEST", "SOURCE", "Edge", "Frame", "Graph", "Node", "graph_of", "shown"]

REQUEST = "request"
"""The end of an edge that carries what a request brings; those below are no block either."""

NOBODY = "nobody"
SOURCE = "source"
OUTPUT = "output"


@dataclass(frozen=True)
class Node:
    """A block, or a net inside one: `lines` say what it is, `faults` what is wrong with it."""

    path: str
    title: str
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    is_certain: bool = True


@dataclass(frozen=True)
class Frame:
    """A container and what stands inside it, in the order in which data reaches it."""

    path: str
    title: str
    inside: tuple["Frame | Node", ...]
    faults: tuple[str, ...] = ()

    @property
    def nodes(self) -> Iterator[Node]:
        for item in self.inside:
            yield from item.nodes if isinstance(item, Frame) else (item,)


@dataclass(frozen=True)
class Edge:
    """Tensors on their way from one node to another; the ends are paths, or REQUEST, NOBODY and so on."""

    giver: str
    taker: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Graph:
    """A whole stack: one frame for each addon."""

    title: str
    frames: tuple[Frame, ...]
    edges: tuple[Edge, ...]

    @property
    def nodes(self) -> list[Node]:
        return [node for frame in self.frames for node in frame.nodes]


Givers: TypeAlias = Mapping[str, tuple[str, Port]]
"""Who gives a tensor of the whole utterance, by its name."""


def shown(port: Port) -> str:
    """Return a port in few words: its dtype only where it is none of the usual.

    Example:
        >>> shown(Port("durations", "int64", ("phonemes",)))
        'durations int64 [phonemes]'
    """
    dtype = "" if port.dtype == "float32" else f" {port.dtype}"
    axes = f" [{', '.join(map(str, port.axes))}]" if port.axes else ""
    rate = "" if port.rate is None else f" {float(port.rate):g} Hz"
    return f"{port.name}{dtype}{axes}{rate}"


def graph_of(
    title: str,
    wired: Sequence[Wired],
    described: Sequence[Row],
    *,
    request: Ports,
    source: Ports | None = None,
    faults: Faults | None = None,
) -> Graph:
    """Return the graph of a stack as `load_stack` wired it.

    In:       described  a row for each of `wired`
              request    what a request brings
              source     what flows in from above, if it is a vocoder alone
    """
    reading = _Reading(wired, {row.path: row for row in described}, request, faults or Faults())
    entering: Givers = {name: (REQUEST, port) for name, port in request.items()}
    stream: Stream = None if source is None else (SOURCE, source)
    frames: list[Frame] = []
    for root in reading.roots():
        drawn, stream = reading.walk(root, entering, stream)
        addon = root.path.partition("$")[0].rstrip(": ") or title
        name = f"{addon} · {_title(root)}"
        if isinstance(drawn, Frame):
            frames.append(Frame(drawn.path, name, drawn.inside, drawn.faults))
        else:  # an empty stack
            frames.append(Frame(f"{drawn.path}/", name, (drawn,)))
    missing = tuple(fault.message for fault in reading.faults.at(END))
    if missing:
        frames.append(Frame(END, "what follows", (Node(END, "?", faults=missing),)))
    if stream is not None:
        giver, ports = stream
        reading.edges.append(Edge(giver, END if missing else OUTPUT, tuple(ports.values())))
    return Graph(title, tuple(frames), tuple(reading.edges))


Stream: TypeAlias = tuple[str, Ports] | None
"""Who gives the stream that reaches a place, and what it carries."""


@dataclass
class _Reading:
    wired: Sequence[Wired]
    described: Mapping[str, Row]
    request: Ports
    faults: Faults
    edges: list[Edge] = field(default_factory=list[Edge])

    def roots(self) -> list[Wired]:
        return [item for item in self.wired if item.path.endswith("$.stack")]

    def walk(
        self, item: Wired, tensors: Givers, stream: Stream, *, within: str = ""
    ) -> tuple[Frame | Node, Stream]:
        """Return what a block looks like that stands in a container, and the stream that it gives."""
        children = self._children(item)
        inner = inner_nets(item)
        if inner:
            return self._with_nets(item, inner, tensors, _title(item, within)), None
        if not children:
            return self._leaf(item, tensors, stream)
        if branches_of(item):
            return self._with_branches(item, children, tensors, stream, title=_title(item, within))
        known = dict(tensors)
        inside: list[Frame | Node] = []
        for child in children:
            is_streamable = hasattr(child.block, "open") and not _is_sequence(child.path)
            drawn, given = self.walk(child, known, stream if is_streamable else None, within=item.path)
            inside.append(drawn)
            if is_streamable:
                stream = given
            else:
                known |= self._given(child)
        return Frame(item.path, _title(item, within), tuple(inside), self._messages(item)), stream

    def _with_branches(
        self, item: Wired, children: Sequence[Wired], tensors: Givers, stream: Stream, *, title: str
    ) -> tuple[Frame, Stream]:
        """Return a block whose children read the same stream: that of the first goes on, others end in it."""
        end = f"{item.path}/end"
        keys = [child.path.removeprefix(f"{item.path}.") for child in children]
        inside: list[Frame | Node] = []
        going_on: Stream = None
        for place, child in enumerate(children):
            drawn, given = self.walk(child, tensors, stream, within=item.path)
            inside.append(drawn)
            if given is not None:
                self.edges.append(Edge(given[0], end, tuple(given[1].values())))
            going_on = going_on if place else given
        others = " and ".join(keys[1:]) or "nothing"
        inside.append(Node(end, item.type, (f"{others} ends here; {keys[0]} goes on as it is",)))
        return Frame(item.path, title, tuple(inside), self._messages(item)), going_on

    def _children(self, item: Wired) -> list[Wired]:
        below = [other for other in self.wired if _is_inside(other.path, item.path)]
        paths = [other.path for other in below if other.is_container]
        return [other for other in below if not any(_is_inside(other.path, path) for path in paths)]

    def _given(self, item: Wired) -> dict[str, tuple[str, Port]]:
        """Return who inside a sequence block gives each of its tensors."""
        inner = inner_nets(item)
        if inner:
            return {name: (path, port) for path, block in inner for name, port in block.gives.items()}
        children = self._children(item)
        if children:
            return {name: giver for child in children for name, giver in self._given(child).items()}
        return {name: (item.path, port) for name, port in item.block.gives.items()}

    def _with_nets(self, item: Wired, inner: list[tuple[str, Block]], tensors: Givers, title: str) -> Frame:
        known = dict(tensors)
        nodes: list[Node] = []
        rows = self.described[item.path].inside
        for (path, block), row in zip(inner, rows, strict=True):
            missing = [fault for fault in self.faults.at(item.path) if fault.port in block.takes]
            messages = tuple(dict.fromkeys(fault.message for fault in missing))
            nodes.append(Node(path, row.type, about(row), messages))
            self._taken(path, block.takes, known, unmet={fault.port for fault in missing})
            known |= {name: (path, port) for name, port in block.gives.items()}
        return Frame(item.path, title, tuple(nodes))

    def _leaf(self, item: Wired, tensors: Givers, stream: Stream) -> tuple[Node, Stream]:
        row, faults = self.described[item.path], self.faults.at(item.path)
        certain = self.faults.is_certain(item.path)
        node = Node(item.path, item.type, about(row), self._messages(item), certain)
        unmet = {fault.port for fault in faults}
        consumes: Ports | None = getattr(item.block, "consumes", None)
        self._taken(item.path, item.block.takes, tensors, unmet=unmet)
        if consumes is not None and stream is not None:
            giver, given = stream
            met = {name: port for name, port in consumes.items() if name not in unmet}
            ports = [given.get(name, port) for name, port in met.items()]
            if ports or isinstance(item.block, Unwired):
                self.edges.append(Edge(giver, item.path, tuple(ports)))
        if consumes:
            self._unmet(item.path, {name: port for name, port in consumes.items() if name in unmet})
        return node, (item.path, item.block.gives) if hasattr(item.block, "open") else None

    def _taken(self, path: str, takes: Ports, known: Givers, *, unmet: set[str | None]) -> None:
        """Add an edge from each giver of tensors of the whole utterance."""
        by_giver: dict[str, list[Port]] = {}
        for name in takes:
            if name in known and name not in unmet:
                giver, port = known[name]
                by_giver.setdefault(giver, []).append(port)
        self.edges += [Edge(giver, path, tuple(ports)) for giver, ports in by_giver.items()]
        self._unmet(path, {name: port for name, port in takes.items() if name in unmet})

    def _unmet(self, path: str, ports: Ports) -> None:
        if ports:
            self.edges.append(Edge(NOBODY, path, tuple(ports.values())))

    def _messages(self, item: Wired) -> tuple[str, ...]:
        return tuple(fault.message for fault in self.faults.at(item.path))


def about(row: Row) -> tuple[str, ...]:
    """Return what a box says below its title."""
    lines: list[str] = []
    if row.nets:
        size = "" if row.file_bytes is None else f" · {row.file_bytes / 1e6:.1f} MB"
        lines.append(f"net {', '.join(row.nets)}{size}")
    if row.runtime is not None:
        lines.append(row.runtime)
    timing: list[str] = []
    if row.steps is not None:
        timing.append(f"1 → {row.steps}")
    if row.context and any(row.context):
        timing.append(f"context {row.context[0]} | {row.context[1]}")
    if timing:
        lines.append(" · ".join(timing))
    if row.waits_for is not None:
        ms = "" if row.latency_ms is None else f", {row.latency_ms:.0f} ms"
        lines.append(f"waits for {row.waits_for}{ms}")
    return tuple(lines)


def _is_inside(path: str, container: str) -> bool:
    return path.startswith((f"{container}.", f"{container}["))


def _is_sequence(path: str) -> bool:
    return path.endswith(".sequence_block") or path.rpartition(".")[2].startswith("blocks[")


def _title(item: Wired, within: str = "") -> str:
    """Return a block's type, and its place in the container: that of another addon's stack has its name."""
    inside = f"{within}."
    key = item.path.removeprefix(inside) if item.path.startswith(inside) else item.path.rpartition(".")[2]
    return f"{item.type} · {key}"
