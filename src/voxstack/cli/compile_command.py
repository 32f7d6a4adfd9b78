"""Compile the nets of a voice for a profile, ahead of time, so that nothing compiles while it serves."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxstack.cli import options

if TYPE_CHECKING:
    from voxstack.engine.nets import Running

__all__ = ["command"]


@click.command("compile", help="Compile the nets of ADDON, and of its vocoder, for a profile.")
@click.argument("addon")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to; each addon gets a folder of its own in it.",
)
@options.running
@options.vocoder
@options.addons
@options.as_json
def command(
    addon: str,
    out: Path,
    running: "Running",
    vocoder: str | None,
    folders: tuple[Path, ...],
    is_json: bool,
) -> None:
    from voxstack.engine.compiling import compile_addon

    started = time.perf_counter()
    written = compile_addon(addon, out, running, folders=folders, vocoder=vocoder)
    wall_s = time.perf_counter() - started
    files = [path for paths in written.values() for path in paths]
    report = {
        "voice": addon,
        "profile": running.name,
        "addons": list(written),
        "files": [str(path) for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "wall_s": round(wall_s, 3),
        "out": str(out),
    }
    if is_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    for name, paths in written.items():
        click.echo(f"{name}  {len(paths) - 1} compiled files in {paths[0].parent}")
    click.echo(f"{report['bytes'] / 1e6:.1f} MB in {wall_s:.1f} s")
    click.echo(f"to use them: --profile {running.name} --artefacts {out}")
