"""An addon is loaded from a folder or a zip, sealed, packed; a broken one stops no other."""

import json
import shutil
import zipfile

import numpy as np
import pytest

import make_tone
from voxstack.core.errors import ConfigError, VoxstackError
from voxstack.core.streams import EVERYTHING
from voxstack.stack.addon import load_addon, pack, seal

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tone, tmp_path):
    """A copy of the tone addon to break."""
    return shutil.copytree(tone("two"), tmp_path / "tone")


def edit(folder, **keys):
    manifest = folder / "addon.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **keys}))


def fault(action, *arguments) -> str:
    with pytest.raises(VoxstackError) as caught:
        action(*arguments)
    return str(caught.value)


def test_a_folder_is_loaded_and_every_file_verified(folder):
    addon = load_addon(folder)
    assert addon.name == "tone"
    assert set(addon.specs) == {"text", "durations", "decoder"}
    addon.verify()


def test_a_request_brings_ids_seed_and_the_controls(folder):
    assert {name: port.dtype for name, port in load_addon(folder).request.items()} == {
        "ids": "int64",
        "seed": "int64",
        "utterance": "int64",
        "speed": "float32",
    }


def test_a_control_may_not_be_called_ids(folder):
    edit(folder, controls={"ids": {"default": 1}})
    assert (
        fault(load_addon, folder) == f"{folder}/addon.json: $.controls.ids: 'ids' is not free for a control"
    )


def test_the_frame_rate_is_exact(folder):
    assert load_addon(folder).frame_rate == 100
    mel = {**make_tone.MEL, "hop": 256, "sample_rate": 22050}
    edit(folder, mel=mel, audio={"sample_rate": 22050})
    assert str(load_addon(folder).frame_rate) == "11025/128"


def test_without_mels_the_frame_rate_follows_from_the_hops(tone):
    addon = load_addon(tone("vocoder"))
    without = addon.config.model_copy(update={"mel": None})
    assert type(addon)(without, addon.files).frame_rate == 100


def test_a_file_that_was_changed_is_refused(folder):
    net = folder / "nets" / "text.onnx"
    data = net.read_bytes()
    net.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    addon = load_addon(folder)
    message = fault(addon.verify)
    assert message.startswith(f"{folder}: file 'nets/text.onnx' has sha256:")
    assert message.endswith("… is listed; it was changed or damaged")
    addon.read("nets/decoder.onnx")


def test_a_file_that_is_not_listed_is_refused(folder):
    (folder / "extra.txt").write_text("?")
    assert fault(load_addon, folder) == (
        f"{folder}: file 'extra.txt' is not listed under 'files', so nothing vouches for it; "
        "take it away or seal the addon again"
    )


def test_a_file_that_is_missing_is_refused(folder):
    (folder / "nets" / "text.onnx").unlink()
    assert fault(load_addon, folder) == f"{folder}: file 'nets/text.onnx' is listed but missing"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nets/other.onnx", "'nets/other.onnx' is not listed under 'files'; seal the addon again"),
        ("../text.onnx", "file name '../text.onnx' climbs out of the addon"),
        ("/etc/passwd", "file name '/etc/passwd' is absolute; names are relative to the addon"),
        ("nets/text.bin", "got 'nets/text.bin'; a net is an .onnx file, that is all that is looked into"),
    ],
)
def test_a_net_s_file_must_be_a_listed_onnx_file_of_the_addon(folder, file, message):
    nets = json.loads((folder / "addon.json").read_text())["nets"]
    edit(folder, nets={**nets, "text": {**nets["text"], "file": file}})
    assert fault(load_addon, folder) == f"{folder}/addon.json: $.nets.text.file: {message}"


def test_an_unknown_format_is_refused(folder):
    edit(folder, format=9, new_in_9=True)
    assert fault(load_addon, folder) == (
        f"{folder}/addon.json: $.format: got format 9; this voxstack reads format 1; "
        "update voxstack, or import the model again"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '"addon"', "null"])
def test_json_that_is_no_addon_is_refused(folder, text):
    (folder / "addon.json").write_text(text)
    assert fault(load_addon, folder).startswith(f"{folder}/addon.json: ")
    assert fault(seal, folder).startswith(f"{folder}/addon.json: ")


def test_a_place_without_an_addon_is_refused(tmp_path):
    assert fault(load_addon, tmp_path) == f"{tmp_path}: there is no addon.json in it, so it is no addon"
    assert fault(load_addon, tmp_path / "no") == f"{tmp_path}/no: there is no such folder or file"


def test_sealing_lists_every_file_and_makes_the_addon_loadable(folder):
    (folder / "LICENCE").write_text("do as you like")
    seal(folder)
    addon = load_addon(folder)
    assert set(addon.config.files) == {
        "LICENCE",
        "nets/decoder.onnx",
        "nets/durations.onnx",
        "nets/text.onnx",
    }
    assert addon.read("LICENCE") == b"do as you like"


def test_sealing_refuses_what_loading_would_refuse(folder):
    (folder / "weights.pkl").write_bytes(b"")
    assert fault(seal, folder) == (
        f"{folder}: file 'weights.pkl' can run code when it is read (a pickle, a library, a script), "
        "so it never is; remove it"
    )


def test_sealing_a_folder_without_json_is_refused(tmp_path):
    assert fault(seal, tmp_path) == f"{tmp_path}: file 'addon.json' cannot be read: No such file or directory"


def test_a_packed_addon_loads_and_speaks_the_same(folder, tmp_path, wire_addon, request_tensors):
    packed = pack(folder, tmp_path)
    assert packed == tmp_path / "tone-1.0.0.voxaddon"
    assert not list(tmp_path.glob("*.partial"))
    tensors = request_tensors([1, 2, 3])
    one, two = (wire_addon(path).open(tensors, None).read(EVERYTHING)["mel"] for path in (folder, packed))
    np.testing.assert_array_equal(one, two)


def test_packing_gives_the_same_bytes_every_time(folder, tmp_path):
    first = pack(folder, tmp_path / "first.voxaddon").read_bytes()
    for path in folder.rglob("*"):
        path.touch()
        path.chmod(0o700)
    assert pack(folder, tmp_path / "second.voxaddon").read_bytes() == first
    assert pack(tmp_path / "first.voxaddon", tmp_path / "third.voxaddon").read_bytes() == first


def test_a_pack_is_small(folder, tmp_path):
    with zipfile.ZipFile(pack(folder, tmp_path)) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_packing_a_broken_addon_leaves_nothing_behind(folder, tmp_path):
    (folder / "nets" / "text.onnx").write_bytes(b"")
    assert "it was changed or damaged" in fault(pack, folder, tmp_path / "out.voxaddon")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tone"]


def test_a_pack_may_not_lie_in_what_it_packs(folder):
    assert fault(pack, folder, folder) == (
        f"{folder}/tone-1.0.0.voxaddon: the pack would lie inside the addon that it packs; "
        "choose another place"
    )
    load_addon(folder)


def test_mels_of_another_rate_than_the_audio_s_are_refused(folder):
    edit(folder, audio={"sample_rate": 22050})
    with pytest.raises(ConfigError) as caught:
        load_addon(folder)
    assert str(caught.value).endswith(
        "$: audio.sample_rate is 22050, but its mels are made for 16000 Hz; want the same"
    )
