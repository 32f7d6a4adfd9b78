"""Blocks of one size: whatever is read, a process sees the same ones."""

from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.errors import Cancelled
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stages.audio.grid import GridStream, delay_of

pytestmark = pytest.mark.unit


class Late:
    """Gives everything `late` samples later than it could, and remembers what it was given."""

    def __init__(self, late: int = 0) -> None:
        self.late = late
        self.sizes: list[int] = []
        self.lasts: list[bool] = []
        self.held = np.zeros(0, np.float32)

    def __call__(self, samples, *, last):
        self.sizes.append(samples.size)
        self.lasts.append(last)
        self.held = np.concatenate([self.held, samples])
        size = self.held.size if last else max(self.held.size - self.late, 0)
        given, self.held = self.held[:size], self.held[size:]
        return given


class Counted:
    """A source that says what was asked of it."""

    def __init__(self, samples) -> None:
        self.stream = ArrayStream.over({"samples": samples})
        self.asked: list[int] = []
        self.closed = 0

    def read(self, steps):
        self.asked.append(steps)
        return self.stream.read(steps)

    def close(self):
        self.closed += 1


def grid(samples, process, delay=0):
    source = Counted(samples)
    return GridStream(source, process, block=4, steps=Fraction(1), delay=delay), source


RAMP = np.arange(10, dtype=np.float32)


@pytest.mark.parametrize("reads", [[1] * 12, [EVERYTHING], [3, 5, 9]])
def test_a_process_sees_the_same_blocks_whatever_is_read(reads):
    process = Late()
    stream, _ = grid(RAMP, process)
    given = [stream.read(size)["samples"] for size in reads]
    np.testing.assert_array_equal(np.concatenate(given), RAMP)
    assert process.sizes == [4, 4, 2]
    assert process.lasts == [False, False, True]


@pytest.mark.parametrize("size", [0, 4, 8])
def test_where_the_last_block_is_full_an_empty_one_says_that_it_is_over(size):
    process = Late()
    stream, _ = grid(RAMP[:size], process)
    assert stream.read(EVERYTHING)["samples"].size == size
    assert process.sizes == [4] * (size // 4) + [0]
    assert stream.read(3)["samples"].size == 0


def test_the_source_is_read_once_for_all_that_is_wanted_and_what_is_held_back():
    stream, source = grid(np.zeros(100, np.float32), Late(5), delay=5)
    assert stream.read(10)["samples"].size == 10
    assert source.asked == [16]


def test_a_process_that_holds_back_more_than_was_said_is_fed_on():
    stream, source = grid(np.zeros(100, np.float32), Late(9), delay=0)
    assert stream.read(4)["samples"].size == 4
    assert source.asked == [4, 4, 4, 4]


def test_what_is_held_back_is_measured_with_silence():
    assert delay_of(Late(9), block=4, steps=Fraction(1), trial=64) == 9


def test_reading_after_close_is_refused_and_closing_twice_is_not():
    stream, source = grid(RAMP, Late())
    stream.close()
    stream.close()
    assert source.closed == 1
    with pytest.raises(Cancelled) as caught:
        stream.read(1)
    assert str(caught.value) == "read after close"
