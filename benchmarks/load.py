"""Measure many listeners at once against the peers: same voice, same texts, paired in one run.

    python benchmarks/load.py [--quick] [--streams 1,4,8] [--rounds 1] [--find] [--engines voxstack,piper-tts]

The protocol is that of `voxstack bench` (docs/how-to/measure-under-load.md). For each number of streams, every engine in turn
runs in a process of its own. At real-time pace a run lasts as long as the texts: about a minute each, all together
half an hour, and with --find (how many streams are carried) more than one; --quick speaks three texts only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import peers_under_load

from voxstack.testing.load import ENGLISH, Load, most_streams, run_load, warm_up

WITHIN_MS = 250
OURS, OURS_FAST = "voxstack", "voxstack fast"
QUICK_TEXTS = 3
BUSY = 8
"""Streams at which throughput is compared."""


def measure(options) -> dict:
    """Measure one engine in this process; return its row, or the number of streams it carries."""
    texts = ENGLISH[:QUICK_TEXTS] if options.quick else ENGLISH
    target = peers_under_load.ENGINES[options.engine](Path(options.folder), options.peer_threads)
    for text in texts:
        warm_up(target, text)
    if not options.find:
        ramp_s = options.ramp_s if options.pace == "realtime" else 0.0
        return run_load(target, texts, Load(options.at, options.rounds, options.pace, ramp_s=ramp_s)).row()

    def carries(streams: int) -> bool:
        report = run_load(target, texts, Load(streams, options.rounds, ramp_s=options.ramp_s))
        p95_ms = report.first_audio_ms(95) or float("nan")
        told = f"p95 {p95_ms:.0f} ms, {report.underruns} underruns, {report.failed} failed"
        print(f"  {options.engine}, {streams} streams: {told}", file=sys.stderr)
        return report.is_carried(within_ms=WITHIN_MS)

    return {"streams_carried": most_streams(carries)}


def ask(options, engine: str, folder: str, *words: str) -> dict | None:
    """Measure an engine in a process of its own; say why if it cannot be done."""
    command = [sys.executable, __file__, "--engine", engine, "--folder", folder, *words]
    command += ["--rounds", str(options.rounds), "--peer-threads", str(options.peer_threads)]
    command += ["--ramp-s", str(options.ramp_s)]
    command += ["--quick"] if options.quick else []
    print(f"{engine}: {' '.join(words)}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None, text=True, check=False)
    if done.returncode:
        print(f"{engine}: left out, see above", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: dict) -> None:
    print(
        "| pace | streams | engine | first audio p50 | p95 | p99 | next chunk p95 | audio s/s | ran dry | failed | peak |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (pace, streams, engine), row in rows.items():
        times = [row[name] for name in ("first_audio_p50_ms", "first_audio_p95_ms", "first_audio_p99_ms")]
        times.append(row["inter_chunk_p95_ms"])
        cells = ["-" if time is None else f"{time:.0f} ms" for time in times]
        dry = "-" if row["underruns_percent"] is None else f"{row['underruns_percent']:.0f} %"
        print(
            f"| {pace} | {streams} | {engine} | {' | '.join(cells)} | {row['audio_s_per_s']:.1f} | {dry} "
            f"| {row['errors']} of {row['requests']} | {row['peak_rss_mb']:.0f} MB |"
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


def measure_all(options, engines: list[str], counts: list[int]) -> tuple[dict, dict]:
    """Return rows by pace, streams and engine, and streams carried by engine; drop engines that cannot run."""
    rows, carried = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for pace, streams in [*(("realtime", number) for number in counts), ("fast", 1), ("fast", BUSY)]:
            for engine in list(engines):
                row = ask(options, engine, folder, "--pace", pace, "--at", str(streams))
                if row is None:
                    engines.remove(engine)
                else:
                    rows[pace, streams, engine] = row
        for engine in engines if options.find else ():
            found = ask(options, engine, folder, "--find")
            if found is not None:
                carried[engine] = found["streams_carried"]
    return rows, carried


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", default="1,4,8")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--ramp-s", type=float, default=5.0, help="over which the listeners come; 0: all at once"
    )
    parser.add_argument("--quick", action="store_true", help="three texts only")
    parser.add_argument("--find", action="store_true", help="find how many streams each carries, too")
    parser.add_argument("--engines", default=",".join(peers_under_load.ENGINES))
    parser.add_argument("--peer-threads", type=int, default=1, help="of one net run of a peer")
    parser.add_argument("--json", action="store_true")
    for inner in ("--engine", "--folder", "--pace"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    parser.add_argument("--at", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    if options.engine:
        print(json.dumps(measure(options)))
        return
    engines = [name.strip() for name in options.engines.split(",")]
    counts = [int(number) for number in options.streams.split(",")]
    rows, carried = measure_all(options, engines, counts)
    if options.json:
        found = [{"engine": engine, "pace": pace, **row} for (pace, _, engine), row in rows.items()]
        print(json.dumps({"loads": found, "streams_carried": carried}))
        return
    table(rows)
    for engine, streams in carried.items():
        print(f"\n{engine} carries {streams} streams (p95 below {WITHIN_MS} ms, no underrun)")
    print("\n| to be reached | measured | aim | |\n| --- | --- | --- | --- |")
    for name, found in aims(rows, carried, engines, counts):
        if found is not None:
            value, aim, is_good = found
            print(f"| {name} | {value} | {aim} | {'yes' if is_good else '**no**'} |")


if __name__ == "__main__":
    main()
