"""Find addons by name or by path."""

import os
from collections.abc import Sequence
from pathlib import Path

from voxstack.core.errors import RequestError, VoxstackError, suggest
from voxstack.stack.addon import Addon, addon_paths, load_addon, load_addons
from voxstack.stack.files import MANIFEST, open_files
from voxstack.stack.strict import parse_json

__all__ = ["find_addon", "folders", "installed"]

VARIABLE = "VOXSTACK_ADDONS"


def folders(extra: Sequence[str | Path] = ()) -> list[Path]:
    """Return where addons are looked for: `extra`, $VOXSTACK_ADDONS, ./addons, then the user's own."""
    chosen = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return [*map(Path, extra), *chosen, Path("addons"), data / "voxstack" / "addons"]


def installed(extra: Sequence[str | Path] = ()) -> tuple[dict[str, Addon], dict[str, VoxstackError]]:
    """Return every addon that loads, by name, and why the others do not, by path."""
    good: dict[str, Addon] = {}
    broken: dict[str, VoxstackError] = {}
    for folder in folders(extra):
        more, bad = load_addons(folder)
        good = {**more, **good}
        broken |= bad
    return good, broken


def find_addon(name_or_path: str | Path, extra: Sequence[str | Path] = (), *, what: str = "voice") -> Addon:
    """Return the addon at a path, or the first installed one of that name; raise RequestError.

    `what` is what is looked for, in words for an error.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or os.sep in text or path.suffix == ".voxaddon":
        if not path.exists():
            raise RequestError("there is no addon at this path", where=text)
        return load_addon(path)
    names: dict[str, Path] = {}
    for folder in folders(extra):
        for candidate in addon_paths(folder):
            names.setdefault(_name_of(candidate), candidate)
    if text in names:
        return load_addon(names[text])
    if path.is_dir():
        return load_addon(path)
    if not names:
        looked = ", ".join(map(str, folders(extra)))
        raise RequestError(f"no {what} '{text}': no addons are installed; looked in {looked}", where=what)
    raise RequestError(f"no {what} '{text}'{suggest(text, names)}", where=what)


def _name_of(path: Path) -> str:
    """Return the name in an addon's JSON, without checking anything else of it."""
    try:
        config = parse_json(open_files(path).read(MANIFEST), where=str(path))
        return str(config["name"])
    except (VoxstackError, LookupError, TypeError):
        return path.stem
