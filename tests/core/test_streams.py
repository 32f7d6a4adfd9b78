"""Streams give exactly what is read, whatever the windows beneath."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import Cancelled, NetError
from voxstack.core.nets import Ragged
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream, WindowStream, empty, join, length
from voxstack.testing import strategies

pytestmark = pytest.mark.unit

GIVES = {"y": Port("y", "float32", ("samples", 2))}
CONTEXTS = st.tuples(st.integers(0, 6), st.integers(0, 6))


def frames(steps: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)}


class Counting:
    """A source that remembers how it was read."""

    def __init__(self, tensors):
        self.stream, self.reads, self.closed = ArrayStream.over(tensors), [], 0

    def read(self, steps):
        self.reads.append(steps)
        return self.stream.read(steps)

    def close(self):
        self.closed += 1


def held(hop: int):
    """A net that holds each step `hop` times, and remembers the windows it saw."""
    seen = []

    def compute(inputs, window):
        seen.append(window)
        assert len(inputs["x"]) == window.size
        return {"y": np.repeat(inputs["x"], hop, axis=0)}

    return compute, seen


def read_all(stream, cut) -> list[np.ndarray]:
    chunks = []
    while True:
        for size in cut:
            chunks.append(stream.read(size)["y"])
            assert chunks[-1].dtype == np.float32
            assert chunks[-1].shape[1:] == (2,)
            if len(chunks[-1]) < size:
                assert len(stream.read(5)["y"]) == 0
                return chunks


@given(st.integers(0, 60), strategies.cuts(), CONTEXTS, st.integers(1, 4), st.sampled_from([None, np.nan]))
def test_padding_and_context_are_cropped_from_every_window(steps, cut, context, hop, pad):
    # The net copies, so any step of padding (NaN) or context that is not cropped shows.
    compute, _ = held(hop)
    ragged = Ragged("frames", context=context, hop=hop, pad=pad)
    chunks = read_all(WindowStream(Counting(frames(steps)), ragged, GIVES, compute), cut)
    np.testing.assert_array_equal(np.concatenate(chunks), np.repeat(frames(steps)["x"], hop, axis=0))
    assert all(len(chunk) == size for chunk, size in zip(chunks[:-1], cut * len(chunks), strict=False))


@given(st.integers(1, 60), strategies.cuts(), CONTEXTS)
def test_with_a_pad_value_the_net_sees_the_utterance_extended_by_it(steps, cut, context):
    left, right = context
    extended = np.pad(frames(steps)["x"], [(left, right), (0, 0)], constant_values=-7)

    def compute(inputs, window):
        start = window.lo + left - window.pad_left
        np.testing.assert_array_equal(inputs["x"], extended[start : start + window.size])
        return {"y": inputs["x"]}

    read_all(
        WindowStream(Counting(frames(steps)), Ragged("frames", context=context, pad=-7.0), GIVES, compute),
        cut,
    )


@given(st.integers(0, 60), strategies.cuts())
def test_a_net_that_cannot_be_chunked_runs_once_on_everything(steps, cut):
    compute, seen = held(2)
    ragged = Ragged("frames", hop=2, chunkable=False)
    chunks = read_all(WindowStream(Counting(frames(steps)), ragged, GIVES, compute), cut)
    assert len(np.concatenate(chunks)) == 2 * steps
    assert [(window.lo, window.hi) for window in seen] == ([(0, steps)] if steps else [])


@given(strategies.cuts(most=5), CONTEXTS)
def test_little_is_computed_twice(cut, context):
    compute, seen = held(1)
    read_all(WindowStream(Counting(frames(300)), Ragged("frames", context=context), GIVES, compute), cut)
    assert sum(window.hi - window.lo for window in seen) <= 2 * 300 + 3 * sum(context) + max(cut)


def test_nothing_is_pulled_before_it_is_needed():
    compute, _ = held(10)
    source = Counting(frames(100))
    stream = WindowStream(source, Ragged("frames", context=(2, 3), hop=10), GIVES, compute)
    assert source.reads == []
    stream.read(25)
    assert source.reads == [3 + 3]
    stream.read(5)  # is at hand already
    assert source.reads == [6]
    stream.read(10)
    assert source.reads == [6, 10]


def test_memory_holds_no_more_than_a_window():
    sizes = []

    def compute(inputs, window):
        sizes.append(inputs["x"].base.nbytes if inputs["x"].base is not None else inputs["x"].nbytes)
        return {"y": inputs["x"]}

    stream = WindowStream(Counting(frames(5000)), Ragged("frames", context=(2, 3)), GIVES, compute)
    while length(stream.read(10)):
        pass
    assert max(sizes[1:]) <= 50 * frames(1)["x"].nbytes  # the first is a view of the source


def test_an_output_of_another_length_than_the_hop_says_is_refused():
    stream = WindowStream(Counting(frames(9)), Ragged("frames", hop=3), GIVES, held(2)[0])
    with pytest.raises(NetError) as caught:
        stream.read(6)
    assert str(caught.value) == (
        "'y' came out with 4 steps for 2 'frames'; hop 3 makes 6; state the right hop in addon.json"
    )


def test_close_closes_the_source_once_and_frees_what_is_held():
    source = Counting(frames(9))
    stream = WindowStream(source, Ragged("frames"), GIVES, held(1)[0])
    stream.read(1)
    stream.close()
    stream.close()
    assert source.closed == 1
    with pytest.raises(Cancelled, match=r"^read after close$"):
        stream.read(1)


def test_a_window_that_failed_can_be_tried_again():
    fail = [True]

    def compute(inputs, window):
        if fail.pop() if fail else False:
            raise NetError("out of luck")
        return {"y": inputs["x"]}

    stream = WindowStream(Counting(frames(9)), Ragged("frames", context=(1, 1)), GIVES, compute)
    with pytest.raises(NetError):
        stream.read(4)
    np.testing.assert_array_equal(stream.read(EVERYTHING)["y"], frames(9)["x"])


@given(strategies.cuts(), st.integers(0, 50))
def test_an_array_stream_gives_its_arrays_in_order(cut, steps):
    stream = ArrayStream.over({"y": frames(steps)["x"]})
    np.testing.assert_array_equal(np.concatenate(read_all(stream, cut)), frames(steps)["x"])


def test_an_array_stream_can_be_closed_twice_but_not_read_after():
    stream = ArrayStream.over(frames(3))
    stream.close()
    stream.close()
    with pytest.raises(Cancelled, match=r"^read after close$"):
        stream.read(1)


def test_after_the_end_nothing_has_the_right_dtype_and_shape():
    ports = {"mel": Port("mel", "float32", ("frames", 80)), "ids": Port("ids", "int64", ("phonemes",))}
    nothing = empty(ports)
    assert [port.fault(nothing[name]) for name, port in ports.items()] == [None, None]
    assert length(nothing) == 0


def test_joining_one_chunk_copies_nothing():
    chunk = frames(3)
    assert join([chunk])["x"] is chunk["x"]
    np.testing.assert_array_equal(join([frames(2), frames(1)])["x"][:, 0], [0, 2, 0])


def test_an_utterance_too_short_for_its_net_is_made_longer_and_cropped():
    compute, seen = held(2)
    ragged = Ragged("frames", context=(1, 1), hop=2, least=5)
    stream = WindowStream(ArrayStream.over(frames(3)), ragged, GIVES, compute)
    whole = stream.read(EVERYTHING)["y"]
    assert [window.size for window in seen] == [5]
    np.testing.assert_array_equal(whole, np.repeat(frames(3)["x"], 2, axis=0))
