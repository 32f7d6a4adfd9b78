"""Choose sizes that suit a net, and say which ones it cannot run at."""

from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec, Ragged
from voxstack.core.shapes import is_told
from voxstack.core.sizes import ShapePolicy, Sizes

__all__ = ["automatic_sizes", "check_policy"]


def check_policy(spec: NetSpec, shapes: ShapePolicy) -> str | None:
    """Return what keeps a net from running at such sizes, or None."""
    sizes, ragged = shapes.steps, spec.ragged
    if not sizes.largest or ragged is None:
        return None
    free = {axis for tensor in spec.inputs.values() for axis in tensor.axes if isinstance(axis, str)}
    others = sorted(free - {BATCH, ragged.axis})
    if others and sizes.buckets:
        return (
            f"its inputs have more axes without a size ({', '.join(others)}), "
            f"and only '{ragged.axis}' can be fitted; let it run at any size"
        )
    if ragged.chunkable:
        needed = max(sum(ragged.context) + 1, ragged.least)
        if sizes.largest < needed:
            return (
                f"{sizes.largest} steps of '{ragged.axis}' are too few: {ragged.context[0]} + 1 + "
                f"{ragged.context[1]} are the least that give one; declare a size of {needed} or more"
            )
    elif sizes.buckets and not is_told(ragged) and ragged.pad is None:
        return (
            "it is neither told what is padding nor may it be cut into windows, so no bucket gives the same; "
            'state "mask", "lengths" or "pad" under "ragged", or import the model again'
        )
    return None


PHONEME_BUCKETS = (32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024)
"""Sizes of a net that must see all phonemes: finer where there are many, for there padding takes time."""

FRAME_BUCKETS = (96, 160, 224, 320, 448, 640, 896, 1280, 2048)
"""Sizes of a net that must see all frames."""

FIXED_PHONEMES = 640
"""The one size of a net that must see all phonemes: 45 words in English with a sign between symbols."""

FIXED_FRAMES = 1280
"""The one size of a net that must see all frames: 16 s at 80 frames a second."""

GRAIN = 8
APART = 64
"""Steps from one bucket of a chunkable net to the next."""

LEAST_NEW, LEAST_NEW_TOLD = 8, 24
"""New steps in the least bucket: about the 90 ms that a listener waits for. A net that is told what is
padding may see less than its context; such nets stand above others, whose first bucket it must fill."""

MOST_NEW = 234
"""New steps in the largest bucket: about what the longest chunk asks for."""


def automatic_sizes(ragged: Ragged, *, one: bool) -> Sizes:
    """Return buckets that suit a net: one, or several from what the first chunk wants upwards."""
    if not ragged.chunkable:
        is_phonemes = ragged.axis == "phonemes"
        if one:
            return Sizes(buckets=(FIXED_PHONEMES if is_phonemes else FIXED_FRAMES,))
        return Sizes(buckets=PHONEME_BUCKETS if is_phonemes else FRAME_BUCKETS)
    context, right = sum(ragged.context), ragged.context[1]
    told = is_told(ragged)
    first = max(right + (LEAST_NEW_TOLD if told else LEAST_NEW), 0 if told else context + 1, ragged.least)
    first = _grain(first)
    if one:
        return Sizes(buckets=(_grain(max(3 * context, first, APART)),))
    count = -(-(context + MOST_NEW) // APART)
    return Sizes(buckets=(first, *(APART * k for k in range(1, count + 1) if APART * k > first + APART // 4)))


def _grain(steps: float) -> int:
    return -(-int(steps) // GRAIN) * GRAIN
