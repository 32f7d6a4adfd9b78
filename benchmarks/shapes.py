"""Measure what sizes fixed at load cost: first audio, whole time and memory, against the reference, interleaved.

    python benchmarks/shapes.py [--voice joe] [--profiles fixed,buckets] [--rounds 9]

One thread each. Ratios are medians of a round's ratio: what disturbs one disturbs the other.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import latency
import texts
import texts_zh

import voxstack


def chosen_texts(voice) -> dict[str, str]:
    if "zh" in "".join(voice.loaded.addon.config.languages):
        return {"short": texts_zh.SENTENCES[0], "six sentences": "".join(texts_zh.SENTENCES[:6])}
    return texts.TEXTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="joe")
    parser.add_argument("--profiles", default="fixed,buckets")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(resident_mb(options.voice, options.memory_of))
        return
    names = ["cpu", *options.profiles.split(",")]
    voices = {name: voxstack.load(options.voice, name, threads=1) for name in names}
    rows = []
    for text_name, text in chosen_texts(voices["cpu"]).items():
        timings: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        for number in range(options.rounds + 1):
            for name, voice in voices.items():
                timed = latency.timed(chunk.samples for chunk in voice.stream(text, seed=number))
                if number:  # the first round warms up
                    timings[name].append(timed)
        for name in names:
            row = {"text": text_name, "profile": name}
            for place, what in enumerate(("first_audio", "whole")):
                mine = [timing[place] for timing in timings[name]]
                ratios = [one / other[place] for one, other in zip(mine, timings["cpu"], strict=True)]
                row |= {f"{what}_ms": statistics.median(mine), f"{what}_ratio": statistics.median(ratios)}
            rows.append(row)
    print("| text | profile | first audio | ratio | whole | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['text']} | {row['profile']} | {row['first_audio_ms']:.0f} ms | {row['first_audio_ratio']:.2f}× "
            f"| {row['whole_ms']:.0f} ms | {row['whole_ratio']:.2f}× |"
        )
    used = {name: memory(options.voice, name) for name in names}
    print("resident after a sentence: " + ", ".join(f"{name} {used[name]:.0f} MB" for name in names))


def memory(voice: str, profile: str) -> float:
    words = [sys.executable, __file__, "--voice", voice, "--memory-of", profile]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def resident_mb(name: str, profile: str) -> float:
    voice = voxstack.load(name, profile, threads=1)
    voice.say(next(iter(chosen_texts(voice).values())))
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
