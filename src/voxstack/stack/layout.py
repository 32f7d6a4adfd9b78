"""Say where everything of a stack's picture stands, so that no text lies over another.

One block a row, in the order in which data reaches them. What flows to the next row stands beside the
arrow between the two; what flows further runs in a track at the right, with its text beside it. What a
request brings comes from the left. Frames are as wide as the tracks, so a track never leaves them sideways.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from voxstack.stack.drawn import LINE, Arrow, Box, Layout, Words, width_of
from voxstack.stack.graph import NOBODY, OUTPUT, REQUEST, SOURCE, Edge, Frame, Graph, Node, shown

__all__ = ["lay_out"]

PAD, GAP, TRACK = 12, 26, 22
"""Space inside boxes, the least length of an arrow, and between a box and the first track."""

WRAP = 64
"""Letters in a line of a message."""


@dataclass
class _Row:
    """A block's row: its texts, and what enters and leaves at its right."""

    node: Node
    depth: int
    texts: list[tuple[str, str]]
    pills: list[tuple[str, list[str]]]
    arriving: list[int] = field(default_factory=list[int])
    leaving: list[int] = field(default_factory=list[int])
    y: float = 0
    height: float = 0
    right: float = 0

    @property
    def bottom(self) -> float:
        return self.y + self.height


def lay_out(graph: Graph) -> Layout:
    """Return where everything stands."""
    return _Laying(graph).laid()


