"""Notice the stretches of a text that a voice has no sounds for, so that nothing vanishes silently."""

from collections.abc import Collection, Iterable, Iterator

from voxstack.core.events import Event, report
from voxstack.core.text import Phonemes
from voxstack.stages.text.clean import is_speakable
from voxstack.stages.text.speakable import shown

__all__ = ["report_skipped", "unheard"]


def report_skipped(text: str, start: int) -> None:
    """Report that `text`, which stands at offset `start` of the request's text, was skipped."""
    report(
        Event(
            "text.skipped",
            "text",
            0,
            f"no sounds for {shown(text)}; skipped",
            {"skipped": text, "span": [start, start + len(text)]},
        )
    )


def unheard(
    text: str, utterances: Iterable[Phonemes], *, silent: Collection[str]
) -> Iterator[tuple[int, int]]:
    """Yield the stretches of `text` whose letters, numbers and named signs no symbol voices.

    Space and punctuation are in a stretch only where they stand inside it.

    In:       utterances  whose spans count in `text`
              silent      symbols that stand for a pause or for what is unknown
    """
    heard = bytearray(len(text))
    for phonemes in utterances:
        spans: list[list[int]] = phonemes.spans.tolist()
        for symbol, (start, stop) in zip(phonemes.symbols, spans, strict=True):
            is_sound = not symbol.isspace()
            heard[start:stop] = bytes([is_sound]) * (stop - start)
        for symbol, (start, stop) in zip(phonemes.symbols, spans, strict=True):
            if symbol in silent:  # the spacer behind it voices no more than it does
                heard[start:stop] = bytes(stop - start)
    first = last = -1
    for place, char in enumerate(text):
        if not heard[place] and is_speakable(char):
            first, last = (first if first >= 0 else place), place + 1
        elif heard[place] and first >= 0:
            yield first, last
            first = -1
    if first >= 0:
        yield first, last
