"""A vocoder checkpoint becomes an addon that makes the library's samples, streamed or whole."""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstack.core.errors import ImporterError
from voxstack.core.ports import MelFormat, Port
from voxstack.importers.checkpoint import import_sources, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.hifigan import import_checkpoint, mel_of, vocoder_net
from voxstack.importers.writing import AddonReport
from voxstack.stack.addon import load_addon
from voxstack.testing import check_streamable

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "voxstack[transformers]"')
transformers = pytest.importorskip(
    "transformers", reason='transformers is not installed: pip install "voxstack[transformers]"'
)

SHAPE = {
    "upsample_initial_channel": 32,
    "upsample_rates": [4, 4],
    "upsample_kernel_sizes": [8, 8],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "model_in_dim": 12,
}
FORMAT = {
    "sample_rate": 16000,
    "hop": 16,
    "bands": 12,
    "fmin": 80.0,
    "fmax": 7600.0,
    "log": "10",
    "normalisation": "none",
}


def loud(model: Any, *, seed: int) -> Any:
    """Give random weights of a size that lets signals through, so that differences can be seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 3:
                read = weight.shape[0] * 2 if "upsampler" in name else weight.shape[1] * weight.shape[2]
                weight.normal_(0, read**-0.5, generator=generator)
            else:
                weight.normal_(0, 0.1, generator=generator)
        model.mean.normal_(-2, 0.5, generator=generator)
        model.scale.uniform_(0.5, 2, generator=generator)
    return model.eval()


@dataclass(frozen=True)
class Imported:
    model: Any
    folder: Path
    addon: Path
    report: AddonReport

    def mel(self, frames: int) -> np.ndarray:
        noise = np.random.default_rng(frames).standard_normal((frames, 12)).astype(np.float32)
        return noise * self.model.scale.numpy() + self.model.mean.numpy()

    def samples(self, mel: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.model(torch.from_numpy(mel)).numpy()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    root = tmp_path_factory.mktemp("checkpoints")
    model = loud(transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**SHAPE)), seed=1)
    model.save_pretrained(root / "hifigan")
    report = import_sources([root / "hifigan"], root / "addons" / "universal-16k")
    assert isinstance(report, AddonReport)
    return Imported(model, root / "hifigan", root / "addons" / "universal-16k", report)


def context(imported: Imported) -> tuple[int, int]:
    ragged = load_addon(imported.addon).config.nets["vocoder"].ragged
    assert ragged is not None
    return ragged.context


def wired(imported: Imported, wire_addon: Any) -> Any:
    mel = MelFormat(**FORMAT)
    source = {"mel": Port("mel", "float32", ("frames", 12), Fraction(1000), mel)}
    return wire_addon(imported.addon, source=source).blocks[0]


def test_the_addon_is_a_vocoder_of_the_checkpoints_mels(imported: Imported) -> None:
    config = load_addon(imported.addon).config

    assert (config.takes, config.gives, config.audio.sample_rate) == ("mel", "audio", 16000)
    assert config.mel is not None
    assert config.mel.model_dump() == FORMAT
    assert config.origin["family"] == "transformers"
    assert config.origin["model_type"] == "speecht5_hifigan"


def test_the_report_says_context_and_parity(imported: Imported) -> None:
    lines = dict(imported.report.lines())

    assert lines["mel"] == "12 bands, 16000 Hz, 16 samples a frame"
    assert lines["context"].startswith("vocoder ")
    left, right = context(imported)
    assert lines["context"] == f"vocoder {left} | {right} frames"
    assert (left, right) == (8, 8)
    assert imported.report.differences["vocoder"] < 1e-5


@pytest.mark.parametrize("frames", [1, 2, 9, 150])
def test_streamed_or_whole_it_makes_the_librarys_samples(
    imported: Imported, wire_addon: Any, frames: int
) -> None:
    """One shorter than its context, of 16 frames, sounds as if its last frame went on."""
    mel = imported.mel(frames)
    longer = np.concatenate([mel, np.repeat(mel[-1:], max(16 - frames, 0), axis=0)])
    samples = imported.samples(longer)[: 16 * frames]

    assert np.abs(samples).max() > 0.1
    check_streamable(
        wired(imported, wire_addon),
        tensors={},
        source={"mel": mel},
        cuts=[[16, 33], [700, 5, 64]],
        expected={"samples": samples},
        tolerance=1e-5,
    )


def test_one_frame_less_of_context_would_be_heard(imported: Imported) -> None:
    """The measured context is the least: a sample near a window's end still depends on its last frame."""
    left, right = context(imported)
    mel = imported.mel(2 * (left + right) + 1)
    place = left + right
    first, last = mel.copy(), mel.copy()
    first[place - left] += 1
    last[place + right] += 1
    beyond = mel.copy()
    beyond[place + right + 1 :] += 1
    beyond[: place - left] += 1
    frame = slice(16 * place, 16 * place + 16)

    whole = imported.samples(mel)[frame]
    assert np.abs(imported.samples(first)[frame] - whole).max() > 0
    assert np.abs(imported.samples(last)[frame] - whole).max() > 0
    assert np.abs(imported.samples(beyond)[frame] - whole).max() == pytest.approx(0, abs=1e-6)


