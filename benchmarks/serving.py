"""Measure speech over HTTP against the voice in this process, and against the peers' own servers.

    python benchmarks/serving.py [--quick] [--clients 1,8] [--rounds 1] [--repeats 1] [--engines in-process,voxstack-pcm]

The protocol is that of `voxstack bench` (docs/how-to/measure-under-load.md). For each pace and number of clients every
engine in turn starts anew: a server in one process and its clients in another, or the voice and its listeners in one.
Which servers, and how they are run, is said in servers.py. At real-time pace a run lasts as long as the texts:
all together a quarter of an hour, as often as `--repeats` says, of which medians are shown. --quick speaks three texts only.
"""

import itertools
import json
import statistics
from pathlib import Path

import engines_in_turn
import servers
from engines_in_turn import measured, shown

from voxstack.testing.load import VoiceTarget

REFERENCE, OURS = "in-process", ("voxstack-pcm", "voxstack-wav")
PEERS = ("piper-http", "wyoming-piper")
ENGINES = (REFERENCE, *OURS, *PEERS)
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


def middle(rows: list[dict], name: str) -> float | None:
    """Return the median of the repeats."""
    values = [row[name] for row in rows if row[name] is not None]
    return statistics.median(values) if values else None


def table(rows: dict) -> None:
    print("| pace | clients | engine | first audio p50 | p95 | p99 | audio s/s | ran dry | failed | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (pace, clients, engine), found in rows.items():
        times = [middle(found, name) for name in (P50, P95, "first_audio_p99_ms")]
        cells = [shown(time, "ms") for time in times]
        dry, peak = shown(middle(found, "underruns_percent"), "%"), shown(middle(found, "peak_rss_mb"), "MB")
        failed, asked = (sum(row[name] for row in found) for name in ("errors", "requests"))
        print(
            f"| {pace} | {clients} | {engine} | {' | '.join(cells)} | {middle(found, THROUGHPUT):.1f} "
            f"| {dry} | {failed} of {asked} | {peak} |"
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


def measure_all(options, folder: str) -> None:
    """Measure what was asked for, each load as often as it says, and print it."""
    engines = engines_in_turn.chosen(options, ENGINES)
    loads = [(pace, number) for pace in ("realtime", "fast") for number in options.counts]
    rows: dict = {}
    for repeat in range(options.repeats):
        for key, row in engines_in_turn.in_turn(engines, folder, loads, is_backwards=repeat % 2 == 1):
            rows.setdefault(key, []).append(row)
    if options.json:
        found = [
            {"engine": engine, "pace": pace, "repeat": number, **row}
            for (pace, _, engine), repeats in rows.items()
            for number, row in enumerate(repeats)
        ]
        print(json.dumps({"loads": found}))
        return
    table(rows)
    engines_in_turn.aims_table("compared", ratios(rows, options.counts))


def main() -> None:
    parser = engines_in_turn.parser_of(__doc__, counted="--clients", counts="1,8", engines=ENGINES)
    parser.add_argument("--repeats", type=int, default=1, help="of the whole measurement")
    engines_in_turn.run(parser.parse_args(), measure, measure_all)


if __name__ == "__main__":
    main()
