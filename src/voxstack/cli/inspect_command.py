"""Show the wired stack of a voice, as a table and as a picture, even where something in it is wrong."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxstack.cli import options
from voxstack.cli.text_file import TextFile
from voxstack.core.nets import Net
from voxstack.engine.library import find_addon
from voxstack.engine.loading import Loaded, load_stack
from voxstack.engine.nets import file_sizes, resolve
from voxstack.stack.describe import Row, rows
from voxstack.stack.faults import Faults
from voxstack.stack.graph import graph_of
from voxstack.stack.mermaid import mermaid
from voxstack.stack.picture import svg

if TYPE_CHECKING:
    from voxstack.engine.nets import Running

__all__ = ["command"]

DRAWN = {".svg": svg, ".mmd": mermaid}
HEADS = ["BLOCK", "NET", "RUNTIME", "TAKES", "GIVES", "RATE", "CONTEXT", "LATENCY", "MEMORY"]


@click.command(
    "inspect",
    help="Show the wired stack of VOICE: block, net, runtime, takes, gives, rate, context, latency, memory. "
    "What is wrong with it is shown too; the exit code is 1 then.",
)
@options.voice_argument
@click.option(
    "--graph",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Draw the stack: an .svg picture, an .mmd Mermaid flowchart; - writes the flowchart and no table.",
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
) -> int:
    to_stdout = graph is not None and str(graph) == "-"
    if graph is not None and not to_stdout and graph.suffix.lower() not in DRAWN:
        raise click.BadParameter(
            f"got '{graph}', want a name that ends in .svg or .mmd, or -", param_hint="--graph"
        )
    if to_stdout and is_json:
        raise click.BadParameter(
            "- and --json both write to standard output; choose one", param_hint="--graph"
        )
    faults = Faults()
    before = _resident_bytes()
    loaded = load_stack(
        find_addon(voice, folders), running=running, folders=folders, vocoder=vocoder, faults=faults
    )
    after = _resident_bytes()
    grown = None if before is None or after is None else after - before
    described = rows(loaded.wired, file_bytes=_file_bytes(loaded, running).get, faults=faults)
    if is_json:
        click.echo(json.dumps(_report(loaded, described, faults, grown), default=str))
    elif not to_stdout:
        click.echo("\n".join(_screen(loaded, described, grown)))
    for fault in faults.found:
        click.echo(f"wrong: {' '.join(fault.message.split())}", err=True)
    if graph is not None:
        addon = loaded.addon
        drawing = graph_of(
            addon.name, loaded.wired, described, request=addon.request, source=addon.source, faults=faults
        )
        if to_stdout:
            click.echo(mermaid(drawing), nl=False)
        else:
            with TextFile(graph) as file:
                file.write(DRAWN[graph.suffix.lower()](drawing))
            if not is_json:
                click.echo(f"drawn in {graph}")
    return 1 if faults.found else 0


def _file_bytes(loaded: Loaded, running: "Running") -> dict[Net, int]:
    """Return the size of each net's file, whichever addon it belongs to."""
    voice = loaded.addon
    sizes = file_sizes(voice, resolve(voice, running))
    for other in (*loaded.nested, *([loaded.vocoder] if loaded.vocoder else [])):
        own = file_sizes(other, resolve(other, running, user=voice))
        sizes |= {f"{other.name}/{name}": size for name, size in own.items()}
    return {net: sizes[name] for name, net in loaded.nets.items()}


def _report(loaded: Loaded, described: list[Row], faults: Faults, grown: int | None) -> dict[str, Any]:
    return {
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
        "resident_growth_bytes": grown,
        "faults": [asdict(fault) for fault in faults.found],
    }


def _screen(loaded: Loaded, described: list[Row], grown: int | None) -> Iterator[str]:
    ordered = sorted(
        enumerate(described),
        key=lambda pair: (min(_of_inside(described, pair[1].path), default=pair[0]), len(pair[1].path)),
    )
    cells: list[list[str]] = []
    for _, row in ordered:
        depth = sum(other.is_container and _is_inside(row.path, other.path) for other in described)
        cells += _cells(row, depth)
        for inner in row.inside:
            cells += _cells(inner, depth + 1)
    yield options.table(cells, HEADS)
    yield ""
    yield "latency  what must be known of its input before a block's first output"
    mb = "" if grown is None else f"; loading the voice made this process {grown / 1e6:.1f} MB larger"
    yield f"memory   size of the net's file in the addon{mb}"
    for name, net in loaded.nets.items():
        ragged = net.spec.ragged
        if ragged is not None:
            yield f"net '{name}'  {ragged.axis}: {net.shapes.steps}"
    timing = loaded.block.timing
    reach = f"context {timing.left} | {timing.right} steps of its head"
    yield f"the whole: {'all steps of its head' if timing.lookahead is None else reach}"


def _of_inside(described: list[Row], path: str) -> Iterator[int]:
    """Yield the places of the rows that stand inside a container."""
    return (place for place, row in enumerate(described) if _is_inside(row.path, path))


def _is_inside(path: str, container: str) -> bool:
    return path.startswith((f"{container}.", f"{container}["))


def _cells(row: Row, depth: int) -> list[list[str]]:
    """Return a row's lines: one for each port, and all else on the first."""
    name = f"{'  ' * depth}{f'{row.branch}: ' if row.branch else ''}{row.type}"
    mark = "" if not row.faults else " (wrong)" if row.is_certain else " (perhaps wrong)"
    if row.is_container or row.inside:
        return [[f"{name}{mark}", *[""] * (len(HEADS) - 1)]]
    takes, gives = [_short(port) for port in row.takes], [_short(port) for port in row.gives]
    context = f"{row.context[0]} | {row.context[1]}" if row.context and any(row.context) else ""
    latency = row.waits_for or ""
    if row.latency_ms is not None:
        latency = f"{row.latency_ms:.0f} ms" + (f" ({latency})" if latency else "")
    first = [
        f"{name}{mark}",
        ", ".join(row.nets),
        row.runtime or "",
        takes[0] if takes else "",
        gives[0] if gives else "",
        "" if row.rate_hz is None else f"{row.rate_hz:g} Hz",
        context,
        latency,
        "" if row.file_bytes is None else f"{row.file_bytes / 1e6:.2f} MB",
    ]
    more = [
        ["", "", "", *(ports[place] if place < len(ports) else "" for ports in (takes, gives)), *[""] * 4]
        for place in range(1, max(len(takes), len(gives)))
    ]
    return [first, *more]


def _short(port: str) -> str:
    """Return a port without what most of them are, and without its rate, which has a column."""
    return port.partition(" at ")[0].replace(" float32", "")


def _resident_bytes() -> int | None:
    """Return how much memory of this process is resident, where the system says so."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
