"""Make utterances that fit the nets: a sentence that is too long is cut at its best joints."""

import unicodedata
from collections.abc import Iterable, Iterator
from contextvars import Context
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from voxstack.core.errors import RequestError, TooLongError
from voxstack.core.nets import Net
from voxstack.core.text import FrontEnd, Phonemes, Sentence
from voxstack.stages.text.cuts import Joint, best_cuts, joints
from voxstack.stages.text.sentences import PAUSES_MS
from voxstack.stages.text.speakable import shown

__all__ = ["NO_LIMITS", "PAUSE_MS", "Fitting", "Limits", "Utterance", "limits_of"]

PHONEMES, FRAMES = "phonemes", "frames"
ROOM = 0.8
"""Share of the frames that fit to plan with: of 60 English and 8 Mandarin sentences nine in ten had at most
1/0.8 of the golden sample's frames for an id. The others are cut again once their frames are known."""

INNER_COST = 4.0
"""What a cut costs, besides, inside a stretch that is read as one, such as a date: nearly always too much."""


PAUSE_MS = PAUSES_MS["split"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an utterance may be for the nets that must see all of it; None: any length.

    frames_per_id  frames that an id lasts at speed 1, measured; None: it is not known
    """

    most_ids: int | None = None
    most_frames: int | None = None
    frames_per_id: float | None = None

    def ids(self, speed: float = 1.0) -> int | None:
        """Return how many ids fit at a speed, by what is known before they are encoded.

        Example:
            >>> Limits(most_ids=512, most_frames=1000, frames_per_id=2.5).ids(speed=0.5)
            160
        """
        known = [] if self.most_ids is None else [self.most_ids]
        if self.most_frames is not None and self.frames_per_id:
            known.append(max(int(self.most_frames * speed / self.frames_per_id * ROOM), 1))
        return min(known, default=None)


NO_LIMITS = Limits()


def limits_of(
    nets: Iterable[Net], *, golden_ids: int | None = None, golden_frames: float | None = None
) -> Limits:
    """Return the limits that nets set which cannot be cut into windows, by the sizes they were compiled for.

    In:       golden_ids, golden_frames  of the addon's sample; the frames as they would be at speed 1
    """
    most: dict[str, int] = {}
    for net in nets:
        ragged, largest = net.spec.ragged, net.shapes.steps.largest
        if ragged is not None and not ragged.chunkable and largest is not None:
            most[ragged.axis] = min(largest, most.get(ragged.axis, largest))
    rate = golden_frames / golden_ids if golden_ids and golden_frames else None
    return Limits(most.get(PHONEMES), most.get(FRAMES), rate)


@dataclass(frozen=True, slots=True, eq=False)
class Utterance(Phonemes):
    """Phonemes that remember the stretch of text they say, so that they may be said in parts.

    sentence  that stretch, behind a part perhaps with a comma that the text does not have
    whole     the sentence that it is all or a part of, as it stands in the text
    """

    sentence: Sentence = field(kw_only=True)
    whole: Sentence = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Fitting:
    """Turn sentences into utterances of at most so many ids.

    A sentence that fits is left as it is. Parts of one that does not are phonemized anew, each at its
    place in the request's text, with a short pause between them.

    In:       speed     at which they are spoken
              pause_ms  behind a part that is not the last; a voice makes the rest of the pause itself
    """

    front: FrontEnd
    limits: Limits = NO_LIMITS
    speed: float = 1.0
    pause_ms: int = PAUSE_MS

    def utterances(self, sentence: Sentence) -> list[Utterance]:
        """Return what says a sentence; raise RequestError if it cannot be said, or not be cut enough."""
        most = self.limits.ids(self.speed)
        said = _placed(sentence, self.front.phonemize(sentence), sentence)
        return [part for utterance in said for part in self._fitted(utterance, most)]

    def parts(self, utterance: Utterance, error: TooLongError) -> list[Utterance]:
        """Return what says the same as an utterance that was too long for a net.

        Raises:   RequestError if it cannot be cut
        """
        count = len(utterance.ids)
        room = 1.0 if error.axis == PHONEMES else ROOM
        most = max(min(int(count * error.most / error.steps * room), count - 1), 1)
        parts = self._split(utterance, most)
        if not parts:
            length = f"{count} ids and {error.steps} {error.axis}"
            raise _refusal(utterance, length, error.most) from error
        return [fitted for part in parts for fitted in self._fitted(part, most)]

    def _fitted(self, utterance: Utterance, most: int | None) -> list[Utterance]:
        count, certain = len(utterance.ids), self.limits.most_ids
        if most is None or count <= most:
            return [utterance]
        parts = self._split(utterance, most)
        if not parts and certain is not None and count > certain:
            raise _refusal(utterance, f"{count} ids", certain)
        # What cannot be cut, and is too long by an estimate only, is tried as it is.
        return [fitted for part in parts for fitted in self._fitted(part, most)] or [utterance]

    def _split(self, utterance: Utterance, most: int) -> list[Utterance]:
        """Return parts that aim at `most` ids; none if there is no joint to cut at."""
        places = [0, *_cuts(utterance, most), len(utterance.sentence.text)]
        if len(places) == 2:
            return []
        parts = [self._part(utterance, start, stop, most) for start, stop in pairwise(places)]
        parts = [part for part in parts if part]
        ends = [self.pause_ms] * (len(parts) - 1) + [utterance.pause_ms]
        return [
            said
            for part, pause_ms in zip(parts, ends, strict=False)
            for said in (*part[:-1], replace(part[-1], pause_ms=pause_ms))
        ]

    def _part(self, utterance: Utterance, start: int, stop: int, most: int) -> list[Utterance]:
        """Return what says a stretch of an utterance's text; nothing if that has no sounds of its own.

        A comma is put behind one that ends with a word, where the voice knows commas and it still fits:
        without, the voice "joe" ends as low as with a full stop, 0.8 semitones below the uncut sentence;
        with it, 0.2 (median of 34 cuts).
        """
        text = utterance.sentence.text
        stretch = text[start:stop].lstrip()
        first = utterance.sentence.start + stop - len(stretch)
        sentence = Sentence(stretch.rstrip(), first)
        last = min(first + len(sentence.text), int(utterance.spans.max()))
        try:
            said = self._said_quietly(sentence)
        except RequestError:  # the voice has no sounds for any of it
            return []
        if stop < len(text) and unicodedata.category(sentence.text[-1])[0] != "P":
            going_on = replace(sentence, text=f"{sentence.text},")
            heard = self._said_quietly(going_on)
            overflows = len(said[-1].ids) <= most < len(heard[-1].ids)
            if "," in heard[-1].symbols and not overflows:
                sentence, said = going_on, heard
        within = [replace(part, spans=np.minimum(part.spans, last)) for part in said]
        return list(_placed(sentence, within, utterance.whole))

    def _said_quietly(self, sentence: Sentence) -> list[Phonemes]:
        """Phonemize where nobody listens: what the whole sentence skips was reported once."""
        return Context().run(self.front.phonemize, sentence)


def _refusal(utterance: Utterance, length: str, most: int) -> RequestError:
    return RequestError(
        f"{shown(utterance.sentence.text)} has {length}, no more than {most} fit, and it cannot be cut, "
        "for it is one word or number; write it as several, or declare a larger size in the profile",
        where="text",
    )


def _placed(sentence: Sentence, said: Iterable[Phonemes], whole: Sentence) -> Iterator[Utterance]:
    """Give each of the utterances that say a sentence its stretch of the text."""
    said = list(said)
    text = sentence.text
    starts = [0]
    for before, after in pairwise(said):
        done = int(before.spans.max()) - sentence.start
        begin = int(after.spans[:, 0].min()) - sentence.start
        while begin > done and not text[begin - 1].isspace():  # an opening bracket belongs to what follows
            begin -= 1
        starts.append(begin)
    for phonemes, (start, stop) in zip(said, pairwise([*starts, len(text)]), strict=True):
        stretch = Sentence(text[start:stop].rstrip(), sentence.start + start, phonemes.pause_ms)
        yield Utterance(
            phonemes.ids, phonemes.symbols, phonemes.spans, phonemes.pause_ms, sentence=stretch, whole=whole
        )


def _cuts(utterance: Utterance, most: int) -> list[int]:
    """Return where to cut an utterance's text, by the ids that voice each stretch of it."""
    text, offset = utterance.sentence.text, utterance.sentence.start
    starts, stops = utterance.spans[:, 0] - offset, utterance.spans[:, 1] - offset
    places = [
        Joint(place, cost + INNER_COST * bool(((starts < place) & (place < stops)).any()))
        for place, cost in joints(text)
    ]
    if not places:
        return []
    ids = np.searchsorted(np.sort(starts), np.arange(len(text) + 1))
    ids[-1] = len(starts)
    silent = starts == stops
    framing = len(silent) if silent.all() else int(silent.argmin() + silent[::-1].argmin())
    return best_cuts(places, ids.tolist(), most=most, framing=framing)
