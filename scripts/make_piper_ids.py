"""Write tests/text/piper_ids.json: what piper-tts 1.8.0 makes of every line of sentences_en.txt.

Run by hand, in an environment with piper-tts: python scripts/make_piper_ids.py
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP, phonemes_to_ids
from piper.phonemize_espeak import EspeakPhonemizer

TESTS = Path(__file__).parent.parent / "tests" / "text"
VOICE = "en-us"


def main() -> None:
    phonemizer = EspeakPhonemizer()
    sentences: dict[str, list[list[str]]] = {}
    for line in (TESTS / "sentences_en.txt").read_text(encoding="utf-8").splitlines():
        utterances = [utterance for utterance in phonemizer.phonemize(VOICE, line) if utterance]
        sentences[line] = [
            ["".join(utterance), digest(phonemes_to_ids(utterance))] for utterance in utterances
        ]
    found = {
        "piper-tts": version("piper-tts"),
        "voice": VOICE,
        "phoneme_ids": DEFAULT_PHONEME_ID_MAP,
        "sentences": sentences,
    }
    text = json.dumps(found, ensure_ascii=False, indent=0, separators=(",", ":"))
    (TESTS / "piper_ids.json").write_text(text + "\n", encoding="utf-8")


def digest(ids: list[int]) -> str:
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
