"""StreamablePipeline: exactly one SequenceBlock and exactly one StreamableBlock, nested ones too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import Cancelled, NetError
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.containers import SequenceBlockContainer, StreamablePipeline
from voxstack.testing import check_streamable, strategies

pytestmark = pytest.mark.law

LAW_TEST_OF = ("StreamablePipeline.v1",)

UPSAMPLED = {"type": "StreamableStack", "stack": [{"type": "Upsampler"}, {"type": "Decoder"}]}
ENCODERS = {"type": "Encoders"}


def pipeline(sequence_block, streamable_block) -> dict:
    return {
        "type": "StreamablePipeline",
        "sequence_block": sequence_block,
        "streamable_block": streamable_block,
    }


NESTED = {
    "a pipeline in place of Decoder": [
        pipeline(
            ENCODERS,
            {
                "type": "StreamableStack",
                "stack": [{"type": "Upsampler"}, pipeline(ENCODERS, {"type": "Decoder"})],
            },
        )
    ],
    "a pipeline in a pipeline": [pipeline(ENCODERS, pipeline(ENCODERS, UPSAMPLED))],
    "a pipeline, then Decoder": [pipeline(ENCODERS, {"type": "Upsampler"}), {"type": "Decoder"}],
    "a container of encoders": [
        pipeline({"type": "SequenceBlockContainer", "blocks": [ENCODERS]}, UPSAMPLED)
    ],
}


@pytest.fixture(scope="module")
def plain(wire_addon, tone):
    return wire_addon(tone("two"), [pipeline(ENCODERS, UPSAMPLED)])


def whole(block, tensors):
    return block.open(tensors, None).read(EVERYTHING)


def test_it_takes_what_its_parts_take_and_gives_what_its_stream_gives(plain):
    block = plain.blocks[0]
    assert isinstance(block, StreamablePipeline)
    assert set(block.takes) == {"ids", "speed"}
    assert block.gives == block.streamable_block.gives
    assert block.consumes is None
    assert block.timing == block.streamable_block.timing


@given(
    ids=st.lists(st.integers(0, 12), max_size=12),
    cut=strategies.cuts(),
    speed=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_it_keeps_the_law(plain, request_tensors, ids, cut, speed):
    check_streamable(plain, tensors=request_tensors(ids, speed=speed), cuts=[cut], tolerance=1e-6)


@pytest.mark.parametrize("stack", NESTED)
def test_nesting_changes_nothing_and_keeps_the_law(plain, wire_addon, tone, request_tensors, stack):
    block = wire_addon(tone("two"), NESTED[stack])
    tensors = request_tensors([0, 3, 7, 7, 1, 0])
    check_streamable(block, tensors=tensors, expected=whole(plain, tensors), tolerance=1e-6)


def test_a_pipeline_in_the_middle_reads_the_stream_above_it(wire_addon, tone):
    inner = (
        wire_addon(tone("two"), NESTED["a pipeline in place of Decoder"]).blocks[0].streamable_block.blocks[1]
    )
    assert isinstance(inner, StreamablePipeline)
    assert set(inner.consumes) == {"hidden"}


def test_encoders_that_fail_close_the_stream_above():
    class Failing:
        def run(self, tensors):
            raise NetError("out of luck")

    source = ArrayStream.over({"x": np.zeros(3)})
    with pytest.raises(NetError, match=r"^out of luck$"):
        StreamablePipeline(Failing(), None).open({}, source)
    with pytest.raises(Cancelled):
        source.read(1)


def test_a_container_runs_its_blocks_in_order(wire_addon, tone, request_tensors):
    block = wire_addon(tone("chain"), NESTED["a container of encoders"]).blocks[0].sequence_block
    assert isinstance(block, SequenceBlockContainer)
    assert set(block.takes) == {"ids"}
    assert set(block.run(request_tensors([1, 2]))) == {"hidden", "durations"} == set(block.gives)


def test_a_stack_of_a_pipeline_alone_is_the_pipeline(plain, request_tensors):
    tensors = request_tensors([1, 2, 3])
    np.testing.assert_array_equal(whole(plain, tensors)["mel"], whole(plain.blocks[0], tensors)["mel"])


def test_an_utterance_without_phonemes_has_no_frames(plain, request_tensors):
    assert whole(plain, request_tensors([]))["mel"].shape == (0, 12)
