"""Turn a public checkpoint into an addon: one subcommand a model family."""

from pathlib import Path

import click

from voxstack.importers.families import FAMILIES, Family

__all__ = ["command"]


def _family_command(name: str, family: Family) -> click.Command:
    @click.command(name, help=family.summary, short_help=family.summary)
    @click.argument(
        "sources", nargs=-1, required=True, metavar=family.sources, type=click.Path(path_type=Path)
    )
    @click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="Folder of the new addon; names it."
    )
    @click.option(
        "--int8",
        is_flag=True,
        hidden=not family.has_int8,
        help="Also write a decoder with 8-bit convolutions, and a profile int8 that runs it on OpenVINO.",
    )
    def import_family(sources: tuple[Path, ...], out: Path, int8: bool) -> None:
        for label, value in family.run(sources, out, int8=int8).lines():
            click.echo(f"{label:<17} {value}")

    return import_family


command = click.Group(
    "import",
    commands=[_family_command(name, family) for name, family in FAMILIES.items()],
    help="Turn a public checkpoint into an addon.",
)
