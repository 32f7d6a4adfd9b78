"""Feed utterances to the engine one by one, from text that is there or is still being written."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, RequestError, TooLongError
from voxstack.core.text import FLUSH, FrontEnd, Sentence
from voxstack.engine.fitting import Fitting, Utterance

__all__ = ["ArrivingText", "Utterances", "WrittenText"]

SENTENCES_AHEAD = 64
"""How far an iterator of text may run ahead of the voice, so that an endless one cannot fill memory."""


class Utterances(Protocol):
    """Utterances in the order of the text; phonemized when asked for, not before."""

    def next(self, *, wait: bool) -> Utterance | None:
        """Return the next one; None after the last, or, if not to `wait`, when none is there yet."""
        ...

    def split(self, utterance: Utterance, error: TooLongError) -> None:
        """Say the one that `next` gave last in parts, which come next; raise RequestError if it has none."""
        ...

    def close(self) -> None: ...


class WrittenText:
    """Utterances of a text that is all there; `fitting` says how long they may be."""

    def __init__(self, text: str, front: FrontEnd, fitting: Fitting | None = None) -> None:
        self._fitting = fitting or Fitting(front)
        self._sentences = _sentences(text, front)
        self._ready: deque[Utterance] = deque()

    def next(self, *, wait: bool) -> Utterance | None:
        while not self._ready:
            sentence = next(self._sentences, None)
            if sentence is None:
                return None
            self._ready.extend(self._fitting.utterances(sentence))
        return self._ready.popleft()

    def split(self, utterance: Utterance, error: TooLongError) -> None:
        self._ready.extendleft(reversed(self._fitting.parts(utterance, error)))

    def close(self) -> None:
        self._sentences.close()
        self._ready.clear()


class ArrivingText:
    """Utterances of a text that comes in pieces; a thread reads the pieces while the voice speaks.

    After the piece FLUSH all that came before it is spoken, without waiting for the end of a sentence.
    """

    def __init__(self, pieces: Iterable[str], front: FrontEnd, fitting: Fitting | None = None) -> None:
        self._front = front
        self._fitting = fitting or Fitting(front)
        self._changed = threading.Condition()
        self._sentences: deque[Sentence] = deque()
        self._ready: deque[Utterance] = deque()
        self._is_over = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._reader = threading.Thread(
            target=self._read, args=(iter(pieces),), name="voxstack-text", daemon=True
        )

    def next(self, *, wait: bool) -> Utterance | None:
        if self._reader.ident is None:
            self._reader.start()
        while not self._ready:
            if wait:
                self._wait()
            with self._changed:
                if self._is_closed:
                    raise Cancelled("the stream was closed")
                if not self._sentences:
                    if self._is_over and self._error is not None:
                        raise self._error
                    return None
                sentence = self._sentences.popleft()
                self._changed.notify_all()
            self._ready.extend(self._fitting.utterances(sentence))
        return self._ready.popleft()

    def split(self, utterance: Utterance, error: TooLongError) -> None:
        self._ready.extendleft(reversed(self._fitting.parts(utterance, error)))

    def _wait(self) -> None:
        """Wait for a sentence or the end, unless the work is cancelled meanwhile."""
        scope = CancelScope.current() or CancelScope()
        with scope.stopping(self.close), self._changed:
            self._changed.wait_for(lambda: self._sentences or self._is_over or self._is_closed)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _read(self, pieces: Iterator[str]) -> None:
        splitter = self._front.splitter()
        try:
            for piece in pieces:
                if not isinstance(piece, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise RequestError(
                        f"got a {type(piece).__name__} among its pieces, want str", where="text"
                    )
                if not self._put(splitter.flush() if piece is FLUSH else splitter.feed(piece)):
                    return
            self._put(splitter.finish())
        except BaseException as error:  # noqa: BLE001 - the consumer's thread raises it
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _put(self, sentences: Iterable[Sentence]) -> bool:
        """Queue sentences, waiting while the queue is full; return False once nobody wants more."""
        for sentence in sentences:
            with self._changed:
                self._changed.wait_for(lambda: len(self._sentences) < SENTENCES_AHEAD or self._is_closed)
                self._sentences.append(sentence)
                self._changed.notify_all()
        return not self._is_closed


def _sentences(text: str, front: FrontEnd) -> Generator[Sentence, None, None]:
    splitter = front.splitter()
    yield from splitter.feed(text)
    yield from splitter.finish()
