"""Turn a FastSpeech2Conformer checkpoint of the transformers library into a voice and its vocoder.

    ids ─ encoder ─ encoded ─ variance ─┬─ hidden ──(upsampler)── decoder ─ rough_mel ─ postnet ─ mel
                                        └─ durations ┘

Pitch and energy are predicted as deviations from what is usual; the controls of these names multiply them:
0 is a flat voice, 2 one twice as lively. The decoder attends to all frames, so it runs once; postnet and
vocoder stream.
"""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.checkpoint import Checkpoint, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.cut_net import CutNet, net_of, ragged, ragged_whole
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.graphs.lift import lift_convolutions
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.hifigan import write_vocoder
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.torch_export import Example, check_close, export_graph, run_net
from voxstack.importers.writing import AddonReport, addon_name, write_addon

__all__ = ["import_checkpoint", "nets_of", "text_of"]

Json = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
VOCODER, BOTH = "fastspeech2_conformer_hifigan", "fastspeech2_conformer_with_hifigan"
RECIPE = {"sampling_rate": 22050, "hop_length": 256, "fmin": 80.0, "fmax": 7600.0}
"""How the recipe of the published checkpoints makes its mels; their configs do not say it."""

NORMALISATION = "fastspeech2_conformer"
"""Mels as the model's training left them: a vocoder of the same training reads them, and no other."""

LENGTHS = (2, 19, 64)
DRAWS = 5
TABLES = {"speaker": "speaker_id_embedding", "language": "language_id_embedding"}
ARGUMENTS = {"speaker": "speaker_ids", "language": "lang_ids"}
LIVELY = {"default": 1.0, "min": 0.0, "max": 2.0}
END = "<sos/eos>"
GOLDEN_SYMBOLS = 40


def import_checkpoint(folder: Path, out: Path) -> AddonReport:
    """Write the addon of a checkpoint: a voice, a vocoder, or both.

    A checkpoint with a vocoder gives two addons: the voice in `out`, and the vocoder beside it, in a folder
    of that name with "-vocoder" behind it.

    Source:   FastSpeech2ConformerModel.forward in the library's modeling_fastspeech2_conformer.py
    """
    checkpoint = read_checkpoint(folder)
    if checkpoint.model_type == VOCODER:
        vocoder = load_model(checkpoint, "FastSpeech2ConformerHifiGan")
        return write_vocoder(out, checkpoint, vocoder, _mel(checkpoint, vocoder, vocoder.config.model_in_dim))
    if checkpoint.model_type == BOTH:
        whole = load_model(checkpoint, "FastSpeech2ConformerWithHifiGan")
        model, vocoder = whole.model, whole.vocoder
    else:
        model, vocoder = load_model(checkpoint, "FastSpeech2ConformerModel"), None
    _check_config(model.config, where=str(folder))
    text, languages, remark = text_of(checkpoint, model.config.vocab_size)
    nets = nets_of(model)
    differences = {"mel": max(_difference(model, nets, length) for length in LENGTHS)}
    mel = _mel(checkpoint, vocoder, model.config.num_mel_bins)
    said = {
        **checkpoint.said,
        "languages": checkpoint.languages or languages,
        "gives": "mel",
        "audio": {"sample_rate": mel["sample_rate"]},
        "mel": mel,
        "text": text,
        "controls": _controls(model.config),
        "stack": _stack(model.config),
    }
    if vocoder is not None:
        beside = out.resolve().with_name(f"{out.resolve().name}-vocoder")
        differences |= write_vocoder(beside, checkpoint, vocoder, mel).differences
        said["vocoder"] = addon_name(beside)
    padding = padding_fact(check_padding(nets, symbols=model.config.vocab_size))
    facts = [("controls", ", ".join(said["controls"])), ("text", remark), padding]
    golden_ids = _golden_ids(model.config)
    return write_addon(out, nets, said, golden_ids=golden_ids, facts=facts, differences=differences)


