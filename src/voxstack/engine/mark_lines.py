"""Write marks as others read them: Amazon Polly's lines, and ElevenLabs' alignment of characters."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxstack.engine.marks import Mark

__all__ = ["CharacterTimes", "PollyLines", "character_times"]

BLOCK_CHARACTERS = 1024


class PollyLines:
    """Write marks as Amazon Polly's speech marks: a JSON object a line, times in ms, offsets in UTF-8 bytes.

    A phoneme's line has "type": "phoneme" and the voice's own symbol; Polly has visemes there.

    In:       text  the request's, as far as it is known; `feed` adds what comes later
    Example:
        >>> PollyLines("Ça va?").line(Mark("word", 0.25, None, 3, 5, "va"))
        '{"time":250,"type":"word","start":4,"end":6,"value":"va"}'
    """

    def __init__(self, text: str = "") -> None:
        self._blocks: list[str] = []
        self._characters = [0]
        self._bytes = [0]
        self.feed(text)

    def feed(self, text: str) -> None:
        """Add what has come of the text."""
        for start in range(0, len(text), BLOCK_CHARACTERS):
            block = text[start : start + BLOCK_CHARACTERS]
            self._bytes.append(self._bytes[-1] + _size(block))
            self._blocks.append(block)
            # Last: who writes lines in another thread looks here first.
            self._characters.append(self._characters[-1] + len(block))

    def line(self, mark: Mark) -> str:
        """Return a mark's line, without its end."""
        told = {
            "time": round(mark.time_s * 1000),
            "type": mark.kind,
            "start": self._offset(mark.start),
            "end": self._offset(mark.end),
            "value": mark.value,
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def _offset(self, character: int) -> int:
        """Return the offset in bytes of one in characters."""
        block = bisect_right(self._characters, character) - 1
        rest = character - self._characters[block]
        return self._bytes[block] + (_size(self._blocks[block][:rest]) if rest else 0)


@dataclass(frozen=True, slots=True)
class CharacterTimes:
    """When each character of a stretch of text is spoken.

    text         the stretch
    starts_s     seconds at which each character begins
    durations_s  how long each lasts; 0 for what is not spoken
    """

    text: str
    starts_s: tuple[float, ...]
    durations_s: tuple[float, ...]

    def as_http(self) -> dict[str, Any]:
        """Return `alignment` of ElevenLabs' answers with timestamps."""
        ends_s = [start + long for start, long in zip(self.starts_s, self.durations_s, strict=True)]
        return {
            "characters": list(self.text),
            "character_start_times_seconds": [round(start, 3) for start in self.starts_s],
            "character_end_times_seconds": [round(end, 3) for end in ends_s],
        }

    def as_websocket(self) -> dict[str, Any]:
        """Return `alignment` of ElevenLabs' WebSocket messages."""
        starts = [round(start * 1000) for start in self.starts_s]
        ends = [
            round((start + long) * 1000) for start, long in zip(self.starts_s, self.durations_s, strict=True)
        ]
        return {
            "chars": list(self.text),
            "charStartTimesMs": starts,
            "charDurationsMs": [end - start for start, end in zip(starts, ends, strict=True)],
        }


def character_times(
    text: str, marks: Sequence[Mark], *, start: int, end: int, begin_s: float, end_s: float
) -> CharacterTimes:
    """Return when the characters of text[start:end] are spoken, those of a word spread evenly over its time.

    A word whose length nobody knows lasts until the next one begins, or the audio ends. What belongs to no
    word has no length: it stands where the word before it ends.

    In:       text     the request's; marks  of it, of which those of words in text[start:end] count
              begin_s  seconds into the request's audio from which times count; end_s  where the audio ends
    Example:
        >>> marks = [Mark("word", 2.0, 0.5, 4, 6, "ab"), Mark("word", 3.0, None, 7, 8, "c")]
        >>> times = character_times("Hm. ab c", marks, start=4, end=8, begin_s=2.0, end_s=3.5)
        >>> times.text, times.starts_s, times.durations_s
        ('ab c', (0.0, 0.25, 0.5, 1.0), (0.25, 0.25, 0.0, 0.5))
    """
    words = sorted(
        (mark for mark in marks if mark.kind == "word" and start <= mark.start and mark.end <= end),
        key=lambda mark: mark.start,
    )
    starts_s: list[float] = []
    durations_s: list[float] = []
    done, at_s = start, begin_s if not words else min(max(begin_s, 0.0), words[0].time_s)
    for place, word in enumerate(words):
        if word.start < done:  # voiced twice; the first time counts
            continue
        next_s = words[place + 1].time_s if place + 1 < len(words) else end_s
        lasts_s = max(next_s - word.time_s, 0.0) if word.duration_s is None else word.duration_s
        starts_s += [at_s] * (word.start - done)
        durations_s += [0.0] * (word.start - done)
        share_s = lasts_s / (word.end - word.start)
        starts_s += [word.time_s + share_s * step for step in range(word.end - word.start)]
        durations_s += [share_s] * (word.end - word.start)
        done, at_s = word.end, word.time_s + lasts_s
    starts_s += [at_s] * (end - done)
    durations_s += [0.0] * (end - done)
    return CharacterTimes(text[start:end], tuple(time_s - begin_s for time_s in starts_s), tuple(durations_s))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
