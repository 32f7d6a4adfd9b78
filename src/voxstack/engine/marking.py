"""Turn what blocks tell of symbols and frames into marks, utterance by utterance, as the audio is made.

durations   told when an utterance is opened: every mark is known, to the sample, with its length
alignment   told as frames are made: a symbol begins when the attention first reaches it or goes beyond

frame ─► × samples per frame, by the stack's timing ─► − samples left out at the start ─► + where it begins
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from voxstack.core.blocks import Timing
from voxstack.core.errors import RequestError
from voxstack.core.events import ALIGNMENT, DURATIONS, LEFT_OUT, Event
from voxstack.core.ports import Array
from voxstack.engine.fitting import Utterance
from voxstack.engine.marks import WHERE_KNOWN, Mark, MarkKind, WhereKnown
from voxstack.engine.spoken import spoken_words

__all__ = ["Marker", "Marking"]

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Marking:
    """What marks a request asks for, and how its frames become samples.

    samples_per_frame  of the head of the stack, by its timing
    silent             symbols that voice nothing
    """

    kinds: frozenset[MarkKind | WhereKnown]
    samples_per_frame: Fraction
    sample_rate: int
    silent: Collection[str] = ()

    @classmethod
    def of(
        cls,
        kinds: frozenset[MarkKind | WhereKnown],
        timing: Timing,
        sample_rate: int,
        options: Mapping[str, Any],
    ) -> "Marking":
        """Return it for a voice; `timing` is its stack's, `options` are its front end's."""
        unvoiced = [options[key] for key in ("spacer", "separator", "unknown") if options.get(key)]
        silent = frozenset((*unvoiced, *options.get("pauses", {}).values()))
        return cls(kinds, timing.steps, sample_rate, silent)

    def marker(self, utterance: Utterance) -> "Marker":
        return Marker(self, utterance)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A mark that is known but for its time: it begins with symbol `first` and ends before `last`."""

    first: int
    last: int
    kind: MarkKind
    start: int
    end: int
    value: str


class Marker:
    """One utterance's marks; hears what blocks tell while it is opened and read."""

    def __init__(self, marking: Marking, utterance: Utterance) -> None:
        self._marking = marking
        self._symbols = len(utterance.ids)
        self._whole = utterance.whole
        self._is_whole = utterance.sentence.text == utterance.whole.text
        self._planned = list(reversed(_plan(utterance, marking)))
        self._begins = np.zeros(self._symbols, np.int64)
        self._known = 0
        self._ends: Array | None = None
        self._counts_others = False
        self._left_out = 0
        self._origin: int | None = None

    @property
    def sentence(self) -> int:
        """Where in the request's text the sentence begins of which this is all or a part."""
        return self._whole.start

    def hear(self, event: Event) -> None:
        """Take what a block tells."""
        if event.kind == DURATIONS and self._ends is None:
            frames: Array = event.values["frames"]
            self._counts_others = len(frames) != self._symbols
            if not self._counts_others:
                self._ends = np.cumsum(frames)
                self._begins, self._known = self._ends - frames, self._symbols
        elif event.kind == ALIGNMENT and self._ends is None:
            weights: Array | None = event.values.get("weights")
            if not self._counts_others and (weights is None or weights.shape[1] == self._symbols):
                self._follow(event.step, event.values["positions"])
        elif event.kind == LEFT_OUT:
            share = Fraction(self._marking.sample_rate) / Fraction(event.values["rate"])
            self._left_out += _rounded(event.values["steps"] * share)

    def begin(self, origin: int) -> None:
        """Learn at which sample of the request its audio begins; what comes later changes nothing."""
        if self._origin is None:
            self._origin = origin

    def take(self, until: int, *, is_over: bool, marks_sentence: bool) -> tuple[Mark, ...]:
        """Return the marks that begin before sample `until` of the request and were not returned before.

        In:       is_over         whether that is where its audio ends; all begin there at the latest
                  marks_sentence  whether its sentence was not marked with a part of it that came before
        Raises:   RequestError if it asks for words or phonemes, and no block tells when they are spoken
        """
        origin = self._origin or 0
        taken: list[Mark] = []
        if self._planned and self._planned[0].kind != "sentence" and not self._known and until > origin:
            if WHERE_KNOWN in self._marking.kinds:
                self._planned = [planned for planned in self._planned if planned.kind == "sentence"]
                return self.take(until, is_over=is_over, marks_sentence=marks_sentence)
            raise RequestError(
                "no block of this voice tells which symbol it speaks when, so it can mark sentences only",
                where="marks",
            )
        while self._planned:
            planned = self._planned[-1]
            if planned.kind == "sentence":
                at, end = origin, None
                if self._is_whole and self._ends is not None:
                    end = origin + self._sample(int(self._ends[-1]))
            elif planned.first < self._known:
                at = origin + self._sample(int(self._begins[planned.first]))
                end = None if self._ends is None else origin + self._sample(int(self._ends[planned.last - 1]))
            else:
                break
            if at >= until:
                if not is_over:
                    break
                at = until
            self._planned.pop()
            if planned.kind != "sentence" or marks_sentence:
                taken.append(self._mark(planned, at, end))
        return tuple(taken)

    def _mark(self, planned: _Planned, at: int, end: int | None) -> Mark:
        rate = self._marking.sample_rate
        duration_s = None if end is None else max(end - at, 0) / rate
        return Mark(planned.kind, at / rate, duration_s, planned.start, planned.end, planned.value)

    def _sample(self, frame: int) -> int:
        """Return the sample of the utterance's audio with which a frame begins."""
        return max(_rounded(frame * self._marking.samples_per_frame) - self._left_out, 0)

    def _follow(self, step: int, positions: Array) -> None:
        """Note when symbols begin that these frames reach first."""
        if not len(positions):
            return
        front = np.maximum.accumulate(positions)
        reached = np.arange(self._known, int(front[-1]) + 1)
        if len(reached):
            self._begins[reached] = step + np.searchsorted(front, reached)
            self._known = int(reached[-1]) + 1


def _plan(utterance: Utterance, marking: Marking) -> list[_Planned]:
    """Return an utterance's marks in the order in which they begin, what holds others before these."""
    whole, kinds = utterance.whole, marking.kinds
    planned: list[_Planned] = []
    if "sentence" in kinds:
        planned.append(_Planned(0, 0, "sentence", whole.start, whole.start + len(whole.text), whole.text))
    if kinds.isdisjoint(("word", "phoneme")):
        return planned
    for word in spoken_words(utterance, whole, marking.silent):
        if "word" in kinds:
            value = whole.text[word.start - whole.start : word.end - whole.start]
            planned.append(_Planned(word.first, word.last, "word", word.start, word.end, value))
        if "phoneme" in kinds:
            planned += [
                _Planned(sound.first, sound.last, "phoneme", word.start, word.end, sound.value)
                for sound in word.sounds
            ]
    order = {"sentence": 0, "word": 1, "phoneme": 2}
    return sorted(planned, key=lambda mark: (mark.first, order[mark.kind]))


def _rounded(samples: Fraction) -> int:
    return math.floor(samples + HALF)
