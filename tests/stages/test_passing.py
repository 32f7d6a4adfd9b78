"""Blocks that only look pass on exactly what flows, wherever they stand."""

from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.blocks import Timing
from voxstack.core.errors import Cancelled, WiringError
from voxstack.core.ports import MelFormat, Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

MEL = MelFormat(16000, 160, 5, 0, 8000)
ABOVE = {
    "mel": {"mel": Port("mel", "float32", ("frames", 5), Fraction(100), MEL, sequential=True)},
    "samples": {"samples": Port("samples", "float32", ("samples",), Fraction(16000))},
    "several": {
        "hidden": Port("hidden", "float32", ("frames", "width")),
        "ids": Port("ids", "int64", ("frames",)),
        "voiced": Port("voiced", "bool", ("frames",)),
    },
}
BLOCKS = ("Tap", "Tap to files", "Probe", "Timer", "MelPlot", "AlignmentPlot")

each_block = pytest.mark.parametrize("name", BLOCKS)
each_flow = pytest.mark.parametrize("flow", ABOVE)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work where files may be written."""
    monkeypatch.chdir(tmp_path)


def wire(name, flow, folder):
    kind, _, in_files = name.partition(" ")
    entry = {"type": kind}
    if in_files or kind.endswith("Plot"):
        entry["path"] = str(folder)
    if kind == "MelPlot":
        entry["port"] = next((port for port in ABOVE[flow] if port in ("mel", "hidden")), "mel")
    return wire_stack([entry], nets={}, tensors={}, source=ABOVE[flow]).blocks[0]


def flowing(flow, steps=40):
    generator = np.random.default_rng(steps)
    shapes = {"mel": (steps, 5), "hidden": (steps, 3)}
    return {
        name: generator.integers(-3, 3, shapes.get(name, (steps,))).astype(port.dtype)
        for name, port in ABOVE[flow].items()
    }


def skip_what_has_no_bands(name, flow):
    if name == "MelPlot" and flow == "samples":
        pytest.skip("samples have no bands to draw")


@each_flow
@each_block
def test_it_promises_the_very_ports_that_it_reads(name, flow, tmp_path):
    skip_what_has_no_bands(name, flow)
    block = wire(name, flow, tmp_path)
    assert block.gives == ABOVE[flow]
    assert all(block.gives[port] is ABOVE[flow][port] for port in ABOVE[flow])
    assert block.consumes == ABOVE[flow]
    assert block.timing == Timing()


@each_flow
@each_block
def test_it_keeps_the_law(name, flow, tmp_path):
    skip_what_has_no_bands(name, flow)
    chunks = flowing(flow)
    check_streamable(wire(name, flow, tmp_path), tensors={}, source=chunks, expected=chunks, cuts=[[7, 1]])


@each_flow
@each_block
def test_what_it_gives_are_the_objects_that_it_got(name, flow, tmp_path):
    skip_what_has_no_bands(name, flow)
    source = Remembering(flowing(flow))
    stream = wire(name, flow, tmp_path).open({}, source)
    for steps in (3, 0, 30, 30, 5):
        assert stream.read(steps) is source.last
    stream.close()


@each_block
def test_numbers_that_are_none_pass_to_the_bit(name, tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-42], np.float32)
    odd.view(np.uint32)[0] = 0x7FC12345  # a NaN with a message in it
    flow = "several" if name == "MelPlot" else "samples"
    chunks = flowing("several", 5) | {"hidden": np.stack([odd] * 3, axis=1)}
    chunks = {"samples": odd} if flow == "samples" else chunks
    stream = wire(name, flow, tmp_path).open({}, ArrayStream.over(chunks))
    given = stream.read(EVERYTHING)
    stream.close()
    assert {key: given[key].tobytes() for key in given} == {key: chunks[key].tobytes() for key in chunks}


@each_block
@pytest.mark.parametrize("steps", [0, 1])
def test_an_utterance_may_be_empty_or_a_single_step(name, steps, tmp_path):
    flow = "mel" if name == "MelPlot" else "several"
    chunks = flowing(flow, steps)
    check_streamable(wire(name, flow, tmp_path), tensors={}, source=chunks, expected=chunks, cuts=[[1]])


@each_block
def test_closing_closes_what_is_above_once_and_then_nothing_can_be_read(name, tmp_path):
    source = Remembering(flowing("mel"))
    stream = wire(name, "mel", tmp_path).open({}, source)
    stream.read(3)
    stream.close()
    stream.close()
    assert source.closings == 1
    with pytest.raises(Cancelled, match="read after close"):
        stream.read(1)


@each_block
def test_at_the_head_of_a_stack_there_is_nothing_to_look_at(name, tmp_path):
    entry = {"type": name.split()[0]} | ({"path": str(tmp_path)} if "Plot" in name else {})
    with pytest.raises(WiringError) as caught:
        wire_stack([entry], nets={}, tensors={})
    assert str(caught.value) == (
        "$.stack[0]: there is no stream above it to look at; put it below a block that gives one"
    )


class Remembering:
    """A source that remembers the very object that it gave last, and how often it was closed."""

    def __init__(self, chunks):
        self._stream = ArrayStream.over(chunks)
        self.closings = 0
        self.last = None

    def read(self, steps):
        self.last = self._stream.read(steps)
        return self.last

    def close(self):
        self.closings += 1
        self._stream.close()
