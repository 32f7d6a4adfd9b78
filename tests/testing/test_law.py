"""The law passes what keeps it and tells what breaks it, and where."""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.blocks import Timing
from voxstack.core.errors import LawError
from voxstack.core.nets import Ragged
from voxstack.core.ports import Port
from voxstack.core.streams import ArrayStream, WindowStream, length
from voxstack.testing import check_streamable, random_cuts, strategies

pytestmark = pytest.mark.law

FRAMES = {"x": Port("x", "float32", ("frames",))}
RAMP = {"x": np.arange(1, 41, dtype=np.float32)}
OVERLAPPING = Timing(left=1, right=1, lookahead=1 + 2 * 2)
KERNEL = np.array([1, 2, 4], np.float32)


def convolve(inputs, window):
    """A convolution with zeros beyond both ends of what it is given: exact one step from its edges."""
    return {"x": np.convolve(inputs["x"], KERNEL)[1:-1]}


@dataclass(frozen=True)
class Block:
    """A block whose parts a test can break one at a time."""

    make: object
    gives: dict = field(default_factory=lambda: FRAMES)
    timing: Timing = OVERLAPPING
    consumes: dict = field(default_factory=lambda: FRAMES)
    takes: dict = field(default_factory=dict)

    def open(self, tensors, source):
        return self.make(source)


class Reads:
    """A stream whose `read` is a function of the source and the number of steps."""

    def __init__(self, source, read, close=None):
        self.source, self._read, self._close = source, read, close

    def read(self, steps):
        return self._read(self.source, steps)

    def close(self):
        (self._close or self.source.close)()


def windows(context=(1, 1), compute=convolve, stream=WindowStream):
    ragged = Ragged("frames", context=context)
    return lambda source: stream(source, ragged, FRAMES, compute)


def fault(block, source=RAMP, **options) -> str:
    with pytest.raises(LawError) as caught:
        check_streamable(block, tensors={}, source=source, **options)
    assert isinstance(caught.value, AssertionError)
    return str(caught.value)


@given(cut=strategies.cuts(), source=strategies.tensors(FRAMES, steps=37))
def test_a_block_with_enough_context_passes(cut, source):
    check_streamable(
        Block(windows()),
        tensors={},
        source=source,
        cuts=[cut],
        tolerance=1e-6,
        expected={"x": np.convolve(source["x"], KERNEL)[1:-1]},
    )


def test_a_missing_overlap_is_caught_at_the_first_join():
    assert fault(Block(windows(context=(1, 0))), cuts=[[10]]) == (
        "Block: reads of [10] differ from one whole read: 'x' at step 9 (step 9 of read 0) is 56, not 67; "
        "3 of 40 steps differ, by up to 31, tolerance 0"
    )


def test_a_lost_last_frame_is_caught():
    def lose_last(source, steps):
        chunk = source.read(steps)["x"]
        return {"x": chunk[:-1] if len(chunk) < steps else chunk}

    assert fault(Block(lambda source: Reads(source, lose_last), timing=Timing())) == (
        "Block: 40 input steps at 1 output steps each make 40; the whole read has 39 (-1)"
    )


def test_a_last_frame_that_only_chunks_lose_is_caught():
    def lose_last(source, steps):
        chunk = source.read(steps)["x"]
        return {"x": chunk[:-1] if len(chunk) < steps < 1000 else chunk}

    assert fault(Block(lambda source: Reads(source, lose_last)), cuts=[[7]]) == (
        "Block: reads of [7] differ from one whole read: 'x' has 39 steps, not 40 (-1)"
    )


def test_a_wrong_hop_is_caught():
    block = Block(windows(), timing=Timing(steps=2, lookahead=1 + 2 * 2))
    assert fault(block) == "Block: 40 input steps at 2 output steps each make 80; the whole read has 40 (-40)"