class _Laying:
    """One picture while it is laid out, from the top down."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layout = Layout()
        self.rows = [
            _row(node, depth, graph.edges) for frame in graph.frames for node, depth in _with_depth(frame)
        ]
        self.place = {row.node.path: number for number, row in enumerate(self.rows)}
        self.place |= {SOURCE: -1, OUTPUT: len(self.rows)}
        self.ends = {end: _Row(Node(end, end), 0, [], []) for end in (SOURCE, OUTPUT)}
        inner = [edge for edge in graph.edges if edge.giver in self.place and edge.taker in self.place]
        self.far = [edge for edge in inner if self.place[edge.taker] - self.place[edge.giver] > 1]
        self.near: dict[int, list[Edge]] = {}
        for edge in inner:
            if edge not in self.far:
                self.near.setdefault(self.place[edge.taker], []).append(edge)
        for number, edge in enumerate(self.far):
            self._at(edge.giver).leaving.append(number)
            self._at(edge.taker).arriving.append(number)
        self.deepest = max((row.depth for row in self.rows), default=0)
        self.left = self._lane() + (self.deepest + 1) * PAD
        self.width, self.middle = self._box_width()
        self.tracks = self._tracks()
        self.right = self.left + self.width + TRACK + sum(self._track_widths())

    def _at(self, path: str) -> _Row:
        return self.ends.get(path) or self.rows[self.place[path]]

    def _slots(self, row: _Row) -> int:
        """Return how many lines the tracks want that begin or end at a row."""
        return len(row.arriving) + sum(len(self.far[number].ports) + 1 for number in row.leaving)

    def _lane(self) -> float:
        widths = [width_of(text) for row in self.rows for _, texts in row.pills for text in texts]
        return PAD + (max(widths) + 2 * PAD + GAP if widths else 0)

    def _box_width(self) -> tuple[float, float]:
        """Return how wide each box is, and where its arrows are: right of every frame's title."""
        titles = [
            (self.deepest + 1 - depth) * -PAD + PAD + width_of(text)
            for depth, frame in _frames(self.graph.frames)
            for text in _frame_texts(frame)
        ]
        texts = [width_of(text) + 2 * PAD for row in self.rows for _, text in row.texts]
        middle = max([*titles, max(texts, default=0) / 2]) + PAD
        labels = [width_of(shown(port)) for edge in self.graph.edges for port in edge.ports]
        return max([*texts, middle + PAD + max(labels, default=0) + PAD]), middle

    def _tracks(self) -> list[int]:
        """Return the track of each far edge: the first that is free over all of its rows."""
        busy: list[list[tuple[int, int]]] = []
        tracks: list[int] = []
        for edge in self.far:
            first, last = self.place[edge.giver], self.place[edge.taker]
            free = (
                number
                for number, taken in enumerate(busy)
                if all(last < start or end < first for start, end in taken)
            )
            track = next(free, len(busy))
            if track == len(busy):
                busy.append([])
            busy[track].append((first, last))
            tracks.append(track)
        return tracks

    def _track_widths(self) -> list[float]:
        widths = [0.0] * (max(self.tracks, default=-1) + 1)
        for edge, track in zip(self.far, self.tracks, strict=True):
            labels = max((width_of(shown(port)) for port in edge.ports), default=0.0)
            widths[track] = max(widths[track], labels + 2 * PAD)
        return widths

    def laid(self) -> Layout:
        """Return the whole: frames and rows in turn, then what runs beside them."""
        y: float = PAD
        if any(edge.giver == SOURCE for edge in self.graph.edges):
            y = self._end(SOURCE, "from above", y)
        row = 0
        for frame in self.graph.frames:
            y, row = self._frame(frame, 0, y, row)
            y += PAD
        leaving = [edge for edge in self.graph.edges if edge.taker == OUTPUT]
        if leaving:
            y = self._arrows_into(row, y)
            y = self._end(OUTPUT, "to the listener" if _is_audio(leaving) else "to what stands below", y)
        self._run_tracks()
        self.layout.width, self.layout.height = self.right + (self.deepest + 2) * PAD, y + PAD
        self.layout.boxes.sort(key=lambda box: box.kind != "frame")
        return self.layout

    def _frame(self, frame: Frame, depth: int, y: float, row: int) -> tuple[float, int]:
        """Lay out a frame whose top is at `y`; return its bottom and the next row."""
        x = self.left - (self.deepest + 1 - depth) * PAD
        top = y
        y += PAD / 2
        for line, text in enumerate(_frame_texts(frame)):
            y += LINE
            self.layout.words.append(Words(x + PAD / 2, y, text, "fault" if line else "frame"))
        y += PAD
        for item in frame.inside:
            if isinstance(item, Frame):
                y, row = self._frame(item, depth + 1, y, row)
                y += PAD
                continue
            y = self._arrows_into(row, y)
            y = self._block(self.rows[row], y) + PAD
            row += 1
        width = self.right + (self.deepest + 1 - depth) * PAD - x
        kind = "frame fault" if frame.faults else "frame"
        self.layout.boxes.append(Box(x, top, width, y - top, kind))
        return y, row

    def _arrows_into(self, row: int, y: float) -> float:
        """Draw what comes from the row just above, if anything does; return where the arrow ends."""
        edges = self.near.get(row, [])
        if not edges:
            return y
        above = self.rows[row - 1] if row else self.ends[SOURCE]
        return self._arrow_down(y, _labels(edges), begin=above.bottom)

    def _arrow_down(self, y: float, labels: Sequence[str], *, begin: float) -> float:
        """Draw an arrow from `begin` over `y` on down, its labels below `y`; return where it ends."""
        x = self.left + self.middle
        end = y + LINE * len(labels) + GAP
        self.layout.arrows.append(Arrow(((x, begin), (x, end))))
        for number, label in enumerate(labels, 1):
            self.layout.words.append(Words(x + PAD, y + LINE * number, label, "label"))
        return end

    def _end(self, end: str, text: str, y: float) -> float:
        x, width, row = self.left + self.middle, width_of(text) + 2 * PAD, self.ends[end]
        row.y, row.right = y, x + width / 2
        row.height = LINE * max(1, self._slots(row)) + PAD
        self.layout.boxes.append(Box(x - width / 2, y, width, row.height, "end"))
        self.layout.words.append(Words(x - width / 2 + PAD, y + LINE + 1, text))
        return row.bottom

    def _block(self, row: _Row, y: float) -> float:
        """Draw a row's box with its pills; return its bottom."""
        pills = sum(LINE * len(texts) + PAD for _, texts in row.pills) + PAD * max(len(row.pills) - 1, 0)
        row.y, row.right = y, self.left + self.width
        row.height = max(LINE * len(row.texts) + PAD, pills, LINE * self._slots(row) + PAD)
        kind = "block" if not row.node.faults else "fault" if row.node.is_certain else "unknown"
        self.layout.boxes.append(Box(self.left, y, self.width, row.height, kind))
        for number, (words, text) in enumerate(row.texts, 1):
            self.layout.words.append(Words(self.left + PAD, y + LINE * number + 1, text, words))
        for pill, texts in row.pills:
            width, height = max(map(width_of, texts)) + 2 * PAD, LINE * len(texts) + PAD
            x = self.left - (self.deepest + 1) * PAD - GAP - width
            self.layout.boxes.append(Box(x, y, width, height, pill))
            for number, text in enumerate(texts, 1):
                self.layout.words.append(Words(x + PAD, y + LINE * number + 1, text, pill))
            points = ((x + width, y + height / 2), (self.left, y + height / 2))
            self.layout.arrows.append(Arrow(points, pill))
            y += height + PAD
        return row.bottom

    def _run_tracks(self) -> None:
        """Draw what flows further than to the next row; each end has a line of its own at its box."""
        edge_of_box = self.left + self.width
        widths = self._track_widths()
        for number, (edge, track) in enumerate(zip(self.far, self.tracks, strict=True)):
            giver, taker = self._at(edge.giver), self._at(edge.taker)
            before = giver.leaving[: giver.leaving.index(number)]
            used = len(giver.arriving) + sum(len(self.far[other].ports) + 1 for other in before)
            leave = giver.y + PAD / 2 + LINE * used + LINE / 2
            arrive = taker.y + PAD / 2 + LINE * taker.arriving.index(number) + LINE / 2
            x = edge_of_box + TRACK + sum(widths[:track])
            points = ((giver.right, leave), (x, leave), (x, arrive), (taker.right, arrive))
            self.layout.arrows.append(Arrow(points))
            for line, label in enumerate(_labels([edge]), 1):
                self.layout.words.append(Words(x + PAD / 2, leave + LINE * line, label, "label"))


