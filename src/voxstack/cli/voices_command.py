"""List what is installed: voices and vocoders, and addons that are broken with the reason."""

import json
from pathlib import Path

import click

from voxstack.cli import options
from voxstack.engine.library import folders as all_folders
from voxstack.engine.library import installed
from voxstack.stack.files import MANIFEST

__all__ = ["command"]


@click.command("voices", help="List what is installed: name, architecture, languages, licence.")
@options.addons
@options.as_json
def command(folders: tuple[Path, ...], is_json: bool) -> None:
    good, broken = installed(folders)
    if is_json:
        voices = [
            {
                "voice": addon.name,
                "version": addon.config.version,
                "kind": "vocoder" if addon.config.takes else "voice",
                "architecture": addon.config.origin.get("family"),
                "languages": list(addon.config.languages),
                "licence": addon.config.licence,
                "sample_rate": addon.config.audio.sample_rate,
                "path": addon.files.where,
            }
            for addon in good.values()
        ]
        faults = [{"path": path, "error": str(error)} for path, error in broken.items()]
        click.echo(json.dumps({"voices": voices, "broken": faults}, ensure_ascii=False))
        return
    rows = [
        [
            addon.name,
            "vocoder" if addon.config.takes else "voice",
            str(addon.config.origin.get("family", "-")),
            ", ".join(addon.config.languages) or "-",
            addon.config.licence,
            f"{addon.config.audio.sample_rate} Hz",
            addon.files.where,
        ]
        for addon in good.values()
    ]
    if rows:
        heads = ["NAME", "KIND", "ARCHITECTURE", "LANGUAGES", "LICENCE", "RATE", "PATH"]
        click.echo(options.table(rows, heads))
    else:
        looked = ", ".join(str(folder) for folder in all_folders(folders))
        click.echo(f"No addons are installed; looked in {looked}.", err=True)
        for folder in all_folders(folders):
            if (folder / MANIFEST).is_file():
                click.echo(f"{folder} is an addon itself: name the folder above it", err=True)
    for error in broken.values():
        click.echo(f"not used: {error}", err=True)
