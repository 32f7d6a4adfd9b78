"""Judge what a profile of lower precision costs in quality: against the reference, and by machine ears.

    make .venv/judge .venv/engines && .venv/bin/python benchmarks/precision.py [--profiles fast] [--voice joe]

Twenty sentences in the voice's language, the same seed. Signal to noise ratio and log-spectral distance are against the
profile cpu; Whisper base writes down what it hears, distillMOS predicts an opinion score: each mean with its standard error, and that of its change, sentence
by sentence, against the profile cpu.
"""

import argparse
import re
import statistics
from pathlib import Path

import numpy as np
import quality
import soxr
import texts
import texts_zh

import voxstack
from voxstack.core.closeness import log_spectral_distance_db, snr_db


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z ]", " ", text.lower()).split()


def syllables(text: str) -> list[str]:
    return quality.syllables(quality.characters(text))


def mean_and_error(values: list[float]) -> str:
    """Show a mean and its standard error."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="joe")
    parser.add_argument("--profiles", default="fast")
    parser.add_argument("--deployment")
    parser.add_argument("--weights", type=Path, default=Path(".venv/whisper-base"))
    options = parser.parse_args()
    recogniser, score = quality.whisper(options.weights), quality.opinion()
    reference = voxstack.load(options.voice)
    is_mandarin = any(language.startswith("zh") for language in reference.loaded.addon.config.languages)
    language, sentences, parts_of = (
        ("zh", texts_zh.SENTENCES, syllables) if is_mandarin else ("en", texts.SENTENCES, words)
    )
    exact = [reference.say(text).samples for text in sentences]
    print(
        "| profile | same length | SNR, median and least | log-spectral distance | words or syllables wrong | distillMOS "
        "| its change |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    before: list[float] = []
    for name in ["cpu", *options.profiles.split(",")]:
        voice = voxstack.load(options.voice, name, deployment=options.deployment)
        spoken = [voice.say(text).samples for text in sentences]
        same = [len(one) == len(other) for one, other in zip(exact, spoken, strict=True)]
        pairs = [(one, other) for one, other, fits in zip(exact, spoken, same, strict=True) if fits]
        ratios = [snr_db(one, other) for one, other in pairs]
        distance = statistics.mean(log_spectral_distance_db(one, other) for one, other in pairs)
        wrong = total = 0
        scores = []
        for text, samples in zip(sentences, spoken, strict=True):
            low = soxr.resample(samples, voice.sample_rate, quality.RATE).astype(np.float32)
            heard = " ".join(part.text for part in recogniser.transcribe(low, language=language)[0])
            wrong += quality.errors(parts_of(text), parts_of(heard))
            total += len(parts_of(text))
            scores.append(score(low))
        before = before or scores
        changes = [one - other for one, other in zip(scores, before, strict=True)]
        shown = "exact" if name == "cpu" else f"{statistics.median(ratios):.1f} dB, {min(ratios):.1f} dB"
        print(
            f"| {name} | {sum(same)} of {len(same)} | {shown} | {distance:.2f} dB "
            f"| {wrong} of {total} ({100 * wrong / total:.1f} %) | {mean_and_error(scores)} | {mean_and_error(changes)} |"
        )


if __name__ == "__main__":
    main()
