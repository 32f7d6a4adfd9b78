"""Measure many listeners at once against the peers: same voice, same texts, paired in one run.

    python benchmarks/load.py [--quick] [--streams 1,4,8] [--rounds 1] [--find] [--engines voxstack,piper-tts]

The protocol is that of `voxstack bench` (docs/how-to/measure-under-load.md). For each number of streams, every engine in turn
runs in a process of its own. At real-time pace a run lasts as long as the texts: about a minute each, all together
half an hour, and with --find (how many streams are carried) more than one; --quick speaks three texts only.
"""

import json
import sys
from pathlib import Path

import engines_in_turn
import peers_under_load
from engines_in_turn import shown

from voxstack.testing.load import Load, Target, most_streams, run_load

WITHIN_MS = 250
OURS, OURS_FAST = "voxstack", "voxstack fast"
BUSY = 8
"""Streams at which throughput is compared."""


def measure(options) -> dict:
    """Measure one engine in this process; return its row, or without a number of streams how many it carries."""
    target = peers_under_load.ENGINES[options.engine](Path(options.folder), options.peer_threads)
    if options.at is None:
        return {"streams_carried": carried(options, target)}
    return engines_in_turn.measured(options, target)


def carried(options, target: Target) -> int:
    texts = engines_in_turn.warmed(options, target)

    def carries(streams: int) -> bool:
        report = run_load(target, texts, Load(streams, options.rounds, ramp_s=options.ramp_s))
        p95_ms = report.first_audio_ms(95) or float("nan")
        told = f"p95 {p95_ms:.0f} ms, {report.underruns} underruns, {report.failed} failed"
        print(f"  {options.engine}, {streams} streams: {told}", file=sys.stderr)
        return report.is_carried(within_ms=WITHIN_MS)

    return most_streams(carries)


def table(rows: dict) -> None:
    print(
        "| pace | streams | engine | first audio p50 | p95 | p99 | next chunk p95 | audio s/s | ran dry | failed | peak |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (pace, streams, engine), row in rows.items():
        times = [row[name] for name in ("first_audio_p50_ms", "first_audio_p95_ms", "first_audio_p99_ms")]
        times.append(row["inter_chunk_p95_ms"])
        cells = [shown(time, "ms") for time in times]
        dry, peak = shown(row["underruns_percent"], "%"), shown(row["peak_rss_mb"], "MB")
        print(
            f"| {pace} | {streams} | {engine} | {' | '.join(cells)} | {row['audio_s_per_s']:.1f} | {dry} "
            f"| {row['errors']} of {row['requests']} | {peak} |"
        )


def aims(rows: dict, carried: dict, engines: list[str], counts: list[int]):
    """Yield what is to be reached: its name, what was measured, the aim as text, and whether it is reached."""
    peers = [engine for engine in engines if engine not in (OURS, OURS_FAST)]

    def of(name, engine, streams, pace="realtime"):
        return (rows.get((pace, streams, engine)) or {}).get(name)

    def ratio(above, below, most=None, least=None):
        if not above or not below:
            return None
        value = above / below
        is_good = value <= most if most is not None else value >= least
        return f"{value:.2f}×", f"{'≤' if most is not None else '≥'} {most or least}×", is_good

    p95 = "first_audio_p95_ms"
    yield "p95 first audio at 8 : at 1", ratio(of(p95, OURS, 8), of(p95, OURS, 1), most=2.5)
    for streams, most in ((8, 0.08), (4, 0.12)):
        yield (
            f"p95 first audio at {streams} : piper-tts",
            ratio(of(p95, OURS, streams), of(p95, "piper-tts", streams), most=most),
        )
    for streams in (8, 4):
        theirs = [of(p95, peer, streams) for peer in peers if peer.startswith("streaming-vits")]
        best = min(filter(None, theirs), default=None)
        yield (
            f"p95 first audio at {streams} : streaming-vits, the better setting",
            ratio(of(p95, OURS, streams), best, most=0.5),
        )
    for streams in counts:
        dry = of("underruns", OURS, streams)
        yield f"underruns at {streams}", None if dry is None else (str(dry), "0", dry == 0)
    best = max(filter(None, (of("audio_s_per_s", peer, BUSY, "fast") for peer in peers)), default=None)
    for engine, least in ((OURS, 1.0), (OURS_FAST, 2.0)):
        yield (
            f"throughput at {BUSY}, {engine} : best peer",
            ratio(of("audio_s_per_s", engine, BUSY, "fast"), best, least=least),
        )
    most = max((carried[peer] for peer in peers if peer in carried), default=None)
    if most == 0 and carried.get(OURS):
        yield "streams carried : best peer", (f"{carried[OURS]} : 0", "≥ 1.5×", True)
    else:
        yield "streams carried : best peer", ratio(carried.get(OURS), most, least=1.5)


def measured_aims(*all_of_it):
    """Yield those aims for which all was measured."""
    for name, found in aims(*all_of_it):
        if found is not None:
            yield name, *found


def measure_all(options, folder: str) -> None:
    """Measure what was asked for and print it."""
    engines = engines_in_turn.chosen(options, peers_under_load.ENGINES)
    loads = [*(("realtime", number) for number in options.counts), ("fast", 1), ("fast", BUSY)]
    rows = dict(engines_in_turn.in_turn(engines, folder, loads))
    carried = {}
    for engine in engines if options.find else ():
        found = engines_in_turn.ask(engine, folder, "--find")
        if found is not None:
            carried[engine] = found["streams_carried"]
    if options.json:
        found = [{"engine": engine, "pace": pace, **row} for (pace, _, engine), row in rows.items()]
        print(json.dumps({"loads": found, "streams_carried": carried}))
        return
    table(rows)
    for engine, streams in carried.items():
        print(f"\n{engine} carries {streams} streams (p95 below {WITHIN_MS} ms, no underrun)")
    engines_in_turn.aims_table("to be reached", measured_aims(rows, carried, engines, options.counts))


def main() -> None:
    parser = engines_in_turn.parser_of(
        __doc__, counted="--streams", counts="1,4,8", engines=peers_under_load.ENGINES
    )
    parser.add_argument("--find", action="store_true", help="find how many streams each carries, too")
    parser.add_argument("--peer-threads", type=int, default=1, help="of one net run of a peer")
    engines_in_turn.run(parser.parse_args(), measure, measure_all)


if __name__ == "__main__":
    main()
