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
from voxstack.engine.places import (
    Loading,
    Place,
    Reloaded,
    Version,
    VoiceState,
    addons_of,
    again,
    as_ours,
)
from voxstack.engine.room import Weights
from voxstack.engine.shelf import AGAIN_S, Shelf
from voxstack.engine.telemetry import Telemetry
from voxstack.engine.voice import Voice, open_voice, run_as

__all__ = ["Voices"]

BROKEN_S = 5.0
"""How long requests for a voice that failed to load get the same error, before one tries it again."""

LONGEST_NAME = 200
"""Characters of a voice's name, or of a client's word that is repeated to him."""


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
        self._clock = clock
        # Guards all below, for moments only: nothing is loaded, read or freed under it.
        self._lock = FinalizerLock()
        self._shelf = Shelf(budget_bytes, clock)
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
                        self._shelf.give_back(loading.version)
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
            gone = self._shelf.unload(name)
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
            changed = self._shelf.changed(now)
        done: list[str] = []
        faults: dict[str, VoxstackError] = {}
        for name in changed:
            try:
                self.reload(name)
                done.append(name)
            except Exception as error:  # noqa: BLE001 - one addon's fault is not another's
                faults[name] = as_ours(error, name)
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
            return self._shelf.in_use_bytes

    def states(self) -> list[VoiceState]:
        """Return what there is of each voice: loaded, being loaded, leaving or broken; by name."""
        with self._lock:
            return self._shelf.states()

    def close(self) -> None:
        """Give no more leases, and unload each voice once its last one ends; safe twice."""
        with self._lock:
            self._is_closed = True
            gone = self._shelf.unload_all()
        del gone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    # The next three are called with the lock held, the others without it.

    def _place(self, name: str) -> Place:
        if self._is_closed:
            raise BusyError("the voices are closed", where=name, retry_after_s=AGAIN_S)
        if not isinstance(name, str) or len(name) > LONGEST_NAME:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RequestError(f"got {str(name)[:LONGEST_NAME]!r}, want a voice's name", where="voice")
        return self._shelf.place(name)

    def _joined(self, place: Place) -> Loading:
        """Return the load of a place that has no version: the one in progress, or a new one."""
        loading = place.loading or self._begin(place)
        loading.is_unwanted = False
        return loading

    def _begin(self, place: Place) -> Loading:
        loading = self._shelf.begin(place, self._running.name)
        try:
            # One thread for each load, none for a voice: whoever waits can be called away, the load goes on.
            threading.Thread(target=self._load, args=(place, loading), name="voxstack-load-voice").start()
        except BaseException:
            self._shelf.forget(place)
            raise
        return loading

    def _lease_of(self, version: Version) -> Lease:
        return Lease(version, partial(self._lock.soon, partial(self._shelf.give_back, version)))

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
            if place.version is not None:
                _check_files(voice, place.version, loading.seen)
            voice.warm_up()
            version.keep(voice, loading.seen)
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            with self._lock:
                self._shelf.failed(place, loading, error)
        else:
            with self._lock:
                gone = self._shelf.came(place, loading)
            del gone  # frees it, with no lock held

    def _check_name(self, name: str, seen: OnDisk) -> None:
        """Refuse what is no name of an addon in the folders: a client's word must not be taken for a path."""
        if name in seen and os.sep not in name:
            return
        good, _ = installed(self._folders)
        names = [known for known, addon in good.items() if addon.config.takes is None]
        raise RequestError(f"no voice '{name}'{suggest(name, names)}", where="voice")

    def _reserve(self, loading: Loading, weights: Weights) -> None:
        """Make room for nets that are about to be loaded; raise if there is none."""
        with self._lock:
            gone = self._shelf.reserve(loading.version, weights)
        del gone  # frees them, with no lock held, before the new ones come


def _check_files(voice: Voice, old: Version, seen: OnDisk) -> None:
    """Check the files of addons that changed: nets that the old version has in memory were not read again."""
    for addon in addons_of(voice):
        if old.seen.get(addon.name, ()) != seen.get(addon.name, ()):
            addon.verify()