def test_a_tail_that_does_not_come_is_caught():
    block = Block(windows(), timing=replace(OVERLAPPING, tail=Fraction(3)))
    assert fault(block) == (
        "Block: 40 input steps at 1 output steps each and a tail of 3 make 43; the whole read has 40 (-3)"
    )


def test_a_number_of_steps_that_is_not_whole_may_be_rounded_and_no_more():
    timing = Timing(Fraction(79, 80), lookahead=1 + 2 * 2, rounding=Fraction(1, 2))
    check_streamable(Block(windows(), timing=timing), tensors={}, source=RAMP)
    assert fault(Block(windows(), timing=replace(timing, rounding=Fraction(1, 4)))) == (
        "Block: 40 input steps at 79/80 output steps each make 79/2; the whole read has 40 (+0.5)"
    )


def test_noise_drawn_per_chunk_is_caught():
    def noisy(source):
        generator = np.random.default_rng(0)

        def read(source, steps):
            chunk = source.read(steps)["x"]
            generator.standard_normal()  # one for each read: what follows depends on the reads
            return {"x": chunk + generator.standard_normal(len(chunk)).astype(np.float32)}

        return Reads(source, read)

    message = fault(Block(noisy), cuts=[[16]])
    assert message.startswith(
        "Block: reads of [16] differ from one whole read: 'x' at step 16 (step 0 of read 1) is "
    )
    assert "24 of 40 steps differ" in message


def test_noise_without_a_seed_is_caught():
    def read(source, steps):
        chunk = source.read(steps)["x"]
        return {"x": chunk + np.random.default_rng().random(len(chunk)).astype(np.float32)}

    message = fault(Block(lambda source: Reads(source, read)))
    assert message.startswith("Block: a second whole read differs from the first: 'x' at step 0 is ")


def test_state_shared_between_two_streams_is_caught():
    shared = {}

    def start(source):
        shared["sum"] = 0.0

        def read(source, steps):
            made = np.cumsum(source.read(steps)["x"]) + shared["sum"]
            shared["sum"] = made[-1] if len(made) else shared["sum"]
            return {"x": made.astype(np.float32)}

        return Reads(source, read)

    assert fault(Block(start, timing=Timing()), cuts=[[4]]) == (
        "Block: two streams read in turn disturb each other (shared state): 'x' at step 4 is 30, not 15; "
        "36 of 40 steps differ, by up to 820, tolerance 0"
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            lambda x: {"x": x.astype(np.float64)},
            "Block: its stream does not keep the promise of its port: x: got dtype float64, want float32",
        ),
        (
            lambda x: {"x": x[:, None]},
            "Block: its stream does not keep the promise of its port: x: got shape [40, 1], want [frames]",
        ),
        (lambda x: {"y": x}, "Block: it says it gives ['x'], its stream gives ['y']"),
        (
            lambda x: {"x": np.where(x == 5, np.nan, x)},
            "Block: 'x' is not finite at step 4: padding or context leaked into it",
        ),
    ],
    ids=["dtype", "shape", "name", "nan"],
)
def test_a_broken_promise_of_a_port_is_caught(broken, message):
    assert fault(Block(lambda source: Reads(source, lambda s, steps: broken(s.read(steps)["x"])))) == message


def test_tensors_of_different_lengths_are_caught():
    gives = {name: Port(name, "float32", ("frames",)) for name in "xy"}

    def read(source, steps):
        chunk = source.read(steps)["x"]
        return {"x": chunk, "y": chunk[1:]}

    assert fault(Block(lambda source: Reads(source, read), gives=gives)) == (
        "Block: its stream gives tensors of different lengths in one read: {'x': 40, 'y': 39}"
    )


def test_pulling_more_than_the_timing_says_is_caught():
    block = Block(windows(), timing=Timing(left=1, right=1, lookahead=0))
    assert fault(block, cuts=[[5]]) == (
        "Block: reads of [5]: after 5 output steps it had pulled 6 input steps; its timing allows 5"
    )


