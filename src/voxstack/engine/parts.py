"""Say of which addons a voice is made, before any net of it is loaded."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, resolve, weights
from voxstack.stack.addon import Addon

__all__ = ["weights_of_all"]

NESTED = "Addon"
"""The type of an entry in a stack that stands for another addon's whole stack."""


def weights_of_all(addon: Addon, running: Running, folders: Sequence[str | Path] = ()) -> dict[Hashable, int]:
    """Return the bytes of each net of a voice, its vocoder and nested addons by the net's key.

    Raises:   what is wrong with one of them; wiring says it better
    """
    found = weights(addon, resolve(addon, running))
    for part in _parts(addon, folders, {addon.name}):
        found |= weights(part, resolve(part, running, user=addon))
    return found


def _parts(addon: Addon, folders: Sequence[str | Path], seen: set[str]) -> Iterator[Addon]:
    config = addon.config
    names = [*_nested(config.stack), *([config.vocoder] if config.vocoder else [])]
    for name in names:
        if name not in seen:
            seen.add(name)
            beside = Path(addon.files.where).parent
            part = find_addon(name, [*folders, beside], kind="addon", wanted_by=addon.name)
            yield part
            yield from _parts(part, folders, seen)


def _nested(entry: Any) -> Iterator[str]:
    """Yield the names of the addons of which the stacks stand in a stack."""
    if isinstance(entry, Mapping):
        keys = cast("Mapping[str, Any]", entry)
        if keys.get("type") == NESTED and isinstance(keys.get("name"), str):
            yield keys["name"]
        yield from _nested(list(keys.values()))
    elif isinstance(entry, list | tuple):
        for value in cast("Sequence[Any]", entry):
            yield from _nested(value)
