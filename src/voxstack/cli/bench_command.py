"""Measure voices, or a server, under load: many listeners at once, in a closed loop."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxstack.cli import options
from voxstack.cli.text_file import TextFile
from voxstack.testing.load.listener import BUFFER_MS

if TYPE_CHECKING:
    from voxstack.engine.nets import Running
    from voxstack.testing.load import LoadReport

__all__ = ["command"]

DONE, FAILED = 0, 1
DEFAULT_STREAMS = (1, 4, 8)
RAMP_S = 5.0
"""About as long as a text lasts: listeners come as they would if they had been there for a while."""


class _Numbers(click.ParamType):
    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isdecimal() and int(word) for word in words):
            self.fail(f"got '{value}', want whole numbers from 1, with commas between", param, ctx)
        return tuple(map(int, words))


class _Finite(click.FloatRange):
    """A range whose numbers are numbers: neither nan nor inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"got {value}, want a finite number", param, ctx)
        return number


@click.command(
    "bench",
    help="Let many listeners hear VOICE… at once, and say what they met. With several voices, requests are "
    "dealt out in turn.",
)
@click.argument("voices", metavar="VOICE…", nargs=-1, required=True)
@click.option("--streams", type=_Numbers(), metavar="N,N…", help="Listeners at a time (default: 1,4,8).")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How often each listener goes through the texts.",
)
@click.option(
    "--pace",
    type=click.Choice(["realtime", "fast"]),
    default="realtime",
    show_default=True,
    help="Listeners play what they hear, or read as fast as they can.",
)
@click.option(
    "--buffer-ms",
    type=_Finite(0),
    default=BUFFER_MS,
    show_default=True,
    metavar="X",
    help="At real-time pace, the audio that a listener still holds when it asks for more.",
)
@click.option(
    "--ramp-s",
    type=_Finite(0),
    metavar="X",
    help="Seconds over which the listeners come, evenly  [default: 5 at real-time pace, else 0]",
)
@click.option("--texts", "texts_file", type=click.Path(path_type=Path), help="What is said, one text a line.")
@click.option("--find", "is_find", is_flag=True, help="Find the greatest number of streams that is carried.")
@click.option(
    "--within-ms",
    type=_Finite(0, min_open=True),
    default=250.0,
    show_default=True,
    metavar="X",
    help="With --find: what p95 of first audio must stay below.",
)
@click.option("--url", help="Of a server with OpenAI's speech API, to be measured instead.")
@click.option("--model", default="tts-1", show_default=True, help="With --url: the model to ask for.")
@click.option("--api-key-env", metavar="NAME", help="With --url: the variable that holds the key.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw first audio against streams, an .svg file.",
)
@options.running
@options.addons
@options.as_json
def command(
    voices: tuple[str, ...],
    streams: tuple[int, ...] | None,
    rounds: int,
    pace: Any,
    buffer_ms: float,
    ramp_s: float | None,
    texts_file: Path | None,
    is_find: bool,
    within_ms: float,
    url: str | None,
    model: str,
    api_key_env: str | None,
    plot: Path | None,
    running: "Running",
    folders: tuple[Path, ...],
    is_json: bool,
) -> int:
    _check(is_find, streams, pace, plot, url, api_key_env, running)
    from voxstack.cli.bench_screen import progress_of, say_errors, table_of
    from voxstack.cli.bench_targets import servers_to_measure, voices_to_measure
    from voxstack.testing.load import ENGLISH, InTurn, Load, most_streams, read_texts, run_load, warm_up

    texts = None if texts_file is None else read_texts(texts_file)
    ramp_s = (RAMP_S if pace == "realtime" else 0.0) if ramp_s is None else ramp_s
    with _drawing(plot) as draw:
        if url is None:
            targets, facts = voices_to_measure(voices, running, folders, is_english=texts is None)
        else:
            targets, facts = servers_to_measure(voices, url, model, api_key_env)
        texts = texts or ENGLISH
        for target in targets:
            warm_up(target, max(texts, key=len))
        target = targets[0] if len(targets) == 1 else InTurn(targets)
        reports: list[LoadReport] = []

        def measure(number: int) -> "LoadReport":
            load = Load(number, rounds, pace, buffer_ms, ramp_s)
            with progress_of(load, texts) as progress:
                report = run_load(target, texts, load, progress=progress)
            # Of a server elsewhere, this process is but the listeners.
            report = report if url is None else dataclasses.replace(report, peak_rss_mb=None)
            reports.append(report)
            say_errors(report)
            return report

        def carries(number: int) -> bool:
            is_carried = measure(number).is_carried(within_ms=within_ms)
            click.echo(f"voxstack bench: {number} {'' if is_carried else 'not '}carried", err=True)
            return is_carried

        carried = most_streams(carries) if is_find else None
        for number in () if is_find else streams or DEFAULT_STREAMS:
            measure(number)
        reports.sort(key=lambda report: report.streams)
        draw(reports, f"First audio of {', '.join(voices)}")
    if is_json:
        said = {
            "voices": facts,
            "url": url,
            "pace": pace,
            "buffer_ms": buffer_ms,
            "ramp_s": ramp_s,
            "rounds": rounds,
            "texts": len(texts),
            **({"streams_carried": carried, "within_ms": within_ms} if is_find else {}),
            "plot": None if plot is None else str(plot),
            "loads": [report.row() for report in reports],
        }
        click.echo(json.dumps(said, ensure_ascii=False))
    else:
        click.echo(table_of(reports))
        if is_find:
            click.echo(f"carried  {carried} streams, p95 of first audio below {within_ms:g} ms, no underrun")
        if plot is not None:
            click.echo(f"written  {plot}")
    return FAILED if any(report.failed for report in reports) else DONE


def _check(
    is_find: bool,
    streams: tuple[int, ...] | None,
    pace: str,
    plot: Path | None,
    url: str | None,
    api_key_env: str | None,
    running: "Running",
) -> None:
    """Refuse options that do not go together."""
    if is_find and (streams is not None or pace != "realtime"):
        raise click.UsageError("--find tries numbers of streams itself, at real-time pace")
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.BadParameter(f"got '{plot}', want a name that ends in .svg", param_hint="--plot")
    if url is None and api_key_env is not None:
        raise click.UsageError("--api-key-env is for a server; give --url")
    if url is not None and (running.profile is not None or running.artefacts is not None):
        raise click.UsageError("--profile and --artefacts say how nets run here; with --url they run there")


@contextlib.contextmanager
def _drawing(plot: Path | None) -> Generator[Callable[[Sequence["LoadReport"], str], None], None, None]:
    """Give what draws reports under a title; find out before anything is measured if it cannot be done."""
    if plot is None:
        yield lambda reports, title: None
        return
    from voxstack.cli.bench_plot import first_audio_plot
    from voxstack.stages.audio.diagnostics.drawing import require_matplotlib

    require_matplotlib("--plot")
    with TextFile(plot) as file:
        yield lambda reports, title: file.write(first_audio_plot(reports, title=title))
