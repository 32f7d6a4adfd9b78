"""Admit as many requests as a service can serve well, and refuse the others at once."""

import math
import time
from collections.abc import Callable, Hashable
from typing import Self

from voxstack.core.errors import BusyError, RequestError
from voxstack.engine.finalizing import FinalizerLock

__all__ = ["Admission", "Ticket"]

FIRST_GUESS_S = 5.0
"""How long a stream lasts, as long as none has ended."""

NEW_SHARE = 0.1
"""What share of the average the last stream makes up: it follows the last ten or twenty."""

LEAST_S, MOST_S = 1.0, 30.0
"""Bounds of the hint when to try again."""


class Admission:
    """A bound on what is at work, and on text that waits for it; safe from many threads.

    There is no queue: who is refused knows at once, and when to ask again.

    In:       streams            requests at work at a time
              queued_characters  of their texts that are not spoken yet; a text still being written counts
                                 as none, since it is read as far as it is spoken
              per_client         requests at work for one client, for those that say who they are
    """

    def __init__(
        self,
        streams: int,
        *,
        queued_characters: int = 200_000,
        per_client: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in {
            "streams": streams,
            "queued_characters": queued_characters,
            "per_client": 1 if per_client is None else per_client,
        }.items():
            if value < 1:
                raise RequestError(f"got {value}, want 1 or more", where=name)
        self.streams = streams
        self.queued_characters = queued_characters
        self.per_client = per_client
        self._clock = clock
        self._lock = FinalizerLock()
        self._at_work = 0
        self._queued = 0
        self._of_client: dict[Hashable, int] = {}
        self._lasts_s = FIRST_GUESS_S
        # Who was refused and may come again: each is told a later turn than the one before.
        self._refused = 0

    @property
    def at_work(self) -> int:
        """Requests that hold a ticket."""
        with self._lock:
            return self._at_work

    @property
    def queued(self) -> int:
        """Characters of their texts that are not spoken yet."""
        with self._lock:
            return self._queued

    def admit(self, characters: int = 0, *, client: Hashable | None = None) -> "Ticket":
        """Let a request in; it closes its ticket when it is over.

        Raises:   BusyError if there is no room now; RequestError if its text never fits
        """
        if characters > self.queued_characters:
            raise RequestError(
                f"got {characters:,} characters, at most {self.queued_characters:,} are taken at once; "
                "send the text in parts",
                where="text",
            )
        with self._lock:
            own = self._of_client.get(client, 0)
            if self.per_client is not None and client is not None and own >= self.per_client:
                raise BusyError(
                    f"this client has {own} of its {self.per_client} streams at work",
                    where="service",
                    retry_after_s=self._hint_s(self._lasts_s / own),
                )
            if self._at_work >= self.streams:
                raise self._busy(f"{self._at_work} of {self.streams} streams are at work")
            if self._queued + characters > self.queued_characters:
                raise self._busy(
                    f"{self._queued:,} of at most {self.queued_characters:,} characters wait to be spoken, "
                    f"{characters:,} more are too many"
                )
            self._at_work += 1
            self._queued += characters
            if client is not None:
                self._of_client[client] = own + 1
            return Ticket(self, characters, client, self._clock())

    def _busy(self, what: str) -> BusyError:
        """Refuse, with the time at which so many streams will have ended that it is this one's turn."""
        most = math.ceil(MOST_S * self._at_work / max(self._lasts_s, LEAST_S))  # more would change no hint
        self._refused = min(self._refused + 1, most)
        turn_s = self._lasts_s * self._refused / max(self._at_work, 1)
        return BusyError(what, where="service", retry_after_s=self._hint_s(turn_s))

    @staticmethod
    def _hint_s(seconds: float) -> float:
        return min(MOST_S, max(LEAST_S, seconds))

    def spoken(self, ticket: "Ticket", characters: int) -> None:
        """Take characters of a ticket out of the queue; never waits."""

        def change() -> None:
            count = min(characters, ticket.characters)
            ticket.characters -= count
            self._queued -= count

        self._lock.soon(change)

    def end(self, ticket: "Ticket") -> None:
        """Take a ticket back; never waits."""

        def change() -> None:
            if ticket.is_closed:
                return
            ticket.is_closed = True
            self._at_work -= 1
            self._queued -= ticket.characters
            ticket.characters = 0
            self._refused = max(0, self._refused - 1) if self._at_work else 0
            lasted_s = self._clock() - ticket.since_s
            self._lasts_s += NEW_SHARE * (lasted_s - self._lasts_s)
            if ticket.client is not None:
                self._of_client[ticket.client] -= 1
                if not self._of_client[ticket.client]:
                    del self._of_client[ticket.client]

        self._lock.soon(change)


class Ticket:
    """What an admitted request holds while it is at work; `characters` of its text are not spoken yet."""

    def __init__(
        self, admission: Admission, characters: int, client: Hashable | None, since_s: float
    ) -> None:
        self.characters = characters
        self.client = client
        self.since_s = since_s
        self.is_closed = False
        self._admission = admission

    def spoken(self, characters: int) -> None:
        """Say that so many more characters of its text are spoken."""
        self._admission.spoken(self, characters)

    def close(self) -> None:
        """Make room for another; safe twice, never waits."""
        self._admission.end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
