"""Make and read an addon's golden sample: audio that it must make again on every machine."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.errors import AddonError
from voxstack.core.ports import Array
from voxstack.core.streams import EVERYTHING
from voxstack.engine.loading import Loaded, load_stack
from voxstack.engine.voice import Voice
from voxstack.stack.addon import Addon, load_addon, seal
from voxstack.stack.config import GoldenConfig
from voxstack.stack.files import MANIFEST
from voxstack.stack.strict import parse_json

__all__ = ["golden_audio", "read_golden", "write_golden"]

FILE = "golden/sample.flac"


def write_golden(
    folder: Path, ids: Sequence[int], controls: Mapping[str, float], *, folders: Sequence[str | Path] = ()
) -> None:
    """Speak `ids` with the sealed addon in `folder`, keep the audio in it, and seal it again."""
    loaded = load_stack(load_addon(folder), folders=folders)
    golden = GoldenConfig(ids=tuple(int(i) for i in ids), controls=dict(controls), audio=FILE)
    samples = golden_audio(loaded, golden)
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, Voice(loaded).sample_rate, format="FLAC", subtype="PCM_24")
    manifest = folder / MANIFEST
    config = parse_json(manifest.read_bytes(), where=str(manifest))
    config["golden"] = golden.model_dump()
    manifest.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    seal(folder)


def golden_audio(loaded: Loaded, golden: GoldenConfig) -> Array:
    """Return what the voice makes of the golden ids and controls, float32 [samples]."""
    voice = Voice(loaded)
    tensors = {
        **voice.tensors(dict(golden.controls)),
        "ids": np.array(golden.ids, np.int64),
        "utterance": np.array(0, np.int64),
    }
    stream = loaded.block.open(tensors, None)
    try:
        return stream.read(EVERYTHING)["samples"]
    finally:
        stream.close()


def read_golden(addon: Addon) -> Array:
    """Return the stored sample, float32 [samples]."""
    golden = addon.config.golden
    if golden is None:
        raise AddonError("there is no golden sample", where=addon.name)
    samples, _ = soundfile.read(io.BytesIO(addon.read(golden.audio)), dtype="float32")
    return samples
