"""Compile a voice ahead of time: its own nets, and those of all addons that it will speak through."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, compile_nets, resolve
from voxstack.stack.addon import Addon
from voxstack.stack.nested import nested_names

__all__ = ["compile_addon"]


def compile_addon(
    name_or_path: str | Path,
    out: Path,
    running: Running,
    *,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
) -> dict[str, list[Path]]:
    """Write the compiled nets of an addon, its vocoder and those nested in it; return the files by addon.

    Raises:   ConfigError, AddonError or NetError if a net cannot be compiled as the profile says
    """
    addon = find_addon(name_or_path, folders)
    fresh = replace(running, artefacts=None)
    written = {addon.name: compile_nets(addon, resolve(addon, fresh), out)}
    below = _vocoder(addon, vocoder, folders)
    waiting = [*_nested(addon, folders), *([below] if below else [])]
    while waiting:
        other = waiting.pop()
        if other.name not in written:
            written[other.name] = compile_nets(other, resolve(other, fresh, user=addon), out)
            waiting += _nested(other, folders)
    return written


def _nested(addon: Addon, folders: Sequence[str | Path]) -> list[Addon]:
    beside = Path(addon.files.where).parent
    return [
        find_addon(name, [*folders, beside], kind="addon", wanted_by=addon.name)
        for name in nested_names(addon.config.stack)
    ]


def _vocoder(addon: Addon, wanted: str | Path | None, folders: Sequence[str | Path]) -> Addon | None:
    name = addon.config.vocoder if wanted is None else wanted
    if addon.config.gives != "mel" or name is None:
        return None
    beside = Path(addon.files.where).parent
    return find_addon(name, [*folders, beside], kind="vocoder", wanted_by=addon.name)
