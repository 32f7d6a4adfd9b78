"""Measure what looking on costs: a voice loaded without a Watcher, with one, and while it records.

taskset -c 1 python benchmarks/overhead_of_watching.py [--rounds 40] [--voice joe]

Each round speaks the same text in five ways, in an order that changes from round to round, and compares
each way with the plain blocks of the same round. Processor time is counted, not the clock, so that what
else the machine does counts less. The plain blocks are those that `wire_stack` makes of the addon, with
nothing around them; they are read twice, and the difference of the two is what cannot be told apart here.
"""

import argparse
import statistics
import time
from dataclasses import replace

import texts

from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running, load_nets, resolve
from voxstack.engine.voice import Voice
from voxstack.engine.watching import Watcher
from voxstack.stack.wire import wire_stack

PLAIN = "plain blocks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--voice", default="joe", help="a voice that makes audio itself")
    options = parser.parse_args()
    addon, running = find_addon(options.voice), Running(threads=1)
    loaded = load_stack(addon, running=running)
    block = wire_stack(
        addon.config.stack,
        nets=load_nets(addon, resolve(addon, running)),
        tensors=addon.request,
        frame_rate=addon.frame_rate,
        mel=addon.mel,
    )
    watcher = Watcher()
    plain, unwatched = Voice(replace(loaded, block=block)), Voice(loaded)
    watched = Voice(load_stack(addon, running=running, watch=watcher))

    def recorded() -> None:
        with watcher.recording() as seen:
            for _ in seen.chunks(watched.chunks(texts.FORTY_FIVE_WORDS)):
                pass

    def spoken(voice: Voice) -> None:
        for _ in voice.chunks(texts.FORTY_FIVE_WORDS):
            pass

    ways = {
        PLAIN: lambda: spoken(plain),
        "plain blocks again": lambda: spoken(plain),
        "loaded without a Watcher": lambda: spoken(unwatched),
        "with a Watcher, not recording": lambda: spoken(watched),
        "with a Watcher, recording": recorded,
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        names = list(ways)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.process_time()
            ways[name]()
            if number:
                took[name].append(time.process_time() - started)
    print(f"{options.voice}, 45 words, {options.rounds} rounds, against the plain blocks of the same round:")
    for name, times in took.items():
        if name == PLAIN:
            print(f"  {name:<30}  {statistics.median(times) * 1000:.1f} ms")
            continue
        ratios = sorted(mine / base - 1 for mine, base in zip(times, took[PLAIN], strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        error = 0.93 * (high - low) / len(ratios) ** 0.5  # of a median, where what differs is like noise
        print(
            f"  {name:<30}  {statistics.median(ratios):+.2%} ± {error:.2%}  "
            f"(half of the rounds {low:+.2%} to {high:+.2%})"
        )


if __name__ == "__main__":
    main()
