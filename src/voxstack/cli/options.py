"""Hold the options that several commands share."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from voxstack.core.errors import RequestError

__all__ = [
    "addons",
    "as_json",
    "chosen_controls",
    "controls",
    "effects",
    "marks",
    "running",
    "table",
    "vocoder",
    "voice_argument",
]

F = TypeVar("F", bound=Callable[..., Any])

addons = click.option(
    "--addons",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder to look for addons in first; may be given more than once.",
)
_RUNNING = (
    click.option(
        "--profile", metavar="NAME", help="How the nets run: cpu (default), fast, fixed, openvino, torch …"
    ),
    click.option(
        "--deployment",
        type=click.Path(path_type=Path),
        help="TOML or JSON file with profiles; it says more than addons do (default: $VOXSTACK_DEPLOYMENT).",
    ),
    click.option(
        "--artefacts",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of nets that `voxstack compile` made for the profile.",
    ),
)
vocoder = click.option(
    "--vocoder", metavar="NAME|PATH", help="Another vocoder than the voice names, for the same kind of mels."
)
_EFFECTS = click.option(
    "--effects",
    metavar="JSON|FILE|NAMES",
    help="Blocks behind the voice's last one: a JSON list of entries, a .json file with one, or names with "
    "commas between (default: those of the deployment file; '[]': none).",
)
as_json = click.option("--json", "is_json", is_flag=True, help="One JSON object on standard output.")
voice_argument = click.argument("voice")

_CONTROLS = (
    click.option("--speed", type=float, metavar="X", help="How fast: 2 is about twice as fast."),
    click.option("--pitch", type=float, metavar="X", help="How high: 1 is the voice's own."),
    click.option("--energy", type=float, metavar="X", help="How strong: 1 is the voice's own."),
    click.option("--speaker", metavar="NAME|N", help="Which speaker, if the voice has several."),
    click.option("--noise", type=float, metavar="X", help="How much the sound varies."),
    click.option("--noise-w", "noise_w", type=float, metavar="X", help="How much the rhythm varies."),
    click.option(
        "--seed", type=int, metavar="N", help="Which variation; the same seed is the same audio (default: 0)."
    ),
    click.option(
        "--control", "others", multiple=True, metavar="NAME=X", help="Any other control that the voice lists."
    ),
)


USUAL_MARKS = "sentence,word"
_MARKS = (
    click.option(
        "--marks",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="Write when what is said, while it is said, a JSON object a line, as Amazon Polly's marks "
        "are; '-': to standard output.",
    ),
    click.option(
        "--marks-of",
        metavar="KINDS",
        help=f"Marks of what: sentence, word, phoneme, with commas between (default: {USUAL_MARKS}).",
    ),
)


def marks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ask for marks; the command gets the file, `marks`, and their `kinds`."""

    @functools.wraps(command)
    def told(*args: Any, marks: Path | None, marks_of: str | None, **values: Any) -> Any:
        from voxstack.engine.marks import chosen_kinds

        if marks is None and marks_of is not None:
            raise click.UsageError("got --marks-of, but no --marks FILE to write them to")
        asked = (marks_of or USUAL_MARKS).split(",")
        kinds = chosen_kinds(kind.strip() for kind in asked if marks is not None)
        return command(*args, marks=marks, kinds=kinds, **values)

    for option in reversed(_MARKS):
        told = option(told)
    return told


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how nets run; the command gets them as one value, `running`."""

    @functools.wraps(command)
    def told(
        *args: Any, profile: str | None, deployment: Path | None, artefacts: Path | None, **values: Any
    ) -> Any:
        from voxstack.engine.nets import Running
        from voxstack.stack.deployment import load_deployment

        return command(*args, running=Running(profile, load_deployment(deployment), artefacts), **values)

    for option in reversed(_RUNNING):
        told = option(told)
    return told


def effects(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that says what changes the sound; stands below `running`, into which it goes."""

    @functools.wraps(command)
    def told(*args: Any, running: Any, effects: str | None, **values: Any) -> Any:
        if effects is not None:
            running = dataclasses.replace(running, effects=_entries(effects))
        return command(*args, running=running, **values)

    return _EFFECTS(told)


def _entries(text: str) -> tuple[dict[str, Any], ...]:
    """Return the entries that `--effects` says."""
    from voxstack.stack.strict import parse_json

    where = "--effects"
    if not text.strip():
        raise RequestError("got nothing (a variable that is not set?); '[]' is how to say none", where=where)
    if text.endswith(".json"):
        where = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"cannot be read: {error}", where=where) from error
    elif not text.lstrip().startswith(("[", "{")):
        return tuple({"type": name} for name in _names(text, where=where))
    entries = parse_json(text.encode(), where=where)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError('got no list of blocks, want [{"type": …}, …]', where=where)
    return tuple(entries)


def _names(text: str, *, where: str) -> list[str]:
    """Return the names of blocks in a text with commas between."""
    if "/" in text or Path(text).suffix.lower() in (".txt", ".toml", ".jsn", ".yaml", ".yml"):
        raise RequestError(f"got '{text}'; a file of effects must end in .json", where=where)
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise RequestError(f"got '{text}', in which a name is missing at a comma", where=where)
    return names


def controls(command: F) -> F:
    """Add the options that set a voice's controls; `chosen_controls` reads them."""
    for option in reversed(_CONTROLS):
        command = option(command)
    return command


def chosen_controls(values: dict[str, Any]) -> dict[str, float | str]:
    """Return the controls that were given on the command line."""
    chosen: dict[str, float | str] = {}
    for name in ("speed", "pitch", "energy", "speaker", "noise", "noise_w", "seed"):
        value = values.get(name)
        if value is not None:
            chosen[name] = _number(value)
    for pair in values.get("others", ()):
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise click.BadParameter(f"got '{pair}', want NAME=VALUE", param_hint="--control")
        if name in chosen:
            raise click.BadParameter(f"'{name}' is given twice", param_hint="--control")
        chosen[name] = _number(value)
    return chosen


def table(rows: list[list[str]], heads: list[str]) -> str:
    """Return rows in aligned columns under their heads."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join(lines)


def _number(value: float | str) -> float | str:
    if isinstance(value, str):
        try:
            return int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            return value
    return value
