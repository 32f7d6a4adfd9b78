"""Play at real time, the first chunk at once, and count how often the listener runs dry.

    python benchmarks/playback.py [--streams 1] [--voice joe]

No audio device: a listener who has played everything that arrived is dry. The machine's clock decides.
"""

import argparse
import threading
import time

import texts
import texts_zh

import voxstack


def listen(voice: voxstack.Voice, text: str, slack: list[float]) -> None:
    """Hear a text at real time; note how long before running dry each next chunk came, in ms."""
    plays_until = None
    for chunk in voice.stream(text):
        now = time.perf_counter()
        if plays_until is None:
            plays_until = now
        else:
            slack.append((plays_until - now) * 1000)
        plays_until = max(plays_until, now) + chunk.duration_s
        # A player takes a chunk when the one before is under way: leave 50 ms in its buffer.
        time.sleep(max(0.0, plays_until - time.perf_counter() - 0.05 - chunk.duration_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--voice", default="joe")
    options = parser.parse_args()
    voice = voxstack.load(options.voice, threads=1)
    spoken = {**texts.TEXTS, "varied": " ".join(texts.varied(8))}
    if "zh-CN" in voice.loaded.addon.config.languages:
        several = "".join(texts_zh.SENTENCES[:6])
        spoken = {"short": texts_zh.SHORT, "long": texts_zh.LONG, "6 sentences": several}
    voice.warm_up()
    for name, text in spoken.items():
        slack: list[float] = []
        listeners = [
            threading.Thread(target=listen, args=(voice, text, slack)) for _ in range(options.streams)
        ]
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.join()
        dry = sum(value < 0 for value in slack)
        least = f"{min(slack):.0f} ms" if slack else "-"
        print(f"{name:<12} chunks {len(slack) + options.streams:>3}  ran dry {dry}  least slack {least}")


if __name__ == "__main__":
    main()
