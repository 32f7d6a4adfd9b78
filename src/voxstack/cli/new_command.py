"""Begin something of your own: the package of a new block, that works and has its test."""

import builtins
import re
import shlex
import shutil
import unicodedata
from pathlib import Path
from typing import cast

import click

from voxstack.cli.new_block import KINDS, Kind, package_name, skeleton
from voxstack.core.registry import versioned
from voxstack.stack.standard import STANDARD

__all__ = ["command"]

LONGEST = 40


@click.group("new", help="Begin a package of your own.")
def command() -> None: ...


@command.command(
    "block", help="Write a package with one block, NAME, that works, its test, and what to do next."
)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default=KINDS[0],
    show_default=True,
    help="Makes data on demand, or takes and gives tensors of a whole utterance.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the new package, which must not be there yet (default: voxstack-NAME).",
)
def block(name: str, kind: str, out: Path | None) -> None:
    files = skeleton(_good(name, cast("Kind", kind)), cast("Kind", kind))
    folder = Path(package_name(name)) if out is None else out
    _write(folder, files)
    click.echo(f"written  {folder}: {', '.join(files)}")
    place = shlex.quote(str(folder))
    click.echo(f"next     pip install --no-deps -e {place} && python -m pytest {place}")


def _good(name: str, kind: Kind) -> str:
    """Return the name if a block can have it."""
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or len(name) > LONGEST:
        spelt = name.translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}))
        plain = unicodedata.normalize("NFKD", spelt)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
        words = re.findall(r"[A-Za-z0-9]+", plain.lstrip("0123456789"))
        wanted = "".join(word[0].upper() + word[1:] for word in words)[:LONGEST] or "FadeIn"
        _refuse(f"got '{name}', want words joined like '{wanted}', at most {LONGEST} letters and digits")
    if hasattr(builtins, name):
        _refuse(f"'{name}' is a word of Python's own; choose another name")
    if re.search(rf"^from .* import .*\b{name}\b", "\n".join(skeleton(name, kind).values()), re.MULTILINE):
        _refuse(f"'{name}' is what blocks are made of; choose another name")
    if versioned(name) in STANDARD:
        _refuse(f"'{name}' is a block of voxstack's own; choose another name")
    return name


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files to a new folder, all or none."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise click.BadParameter(
            f"'{folder}' is there already, and nothing is overwritten; name another", param_hint="--out"
        ) from None
    try:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _refuse(what: str) -> None:
    raise click.BadParameter(what, param_hint="NAME")
