"""Measure the Mandarin voices against their own uncut nets: same ids, one thread each, interleaved.

    make mandarin && python benchmarks/mandarin.py [--rounds 7]

The voice that speaks by attention is also held, frames only, against the uncut loop, and its step net
against everything that is done around it.
"""

import argparse
import json
import statistics
import time

import numpy as np
import texts_zh
from engine_time import time_engine
from uncut import ADDONS, Uncut

import voxstack
from voxstack.core.text import Sentence

TEXTS = {"short": texts_zh.SHORT, "long": texts_zh.LONG}


def timed(chunks) -> tuple[float, float, int]:
    """Return ms to the first chunk, ms to the last, and samples."""
    started = time.perf_counter()
    first, samples = 0.0, 0
    for chunk in chunks:
        first = first or time.perf_counter() - started
        samples += len(chunk)
    return first * 1000, (time.perf_counter() - started) * 1000, samples


def ids_of(voice, text: str) -> np.ndarray:
    (phonemes,) = voice.front.phonemize(Sentence(text))
    return phonemes.ids


class Counting:
    """A watch that adds up the time spent inside the step net."""

    def __init__(self) -> None:
        self.inside_s = 0.0

    def block(self, path, name, block):
        return block

    def net(self, name, net):
        if net.spec.state:
            time_engine(net, self.add)
        return net

    def add(self, seconds):
        self.inside_s += seconds


def frames_of(voice, ids: np.ndarray, seed: int):
    """Return the stream of frames of a voice, above its vocoder."""
    acoustic = voice.loaded.block.blocks[0]
    tensors = voice.tensors({"seed": seed}) | {"ids": ids, "utterance": np.array(0, np.int64)}
    return acoustic.open(tensors, None)


def measure(kind: str, rounds: int) -> list[dict]:
    voice, uncut = voxstack.load(ADDONS[kind], threads=1), Uncut.load(kind)
    rows = []
    for name, text in TEXTS.items():
        ids = ids_of(voice, text)
        ours, theirs, frames, loops = [], [], [], []
        for number in range(rounds + 1):
            mine = timed(chunk.samples for chunk in voice.chunks(text, seed=number))
            other = timed(uncut.speak(part) for part in [ids])
            started = time.perf_counter()
            stream = frames_of(voice, ids, number)
            stream.read(1 << 30)
            stream.close()
            middle = time.perf_counter()
            uncut.mel(ids)
            if number:  # the first round warms up
                ours.append(mine)
                theirs.append(other)
                frames.append((middle - started) * 1000)
                loops.append((time.perf_counter() - middle) * 1000)
        median = statistics.median
        first, whole = median(t[0] for t in ours), median(t[1] for t in ours)
        rows.append(
            {
                "voice": kind,
                "text": name,
                "symbols": len(ids),
                "audio_s": ours[-1][2] / voice.sample_rate,
                "uncut_audio_s": theirs[-1][2] / voice.sample_rate,
                "first_audio_ms": first,
                "uncut_ms": median(t[1] for t in theirs),
                "first_ratio": first / median(t[1] for t in theirs),
                "whole_ms": whole,
                "whole_ratio": whole / median(t[1] for t in theirs),
                "mel_ms": median(frames),
                "uncut_mel_ms": median(loops),
                "mel_ratio": median(frames) / median(loops),
            }
        )
    return rows


def overhead(rounds: int) -> float:
    """Return the time spent around the step net's runs as a part of the time inside them."""
    watch = Counting()
    voice = voxstack.load(ADDONS["attention"], threads=1, watch=watch)
    ids = ids_of(voice, texts_zh.LONG)
    around = []
    for number in range(rounds):
        stream = frames_of(voice, ids, number)
        stream.read(1)
        watch.inside_s, started = 0.0, time.perf_counter()
        decoder = stream
        while hasattr(decoder, "_source"):  # the stream of steps, above the refiner's windows
            decoder = decoder._source
        decoder.read(1 << 30)
        around.append((time.perf_counter() - started) / watch.inside_s - 1)
        stream.close()
    return statistics.median(around)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for kind in ADDONS for row in measure(kind, options.rounds)]
    around = overhead(options.rounds)
    if options.json:
        print(json.dumps({"rows": rows, "overhead": around}))
        return
    print(
        "| voice | text | audio | first audio | uncut, whole | ratio | whole time | ratio | mel alone, ratio |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['voice']} | {row['text']}, {row['symbols']} symbols | {row['audio_s']:.1f} s "
            f"| {row['first_audio_ms']:.0f} ms | {row['uncut_ms']:.0f} ms | **{row['first_ratio']:.2f}×** "
            f"| {row['whole_ms']:.0f} ms | **{row['whole_ratio']:.2f}×** | {row['mel_ratio']:.2f}× |"
        )
    print(f"\nAround the step net: {around:.1%} of the time inside it.")


if __name__ == "__main__":
    main()