def _row(node: Node, depth: int, edges: Sequence[Edge]) -> _Row:
    texts = [("title", node.title), *(("", line) for line in node.lines)]
    kind = "fault" if node.is_certain else "unknown"
    texts += [(kind, line) for fault in node.faults for line in textwrap.wrap(fault, WRAP)]
    pills = [
        ("request" if edge.giver == REQUEST else "unmet", _labels([edge]))
        for edge in edges
        if edge.taker == node.path and edge.giver in (REQUEST, NOBODY)
    ]
    return _Row(node, depth, texts, pills)


def _frames(frames: Sequence[Frame | Node], depth: int = 0) -> list[tuple[int, Frame]]:
    found: list[tuple[int, Frame]] = []
    for frame in frames:
        if isinstance(frame, Frame):
            found += [(depth, frame), *_frames(frame.inside, depth + 1)]
    return found


def _with_depth(frame: Frame, depth: int = 0) -> list[tuple[Node, int]]:
    found: list[tuple[Node, int]] = []
    for item in frame.inside:
        found += _with_depth(item, depth + 1) if isinstance(item, Frame) else [(item, depth)]
    return found


def _frame_texts(frame: Frame) -> list[str]:
    return [frame.title, *(line for fault in frame.faults for line in textwrap.wrap(fault, WRAP))]


def _labels(edges: Sequence[Edge]) -> list[str]:
    return [shown(port) for edge in edges for port in edge.ports]


def _is_audio(edges: Sequence[Edge]) -> bool:
    return any(port.name == "samples" for edge in edges for port in edge.ports)
