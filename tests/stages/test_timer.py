"""Timer: how long the reads of what stands above took."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.events import listening
from voxstack.core.ports import Port
from voxstack.core.streams import ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Timer.v1",)

RATED = {"samples": Port("samples", "float32", ("samples",), Fraction(1000))}
UNRATED = {"samples": Port("samples", "float32", ("samples",))}


class Clock:
    def __init__(self):
        self.now_s = 5.0

    def __call__(self):
        return self.now_s


class Slow:
    """A source that takes a while: each read the next of some times."""

    def __init__(self, clock, steps, takes_s):
        self._stream = ArrayStream.over({"samples": np.zeros(steps, np.float32)})
        self._clock = clock
        self._takes_s = iter(takes_s)

    def read(self, steps):
        self._clock.now_s += next(self._takes_s)
        return self._stream.read(steps)

    def close(self):
        self._stream.close()


def wire(source=RATED, **options):
    entry = {"type": "Timer", **options}
    return wire_stack([entry], nets={}, tensors={}, source=source).blocks[0]


def told(block, takes_s, *, steps=100, cut=40, waits_s=0.0):
    clock, heard = Clock(), []
    stream = replace(block, clock=clock).open({}, Slow(clock, steps, takes_s))
    with listening(heard.append):
        for _ in takes_s:
            clock.now_s += waits_s
            stream.read(cut)
    stream.close()
    return heard


def test_it_keeps_the_law():
    samples = np.arange(200, dtype=np.float32)
    check_streamable(wire(), tensors={}, source={"samples": samples}, expected={"samples": samples})


def test_the_time_of_reads_counts_and_that_between_them_does_not():
    (event,) = told(wire(name="mels"), [0.004, 0.001, 0.005], waits_s=9.0)
    assert (event.kind, event.where, event.step) == ("timer", "mels", 100)
    assert event.values == {
        "reads": 3,
        "total_ms": 10.0,
        "first_ms": 4.0,
        "longest_ms": 5.0,
        "steps": 100,
        "rtf": 0.1,
    }
    assert event.text == "mels: 3 reads took 10.0 ms, the first 4.0 ms; real-time factor 0.100"


def test_where_steps_have_no_duration_there_is_no_real_time():
    (event,) = told(wire(UNRATED), [0.25], cut=1000)
    assert event.text == "1 read took 250.0 ms, the first 250.0 ms"
    assert event.values["rtf"] is None


def test_an_empty_utterance_has_no_real_time():
    (event,) = told(wire(), [0.5], steps=0)
    assert (event.values["steps"], event.values["rtf"]) == (0, None)


def test_reads_behind_the_end_change_nothing():
    assert len(told(wire(), [0.1, 0.1, 0.1, 0.1, 0.1])) == 1


def test_an_utterance_closed_early_is_not_told():
    assert told(wire(), [0.1]) == []


def test_utterances_read_in_turn_have_their_own_times():
    clock, heard = Clock(), []
    block = replace(wire(), clock=clock)
    streams = [block.open({}, Slow(clock, 10, [seconds] * 2)) for seconds in (1.0, 2.0)]
    with listening(heard.append):
        for _ in range(2):
            for stream in streams:
                stream.read(6)
    assert [event.values["total_ms"] for event in heard] == [2000.0, 4000.0]
