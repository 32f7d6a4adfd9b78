"""Offer a voice: text in, audio out, whole or chunk by chunk."""

import contextlib
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.ports import Array
from voxstack.core.site import Entry
from voxstack.core.text import FrontEnd
from voxstack.engine.ahead import Speech
from voxstack.engine.assembly import Reserve, Watch
from voxstack.engine.audio import Audio
from voxstack.engine.batching import most_together
from voxstack.engine.controls import control_tensors
from voxstack.engine.fitting import PAUSE_MS, Fitting, Limits
from voxstack.engine.library import find_addon
from voxstack.engine.loading import Loaded, load_stack
from voxstack.engine.marking import Marking
from voxstack.engine.marks import MarkKind, Marks, WhereKnown, chosen_kinds
from voxstack.engine.nets import Running
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.playback import Playback
from voxstack.engine.sentences import ArrivingText, Utterances, WrittenText
from voxstack.engine.session import Session
from voxstack.engine.telemetry import Telemetry, Together, open_observer
from voxstack.stack.deployment import load_deployment

if TYPE_CHECKING:
    from voxstack.engine.observing import Observer

__all__ = ["Voice", "load", "open_voice", "run_as"]

WARM_UP_TEXT = "One, 2."
"""A number, so that what turns numbers into words is loaded too."""


def load(
    name_or_path: str | Path,
    profile: str | None = None,
    *,
    threads: int | None = None,
    deployment: str | Path | None = None,
    artefacts: str | Path | None = None,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
    effects: Sequence[Entry] | None = None,
    watch: Watch | None = None,
    telemetry: Telemetry | str | bool | None = None,
) -> "Voice":
    """Return the voice of that name, or the one whose addon is at that path, ready to speak.

    In:       profile  how its nets run (default: as the deployment file says, else "cpu"); threads  of
              one net run (default: as the profile says); deployment  path of the operator's file (default:
              $VOXSTACK_DEPLOYMENT, else none); artefacts  folder of nets compiled ahead of time; folders
              where to look for addons first; vocoder  another one than the addon names; effects  blocks
              behind the last one, as in a stack (default: as the deployment file says); watch  what looks
              into the stack while it works; telemetry  "on", "logs", "off" or a Telemetry: whether a
              service is told of requests (default: $VOXSTACK_TELEMETRY, else as the deployment file says)
    Raises:   RequestError if there is no such voice; AddonError, ConfigError, WiringError or NetError
              if its addon is broken
    """
    running = run_as(profile, threads=threads, deployment=deployment, artefacts=artefacts, effects=effects)
    return open_voice(
        name_or_path, running, folders=folders, vocoder=vocoder, watch=watch, telemetry=telemetry
    )


def run_as(
    profile: str | None = None,
    *,
    threads: int | None = None,
    deployment: str | Path | None = None,
    artefacts: str | Path | None = None,
    effects: Sequence[Entry] | None = None,
) -> Running:
    """Return in one value how nets run, each part as `load` takes it."""
    if threads is not None and threads < 1:
        raise RequestError(f"got {threads}, want 1 or more", where="threads")
    compiled = None if artefacts is None else Path(artefacts)
    chosen = None if effects is None else tuple(effects)
    return Running(profile, load_deployment(deployment), compiled, threads, chosen)


def open_voice(
    name_or_path: str | Path,
    running: Running,
    *,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
    watch: Watch | None = None,
    telemetry: Telemetry | str | bool | None = None,
    reserve: Reserve | None = None,
) -> "Voice":
    """Return a voice as `load` does, with all that says how its nets run in one value.

    In:       reserve  is told of nets before they are loaded, and may refuse
    """
    folders = [folders] if isinstance(folders, str | Path) else folders
    addon = find_addon(name_or_path, folders)
    if addon.config.takes is not None:
        raise RequestError("it is a vocoder, no voice; name a voice that uses it", where=addon.name)
    observer = open_observer(telemetry, running.deployment, voice=addon.name, profile=running.name)
    if observer is not None:
        watch = observer if watch is None else Together((observer, watch))
    loaded = load_stack(
        addon, running=running, folders=folders, vocoder=vocoder, watch=watch, reserve=reserve
    )
    return Voice(loaded, observer=observer)


