"""Plan windows: which input steps a net must see so that an output step comes out right.

    input    ░░░░░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░          ░ context, computed again   ▓ new steps
             ▲lo   ▲start        ▲stop ▲hi
    output         ▓▓▓▓▓▓▓▓▓▓▓▓▓▓  × hop          what lies over ░ is cropped

    in a bucket                      at the end, nothing may stand beyond it
    ░░░░▓▓▓▓▓▓▓▓▓▓░░░░               known │░░░░░░░░░▓▓▓▓│ end        the window ends where the
    known │ more  │ ahead                   bucket                    utterance ends, and looks back

The only place where windows, padding and cropping are worked out; blocks and runtimes use its plan,
whatever sizes the net was compiled for. What a window is filled up with beside what it must see is
*filler*: nothing that is kept depends on it.
"""

from dataclasses import dataclass
from fractions import Fraction

from voxstack.core.blocks import Timing
from voxstack.core.errors import TooLongError
from voxstack.core.nets import Ragged
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes

__all__ = [
    "Window",
    "is_told",
    "kept_steps",
    "new_steps",
    "reach",
    "timing",
    "whole_window",
    "window",
]

LEAST_NEW = 2
"""New steps of a window, in units of its context: at most a third of what a net computes was known."""


@dataclass(frozen=True, slots=True)
class Window:
    """One run of a net over a stretch of the ragged axis.

    lo, hi          input steps that are read, within the utterance
    pad_left/right  steps put before and after them: filler, the pad value, or the last step again
    crop            output steps to drop at the front of the run's result
    keep            output steps to keep after these
    repeat          of pad_right, how many steps repeat the utterance's last one (`Ragged.least`)
    """

    lo: int
    hi: int
    pad_left: int
    pad_right: int
    crop: int
    keep: int
    repeat: int = 0

    @property
    def size(self) -> int:
        return self.pad_left + self.hi - self.lo + self.pad_right


def is_told(ragged: Ragged) -> bool:
    """Answer whether a net is told what is padding, so that it may stand behind the utterance's end."""
    return ragged.mask is not None or ragged.lengths is not None


def least_steps(ragged: Ragged, sizes: Sizes) -> int:
    """Return the length below which an utterance's last step is repeated.

    In buckets, a net that is not told what is padding needs its context: in a shorter utterance every
    step meets both ends, so only a window of just that length would do. An addon that shall sound the
    same at any size states this as `least`; then it holds for any size.
    """
    bare = ragged.chunkable and ragged.pad is None and not is_told(ragged)
    return max(ragged.least, sum(ragged.context) if bare and sizes.buckets else 0)


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


def timing(ragged: Ragged, shapes: ShapePolicy = DYNAMIC) -> Timing:
    """Return the timing of a block that runs a net in such windows."""
    left, right = ragged.context
    lookahead = None
    if ragged.chunkable:
        lookahead = max(right + LEAST_NEW * (left + right), shapes.steps.largest or 0)
    return Timing(Fraction(ragged.hop), left, right, lookahead)


def reach(ragged: Ragged, sizes: Sizes, start: int, new: int, *, sequential: bool = False) -> int:
    """Return up to which input step the window at `start` wants to see, for `new` new ones.

    A bucket that is larger than that is filled with what comes next, for it costs no more; not where
    it comes step by step, for somebody would wait for it.
    """
    left, right = ragged.context
    wanted = start + new + right
    if not (sizes.largest and ragged.chunkable):
        return wanted
    lo = max(start - left, 0)
    front = left - (start - lo) if ragged.pad is not None else 0
    size = sizes.fit(front + wanted - lo)
    filled = lo + size - front
    return min(wanted, filled) if sequential or not sizes.buckets else filled


def window(
    ragged: Ragged, start: int, stop: int, end: int | None, sizes: Sizes = DYNAMIC.steps, *, seen: int = 0
) -> Window:
    """Plan the run that gives the output of input steps `start` to `stop`, or as much as a size holds.

    `end` is the utterance's length if it is known (everything up to `stop + context`, or up to `seen`,
    has arrived otherwise). A net with a pad value sees the utterance extended by its context; one
    without sees the utterance's own end, and nothing more unless that is too short for it.

    With a limited size, a window that cannot hold all of that gives fewer steps than were asked for; one
    with room to spare gives more.
    """
    if not sizes.largest:
        return _free(ragged, start, stop, end)
    if not ragged.chunkable:
        assert end is not None
        return whole_window(ragged, end, sizes)
    if ragged.pad is None and not is_told(ragged):
        return _between_bare_ends(ragged, start, stop, end, sizes, seen)
    return _told(ragged, start, stop, end, sizes, seen)


