"""Measure what each net of an addon takes for each utterance when it runs alone, and 2, 4 and 8 together, in one run.

python benchmarks/batching.py [ADDON …] [--runtime onnxruntime] [--threads 1] [--rounds 15] [--changing]

Everything is counted that joining costs: laying tensors side by side, running, splitting. Numbers of utterances take turns,
and the least time counts where other programs work on the machine too. Walks of recurrent nets stay together from step to
step; with --changing another one is the first at each step, so that all states are joined anew.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from voxstack.core.batching import BatchedNet
from voxstack.core.errors import NetError
from voxstack.core.executables import Choice
from voxstack.engine.batching import most_together, typical_steps, typical_tensors, typical_walk
from voxstack.runtimes.named import choose_engine
from voxstack.stack.addon import load_addon
from voxstack.testing.nets import open_net

COUNTS = (1, 2, 4, 8)
ADDONS = ("joe", "baker-fastspeech2", "baker-mb-melgan", "baker-tacotron2")


def runs(net: BatchedNet, count: int, changing: bool) -> Callable[[], object]:
    """Return what runs so many utterances together; one: what runs it as everybody does."""
    given = [typical_tensors(net.spec, typical_steps(net), seed) for seed in range(count)]
    if not net.spec.state:
        return (lambda: net.run(given[0])) if count == 1 else (lambda: net.run_many(given))
    walks, news = zip(*(typical_walk(net, tensors) for tensors in given), strict=True)
    spare, spare_new = typical_walk(net, given[0])
    turn = iter(range(1 << 30))

    def step() -> object:
        if count == 1:
            return walks[0].step(news[0])
        if changing and next(turn) % 2:
            return net.step_many([spare, *walks[1:]], [spare_new, *news[1:]])
        return net.step_many(walks, news)

    return step


def measure(net: BatchedNet, rounds: int, changing: bool) -> dict[int, float]:
    """Return ms for each utterance, by how many ran together."""
    tried = {count: runs(net, count, changing) for count in COUNTS}
    least: dict[int, float] = {}
    for _ in range(rounds + 1):
        for count, run in tried.items():
            started = time.perf_counter()
            run()
            spent = (time.perf_counter() - started) * 1000 / count
            least[count] = min(least.get(count, spent), spent)
    return least


def row(net: BatchedNet, rounds: int, changing: bool) -> list[str]:
    try:
        spent = measure(net, rounds, changing)
    except NetError:
        return ["a batch of one only", "", "", "", str(most_together(net))]
    alone = spent[1]
    cells = [
        f"{alone:.2f} ms",
        *(f"{spent[count]:.2f} ms, {spent[count] / alone:.2f}" for count in COUNTS[1:]),
    ]
    return [*cells, str(most_together(net))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("addons", nargs="*", default=ADDONS)
    parser.add_argument("--folder", type=Path, default=Path("addons"))
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--changing", action="store_true")
    options = parser.parse_args()
    engine = choose_engine(
        options.runtime, Choice(options.device, threads=options.threads), where="benchmark"
    )
    print("| addon | net | alone | 2 | 4 | 8 | most_together |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.addons:
        addon = load_addon(options.folder / name)
        for key, spec in addon.specs.items():
            net = open_net(engine, spec, addon.read(addon.file_of(key, options.runtime)))
            cells = row(net, options.rounds, options.changing)
            print(f"| {name} | {key} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