def test_a_read_longer_than_asked_is_caught():
    def read(source, steps):
        return source.read(steps + 1)

    assert fault(Block(lambda source: Reads(source, read)), cuts=[[5]]) == (
        "Block: reads of [5]: read 0 asked for 5 steps and got 6"
    )


def test_a_short_read_before_the_end_is_caught():
    def read(source, steps):
        return source.read(min(steps, 6) if steps < 1000 else steps)

    assert fault(Block(lambda source: Reads(source, read)), cuts=[[8]]) == (
        "Block: reads of [8]: a short read said that it was over, then more came"
    )


def test_one_read_of_everything_that_does_not_give_everything_is_caught():
    def read(source, steps):
        return source.read(min(steps, 6))

    assert fault(Block(lambda source: Reads(source, read))) == (
        "Block: one read of everything did not give everything: a second read gave more"
    )


def test_a_close_that_leaves_its_source_open_is_caught():
    block = Block(lambda source: Reads(source, lambda s, steps: s.read(steps), close=lambda: None))
    assert fault(block) == "Block: close did not close the stream above it"


def test_a_close_that_breaks_another_stream_is_caught():
    shared = {"closed": False}

    def start(source):
        shared["closed"] = False

        def read(source, steps):
            chunk = source.read(steps)["x"]
            return {"x": chunk * 0 if shared["closed"] else chunk}

        def close():
            source.close()
            shared["closed"] = True

        return Reads(source, read, close)

    assert fault(Block(start)) == (
        "Block: closing one stream disturbs another (shared state): 'x' at step 0 is 0, not 1; "
        "40 of 40 steps differ, by up to 40, tolerance 0"
    )


def test_a_difference_from_the_reference_is_told_apart_from_a_broken_law():
    assert fault(Block(windows()), expected={"x": RAMP["x"]}).startswith(
        "Block: the whole read differs from the reference: 'x' at step 0 is "
    )


def test_a_difference_within_the_tolerance_passes_and_beyond_it_fails():
    reference = {"x": convolve(RAMP, None)["x"] + np.float32(0.001)}
    check_streamable(Block(windows()), tensors={}, source=RAMP, expected=reference, tolerance=0.01)
    assert "tolerance 0.0001" in fault(Block(windows()), expected=reference, tolerance=0.0001)


def test_a_head_of_a_stack_needs_no_source():
    block = Block(lambda source: ArrayStream.over(RAMP), consumes=None, timing=Timing())
    check_streamable(block, tensors={}, expected=RAMP)


def test_the_random_cuts_are_the_same_every_time_and_start_with_single_steps():
    cuts = list(random_cuts(3))
    assert cuts == list(random_cuts(3)) != list(random_cuts(4))
    assert cuts[0] == [1]
    assert len(cuts) == 10


@given(strategies.durations(phonemes=5, most=4))
def test_drawn_durations_are_whole_numbers_of_frames(durations):
    assert durations.dtype == np.int64
    assert len(durations) <= 5
    assert set(durations) <= set(range(5))


@given(st.data())
def test_drawn_tensors_fill_their_ports(data):
    ports = {
        "mel": Port("mel", "float32", ("frames", 3)),
        "ids": Port("ids", "int64", ("phonemes",)),
        "speed": Port("speed", "float32", ()),
    }
    drawn = data.draw(strategies.tensors(ports, steps=4))
    assert [port.fault(drawn[name]) for name, port in ports.items()] == [None] * 3
    assert length({"mel": drawn["mel"]}) == 4


def test_it_catches_a_block_that_writes_into_what_it_read():
    def doubling(source):
        class Doubling:
            def read(self, steps):
                chunk = source.read(steps)
                chunk["x"] *= 2
                return chunk

            def close(self):
                source.close()

        return Doubling()

    with pytest.raises(ValueError, match="read-only"):
        check_streamable(Block(doubling, timing=Timing()), tensors={}, source=RAMP)
