"""Trace a request: where the time goes, by block, net and chunk, as a Chrome trace and on one screen."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxstack.cli import options
from voxstack.cli.event_row import event_row
from voxstack.cli.text_file import TextFile

if TYPE_CHECKING:
    from voxstack.engine.nets import Running

__all__ = ["command"]

APART = ("out", "nets", "blocks", "playout", "gains", "events")
"""What of the report is not kept with the trace: it shows it itself, or it says nothing there."""

COSTLY = 0.02
"""The share of all work from which on a block has a row of its own."""


@click.command(
    "trace",
    help="Speak TEXT with VOICE and write where the time went, for Perfetto or a browser's trace viewer.",
)
@options.voice_argument
@click.argument("text")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the trace, a .json file.",
)
@click.option("--cold", is_flag=True, help="Do not warm the voice up first: trace the very first request.")
@options.running
@options.effects
@options.vocoder
@options.controls
@options.addons
@options.as_json
def command(
    voice: str,
    text: str,
    out: Path,
    vocoder: str | None,
    cold: bool,
    running: "Running",
    folders: tuple[Path, ...],
    is_json: bool,
    **values: Any,
) -> None:
    if out.suffix.lower() != ".json":
        raise click.BadParameter(f"got '{out}', want a name that ends in .json", param_hint="--out")
    from voxstack.engine.gains import gains
    from voxstack.engine.playout import playout
    from voxstack.engine.times import times
    from voxstack.engine.tracing import chrome_trace
    from voxstack.engine.voice import open_voice
    from voxstack.engine.watching import Watcher

    # A lone surrogate is written as the escape that JSON has for it.
    with TextFile(out, errors="backslashreplace") as file:
        watcher = Watcher()
        ready = open_voice(voice, running, folders=folders, vocoder=vocoder, watch=watcher)
        controls = options.chosen_controls(values)
        if not cold:
            ready.warm_up()
        with watcher.recording() as seen:
            samples = sum(
                len(chunk.samples) for chunk in seen.chunks(ready.answer(text, controls, is_stream=True))
            )
        spent = times(seen, watcher.lanes)
        played = playout(seen.spans)
        begin_ns = seen.spans[0].start_ns
        specs = {name: net.spec for name, net in ready.loaded.nets.items()}
        tightest = played.tightest
        audio_s = samples / ready.sample_rate
        places, frame_rate = seen.places(watcher.last), ready.loaded.addon.frame_rate
        report = {
            "voice": ready.name,
            "profile": ready.loaded.profile,
            "runtime": ready.loaded.runtime,
            "text": text,
            "audio_s": round(audio_s, 4),
            "sample_rate": ready.sample_rate,
            "first_audio_ms": round(spent.first_audio_ms, 2) if spent.chunks else None,
            "wall_s": round(spent.wall_ms / 1000, 4),
            "rtf": round(spent.wall_ms / 1000 / audio_s, 4) if audio_s else None,
            "chunks": spent.chunks,
            "seed": controls.get("seed", 0),
            "out": str(out),
            "nets": [_rounded(asdict(net)) for net in spent.nets],
            "blocks": [_rounded(asdict(block)) for block in spent.blocks],
            "outside_nets_ms": round(spent.outside_ms, 3),
            "outside_nets_before_audio_ms": round(spent.outside_before_audio_ms, 3),
            "playout": [
                {
                    "chunk": one.number,
                    "audio_ms": round(one.audio_ms, 3),
                    "ready_ms": round((one.ready_ns - begin_ns) / 1e6, 3),
                    "needed_at_ms": round((one.deadline_ns - begin_ns) / 1e6, 3),
                    "ahead_ms": round(one.ahead_ms, 3),
                }
                for one in played.deliveries
            ],
            "least_ahead_ms": None if tightest is None else round(tightest.ahead_ms, 3),
            "dry_ms": round(played.dry_ms, 3),
            "gains": [
                {**_rounded(asdict(gain)), "share": round(gain.share, 4)}
                for gain in gains(seen, spent, specs)
            ],
            "events": [
                event_row(
                    noted.event,
                    utterance=noted.utterance,
                    audio_s=noted.audio_s(
                        places,
                        sample_rate=ready.sample_rate,
                        frame_rate=None if frame_rate is None else float(frame_rate),
                    ),
                )
                for noted in seen.events
                if not noted.event.is_data
            ],
        }
        about = {key: value for key, value in report.items() if key not in APART}
        trace = chrome_trace(seen, watcher.lanes, title=f"voxstack trace {ready.name}", about=about)
        file.write(json.dumps(trace, ensure_ascii=False))
    click.echo(json.dumps(report, ensure_ascii=False) if is_json else _screen(report))


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def _screen(report: dict[str, Any]) -> str:
    """Return what a person reads: each net's and costly block's time, and what stands before first audio."""
    wall_ms = report["wall_s"] * 1000
    rows = [
        [
            net["net"],
            str(net["runs"]),
            f"{net['total_ms']:.1f}",
            f"{net['share']:.0%}",
            str(net["runs_before_audio"]),
            f"{net['before_audio_ms']:.1f}",
        ]
        for net in report["nets"]
        if net["runs"]
    ]
    outside = report["outside_nets_ms"]
    share = f"{outside / wall_ms:.0%}" if wall_ms else "-"
    rows.append(["(outside nets)", "", f"{outside:.1f}", share, ""])
    rows[-1].append(f"{report['outside_nets_before_audio_ms']:.1f}")
    rows += [
        [
            f"  {block['block']}",
            str(block["runs"]),
            f"{block['own_ms']:.1f}",
            f"{block['share']:.0%}",
            str(block["runs_before_audio"]),
            f"{block['own_before_audio_ms']:.1f}",
        ]
        for block in report["blocks"]
        if block["share"] >= COSTLY
    ]
    rows.append(["all", "", f"{wall_ms:.1f}", "100%", "", f"{report['first_audio_ms'] or 0:.1f}"])
    heads = ["NET OR BLOCK", "RUNS", "TOTAL MS", "SHARE", "RUNS BEFORE AUDIO", "MS BEFORE AUDIO"]
    lines = [options.table(rows, heads), ""]
    parts = {net["net"]: net["before_audio_ms"] for net in report["nets"] if net["runs_before_audio"]}
    parts["outside nets"] = report["outside_nets_before_audio_ms"]
    first_ms = report["first_audio_ms"] or 0.0
    bound = ", ".join(
        f"{name} {ms:.1f} ({ms / first_ms:.0%})" if first_ms else name
        for name, ms in sorted(parts.items(), key=lambda part: -part[1])
    )
    is_heard = report["first_audio_ms"] is not None
    lines.append(f"first audio       {f'{first_ms:.0f} ms: {bound}' if is_heard else 'none'}")
    lines.append(f"audio ahead       {_ahead(report['playout'], report['dry_ms'])}")
    rtf = "-" if report["rtf"] is None else f"{report['rtf']:.3f}"
    lines.append(
        f"real-time factor  {rtf} ({report['audio_s']:.1f} s of audio in {report['wall_s']:.2f} s, "
        f"{report['chunks']} chunks)"
    )
    for gain in report["gains"][:1]:
        saved = f"{gain['saves_ms']:.1f} of {gain['of_ms']:.1f} ms of {gain['of']} ({gain['share']:.0%})"
        lines.append(f"next gain         at most {saved}: {gain['how']}")
    lines += [f"{event['kind']:<16}  {event['text']}" for event in report["events"]]
    lines.append(f"written           {report['out']}")
    return "\n".join(lines)


def _ahead(deliveries: list[dict[str, Any]], dry_ms: float) -> str:
    """Say how close a listener who plays on from the first audio came to silence."""
    late = [one for one in deliveries if one["ahead_ms"] < 0]
    if late:
        first = late[0]
        return (
            f"runs dry {'once' if len(late) == 1 else f'{len(late)} times'}, {dry_ms:.0f} ms in all; first "
            f"{first['needed_at_ms']:.0f} ms after the request, before chunk {first['chunk']}"
        )
    if not deliveries:
        return "none"
    if len(deliveries) < 2:
        return "never runs dry: it all comes at once"
    tightest = min(deliveries[1:], key=lambda one: one["ahead_ms"])
    return f"never runs dry; at least {tightest['ahead_ms']:.0f} ms, before chunk {tightest['chunk']}"