def nets_of(model: Any) -> dict[str, CutNet]:
    """Return the nets of a FastSpeech2ConformerModel."""
    import torch  # pyright: ignore[reportMissingImports]

    config = model.config
    wide, bands = config.hidden_size, config.num_mel_bins
    inner = copy.deepcopy(model)
    for part in (inner.encoder, inner.decoder):
        part.pos_enc = _positions(part.pos_enc)
    symbols, frames = ("batch", "phonemes"), ("batch", "frames")
    # A tensor each: the tracer takes one that comes twice for one input.
    factors = {name: Example(torch.tensor(1.0), ()) for name in ("pitch", "energy")}
    ids = Example(torch.arange(23)[None] % config.vocab_size, symbols)
    chosen = {name: Example(torch.tensor([0]), ("batch",)) for name in _tables(config)}
    hidden = Example(torch.randn(1, 37, wide), (*frames, wide))
    rough = Example(torch.randn(1, 37, bands), (*frames, bands))
    encoder = export_graph(inner, {"ids": ids, **chosen}, {"encoded": (*symbols, wide)}, call=_encode)
    variance = export_graph(
        inner,
        {"encoded": Example(torch.randn(1, 23, wide), (*symbols, wide)), **factors},
        {"hidden": (*symbols, wide), "durations": symbols},
        call=_vary,
    )
    decoder = export_graph(inner, {"hidden": hidden}, {"rough_mel": (*frames, bands)}, call=_decode)
    postnet = export_graph(inner, {"rough_mel": rough}, {"mel": (*frames, bands)}, call=_refine)
    reach = measure_reach(postnet, "frames")
    if reach.obstacle is not None:
        raise ImporterError(f"the postnet cannot be cut into windows: {reach.obstacle}")
    return {
        "encoder": _net(encoder, "encoder", "phonemes", symbols=config.vocab_size),
        "variance": _net(variance, "encoder", "phonemes"),
        "decoder": _net(decoder, "decoder", "frames"),
        "postnet": _net(postnet, "decoder", "frames", context=reach.context),
    }


def _net(
    graph: Graph, role: str, axis: str, *, symbols: int = 1, context: tuple[int, int] | None = None
) -> CutNet:
    """Return a graph as a net; one without context reads all steps, and is told which are padding."""
    lift_convolutions(graph)
    fold(graph)
    if context is not None:
        return net_of(graph, role=role, ragged=ragged(axis, chunkable=True, context=context))
    return net_of(graph, role=role, ragged=ragged_whole(graph, axis, symbols=symbols))


def _encode(model: Any, ids: Any, *chosen: Any) -> Any:
    """Encode symbols; what was chosen (speaker, language) is added to every one."""
    (encoded,) = model.encoder(ids, None, output_attentions=False, return_dict=False)
    for name, number in zip(_tables(model.config), chosen, strict=True):
        encoded = encoded + getattr(model, TABLES[name])(number).unsqueeze(1)
    return encoded


def _vary(model: Any, encoded: Any, pitch: Any, energy: Any) -> tuple[Any, Any]:
    """Predict how long, high and loud symbols are.

    Durations come out rounded, as from the library, which stretches and rounds them once more. Where all
    are zero it gives each symbol a frame.
    """
    import torch  # pyright: ignore[reportMissingImports]

    durations = model.duration_predictor(encoded).float()
    durations = torch.where(durations.sum(1, keepdim=True) == 0, torch.ones_like(durations), durations)
    high = model.pitch_embed(model.pitch_predictor(encoded) * pitch)
    loud = model.energy_embed(model.energy_predictor(encoded) * energy)
    return encoded + loud + high, durations


def _decode(model: Any, hidden: Any) -> Any:
    (decoded,) = model.decoder(hidden, None, output_attentions=False, return_dict=False)
    return model.speech_decoder_postnet.feat_out(decoded)


def _refine(model: Any, rough_mel: Any) -> Any:
    refined = rough_mel.transpose(1, 2)
    for layer in model.speech_decoder_postnet.layers:
        refined = layer(refined)
    return rough_mel + refined.transpose(1, 2)


def _positions(library: Any) -> Any:
    """Return the positional encoding computed for the length at hand: the library's table is 5000 steps long.

    Row k of 2T - 1 encodes the distance T - 1 - k, a sine and a cosine for each frequency in turn.
    """
    import torch  # pyright: ignore[reportMissingImports]

    class Positions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.width = library.input_scale, library.embed_dim
            steps = torch.arange(0, self.width, 2, dtype=torch.float32)
            self.frequencies = torch.exp(steps * -(math.log(10000.0) / self.width))

        def forward(self, hidden: Any) -> tuple[Any, Any]:
            length = hidden.shape[1]
            distances = (length - 1 - torch.arange(2 * length - 1)).float()
            angles = distances[:, None] * self.frequencies
            rows = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1)
            return hidden * self.scale, rows.reshape(1, 2 * length - 1, self.width)

    return Positions()


def _tables(config: Any) -> dict[str, int]:
    """Return what may be chosen by number, and how many there are of it."""
    sizes = {"speaker": config.num_speakers or 1, "language": config.num_languages or 1}
    return {name: size for name, size in sizes.items() if size > 1}


