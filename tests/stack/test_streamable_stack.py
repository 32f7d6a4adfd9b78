"""StreamableStack: each block's stream is the source of the next one's."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from voxstack.core.blocks import Timing
from voxstack.core.errors import ConfigError, NetError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import ArrayStream
from voxstack.stack.containers import StreamableStack
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("StreamableStack.v1",)

X = {"x": Port("x", "float32", ("frames",), Fraction(100))}
ROW = ("float32", ["batch", "frames"])


@pytest.fixture(scope="module")
def nets(numpy_net):
    """A mean of three, its double, and its samples, four each; whole numbers, so that all is exact."""
    mean = numpy_net(
        lambda x: {"x": np.convolve(x, np.ones(3, np.float32))[1:-1]},
        {"x": ROW},
        {"x": ROW},
        name="mean",
        axis="frames",
        context=(1, 1),
    )
    double = numpy_net(lambda x: {"x": 2 * x}, {"x": ROW}, {"x": ROW}, name="double", axis="frames")
    held = numpy_net(
        lambda x: {"samples": np.repeat(np.convolve(x, np.array([1, 0, 0, 3], np.float32))[: len(x)], 4)},
        {"x": ROW},
        {"samples": ("float32", ["batch", "samples"])},
        name="held",
        axis="frames",
        context=(3, 0),
        hop=4,
    )
    return {net.spec.name: net for net in (mean, double, held)}


def decoder(name: str) -> dict:
    return {"type": "Decoder", "net": name}


def wire(nets, stack, source=X):
    return wire_stack(stack, nets=nets, tensors={}, source=source)


def test_it_consumes_what_its_head_does_and_gives_what_its_last_does(nets):
    block = wire(nets, [decoder("mean"), decoder("double"), decoder("held")])
    assert block.consumes == {"x": Port("x", "float32", ("frames",))}
    assert block.gives["samples"].rate == 400
    assert block.takes == {}
    assert block.timing == Timing(Fraction(4), left=1 + 3, right=1, lookahead=5 + 0 + 6)


@given(source=strategies.durations(phonemes=80), cut=strategies.cuts())
def test_it_keeps_the_law_and_agrees_with_numpy_and_nesting_changes_nothing(nets, source, cut):
    x = source.astype(np.float32)
    expected = np.zeros(0, np.float32)
    if len(x):
        mean = np.convolve(x, [1, 1, 1])[1:-1] * 2
        expected = np.repeat(mean + 3 * np.concatenate([np.zeros(3), mean])[: len(x)], 4)
    flat = [decoder("mean"), decoder("double"), decoder("held")]
    nested = [
        decoder("mean"),
        {"type": "StreamableStack", "stack": [{"type": "StreamableStack", "stack": flat[1:]}]},
    ]
    for stack in (flat, nested):
        check_streamable(
            wire(nets, stack), tensors={}, source={"x": x}, cuts=[cut], expected={"samples": expected}
        )


def test_a_failing_block_closes_what_was_opened_above_it():
    source = ArrayStream.over({"x": np.zeros(3, np.float32)})

    class Failing:
        def open(self, tensors, source):
            raise NetError("cannot be opened")

    with pytest.raises(NetError, match=r"^cannot be opened$"):
        StreamableStack((Failing(),)).open({}, source)
    with pytest.raises(Exception, match=r"^read after close$"):
        source.read(1)


def test_a_head_that_wants_a_stream_above_it_is_refused(nets):
    with pytest.raises(WiringError) as caught:
        wire(nets, [decoder("mean")], source=None)
    assert str(caught.value) == (
        "$.stack[0]: wants 'x' from the stream above, but there is none; "
        "put a block that gives it before this one"
    )


def test_a_block_that_reads_no_stream_may_not_stand_below_another(nets):
    here = {"durations": Port("durations", "int64", ("phonemes",)), "x": Port("x", "float32", ("phonemes",))}
    with pytest.raises(WiringError) as caught:
        wire_stack([{"type": "Upsampler"}, decoder("mean"), {"type": "Upsampler"}], nets=nets, tensors=here)
    assert str(caught.value) == (
        "$.stack[2]: it reads no stream, so what stands above it would be lost; "
        "put it at the head of the stack"
    )


def test_an_empty_stack_is_refused(nets):
    with pytest.raises(ConfigError) as caught:
        wire(nets, [{"type": "StreamableStack", "stack": []}])
    assert str(caught.value) == "$.stack[0].stack: got an empty list, want at least one StreamableBlock"
