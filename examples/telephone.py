"""Let a voice speak through a telephone line: its band, and 8000 samples a second.

    python examples/telephone.py "abc def" line.wav

The same in one command, for any voice that is installed (a block's name alone takes its defaults):

    voxstack say "Good evening." --voice joe --out line.wav --effects TelephoneBand,Limiter
"""
# ruff: noqa: INP001 - a program that is run by its path

import sys
from pathlib import Path

import voxstack

ADDONS = Path(__file__).parent / "addons"
LINE = [{"type": "TelephoneBand"}, {"type": "Resample", "sample_rate": 8000}, {"type": "Limiter"}]


def on_the_line(text: str, *, voice: str = "tone") -> voxstack.Audio:
    """Return what is heard at the other end."""
    return voxstack.load(voice, folders=[ADDONS], effects=LINE).say(text)


if __name__ == "__main__":
    words, path = sys.argv[1:3] if len(sys.argv) > 2 else ("Abc def. Ghi jkl.", "line.wav")
    audio = on_the_line(words)
    audio.save(path)
    print(f"{audio.duration_s:.2f} s at {audio.sample_rate} Hz in {path}")
