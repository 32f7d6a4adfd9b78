"""Cut what stands behind a Loop, on what it collected: one piece a step, stacked along a first axis."""

from collections.abc import Mapping, Sequence

import numpy as np

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.hoisting import by_shape_only
from voxstack.importers.loops.body import BY_SHAPE, Collected
from voxstack.importers.loops.values import LoopValues, counted, equal

__all__ = ["STEPS", "cut_after"]

STEPS = "steps"


def cut_after(loop: LoopValues, outputs: Sequence[str]) -> tuple[Graph, dict[str, str]]:
    """Return the part behind a Loop, and the names of the body's pieces that it reads.

    Raises:   ImporterError if it reads what is only known when the Loop is over
    """
    main = loop.main
    edges = {edge.name: edge for edge in main.outputs}
    unknown = [name for name in outputs if name not in edges]
    if unknown:
        raise ImporterError(f"has no outputs {unknown}; has {sorted(edges)}")
    wanted = list(outputs) or list(edges)
    for item in loop.body.carried:
        if item.after == item.before:
            main.replace(item.last, item.first)
    stacked: dict[str, Edge] = {}
    pieces: dict[str, str] = {}
    for item in loop.body.collected:
        if _is_read(main, item.whole, wanted):
            edge, piece = Edge(f"piece_{len(pieces) + 1}", "float32", None), _lone(loop, item.piece, pieces)
            stacked[_put_together(loop, item)] = edge
            pieces[piece] = edge.name
    if not pieces:
        raise ImporterError(f"none of the outputs {wanted} hangs on what the Loop collects")
    _count_steps(loop, next(iter(stacked)), wanted)
    for item in loop.states:
        if _is_read(main, item.last, wanted):
            raise ImporterError(
                f"behind the Loop the model reads the last value of the state '{item.before}', "
                "which is not known while frames are still made"
            )
    _fix_sizes(loop, set(stacked), wanted)
    shapes = {name: loop.shape_of(piece) for piece, name in pieces.items()}
    stacked = {key: Edge(e.name, e.dtype, (STEPS, *shapes[e.name])) for key, e in stacked.items()}
    after = fold(main.extract(stacked, {name: edges[name] for name in wanted}))
    read = {edge.name for edge in after.inputs}
    return after, {piece: name for piece, name in pieces.items() if name in read}


def _is_read(main: Graph, tensor: str, outputs: Sequence[str]) -> bool:
    return any(
        tensor == name or any(tensor in node.input for node in main.ancestors(name)) for name in outputs
    )


def _lone(loop: LoopValues, piece: str, others: Mapping[str, str]) -> str:
    """Return a name of its own for a piece that is collected twice."""
    return loop.graph.add("Identity", [piece]) if piece in others else piece


def _put_together(loop: LoopValues, item: Collected) -> str:
    """Build what the Loop collected from its pieces stacked; return the name of the stack."""
    main, shape = loop.main, loop.shape_of(item.piece)
    axis = _written_along(loop, item, shape) if item.joined == BY_SHAPE else item.joined
    if axis is None:
        return item.whole
    # [steps, a, p, b] → [a, steps, p, b] → [a, steps · p, b]
    stack = f"{item.whole}/stack"
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)]
    turned = main.add("Transpose", [stack], {"perm": order}) if axis else stack
    sizes = np.asarray([*shape[:axis], -1, *shape[axis + 1 :]], np.int64)
    main.replace(item.whole, main.add("Reshape", [turned, main.constant(sizes)]))
    return stack


def _written_along(loop: LoopValues, item: Collected, shape: tuple[int, ...]) -> int | None:
    """Return the axis along which a buffer is written, told by the shapes of buffer and piece."""
    assert item.buffer is not None
    buffer = loop.examples.values([item.buffer])[item.buffer][0].shape
    if buffer[1:] == shape:
        return None
    places = [
        place for place, (part, size) in enumerate(zip(shape, buffer, strict=False)) if part == 1 != size
    ]
    if len(shape) != len(buffer) or len(places) != 1:
        raise ImporterError(f"cannot say where in {list(buffer)} the Loop writes pieces of {list(shape)}")
    return places[0]


def _count_steps(loop: LoopValues, stacked: str, wanted: Sequence[str]) -> None:
    """Read a counter's last value from how many pieces were collected."""
    main = loop.main
    for item in loop.states:
        by = loop.grows.get(item.before)
        if by is not None and _is_read(main, item.last, wanted):
            shape = main.add("Shape", [stacked])
            number = main.add("Gather", [shape, main.constant(np.asarray(0, np.int64))], {"axis": 0})
            main.replace(item.last, counted(main, number, by, loop.fixed[item.before]))


def _fix_sizes(loop: LoopValues, flowing: set[str], wanted: Sequence[str]) -> None:
    """Put constants for sizes that the part behind the Loop reads from the part before it."""
    main = loop.main
    nodes = [node for name in wanted for node in main.ancestors(name, stop=flowing)]
    for node in nodes:
        if flowing & set(node.input):
            flowing.update(node.output)
    for node in nodes:
        for name in dict.fromkeys(node.input) if flowing & set(node.input) else ():
            if name and name not in flowing and name not in main.constants and by_shape_only(main, name):
                values = loop.examples.values([name])[name]
                if equal(values):
                    main.replace(name, main.constant(values[0]))
