"""Keep what all protocols of one server stand on: its voices, who may use them, and whether it is ending."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread

from voxstack.core.errors import RequestError, VoxstackError
from voxstack.engine.admission import Admission
from voxstack.engine.ahead import Speech
from voxstack.engine.controls import check_names
from voxstack.engine.marks import Marks
from voxstack.engine.service import Service
from voxstack.engine.telemetry import Telemetry, chosen
from voxstack.engine.voices import Voices
from voxstack.server.catalogue import Catalogue, Offer
from voxstack.server.encoding import warm_up
from voxstack.server.hearing import Hearing
from voxstack.server.keys import Allowance, Keys
from voxstack.server.metrics import Metrics
from voxstack.server.recordings import Recordings
from voxstack.server.refusals import Refusal, draining
from voxstack.server.settings import ServerSettings, check_certificate
from voxstack.server.upkeep import Upkeep
from voxstack.stack.deployment import load_deployment

__all__ = ["MOST_SEED", "Asked", "Desk", "paced", "seeded"]

SLOWEST, FASTEST = 0.25, 4.0
MOST_SEED = 2**63 - 1
STARTING = 32
"""Requests on their way into the service at a time, each in a thread; as many whose voice must load."""

SPEEDS = 1000
"""Speeds are as exact as 1/1000."""


@dataclass(frozen=True)
class Asked:
    """What a client wants to hear, whatever the protocol.

    speed     0.25 to 4, whether or not the voice can by itself; None: as controls say, else the voice's own
    controls  of the voice: speaker, noise, seed …
    client    whose key it was asked with, if keys are needed
    marks     kinds of marks that come with the audio
    """

    voice: str
    text: str
    speed: float | None = None
    controls: dict[str, float | str] = field(default_factory=dict[str, float | str])
    client: str | None = None
    marks: Marks = ()


@dataclass
class Desk:
    """One server's service, catalogue, keys and metrics; used in one event loop.

    is_loaded    whether the voices that were chosen have been loaded
    in_flight    answers that are being given, health and metrics aside
    """

    settings: ServerSettings
    service: Service
    catalogue: Catalogue
    metrics: Metrics
    keys: Keys | None = None
    is_loaded: bool = False
    is_draining: bool = False
    in_flight: int = 0

    def __post_init__(self) -> None:
        self._starting = anyio.CapacityLimiter(STARTING)
        self._loading = anyio.CapacityLimiter(STARTING)
        most = self.settings.key_characters_per_minute
        self._allowance = None if most is None else Allowance(most)
        again = (
            "it is loaded at the next look" if self.settings.watch else "then restart the server, or --watch"
        )
        remedy = f"put the right files in its place, or take it away; {again}"
        self.upkeep = Upkeep(self.service, self.catalogue, remedy=remedy)
        self.recordings = Recordings(lambda voice: self.metrics.failed_recordings.labels(voice).inc())
        self.metrics.watch(self.service, lambda: self.is_draining, lambda: self.upkeep.faults)

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """Return the desk that settings describe; no voice is loaded yet.

        Raises:   RequestError or ConfigError if a file of theirs is wrong
        """
        check_certificate(settings)
        folders = [_folder(path) for path in settings.addons]
        metrics = Metrics()
        told = chosen(None, load_deployment(settings.deployment)) or Telemetry(has_signals=False)
        voices = Voices(
            folders,
            profile=settings.profile,
            deployment=settings.deployment,
            artefacts=settings.artefacts,
            telemetry=_measured(told, metrics),
            budget_bytes=None if settings.memory_mb is None else settings.memory_mb * 1_000_000,
        )
        admission = Admission(
            settings.streams,
            queued_characters=settings.queued_characters,
            per_client=settings.key_streams,
        )
        keys = None if settings.keys is None else Keys(Path(settings.keys))
        catalogue = Catalogue(folders, settings.voices, settings.aliases)
        return cls(settings, Service(voices, admission), catalogue, metrics, keys)

    def load(self) -> None:
        """Load and warm the voices that are offered; blocks. Where addons are watched, there may be none yet.

        Raises:   the first one's error if a voice was named and does not load, or if none does; RequestError
                  for an alias that is wrong
        """
        self.catalogue.refresh()
        warm_up()
        for name in self.settings.voices:
            self.catalogue.check(name)
        self.catalogue.check_aliases(may_come=self.settings.watch)
        if not self.catalogue.offers and not self.settings.watch:
            raise RequestError(
                "there is no voice that can speak text in the folders of addons; give --addons DIR",
                where="addons",
            )
        names = list(self.catalogue.offers)
        try:
            self.service.voices.load(*names)
        except VoxstackError:
            ready = {state.name for state in self.service.voices.states() if state.state == "ready"}
            if self.settings.voices or not ready:
                raise
        self.upkeep.tell()
        self.is_loaded = True

    @property
    def is_ready(self) -> bool:
        """Whether new requests are taken, and find their voices warm."""
        return self.is_loaded and not self.is_draining and bool(self.catalogue.offers)

    async def speak(self, asked: Asked, pieces: Iterable[str] | None = None) -> Hearing:
        """Return the audio of a request, which begins to be made; close it.

        In:       pieces  its text, where that is still being written; `take_piece` counts them
        Raises:   Refusal, or what `Service.stream` raises
        """
        if self.is_draining:
            raise draining()
        offer = self.catalogue.find(asked.voice)
        self._check_length(asked)
        # They stand beside what is not the client's to say: deadline, client.
        check_names(offer.name, offer.controls, asked.controls)
        own, tempo = paced(offer, asked.speed)
        controls = {**asked.controls, **({} if own is None else {"speed": own})}
        start = partial(
            self.service.stream,
            offer.name,
            asked.text if pieces is None else pieces,
            deadline_s=self.settings.time_limit_s,
            client=asked.client,
            marks=asked.marks,
            **controls,
        )
        self._take(asked)
        try:
            speech = await self._started(start, self._starting if self._is_warm(offer) else self._loading)
        except BaseException:
            self._take(asked, sign=-1)
            raise
        return Hearing(speech, tempo, partial(self.recordings.hear, offer.name))

    def take_piece(self, piece: str, before: int, client: str | None) -> None:
        """Count a piece of a text of which so many characters came before; or raise Refusal."""
        asked = Asked("", piece, client=client)
        self._check_length(asked, before)
        self._take(asked)

    def _is_warm(self, offer: Offer) -> bool:
        return any(row.name == offer.name and row.state == "ready" for row in self.service.voices.states())

    async def _started(self, start: Callable[[], Speech], limiter: anyio.CapacityLimiter) -> Speech:
        """Begin to speak in a thread: a voice may have to load. Who leaves meanwhile is not waited for."""
        begun: list[Speech] = []
        is_left = False

        def begin() -> Speech:
            speech = start()
            begun.append(speech)
            if is_left:
                speech.close()
            return speech

        try:
            return await to_thread.run_sync(begin, abandon_on_cancel=True, limiter=limiter)
        except BaseException:
            is_left = True
            with anyio.CancelScope(shield=True):
                for speech in begun:
                    await to_thread.run_sync(speech.close)
            raise

    def _check_length(self, asked: Asked, before: int = 0) -> None:
        most = self.settings.max_characters
        count = len(asked.text)
        if before + count > most:
            raise Refusal(
                400,
                f"got {before + count:,} characters, at most {most:,} are taken; send the text in parts",
                code="string_above_max_length",
                param="input",
            )

    def _take(self, asked: Asked, *, sign: int = 1) -> None:
        """Take a text from what its client may send, or give it back."""
        if self._allowance is None or asked.client is None:
            return
        if sign > 0:
            self._allowance.take(asked.client, len(asked.text))
        else:
            self._allowance.give_back(asked.client, len(asked.text))


def seeded(controls: Mapping[str, float | str], seed: int | None) -> dict[str, float | str]:
    """Return controls with the seed that stands beside them; raise Refusal if there is one in them, too."""
    if seed is None:
        return dict(controls)
    if "seed" in controls:
        raise Refusal(400, "seed is given twice, beside controls and in them", param="controls")
    return {**controls, "seed": seed}


def paced(offer: Offer, speed: float | None) -> tuple[float | None, Fraction]:
    """Return how much of a speed a voice does by itself, if it can, and what is left to stretch.

    Raises:   RequestError if it is out of range
    """
    if speed is None:
        return None, Fraction(1)
    if not SLOWEST <= speed <= FASTEST:
        raise RequestError(f"got {speed:g}, want {SLOWEST:g} to {FASTEST:g}", where="speed")
    control = offer.controls.get("speed")
    if control is None:
        return None, Fraction(speed).limit_denominator(SPEEDS)
    low = SLOWEST if control.min is None else control.min
    high = FASTEST if control.max is None else control.max
    own = min(max(speed, low), high)
    return own, Fraction(speed / own).limit_denominator(SPEEDS)


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise RequestError("there is no such folder", where=f"addons: {path}")
    return folder


def _measured(told: Telemetry, metrics: Metrics) -> Telemetry:
    return Telemetry(
        told.has_signals, told.has_texts, told.tracer_provider, told.meter_provider, metrics.measure
    )
