"""Put a target under load: N listeners in a closed loop, each asking again as soon as its last is over."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from voxstack.core.errors import RequestError, VoxstackError
from voxstack.testing.load.listener import BUFFER_MS, Clock, Heard, Pace, WallClock, hear
from voxstack.testing.load.report import LoadReport
from voxstack.testing.load.targets import Target

__all__ = ["Load", "run_load", "warm_up"]

MOST_REFUSALS = 100
MOST_WAIT_S = 60.0
"""A request that is refused more often, or for longer at a time, has failed."""

NO_AUDIO = "it ended without any audio"


@dataclass(frozen=True, slots=True)
class Load:
    """How many listen, how often and how.

    streams    listeners at a time
    rounds     how often each goes through the list of texts, from a place of its own
    pace       "realtime" or "fast", and `buffer_ms`: see `hear`
    ramp_s     seconds over which the listeners come, evenly; 0: all in the same moment
    """

    streams: int
    rounds: int = 1
    pace: Pace = "realtime"
    buffer_ms: float = BUFFER_MS
    ramp_s: float = 0.0


def run_load(
    target: Target,
    texts: Sequence[str],
    load: Load,
    *,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Let all listeners hear all texts, and return what they met; failed requests are counted, not raised.

    In:       texts     not none; stream k of n begins at text k · len(texts) // n
              progress  told of requests that are over and requests in all, after each
    Raises:   RequestError if there would be no request
    """
    if not texts or load.streams < 1 or load.rounds < 1:
        raise RequestError(
            f"got {load.streams} streams, {load.rounds} rounds, {len(texts)} texts, want 1 or more of each",
            where="load",
        )
    return _Run(target, texts, load, clock, progress).run()


def warm_up(target: Target, text: str) -> None:
    """Speak a text once, unmeasured; raise what the target raises, but wait where it says "later".

    Raises:   VoxstackError if there was no audio
    """
    run = _Run(target, [text], Load(1, pace="fast"), None, None)
    if run.ask(text) is None:
        raise VoxstackError(NO_AUDIO, where="warm-up")


class _Run:
    """What the listeners share."""

    def __init__(
        self,
        target: Target,
        texts: Sequence[str],
        load: Load,
        clock: Clock | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._target = target
        self._texts = texts
        self._load = load
        self._stopped = threading.Event()
        self._clock = _StoppableClock(self._stopped) if clock is None else clock
        self._progress = progress
        self._lock = threading.Lock()
        self._heard: list[Heard] = []
        self._errors: Counter[str] = Counter()
        self._refused = 0
        self._refused_wait_s = 0.0
        self._fault: BaseException | None = None

    def run(self) -> LoadReport:
        begun_s = self._clock.now()
        listeners = [
            threading.Thread(target=self._listen, args=(number,), name=f"voxstack-listener-{number}")
            for number in range(self._load.streams)
        ]
        try:
            for listener in listeners:
                listener.start()
            for listener in listeners:
                listener.join()
        finally:  # Ctrl-C while it waits, or a machine that has no more threads
            self._stopped.set()
            for listener in listeners:
                if listener.ident is not None:
                    listener.join()
        if self._fault is not None:
            raise self._fault
        return LoadReport(
            self._load.streams,
            self._clock.now() - begun_s,
            tuple(self._heard),
            dict(self._errors.most_common()),
            self._refused,
            self._refused_wait_s,
            _peak_rss_mb(),
        )

    def ask(self, text: str) -> Heard | None:
        """Make one request, again and again while it is refused; raise what it fails with."""
        for _ in range(MOST_REFUSALS):
            begun_s = self._clock.now()
            try:
                with closing(self._chunks(text)) as chunks:
                    return hear(
                        chunks,
                        begun_s=begun_s,
                        clock=self._clock,
                        pace=self._load.pace,
                        buffer_ms=self._load.buffer_ms,
                    )
            except Exception as error:
                wait_s = getattr(error, "retry_after_s", None)
                if not isinstance(wait_s, int | float):
                    raise
                with self._lock:
                    self._refused += 1
                    if not 0 <= wait_s <= MOST_WAIT_S:
                        raise
                    self._refused_wait_s += wait_s
                self._clock.sleep(wait_s)
                if self._stopped.is_set():
                    return None
        raise VoxstackError(f"refused {MOST_REFUSALS} times in a row", where="request")

    def _chunks(self, text: str) -> Generator[float, None, None]:
        stream = self._target.stream(text)
        try:
            for chunk_s in stream:
                if self._stopped.is_set():
                    return
                yield chunk_s
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    def _listen(self, number: int) -> None:
        size = len(self._texts)
        begin = number * size // self._load.streams
        try:
            if number:
                self._clock.sleep(self._load.ramp_s * number / self._load.streams)
            for turn in range(size * self._load.rounds):
                if self._stopped.is_set():
                    return
                self._hear_one(self._texts[(begin + turn) % size])
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            self._fault = error
            self._stopped.set()

    def _hear_one(self, text: str) -> None:
        heard, failure = None, NO_AUDIO
        try:
            heard = self.ask(text)
        except Exception as error:  # noqa: BLE001 - whatever a target fails with is counted and shown
            failure = f"{type(error).__name__}: {error}"
        with self._lock:
            if self._stopped.is_set():
                return  # it was cut short by us
            if heard is None:
                self._errors[failure] += 1
            else:
                self._heard.append(heard)
            if self._progress is not None:
                over = len(self._heard) + self._errors.total()
                self._progress(over, self._load.streams * self._load.rounds * len(self._texts))


class _StoppableClock(WallClock):
    """The machine's clock; who sleeps wakes when all is to stop."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)


def _peak_rss_mb() -> float | None:
    """Return the most memory that this process ever held, in MB."""
    try:
        import resource
    except ImportError:  # not on this system
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6
