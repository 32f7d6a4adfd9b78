"""MelPlot and AlignmentPlot: one whole picture for each utterance that was heard to its end."""

import importlib
import struct
import threading
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.events import ALIGNMENT, Event, listening, report
from voxstack.core.ports import MelFormat, Port
from voxstack.core.streams import ArrayStream, length
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("MelPlot.v1", "AlignmentPlot.v1")

MEL = MelFormat(16000, 160, 4, 0, 8000)
FLOW = {"mel": Port("mel", "float32", ("frames", 4), Fraction(100), MEL)}
SOUND = {"samples": Port("samples", "float32", ("samples",), Fraction(16000))}
TENSORS = {
    "utterance": Port("utterance", "int64", ()),
    "durations": Port("durations", "float32", ("phonemes",)),
    "hidden": Port("hidden", "float32", ("phonemes", 4)),
}

each_plot = pytest.mark.parametrize("kind", ["MelPlot", "AlignmentPlot"])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work where files may be written."""
    monkeypatch.chdir(tmp_path)


def wire(kind, folder, source=FLOW, tensors=TENSORS, **options):
    entry = {"type": kind, "path": str(folder), **options}
    return wire_stack([entry], nets={}, tensors=tensors, source=source, mel=MEL).blocks[0]


def fault(error, kind, folder, source=FLOW, **options) -> str:
    with pytest.raises(error) as caught:
        wire(kind, folder, source, **options)
    return str(caught.value)


class Aligning:
    """A source that reports, with each read, which symbols its frames speak."""

    def __init__(self, chunks, *, symbols=5, attends=False):
        self._stream = ArrayStream.over(chunks)
        self._symbols = symbols
        self._attends = attends
        self._position = 0

    def read(self, steps):
        chunk = self._stream.read(steps)
        got = length(chunk)
        positions = (np.arange(self._position, self._position + got) // 10) % self._symbols
        values = {"positions": positions}
        if self._attends:
            values["weights"] = np.eye(self._symbols, dtype=np.float32)[positions]
        report(Event(ALIGNMENT, "above", self._position, values=values))
        self._position += got
        return chunk

    def close(self):
        self._stream.close()


def frames(steps=60):
    return {"mel": np.random.default_rng(0).standard_normal((steps, 4)).astype(np.float32)}


def opened(block, source, utterance=0):
    tensors = {"utterance": np.array(utterance), "durations": np.array([3.0, np.nan, -2, 7], np.float32)}
    return block.open(tensors, source)


def drawn(block, source, utterance=0, cut=16):
    """Read an utterance to its end; return the events, alignments apart."""
    heard = []
    stream = opened(block, source, utterance)
    with listening(heard.append):
        while length(stream.read(cut)) == cut:
            pass
        stream.read(cut)
    stream.close()
    return [event for event in heard if event.kind != ALIGNMENT]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@each_plot
def test_it_keeps_the_law(kind, tmp_path):
    tensors = {name: np.zeros([1] * len(port.axes), port.dtype) for name, port in TENSORS.items()}
    tensors["utterance"] = np.array(0)
    block = wire(kind, tmp_path, most_files=1)
    check_streamable(block, tensors=tensors, source=frames(), expected=frames(), cuts=[[7, 50]])


@each_plot
def test_each_utterance_has_its_picture(kind, tmp_path):
    block = wire(kind, tmp_path / "new")
    assert drawn(block, Aligning(frames()), 0) == []
    assert drawn(block, Aligning(frames()), 3) == []
    assert drawn(block, Aligning(frames()), 3) == []
    stem = {"MelPlot": "mel", "AlignmentPlot": "alignment"}[kind]
    assert names(tmp_path / "new") == [f"{stem}-0000.png", f"{stem}-0003-2.png", f"{stem}-0003.png"]
    data = (tmp_path / "new" / f"{stem}-0000.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", data[16:20]) == (900,)


@each_plot
def test_the_picture_is_the_same_however_the_utterance_is_cut(kind, tmp_path):
    for cut in (1, 16, 1000):
        drawn(wire(kind, tmp_path / str(cut), name="x"), Aligning(frames()), cut=cut)
    pictures = {(tmp_path / str(cut) / "x-0000.png").read_bytes() for cut in (1, 16, 1000)}
    assert len(pictures) == 1


@pytest.mark.parametrize("attends", [False, True])
def test_another_alignment_is_another_picture(attends, tmp_path):
    for symbols in (4, 5):
        block = wire("AlignmentPlot", tmp_path, name=f"of {symbols}")
        drawn(block, Aligning(frames(), symbols=symbols, attends=attends))
    one, two = ((tmp_path / f"of {symbols}-0000.png").read_bytes() for symbols in (4, 5))
    assert one != two


def test_another_mel_is_another_picture(tmp_path):
    still = {"mel": np.zeros((60, 4), np.float32)}
    drawn(wire("MelPlot", tmp_path, name="x"), ArrayStream.over(still))
    drawn(wire("MelPlot", tmp_path, name="y"), ArrayStream.over(frames()))
    assert (tmp_path / "x-0000.png").read_bytes() != (tmp_path / "y-0000.png").read_bytes()


@each_plot
def test_a_svg_picture_is_one(kind, tmp_path):
    drawn(wire(kind, tmp_path, format="svg", name="x"), Aligning(frames()))
    assert "<svg" in (tmp_path / "x-0000.svg").read_text(encoding="utf-8")


@each_plot
def test_what_is_cut_says_so_in_the_picture(kind, tmp_path):
    drawn(wire(kind, tmp_path, format="svg", name="x", most_s=0.2), Aligning(frames()))
    text = (tmp_path / "x-0000.svg").read_text(encoding="utf-8")
    what = "mel" if kind == "MelPlot" else "durations"
    assert f"<!-- x: {what} of utterance 0, cut: the first 0.2 of 0.6 s -->" in text


@each_plot
def test_no_more_is_kept_than_is_drawn(kind, tmp_path):
    stream = opened(wire(kind, tmp_path, most_s=0.2), Aligning(frames(), attends=True))
    for _ in range(6):
        stream.read(9)
    kept = [array for value in vars(stream._onlooker).values() if isinstance(value, list) for array in value]
    arrays = [item[1] if isinstance(item, tuple) else item for item in kept]
    assert arrays
    assert sum(map(len, arrays)) == 20 * (2 if kind == "AlignmentPlot" else 1)
    assert all(array.base is None for array in arrays)  # a view would keep all that it is a view of
    stream.close()


@each_plot
def test_an_utterance_closed_early_leaves_nothing(kind, tmp_path):
    stream = opened(wire(kind, tmp_path), Aligning(frames()))
    stream.read(16)
    stream.close()
    assert names(tmp_path) == []


@each_plot
def test_utterances_read_in_turn_have_their_own_pictures(kind, tmp_path):
    alone = wire(kind, tmp_path / "alone", name="x")
    drawn(alone, Aligning(frames(), symbols=3), 1)
    drawn(alone, Aligning(frames(40), symbols=4), 2)
    block = wire(kind, tmp_path / "turns", name="x")
    streams = [
        opened(block, Aligning(frames(), symbols=3), 1),
        opened(block, Aligning(frames(40), symbols=4), 2),
    ]
    for _ in range(5):
        for stream in streams:
            stream.read(16)
    for name in ("x-0001.png", "x-0002.png"):
        assert (tmp_path / "turns" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@each_plot
def test_pictures_may_be_drawn_at_the_same_time(kind, tmp_path):
    block = wire(kind, tmp_path, name="x")
    threads = [
        threading.Thread(target=drawn, args=(block, Aligning(frames()), number)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn(block, Aligning(frames()), 0)
    assert len(names(tmp_path)) == 5
    assert (tmp_path / "x-0000.png").read_bytes() == (tmp_path / "x-0000-2.png").read_bytes()


@each_plot
def test_where_no_picture_can_be_written_that_is_told_and_the_speech_goes_on(kind, tmp_path):
    block = wire(kind, tmp_path / "gone", name="x")
    (tmp_path / "gone").rmdir()
    (event,) = drawn(block, Aligning(frames()))
    prefix = {"MelPlot": "mel_plot", "AlignmentPlot": "alignment_plot"}[kind]
    assert (event.kind, event.where, event.step) == (f"{prefix}.failed", "x", 60)
    assert event.text == "x: no picture could be written: No such file or directory"


@each_plot
def test_no_more_pictures_are_made_than_may_be_there(kind, tmp_path):
    block = wire(kind, tmp_path, name="x", most_files=1)
    assert drawn(block, Aligning(frames())) == []
    (event,) = drawn(block, Aligning(frames()))
    assert event.text == "x: 1 files named 'x' are the most; this utterance is not drawn"
    assert names(tmp_path) == ["x-0000.png"]


def test_a_mel_that_is_not_finite_is_drawn_all_the_same(tmp_path):
    mel = frames()["mel"]
    mel[10:20] = np.nan
    drawn(wire("MelPlot", tmp_path), ArrayStream.over({"mel": mel}))
    drawn(wire("MelPlot", tmp_path), ArrayStream.over({"mel": np.full((5, 4), np.inf, np.float32)}))
    assert len(names(tmp_path)) == 2


def test_durations_are_drawn_where_nothing_is_reported(tmp_path):
    block = wire("AlignmentPlot", tmp_path, SOUND, name="x", format="svg", durations="durations")
    assert set(block.takes) == {"durations", "utterance"}
    assert drawn(block, ArrayStream.over({"samples": np.zeros(100, np.float32)})) == []
    assert "<!-- x: durations of utterance 0 -->" in (tmp_path / "x-0000.svg").read_text(encoding="utf-8")


def test_where_nothing_is_aligned_that_is_told(tmp_path):
    (event,) = drawn(wire("AlignmentPlot", tmp_path), ArrayStream.over(frames()))
    assert event.kind == "alignment_plot.empty"
    assert event.text == ('no block above reports an alignment; name "durations", or put it where one does')
    assert names(tmp_path) == []


def test_who_listens_already_still_hears_the_alignments(tmp_path):
    heard = []
    stream = opened(wire("AlignmentPlot", tmp_path), Aligning(frames()))
    with listening(heard.append):
        stream.read(16)
    stream.close()
    assert [event.kind for event in heard] == [ALIGNMENT]


# Errors


@each_plot
def test_without_matplotlib_it_says_what_to_install(kind, tmp_path, monkeypatch):
    real = importlib.import_module

    def missing(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert fault(ConfigError, kind, tmp_path) == (
        '$.stack[0]: matplotlib, which draws it, is not installed; pip install "voxstack[report]"'
    )


@each_plot
def test_bounds_that_make_no_sense_are_refused(kind, tmp_path):
    assert fault(ConfigError, kind, tmp_path, most_s=0) == (
        "$.stack[0].most_s: got 0.0 s, want more than 0, at most 600"
    )
    assert fault(ConfigError, kind, tmp_path, most_files=0) == (
        "$.stack[0].most_files: got 0, want 1 to 10000"
    )


@each_plot
def test_a_folder_that_cannot_be_made_is_refused(kind, tmp_path):
    (tmp_path / "file").touch()
    assert fault(ConfigError, kind, tmp_path / "file") == (
        f"$.stack[0].path: no file can be made in '{tmp_path / 'file'}': File exists; "
        "name a folder that can be written to"
    )


def test_what_has_no_bands_is_not_drawn_as_a_mel(tmp_path):
    assert fault(WiringError, "MelPlot", tmp_path, SOUND, port="samples") == (
        "$.stack[0].port: got samples float32 [samples] at 16000 Hz, want float [frames, bands]"
    )
    assert fault(WiringError, "MelPlot", tmp_path, SOUND) == (
        "$.stack[0].port: no 'mel' flows here; known: samples"
    )


def test_durations_that_are_none_are_refused(tmp_path):
    assert fault(WiringError, "AlignmentPlot", tmp_path, durations="duration") == (
        "$.stack[0].durations: no 'duration' flows here; did you mean 'durations'?"
    )
    assert fault(WiringError, "AlignmentPlot", tmp_path, durations="hidden") == (
        "$.stack[0].durations: got hidden float32 [phonemes, 4], want [phonemes]"
    )
