"""Plan windows: which input steps a net must see so that an output step comes out right.

    input    ░░░░░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░          ░ context, computed again   ▓ new steps
             ▲lo   ▲start        ▲stop ▲hi
    output         ▓▓▓▓▓▓▓▓▓▓▓▓▓▓  × hop          what lies over ░ is cropped

The only place where windows, padding and cropping are worked out; blocks and runtimes use its plan.
"""

from dataclasses import dataclass
from fractions import Fraction

from voxstack.core.blocks import Timing
from voxstack.core.nets import Ragged

__all__ = ["Window", "new_steps", "timing", "window"]

LEAST_NEW = 2
"""New steps of a window, in units of its context: at most a third of what a net computes was known."""


@dataclass(frozen=True, slots=True)
class Window:
    """One run of a net over a stretch of the ragged axis.

    lo, hi          input steps that are read, within the utterance
    pad_left/right  steps put before and after them: the pad value, or the last step if there is none
    crop            output steps to drop at the front of the run's result
    keep            output steps to keep after these
    """

    lo: int
    hi: int
    pad_left: int
    pad_right: int
    crop: int
    keep: int

    @property
    def size(self) -> int:
        return self.pad_left + self.hi - self.lo + self.pad_right


def new_steps(ragged: Ragged, start: int, wanted: int, *, sequential: bool = False) -> int | None:
    """Return how many new steps the window at `start` computes to give `wanted`; None: all there are.

    The first one computes no more than is wanted, for somebody waits for it. Later ones compute at
    least twice their context, however little is wanted; the rest is kept for the next read. Where
    input comes step by step (`sequential`), that is reached by doubling: at 42 steps of context a
    second of frames would be waited for before the second chunk.
    """
    if not ragged.chunkable:
        return None
    least = LEAST_NEW * sum(ragged.context) if start else 0
    return max(wanted, min(least, start) if sequential else least)


def timing(ragged: Ragged) -> Timing:
    """Return the timing of a block that runs a net in such windows."""
    left, right = ragged.context
    lookahead = right + LEAST_NEW * (left + right) if ragged.chunkable else None
    return Timing(Fraction(ragged.hop), left, right, lookahead)


def window(ragged: Ragged, start: int, stop: int, end: int | None) -> Window:
    """Plan the run that gives the output of input steps `start` to `stop`.

    `end` is the utterance's length if it is known (everything up to `stop + context` has arrived
    otherwise). A net with a pad value sees the utterance extended by its context; one without sees
    the utterance's own end, and nothing more unless that is too short for it.
    """
    left, right = ragged.context
    hi = stop + right if end is None else min(stop + right, end)
    lo = max(start - left, 0)
    pad_left = pad_right = 0
    if ragged.pad is not None:
        pad_left = lo - (start - left)
        pad_right = stop + right - hi
    pad_right += max(ragged.least - (pad_left + hi - lo + pad_right), 0)
    return Window(
        lo=lo,
        hi=hi,
        pad_left=pad_left,
        pad_right=pad_right,
        crop=(start - lo + pad_left) * ragged.hop,
        keep=(stop - start) * ragged.hop,
    )
