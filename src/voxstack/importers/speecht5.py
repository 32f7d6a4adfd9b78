"""Turn a SpeechT5 checkpoint of the transformers library into an addon: encoder, decoder step, postnet."""

from functools import partial
from pathlib import Path
from typing import Any

from voxstack.core.errors import ImporterError
from voxstack.importers.checkpoint import Checkpoint, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.speecht5_nets import cut_speecht5
from voxstack.importers.speecht5_parity import STOP_THRESHOLD, NetLoop, check_steps
from voxstack.importers.speecht5_speakers import Speakers, read_speakers
from voxstack.importers.speecht5_text import read_text, remark_on, spoken_ids
from voxstack.importers.writing import AddonReport, write_addon

__all__ = ["import_checkpoint"]

Json = dict[str, Any]

MODEL = "SpeechT5ForTextToSpeech"
MOST_FRAMES_PER_SYMBOL = 20.0
"""What generate_speech takes where it is not told otherwise (maxlenratio)."""

GOLDEN = "This is a test."


def import_checkpoint(folder: Path, out: Path, embeddings: Path | None = None) -> AddonReport:
    """Write the addon of a checkpoint.

    In:       embeddings  .npy or .npz of speaker embeddings (x-vectors): the model has no voice of its own
    Source:   _generate_speech in the library's modeling_speecht5.py
    """
    checkpoint = read_checkpoint(folder)
    made_for = checkpoint.config.get("architectures")
    if isinstance(made_for, list) and made_for and MODEL not in made_for:
        raise ImporterError(f"is a {made_for[0]}; want a {MODEL}", where=str(folder))
    if embeddings is None:
        raise ImporterError(
            "the model has no voice of its own: it takes that of a speaker embedding (x-vector); "
            "name a .npy or .npz file of one or more after the folder",
            where=str(folder),
        )
    speakers = read_speakers(embeddings, width=int(checkpoint.number("speaker_embedding_dim", 512)))
    text = read_text(checkpoint)
    model = load_model(checkpoint, MODEL)
    nets = {**cut_speecht5(model), "speaker": speakers.net()}
    differences = check_steps(model, NetLoop.open(nets), speakers.table[:1])
    return write_addon(
        out,
        nets,
        {**checkpoint.said, **_said(checkpoint, model.config, speakers), "text": text},
        golden_ids=spoken_ids(text, GOLDEN) or (),
        facts=[
            ("speakers", speakers.shown),
            ("frames", f"{model.config.reduction_factor} a step"),
            ("text", remark_on(text)),
            padding_fact(check_padding(nets, symbols=model.config.vocab_size)),
        ],
        differences=differences,
    )


def _said(checkpoint: Checkpoint, config: Any, speakers: Speakers) -> Json:
    """Return what addon.json says of this kind of voice."""
    extractor = partial(checkpoint.number, file="preprocessor_config.json")
    rate = int(extractor("sampling_rate", 16000))
    decoder = {
        "type": "AutoregressiveDecoder",
        "stop_threshold": STOP_THRESHOLD,
        "most_frames_per_symbol": MOST_FRAMES_PER_SYMBOL,
        # Several heads of several layers are averaged here: what they do is told, and ends nothing.
        "attention": {"ends_on": []},
    }
    return {
        "gives": "mel",
        "audio": {"sample_rate": rate},
        "mel": {
            "sample_rate": rate,
            "hop": int(extractor("hop_length", 16)) * rate // 1000,
            "bands": config.num_mel_bins,
            "fmin": float(extractor("fmin", 80)),
            "fmax": float(extractor("fmax", 7600)),
            "log": "10",
            "normalisation": "none",
        },
        "controls": {
            "speaker": {
                "default": 0,
                "min": 0,
                "max": len(speakers.names) - 1,
                "dtype": "int64",
                "choices": {name: number for number, name in enumerate(speakers.names)},
            }
        },
        "stack": [
            {
                "type": "StreamablePipeline",
                "sequence_block": {"type": "Encoders"},
                "streamable_block": {
                    "type": "StreamableStack",
                    "stack": [decoder, {"type": "Decoder", "net": "postnet"}],
                },
            }
        ],
    }
