"""An addon that breaks on disk is told of in one line, changes nobody's speech, and is back once mended."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import make_tone
from voxstack.core.errors import BusyError
from voxstack.server.upkeep import Upkeep
from voxstack.stack.addon import pack
from voxstack.stack.files import sha256_of

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def own_voices(voices, tmp_path):
    """A copy of the voices that a test may change."""
    return shutil.copytree(voices, tmp_path / "own")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work where there are no other addons, and look at them all the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("voxstack.server.running.LOOK_S", 0.02)


@pytest.fixture
def looked(monkeypatch, until):
    """Return what waits until a server has looked at its addons three times more."""
    looks = []
    look = Upkeep.reload

    def counted(upkeep):
        try:
            look(upkeep)
        finally:
            looks.append(upkeep)

    monkeypatch.setattr(Upkeep, "reload", counted)

    def wait():
        before = len(looks)
        until(lambda: len(looks) >= before + 3)

    return wait


def touch(folder):
    """Let an addon's time be another than before."""
    stamp = time.time_ns() + 5_000_000_000
    os.utime(folder / "addon.json", ns=(stamp, stamp))


def truncated(folder):
    whole = pack(folder, folder.parent / "whole.voxaddon")
    (folder.parent / "new.voxaddon").write_bytes(whole.read_bytes()[:-500])
    whole.unlink()
    shutil.rmtree(folder)


def garbage_net(folder):
    next(folder.rglob("*.onnx")).write_bytes(b"no net at all" * 50)
    seal_blindly(folder)


def seal_blindly(folder):
    """List the files as they are, whatever they hold."""
    config = json.loads((folder / "addon.json").read_text())
    config["files"] = {name: sha256_of((folder / name).read_bytes()) for name in config["files"]}
    (folder / "addon.json").write_text(json.dumps(config))


def invalid_json(folder):
    (folder / "addon.json").write_text('{"name": "new", "stack": [')


def unknown_key(folder):
    config = json.loads((folder / "addon.json").read_text())
    (folder / "addon.json").write_text(json.dumps(config | {"stak": []}))


def other_inputs(folder):
    config = json.loads((folder / "addon.json").read_text())
    net = next(net for net in config["nets"].values() if net["role"] == "decoder")
    [name] = [name for name in net["inputs"] if name == "mel"] or list(net["inputs"])[:1]
    net["inputs"]["sound"] = net["inputs"].pop(name)
    (folder / "addon.json").write_text(json.dumps(config))


def half_copied(folder):
    next(folder.rglob("*.onnx")).unlink()


