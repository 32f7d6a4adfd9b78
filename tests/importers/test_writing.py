"""What an import made is written as an addon: named, complete, sealed, reported."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet
from voxstack.importers.writing import AddonReport, addon_name, write_addon
from voxstack.stack.addon import load_addon

pytestmark = pytest.mark.unit

MEL: dict[str, Any] = {
    "sample_rate": 16000,
    "hop": 256,
    "bands": 4,
    "fmin": 80.0,
    "fmax": 7600.0,
    "log": "10",
    "normalisation": "none",
}
SAID: dict[str, Any] = {
    "origin": {"family": "toys", "source": "toy", "sha256": "00"},
    "audio": {"sample_rate": 16000},
    "mel": MEL,
    "stack": [{"type": "Vocoder"}],
}
VOCODER: dict[str, Any] = {**SAID, "gives": "audio", "takes": "mel"}


def toy_net(*, chunkable: bool = True, context: tuple[int, int] = (0, 0)) -> CutNet:
    """A vocoder of four bands that gives their first one, one sample a frame."""
    edges = [
        helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["batch", "frames", 4]),
        helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", "frames", 4]),
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["mel"], ["samples"])], "net", edges[:1], edges[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    axes = ["batch", "frames", 4]
    spec = {
        "role": "vocoder",
        "inputs": {"mel": {"dtype": "float32", "axes": axes}},
        "outputs": {"samples": {"dtype": "float32", "axes": axes}},
        "ragged": {"axis": "frames", "chunkable": chunkable, "context": list(context)},
        "state": {},
    }
    return CutNet(model, spec)


def test_an_addon_is_written_whole_with_what_goes_without_saying(tmp_path: Path) -> None:
    out = tmp_path / "Toy Voice!"

    write_addon(out, {"vocoder": toy_net()}, VOCODER)

    addon = load_addon(out)
    addon.verify()
    assert (addon.name, addon.config.licence, addon.config.version) == ("toy-voice", "unknown", "1.0.0")
    assert addon.config.origin == SAID["origin"]
    assert addon.specs["vocoder"].file == "nets/vocoder.onnx"
    assert addon.config.golden is None


def test_a_voice_names_the_vocoder_beside_it_that_takes_its_mels(tmp_path: Path) -> None:
    write_addon(tmp_path / "v", {"vocoder": toy_net()}, VOCODER)
    voice = {**SAID, "gives": "mel"}

    write_addon(tmp_path / "a", {"net": toy_net()}, voice)
    write_addon(tmp_path / "b", {"net": toy_net()}, {**voice, "mel": {**MEL, "hop": 200}})
    write_addon(tmp_path / "c", {"net": toy_net()}, {**voice, "vocoder": "other"})

    named = {name: load_addon(tmp_path / name).config.vocoder for name in "abc"}
    assert named == {"a": "v", "b": None, "c": "other"}


def test_a_voice_in_place_of_a_vocoder_does_not_name_it(tmp_path: Path) -> None:
    write_addon(tmp_path / "v", {"vocoder": toy_net()}, VOCODER)

    write_addon(tmp_path / "v", {"net": toy_net()}, {**SAID, "gives": "mel"})

    assert load_addon(tmp_path / "v").config.vocoder is None


def test_the_report_says_mels_context_vocoder_and_differences(tmp_path: Path) -> None:
    nets = {"decoder": toy_net(chunkable=False), "postnet": toy_net(context=(6, 5))}

    report = write_addon(
        tmp_path / "a",
        nets,
        {**SAID, "gives": "mel"},
        facts=[("text", "letters")],
        differences={"decoder": 2e-7, "postnet": 0.0},
    )

    assert report.lines() == [
        ("addon", f"{tmp_path / 'a'} (a)"),
        ("mel", "4 bands, 16000 Hz, 256 samples a frame"),
        ("context", "decoder all, postnet 6 | 5 frames"),
        ("text", "letters"),
        ("vocoder", 'none beside it takes these mels; set "vocoder" in addon.json when there is one'),
        ("nets vs. model", "decoder 2.0e-07, postnet 0.0e+00 greatest difference"),
    ]


def test_a_report_without_measures_says_none() -> None:
    assert AddonReport(Path("a"), "a").lines() == [("addon", "a (a)")]


def test_an_addons_name_is_its_folders() -> None:
    assert addon_name(Path("addons/My Voice 2")) == "my-voice-2"
    with pytest.raises(ImporterError) as caught:
        addon_name(Path("addons/语音"))
    assert str(caught.value) == "'语音' makes no addon name; choose a folder name with letters or digits"
