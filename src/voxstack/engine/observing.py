"""Observe a voice's requests: what each took, and how it ended.

    request
    ├── utterance 0
    │   ├── net encoder
    │   ├── chunk ── net decoder
    │   └── chunk ── net decoder
    └── utterance 1            begins while 0 is being spoken
        └── …

A voice that nobody asked to observe has no observer, and nothing of this around it.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from typing import Any

from voxstack.core.blocks import StreamableBlock
from voxstack.core.events import Event, listening
from voxstack.core.nets import Net
from voxstack.engine.audio import Audio
from voxstack.engine.lookouts import ObservedNet, ObservedStack
from voxstack.engine.pieces import Piece, Told, current_piece
from voxstack.engine.session import Session
from voxstack.engine.signals import Facts
from voxstack.stack.wire import Block

__all__ = ["Observer"]


class Observer:
    """Observe one voice; it is a `Watch`, and stands around requests as well."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def net(self, name: str, net: Net) -> Net:
        """Return a net that does the same and whose runs are told."""
        return ObservedNet(name, net)

    def block(self, path: str, name: str, block: Block) -> Block:
        """Return the block itself: what is told of blocks is the stack as a whole."""
        return block

    def whole(
        self, block: StreamableBlock, *, frame_rate: Fraction | None, sample_rate: int
    ) -> StreamableBlock:
        """Return a voice's stack so that its utterances and chunks are told."""
        return ObservedStack(block, None if frame_rate is None else float(frame_rate / sample_rate))

    def request(
        self,
        text: str | Iterable[str],
        ask: Callable[[str | Iterable[str]], Session],
        *,
        is_stream: bool,
    ) -> Generator[Audio, None, None]:
        """Return the chunks of the session that `ask` makes of the text; what it refuses is told, too.

        The request belongs to what is current where this is called, whichever thread asks for chunks.
        """
        signals = self._told.signals
        context = signals.here() if signals is not None else None
        facts = {**self._told.facts, "is_stream": is_stream}
        said = _Said(text, keeps=self._told.texts)
        try:
            session = ask(said.text)
        except BaseException as error:
            _Request(self._told, facts, context, said).end(error)
            raise
        return self._chunks(session.chunks(), {**facts, "seed": session.seed}, context, said)

    def _chunks(
        self, chunks: Generator[Audio, None, None], facts: Facts, context: Any, said: "_Said"
    ) -> Generator[Audio, None, None]:
        request = _Request(self._told, facts, context, said)
        ended: BaseException | None = None
        try:
            while (chunk := request.next(chunks)) is not None:
                yield chunk
        except BaseException as error:
            ended = error
            raise
        finally:
            chunks.close()
            request.end(ended)


class _Request:
    """One request on its way to its listener."""

    def __init__(self, told: Told, facts: Facts, context: Any, said: "_Said") -> None:
        self._told = told
        self._said = said
        self._is_stream = bool(facts["is_stream"])
        self._piece = Piece(told, "request", facts, context=context)
        self._audio_s = 0.0
        self._first_audio_s: float | None = None
        self._underruns = 0
        self._runs_out_ns = 0
        told.tell("voxstack.active_requests", 1)

    def next(self, chunks: Iterator[Audio]) -> Audio | None:
        """Ask for the next chunk; None after the last."""
        self._piece.tally.asked_ns = time.perf_counter_ns()
        with self._piece.working(), listening(_hear):
            chunk = next(chunks, None)
        if chunk is not None and len(chunk.samples):
            self._given(chunk.duration_s)
        return chunk

    def _given(self, audio_s: float) -> None:
        now = time.perf_counter_ns()
        if self._is_stream:
            if self._first_audio_s is None:
                self._first_audio_s = self._piece.age_s
                self._told.tell("voxstack.first_audio", self._first_audio_s)
            elif self._ran_out(now):
                self._underruns += 1
                self._told.tell("voxstack.underruns", 1)
                self._piece.note("underrun", {"late_s": (now - self._runs_out_ns) / 1e9})
        self._runs_out_ns = max(self._runs_out_ns, now) + round(audio_s * 1e9)
        self._audio_s += audio_s
        self._told.tell("voxstack.audio", audio_s)

    def _ran_out(self, now: int) -> bool:
        """Answer whether a listener who plays what comes has heard a gap that is the voice's fault.

        It is none if the listener asked too late, or if the text was not written yet.
        """
        tally = self._piece.tally
        begun = max(tally.asked_ns, tally.opened_ns if self._said.is_arriving else 0)
        return begun <= self._runs_out_ns < now

    def end(self, error: BaseException | None) -> None:
        """Tell how the request ended."""
        tally = self._piece.tally
        work_s = tally.work_ns / 1e9
        facts: dict[str, str | int | float | bool] = {
            "characters": self._said.characters,
            "utterances": tally.utterances,
            "chunks": tally.chunks,
            "audio_s": self._audio_s,
            "work_s": work_s,
            "underruns": self._underruns,
        }
        if self._first_audio_s is not None:
            facts["first_audio_s"] = self._first_audio_s
        if self._audio_s:
            facts["rtf"] = work_s / self._audio_s
        if self._told.texts:
            facts["text"] = self._said.whole
        self._piece.end(error, facts=facts)
        if error is None and self._audio_s:
            self._told.tell("voxstack.real_time_factor", work_s / self._audio_s)
        by = {key: str(value) for key, value in self._piece.facts.items() if key in ("outcome", "error_type")}
        self._told.tell("voxstack.requests", 1, **by)
        self._told.tell("voxstack.active_requests", -1)


class _Said:
    """A request's text, its characters counted as they come."""

    def __init__(self, text: str | Iterable[str], *, keeps: bool) -> None:
        self.is_arriving = not isinstance(text, str | bytes) and hasattr(text, "__iter__")
        self.text = self._counted(text) if self.is_arriving else text
        self.characters = len(text) if isinstance(text, str) else 0
        self._keeps = keeps
        self._pieces = [text] if isinstance(text, str) and keeps else []

    @property
    def whole(self) -> str:
        """All of it that was read, if it is kept."""
        return "".join(self._pieces)

    def _counted(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            if isinstance(piece, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                self.characters += len(piece)
                if self._keeps:
                    self._pieces.append(piece)
            yield piece


def _hear(event: Event) -> None:
    here = current_piece()
    if here is not None and not event.is_data:
        here.hear(event)
