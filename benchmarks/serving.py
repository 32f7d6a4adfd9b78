"""Measure speech over HTTP against the voice in this process, and against the peers' own servers.

    python benchmarks/serving.py [--quick] [--clients 1,8] [--rounds 1] [--repeats 1] [--engines in-process,voxstack-pcm]

The protocol is that of `voxstack bench` (docs/how-to/measure-under-load.md). For each pace and number of clients every
engine in turn starts anew: a server in one process and its clients in another, or the voice and its listeners in one.
Which servers, and how they are run, is said in servers.py. At real-time pace a run lasts as long as the texts:
all together a quarter of an hour, as often as `--repeats` says, of which medians are shown. --quick speaks three texts only.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import servers

from voxstack.testing.load import ENGLISH, Load, VoiceTarget, run_load, warm_up

REFERENCE, OURS = "in-process", ("voxstack-pcm", "voxstack-wav")
PEERS = ("piper-http", "wyoming-piper")
ENGINES = (REFERENCE, *OURS, *PEERS)
QUICK_TEXTS = 3
MORE, MORE_MS, MORE_BUSY = 1.15, 5.0, 1.3
"""First audio over HTTP may be so much later: at one client by a factor and by ms, at several by a factor."""

P50, P95, THROUGHPUT = "first_audio_p50_ms", "first_audio_p95_ms", "audio_s_per_s"


def measure(options) -> dict:
    """Measure one engine in this process, its server in another; return its row."""
    if options.engine == REFERENCE:
        import voxstack

        voice = voxstack.load("joe", folders=["addons"], threads=1)
        voice.warm_up()
        return measured(options, VoiceTarget(voice))
    with servers.started(options.engine, Path(options.folder)) as server:
        row = measured(options, server.target)
        return row | {"peak_rss_mb": server.peak_rss_mb}


def measured(options, target) -> dict:
    texts = ENGLISH[:QUICK_TEXTS] if options.quick else ENGLISH
    for text in texts:
        warm_up(target, text)
    ramp_s = options.ramp_s if options.pace == "realtime" else 0.0
    return run_load(target, texts, Load(options.at, options.rounds, options.pace, ramp_s=ramp_s)).row()


def ask(options, engine: str, folder: str, pace: str, clients: int) -> dict | None:
    """Measure an engine in a process of its own; say why if it cannot be done."""
    command = [sys.executable, __file__, "--engine", engine, "--folder", folder, "--pace", pace]
    command += ["--at", str(clients), "--rounds", str(options.rounds), "--ramp-s", str(options.ramp_s)]
    command += ["--quick"] if options.quick else []
    print(f"{engine}: {pace}, {clients}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None, text=True, check=False)
    if done.returncode:
        print(f"{engine}: left out, see above", file=sys.stderr)
        return None
    row = json.loads(done.stdout.splitlines()[-1])
    for text, times in row["error_texts"].items():
        print(f"{engine}: {times} × {text}", file=sys.stderr)
    return row


def measure_all(options, engines: list[str], counts: list[int]) -> dict:
    """Return lists of rows, one a repeat, by pace, clients and engine; drop engines that cannot run."""
    rows: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for pace, clients in [(pace, number) for pace in ("realtime", "fast") for number in counts]:
                for engine in engines[::-1] if repeat % 2 else list(engines):
                    row = ask(options, engine, folder, pace, clients)
                    if row is None:
                        engines.remove(engine)
                    else:
                        rows.setdefault((pace, clients, engine), []).append(row)
    return rows


def middle(rows: list[dict], name: str) -> float | None:
    """Return the median of the repeats."""
    values = [row[name] for row in rows if row[name] is not None]
    return statistics.median(values) if values else None


def table(rows: dict) -> None:
    print("| pace | clients | engine | first audio p50 | p95 | p99 | audio s/s | ran dry | failed | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (pace, clients, engine), found in rows.items():
        times = [middle(found, name) for name in (P50, P95, "first_audio_p99_ms")]
        cells = ["-" if time is None else f"{time:.0f} ms" for time in times]
        dry, peak = middle(found, "underruns_percent"), middle(found, "peak_rss_mb")
        failed, asked = (sum(row[name] for row in found) for name in ("errors", "requests"))
        print(
            f"| {pace} | {clients} | {engine} | {' | '.join(cells)} | {middle(found, THROUGHPUT):.1f} "
            f"| {'-' if dry is None else f'{dry:.0f} %'} | {failed} of {asked} "
            f"| {'-' if peak is None else f'{peak:.0f} MB'} |"
        )


def pairs(rows: dict, name: str, pace: str, clients: int, above: str, below: str) -> list[tuple]:
    """Return what two engines had in the same repeat."""
    found = [rows.get((pace, clients, engine), []) for engine in (above, below)]
    both = [(one[name], other[name]) for one, other in zip(*found, strict=False)]
    return [(one, other) for one, other in both if one and other]


def against_reference(rows: dict, engine: str, counts: list[int]):
    """Yield what HTTP costs: its name, what was measured, the aim as text, and whether it is reached, if there is one."""
    for clients, name in ((clients, name) for clients in counts for name in (P50, P95)):
        found = pairs(rows, name, "realtime", clients, engine, REFERENCE)
        if not found:
            continue
        ratio = statistics.median(one / other for one, other in found)
        more_ms = statistics.median(one - other for one, other in found)
        aim, is_good = "-", None
        if clients == 1:
            over_ms = statistics.median(one - MORE * other for one, other in found)
            aim, is_good = f"≤ {MORE}× + {MORE_MS:.0f} ms", over_ms <= MORE_MS
        elif name == P95:
            aim, is_good = f"≤ {MORE_BUSY}×", ratio <= MORE_BUSY
        what = f"first audio {name.split('_')[2]} at {clients}, {engine} : {REFERENCE}"
        yield what, f"{ratio:.2f}×, {more_ms:+.1f} ms", aim, is_good
    yield from side_by_side(rows, engine, REFERENCE, counts, THROUGHPUT)


def side_by_side(rows: dict, engine: str, other: str, counts: list[int], name: str):
    """Yield how two engines compare at each number of clients, without an aim; first audio in real time, throughput not."""
    pace, what = ("fast", "throughput") if name == THROUGHPUT else ("realtime", "first audio p95")
    for clients in counts:
        if found := pairs(rows, name, pace, clients, engine, other):
            ratio = statistics.median(one / below for one, below in found)
            yield f"{what} at {clients}, {engine} : {other}", f"{ratio:.2f}×", "-", None


def ratios(rows: dict, counts: list[int]):
    """Yield all that was measured on both sides, as `against_reference` does."""
    for engine in OURS:
        yield from against_reference(rows, engine, counts)
    for engine, peer, name in itertools.product(OURS, PEERS, (P95, THROUGHPUT)):
        yield from side_by_side(rows, engine, peer, counts, name)


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="1,8")
    parser.add_argument("--rounds", type=int, default=1, help="of all texts, for each client")
    parser.add_argument("--repeats", type=int, default=1, help="of the whole measurement")
    parser.add_argument(
        "--ramp-s", type=float, default=5.0, help="over which the clients come; 0: all at once"
    )
    parser.add_argument("--quick", action="store_true", help="three texts only")
    parser.add_argument("--engines", default=",".join(ENGINES))
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
    if unknown := [name for name in engines if name not in ENGINES]:
        sys.exit(f"--engines: got '{unknown[0]}', want some of {', '.join(ENGINES)}")
    counts = [int(number) for number in options.clients.split(",")]
    rows = measure_all(options, engines, counts)
    if options.json:
        found = [
            {"engine": engine, "pace": pace, "repeat": number, **row}
            for (pace, _, engine), repeats in rows.items()
            for number, row in enumerate(repeats)
        ]
        print(json.dumps({"loads": found}))
        return
    table(rows)
    print("\n| compared | measured | aim | |\n| --- | --- | --- | --- |")
    for name, value, aim, is_good in ratios(rows, counts):
        print(f"| {name} | {value} | {aim} | {'' if is_good is None else 'yes' if is_good else '**no**'} |")


if __name__ == "__main__":
    main()