class Voice:
    """A voice that is ready to speak; safe from many threads, each request is its own."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        plan: ChunkPlan | None = None,
        limits: Limits | None = None,
        observer: "Observer | None" = None,
    ) -> None:
        self.loaded = loaded
        self.plan = loaded.plan if plan is None else plan
        self.limits = loaded.limits if limits is None else limits
        self._observer = observer
        self._block = loaded.block
        if observer is not None:
            self._block = observer.whole(
                loaded.block, frame_rate=loaded.addon.frame_rate, sample_rate=self.sample_rate
            )

    @property
    def name(self) -> str:
        return self.loaded.addon.name

    @property
    def sample_rate(self) -> int:
        """Samples per second of its audio."""
        return self.loaded.sample_rate

    @cached_property
    def front(self) -> FrontEnd:
        """What turns text into phoneme ids for this voice."""
        config = self.loaded.addon.config
        if config.text is None:
            raise RequestError("its addon has no 'text', so it speaks ids, not text", where=self.name)
        from voxstack.stack.front import build_front_end  # only a voice that speaks text needs it

        try:
            return build_front_end(config.text)
        except ConfigError as error:
            raise ConfigError(error.what, where=f"{self.name}: {error.where}") from error

    def say(self, text: str, *, marks: Marks = (), **controls: float | str) -> Audio:
        """Return the audio of a text.

        In:       marks     kinds of marks that the audio shall have: "sentence", "word", "phoneme"
                  controls  what the voice lists (speed, speaker …) and `seed`, an integer (default 0)
        Raises:   RequestError if a control is unknown or out of range, or nothing can be spoken
        """
        chunks = self.answer(text, controls, is_stream=False, marks=marks)
        return Audio.joined(chunks, self.sample_rate)

    def stream(self, text: str | Iterable[str], *, marks: Marks = (), **controls: float | str) -> Speech:
        """Return an iterator of audio chunks, the first as early as can be.

        In:       text  a text, or an iterator of its pieces while it is still being written
                  marks, controls  as for `say`; each chunk has the marks that begin in it
        Raises:   RequestError as `say`, at once for controls, at the first chunk for text
        """
        playback = Playback(is_ahead=True)
        chunks = self.answer(text, controls, is_stream=True, playback=playback, marks=marks)
        return Speech(chunks, playback)

    def chunks(
        self, text: str | Iterable[str], *, marks: Marks = (), **controls: float | str
    ) -> Generator[Audio, None, None]:
        """Return a generator of audio chunks that works only while it is asked, in the caller's thread."""
        return self.answer(text, controls, is_stream=True, marks=marks)

    def answer(
        self,
        text: str | Iterable[str],
        controls: Mapping[str, float | str],
        *,
        is_stream: bool,
        playback: Playback | None = None,
        marks: Marks = (),
    ) -> Generator[Audio, None, None]:
        """Return a generator of a request's audio, which works in the thread that asks it.

        In:       is_stream  whether somebody listens while it is made
                  playback   of the listener; None: who asks takes and plays each chunk at once
        Raises:   RequestError as `say`, at once for controls and kinds of marks
        """
        kinds = chosen_kinds(marks)

        def ask(said: str | Iterable[str]) -> Session:
            return self._session(said, self.tensors(controls), playback, kinds)

        if self._observer is None:
            return ask(text).chunks()

        return self._observer.request(text, ask, is_stream=is_stream)

    def warm_up(self) -> None:
        """Do now what the first request would wait for: load the front end, run every net once.

        It finds out, too, which nets are worth running for several requests at once. A service calls
        it before it says that it is ready; a program that speaks once need not.
        """
        with contextlib.suppress(RequestError):  # a voice may have no sounds for numbers
            for _ in self._session(WARM_UP_TEXT, self.tensors({}), Playback.nobody()).chunks():
                pass
        for net in self.loaded.nets.values():
            most_together(net)

    def tensors(self, controls: Mapping[str, float | str]) -> dict[str, Array]:
        """Return a request's controls as the tensors that blocks read; raise RequestError."""
        return control_tensors(self.name, self.loaded.addon.config.controls, controls)

    def utterances(self, text: str | Iterable[str], *, speed: float = 1.0) -> Utterances:
        """Return what is said for a text, utterance by utterance, each short enough for the nets."""
        options = self.loaded.addon.config.text or {}
        pause_ms = options.get("pauses_ms", {}).get("split", PAUSE_MS)
        fitting = Fitting(self.front, self.limits, speed, pause_ms)
        if isinstance(text, str):
            return WrittenText(text, self.front, fitting)
        if isinstance(text, bytes) or not isinstance(text, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RequestError(f"got a {type(text).__name__}, want a str or an iterable of str", where="text")
        return ArrivingText(text, self.front, fitting)

    def _session(
        self,
        text: str | Iterable[str],
        tensors: dict[str, Array],
        playback: Playback | None = None,
        kinds: frozenset[MarkKind | WhereKnown] = frozenset(),
    ) -> Session:
        options = self.loaded.addon.config.text or {}
        rate = self.loaded.addon.frame_rate
        return Session(
            self._block,
            self.utterances(text, speed=float(tensors.get("speed", 1.0))),
            tensors,
            sample_rate=self.sample_rate,
            frame_samples=math.ceil(self.sample_rate / rate) if rate else 1,
            plan=self.plan,
            playback=playback,
            marking=Marking.of(kinds, self._block.timing, self.sample_rate, options) if kinds else None,
        )
