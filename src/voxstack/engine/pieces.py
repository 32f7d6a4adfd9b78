"""Follow one piece of a request's work from its begin to its end, and tell it as a span and as a line."""

import logging
import math
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from voxstack.core.errors import Cancelled, RequestError, TooLongError, VoxstackError
from voxstack.core.events import REASON, Event
from voxstack.engine.lines import write_line
from voxstack.engine.signals import Facts, Measure, Signals, attributes

__all__ = ["Piece", "Tally", "Told", "current_piece"]

Outcome: TypeAlias = Literal["done", "cancelled", "error", "split"]

_current: ContextVar["Piece | None"] = ContextVar("voxstack_piece", default=None)


def current_piece() -> "Piece | None":
    """Return the piece of work that this context is inside of; None outside of any request."""
    return _current.get()


@dataclass(frozen=True)
class Told:
    """Say whom a voice's requests are told to.

    facts    voice and profile
    signals  None: log lines alone
    texts    whether what was said may be told
    measure  gets what the metrics count, too
    """

    facts: Facts
    signals: Signals | None = None
    texts: bool = False
    measure: Measure | None = None

    def tell(self, metric: str, value: float, **by: str) -> None:
        """Count or measure, for this voice."""
        if self.signals is None and self.measure is None:
            return
        facts = {**self.facts, **by}
        if self.signals is not None:
            self.signals.tell(metric, value, facts)
        if self.measure is not None:
            self.measure(metric, value, facts)


@dataclass(slots=True)
class Tally:
    """Count what all pieces of one request add up to.

    about      what each of its lines says: voice, profile, `request` (a number to find them by), its trace
    opened_ns  when its last utterance began
    """

    about: Facts
    utterances: int = 0
    chunks: int = 0
    work_ns: int = 0
    asked_ns: int = 0
    opened_ns: int = 0


class _Steps:
    """Steps of one recurrent net inside one piece."""

    __slots__ = ("count", "end_ns", "facts", "start_ns", "work_ns")

    def __init__(self, facts: Facts, start_ns: int) -> None:
        self.facts = facts
        self.start_ns = self.end_ns = start_ns
        self.count = 0
        self.work_ns = 0


class Piece:
    """A piece of work that runs: a request, an utterance, a chunk or a net's run.

    In:       kind    a key of `signals.SPANS`; facts  what is known of it at its begin
              above   what it is a part of; context  the caller's, for one that is part of nothing
    """

    def __init__(
        self, told: Told, kind: str, facts: Facts, above: "Piece | None" = None, *, context: Any = None
    ) -> None:
        self.told = told
        self.kind = kind
        self.facts = dict(facts)
        self.is_over = False
        self._steps: dict[str, _Steps] = {}
        self._span = self.context = None
        if told.signals is not None:
            inside = above.context if above is not None else context
            self._span, self.context = told.signals.begin(_name(kind, facts), facts, inside)
        self.tally = above.tally if above is not None else Tally(self._about())
        if above is None:
            self.facts["request"] = self.tally.about["request"]
        self._start_ns = time.perf_counter_ns()

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return (time.perf_counter_ns() - self._start_ns) / 1e9

    @contextmanager
    def working(self) -> Generator[None, None, None]:
        """Make this the current piece, and its span the current span, inside this block."""
        signals = self.told.signals
        token = _current.set(self)
        attached = signals.attach(self.context) if signals is not None else None
        try:
            yield
        finally:
            if signals is not None:
                signals.detach(attached)
            _current.reset(token)
            self._tell_steps()

    def stepped(self, facts: Facts, work_ns: int, steps: int = 1) -> None:
        """Add a step of a recurrent net; all that it makes inside this piece are told as one run."""
        name = str(facts["net"])
        walk = self._steps.get(name)
        if walk is None:
            walk = self._steps[name] = _Steps(facts, time.time_ns() - work_ns)
        walk.count += steps
        walk.work_ns += work_ns
        walk.end_ns = time.time_ns()

    def hear(self, event: Event) -> None:
        """Tell what a block noticed: numbers, and, if texts may be told, its line for people."""
        facts: dict[str, str | int | float | bool] = {"where": event.where, "step": int(event.step)}
        for name, value in event.values.items():
            if isinstance(value, bool | int | float) and math.isfinite(value):  # JSON has no NaN
                facts[f"value.{name}"] = value
        if REASON in event.values:
            facts[REASON] = str(event.values[REASON])
        if self.told.texts:
            facts["text"] = event.text
        self.told.tell("voxstack.events", 1, kind=event.kind)
        self.note(event.kind, facts)

    def note(self, name: str, facts: Facts) -> None:
        """Tell of something that happened in the midst of it and that somebody should look at."""
        if self._span is not None:
            self._span.add_event(name, attributes(facts))
        place = {"utterance": self.facts["utterance"]} if "utterance" in self.facts else {}
        write_line(logging.WARNING, name, {**self.tally.about, **place, **facts})

    def end(
        self, error: BaseException | None = None, *, facts: Facts | None = None, is_whole: bool = True
    ) -> None:
        """Tell that it is over; only the first end counts.

        In:       error  what it raised; facts  what is known of it now; is_whole  whether all of it was done
        """
        if self.is_over:
            return
        self.is_over = True
        self.facts |= facts or {}
        self.facts["outcome"] = outcome = self._outcome(error, is_whole)
        message = ""
        if outcome in ("error", "split"):
            self.facts["error_type"] = type(error).__name__
            message = self._message(error)
        if self._span is not None and self.told.signals is not None:
            self._span.set_attributes(attributes(self.facts))
            if outcome == "error":
                self.told.signals.fail(self._span, message)
            self._span.end()
        said = {"error": message} if message else {}
        write_line(self._level(error), self.kind, {**self.tally.about, **self.facts, **said})

    def _about(self) -> Facts:
        about = {**self.told.facts, "request": secrets.token_hex(8)}
        if self._span is not None and self._span.get_span_context().is_valid:
            about["trace_id"] = f"{self._span.get_span_context().trace_id:032x}"
        return about

    def _outcome(self, error: BaseException | None, is_whole: bool) -> Outcome:
        if error is None:
            return "done" if is_whole else "cancelled"
        if isinstance(error, Cancelled | GeneratorExit):
            return "cancelled"
        # The request goes on: the utterance is said in parts.
        return "split" if isinstance(error, TooLongError) and self.kind != "request" else "error"

    def _level(self, error: BaseException | None) -> int:
        if self.kind != "request":
            return logging.DEBUG
        if self.facts["outcome"] != "error":
            return logging.INFO
        return logging.WARNING if isinstance(error, RequestError) else logging.ERROR

    def _message(self, error: BaseException | None) -> str:
        """Return what an error says, unless it may quote the text."""
        is_ours = isinstance(error, VoxstackError) and not isinstance(error, RequestError)
        return str(error) if is_ours or self.told.texts else ""

    def _tell_steps(self) -> None:
        for net, walk in self._steps.items():
            facts = {**walk.facts, "steps": walk.count, "work_s": walk.work_ns / 1e9}
            if self.told.signals is not None:
                name = _name("net", facts)
                span, _ = self.told.signals.begin(name, facts, self.context, start_ns=walk.start_ns)
                span.end(walk.end_ns)
            self.told.tell("voxstack.net.duration", walk.work_ns / 1e9, net=net)
            write_line(logging.DEBUG, "net", {**self.tally.about, **facts})
        self._steps.clear()


def _name(kind: str, facts: Facts) -> str:
    return f"{kind} {facts['net']}" if "net" in facts else kind