def half_a_file(folder):
    for net in folder.rglob("*.onnx"):
        net.write_bytes(net.read_bytes()[: net.stat().st_size // 2])


def dangling(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent / "nowhere")


BREAKS = [
    truncated,
    garbage_net,
    invalid_json,
    unknown_key,
    other_inputs,
    half_copied,
    half_a_file,
    dangling,
]


def faults_of(served):
    return json.loads(served.ask("/status")[1])["faults"]


def lines_of(caplog, event):
    found = [json.loads(record.getMessage()) for record in caplog.records if record.name == "voxstack"]
    return [line for line in found if line["event"] == event]


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
def test_a_new_one_that_is_broken_is_told_and_comes_once_it_is_good(
    serve, own_voices, looked, until, caplog, tmp_path, monkeypatch, spoil
):
    served = serve(own_voices, watch=True)
    wanted = served.say()[1]
    monkeypatch.setattr(make_tone, "LOUDNESS", 0.125)  # with a net that no other voice has
    make_tone.make_tone(tmp_path / "new", name="new")
    good = shutil.copytree(tmp_path / "new", tmp_path / "good")
    spoil(tmp_path / "new")
    [bad] = tmp_path.glob("new*")
    with caplog.at_level("INFO", "voxstack"):
        bad.rename(own_voices / bad.name)
        until(lambda: faults_of(served))
        assert served.say()[1] == wanted
        [(name, why)] = faults_of(served).items()
        assert name == bad.name
        until(lambda: lines_of(caplog, "addon"))
        assert served.ask("/ready")[:2] == (200, b'{"status":"ready","faults":1}')
        assert served.metric(f'voxstack_addon_fault{{addon="{name}"}}') == 1
        looked()
        [line] = lines_of(caplog, "addon")
        assert (line["level"], line["voice"]) == ("ERROR", name)
        assert line["error"] == why
        assert "\n" not in why
        assert line["remedy"].endswith("it is loaded at the next look")
        remove(own_voices / bad.name)
        good.rename(own_voices / "new")
        until(lambda: served.say(voice="new")[0] == 200)
        until(lambda: not faults_of(served))
    assert served.ask("/ready")[1] == b'{"status":"ready"}'
    assert lines_of(caplog, "addon")[-1] | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "event": "addon",
        "voice": name,
        "mended": True,
    }
    assert served.say()[1] == wanted


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("folder", ["tone", "of-another-name"])
@pytest.mark.parametrize("spoil", BREAKS[1:], ids=lambda spoil: spoil.__name__)
def test_one_that_breaks_while_it_is_in_use_speaks_on_as_it_was(
    serve, own_voices, looked, until, caplog, spoil, folder
):
    addon = (own_voices / "tone").rename(own_voices / folder)
    served = serve(own_voices, watch=True)
    wanted, other = served.say()[1], served.say(voice="quiet")[1]
    shutil.copytree(addon, own_voices.parent / "good")
    with caplog.at_level("INFO", "voxstack"):
        spoil(addon)
        until(lambda: faults_of(served))
        looked()
        assert list(faults_of(served)) == [folder]
        assert served.say()[1] == wanted
        assert served.say(voice="quiet")[1] == other
        assert len(lines_of(caplog, "addon")) == 1
        remove(addon)
        (own_voices.parent / "good").rename(addon)
        touch(addon)
        # It may be looked at just before it is back, and is gone then until the next look.
        until(lambda: not faults_of(served) and served.say()[1] == wanted)


def test_what_nobody_may_read_is_told_and_comes_once_it_may_be(serve, own_voices, until, monkeypatch):
    """As for a user without privileges, whom tests may not be."""
    served = serve(own_voices, watch=True)
    wanted = served.say()[1]
    lstat, read_bytes = os.lstat, Path.read_bytes

    def refused(path, *args, **more):
        if str(path).endswith("tone/addon.json"):
            raise PermissionError(13, "Permission denied")
        return lstat(path, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", refused)
        patched.setattr("pathlib.Path.read_bytes", lambda path: os.lstat(path) and read_bytes(path))
        touch(own_voices / "quiet")
        touch(own_voices / "tone")
        until(lambda: "tone" in faults_of(served))
        assert "Permission denied" in faults_of(served)["tone"]
        assert served.say()[1] == wanted
    touch(own_voices / "quiet")
    until(lambda: not faults_of(served))
    assert served.say()[1] == wanted


def test_a_folder_that_cannot_be_looked_into_is_told_once_and_looked_into_again(
    serve, own_voices, looked, until, monkeypatch, caplog
):
    served = serve(own_voices, watch=True)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    with caplog.at_level("INFO", "voxstack"):
        with monkeypatch.context() as patched:
            patched.setattr("voxstack.engine.library.addon_paths", refused)
            until(lambda: "Permission denied" in faults_of(served).get("addons", ""))
            looked()
            assert served.say()[0] == 200
        [line] = lines_of(caplog, "addon")
        assert "Permission denied" in line["error"]
        make_tone.make_tone(own_voices / "third", name="third")
        until(lambda: served.say(voice="third")[0] == 200)
        until(lambda: not faults_of(served))


def test_a_voice_that_breaks_a_library_does_not_end_the_watch(serve, own_voices, until, monkeypatch):
    served = serve(own_voices, watch=True)
    monkeypatch.setattr("voxstack.engine.voices.open_voice", broken)
    touch(own_voices / "tone")
    until(lambda: "tone" in faults_of(served))
    assert "ZeroDivisionError" in faults_of(served)["tone"]
    monkeypatch.undo()
    touch(own_voices / "quiet")
    until(lambda: not faults_of(served))


def test_what_finds_no_memory_is_told_and_tried_again(serve, own_voices, until, monkeypatch):
    served = serve(own_voices, watch=True)
    voices = served.service.voices
    reload = voices.reload
    full = BusyError("it needs 1.0 MB more", where="tone", retry_after_s=5.0)
    tries = []

    def first_full(name):
        tries.append(name)
        if len(tries) == 1:
            raise full
        reload(name)

    with monkeypatch.context() as patched:
        patched.setattr(voices, "reload", first_full)
        touch(own_voices / "tone")
        until(lambda: tries == ["tone", "tone"])
        until(lambda: not faults_of(served))
    assert served.say()[0] == 200


def broken(*args, **more):
    raise ZeroDivisionError("of a library")


def test_one_that_is_broken_from_the_start_is_told_too(serve, own_voices, caplog, tmp_path):
    make_tone.make_tone(own_voices / "new", name="new")
    garbage_net(own_voices / "new")
    with caplog.at_level("INFO", "voxstack"):
        served = serve(own_voices)
    [line] = lines_of(caplog, "addon")
    assert line["voice"] == "new"
    assert faults_of(served) == {"new": line["error"]}
