"""Know which voices are offered, what each can do, and which addons cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstack.core.errors import RequestError, VoxstackError, suggest
from voxstack.engine.library import installed
from voxstack.engine.on_disk import OnDisk, look
from voxstack.engine.places import VoiceState
from voxstack.stack.addon import Addon

__all__ = ["Catalogue", "Offer"]


@dataclass(frozen=True)
class Offer:
    """A voice that may be asked for; `controls` as its addon has them, less what only steers noise."""

    name: str
    languages: tuple[str, ...]
    licence: str
    sample_rate: int
    controls: Mapping[str, Any]

    @classmethod
    def of(cls, addon: Addon) -> "Offer":
        config = addon.config
        return cls(
            addon.name, tuple(config.languages), config.licence, config.audio.sample_rate, config.controls
        )


@dataclass
class Catalogue:
    """The voices of one server, by what is on disk.

    In:       folders  where addons are looked for; if there are any, only what is in them is offered
              chosen   names that are offered; none: all that are found
              aliases  other names
    installed  all voices that can speak text, offered or not
    """

    folders: Sequence[Path] = ()
    chosen: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    offers: dict[str, Offer] = field(default_factory=dict[str, Offer])
    faults: dict[str, str] = field(default_factory=dict[str, str])
    installed: tuple[str, ...] = ()
    _seen: OnDisk | None = None
    _paths: dict[str, str] = field(default_factory=dict[str, str])

    def refresh(self) -> bool:
        """Look at the disk; answer whether anything has changed."""
        seen = look(self.folders)
        if seen == self._seen:
            return False
        good, faults = installed(self.folders)
        voices = {
            name: addon
            for name, addon in good.items()
            if addon.config.takes is None and addon.config.text is not None
        }
        self.installed = tuple(sorted(voices))
        offers = {name: Offer.of(addon) for name, addon in voices.items() if self._is_offered(addon)}
        # What broke while it was in use is offered on: the version in memory still speaks. An addon whose
        # JSON cannot be read is called like its folder, whatever its name was.
        kept = {
            name: offer
            for name, offer in self.offers.items()
            if name not in good and (name in seen or self._paths.get(name) in faults)
        }
        self._paths |= {name: addon.files.where for name, addon in voices.items()}
        self.offers = dict(sorted({**kept, **offers}.items()))
        # Where addons lie is nobody's business who only listens.
        self.faults = {
            Path(path).name: _without_paths(error)
            for path, error in sorted(faults.items())
            if self._is_here(Path(path))
        }
        self._seen = seen
        return True

    def check(self, name: str) -> None:
        """Raise RequestError if a voice of that name cannot be offered, whatever is offered."""
        if name in self.offers:
            return
        if name in self.faults:
            raise RequestError(f"it cannot be used: {self.faults[name]}", where=name)
        raise RequestError(f"no voice '{name}'{suggest(name, self.installed)}", where="voice")

    def find(self, name: str) -> Offer:
        """Return the voice of a name or an alias; raise RequestError."""
        offer = self.offers.get(self.aliases.get(name, name))
        if offer is not None:
            return offer
        if name in self.aliases:
            raise RequestError(
                f"'{name}' stands for '{self.aliases[name]}', which is not there", where="voice"
            )
        names = [*self.offers, *(alias for alias, voice in self.aliases.items() if voice in self.offers)]
        raise RequestError(f"no voice '{name}'{suggest(name, names)}", where="voice")

    def check_aliases(self, *, may_come: bool) -> None:
        """Raise RequestError if an alias is a voice's own name, or names none.

        In:       may_come  whether the voice may be put into the folders later
        """
        for alias, voice in self.aliases.items():
            if alias in self.offers:
                raise RequestError("a voice has this name; choose another", where=f"alias {alias}")
            if voice not in self.offers and not may_come:
                raise RequestError(f"no voice '{voice}'{suggest(voice, self.offers)}", where=f"alias {alias}")

    def called(self, name: str) -> str:
        """Return what a voice's folder or file is called, by which faults are told."""
        return Path(self._paths.get(name, name)).name

    def rows(self, states: Sequence[VoiceState]) -> list[dict[str, Any]]:
        """Return what clients are told of each voice and of each addon that cannot be used."""
        by_name = {state.name: state for state in states if state.state != "leaving"}
        rows = [
            {
                "id": offer.name,
                "name": offer.name,
                "object": "voice",
                "languages": list(offer.languages),
                "licence": offer.licence,
                "sample_rate": offer.sample_rate,
                "controls": {
                    name: {key: value for key, value in control.model_dump().items() if key != "dtype"}
                    for name, control in offer.controls.items()
                },
                "aliases": sorted(alias for alias, name in self.aliases.items() if name == offer.name),
                **_status(by_name.get(offer.name)),
            }
            for offer in self.offers.values()
        ]
        broken = [
            {"id": name, "name": name, "object": "voice", "status": "broken", "why": why}
            for name, why in self.faults.items()
            if name not in self.offers
        ]
        return rows + broken

    def _is_offered(self, addon: Addon) -> bool:
        if self.chosen:
            return addon.name in self.chosen
        return self._is_here(Path(addon.files.where))

    def _is_here(self, path: Path) -> bool:
        if not self.folders:
            return True
        return path.parent.resolve() in {folder.resolve() for folder in self.folders}


def _status(state: VoiceState | None) -> dict[str, Any]:
    if state is None:
        return {"status": "unloaded"}
    return {"status": state.state, **({"why": "its files do not load"} if state.why else {})}


def _without_paths(error: VoxstackError) -> str:
    return f"{type(error).__name__}: {error.what.splitlines()[0]}"
