"""What cannot be imported is refused in one line that names it, and nothing is left or lost by it."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from voxstack.core.errors import ImporterError
from voxstack.importers import destination, piper_config
from voxstack.importers.destination import new_addon
from voxstack.importers.piper import import_piper, import_sources
from voxstack.importers.piper_config import check_espeak, check_ids, read_config

pytestmark = pytest.mark.unit

SETTINGS: dict[str, Any] = {
    "audio": {"sample_rate": 22050},
    "phoneme_type": "text",
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [3, 7]},
}
ORIGIN = {"family": "piper", "source": "a.onnx", "sha256": "aa"}
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_random_vits.py"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX file that is no voice, with the JSON of one beside it."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path / "voice.onnx"
    onnx.save(helper.make_model(graph), str(path))
    write_config(path)
    return path


def write_config(model: Path, **changes: Any) -> Path:
    path = model.with_name(model.name + ".json")
    path.write_text(json.dumps({**SETTINGS, **changes}), encoding="utf-8")
    return path


def refusal(model: Path, out: Path) -> str:
    before = sorted(model.parent.rglob("*"))
    with pytest.raises(ImporterError) as caught:
        import_piper(model, None, out)
    assert sorted(model.parent.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_addon(folder: Path, *, name: str = "joe", origin: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    manifest = {
        "name": name,
        "origin": ORIGIN if origin is None else origin,
        "files": {"net.onnx": "sha256:"},
    }
    (folder / "addon.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "net.onnx").write_bytes(b"old")
    return folder


def replace_addon(out: Path) -> None:
    with new_addon(out, name="joe", origin=ORIGIN) as folder:
        (folder / "new").write_bytes(b"new")


# The model


def test_a_model_of_another_kind_is_named(model: Path) -> None:
    assert refusal(model, model.with_name("out")) == (
        f"{model}: does not look like a VITS voice: found 0 first upsampling convolutions, want one; "
        "is the decoder a HiFi-GAN?"
    )


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.onnx", tmp_path / "out") == f"{tmp_path}/no.onnx: there is no such file"


def test_a_model_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, tmp_path / "out") == f"{tmp_path}: is a folder; want the .onnx file"


def test_an_empty_model_is_refused(model: Path) -> None:
    model.write_bytes(b"")

    assert refusal(model, model.with_name("out")) == f"{model}: not an ONNX model: the file is empty"


def test_a_model_without_operators_is_refused(model: Path) -> None:
    model.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())

    assert refusal(model, model.with_name("out")) == f"{model}: not an ONNX model: it holds no operators"


def test_a_file_of_another_format_is_refused(model: Path) -> None:
    model.write_bytes(b"not a model")
    model.with_name("voice.onnx.json").unlink()

    assert refusal(model, model.with_name("out")).startswith(f"{model}: not an ONNX model: ")


def test_weights_in_another_file_are_refused(model: Path) -> None:
    whole = onnx.load(str(model))
    whole.graph.initializer.add(name="w", data_location=onnx.TensorProto.EXTERNAL)
    model.write_bytes(whole.SerializeToString())

    wanted = f"{model}: its weights lie in another file; want one .onnx file that holds them"
    assert refusal(model, model.with_name("out")) == wanted


def test_more_than_a_model_and_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImporterError) as caught:
        import_sources([tmp_path / name for name in "abc"], tmp_path / "out")

    assert str(caught.value) == f"{tmp_path}/c: got 3 files, want MODEL [CONFIG]"


# The config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inference": {"length_scale": 0}},
            "inference.length_scale: got 0, want a number from 0.1 to 10",
        ),
        ({"inference": {"noise_scale": "x"}}, 'inference.noise_scale: got "x", want a number from 0 to 2'),
        ({"inference": {"noise_w": 9}}, "inference.noise_w: got 9, want a number from 0 to 2"),
        ({"inference": {"noise_w": True}}, "inference.noise_w: got true, want a number from 0 to 2"),
        ({"inference": {"noise_w": None}}, "inference.noise_w: got null, want a number from 0 to 2"),
        (
            {"inference": {"length_scale": float("nan")}},
            "inference.length_scale: got NaN, want a number from 0.1 to 10",
        ),
        ({"inference": [1]}, "inference: got [1], want an object"),
        (
            {"audio": {"sample_rate": "22k"}},
            'audio.sample_rate: got "22k", want a whole number of at least 1',
        ),
        (
            {"speaker_id_map": {"ann": -1}},
            "speaker_id_map.ann: got -1, want a whole number of at least 0",
        ),
        ({"phoneme_id_map": {"a": []}}, "phoneme_id_map.a: got [], want a list of one id or more"),
        ({"phoneme_id_map": {"a": 5}}, "phoneme_id_map.a: got 5, want a list of one id or more"),
        ({"phoneme_id_map": {"a": [1, -4]}}, "phoneme_id_map.a: got -4, want a whole number of at least 0"),
        ({"phoneme_id_map": {"a": ["4"]}}, 'phoneme_id_map.a: got "4", want a whole number of at least 0'),
        ({"phoneme_type": "espeak", "espeak": "de"}, 'espeak: got "de", want an object'),
        (
            {"phoneme_type": "espeak", "espeak": {"voice": 1}},
            "espeak.voice: got 1, want a name such as 'en-us'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(
    changes: dict[str, Any], message: str, model: Path
) -> None:
    config = write_config(model, **changes)

    assert refusal(model, model.with_name("out")) == f"{config}: {message}"


def test_a_config_that_is_a_folder_is_refused(model: Path) -> None:
    config = model.with_name("voice.onnx.json")
    config.unlink()
    config.mkdir()

    assert refusal(model, model.with_name("out")) == f"{config}: cannot be read: Is a directory"


def test_ids_beyond_the_phoneme_table_are_refused(model: Path) -> None:
    config = read_config(write_config(model))
    check_ids(config, 8, where="voice.json")

    with pytest.raises(ImporterError) as caught:
        check_ids(config, 7, where="voice.json")

    assert str(caught.value) == (
        "voice.json: phoneme_id_map.a: got 7, want at most 6, the last row of the model's phoneme table; "
        "is this the config of another voice?"
    )


def test_an_unknown_espeak_voice_is_refused(model: Path) -> None:
    pytest.importorskip("espeakng_loader")
    config = write_config(model, phoneme_type="espeak", espeak={"voice": "xx-nowhere"})

    assert refusal(model, model.with_name("out")) == (
        f"{config}: espeak.voice: espeak-ng has no voice 'xx-nowhere'; "
        "use a language such as 'en-us', 'de' or 'fr-fr'"
    )


def test_without_espeak_its_voice_is_not_looked_at(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config(write_config(model, phoneme_type="espeak", espeak={"voice": "xx-nowhere"}))
    monkeypatch.setattr(piper_config.importlib.util, "find_spec", lambda name: None)

    check_espeak(config, where="voice.json")


# The folder


@pytest.mark.parametrize("place", ["README.md", "README.md/x", "README.md/x/y"])
def test_a_file_in_the_way_is_refused(place: str, model: Path) -> None:
    readme = model.with_name("README.md")
    readme.write_text("mine", encoding="utf-8")
    what = {
        "README.md": "is a file; want a folder for the new addon",
        "README.md/x": f"{readme} is a file; want a folder above the new addon",
        "README.md/x/y": f"{readme} is a file; want a folder above the new addon",
    }

    out = model.parent / place
    assert refusal(model, out) == f"{out}: {what[place]}"


def test_a_parent_that_cannot_be_written_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(options["dir"]))

    monkeypatch.setattr(destination.tempfile, "TemporaryDirectory", refuse)  # root may write anywhere

    out = model.parent / "deep" / "out"
    assert refusal(model, out) == f"{out}: cannot be written: Permission denied"


def test_a_full_disk_leaves_the_old_addon_and_nothing_else(tmp_path: Path) -> None:
    out = write_addon(tmp_path / "joe")

    def fill_the_disk() -> None:
        with new_addon(out, name="joe", origin=ORIGIN) as folder:
            (folder / "half").write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(ImporterError) as caught:
        fill_the_disk()

    assert str(caught.value) == f"{out}: cannot be written: No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["joe"]
    assert (out / "net.onnx").read_bytes() == b"old"


def test_a_renaming_that_fails_brings_the_old_addon_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_addon(tmp_path / "joe")
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ImporterError, match="joe: cannot be written: Input/output error"):
        replace_addon(out)

    assert (out / "net.onnx").read_bytes() == b"old"


def test_two_imports_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "joe"

    with new_addon(out, name="joe", origin=ORIGIN) as first:
        with new_addon(out, name="joe", origin=ORIGIN) as second:
            write_addon(second)
        (first / "late").write_bytes(b"late")

    assert [path.name for path in out.iterdir()] == ["late"]
    assert [path.name for path in out.parent.iterdir()] == ["joe"]


@pytest.mark.parametrize(
    ("name", "origin"), [("joe", {**ORIGIN, "sha256": "bb"}), ("other", ORIGIN), ("joe", ORIGIN)]
)
def test_an_earlier_import_of_the_voice_is_replaced(
    name: str, origin: dict[str, str], tmp_path: Path
) -> None:
    out = write_addon(tmp_path / "joe", name=name, origin=origin)

    replace_addon(out)

    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["joe"]


@pytest.mark.parametrize(
    ("name", "origin", "shown"),
    [
        ("joe", {}, "the addon 'joe' (of no known origin)"),
        ("joe", {**ORIGIN, "family": "tone"}, "the addon 'joe' (tone)"),
        ("ann", {**ORIGIN, "sha256": "bb"}, "the addon 'ann' (piper)"),
    ],
)
def test_another_addon_is_not_replaced(name: str, origin: dict[str, str], shown: str, model: Path) -> None:
    out = write_addon(model.with_name("joe"), name=name, origin=origin)

    assert refusal(model, out) == (
        f"{out}: holds {shown}, which this import did not write; name a new folder or remove it"
    )


@pytest.mark.parametrize("manifest", [True, False])
def test_a_file_that_no_import_wrote_is_not_removed(manifest: bool, model: Path) -> None:
    out = model.with_name("joe")
    if manifest:
        write_addon(out)
    (out / "notes").mkdir(parents=True)
    (out / "notes" / "mine.txt").write_text("mine", encoding="utf-8")

    wanted = "holds 'notes/mine.txt', which this import did not write; name a new folder or remove it"
    assert refusal(model, out) == f"{out}: {wanted}"


def test_a_broken_manifest_is_not_replaced(model: Path) -> None:
    out = model.with_name("joe")
    out.mkdir()
    (out / "addon.json").write_text("{", encoding="utf-8")

    wanted = "holds an unreadable addon.json, which this import did not write; name a new folder or remove it"
    assert refusal(model, out) == f"{out}: {wanted}"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    replace_addon(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["new"]


# The script that makes voices to try this on


def test_the_script_says_that_it_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT))

    assert str(caught.value) == "make_random_vits.py needs PyTorch: pip install 'voxstack[torch]'"


def test_what_the_script_makes_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="random VITS networks are made with PyTorch")
    model = tmp_path / "random.onnx"
    monkeypatch.setattr(sys, "argv", ["make_random_vits.py", str(model), "--speakers", "2"])
    runpy.run_path(str(SCRIPT), run_name="__main__")

    report = import_piper(model, None, tmp_path / "random")

    controls = json.loads((tmp_path / "random" / "addon.json").read_text(encoding="utf-8"))["controls"]
    assert (report.name, report.speakers) == ("random", 2)
    assert controls["speaker"]["choices"] == {"speaker-0": 0, "speaker-1": 1}
