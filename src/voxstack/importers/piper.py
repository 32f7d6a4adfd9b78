"""Turn a Piper voice (an ONNX file and its JSON) into an addon: nets, text, controls, stack, loudness."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.destination import new_addon
from voxstack.importers.loudness import measure_gain_db, typical_ids
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.piper_config import PiperConfig, check_espeak, check_ids, read_config
from voxstack.importers.quantising.int8 import Int8Net, quantise
from voxstack.importers.quantising.sentences import calibration_feeds
from voxstack.importers.vits import VitsParts, cut_vits
from voxstack.importers.vits_parity import Chain, check_parity
from voxstack.importers.writing import addon_name, fill_addon, manifest_of

__all__ = ["ImportReport", "import_piper", "import_sources", "voice_json"]

Json = dict[str, Any]

CEILING_DB = -0.2
MOST_NOISE = 1.5
MOST_NOISE_W = 1.2
"""Above it the tails of the noise make durations explode: a word of 45 seconds at 2."""

GOLDEN = 1
"""Which of the typical sentences becomes the golden sample."""

INT8 = "decoder.int8"
"""What the file of the decoder with 8-bit convolutions is called."""

INT8_PROFILE: Json = {
    "nets": {
        # The net and the role: the flow, of that role too, has no such file.
        "decoder": {"runtime": "openvino", "precision": "int8", "shapes": "buckets"},
        "flow": {"precision": "bf16"},
    },
    "chunks": {"growth": 8, "most_ms": 2700},
}
"""The profile `fast`, with that file."""


@dataclass(frozen=True)
class ImportReport:
    """Say what an import made and measured.

    contexts        frames of context each side, by net
    hop_samples     samples per frame
    max_difference  largest difference between the cut nets and the model, same noise, full scale 1
    padding         how much padding changes what each net says that is told of it, of its greatest value
    gain_db         fixed gain that makes the voice as loud as peak-normalised sentences
    int8            what the decoder's 8-bit file is, if one was asked for
    """

    addon: Path
    name: str
    sample_rate: int
    hop_samples: int
    speakers: int
    contexts: Mapping[str, tuple[int, int]]
    max_difference: float
    padding: Mapping[str, float]
    gain_db: float
    int8: Int8Net | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Return the report as labels and values for people."""
        contexts = [
            f"{net} {left} | {right}" for net, (left, right) in self.contexts.items() if left or right
        ]
        return [
            ("addon", f"{self.addon} ({self.name})"),
            ("audio", f"{self.sample_rate} Hz, {self.hop_samples} samples a frame"),
            ("speakers", str(self.speakers)),
            ("context", f"{', '.join(contexts)} frames"),
            ("chain vs. model", f"{self.max_difference:.1e} greatest difference, same noise"),
            padding_fact(self.padding),
            ("gain", f"{self.gain_db:+.2f} dB"),
            *([self.int8.fact()] if self.int8 else []),
        ]


def import_sources(sources: Sequence[Path], out: Path, *, int8: bool = False) -> ImportReport:
    """Write the addon of what stands on the command line: a model, and its config if named."""
    if len(sources) > 2:
        raise ImporterError(f"got {len(sources)} files, want MODEL [CONFIG]", where=str(sources[-1]))
    return import_piper(sources[0], sources[1] if len(sources) == 2 else None, out, int8=int8)


def import_piper(model: Path, config: Path | None, out: Path, *, int8: bool = False) -> ImportReport:
    """Write the addon of a Piper voice into the folder `out`, checked against the model it came from.

    In:       model   the voice's .onnx file
              config  its JSON; None = beside the model, with .json added to its name
              out     the addon's folder, made if missing; its name becomes the addon's; an earlier
                      import of the same voice in it is replaced
              int8    whether a decoder with 8-bit convolutions is written beside the plain one, and a
                      profile `int8` that runs it
    Raises:   ImporterError saying what is missing, not understood, or different from the model
    """
    data = _read_model(model)
    graph = _parse(data, where=str(model))
    name = addon_name(out)
    config = config or model.with_name(model.name + ".json")
    settings = read_config(config)
    check_espeak(settings, where=str(config))
    origin = {"family": "piper", "source": model.name, "sha256": hashlib.sha256(data).hexdigest()}
    with new_addon(out, name=name, origin=origin) as folder:
        parts = _cut(graph, where=str(model))
        check_ids(settings, parts.symbols, where=str(config))
        try:
            difference = check_parity(parts)
            padding = check_padding(parts.nets, symbols=parts.symbols)
            ids = settings.text["phoneme_ids"]
            chain = Chain.open(parts)
            quantised = _int8_decoder(parts, chain, settings) if int8 else None
        except ImporterError as error:
            raise ImporterError(error.what, where=str(model)) from error
        gain_db = measure_gain_db(chain, ids, settings.inference)
        said = {
            **voice_json(parts, settings, gain_db=gain_db),
            "licence": _licence(model.parent / "MODEL_CARD"),
            "origin": origin,
        }
        manifest = manifest_of(out, parts.nets, said)
        nets = {**parts.nets, **({INT8: CutNet(quantised.model, {})} if quantised else {})}
        if quantised:
            manifest["nets"]["decoder"]["variants"] = {"int8": f"nets/{INT8}.onnx"}
            manifest["profiles"]["int8"] = INT8_PROFILE
        golden = typical_ids(ids, np.random.default_rng(0))[GOLDEN]
        fill_addon(folder, manifest, nets, golden_ids=golden)
    return ImportReport(
        addon=out,
        name=name,
        sample_rate=settings.sample_rate,
        hop_samples=parts.hop,
        speakers=parts.speakers,
        contexts={name: _pair(net.spec["ragged"]["context"]) for name, net in parts.nets.items()},
        max_difference=difference,
        padding=padding,
        gain_db=gain_db,
        int8=quantised,
    )


