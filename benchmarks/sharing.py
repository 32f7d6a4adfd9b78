"""Show that a vocoder is loaded once, however many voices use it: resident memory, voice after voice.

make mandarin && python benchmarks/sharing.py
"""

import argparse
import gc
import json
import re
from pathlib import Path

import voxstack

VOICES = ("joe", "baker-fastspeech2", "baker-tacotron2")


def resident_mb() -> float:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before, rows, voices = resident_mb(), [], []
    for name in (*VOICES, *VOICES):
        voices.append(voxstack.load(name, threads=1))
        after = resident_mb()
        nets = {key for voice in voices for key in map(id, voice.loaded.nets.values())}
        rows.append({"voice": name, "more_mb": after - before, "nets": len(nets)})
        before = after
    one, two = voices[1].loaded.nets, voices[2].loaded.nets
    shared = [name for name in one if name in two and one[name] is two[name]]
    if options.json:
        print(json.dumps({"rows": rows, "shared": shared}))
        return
    print("| voice loaded | memory grows by | nets in the process |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {row['voice']} | {row['more_mb']:.0f} MB | {row['nets']} |")
    print(f"\nThe two Mandarin voices share: {', '.join(shared)}")


if __name__ == "__main__":
    main()
