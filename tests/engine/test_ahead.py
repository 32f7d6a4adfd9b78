"""Speech that is made ahead can be heard without a thread that waits for it."""

import threading

import numpy as np
import pytest

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import DeadlineError
from voxstack.engine.ahead import Speech
from voxstack.engine.audio import Audio
from voxstack.engine.playback import Playback

pytestmark = pytest.mark.unit

PATIENCE_S = 20


class Gate:
    """Chunks of a tenth of a second that are made when a test says so."""

    def __init__(self):
        self.more = threading.Semaphore(0)

    def chunks(self, count, error=None):
        for number in range(count):
            assert self.more.acquire(timeout=PATIENCE_S)
            yield Audio(np.full(1600, number, np.float32), 16_000)
        assert self.more.acquire(timeout=PATIENCE_S)
        if error is not None:
            raise error


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.more.release(99)


@pytest.fixture
def told():
    return threading.Semaphore(0)


def heard(speech, told):
    """Return the next chunk once it is there, as a loop would that is woken."""
    while (chunk := speech.take_ready()) is None:
        assert told.acquire(timeout=PATIENCE_S)
    return chunk


def test_who_is_told_takes_what_is_ready_and_never_waits(gate, told):
    with Speech(gate.chunks(2), Playback(is_ahead=True)) as speech:
        speech.tell(told.release)
        assert told.acquire(timeout=0)  # at once: there may be something already
        assert speech.take_ready() is None
        for number in range(2):
            gate.more.release()
            assert heard(speech, told).samples[0] == number
        assert speech.take_ready() is None
        gate.more.release()
        with pytest.raises(StopIteration):
            heard(speech, told)


def test_an_error_is_raised_once_what_was_made_is_taken(gate, told):
    with Speech(gate.chunks(1, ValueError("broken")), Playback(is_ahead=True)) as speech:
        gate.more.release(2)
        speech.tell(told.release)
        assert heard(speech, told) is not None
        with pytest.raises(ValueError, match="broken"):
            heard(speech, told)
        with pytest.raises(StopIteration):
            speech.take_ready()


def test_who_is_told_hears_why_it_was_cancelled(gate, told):
    scope = CancelScope()
    with Speech(gate.chunks(9), Playback(is_ahead=True), scope=scope) as speech:
        speech.tell(told.release)
        gate.more.release()
        assert heard(speech, told) is not None
        while told.acquire(blocking=False):
            pass
        gate.more.release(99)
        scope.cancel(DeadlineError("late"))
        with pytest.raises(DeadlineError, match="late"):
            heard(speech, told)


def test_what_is_taken_makes_room_for_more(told):
    made = []

    def chunks():
        for number in range(40):
            made.append(number)
            yield Audio(np.zeros(1600, np.float32), 16_000)

    with Speech(chunks(), Playback(is_ahead=True), ahead_s=1.0) as speech:
        speech.tell(told.release)
        taken = 0
        while taken < 40:
            heard(speech, told)
            taken += 1
            assert len(made) <= taken + 12
