"""Show the wired stack of a voice: what each block takes and gives, its net, its rate and its context."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxstack.cli import options
from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.stack.describe import Row, rows, svg

if TYPE_CHECKING:
    from voxstack.engine.nets import Running

__all__ = ["command"]


@click.command("inspect", help="Show the wired stack of VOICE: block, net, takes, gives, rate, context.")
@options.voice_argument
@click.option(
    "--graph", type=click.Path(path_type=Path, dir_okay=False), help="Write the stack as an SVG picture."
)
@options.running
@options.effects
@options.vocoder
@options.addons
@options.as_json
def command(
    voice: str,
    graph: Path | None,
    running: "Running",
    vocoder: str | None,
    folders: tuple[Path, ...],
    is_json: bool,
) -> None:
    if graph is not None and graph.suffix.lower() != ".svg":
        raise click.BadParameter(f"got '{graph}', want a name that ends in .svg", param_hint="--graph")
    loaded = load_stack(find_addon(voice, folders), running=running, folders=folders, vocoder=vocoder)
    described = rows(loaded.wired)
    if graph is not None:
        graph.write_text(svg(loaded.addon.name, described), encoding="utf-8")
    if is_json:
        click.echo(
            json.dumps(
                {
                    "voice": loaded.addon.name,
                    "profile": loaded.profile,
                    "blocks": [asdict(row) for row in described],
                    "nets": {
                        name: {
                            "runtime": net.runtime,
                            "precision": net.precision,
                            "sizes": list(net.shapes.steps.buckets),
                            "most": net.shapes.steps.largest,
                        }
                        for name, net in loaded.nets.items()
                    },
                },
                default=str,
            )
        )
        return
    for row in described:
        if not row.is_container:
            click.echo("\n".join(_lines(row)))
    for name, net in loaded.nets.items():
        ragged = net.spec.ragged
        sizes = f", {ragged.axis}: {net.shapes.steps}" if ragged is not None else ""
        click.echo(f"net '{name}'  {net.runtime}, {net.precision}{sizes}")
    timing = loaded.block.timing
    if graph is not None:
        click.echo(f"drawn in {graph}")
    reach = f"context {timing.left} | {timing.right} steps of its head"
    click.echo(f"the whole: {'all steps of its head' if timing.lookahead is None else reach}")


def _lines(row: Row) -> list[str]:
    lines = [f"{row.type}  {row.path}"]
    if row.nets:
        lines.append(f"  nets     {', '.join(row.nets)}")
    lines += [f"  takes    {port}" for port in row.takes]
    lines += [f"  gives    {port}" for port in row.gives]
    if row.steps is not None:
        lines.append(f"  timing   1 → {row.steps}")
    if row.context and any(row.context):
        lines.append(f"  context  {row.context[0]} | {row.context[1]} steps")
    if row.needs_all:
        lines.append("  ahead    needs the whole utterance")
    if row.ahead_ms:
        lines.append(f"  ahead    needs {row.ahead_ms:.0f} ms of what comes after")
    return lines
