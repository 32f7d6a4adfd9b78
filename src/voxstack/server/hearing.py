"""Hear a request's audio from an event loop, where no thread may wait."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

import anyio
import numpy as np
from anyio import to_thread

from voxstack.core.events import Event
from voxstack.engine.ahead import Speech
from voxstack.engine.audio import Audio
from voxstack.engine.marks import Mark
from voxstack.stages.audio.wsola import Segments, Wsola

__all__ = ["Hearing", "News", "later"]


class Hearing:
    """One request's audio as it is made; nothing is computed that is more than a little ahead of `next`.

    In:       speech  what is heard
              tempo   how much faster than it is made, at the same pitch
              notice  is told what blocks noticed
    """

    def __init__(
        self,
        speech: Speech,
        tempo: Fraction = Fraction(1),
        notice: Callable[[Sequence[Event]], None] = lambda events: None,
    ) -> None:
        self._speech = speech
        self._notice = notice
        self._tempo = tempo
        self._stretch: Wsola | None = None
        self._last: Audio | None = None
        self._marks: list[Mark] = []
        self._news = News()
        speech.tell(self._news.bring)

    async def next(self) -> Audio | None:
        """Return the next chunk, None after the last.

        Raises:   what `Speech` raises
        """
        if self._tempo == 1:
            return await self._made()
        while (chunk := await self._made()) is not None:
            if self._stretch is None:
                self._stretch = Wsola(Segments.of(self._tempo, Fraction(chunk.sample_rate)))
            self._last = chunk
            stretched = await to_thread.run_sync(self._stretched, chunk, False)
            if len(stretched.samples):
                return self._marked(stretched)
        if self._last is None:
            return None
        last, self._last = self._last, None
        rest = replace(last, samples=np.zeros(0, np.float32), events=(), marks=())
        return self._marked(await to_thread.run_sync(self._stretched, rest, True))

    async def is_quiet(self, for_s: float) -> bool:
        """Answer, after so long at the latest, whether all was taken that the text has by now."""
        with anyio.move_on_after(for_s):
            while not self._speech.has_news:
                self._news.clear()
                if not self._speech.has_news:
                    await self._news.wait()
        return self._speech.waits_for_text

    async def close(self) -> None:
        """Stop the work at once; safe twice, and while the caller is being cancelled."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._speech.close)

    async def _made(self) -> Audio | None:
        while True:
            self._news.clear()
            try:
                chunk = self._speech.take_ready()
            except StopIteration:
                return None
            if chunk is not None:
                self._notice(chunk.events)
                return chunk
            await self._news.wait()

    def _marked(self, chunk: Audio) -> Audio:
        """Return a chunk with the marks of all chunks that went into the stretching until now."""
        marks, self._marks = tuple(self._marks), []
        return replace(chunk, marks=marks)

    def _stretched(self, chunk: Audio, is_last: bool) -> Audio:
        assert self._stretch is not None
        self._marks += [_scaled(mark, 1 / float(self._tempo)) for mark in chunk.marks]
        return replace(chunk, samples=self._stretch.feed(chunk.samples, last=is_last))


def later(mark: Mark, by_s: float) -> Mark:
    """Return a mark of audio before which there is so much more."""
    return replace(mark, time_s=mark.time_s + by_s) if by_s else mark


def _scaled(mark: Mark, share: float) -> Mark:
    """Return a mark of audio that lasts another share of its time."""
    lasts_s = None if mark.duration_s is None else mark.duration_s * share
    return replace(mark, time_s=mark.time_s * share, duration_s=lasts_s)


class News:
    """What a coroutine waits for and any thread may bring."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.bring = _waker(asyncio.get_running_loop(), self._event)

    def clear(self) -> None:
        """Wait for what is brought from now on."""
        self._event.clear()

    async def wait(self) -> None:
        """Wait until something was brought since it was cleared."""
        await self._event.wait()


def _waker(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> Callable[[], None]:
    """Return what sets an event from any thread; it holds no Hearing, so that a forgotten one can go."""

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(news.set)

    return wake
