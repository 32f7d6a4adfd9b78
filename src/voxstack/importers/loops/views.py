"""Find the frames in what a Loop collected: how many a step makes, and which tensor holds them in a row."""

from dataclasses import dataclass

import numpy as np

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.graphs.measuring import run_tensors

__all__ = ["Framing", "find_frames", "unselected"]

VIEWS = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
STEPS = 3


@dataclass(frozen=True)
class Framing:
    """The frames behind a Loop: their tensor [1, frames, bands], and what each step gives of them."""

    tensor: str
    per_step: int
    bands: int


def unselected(after: Graph, output: str) -> str:
    """Return an output as it was before frames were selected by what they hold, if any were.

    Some exports drop frames of silence at the end; a stream cannot know that it is at its end.
    """
    tensor, found = output, output
    while (node := after.producer(tensor)) is not None:
        by_content = node.op_type == "Gather" and any(
            other.op_type == "NonZero" for other in after.ancestors(node.input[1])
        )
        if by_content or node.op_type == "Compress":
            found = node.input[0]
        elif node.op_type not in VIEWS:
            break
        tensor = node.input[0]
    while found != output and (node := after.producer(found)) is not None and node.op_type in VIEWS:
        found = node.input[0]
    return found


def find_frames(after: Graph, piece: str, refined: str) -> Framing:
    """Find the tensor [1, steps · r, bands] that is nothing but the pieces in another shape.

    Raises:   ImporterError if there is none on which all of `refined` hangs
    """
    (edge,) = [edge for edge in after.inputs if edge.name == piece]
    shape = [int(axis) for axis in (edge.axes or ())[1:]]
    width = int(np.prod(shape, dtype=int))
    probe = np.arange(STEPS * width, dtype=np.float32).reshape(STEPS, *shape)
    views = [piece]
    for node in after.ancestors(refined):
        if node.op_type in VIEWS and node.input[0] in views:
            views.append(node.output[0])
    values = run_tensors(after, views, {piece: probe})
    for name in views:
        value = values[name]
        frames = value.shape[1] if value.ndim == 3 else 0
        if (
            frames
            and value.shape[0] == 1
            and frames % STEPS == 0
            and np.array_equal(value.ravel(), probe.ravel())
        ):
            return Framing(name, frames // STEPS, value.shape[2])
    raise ImporterError("what its Loop collects is never laid out as frames [1, frames, bands]")
