"""Addons are found by name or path; a broken one stops no other, and none takes its place unsaid."""

import shutil
from pathlib import Path

import pytest

import make_tone
import voxstack
from voxstack.core.errors import AddonError, ConfigError, RequestError
from voxstack.engine.library import find_addon, folders, installed
from voxstack.stack.addon import addon_paths, pack

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_other_addons")]

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(ADDONS, tmp_path / "addons")


def test_a_broken_addon_never_stops_the_others(tmp_path):
    folder = make_tone.make_tone(tmp_path / "tone")
    make_tone.make_tone_vocoder(tmp_path / "vocoder")
    pack(folder, tmp_path / "zipped.voxaddon")
    (tmp_path / "torn.voxaddon").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "empty.voxaddon").write_bytes(b"")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "addon.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "addon.json").symlink_to("/no/where")
    (tmp_path / "not an addon").mkdir()
    (tmp_path / "notes.txt").write_text("?")
    good, faults = installed([tmp_path])
    assert set(good) == {"tone", "tone-vocoder"}
    assert {path.removeprefix(f"{tmp_path}/"): type(error) for path, error in faults.items()} == {
        "torn.voxaddon": AddonError,
        "empty.voxaddon": AddonError,
        "garbage": ConfigError,
        "dangling": AddonError,
        "zipped.voxaddon": AddonError,
    }
    hidden = faults[str(tmp_path / "zipped.voxaddon")]
    assert str(hidden) == f"{tmp_path}/zipped.voxaddon: 'tone' is hidden by {folder}"


def test_a_broken_copy_of_a_voice_does_not_hide_the_good_one(folder):
    shutil.copytree(folder / "tone", folder / "old-tone")
    (folder / "old-tone" / "nets" / "text.onnx").unlink()
    assert find_addon("tone", [folder]).files.where == str(folder / "tone")
    shutil.move(folder / "tone", folder / "z-tone")
    assert find_addon("tone", [folder]).files.where == str(folder / "z-tone")


def test_a_voice_of_which_no_copy_loads_tells_why(folder):
    (folder / "tone" / "nets" / "text.onnx").unlink()
    with pytest.raises(AddonError, match=r"file 'nets/text\.onnx' is listed but missing"):
        find_addon("tone", [folder])


def test_earlier_folders_come_first(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder / "tone", other / "tone")
    assert find_addon("tone", [other, folder]).files.where == str(other / "tone")


def test_a_broken_voice_is_never_replaced_by_one_of_a_later_folder(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder / "tone", other / "tone")
    (other / "tone" / "nets" / "text.onnx").unlink()
    with pytest.raises(AddonError, match=rf"^{other}/tone: file 'nets/text\.onnx' is listed but missing"):
        find_addon("tone", [other, folder])
    good, faults = installed([other, folder])
    assert "tone" not in good
    assert "tone-vocoder" in good
    assert "is listed but missing" in str(faults[str(other / "tone")])
    assert str(faults[str(folder / "tone")]) == (
        f"{folder}/tone: 'tone' is hidden by {other}/tone, which does not load; mend or remove that one"
    )


def test_a_vocoder_that_is_missing_is_told_with_the_voice_that_wants_it(folder):
    shutil.rmtree(folder / "tone-vocoder")
    with pytest.raises(RequestError) as caught:
        voxstack.load("tone", folders=[folder])
    assert str(caught.value).startswith(
        "vocoder: no vocoder 'tone-vocoder', which 'tone' wants: no vocoder is installed; looked in "
    )


def test_one_folder_need_not_be_a_list(folder):
    assert voxstack.load("tone", folders=folder).name == "tone"
    assert voxstack.load("tone", folders=str(folder)).name == "tone"


@pytest.mark.parametrize(
    ("name", "message"), [("", "voice: got an empty name"), (".", "no voice '.'"), ("/", "addon.json")]
)
def test_names_that_name_nothing_are_refused(name, message, folder):
    with pytest.raises((RequestError, AddonError), match=message):
        find_addon(name, [folder])


def test_a_folder_that_is_not_there_holds_no_addons(tmp_path):
    assert addon_paths(tmp_path / "no") == []
    assert installed([tmp_path / "no"]) == ({}, {})


def test_who_has_no_home_has_no_addons_of_his_own(folder, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert folders([folder]) == [folder, Path("addons")]
    assert find_addon("tone", [folder]).name == "tone"