def _read_model(path: Path) -> bytes:
    if path.is_dir():
        raise ImporterError("is a folder; want the .onnx file", where=str(path))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImporterError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not data:
        raise ImporterError("not an ONNX model: the file is empty", where=str(path))
    return data


def _parse(data: bytes, *, where: str) -> onnx.ModelProto:
    try:
        graph = onnx.load_from_string(data)
    except Exception as error:  # whatever the parser of the day raises
        raise ImporterError(f"not an ONNX model: {_line(error)}", where=where) from error
    if not graph.graph.node:
        raise ImporterError("not an ONNX model: it holds no operators", where=where)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.graph.initializer):
        raise ImporterError(
            "its weights lie in another file; want one .onnx file that holds them", where=where
        )
    return graph


def _cut(graph: onnx.ModelProto, *, where: str) -> VitsParts:
    try:
        return cut_vits(graph)
    except Exception as error:  # a strange graph can trip any rule, and the runtime that folds constants
        raise ImporterError(f"does not look like a VITS voice: {_line(error)}", where=where) from error


def voice_json(parts: VitsParts, settings: PiperConfig, *, gain_db: float) -> Json:
    """Return what addon.json says of a voice of such parts, but for its licence and origin."""
    decoders = [{"type": "Decoder", "net": net} for net in ("flow", "decoder")]
    upsampler = {
        "type": "Upsampler",
        "tensors": ["mean", "log_std"],
        "rounding": "ceil",
        "length_scale": settings.inference["length_scale"],
    }
    limiter = {"type": "Limiter", "gain_db": gain_db, "ceiling_db": CEILING_DB}
    return {
        "gives": "audio",
        "languages": settings.languages,
        "audio": {"sample_rate": settings.sample_rate},
        "text": settings.text,
        "controls": _controls(parts, settings),
        "stack": [
            {
                "type": "StreamablePipeline",
                "sequence_block": {"type": "Encoders"},
                "streamable_block": {"type": "StreamableStack", "stack": [upsampler, *decoders, limiter]},
            }
        ],
    }


def _int8_decoder(parts: VitsParts, chain: Chain, settings: PiperConfig) -> Int8Net:
    ids = settings.text["phoneme_ids"]
    feeds = calibration_feeds(chain, ids, settings.inference, speakers=parts.speakers)
    return quantise(parts.nets["decoder"].model, *feeds)


def _controls(parts: VitsParts, settings: PiperConfig) -> Json:
    controls: Json = {
        "speed": {"default": 1.0, "min": 0.5, "max": 2.0},
        "noise": _noise(settings.inference["noise_scale"], most=MOST_NOISE),
    }
    if "noise_w" in parts.nets["duration"].spec["inputs"]:
        controls["noise_w"] = _noise(settings.inference["noise_w"], most=MOST_NOISE_W)
    if parts.marks.speaker is not None:
        controls["speaker"] = {
            "default": 0,
            "min": 0,
            "max": parts.speakers - 1,
            "dtype": "int64",
            "choices": {name: n for name, n in settings.speakers.items() if n < parts.speakers},
        }
    return controls


def _noise(default: float, *, most: float) -> Json:
    return {"default": default, "min": 0.0, "max": max(most, default)}


def _licence(card: Path) -> str:
    """Return what a model card beside the voice says, or "unknown"."""
    if not card.is_file():
        return "unknown"
    stated = re.search(
        r"^\W*licen[cs]e\W*:\W*(.+?)\s*$",
        card.read_text(encoding="utf-8", errors="replace"),
        re.IGNORECASE | re.MULTILINE,
    )
    return stated.group(1) if stated else "unknown"


def _pair(context: list[int]) -> tuple[int, int]:
    return context[0], context[1]


def _line(error: Exception) -> str:
    """Return the first line of what an error says; an ImporterError's without its file."""
    text = error.what if isinstance(error, ImporterError) else f"{error or type(error).__name__}"
    return text.strip().partition("\n")[0]
