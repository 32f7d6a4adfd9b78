"""Measure the fixed gain that makes a voice as loud as sentences that are normalised to their peak."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from voxstack.importers.vits_parity import Chain

__all__ = ["measure_gain_db", "typical_ids"]

SENTENCES = (
    "wʊd juː lˈaɪk sˌʌm mˈɔːɹ tˈiː bᵻfˌɔːɹ wiː ɡˈoʊ?",
    "ðə lˈaɪbɹɛɹiʲ ˈoʊpənz æt nˈaɪn ˈɛvɹi mˈɔːɹnɪŋ.",
    "ˌaʊɚ nˈeɪbɚz plˈæntᵻd θɹˈiːʲ ˈæpəl tɹˈiːz bᵻhˌaɪnd ðə hˈaʊs.",
    "ɪt ɹˈeɪnd ˈɔːl nˈaɪt, ænd ðə ɹˈɪvɚ ɹˈoʊz baɪʲ ˈɔːlmoʊst tˈuː mˈiːɾɚz.",
    "nˈoʊbɑːdi nˈuː wˌaɪ ðə lˈaɪts hæd ɡɔn ˈaʊt.",
    "tˈeɪk ðə sˈɛkənd ɹˈoʊd ɔnðə lˈɛft, ðˈɛn wˈɔːk stɹˈeɪt ɐhˈɛd.",
    "jˈɛs, ʌv kˈɔːɹs!",
    "maɪ bɹˈʌðɚ bˈɔːt ɐ smˈɔːl bˈoʊt ænd pˈeɪntᵻd ɪt jˈɛloʊ.",
    "ðə dˈɑːktɚɹ ˈæskt hˌɪm tə bɹˈiːð slˈoʊli ænd kˈaʊnt tə tˈɛn.",
    "wˌʌt ɐ wˈʌndɚfəl sɚpɹˈaɪz ðɪs ɪz!",
    "lˈɑːɹdʒ klˈaʊdz ɡˈæðɚd ˌoʊvɚ ðə hˈɑːɹbɚ wˌaɪl ðə fˈɪʃɚmˌɛn kˈeɪm hˈoʊm.",
    "ʃiː ɹˈoʊt ðə lˈɛɾɚ twˈaɪs, bˌʌt ʃiː nˈɛvɚ sˈɛnt ɪt.",
)
"""Sentences as phonemes: no front end is needed, and a language more or less moves the peaks little."""

DRAWS = 3
ENOUGH = 0.7
LETTERS = 40


def measure_gain_db(
    chain: Chain, phoneme_ids: Mapping[str, Sequence[int]], inference: Mapping[str, Any], *, seed: int = 0
) -> float:
    """Return the median of 1 / peak over a dozen sentences with three draws of noise each, in dB.

    In:       phoneme_ids  the voice's own symbols; "^", "$" and "_" frame and part them
              inference    noise_scale, length_scale and noise_w as the voice wants them by default
    """
    random = np.random.default_rng(seed)
    peaks: list[float] = []
    for ids in typical_ids(phoneme_ids, random) * DRAWS:
        encoded = chain.encode(np.asarray(ids), 0)
        noise = random.standard_normal((1, 2, len(ids))).astype(np.float32)
        durations = chain.durations(encoded, noise, float(inference["noise_w"]))
        frames = np.ceil(durations[0] * float(inference["length_scale"])).astype(np.int64)
        shape = (1, encoded["mean"].shape[1], int(frames.sum()))
        frame_noise = random.standard_normal(shape).astype(np.float32)
        samples = chain.decode(encoded, frames, frame_noise, float(inference["noise_scale"]))
        peaks.append(float(np.abs(samples).max()))
    return round(20 * float(np.log10(median(1 / max(peak, 1e-3) for peak in peaks))), 2)


def typical_ids(phoneme_ids: Mapping[str, Sequence[int]], random: np.random.Generator) -> list[list[int]]:
    """Return the ids of a dozen sentences as the voice's front end would make them."""
    sentences: list[list[int]] = []
    for sentence in SENTENCES:
        symbols = [symbol for symbol in sentence if symbol in phoneme_ids]
        if len(symbols) < ENOUGH * len(sentence):  # a voice that reads letters, or another alphabet
            symbols = _babble(phoneme_ids, random)
        signs = [number for symbol in ("^", *symbols) for number in (*phoneme_ids[symbol], *phoneme_ids["_"])]
        sentences.append([*signs, *phoneme_ids["$"]])
    return sentences


def _babble(phoneme_ids: Mapping[str, Sequence[int]], random: np.random.Generator) -> list[str]:
    """Return letters of the voice's alphabet in random order, in words of five."""
    letters = sorted(symbol for symbol in phoneme_ids if len(symbol) == 1 and symbol.isalpha())
    letters = letters or sorted(set(phoneme_ids) - {"^", "$", "_"})
    chosen = [letters[int(place)] for place in random.integers(0, len(letters), LETTERS)]
    spaced = [
        symbol
        for place, symbol in enumerate(chosen)
        for symbol in ([" ", symbol] if place % 5 == 0 else [symbol])
    ]
    return [symbol for symbol in spaced if symbol in phoneme_ids]
