"""Measure memory against piper-tts: peak of a process that speaks, and growth over many texts.

    python benchmarks/memory.py [--texts 200] [--streams 1,4,8]

With --streams: what is resident after so many streams at once, instead.
"""

import argparse
import json
import resource
import subprocess
import sys
import threading
from pathlib import Path

import texts

WARM_UP = 50


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def speak_all(engine: str, count: int) -> dict[str, float]:
    """Speak `count` varied texts after a warm-up; return peak and growth in MB."""
    if engine == "piper":
        import peer

        piper = peer.load()

        def speak(text: str) -> None:
            for _ in peer.speak(piper, text):
                pass
    else:
        import voxstack

        voice = voxstack.load("joe", threads=1)

        def speak(text: str) -> None:
            for _ in voice.stream(text):
                pass

    everything = [*texts.varied(WARM_UP), *texts.TEXTS.values()]
    for text in everything:
        speak(text)
    before = resident_mb()
    for text in texts.varied(count + WARM_UP)[WARM_UP:]:
        speak(text)
    after = resident_mb()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"peak_mb": peak, "before_mb": before, "growth_mb": after - before}


def resident_after(counts: list[int]) -> None:
    """Print what is resident after each number of streams at once, in one process."""
    import voxstack

    voice = voxstack.load("joe", threads=1)
    print(f"| streams at once | resident after |\n| --- | --- |\n| none yet | {resident_mb():.0f} MB |")

    def listen() -> None:
        for _ in voice.stream(texts.SIX_SENTENCES):
            pass

    for count in counts:
        listeners = [threading.Thread(target=listen) for _ in range(count)]
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.join()
        print(f"| {count} | {resident_mb():.0f} MB |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--engine", choices=["voxstack", "piper"])
    parser.add_argument("--streams", help="numbers of streams at once, such as 1,4,8")
    options = parser.parse_args()
    if options.streams:
        resident_after([int(number) for number in options.streams.split(",")])
        return
    if options.engine:
        print(json.dumps(speak_all(options.engine, options.texts)))
        return
    print(f"| engine | peak | growth over {options.texts} texts |\n| --- | --- | --- |")
    for engine in ("voxstack", "piper"):
        command = [sys.executable, __file__, "--engine", engine, "--texts", str(options.texts)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"| {engine} | {found['peak_mb']:.0f} MB | {found['growth_mb']:+.1f} MB |")


if __name__ == "__main__":
    main()
