"""Keep a server's voices as their addons are on disk, and say what is wrong with those that are not."""

import logging
from contextlib import suppress

from voxstack.core.errors import BusyError, RequestError
from voxstack.engine.lines import write_line
from voxstack.engine.service import Service
from voxstack.server.catalogue import Catalogue

__all__ = ["Upkeep"]


FOLDERS = "addons"
"""What the folders are called all together, where they cannot be looked into."""


class Upkeep:
    """Look after the voices of a service that a catalogue offers; used from one thread at a time.

    In:       remedy  what to do about a fault, for the log
    """

    def __init__(self, service: Service, catalogue: Catalogue, *, remedy: str) -> None:
        self._remedy = remedy
        self._voices = service.voices
        self._catalogue = catalogue
        self._waiting: dict[str, str] = {}
        self._blind: dict[str, str] = {}
        self._told: dict[str, str] = {}

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with each addon that cannot be used, or not as it is on disk; from any thread."""
        why = {state.name: state.why for state in self._voices.states() if state.why} | self._waiting
        by_folder = {self._catalogue.called(name): told for name, told in why.items()}
        return by_folder | self._catalogue.faults | self._blind

    def look(self) -> None:
        """Look for changes, as `reload` does; folders that cannot be looked into are a fault, too; blocks."""
        try:
            self.reload()
        except Exception as error:  # noqa: BLE001 - the next look may find it mended
            self._blind = {FOLDERS: f"{type(error).__name__}: {error}"}
        else:
            self._blind = {}
        self.tell()

    def reload(self) -> None:
        """Reload the voices that changed on disk, load new ones, let go of those that are gone; blocks.

        What does not load is a fault, and its old version speaks on; what found no memory is tried again.
        """
        before = set(self._catalogue.offers)
        if not self._catalogue.refresh() and not self._waiting:
            return
        changed = self._voices.reload_changed()
        waiting = {name: str(error) for name, error in changed.faults.items() if isinstance(error, BusyError)}
        known = {state.name for state in self._voices.states()}
        new = {name for name in self._catalogue.offers if name not in known}
        for name in new:
            try:
                self._voices.load(name)
            except BusyError as error:
                waiting[name] = str(error)
            except Exception:  # noqa: BLE001, S110 - its place keeps why
                pass
        gone = before - set(self._catalogue.offers)
        for name in gone:
            with suppress(RequestError):
                self._voices.unload(name)
        self._waiting = waiting
        loaded = {state.name for state in self._voices.states() if state.state == "ready"}
        told = {"reloaded": changed.names, "loaded": new & loaded, "gone": gone}
        if any(told.values()):
            said = {what: ", ".join(sorted(names)) for what, names in told.items()}
            write_line(logging.INFO, "addons", said)

    def tell(self) -> None:
        """Write a line for each fault that is new, and for each that is mended."""
        before, self._told = self._told, self.faults
        for name, why in self._told.items():
            if before.get(name) != why:
                write_line(logging.ERROR, "addon", {"voice": name, "error": why, "remedy": self._remedy})
        for name in before.keys() - self._told.keys():
            write_line(logging.INFO, "addon", {"voice": name, "mended": True})
