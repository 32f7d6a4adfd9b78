"""Tap: a copy of what flows lies in files, or is heard by who listens."""

import errno
import gc
import os
import resource
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.events import REASON, TAP, listening
from voxstack.core.ports import Port
from voxstack.core.streams import ArrayStream, length
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Tap.v1",)

SAMPLES = {"samples": Port("samples", "float32", ("samples",), Fraction(16000))}
FRAMES = {
    "mel": Port("mel", "float32", ("frames", 3), Fraction(100)),
    "pitch/out": Port("pitch/out", "int64", ("frames",), Fraction(100)),
}
TENSORS = {
    "utterance": Port("utterance", "int64", ()),
    "durations": Port("durations", "int64", ("phonemes",)),
    "speed": Port("speed", "float32", ()),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work where files may be written."""
    monkeypatch.chdir(tmp_path)


def wire(source=SAMPLES, **options):
    return wire_stack([{"type": "Tap", **options}], nets={}, tensors=TENSORS, source=source).blocks[0]


def fault(error, source=SAMPLES, **options) -> str:
    with pytest.raises(error) as caught:
        wire(source, **options)
    return str(caught.value)


def opened(block, chunks, utterance=0):
    tensors = {
        "utterance": np.array(utterance),
        "durations": np.array([4, 0, 6]),
        "speed": np.float32(2) + np.zeros((), np.float32),
    }
    return block.open(tensors, ArrayStream.over(chunks))


def heard_of(block, chunks, *, cut=16, utterance=0):
    heard = []
    stream = opened(block, chunks, utterance)
    with listening(heard.append):
        while length(stream.read(cut)) == cut:
            pass
    stream.close()
    return heard


def sound(steps=100, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, steps).astype(np.float32)


def frames(steps=40):
    return {"mel": np.arange(3 * steps, dtype=np.float32).reshape(steps, 3), "pitch/out": np.arange(steps)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def wav(path):
    return soundfile.read(path, dtype="float32")[0]


@pytest.mark.parametrize("in_files", [True, False])
def test_it_keeps_the_law(in_files, tmp_path):
    options = {"path": str(tmp_path)} if in_files else {}
    tensors = {name: np.zeros((), port.dtype) for name, port in TENSORS.items()}
    check_streamable(wire(**options), tensors=tensors, source={"samples": sound()})


# Files


@pytest.mark.parametrize("cut", [1, 16, 50, 1000])
def test_samples_become_a_wav_file_to_the_bit_however_they_are_cut(cut, tmp_path):
    samples = sound()
    samples[3] = np.nan
    assert heard_of(wire(path=str(tmp_path / "new" / "folder")), {"samples": samples}, cut=cut) == []
    file = tmp_path / "new" / "folder" / "tap-0000.samples.wav"
    assert soundfile.info(file).samplerate == 16000
    assert wav(file).tobytes() == samples.tobytes()


@pytest.mark.parametrize("cut", [1, 16, 1000])
def test_all_else_becomes_npy_files_whose_names_any_system_can_hold(cut, tmp_path):
    heard_of(wire(FRAMES, path=str(tmp_path), name="top"), frames(), cut=cut, utterance=7)
    assert names(tmp_path) == ["top-0007.mel.npy", "top-0007.pitch_out.npy"]
    for name, file in (("mel", "mel"), ("pitch/out", "pitch_out")):
        found = np.load(tmp_path / f"top-0007.{file}.npy")
        assert found.dtype == frames()[name].dtype
        np.testing.assert_array_equal(found, frames()[name])


def test_samples_without_a_whole_rate_become_npy(tmp_path):
    odd = {"samples": Port("samples", "float32", ("samples",), Fraction(16001, 2))}
    heard_of(wire(odd, path=str(tmp_path)), {"samples": sound()})
    assert np.load(tmp_path / "tap-0000.samples.npy").tobytes() == sound().tobytes()


def test_tensors_of_the_whole_utterance_can_be_copied_too(tmp_path):
    block = wire(FRAMES, path=str(tmp_path), ports=["mel", "durations", "speed"])
    assert set(block.takes) == {"durations", "speed", "utterance"}
    heard_of(block, frames())
    assert np.load(tmp_path / "tap-0000.durations.npy").tolist() == [4, 0, 6]
    assert np.load(tmp_path / "tap-0000.speed.npy").tolist() == [2.0]
    assert len(np.load(tmp_path / "tap-0000.mel.npy")) == 40


def test_the_next_request_overwrites_nothing(tmp_path):
    block = wire(path=str(tmp_path))
    for seed in range(3):
        heard_of(block, {"samples": sound(seed=seed)})
    files = ["tap-0000.samples.wav", "tap-0000-2.samples.wav", "tap-0000-3.samples.wav"]
    assert names(tmp_path) == sorted(files)
    for seed, file in enumerate(files):
        assert wav(tmp_path / file).tobytes() == sound(seed=seed).tobytes()


def test_utterances_read_in_turn_have_their_own_files(tmp_path):
    block = wire(path=str(tmp_path))
    streams = [opened(block, {"samples": sound(seed=seed)}) for seed in (1, 2)]
    for _ in range(8):
        for stream in streams:
            stream.read(16)
    streams[0].close()
    streams[1].close()
    assert wav(tmp_path / "tap-0000.samples.wav").tobytes() == sound(seed=1).tobytes()
    assert wav(tmp_path / "tap-0000-2.samples.wav").tobytes() == sound(seed=2).tobytes()


@pytest.mark.parametrize("forgotten", [False, True])
def test_an_utterance_closed_early_leaves_what_flowed_until_then(forgotten, tmp_path):
    stream = opened(wire(FRAMES, path=str(tmp_path)), frames())
    stream.read(10)
    if forgotten:
        del stream
        gc.collect()
    else:
        stream.close()
    np.testing.assert_array_equal(np.load(tmp_path / "tap-0000.mel.npy"), frames()["mel"][:10])


def test_an_utterance_of_which_nothing_was_read_leaves_nothing(tmp_path):
    block = wire(path=str(tmp_path))
    opened(block, {"samples": sound()}).close()
    heard_of(block, {"samples": sound(0)})
    assert names(tmp_path) == []


@pytest.mark.parametrize("bound", [{"most_s": 0.002}, {"most_s": 9, "most_steps": 32}])
@pytest.mark.parametrize("cut", [5, 16, 1000])
def test_what_is_too_long_is_cut_and_that_is_told(bound, cut, tmp_path):
    (event,) = heard_of(wire(path=str(tmp_path), name="x", **bound), {"samples": sound()}, cut=cut)
    assert (event.kind, event.where, event.values) == ("tap.cut", "x", {"step": 32})
    assert event.text == "x: the first 32 steps are copied, no more"
    assert wav(tmp_path / "x-0000.samples.wav").tobytes() == sound()[:32].tobytes()


def test_what_is_just_as_long_as_may_be_is_whole(tmp_path):
    assert heard_of(wire(path=str(tmp_path), most_steps=100), {"samples": sound()}) == []


def test_no_more_files_are_made_than_may_be_there(tmp_path):
    (tmp_path / "tap-of-somebody.txt").touch()
    block = wire(path=str(tmp_path), most_files=2)
    heard = [heard_of(block, {"samples": sound()}, utterance=number) for number in range(3)]
    assert [len(events) for events in heard] == [0, 0, 1]
    assert heard[2][0].text == "2 files named 'tap' are the most; this utterance is not copied"
    assert heard[2][0].kind == "tap.full"
    assert names(tmp_path) == ["tap-0000.samples.wav", "tap-0001.samples.wav", "tap-of-somebody.txt"]


@contextmanager
def full_disk(size):
    """Let files grow no further than so many bytes, as a full disk does.

    Not until a fixture's end: pytest writes its report before that, and the report may be a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("source", "chunks"), [(SAMPLES, {"samples": sound(5000)}), (FRAMES, frames(5000))])
@pytest.mark.parametrize("room", [0, 8000])
def test_a_full_disk_is_told_and_the_speech_goes_on(source, chunks, room, tmp_path):
    block = wire(source, path=str(tmp_path))
    stream, heard, got = opened(block, chunks), [], []
    with full_disk(room), listening(heard.append):
        while not got or length(got[-1]) == 500:
            got.append(stream.read(500))
    stream.close()
    for name, tensor in chunks.items():
        np.testing.assert_array_equal(np.concatenate([chunk[name] for chunk in got]), tensor)
    (event,) = heard
    assert event.kind == "tap.failed"
    assert event.text.startswith("the copy ends here: ")
    assert (names(tmp_path) == []) == (room == 0)


def test_a_folder_that_went_away_is_told_and_the_speech_goes_on(tmp_path):
    block = wire(path=str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    (event,) = heard_of(block, {"samples": sound()})
    assert (event.kind, event.text.split("[")[0]) == ("tap.failed", "the copy ends here: ")


def test_a_disk_that_is_full_when_it_is_wired_is_no_fault_of_the_stack(tmp_path, monkeypatch):
    def full(path, **unused):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.touch", full)
        block = wire(path=str(tmp_path))
        (event,) = heard_of(block, {"samples": sound()})
        assert event.values[REASON] == "No space left on device"
    assert heard_of(block, {"samples": sound()}) == []
    assert len(names(tmp_path)) == 1


def test_what_a_killed_process_left_half_written_is_taken_away_when_it_is_old(tmp_path):
    for name in (".tap.0123abcd.partial", ".tap.0123abcd.trial", ".other.0123abcd.partial", "tap-0001.wav"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".tap.4567abcd.partial").touch()
    wire(path=str(tmp_path), name="tap")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".other.0123abcd.partial", ".tap.4567abcd.partial", "tap-0001.wav"]


def test_what_another_voice_takes_away_at_the_same_time_keeps_none_from_loading(tmp_path):
    gone = tmp_path / ".tap.0123abcd.trial"  # between being seen and being looked at
    gone.symlink_to(tmp_path / "nowhere")
    assert wire(path=str(tmp_path), name="tap").files is not None


# Listeners


def test_without_a_path_whoever_listens_gets_each_read(tmp_path):
    heard = heard_of(wire(FRAMES, name="top"), frames(), utterance=3)
    assert [(event.kind, event.where, event.step, event.is_data) for event in heard] == [
        (TAP, "top", start, True) for start in (0, 16, 32)
    ]
    assert [event.values["utterance"] for event in heard] == [3, 3, 3]
    joined = np.concatenate([event.values["tensors"]["mel"] for event in heard])
    np.testing.assert_array_equal(joined, frames()["mel"])
    assert names(tmp_path) == []


def test_a_listener_may_write_into_its_copies():
    samples = sound()
    stream = opened(wire(), {"samples": samples})
    with listening(lambda event: event.values["tensors"]["samples"].fill(0)):
        chunk = stream.read(100)["samples"]
    np.testing.assert_array_equal(chunk, sound())


def test_only_the_ports_that_are_named_are_copied():
    events = heard_of(wire(FRAMES, ports=["pitch/out", "durations"]), frames())
    assert [sorted(event.values["tensors"]) for event in events] == [
        ["durations", "pitch/out"],
        ["pitch/out"],
        ["pitch/out"],
    ]


# Errors


def test_a_folder_that_cannot_be_made_is_refused_when_it_is_wired(tmp_path):
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "below")
    assert fault(ConfigError, path=folder) == (
        f"$.stack[0].path: no file can be made in '{folder}': Not a directory; "
        "name a folder that can be written to"
    )


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x\n"])
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    assert fault(ConfigError, path=str(tmp_path), name=name) == (
        f"$.stack[0].name: got '{name}', want letters, digits, spaces and .-_ only: "
        "it is a part of file names"
    )


