"""Run SequenceBlocks of which some wait for others' results, at the same time where somebody can.

A block says what may run together; how is not its matter. Threads belong to the engine, which puts its
way into the context in which it opens a stack, as the wish to stop travels (`core.cancel`). Where nobody
did, blocks run one after another; what comes out is the same.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from voxstack.core.blocks import SequenceBlock
from voxstack.core.ports import Array, Tensors

__all__ = ["Way", "in_turn", "run_together", "running_by", "waits"]

Way: TypeAlias = Callable[[Sequence[SequenceBlock], Tensors], dict[str, Array]]
"""Return what was known and what the blocks gave; each stands after those whose results it takes."""


def in_turn(blocks: Sequence[SequenceBlock], tensors: Tensors) -> dict[str, Array]:
    """Run blocks one after another; return what was known and what they gave."""
    known = dict(tensors)
    for block in blocks:
        known |= block.run(known)
    return known


def waits(blocks: Sequence[SequenceBlock]) -> list[set[int]]:
    """Return, for each block, the places of those before it whose results it takes."""
    return [
        {
            place
            for place, before in enumerate(blocks[:number])
            if not block.takes.keys().isdisjoint(before.gives)
        }
        for number, block in enumerate(blocks)
    ]


_way: ContextVar[Way] = ContextVar("voxstack_way", default=in_turn)


@contextmanager
def running_by(way: Way) -> Generator[None, None, None]:
    """Make this the way in which blocks inside run what may run together."""
    token = _way.set(way)
    try:
        yield
    finally:
        _way.reset(token)


def run_together(blocks: Sequence[SequenceBlock], tensors: Tensors) -> dict[str, Array]:
    """Run blocks in the way of whoever runs the stack; return what was known and what they gave."""
    return _way.get()(blocks, tensors)
