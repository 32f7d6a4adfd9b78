"""Show a person how far `voxstack bench` is, what failed and what was measured."""

import contextlib
import sys
from collections.abc import Generator, Sequence
from typing import Any

import click

from voxstack.cli import options
from voxstack.testing.load import Load, LoadReport

__all__ = ["progress_of", "say_errors", "table_of"]


@contextlib.contextmanager
def progress_of(load: Load, texts: Sequence[str]) -> Generator[Any, None, None]:
    """Show on standard error how far a run is: a bar where a person looks, else one line."""
    label = f"voxstack bench: {load.streams} stream{'' if load.streams == 1 else 's'}"
    length = load.streams * load.rounds * len(texts)
    if not sys.stderr.isatty():
        click.echo(f"{label}, {length} requests", err=True)
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield lambda over, _: bar.update(over - bar.pos)


def say_errors(report: LoadReport) -> None:
    """Say on standard error how many requests failed, and why."""
    for text, count in report.errors.items():
        click.echo(f"voxstack bench: {count} of {report.requests} requests failed: {text}", err=True)


def table_of(reports: Sequence[LoadReport]) -> str:
    """Return what listeners met, a row for each number of streams."""
    rows = [
        [
            str(row["streams"]),
            str(row["requests"]),
            str(row["errors"]),
            str(row["refused"]),
            *(_ms(row[f"first_audio_{of}_ms"]) for of in ("mean", "p50", "p90", "p95", "p99")),
            _ms(row["inter_chunk_p95_ms"]),
            f"{row['audio_s_per_s']:.1f}",
            "-" if row["underruns_percent"] is None else f"{row['underruns_percent']:.0f} %",
            "-" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f} MB",
        ]
        for row in (report.row() for report in reports)
    ]
    heads = ["STREAMS", "REQUESTS", "FAILED", "REFUSED", "FIRST AUDIO", "P50", "P90", "P95", "P99"]
    return options.table(rows, [*heads, "NEXT CHUNK P95", "AUDIO S/S", "RAN DRY", "PEAK"])


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
