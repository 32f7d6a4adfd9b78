"""Measure first audio and whole time against piper-tts: same voice, one thread each, interleaved.

    python benchmarks/latency.py [--profile fast] [--rounds 9]

noise_w is 0 on both sides, so that both make audio of the same length.
"""

import argparse
import json
import statistics
import time

import peer
import texts

import voxstack


def timed(chunks) -> tuple[float, float, float]:
    """Return ms to the first chunk, ms to the last, and samples."""
    started = time.perf_counter()
    first, samples = 0.0, 0
    for chunk in chunks:
        first = first or time.perf_counter() - started
        samples += len(chunk)
    return first * 1000, (time.perf_counter() - started) * 1000, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--deployment")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    piper, voice = (
        peer.load(),
        voxstack.load("joe", options.profile, deployment=options.deployment, threads=1),
    )
    rows = []
    for name, text in texts.TEXTS.items():
        ours, theirs = [], []
        for number in range(options.rounds + 1):
            mine = timed(chunk.samples for chunk in voice.stream(text, noise_w=0.0, seed=number))
            other = timed(peer.speak(piper, text, noise_w=0.0))
            if number:  # the first round warms up
                ours.append(mine)
                theirs.append(other)
        row = {"text": name}
        for place, what in enumerate(("first_audio", "whole")):
            mine = statistics.median(timing[place] for timing in ours)
            other = statistics.median(timing[place] for timing in theirs)
            row |= {f"{what}_ms": mine, f"piper_{what}_ms": other, f"{what}_ratio": mine / other}
        row |= {"audio_s": ours[-1][2] / 22050, "piper_audio_s": theirs[-1][2] / 22050}
        rows.append(row)
    if options.json:
        print(json.dumps(rows))
        return
    print("| text | first audio | piper-tts | ratio | whole time | piper-tts | ratio | audio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['text']} | {row['first_audio_ms']:.0f} ms | {row['piper_first_audio_ms']:.0f} ms "
            f"| **{row['first_audio_ratio']:.2f}×** | {row['whole_ms']:.0f} ms | {row['piper_whole_ms']:.0f} ms "
            f"| **{row['whole_ratio']:.2f}×** | {row['audio_s']:.1f} s, {row['piper_audio_s']:.1f} s |"
        )


if __name__ == "__main__":
    main()
