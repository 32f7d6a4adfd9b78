"""Find addons by name or by path."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from voxstack.core.errors import AddonError, RequestError, VoxstackError, suggest
from voxstack.stack.addon import Addon, addon_paths, load_addon
from voxstack.stack.files import MANIFEST, SUFFIX, open_files
from voxstack.stack.strict import parse_json

__all__ = ["candidates", "find_addon", "folders", "installed", "names"]

VARIABLE = "VOXSTACK_ADDONS"


def folders(extra: Sequence[str | Path] = ()) -> list[Path]:
    """Return where addons are looked for: `extra`, $VOXSTACK_ADDONS, ./addons, then the user's own if any."""
    if isinstance(extra, str | Path):
        extra = [extra]
    chosen = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    own = [data / "voxstack" / "addons" for data in _users_data()]
    return [*map(Path, extra), *chosen, Path("addons"), *own]


def installed(extra: Sequence[str | Path] = ()) -> tuple[dict[str, Addon], dict[str, VoxstackError]]:
    """Return every addon that its name finds, and by path why the others are not used."""
    good: dict[str, Addon] = {}
    faults: dict[str, VoxstackError] = {}
    for name, paths in candidates(extra).items():
        for path in paths:
            try:
                addon = load_addon(path)
            except VoxstackError as error:
                faults[str(path)] = error
                continue
            if name in good:
                hider = good[name].files.where
                faults[str(path)] = AddonError(f"'{name}' is hidden by {hider}", where=str(path))
            elif path not in _deciding(paths):
                faults[str(path)] = AddonError(
                    f"'{name}' is hidden by {paths[0]}, which does not load; mend or remove that one",
                    where=str(path),
                )
            else:
                good[name] = addon
    return good, faults


def names(extra: Sequence[str | Path] = ()) -> set[str]:
    """Return the names of all addons that are there, good or broken, by a look at their JSON alone."""
    return set(candidates(extra))


def find_addon(
    name_or_path: str | Path,
    extra: Sequence[str | Path] = (),
    *,
    kind: Literal["addon", "voice", "vocoder"] = "voice",
    wanted_by: str = "",
) -> Addon:
    """Return the addon at a path, or the installed one of that name.

    The first folder that has one of that name decides: of several in it, the first that loads is taken,
    but one of a later folder never takes the place of a broken one.

    In:       kind, wanted_by  what is looked for and for whom, in words for an error
    Raises:   RequestError if there is none; the first one's own error if none in that folder loads
    """
    text = str(name_or_path)
    if not text:
        raise RequestError(f"got an empty name, want a {kind}'s name or the path of its addon", where=kind)
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or os.sep in text or path.suffix == SUFFIX:
        if not path.exists():
            raise RequestError("there is no addon at this path", where=text)
        return load_addon(path)
    error: VoxstackError | None = None
    for candidate in _deciding(candidates(extra).get(text, [])):
        try:
            return load_addon(candidate)
        except VoxstackError as found:
            error = error or found
    if error is not None:
        raise error
    if (path / MANIFEST).is_file():
        return load_addon(path)
    what = f"{kind} '{text}'" + (f", which '{wanted_by}' wants" if wanted_by else "")
    good, _ = installed(extra)
    known = [
        name
        for name, addon in good.items()
        if kind == "addon" or (addon.config.takes is not None) == (kind == "vocoder")
    ]
    if not known:
        looked = ", ".join(map(str, folders(extra)))
        raise RequestError(f"no {what}: no {kind} is installed; looked in {looked}", where=kind)
    raise RequestError(f"no {what}{suggest(text, known)}", where=kind)


def candidates(extra: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Return paths by the names in their JSON, best first: earlier folders, then those named alike."""
    found: dict[str, list[Path]] = {}
    for folder in folders(extra):
        paths = [(_name_of(path), path) for path in addon_paths(folder)]
        for name, path in sorted(paths, key=lambda item: (item[0] != item[1].stem, item[1])):
            if path.resolve() not in _resolved(found.get(name, ())):
                found.setdefault(name, []).append(path)
    return found


def _users_data() -> list[Path]:
    """Return the folder of the user's data; none for a user of a service or container who has no home."""
    if named := os.environ.get("XDG_DATA_HOME"):
        return [Path(named)]
    try:
        return [Path.home() / ".local" / "share"]
    except RuntimeError:
        return []


def _deciding(candidates: Sequence[Path]) -> list[Path]:
    """Return those of the first folder that has any."""
    return [path for path in candidates if path.parent == candidates[0].parent]


def _resolved(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def _name_of(path: Path) -> str:
    """Return the name in an addon's JSON, without checking anything else of it; else the path's."""
    try:
        config = parse_json(open_files(path).read(MANIFEST), where=str(path))
        return str(config["name"])
    except (VoxstackError, LookupError, TypeError):
        return path.stem
