"""Speak a text with one voice and keep all of it that a person may want to look at."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.events import ALIGNMENT, Event
from voxstack.core.ports import Array, MelFormat
from voxstack.engine.audio import Audio
from voxstack.engine.nets import Running
from voxstack.engine.recording import Recording
from voxstack.engine.voice import Voice, open_voice
from voxstack.engine.watching import Watcher
from voxstack.stack.describe import rows
from voxstack.stack.graph import graph_of
from voxstack.stack.picture import svg

__all__ = ["REPEATS", "Arrival", "Notice", "Spoken", "Utterance", "speak"]

REPEATS = 3
"""Times that a text is spoken for the clock; the page shows medians."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk as the listener got it: how long after the request, and how much audio it brought."""

    at_ms: float
    audio_ms: float


@dataclass(frozen=True, slots=True)
class Notice:
    """What a block reported, at its second of the audio."""

    at_s: float
    utterance: int
    event: Event


@dataclass(frozen=True)
class Utterance:
    """One utterance of the audio: from which second, for how long, and what was seen while it was made.

    symbols    what is spoken, a phoneme or sign each
    mel        float32 [frames, bands] as it flowed to the vocoder, None if the voice has none
    positions  int64 [frames], the symbol that each frame speaks, -1 where nothing was reported
    weights    float32 [frames, symbols] of attention, None where there is none
    """

    start_s: float
    duration_s: float
    symbols: tuple[str, ...]
    mel: Array | None
    positions: Array
    weights: Array | None


@dataclass(frozen=True)
class Spoken:
    """All that a comparison shows of one voice.

    path            where its addon is
    first_audio_ms  None if it gave no audio
    mel_format      of the mels that flowed to the vocoder, None if none did
    """

    voice: str
    path: str
    text: str
    facts: Mapping[str, str]
    languages: tuple[str, ...]
    profile: str
    runtime: str
    seed: int
    audio: Audio
    first_audio_ms: float | None
    wall_s: float
    arrivals: tuple[Arrival, ...]
    stack_svg: str
    stack_words: tuple[str, ...]
    frame_rate: float | None
    mel_format: MelFormat | None = None
    utterances: tuple[Utterance, ...] = ()
    notices: tuple[Notice, ...] = ()
    is_attending: bool = False

    @property
    def rtf(self) -> float | None:
        return self.wall_s / self.audio.duration_s if self.audio.duration_s else None


def speak(
    name_or_path: str,
    text: str,
    *,
    controls: Mapping[str, float | str],
    running: Running,
    folders: tuple[Path, ...],
    vocoder: str | None,
) -> Spoken:
    """Load a voice, warm it up, speak the text a few times, and once more under observation.

    Raises:   VoxstackError as `load` and `Voice.say`; NetError if the same seed was not the same audio
    """
    watcher = Watcher()
    voice = open_voice(name_or_path, running, folders=folders, vocoder=vocoder, watch=watcher)
    voice.warm_up()
    with watcher.recording() as seen:
        observed = Audio.joined(seen.chunks(voice.answer(text, controls, is_stream=True)), voice.sample_rate)
    timed: list[tuple[tuple[Arrival, ...], float]] = []
    for _ in range(REPEATS):
        arrivals, wall_s, audio = _timed(voice, text, controls)
        if not np.array_equal(audio.samples, observed.samples):
            raise NetError("the same text and seed gave other audio the second time", where=voice.name)
        timed.append((arrivals, wall_s))
    firsts = [arrivals[0].at_ms for arrivals, _ in timed if arrivals]
    middle = sorted(timed, key=lambda one: one[1])[REPEATS // 2]
    addon, below = voice.loaded.addon, voice.loaded.vocoder
    rate = None if addon.frame_rate is None else float(addon.frame_rate)
    described = rows(voice.loaded.wired)
    speed = float(voice.tensors(dict(controls)).get("speed", 1.0))
    utterances = _utterances(voice, text, seen, watcher.last, speed=speed)
    return Spoken(
        voice=voice.name,
        path=addon.files.where,
        text=text,
        facts={
            "version": addon.config.version,
            "licence": addon.config.licence,
            "family": str(addon.config.origin.get("family", "-")),
            "vocoder": below.name if below else "its own",
            **({"vocoder_licence": below.config.licence} if below else {}),
        },
        languages=addon.config.languages,
        profile=voice.loaded.profile,
        runtime=voice.loaded.runtime,
        seed=int(controls.get("seed", 0)),
        audio=observed,
        first_audio_ms=statistics.median(firsts) if firsts else None,
        wall_s=middle[1],
        arrivals=middle[0],
        stack_svg=svg(graph_of(voice.name, voice.loaded.wired, described, request=addon.request)),
        stack_words=tuple(row.type for row in described if not row.is_container),
        frame_rate=rate,
        mel_format=addon.mel,
        utterances=utterances,
        notices=_notices(seen, watcher.last, sample_rate=voice.sample_rate, frame_rate=rate),
        is_attending=any(utterance.weights is not None for utterance in utterances),
    )


def _timed(
    voice: Voice, text: str, controls: Mapping[str, float | str]
) -> tuple[tuple[Arrival, ...], float, Audio]:
    chunks: list[Audio] = []
    arrivals: list[Arrival] = []
    started = time.perf_counter()
    for chunk in voice.answer(text, controls, is_stream=True):
        chunks.append(chunk)
        if len(chunk.samples):
            arrivals.append(Arrival((time.perf_counter() - started) * 1000, chunk.duration_s * 1000))
    wall_s = time.perf_counter() - started
    return tuple(arrivals), wall_s, Audio.joined(chunks, voice.sample_rate)


def _utterances(
    voice: Voice, text: str, seen: Recording, last: str, *, speed: float
) -> tuple[Utterance, ...]:
    """Return what was seen, utterance by utterance, at its place in the audio."""
    said = voice.utterances(text, speed=speed)
    places = seen.places(last)
    found: list[Utterance] = []
    end = 0
    for number in range(max(places, default=-1) + 1):
        start, samples = places.get(number, (end, 0))
        end = start + samples
        phonemes = said.next(wait=True)
        positions, weights = _alignment(seen, number)
        found.append(
            Utterance(
                start_s=start / voice.sample_rate,
                duration_s=samples / voice.sample_rate,
                symbols=phonemes.symbols if phonemes else (),
                mel=seen.mel(number),
                positions=positions,
                weights=weights,
            )
        )
    return tuple(found)


def _alignment(seen: Recording, utterance: int) -> tuple[Array, Array | None]:
    """Return an utterance's symbol for each frame, and its attention where there is one."""
    events = [
        noted.event for noted in seen.events if noted.utterance == utterance and noted.event.kind == ALIGNMENT
    ]
    frames = max((event.step + len(event.values["positions"]) for event in events), default=0)
    positions = np.full(frames, -1, np.int64)
    weights: Array | None = None
    for event in events:
        values: Mapping[str, Any] = event.values
        here = slice(event.step, event.step + len(values["positions"]))
        positions[here] = values["positions"]
        rows_ = values.get("weights")
        if rows_ is not None:
            if weights is None:
                weights = np.zeros((frames, rows_.shape[1]), np.float32)
            weights[here] = rows_
    return positions, weights


def _notices(seen: Recording, last: str, *, sample_rate: int, frame_rate: float | None) -> tuple[Notice, ...]:
    places = seen.places(last)
    return tuple(
        Notice(
            at_s=noted.audio_s(places, sample_rate=sample_rate, frame_rate=frame_rate),
            utterance=noted.utterance,
            event=noted.event,
        )
        for noted in seen.events
        if not noted.event.is_data
    )
