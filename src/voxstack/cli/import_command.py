"""Turn a public checkpoint into an addon: one subcommand a model family."""

from pathlib import Path

import click

__all__ = ["command"]


@click.group("import", help="Turn a public checkpoint into an addon.")
def command() -> None:
    """Group the families."""


@command.command("piper", help="Cut the Piper voice MODEL (.onnx, with its .json) into streamable nets.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the new addon; names it."
)
def piper(model: Path, config: Path | None, out: Path) -> None:
    from voxstack.importers.piper import import_piper

    report = import_piper(model, config, out)
    contexts = ", ".join(
        f"{name} {left} | {right}" for name, (left, right) in report.contexts.items() if left or right
    )
    click.echo(f"addon             {report.addon} ({report.name})")
    click.echo(f"audio             {report.sample_rate} Hz, {report.hop_samples} samples a frame")
    click.echo(f"speakers          {report.speakers}")
    click.echo(f"context           {contexts} frames")
    click.echo(f"chain vs. model   {report.max_difference:.1e} greatest difference, same noise")
    click.echo(f"gain              {report.gain_db:+.2f} dB")
