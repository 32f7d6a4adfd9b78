"""Speak with one decoder while another decodes the same frames, and tell how near the two are.

    python examples/ab_decoders.py "abc def"

The stack of the addon `tone-ab` holds both: `Compare` passes on the first and reports how the second
differs; a `Tap` in each branch hands its mels to whoever listens.
"""
# ruff: noqa: INP001 - a program that is run by its path

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import voxstack
from voxstack.core.events import TAP, Event, listening

ADDONS = Path(__file__).parent / "addons"


def compared(text: str, *, voice: str = "tone-ab", a: str = "decoder", b: str = "coarse") -> str:
    """Return a report of a text: what `Compare` says, and where the mels of its two taps differ most."""
    chunks: dict[tuple[int, str], list[np.ndarray]] = defaultdict(list)

    def hear(event: Event) -> None:
        if event.kind == TAP:
            chunks[event.values["utterance"], event.where].append(event.values["tensors"]["mel"])

    loaded = voxstack.load(voice, folders=[ADDONS])
    with listening(hear):
        audio = loaded.say(text)
    told = [event.text for event in audio.events if event.kind == "compare"]
    lines = [f"{audio.duration_s:.2f} s of audio, spoken with '{a}'"]
    for utterance, line in enumerate(told):
        one, two = (np.concatenate(chunks[utterance, tap]) for tap in (a, b))
        frame, band = np.unravel_index(np.abs(one - two).argmax(), one.shape)
        lines += [
            f"utterance {utterance}: {line}",
            f"  most in frame {frame}, band {band}: {one[frame, band]:.4f} and {two[frame, band]:.4f}",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(compared(sys.argv[1] if len(sys.argv) > 1 else "Abc def. Ghi jkl."))
