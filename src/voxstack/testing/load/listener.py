"""Hear one request: ask for chunks at a pace, and note when they came and whether playback ran dry.

request        chunk 1 came = playback starts
│              │
├─ first audio ┼── plays chunk 1 ──┼── plays chunk 2 ──┼ dry ┼── plays chunk 3 ──┼ played out
               │            │ asks │                   │     └ chunk 3 came
               └ asks       └──────┘ buffer: no more than this is held when the listener asks for more

At real-time pace a listener asks for the next chunk as soon as what it holds lasts no longer than its
buffer, so a first chunk shorter than the buffer is followed by a question at once; its request is over
when all is played. As fast as possible, it asks again at once, and its request is over when the last chunk
has come; playback is reckoned all the same.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

__all__ = ["BUFFER_MS", "Clock", "Heard", "Pace", "WallClock", "hear"]

BUFFER_MS = 200.0

Pace: TypeAlias = Literal["realtime", "fast"]


class Clock(Protocol):
    """What tells the time, in s from anywhere, and waits."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as its listener met it.

    first_audio_ms  from the request to the first chunk that holds audio
    inter_chunk_ms  for each later chunk, from when it was asked for to when it came
    whole_ms        from the request to its last chunk
    audio_s         seconds of audio
    underruns       how often playback had nothing to play
    dry_ms          for how long in all
    """

    first_audio_ms: float
    inter_chunk_ms: tuple[float, ...]
    whole_ms: float
    audio_s: float
    underruns: int = 0
    dry_ms: float = 0.0


def hear(
    chunks: Iterable[float],
    *,
    begun_s: float,
    clock: Clock,
    pace: Pace = "realtime",
    buffer_ms: float = BUFFER_MS,
) -> Heard | None:
    """Listen to chunks, each given as its seconds of audio; return None if none held any.

    In:       begun_s  when the request was made, by `clock`
    """
    first_s = last_s = played_s = begun_s  # played_s: when all that has come is played out
    audio_s = dry_s = 0.0
    underruns = 0
    waits: list[float] = []
    asked_s = begun_s
    for chunk_s in chunks:
        now = clock.now()
        if not audio_s:
            if chunk_s <= 0:
                continue  # an answer has begun, but there is nothing to hear yet
            first_s = played_s = now
        else:
            waits.append((now - asked_s) * 1000)
            if chunk_s > 0 and now > played_s:
                underruns += 1
                dry_s += now - played_s
                played_s = now
        audio_s += chunk_s
        played_s += chunk_s
        last_s = now
        if pace == "realtime":
            early_s = played_s - buffer_ms / 1000 - now
            if early_s > 0:
                clock.sleep(early_s)
        asked_s = clock.now()
    if not audio_s:
        return None
    if pace == "realtime" and (rest_s := played_s - clock.now()) > 0:
        clock.sleep(rest_s)
    return Heard(
        (first_s - begun_s) * 1000,
        tuple(waits),
        (last_s - begun_s) * 1000,
        audio_s,
        underruns,
        dry_s * 1000,
    )
