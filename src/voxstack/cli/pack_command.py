"""Write an addon folder as one file that can be sent."""

from pathlib import Path

import click

from voxstack.stack.addon import pack
from voxstack.stack.files import SUFFIX

__all__ = ["command"]


@click.command(
    "pack", help="Write the addon in FOLDER as one .voxaddon file, after checking every file of it."
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), help="File, or folder to write it to."
)
def command(folder: Path, out: Path) -> None:
    if not out.is_dir() and out.suffix != SUFFIX:
        raise click.BadParameter(
            f"got '{out}', want a folder, or a name that ends in {SUFFIX}", param_hint="--out"
        )
    path = pack(folder, out)
    click.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
