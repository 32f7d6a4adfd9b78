"""Turn a VITS checkpoint of the transformers library (the MMS voices, for one) into an addon.

The library's own forward is exported whole and cut as any VITS graph is; the parts are then held against
the library, with the same noise.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.checkpoint import Checkpoint, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.loudness import measure_gain_db, typical_ids
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.piper import voice_json
from voxstack.importers.piper_config import PiperConfig
from voxstack.importers.torch_export import check_close
from voxstack.importers.vits import VitsParts, cut_vits
from voxstack.importers.vits_parity import Chain
from voxstack.importers.writing import AddonReport, write_addon

__all__ = ["export_whole", "import_checkpoint", "text_of"]

Json = dict[str, Any]
Floats = NDArray[np.float32]
OPSET = 15
LENGTHS = (3, 38, 121)
NEAR = 1e-4
"""Durations so near a whole number of frames that float rounding could tip them are drawn again."""

BLANK, START = "<blank>", "<start>"
ENGLISH = "eng"
GOLDEN = 1


def import_checkpoint(folder: Path, out: Path) -> AddonReport:
    """Write the addon of a checkpoint of model_type "vits".

    Source:   VitsModel.forward in the library's modeling_vits.py
    Raises:   ImporterError if it is not all there, does not come apart, or differs from the model
    """
    checkpoint = read_checkpoint(folder)
    text, languages, remark = text_of(checkpoint)
    model = load_model(checkpoint, "VitsModel")
    config = model.config
    if not config.speaking_rate > 0:
        raise ImporterError(f"speaking_rate is {config.speaking_rate}; want more than 0", where=str(folder))
    parts = cut_vits(export_whole(model))
    chain = Chain.open(parts)
    difference = max(_difference(model, chain, parts, length) for length in LENGTHS)
    settings = PiperConfig(
        sample_rate=config.sampling_rate,
        inference={
            "noise_scale": config.noise_scale,
            "length_scale": 1 / config.speaking_rate,
            "noise_w": config.noise_scale_duration,
        },
        text=text,
        languages=languages or checkpoint.languages,
        speakers={},
    )
    symbols = {**text["phoneme_ids"], "^": [], "$": [], "_": text["phoneme_ids"].get(BLANK, [])}
    gain_db = measure_gain_db(chain, symbols, settings.inference)
    golden = typical_ids(symbols, np.random.default_rng(0))[GOLDEN]
    facts = (
        ("audio", f"{config.sampling_rate} Hz, {parts.hop} samples a frame"),
        ("speakers", str(parts.speakers)),
        ("gain", f"{gain_db:+.2f} dB"),
        padding_fact(check_padding(parts.nets, symbols=parts.symbols)),
        ("text", remark),
    )
    return write_addon(
        out,
        parts.nets,
        {**voice_json(parts, settings, gain_db=gain_db), **checkpoint.said, "languages": settings.languages},
        golden_ids=golden,
        facts=facts,
        differences={"chain": difference},
    )


def export_whole(model: Any) -> onnx.ModelProto:
    """Return a VitsModel as one graph: ids, lengths, scales (noise, length, noise_w), speaker → samples.

    The exporter that traces is used: the one that reads Python refuses sizes that depend on data.
    """
    import torch  # pyright: ignore[reportMissingImports]

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, lengths: Any, scales: Any, speaker: Any = None) -> Any:
            mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
            self.model.noise_scale, self.model.noise_scale_duration = scales[0], scales[2]
            rate = 1 / scales[1]
            return self.model(ids, attention_mask=mask, speaking_rate=rate, speaker_id=speaker).waveform

    examples = [torch.arange(14)[None] % model.config.vocab_size, torch.tensor([14]), torch.ones(3)]
    names = ["ids", "lengths", "scales"]
    if model.config.num_speakers > 1:
        examples.append(torch.tensor([0]))
        names.append("speaker")
    file = io.BytesIO()
    scales = model.noise_scale, model.noise_scale_duration
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer warns of every size it follows
            torch.onnx.export(
                Whole().eval(),
                tuple(examples),
                file,  # pyright: ignore[reportArgumentType] - the tracer writes into memory too
                input_names=names,
                output_names=["samples"],
                dynamic_axes={
                    "ids": {0: "batch", 1: "phonemes"},
                    "lengths": {0: "batch"},
                    "samples": {0: "batch", 1: "samples"},
                },
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises whatever its passes raise
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImporterError(f"torch cannot export VitsModel: {line}") from error
    finally:
        model.noise_scale, model.noise_scale_duration = scales
    return onnx.load_from_string(file.getvalue())


def _difference(model: Any, chain: Chain, parts: VitsParts, length: int) -> float:
    """Return the largest difference between the samples of the parts and of the model, same noise."""
    import torch  # pyright: ignore[reportMissingImports]

    config = model.config
    random = np.random.default_rng(length)
    speaker = int(random.integers(0, parts.speakers))
    for _ in range(100):
        ids = random.integers(0, config.vocab_size, length)
        noise = random.standard_normal((1, 2, length)).astype(np.float32)
        encoded = chain.encode(ids, speaker)
        durations = chain.durations(encoded, noise, config.noise_scale_duration)[0] / config.speaking_rate
        if np.abs(durations - np.round(durations)).min() > NEAR * max(1.0, float(durations.max())):
            break
    else:
        raise ImporterError("every duration is a whole number of frames; rounding errors would decide")
    frames = np.ceil(durations).astype(np.int64)
    shape = (1, config.flow_size, int(frames.sum()))
    frame_noise = random.standard_normal(shape).astype(np.float32)
    given = [noise, frame_noise] if config.use_stochastic_duration_prediction else [frame_noise]
    with torch.no_grad(), _drawing(given):
        chosen = torch.tensor([speaker]) if parts.speakers > 1 else None
        want = model(torch.from_numpy(ids)[None], speaker_id=chosen).waveform.numpy()
    got = chain.decode(encoded, frames, frame_noise, config.noise_scale)
    return check_close(f"samples of {length} symbols", got, want)


@contextlib.contextmanager
def _drawing(given: list[Floats]) -> Iterator[None]:
    """Let torch draw these numbers in this order instead of random ones."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.overrides import TorchFunctionMode  # pyright: ignore[reportMissingImports]

    left = iter(given)

    class Given(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func not in (torch.randn, torch.randn_like):
                return func(*args, **(kwargs or {}))
            like = args[0].shape if func is torch.randn_like else torch.Size(args)
            noise = torch.from_numpy(next(left))
            if noise.shape != like:
                raise ImporterError(f"the model draws noise {list(like)}, want {list(noise.shape)}")
            return noise

    with Given():
        yield


def text_of(checkpoint: Checkpoint) -> tuple[Json, list[str], str]:
    """Return the front end that gives the ids of the library's tokenizer, languages, and a remark.

    The library takes a text's characters, small unless a large one is known, without those that are not,
    and without space at the ends, and puts id 0 between all and at both ends. It drops an unknown letter
    with an accent; here the letter stays, if that is known without. A letter may have id 0 too: at a text's
    ends the library then leaves one out, which is not how such voices are trained, and not done here.

    Source:   VitsTokenizer in the library's tokenization_vits.py
    """
    checkpoint.path("vocab.json", what="which says what ids the characters have")
    checkpoint.path("tokenizer_config.json", what="which says how a text is read")
    options = checkpoint.json("tokenizer_config.json")
    vocabulary = checkpoint.vocabulary(checkpoint.number("vocab_size", math.inf))
    ids = {char: [number] for char, number in vocabulary.items() if len(char) == 1}
    if not ids:
        raise ImporterError("vocab.json gives no character an id", where=str(checkpoint.folder))
    remark = f"{len(ids)} characters"
    language = str(options.get("language") or "")
    languages = ["en"] if language == ENGLISH else [language.replace("_", "-")] if language else []
    text: Json = {"type": "characters", "form": "NFC"}
    if options.get("phonemize", True):
        text = {"type": "espeak", "voice": "en-us"}
        languages, remark = languages or ["en"], "espeak-ng phonemes, as the library's phonemizer has them"
    elif options.get("normalize", True):
        text |= {"lowercase": True, "spaces": "trimmed"}
        if language == "ron" and "ţ" in ids:
            ids["ț"] = ids["ţ"]
    if options.get("is_uroman"):
        remark += "; they are Latin: a text in another script is to be romanised by uroman first"
    framing: Json = {"start": None, "end": None, "spacer": None}
    if options.get("add_blank", True):
        ids |= {BLANK: [0], START: []}
        framing |= {"start": START, "spacer": BLANK}
    text |= {"phoneme_ids": ids, **framing}
    if languages == ["en"]:
        text["normalise"] = "en"
    return text, languages, remark
