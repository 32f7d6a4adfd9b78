"""Compile a voice ahead of time: its own nets, and those of the vocoder that it will speak through."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, compile_nets, resolve
from voxstack.stack.addon import Addon

__all__ = ["compile_addon"]


def compile_addon(
    name_or_path: str | Path,
    out: Path,
    running: Running,
    *,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
) -> dict[str, list[Path]]:
    """Write the compiled nets of an addon, and of its vocoder if it needs one; return the files by addon.

    Raises:   ConfigError, AddonError or NetError if a net cannot be compiled as the profile says
    """
    addon = find_addon(name_or_path, folders)
    fresh = replace(running, artefacts=None)
    written = {addon.name: compile_nets(addon, resolve(addon, fresh), out)}
    below = _vocoder(addon, vocoder, folders)
    if below is not None:
        written[below.name] = compile_nets(below, resolve(below, fresh, user=addon), out)
    return written


def _vocoder(addon: Addon, wanted: str | Path | None, folders: Sequence[str | Path]) -> Addon | None:
    name = addon.config.vocoder if wanted is None else wanted
    if addon.config.gives != "mel" or name is None:
        return None
    beside = Path(addon.files.where).parent
    return find_addon(name, [*folders, beside], kind="vocoder", wanted_by=addon.name)
