"""Keep the voices of one service: loaded when wanted, shared by leases, changed and unloaded under load."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from voxstack.core.errors import BusyError, DeadlineError, RequestError, VoxstackError, suggest
from voxstack.engine.assembly import Watch
from voxstack.engine.finalizing import FinalizerLock
from voxstack.engine.leases import Lease
from voxstack.engine.library import installed
from voxstack.engine.on_disk import OnDisk, look
from voxstack.engine.places import Loading, Place, Reloaded, Version, VoiceState, again, no_room, state_of
from voxstack.engine.room import Room, Weights
from voxstack.engine.telemetry import Telemetry
from voxstack.engine.voice import Voice, open_voice, run_as

__all__ = ["Voices"]

BROKEN_S = 5.0
"""How long requests for a voice that failed to load get the same error, before one tries it again."""

LONGEST_NAME = 200
"""Characters of a voice's name, or of a client's word that is repeated to him."""

AGAIN_S = 5.0
"""When to ask again for a voice that found no memory, in seconds: as long as a short stream lasts."""


class Voices:
    """The voices of one service, found by name in folders; safe from many threads.

    A voice is loaded and warmed when it is first wanted, once for all who want it then. No lock is held
    meanwhile: other voices speak on.

    In:       folders       where addons are looked for first
              profile, threads, deployment, artefacts, telemetry  as `voxstack.load` takes them, but a net
                            run has one thread where the profile does not say how many
              budget_bytes  how much the files of all nets in memory may have, each net counted once;
                            where it is too little, idle voices go, the least recently used first
    """

    def __init__(
        self,
        folders: Sequence[str | Path] = (),
        *,
        profile: str | None = None,
        threads: int | None = None,
        deployment: str | Path | None = None,
        artefacts: str | Path | None = None,
        telemetry: Telemetry | str | bool | None = None,
        budget_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if budget_bytes is not None and budget_bytes < 1:
            raise RequestError(f"got {budget_bytes}, want 1 or more", where="budget_bytes")
        self._folders = [folders] if isinstance(folders, str | Path) else list(folders)
        running = run_as(profile, threads=threads, deployment=deployment, artefacts=artefacts)
        # Many requests keep the cores busy by themselves: a run of one thread each is the least work in all.
        self._running = replace(running, unsaid_threads=1)
        self._telemetry = telemetry
        self._budget_bytes = budget_bytes
        self._clock = clock
        # Guards all below, for moments only: nothing is loaded, read or freed under it.
        self._lock = FinalizerLock()
        self._places: dict[str, Place] = {}
        self._leaving: list[Version] = []
        self._room = Room()
        self._is_closed = False

    def lease(self, name: str, *, timeout_s: float | None = None) -> Lease:
        """Return the right to speak with a voice, which is loaded first if it is not there.

        In:       timeout_s  how long to wait for that; it is loaded on for those who come later
        Raises:   RequestError if there is no such voice or it is larger than the budget; BusyError if
                  others that speak need the memory; DeadlineError after timeout_s; its addon's error if
                  that is broken
        """
        with self._lock:
            place = self._place(name)
            if place.version is not None:
                place.version.leases += 1
                return self._lease_of(place.version)
            if place.error is not None and self._clock() - place.failed_s < BROKEN_S:
                raise again(place.error)
            loading = self._joined(place)
            loading.wanted += 1
        is_there = False
        try:
            is_there = loading.wait(timeout_s)
        finally:
            if not is_there:
                with self._lock:
                    loading.wanted -= 1
                    if loading.is_over and loading.error is None:  # just now
                        self._give_back(loading.version)
        if not is_there:
            raise DeadlineError(f"it was not loaded within {timeout_s:g} s", where=name)
        # Counted when the voice came, so that nothing could take it away since.
        return self._lease_of(loading.version)

    def load(self, *names: str) -> None:
        """Load voices ahead, all at the same time; raise the first one's error once all have ended."""
        loadings: list[Loading] = []
        for name in names:
            with self._lock:
                place = self._place(name)
                if place.version is None:
                    loadings.append(self._joined(place))
        for loading in loadings:
            loading.ended.wait()
        for loading in loadings:
            loading.wait()

    def unload(self, name: str) -> None:
        """Take a voice out of memory, once its last lease ends; who asks for it later loads it anew.

        Raises:   RequestError if it is not loaded
        """
        with self._lock:
            place = self._places.get(name)
            if place is None or (place.version is None and place.loading is None):
                loaded = [other.name for other in self._places.values() if other.version]
                raise RequestError(f"voice '{name}' is not loaded{suggest(name, loaded)}", where="voice")
            if place.loading is not None:
                place.loading.is_unwanted = True
            gone = self._leave(place)
        del gone  # frees it, with no lock held

    def reload(self, name: str) -> None:
        """Load and warm a voice from what is on disk now, then let it take the place of the old one.

        Streams that run end with the old one. Both are in memory meanwhile, but nets that are equal once.

        Raises:   what is wrong with the new one; the old one stays then
        """
        while True:
            with self._lock:
                place = self._place(name)
                before = place.loading
                if before is None:
                    loading = self._begin(place)
                    break
            before.ended.wait()  # it may have read the files before they changed
        loading.wait()

    def reload_changed(self) -> Reloaded:
        """Reload each voice of which an addon has changed on disk, its vocoder and nested ones included.

        One that failed to load is tried again when anything in the folders has changed.
        """
        now = look(self._folders)
        with self._lock:
            changed = [place.name for place in self._places.values() if place.has_changed(now)]
        done: list[str] = []
        faults: dict[str, VoxstackError] = {}
        for name in changed:
            try:
                self.reload(name)
                done.append(name)
            except VoxstackError as error:
                faults[name] = error
        return Reloaded(tuple(done), faults)

    def watched(self, name: str, watch: Watch) -> Voice:
        """Return a voice wired once more, with what looks into it; hold a lease meanwhile.

        Its nets are those of the leased one, which count once; no telemetry hears of what it says.
        """
        return open_voice(name, self._running, folders=self._folders, watch=watch, telemetry=False)

    @property
    def in_use_bytes(self) -> int:
        """Bytes of the files of all nets in memory, each net counted once."""
        with self._lock:
            return self._room.in_use_bytes

    def states(self) -> list[VoiceState]:
        """Return what there is of each voice: loaded, being loaded, leaving or broken; by name."""
        with self._lock:
            now = self._clock()
            versions = [(place.name, place, place.version) for place in self._places.values()]
            leaving = [(version.name, None, version) for version in self._leaving]
            rows = [
                state_of(name, place, version, self._room, now) for name, place, version in versions + leaving
            ]
        return sorted(rows, key=lambda row: (row.name, row.state == "leaving"))

    def close(self) -> None:
        """Give no more leases, and unload each voice once its last one ends; safe twice."""
        with self._lock:
            self._is_closed = True
            for place in tuple(self._places.values()):
                if place.loading is not None:
                    place.loading.is_unwanted = True
            gone = [self._leave(place) for place in tuple(self._places.values())]
        del gone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    # All below down to _begin is called with the lock held.

    def _place(self, name: str) -> Place:
        if self._is_closed:
            raise BusyError("the voices are closed", where=name, retry_after_s=AGAIN_S)
        if not isinstance(name, str) or len(name) > LONGEST_NAME:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RequestError(f"got {str(name)[:LONGEST_NAME]!r}, want a voice's name", where="voice")
        return self._places.setdefault(name, Place(name))

    def _joined(self, place: Place) -> Loading:
        """Return the load of a place that has no version: the one in progress, or a new one."""
        loading = place.loading or self._begin(place)
        loading.is_unwanted = False
        return loading

    def _give_back(self, version: Version) -> None:
        version.leases -= 1
        version.used_s = self._clock()
        if version.is_leaving and not version.leases:
            self._leaving.remove(version)
            self._room.drop(version.weights)

    def _leave(self, place: Place) -> Version | None:
        """Take a place's version out of it; return it, so that who holds the lock frees it afterwards."""
        version, place.version = place.version, None
        if place.loading is None:
            self._places.pop(place.name, None)
        if version is not None:
            self._retire(version)
        return version

    def _retire(self, version: Version) -> None:
        version.is_leaving = True
        if version.leases:
            self._leaving.append(version)
        else:
            self._room.drop(version.weights)

    def _begin(self, place: Place) -> Loading:
        loading = place.loading = Loading(Version(place.name, self._running.name, used_s=self._clock()))
        try:
            # One thread for each load, none for a voice: whoever waits can be called away, the load goes on.
            threading.Thread(target=self._load, args=(place, loading), name="voxstack-load-voice").start()
        except BaseException:
            place.loading = None
            if place.version is None:
                del self._places[place.name]
            raise
        return loading

    # All below is called without it.

    def _lease_of(self, version: Version) -> Lease:
        return Lease(version, partial(self._lock.soon, partial(self._give_back, version)))

    def _load(self, place: Place, loading: Loading) -> None:
        version = loading.version
        try:
            # Looked at before it is read: what changes in between is loaded once too often, never missed.
            loading.seen = look(self._folders)
            self._check_name(place.name, loading.seen)
            voice = open_voice(
                place.name,
                self._running,
                folders=self._folders,
                telemetry=self._telemetry,
                reserve=partial(self._reserve, loading),
            )
            voice.warm_up()
            version.keep(voice, loading.seen)
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            self._failed(place, loading, error)
        else:
            self._came(place, loading)

    def _check_name(self, name: str, seen: OnDisk) -> None:
        """Refuse what is no name of an addon in the folders: a client's word must not be taken for a path."""
        if name in seen and os.sep not in name:
            return
        good, _ = installed(self._folders)
        names = [known for known, addon in good.items() if addon.config.takes is None]
        raise RequestError(f"no voice '{name}'{suggest(name, names)}", where="voice")

    def _came(self, place: Place, loading: Loading) -> None:
        version = loading.version
        with self._lock:
            old, place.loading, place.error = place.version, None, None
            version.leases, version.used_s = loading.wanted, self._clock()
            place.version = version
            if old is not None:
                self._retire(old)
            gone = self._leave(place) if loading.is_unwanted else None
            loading.end(None)
        del old, gone

    def _failed(self, place: Place, loading: Loading, error: BaseException) -> None:
        with self._lock:
            self._room.drop(loading.version.weights)
            place.loading = None
            is_known = place.version is not None or place.name in loading.seen
            if is_known and isinstance(error, VoxstackError) and not isinstance(error, BusyError):
                place.error, place.failed_s, place.tried = again(error), self._clock(), loading.seen
            elif place.version is None:
                self._places.pop(place.name, None)
            loading.end(error)

    def _reserve(self, loading: Loading, weights: Weights) -> None:
        """Make room for nets that are about to be loaded; raise if there is none."""
        version = loading.version
        new = {key: size for key, size in weights.items() if key not in version.weights}
        with self._lock:
            gone = self._make_room(version, new)
            self._room.add(new)
            version.weights.update(new)
        del gone  # frees them, with no lock held, before the new ones come

    def _make_room(self, version: Version, new: Weights) -> list[Version | None]:
        missing = self._room.missing_bytes(new)
        over = 0 if self._budget_bytes is None else self._room.in_use_bytes + missing - self._budget_bytes
        if over <= 0:
            return []
        idle = [
            (place, place.version)
            for place in self._places.values()
            if place.version is not None and not place.version.leases and place.loading is None
        ]
        idle.sort(key=lambda item: item[1].used_s)
        going = self._room.fewest([old.weights for _, old in idle], free_bytes=over, kept=new)
        if going is None:
            others = [
                *(place.version for place in self._places.values() if place.version is not None),
                *(place.loading.version for place in self._places.values() if place.loading is not None),
                *self._leaving,
            ]
            budget_bytes = self._budget_bytes or 0
            raise no_room(version, new, others, self._room, budget_bytes, retry_after_s=AGAIN_S)
        return [self._leave(idle[place][0]) for place in going]
