"""Compile a voice ahead of time: its own nets, and those of all addons that it will speak through."""

import contextlib
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from voxstack.core.errors import OutputError, RequestError
from voxstack.engine.artefacts import MANIFEST, SUFFIX
from voxstack.engine.deployed import check_names
from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, compile_nets, resolve
from voxstack.engine.swapping import swap
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

    They take the places of earlier ones when all are written. Runs into one `out` at the same time do not
    mix their files: of each addon, the last one's are there.

    Raises:   ConfigError, AddonError or NetError if a net cannot be compiled as the profile says;
              RequestError if `out` holds something else under an addon's name; OutputError if it cannot be
              written
    """
    addon = find_addon(name_or_path, folders)
    check_names(running.deployment, addon, folders)
    fresh = replace(running, artefacts=None)
    profiles = {addon.name: resolve(addon, fresh)}
    addons = {addon.name: addon}
    below = _vocoder(addon, vocoder, folders)
    waiting = [*_nested(addon, folders), *([below] if below else [])]
    while waiting:
        other = waiting.pop()
        if other.name not in addons:
            addons[other.name], profiles[other.name] = other, resolve(other, fresh, user=addon)
            waiting += _nested(other, folders)
    with _places(out, list(addons)) as folder:
        written = {name: compile_nets(addons[name], profiles[name], folder) for name in addons}
    return {name: [out / path.relative_to(folder) for path in paths] for name, paths in written.items()}


@contextlib.contextmanager
def _places(out: Path, names: Sequence[str]) -> Generator[Path, None, None]:
    """Give a folder in `out`; what it holds under `names` is moved to `out` when the block ends well."""
    for name in names:
        _check_replaceable(out / name)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=out, prefix=".", suffix=".partial", ignore_cleanup_errors=True
        ) as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            yield folder
            for name in names:
                _check_replaceable(out / name)  # the work took a while
            for name in names:
                swap(folder / name, (out / name).resolve(), Path(temporary) / f"{name}.old")
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", where=str(out)) from error


def _check_replaceable(place: Path) -> None:
    """Refuse a folder that holds anything but compiled nets: it would be thrown away."""
    if not place.exists():
        return
    if not place.is_dir():
        raise RequestError("is a file; want a folder for compiled nets; name another --out", where=str(place))
    names = sorted(path.name for path in place.iterdir())
    foreign = next((name for name in names if name != MANIFEST and not name.endswith(SUFFIX)), None)
    if foreign is None and names and MANIFEST not in names:
        foreign = names[0]
    if foreign is not None:
        raise RequestError(
            f"holds '{foreign}', which `voxstack compile` did not write; name another --out, or remove it",
            where=str(place),
        )


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
