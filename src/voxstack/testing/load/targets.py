"""Say what can be put under load: a voice in this process, several in turn, or whatever streams audio."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Protocol

from voxstack.engine.voice import Voice

__all__ = ["InTurn", "Target", "VoiceTarget"]


class Target(Protocol):
    """What speaks a text; asked from many threads at once.

    `stream` yields the seconds of audio of each chunk, when it comes. It raises what it likes: an error
    with the attribute `retry_after_s` is a refusal, which is tried again after so many seconds; any
    other counts as a failed request.
    """

    def stream(self, text: str) -> Iterator[float]: ...


class VoiceTarget:
    """A voice in this process."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def stream(self, text: str) -> Iterator[float]:
        with closing(self._voice.stream(text)) as speech:
            for chunk in speech:
                yield chunk.duration_s


class InTurn:
    """Several targets; requests are dealt out to one after the other."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._turns = itertools.count()

    def stream(self, text: str) -> Iterator[float]:
        return self._targets[next(self._turns) % len(self._targets)].stream(text)
