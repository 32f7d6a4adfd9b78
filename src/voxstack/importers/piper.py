"""Turn a Piper voice (an ONNX file and its JSON) into an addon: nets, text, controls, stack, loudness."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from voxstack.core.errors import ImporterError
from voxstack.engine.golden import write_golden
from voxstack.importers.loudness import measure_gain_db, typical_ids
from voxstack.importers.parity import Chain, check_parity
from voxstack.importers.vits import VitsParts, cut_vits
from voxstack.stack.addon import seal
from voxstack.stack.files import MANIFEST

__all__ = ["ImportReport", "import_piper", "import_sources"]

Json = dict[str, Any]

FRONT_ENDS = {"espeak": "espeak", "text": "characters"}
START, END, SPACER = "^", "$", "_"
CEILING_DB = -0.2

GOLDEN = 1
"""Which of the typical sentences becomes the golden sample."""


@dataclass(frozen=True)
class ImportReport:
    """Say what an import made and measured.

    contexts        frames of context each side, by net
    hop_samples     samples per frame
    max_difference  largest difference between the cut nets and the model, same noise, full scale 1
    gain_db         fixed gain that makes the voice as loud as peak-normalised sentences
    """

    addon: Path
    name: str
    sample_rate: int
    hop_samples: int
    speakers: int
    contexts: Mapping[str, tuple[int, int]]
    max_difference: float
    gain_db: float

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
            ("gain", f"{self.gain_db:+.2f} dB"),
        ]


def import_sources(sources: Sequence[Path], out: Path) -> ImportReport:
    """Write the addon of what stands on the command line: a model, and its config if named."""
    if len(sources) > 2:
        raise ImporterError(f"got {len(sources)} files, want MODEL [CONFIG]", where=str(sources[-1]))
    return import_piper(sources[0], sources[1] if len(sources) == 2 else None, out)


def import_piper(model: Path, config: Path | None, out: Path) -> ImportReport:
    """Write the addon of a Piper voice into the folder `out`, checked against the model it came from.

    In:       model   the voice's .onnx file
              config  its JSON; None = beside the model, with .json added to its name
              out     the addon's folder, made if missing; its name becomes the addon's
    Raises:   ImporterError saying what is missing, not understood, or different from the model
    """
    if not model.is_file():
        raise ImporterError("there is no such file", where=str(model))
    name = _slug(out.resolve().name)
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).exists():
        raise ImporterError("the folder holds something else than an addon; name a new one", where=str(out))
    config = config or model.with_name(model.name + ".json")
    settings = _read_settings(config)
    text = _front_end(settings, where=str(config))
    try:
        graph = onnx.load(str(model), load_external_data=False)
    except Exception as error:
        raise ImporterError(f"not an ONNX model: {error}", where=str(model)) from error
    parts = cut_vits(graph)
    difference = check_parity(parts)
    gain_db = measure_gain_db(Chain.open(parts), text["phoneme_ids"], settings["inference"])
    manifest = addon_json(parts, settings, text, name=name, gain_db=gain_db)
    manifest["licence"] = _licence(model.parent / "MODEL_CARD")
    manifest["origin"] = {
        "family": "piper",
        "source": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    _write(out, manifest, parts, typical_ids(text["phoneme_ids"], np.random.default_rng(0))[GOLDEN])
    return ImportReport(
        addon=out,
        name=name,
        sample_rate=manifest["audio"]["sample_rate"],
        hop_samples=parts.hop,
        speakers=parts.speakers,
        contexts={name: _pair(net.spec["ragged"]["context"]) for name, net in parts.nets.items()},
        max_difference=difference,
        gain_db=gain_db,
    )


def _write(out: Path, manifest: Json, parts: VitsParts, golden_ids: list[int]) -> None:
    """Write the addon beside `out` and put it there only when it is whole."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "nets").mkdir(parents=True)
        for name, net in parts.nets.items():
            onnx.save(net.model, str(partial / "nets" / f"{name}.onnx"))
        json_text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (partial / MANIFEST).write_text(json_text + "\n", encoding="utf-8")
        seal(partial)
        write_golden(partial, golden_ids, {})
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def addon_json(parts: VitsParts, settings: Json, text: Json, *, name: str, gain_db: float) -> Json:
    """Return the addon's JSON, without hashes, licence and origin."""
    inference = settings["inference"]
    decoders = [{"type": "Decoder", "net": net} for net in ("flow", "decoder")]
    length_scale = float(inference["length_scale"])
    upsampler = {
        "type": "Upsampler",
        "tensors": ["mean", "log_std"],
        "rounding": "ceil",
        "length_scale": length_scale,
    }
    limiter = {"type": "Limiter", "gain_db": gain_db, "ceiling_db": CEILING_DB}
    return {
        "format": 1,
        "name": name,
        "version": "1.0.0",
        "gives": "audio",
        "languages": _languages(settings),
        "licence": "unknown",
        "origin": {},
        "audio": {"sample_rate": int(settings["audio"]["sample_rate"])},
        "mel": None,
        "text": text,
        "controls": _controls(parts, settings),
        "nets": {key: {"file": f"nets/{key}.onnx", **net.spec} for key, net in parts.nets.items()},
        "stack": [
            {
                "type": "StreamablePipeline",
                "sequence_block": {"type": "Encoders"},
                "streamable_block": {"type": "StreamableStack", "stack": [upsampler, *decoders, limiter]},
            }
        ],
        "vocoder": None,
        "profiles": {},
        "golden": {},
        "files": {},
    }


