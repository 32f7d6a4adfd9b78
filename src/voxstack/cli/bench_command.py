"""Measure voices, or a server, under load: many listeners at once, in a closed loop."""

import contextlib
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxstack.cli import options
from voxstack.cli.text_file import TextFile
from voxstack.core.errors import RequestError
from voxstack.testing.load.listener import BUFFER_MS

if TYPE_CHECKING:
    from voxstack.engine.nets import Running
    from voxstack.testing.load import Load, LoadReport, Target

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
    from voxstack.testing.load import ENGLISH, InTurn, Load, most_streams, read_texts, run_load, warm_up

    texts = None if texts_file is None else read_texts(texts_file)
    ramp_s = (RAMP_S if pace == "realtime" else 0.0) if ramp_s is None else ramp_s
    with _drawing(plot) as draw:
        if url is None:
            targets, facts = _voices(voices, running, folders, is_english=texts is None)
        else:
            targets, facts = _servers(voices, url, model, api_key_env)
        texts = texts or ENGLISH
        for target in targets:
            warm_up(target, max(texts, key=len))
        target = targets[0] if len(targets) == 1 else InTurn(targets)
        reports: list[LoadReport] = []

        def measure(number: int) -> "LoadReport":
            load = Load(number, rounds, pace, buffer_ms, ramp_s)
            with _progress(load, texts) as progress:
                report = run_load(target, texts, load, progress=progress)
            # Of a server elsewhere, this process is but the listeners.
            report = report if url is None else dataclasses.replace(report, peak_rss_mb=None)
            reports.append(report)
            _say_errors(report)
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
        click.echo(_screen(reports))
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


def _voices(
    names: Sequence[str], running: "Running", folders: tuple[Path, ...], *, is_english: bool
) -> tuple[list["Target"], list[dict[str, Any]]]:
    """Load voices; raise RequestError if one cannot speak the texts."""
    from voxstack.engine.voice import open_voice
    from voxstack.testing.load import VoiceTarget

    targets: list[Target] = []
    facts: list[dict[str, Any]] = []
    as_served = dataclasses.replace(running, unsaid_threads=1)
    for name in names:
        voice = open_voice(name, as_served, folders=folders)
        _ = voice.front
        languages = voice.loaded.addon.config.languages
        if is_english and not any(language.partition("-")[0] == "en" for language in languages):
            raise RequestError(
                f"speaks {', '.join(languages) or 'no known language'}, and the built-in texts are English; "
                "give --texts FILE, one text a line",
                where=voice.name,
            )
        voice.warm_up()
        targets.append(VoiceTarget(voice))
        facts.append(
            {
                "voice": voice.name,
                "profile": voice.loaded.profile,
                "runtime": voice.loaded.runtime,
                "sample_rate": voice.sample_rate,
            }
        )
    return targets, facts


def _servers(
    names: Sequence[str], url: str, model: str, api_key_env: str | None
) -> tuple[list["Target"], list[dict[str, Any]]]:
    """Return a target for each of a server's voices."""
    from voxstack.testing.load import SpeechServer

    key = None
    if api_key_env is not None:
        key = os.environ.get(api_key_env)
        if not key:
            raise RequestError("the variable is not set, want one that holds the key", where=api_key_env)
    targets: list[Target] = [SpeechServer(url, name, model, key) for name in names]
    return targets, [{"voice": name, "model": model} for name in names]


@contextlib.contextmanager
def _progress(load: "Load", texts: Sequence[str]) -> Generator[Any, None, None]:
    """Show on standard error how far a run is: a bar where a person looks, else one line."""
    label = f"voxstack bench: {load.streams} stream{'' if load.streams == 1 else 's'}"
    length = load.streams * load.rounds * len(texts)
    if not sys.stderr.isatty():
        click.echo(f"{label}, {length} requests", err=True)
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield lambda over, _: bar.update(over - bar.pos)


def _say_errors(report: "LoadReport") -> None:
    for text, count in report.errors.items():
        click.echo(f"voxstack bench: {count} of {report.requests} requests failed: {text}", err=True)


def _screen(reports: Sequence["LoadReport"]) -> str:
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
