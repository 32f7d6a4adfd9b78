"""Keep count of the files that blocks should have written of what a voice says, and could not."""

from collections.abc import Callable, Iterable
from typing import Any

from voxstack.core.events import REASON, Event

__all__ = ["Recordings"]


class Recordings:
    """What could not be recorded, by voice.

    In:       count  is told the voice of each failure
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._failed: dict[str, int] = {}
        self._faults: dict[str, str] = {}

    def hear(self, voice: str, events: Iterable[Event]) -> None:
        """Take notice of what blocks of a voice noticed."""
        for event in events:
            if REASON in event.values:
                self._failed[voice] = self._failed.get(voice, 0) + 1
                self._faults[voice] = f"{event.where}: {event.values[REASON]}"
                self._count(voice)

    def of(self, voice: str) -> dict[str, Any]:
        """Return how many failed of a voice, and why the last did."""
        return {
            "failed_recordings": self._failed.get(voice, 0),
            "recording_fault": self._faults.get(voice, ""),
        }
