"""Turn a HiFi-GAN of the transformers library into a vocoder addon."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np

from voxstack.core.errors import ImporterError
from voxstack.importers.checkpoint import Checkpoint, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.cut_net import CutNet, net_of, ragged
from voxstack.importers.graphs.reach import Reach, measure_reach
from voxstack.importers.graphs.shapes import float_edges
from voxstack.importers.graphs.speed import speed_up
from voxstack.importers.torch_export import Example, check_close, export_graph, run_net
from voxstack.importers.vits import FUSING
from voxstack.importers.writing import AddonReport, write_addon

__all__ = ["import_checkpoint", "mel_of", "vocoder_net", "write_vocoder"]

Json = dict[str, Any]
LENGTHS = (1, 5, 67)
"""Frames of the mels on which net and model are compared: also shorter than the context."""

BANDS_HZ = (80.0, 7600.0)
"""Where the library's own feature extractor and recipes begin and end their mel bands."""


def import_checkpoint(folder: Path, out: Path) -> AddonReport:
    """Write the vocoder addon of a checkpoint.

    Source:   SpeechT5HifiGan.forward in the library's modeling_speecht5.py
    """
    checkpoint = read_checkpoint(folder)
    model = load_model(checkpoint, "SpeechT5HifiGan")
    return write_vocoder(out, checkpoint, model, mel_of(checkpoint, model.config))


def mel_of(checkpoint: Checkpoint, config: Any) -> Json:
    """Return the format of a vocoder's mels, as addon.json wants it.

    Rate, hop and bands are the model's. Its config says nothing of the bands' ends: they are those of the
    feature extractor that lies beside it, else the library's own, whose logarithm is to the base of 10.
    """
    extractor = "preprocessor_config.json"
    return {
        "sample_rate": config.sampling_rate,
        "hop": math.prod(config.upsample_rates),
        "bands": config.model_in_dim,
        "fmin": float(checkpoint.number("fmin", BANDS_HZ[0], file=extractor)),
        "fmax": float(checkpoint.number("fmax", BANDS_HZ[1], file=extractor)),
        "log": "10",
        "normalisation": "none",
    }


def write_vocoder(out: Path, checkpoint: Checkpoint, model: Any, mel: Json) -> AddonReport:
    """Write the addon of a vocoder that takes mels of a format."""
    net, difference = vocoder_net(model)
    said = {
        **checkpoint.said,
        "gives": "audio",
        "takes": "mel",
        "audio": {"sample_rate": mel["sample_rate"]},
        "mel": mel,
        "stack": [{"type": "Vocoder"}],
    }
    return write_addon(out, {"vocoder": net}, said, differences={"vocoder": difference})


def vocoder_net(model: Any) -> tuple[CutNet, float]:
    """Return the net of a HiFi-GAN, and the largest difference between it and the model.

    In:       model  SpeechT5HifiGan or FastSpeech2ConformerHifiGan, in float32
    Out:      mel ["batch", bands, "frames"] → samples ["batch", "samples"]; the mel's own mean and scale are
              taken off inside. Beyond an utterance's ends its convolutions see zeros, as when it was
              trained, so no pad value stands there.
    """
    import torch  # pyright: ignore[reportMissingImports]

    bands = model.config.model_in_dim
    example = Example(torch.randn(2, bands, 37), ("batch", bands, "frames"))
    graph = export_graph(model, {"mel": example}, {"samples": ("batch", "samples")}, call=_samples)
    reach: Reach = measure_reach(graph, "frames")
    if reach.obstacle is not None:
        raise ImporterError(f"the vocoder cannot be cut into windows: {reach.obstacle}")
    speed_up(graph)
    along = ragged("frames", chunkable=True, context=reach.context, hop=reach.hop)
    # The runtime is told the inner shapes: it then sees which sums fuse.
    known = tuple(float_edges(graph, FUSING))
    net = net_of(graph, role="vocoder", ragged=along, known=known)
    return net, max(_difference(model, net, frames) for frames in LENGTHS)


def _samples(model: Any, mel: Any) -> Any:
    """Take a mel as the model's convolutions do, [batch, bands, frames]: no layout changes in the net."""
    plain = copy.copy(model)
    plain.config = copy.copy(model.config)
    plain.config.normalize_before = False
    if model.config.normalize_before:
        mel = (mel - model.mean[None, :, None]) / model.scale[None, :, None]
    return plain(mel.transpose(1, 2))


def _difference(model: Any, net: CutNet, frames: int) -> float:
    """Compare net and model on a random mel, in the range that the model expects."""
    import torch  # pyright: ignore[reportMissingImports]

    noise = np.random.default_rng(frames).standard_normal((1, frames, model.config.model_in_dim))
    mel = torch.from_numpy(noise.astype(np.float32))
    if model.config.normalize_before:
        mel = mel * model.scale + model.mean
    with torch.no_grad():
        want = model(mel).numpy()
    got = run_net(net, {"mel": np.ascontiguousarray(mel.numpy().transpose(0, 2, 1))})["samples"]
    return check_close(f"vocoder, {frames} frames", got, want)