@pytest.mark.parametrize("climbs", [False, True])
def test_an_addon_may_not_write_where_it_likes(climbs, tmp_path, monkeypatch):
    base = tmp_path / "allowed"
    monkeypatch.setenv("VOXSTACK_FILES", str(base))
    folder = "look/../../elsewhere" if climbs else str(tmp_path / "elsewhere")
    assert fault(ConfigError, path=folder) == (
        f"$.stack[0].path: got '{folder}', want a folder below '{base}', where addons may write; "
        "set VOXSTACK_FILES to another"
    )
    assert names(tmp_path) == []


def test_a_folder_is_found_below_the_one_that_may_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("VOXSTACK_FILES", str(tmp_path / "allowed"))
    heard_of(wire(path="look"), {"samples": sound()})
    assert names(tmp_path / "allowed" / "look") == ["tap-0000.samples.wav"]


def test_a_port_that_does_not_flow_is_refused():
    assert fault(WiringError, ports=["sample"]) == (
        "$.stack[0].ports[0]: no 'sample' flows here; did you mean 'samples'?"
    )
    assert fault(ConfigError, ports=[]) == "$.stack[0].ports: got an empty list, want at least one port"


def test_bounds_that_make_no_sense_are_refused(tmp_path):
    assert fault(ConfigError, most_s=0) == "$.stack[0].most_s: got 0.0 s, want more than 0, at most 3600"
    assert fault(ConfigError, most_steps=0) == "$.stack[0].most_steps: got 0, want 1 or more"
    folder = str(tmp_path)
    assert fault(ConfigError, path=folder, most_files=0) == "$.stack[0].most_files: got 0, want 1 to 10000"
