"""Keep account of a service's voices: which are there, who holds them, what must go so that others fit."""

from collections.abc import Callable
from typing import TypeAlias

from voxstack.core.errors import BusyError, RequestError, suggest
from voxstack.engine.on_disk import OnDisk
from voxstack.engine.places import Loading, Place, Version, VoiceState, again, as_ours, no_room, state_of
from voxstack.engine.room import Room, Weights

__all__ = ["AGAIN_S", "Gone", "Shelf"]

AGAIN_S = 5.0
"""When to ask again for a voice that found no memory, in seconds: as long as a short stream lasts."""

Gone: TypeAlias = list[Version]
"""Versions that were taken out of their places. Who lets go of them may free them, with no lock held."""


class Shelf:
    """A place for each name, the versions that are leaving, and the bytes that all of them have.

    It loads nothing, starts no thread and waits for nobody; not safe from several threads.

    In:       budget_bytes  how much the files of all nets may have; None: as much as they like
    """

    def __init__(self, budget_bytes: int | None, clock: Callable[[], float]) -> None:
        self.budget_bytes = budget_bytes
        self.places: dict[str, Place] = {}
        self._leaving: list[Version] = []
        self._room = Room()
        self._clock = clock

    @property
    def in_use_bytes(self) -> int:
        return self._room.in_use_bytes

    def states(self) -> list[VoiceState]:
        """Return what there is of each voice, by name, what is leaving last."""
        now = self._clock()
        versions = [(place.name, place, place.version) for place in self.places.values()]
        leaving = [(version.name, None, version) for version in self._leaving]
        rows = [
            state_of(name, place, version, self._room, now) for name, place, version in versions + leaving
        ]
        return sorted(rows, key=lambda row: (row.name, row.state == "leaving"))

    def place(self, name: str) -> Place:
        """Return the place of a name, an empty one if there was none."""
        return self.places.setdefault(name, Place(name))

    def changed(self, now: OnDisk) -> list[str]:
        """Return the names of voices to be loaded again, by what is on disk now."""
        return [place.name for place in self.places.values() if place.has_changed(now)]

    def begin(self, place: Place, profile: str) -> Loading:
        """Expect a new version in a place."""
        place.loading = Loading(Version(place.name, profile, used_s=self._clock()))
        return place.loading

    def forget(self, place: Place) -> None:
        """Expect it no more: it could not even be begun."""
        place.loading = None
        self._tidy(place)

    def came(self, place: Place, loading: Loading) -> Gone:
        """Put what was loaded in its place, and let go of what stood there."""
        version, old = loading.version, place.version
        place.version, place.loading, place.error = version, None, None
        version.leases, version.used_s = loading.wanted, self._clock()
        gone: Gone = []
        if old is not None:
            self._retire(old)
            gone.append(old)
        if loading.is_unwanted:
            gone += self.leave(place)
        loading.end(None)
        return gone

    def failed(self, place: Place, loading: Loading, error: BaseException) -> None:
        """Note that nothing came, and why if others should know; what stood there stays."""
        self._room.drop(loading.version.weights)
        place.loading = None
        is_known = place.version is not None or place.name in loading.seen
        if is_known and isinstance(error, Exception) and not isinstance(error, BusyError):
            fault = again(as_ours(error, place.name))
            place.error, place.failed_s, place.tried = fault, self._clock(), loading.seen
        else:
            self._tidy(place)
        loading.end(error)

    def give_back(self, version: Version) -> None:
        """End a lease."""
        version.leases -= 1
        version.used_s = self._clock()
        if version.is_leaving and not version.leases:
            self._leaving.remove(version)
            self._room.drop(version.weights)

    def leave(self, place: Place) -> Gone:
        """Take a place's version out of it, which goes with its last lease."""
        version, place.version = place.version, None
        if place.loading is None:
            self.places.pop(place.name, None)
        if version is None:
            return []
        self._retire(version)
        return [version]

    def unload(self, name: str) -> Gone:
        """Take a voice out of its place, also if it only comes yet.

        Raises:   RequestError if there is none
        """
        place = self.places.get(name)
        if place is None or (place.version is None and place.loading is None):
            loaded = [other.name for other in self.places.values() if other.version]
            raise RequestError(f"voice '{name}' is not loaded{suggest(name, loaded)}", where="voice")
        return self._leave_now(place)

    def unload_all(self) -> Gone:
        return [version for place in tuple(self.places.values()) for version in self._leave_now(place)]

    def reserve(self, version: Version, weights: Weights) -> Gone:
        """Count the nets of a version that are about to be loaded; what they have no room beside goes.

        Raises:   BusyError or RequestError if what can go is not enough; nothing has changed then
        """
        new = {key: size for key, size in weights.items() if key not in version.weights}
        gone = self._make_room(version, new)
        self._room.add(new)
        version.weights.update(new)
        return gone

    def _make_room(self, version: Version, new: Weights) -> Gone:
        missing = self._room.missing_bytes(new)
        over = 0 if self.budget_bytes is None else self._room.in_use_bytes + missing - self.budget_bytes
        if over <= 0:
            return []
        idle = [
            (place, place.version)
            for place in self.places.values()
            if place.version is not None and not place.version.leases and place.loading is None
        ]
        idle.sort(key=lambda item: item[1].used_s)
        going = self._room.fewest([old.weights for _, old in idle], free_bytes=over, kept=new)
        if going is None:
            others = [
                *(place.version for place in self.places.values() if place.version is not None),
                *(place.loading.version for place in self.places.values() if place.loading is not None),
                *self._leaving,
            ]
            budget_bytes = self.budget_bytes or 0
            raise no_room(version, new, others, self._room, budget_bytes, retry_after_s=AGAIN_S)
        return [old for number in going for old in self.leave(idle[number][0])]

    def _leave_now(self, place: Place) -> Gone:
        if place.loading is not None:
            place.loading.is_unwanted = True
        return self.leave(place)

    def _retire(self, version: Version) -> None:
        version.is_leaving = True
        if version.leases:
            self._leaving.append(version)
        else:
            self._room.drop(version.weights)

    def _tidy(self, place: Place) -> None:
        if place.version is None:
            self.places.pop(place.name, None)
