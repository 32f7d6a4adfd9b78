"""Measure the framework's own share of the time: all that is neither a net's run nor phonemization.

python benchmarks/overhead.py [--rounds 9]
"""

import argparse
import statistics
import time

import texts
from engine_time import time_engine

import voxstack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    voice = voxstack.load("joe", threads=1)
    spent = {"nets": 0.0, "phonemes": 0.0}

    def add(seconds, key="nets"):
        spent[key] += seconds

    for net in voice.loaded.nets.values():
        time_engine(net, add)
    front = voice.front

    class Timed:
        splitter = front.splitter

        @staticmethod
        def phonemize(*arguments):
            begun = time.perf_counter()
            try:
                return front.phonemize(*arguments)
            finally:
                add(time.perf_counter() - begun, "phonemes")

    voice.__dict__["front"] = Timed()
    shares = []
    for number in range(options.rounds + 1):
        spent.update(nets=0.0, phonemes=0.0)
        started = time.perf_counter()
        for _ in voice.chunks(texts.FORTY_FIVE_WORDS, seed=number):
            pass
        wall = time.perf_counter() - started
        if number:
            shares.append((wall - spent["nets"] - spent["phonemes"]) / wall)
    print(
        f"framework overhead, 45 words: {statistics.median(shares):.2%} of wall time (median of {options.rounds})"
    )


if __name__ == "__main__":
    main()