def _free(ragged: Ragged, start: int, stop: int, end: int | None) -> Window:
    left, right = ragged.context
    hi = stop + right if end is None else min(stop + right, end)
    lo = max(start - left, 0)
    pad_left = pad_right = 0
    if ragged.pad is not None:
        pad_left = lo - (start - left)
        pad_right = stop + right - hi
    # A net that cannot run on so few steps looks further back; only where there is nothing, the end repeats.
    lo = max(lo - max(ragged.least - (pad_left + hi - lo + pad_right), 0), 0)
    repeat = max(ragged.least - (pad_left + hi - lo + pad_right), 0)
    return Window(
        lo=lo,
        hi=hi,
        pad_left=pad_left,
        pad_right=pad_right + repeat,
        crop=(start - lo + pad_left) * ragged.hop,
        keep=(stop - start) * ragged.hop,
        repeat=repeat,
    )


def _told(ragged: Ragged, start: int, stop: int, end: int | None, sizes: Sizes, seen: int) -> Window:
    """Plan a window whose padding is harmless: a mask says where it is, or the pad value stands there."""
    left, right = ragged.context
    lo = max(start - left, 0)
    pad_left = left - (start - lo) if ragged.pad is not None else 0
    behind = right if ragged.pad is not None else 0
    wanted = stop + right if end is None else min(stop + right, end + behind)
    size = sizes.fit(pad_left + wanted - lo)
    edge = lo + size - pad_left
    hi = min(edge, max(seen, wanted)) if end is None else min(edge, end)
    until = hi - right
    if end is not None:
        until = end if edge >= end + behind else edge - right
    return _cut(ragged, start, until, Window(lo, hi, pad_left, edge - hi, 0, 0))


def _between_bare_ends(
    ragged: Ragged, start: int, stop: int, end: int | None, sizes: Sizes, seen: int
) -> Window:
    """Plan a window for a net that must not see anything beyond the utterance's ends.

    It stops where the utterance stops, however far back it then begins; one that is longer than
    the whole utterance begins with filler, and what that reaches is given by another window, which
    begins where the utterance begins.
    """
    left, right = ragged.context
    lo = max(start - left, 0)
    if end is None:
        size = sizes.fit(stop + right - lo)
        hi = min(lo + size, max(seen, stop + right))
        return _cut(ragged, start, hi - right, Window(lo, hi, 0, lo + size - hi, 0, 0))
    last = max(end, least_steps(ragged, sizes))
    size = sizes.fit(min(stop + right, last) - lo)
    if lo + size < last:
        hi = min(lo + size, end)
        return _cut(
            ragged, start, lo + size - right, Window(lo, hi, 0, lo + size - hi, 0, 0, lo + size - hi), end
        )
    if not sizes.buckets:
        return _cut(ragged, start, last, Window(lo, end, 0, last - end, 0, 0, last - end), end)
    first = last - size
    if first >= 0 or start >= left:
        lo = max(first, 0)
        placed = Window(lo, end, lo - first, last - end, 0, 0, last - end)
        return _cut(ragged, start, last, placed, end)
    placed = Window(lo, end, 0, lo + size - end, 0, 0, last - end)
    return _cut(ragged, start, last - right, placed, end)


def _cut(ragged: Ragged, start: int, until: int, placed: Window, end: int | None = None) -> Window:
    """Return a window with what it keeps: the output of steps `start` to `until`, at most to `end`."""
    until = until if end is None else min(until, end)
    return Window(
        placed.lo,
        placed.hi,
        placed.pad_left,
        placed.pad_right,
        crop=(start - placed.lo + placed.pad_left) * ragged.hop,
        keep=(until - start) * ragged.hop,
        repeat=placed.repeat,
    )


def whole_window(ragged: Ragged, steps: int, sizes: Sizes) -> Window:
    """Plan the one run of a net over a whole utterance.

    Raises:   TooLongError if no size holds that
    """
    least = max(steps, ragged.least) if steps else 0
    size = sizes.fit(least)
    if size < least:
        raise TooLongError(steps=least, most=size, axis=ragged.axis)
    return Window(0, steps, 0, size - steps, 0, steps * ragged.hop, repeat=least - steps)


def kept_steps(ragged: Ragged, sizes: Sizes) -> int:
    """Return how many input steps before the next window's start it may still want to see."""
    return max(ragged.context[0], ragged.least, sizes.largest or 0)