def _controls(parts: VitsParts, settings: Json) -> Json:
    inference = settings["inference"]
    controls: Json = {
        "speed": {"default": 1.0, "min": 0.5, "max": 2.0},
        "noise": {"default": float(inference["noise_scale"]), "min": 0.0, "max": 2.0},
    }
    if "noise_w" in parts.nets["duration"].spec["inputs"]:
        controls["noise_w"] = {"default": float(inference["noise_w"]), "min": 0.0, "max": 2.0}
    if parts.marks.speaker is not None:
        names = {str(name): int(number) for name, number in (settings.get("speaker_id_map") or {}).items()}
        controls["speaker"] = {
            "default": 0,
            "min": 0,
            "max": parts.speakers - 1,
            "dtype": "int64",
            "choices": {name: number for name, number in names.items() if 0 <= number < parts.speakers},
        }
    return controls


def _read_settings(path: Path) -> Json:
    """Read a voice's JSON and fill in what old files leave out."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImporterError("no such file; a Piper voice comes with a JSON config", where=str(path)) from None
    except ValueError as error:
        raise ImporterError(f"not JSON: {error}", where=str(path)) from error
    for key, inner in (("audio", "sample_rate"), ("phoneme_id_map", None)):
        value = settings.get(key) if isinstance(settings, dict) else None
        if not isinstance(value, dict) or (inner and inner not in value):
            name = f"{key}.{inner}" if inner else key
            raise ImporterError(f"'{name}' is missing; is this the config of a Piper voice?", where=str(path))
    return {
        **settings,
        "inference": {
            "noise_scale": 0.667,
            "length_scale": 1.0,
            "noise_w": 0.8,
            **settings.get("inference", {}),
        },
    }


def _front_end(settings: Json, *, where: str) -> Json:
    """Return the `text` entry: which front end makes phonemes, and their ids."""
    kind = settings.get("phoneme_type") or "espeak"
    if kind not in FRONT_ENDS:
        known = ", ".join(sorted(FRONT_ENDS))
        raise ImporterError(f"phoneme_type '{kind}' has no front end here; known: {known}", where=where)
    ids = {
        symbol: [int(number) for number in numbers] for symbol, numbers in settings["phoneme_id_map"].items()
    }
    missing = [symbol for symbol in (START, END, SPACER) if symbol not in ids]
    if missing:
        raise ImporterError(f"phoneme_id_map lacks {missing}, which frame every sentence", where=where)
    text: Json = {"type": FRONT_ENDS[kind]}
    if kind == "espeak":
        voice = (settings.get("espeak") or {}).get("voice")
        if not voice:
            raise ImporterError("'espeak.voice' is missing", where=where)
        text["voice"] = voice
    text |= {"phoneme_ids": ids, "start": START, "end": END, "spacer": SPACER}
    if _languages(settings)[:1] and _languages(settings)[0].startswith("en"):
        text["normalise"] = "en"
    return text


def _languages(settings: Json) -> list[str]:
    code = (settings.get("language") or {}).get("code") or (settings.get("espeak") or {}).get("voice")
    return [str(code).replace("_", "-")] if code else []


def _licence(card: Path) -> str:
    """Return what a model card beside the voice says, or "unknown"."""
    if not card.is_file():
        return "unknown"
    stated = re.search(
        r"^\W*licen[cs]e\W*:\W*(.+?)\s*$", card.read_text(encoding="utf-8"), re.IGNORECASE | re.MULTILINE
    )
    return stated.group(1) if stated else "unknown"


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    if not slug:
        raise ImporterError(f"'{name}' makes no addon name; choose a folder name with letters or digits")
    return slug


def _pair(context: list[int]) -> tuple[int, int]:
    return context[0], context[1]