def test_a_vocoder_may_take_mels_as_they_are(imported: Imported) -> None:
    config = transformers.SpeechT5HifiGanConfig(**SHAPE, normalize_before=False)
    model = loud(transformers.SpeechT5HifiGan(config), seed=2)

    net, difference = vocoder_net(model)

    assert difference < 1e-5
    assert not any(node.op_type in ("Sub", "Div") for node in net.model.graph.node)


def test_the_librarys_other_vocoder_goes_the_same_way() -> None:
    config = transformers.FastSpeech2ConformerHifiGanConfig(**SHAPE)
    _, difference = vocoder_net(loud(transformers.FastSpeech2ConformerHifiGan(config), seed=3))

    assert difference < 1e-5


def test_bands_come_from_the_feature_extractor_beside_it(imported: Imported, tmp_path: Path) -> None:
    imported.model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"fmin": 55, "fmax": 7000}')
    checkpoint = read_checkpoint(tmp_path)

    mel = mel_of(checkpoint, imported.model.config)

    assert (mel["fmin"], mel["fmax"]) == (55.0, 7000.0)


def test_a_checkpoint_without_some_weights_is_refused(imported: Imported, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    imported.model.save_pretrained(tmp_path / "hifigan")
    weights = tmp_path / "hifigan" / "model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if name != "conv_post.bias"}
    save_file(kept, weights, {"format": "pt"})

    with pytest.raises(ImporterError) as caught:
        import_checkpoint(tmp_path / "hifigan", tmp_path / "out")

    assert str(caught.value) == (
        f"{tmp_path / 'hifigan'}: the weights do not fit config.json, "
        "in 1 tensors of SpeechT5HifiGan: 'conv_post.bias' is missing; "
        "want the checkpoint of such a model, whole"
    )
    assert not (tmp_path / "out").exists()


def test_weights_of_another_shape_are_refused(imported: Imported, tmp_path: Path) -> None:
    imported.model.save_pretrained(tmp_path / "hifigan")
    config = tmp_path / "hifigan" / "config.json"
    wider = config.read_text().replace('"upsample_initial_channel": 32', '"upsample_initial_channel": 64')
    config.write_text(wider)

    with pytest.raises(
        ImporterError,
        match=r"'conv_post.weight' is \[1, 8, 7\], want \[1, 16, 7\]",
    ):
        import_checkpoint(tmp_path / "hifigan", tmp_path / "out")


def test_damaged_weights_are_refused(imported: Imported, tmp_path: Path) -> None:
    imported.model.save_pretrained(tmp_path / "hifigan")
    weights = tmp_path / "hifigan" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])

    with pytest.raises(ImporterError, match=r"hifigan: its weights are damaged: .*; fetch them anew"):
        import_checkpoint(tmp_path / "hifigan", tmp_path / "out")


def test_a_config_of_wrong_types_is_refused_with_what_is_wrong(imported: Imported, tmp_path: Path) -> None:
    imported.model.save_pretrained(tmp_path / "hifigan")
    config = tmp_path / "hifigan" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "upsample_rates": "abc"}))

    with pytest.raises(ImporterError, match=r"cannot be loaded: .*'upsample_rates'.* 'abc'") as caught:
        import_checkpoint(tmp_path / "hifigan", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_config_that_makes_no_addon_is_refused(imported: Imported, tmp_path: Path) -> None:
    imported.model.save_pretrained(tmp_path / "hifigan")
    config = tmp_path / "hifigan" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sampling_rate": 0}))

    with pytest.raises(ImporterError) as caught:
        import_sources([tmp_path / "hifigan"], tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'hifigan'}: no addon can be made of it: "
        "$.audio.sample_rate: got 0; input should be greater than 0"
    )
    assert not (tmp_path / "out").exists()


def test_the_advice_on_pickles_makes_a_checkpoint_that_can_be_imported(
    imported: Imported, tmp_path: Path
) -> None:
    folder = tmp_path / "hifigan"
    imported.model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(imported.model.state_dict(), folder / "pytorch_model.bin")

    with pytest.raises(ImporterError, match="its weights are a pickle") as caught:
        import_checkpoint(folder, tmp_path / "out")
    advice = shlex.split(str(caught.value).partition(": python ")[2])
    subprocess.run([sys.executable, *advice], cwd=folder, check=True)

    model = load_model(read_checkpoint(folder), "SpeechT5HifiGan")
    assert torch.equal(model.conv_post.weight, imported.model.conv_post.weight)
    assert torch.equal(model.mean, imported.model.mean)
