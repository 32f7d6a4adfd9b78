"""Let a voice's cut nets say typical sentences, and keep what its last net was given: to calibrate on."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from voxstack.importers.graphs.measuring import run
from voxstack.importers.loudness import typical_ids
from voxstack.importers.quantising.running import Feeds

__all__ = ["Speaking", "calibration_feeds", "decoder_feeds"]

Floats = NDArray[np.float32]

DRAWS = 2
HELD_OUT = 4
"""Sentences that judge; the others calibrate, each said twice with other noise."""


class Speaking(Protocol):
    """Nets that run one after another: encoder, durations, flow, decoder."""

    @property
    def sessions(self) -> Mapping[str, ort.InferenceSession]: ...

    def encode(self, ids: NDArray[np.int64], speaker: int) -> dict[str, Floats]: ...

    def durations(self, encoded: Mapping[str, Floats], noise: Floats, noise_w: float) -> Floats: ...


def calibration_feeds(
    chain: Speaking,
    phoneme_ids: Mapping[str, Sequence[int]],
    inference: Mapping[str, Any],
    *,
    speakers: int = 1,
) -> tuple[list[Feeds], list[Feeds]]:
    """Return what the decoder takes in sentences to calibrate on, and in others that judge."""
    draws = [
        decoder_feeds(chain, phoneme_ids, inference, speakers=speakers, seed=seed) for seed in range(DRAWS)
    ]
    return [feeds for draw in draws for feeds in draw[:-HELD_OUT]], draws[0][-HELD_OUT:]


def decoder_feeds(
    chain: Speaking,
    phoneme_ids: Mapping[str, Sequence[int]],
    inference: Mapping[str, Any],
    *,
    speakers: int = 1,
    seed: int = 0,
) -> list[Feeds]:
    """Return what the decoder takes in a dozen sentences; the voice's speakers say them in turn.

    In:       inference  noise_scale, length_scale and noise_w as the voice wants them by default
    """
    random = np.random.default_rng(seed)
    flow, decoder = (chain.sessions[name] for name in ("flow", "decoder"))
    found: list[Feeds] = []
    sentences = typical_ids(phoneme_ids, random)
    for place, ids in enumerate(sentences):
        encoded = chain.encode(np.asarray(ids), place * speakers // len(sentences))
        noise = random.standard_normal((1, 2, len(ids))).astype(np.float32)
        durations = chain.durations(encoded, noise, float(inference["noise_w"]))
        frames = np.ceil(durations[0] * float(inference["length_scale"])).astype(np.int64)
        prior = {name: np.repeat(encoded[name], frames, axis=2) for name in ("mean", "log_std")}
        feeds = {
            **encoded,
            **prior,
            "frame_noise": random.standard_normal(prior["mean"].shape).astype(np.float32),
            "noise": np.asarray(inference["noise_scale"], np.float32),
            "frames_mask": np.ones((1, 1, int(frames.sum())), np.float32),
        }
        made = {**encoded, **run(flow, {item.name: feeds[item.name] for item in flow.get_inputs()})}
        found.append({item.name: made[item.name] for item in decoder.get_inputs()})
    return found
