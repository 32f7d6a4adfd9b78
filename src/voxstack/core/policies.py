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


FIXED_PHONEMES, FIXED_FRAMES = 512, 1024
"""The one bucket of a net that must see the whole: 45 words in English; 12 s at 80 frames a second."""

GRAIN = 8
ROOM = 8
"""New steps in the least bucket of a chunkable net: about the 90 ms that a listener waits for."""


def automatic_sizes(ragged: Ragged, *, one: bool) -> Sizes:
    """Return buckets that suit a net: one, or a ladder from what the first chunk wants upwards."""
    context = sum(ragged.context)
    if ragged.chunkable:
        first = _grain(max(context + ROOM, ragged.least))
        if one:
            return Sizes(buckets=(_grain(max(3 * context, first, 64)),))
        ladder = [first]
        while ladder[-1] < context + 192:
            ladder.append(_grain(ladder[-1] * 1.6))
        return Sizes(buckets=tuple(ladder))
    most = FIXED_PHONEMES if ragged.axis == "phonemes" else FIXED_FRAMES
    if one:
        return Sizes(buckets=(most,))
    ladder = [32]
    while ladder[-1] < 2 * most:
        ladder.append(min(_grain(ladder[-1] * 1.25), 2 * most))
    return Sizes(buckets=tuple(ladder))


def _grain(steps: float) -> int:
    return -(-int(steps) // GRAIN) * GRAIN