def _difference(model: Any, nets: Mapping[str, CutNet], length: int) -> float:
    """Return the largest difference between the mels of the nets and of the model."""
    import torch  # pyright: ignore[reportMissingImports]

    config = model.config
    random = np.random.default_rng(length)
    for _ in range(DRAWS):
        ids = random.integers(1, config.vocab_size, (1, length))
        chosen = {name: random.integers(0, size, 1) for name, size in _tables(config).items()}
        feeds: Arrays = {
            "ids": ids,
            "phonemes_mask": np.ones(ids.shape, bool),
            **chosen,
            "pitch": np.array(1, np.float32),
            "energy": np.array(1, np.float32),
        }
        for name in ("encoder", "variance"):
            feeds |= run_net(nets[name], feeds)
        numbers = {ARGUMENTS[name]: torch.from_numpy(number) for name, number in chosen.items()}
        with torch.no_grad():
            said = model(torch.from_numpy(ids), return_dict=True, **numbers)
        frames = feeds["durations"][0]
        # A duration on the edge between two numbers may be rounded either way: then another text tells.
        if np.array_equal(frames, np.maximum(said.duration_outputs[0].numpy(), frames.sum() == frames.size)):
            break
    else:
        raise ImporterError(f"the durations of {length} symbols differ from the model's")
    stretched = np.rint(frames * np.float32(config.speaking_speed)).astype(np.int64)
    feeds["hidden"] = np.repeat(feeds["hidden"], stretched, axis=1)
    feeds["frames_mask"] = np.ones(feeds["hidden"].shape[:2], bool)
    for name in ("decoder", "postnet"):
        feeds |= run_net(nets[name], feeds)
    return check_close(f"the mel of {length} symbols", feeds["mel"], said.spectrogram.numpy())


def _check_config(config: Any, *, where: str) -> None:
    """Refuse what the stack has no place for."""
    if config.reduction_factor != 1:
        raise ImporterError(
            f"its decoder gives {config.reduction_factor} frames of mel for each of its own; want 1",
            where=where,
        )
    if config.speaker_embed_dim:
        raise ImporterError(
            f"its speakers are vectors of {config.speaker_embed_dim} numbers; want speakers by number",
            where=where,
        )
    if not config.speaking_speed > 0:
        raise ImporterError(f"speaking_speed is {config.speaking_speed}; want more than 0", where=where)


def _mel(checkpoint: Checkpoint, vocoder: Any, bands: int) -> Json:
    """Return the format of the mels: what the checkpoint says of it, else what its recipe does."""
    said = {
        key: checkpoint.number(key, checkpoint.number(key, usual), file="preprocessor_config.json")
        for key, usual in RECIPE.items()
    }
    hop = said["hop_length"] if vocoder is None else math.prod(vocoder.config.upsample_rates)
    return {
        "sample_rate": int(said["sampling_rate"]),
        "hop": int(hop),
        "bands": bands,
        "fmin": float(said["fmin"]),
        "fmax": float(said["fmax"]),
        "log": "10",
        "normalisation": NORMALISATION,
    }


def _controls(config: Any) -> Json:
    chosen = {
        name: {"default": 0, "min": 0, "max": size - 1, "dtype": "int64"}
        for name, size in _tables(config).items()
    }
    speed = {"default": 1.0, "min": 0.5, "max": 2.0}
    return {"speed": speed, "pitch": dict(LIVELY), "energy": dict(LIVELY), **chosen}


def _stack(config: Any) -> list[Json]:
    upsampler = {
        "type": "Upsampler",
        "tensors": ["hidden"],
        "rounding": "round",
        "length_scale": config.speaking_speed,
    }
    decoders = [{"type": "Decoder", "net": net} for net in ("decoder", "postnet")]
    stream = {"type": "StreamableStack", "stack": [upsampler, *decoders]}
    encoders = {"type": "Encoders"}
    return [{"type": "StreamablePipeline", "sequence_block": encoders, "streamable_block": stream}]


def _golden_ids(config: Any) -> list[int]:
    return np.random.default_rng(0).integers(1, config.vocab_size, GOLDEN_SYMBOLS).tolist()


def text_of(checkpoint: Checkpoint, symbols: int) -> tuple[Json | None, list[str], str]:
    """Return the front end for an ARPAbet vocabulary, its languages, and a remark; none where it is another.

    The library asks g2p_en for phonemes; here they are espeak-ng's, spelt in the same alphabet. It reads
    semicolons and colons as commas, and ends a text with one sign.

    In:       symbols  how many the model knows
    Source:   FastSpeech2ConformerTokenizer in the library's tokenization_fastspeech2_conformer.py
    """
    vocabulary = checkpoint.vocabulary(symbols)
    if not {"AH0", END} <= vocabulary.keys():
        return None, [], "none: there is no vocab.json with ARPAbet symbols, so this voice takes ids only"
    ids = {symbol: [number] for symbol, number in vocabulary.items()}
    ids |= {sign: ids[","] for sign in ";:" if "," in ids}
    text = {"type": "espeak", "voice": "en-us", "alphabet": "arpabet", "phoneme_ids": ids}
    text |= {"start": None, "end": END, "spacer": None, "normalise": "en"}
    return text, ["en"], "ARPAbet by espeak-ng"
