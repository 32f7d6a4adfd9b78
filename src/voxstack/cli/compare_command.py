"""Compare voices on one text: hear and see them side by side on one page."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxstack.cli import options
from voxstack.cli.event_row import event_row
from voxstack.cli.text_file import TextFile
from voxstack.core.errors import ConfigError, RequestError, VoxstackError

if TYPE_CHECKING:
    from voxstack.cli.compare_page import Failed
    from voxstack.cli.compare_voice import Spoken
    from voxstack.engine.nets import Running

__all__ = ["command"]

DONE, FAILED, WRONG_REQUEST = 0, 1, 2


@click.command(
    "compare",
    help="Speak TEXT with each VOICE and write one page to hear and see them side by side. "
    "The page holds everything it shows and needs no network.",
)
@click.argument("voices", nargs=-1, required=True, metavar="VOICE...")
@click.argument("text")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the page, an .html file.",
)
@click.option(
    "--say",
    "says",
    multiple=True,
    metavar="VOICE=TEXT",
    help="What this voice says instead of TEXT, in its own language; may be given more than once.",
)
@click.option(
    "--scores",
    "judged",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Show these scores too: JSON {"method": …, "rows": [{…}, …]}, such as benchmarks/quality.py writes.',
)
@options.running
@options.effects
@options.vocoder
@options.controls
@options.addons
@options.as_json
def command(
    voices: tuple[str, ...],
    text: str,
    out: Path,
    says: tuple[str, ...],
    judged: Path | None,
    running: "Running",
    vocoder: str | None,
    folders: tuple[Path, ...],
    is_json: bool,
    **values: Any,
) -> int:
    if out.suffix.lower() not in (".html", ".htm"):
        raise click.BadParameter(f"got '{out}', want a name that ends in .html", param_hint="--out")
    texts = _texts(voices, text, says)
    controls = options.chosen_controls(values)
    from voxstack.cli.compare_page import Failed, comparison_page
    from voxstack.cli.compare_plots import require_matplotlib
    from voxstack.cli.compare_scores import read_scores
    from voxstack.cli.compare_voice import speak

    require_matplotlib()  # before minutes of work, not after
    scores = None if judged is None else read_scores(judged)
    results: list[Spoken | Failed] = []
    failures: list[Exception] = []
    with TextFile(out) as file:
        for voice in voices:
            try:
                results.append(
                    speak(
                        voice,
                        texts[voice],
                        controls=controls,
                        running=running,
                        folders=folders,
                        vocoder=vocoder,
                    )
                )
            except (VoxstackError, OSError) as error:
                failures.append(error)
                results.append(Failed(voice, texts[voice], f"{type(error).__name__}: {error}"))
                click.echo(f"voxstack compare: {voice}: {type(error).__name__}: {error}", err=True)
        chosen = ", ".join(f"{name} {value}" for name, value in controls.items() if name != "seed")
        told = [
            ("Text", text),
            ("Seed", str(controls.get("seed", 0))),
            ("Controls", chosen or "each voice's own"),
            ("Machine", f"{platform.system()} {platform.machine()}"),
        ]
        file.write(comparison_page(results, told=told, scores=scores))
    told_of = [_row(result) for result in results]
    if is_json:
        report = {"text": text, "seed": controls.get("seed", 0), "out": str(out), "voices": told_of}
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(_screen(told_of))
        click.echo(f"written  {out}")
    if not failures:
        return DONE
    is_wrong = all(isinstance(error, RequestError | ConfigError) for error in failures)
    return WRONG_REQUEST if is_wrong and len(failures) == len(voices) else FAILED


def _texts(voices: Sequence[str], text: str, says: Sequence[str]) -> dict[str, str]:
    """Return what each voice says."""
    texts = dict.fromkeys(voices, text)
    for pair in says:
        name, equals, own = pair.partition("=")
        if not equals or not own:
            raise click.BadParameter(f"got '{pair}', want VOICE=TEXT", param_hint="--say")
        if name not in texts:
            known = ", ".join(voices)
            raise click.BadParameter(f"'{name}' is not compared; compared: {known}", param_hint="--say")
        texts[name] = own
    return texts


def _row(result: "Spoken | Failed") -> dict[str, Any]:
    """Return what a program reads of one voice."""
    from voxstack.cli.compare_page import Failed

    if isinstance(result, Failed):
        return {"voice": result.voice, "text": result.text, "error": result.error}
    return {
        "voice": result.voice,
        "profile": result.profile,
        "runtime": result.runtime,
        "text": result.text,
        "licence": result.facts["licence"],
        "languages": list(result.languages),
        "vocoder": result.facts["vocoder"],
        "vocoder_licence": result.facts.get("vocoder_licence"),
        "audio_s": round(result.audio.duration_s, 4),
        "sample_rate": result.audio.sample_rate,
        "first_audio_ms": None if result.first_audio_ms is None else round(result.first_audio_ms, 2),
        "wall_s": round(result.wall_s, 4),
        "rtf": None if result.rtf is None else round(result.rtf, 4),
        "chunks": len(result.arrivals),
        "chunks_ms": [round(arrival.audio_ms, 1) for arrival in result.arrivals],
        "seed": result.seed,
        "events": [
            event_row(notice.event, utterance=notice.utterance, audio_s=notice.at_s)
            for notice in result.notices
        ],
    }


def _screen(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [row["voice"], "failed", "", "", "", ""]
        if "error" in row
        else [
            row["voice"],
            "-" if row["first_audio_ms"] is None else f"{row['first_audio_ms']:.0f} ms",
            "-" if row["rtf"] is None else f"{row['rtf']:.3f}",
            f"{row['audio_s']:.2f} s",
            str(row["chunks"]),
            str(len(row["events"])),
        ]
        for row in rows
    ]
    return options.table(cells, ["VOICE", "FIRST AUDIO", "REAL-TIME FACTOR", "AUDIO", "CHUNKS", "EVENTS"])
