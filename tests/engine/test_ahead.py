"""A stream's work ends with whoever hears it, whatever goes wrong, and its listener is told."""

import gc
import threading

import numpy as np
import pytest

from voxstack.core.errors import NetError
from voxstack.engine import ahead, scheduler
from voxstack.engine.ahead import Speech
from voxstack.engine.audio import Audio
from voxstack.engine.playback import Playback
from voxstack.engine.scheduler import Lane, LaneState

pytestmark = pytest.mark.unit

SOON_S = 5
CHUNK = Audio(np.zeros(160, np.float32), 16_000, (0, 1), ())


class Held:
    """A work that runs until it is let go, and does not notice that its stream is closed."""

    key, most, where, can_stand_back = None, 1, "net 'held'", True

    def __init__(self):
        self.began = threading.Event()
        self.gate = threading.Event()

    def alone(self):
        self.began.set()
        assert self.gate.wait(SOON_S)
        return CHUNK


@pytest.fixture
def held():
    work = Held()
    yield work
    work.gate.set()


def speak(chunks, over=None):
    return Speech(chunks, Playback(is_ahead=True), over=over)


def runs(lane, work):
    yield lane.run(work)


@pytest.mark.parametrize("in_a_ring", [False, True])
def test_a_stream_may_be_forgotten_where_its_lanes_lock_is_held(held, in_a_ring):
    """The collector notices it in any thread, at any line."""
    lane, over = Lane(1), threading.Event()
    keeper = speak(runs(lane, held))
    assert held.began.wait(SOON_S)
    speech = speak(runs(lane, Held()), over.set)
    while not lane.state.waiting:
        pass
    if in_a_ring:
        speech.itself = speech
    with lane._lock:
        del speech
        gc.collect()
    assert over.wait(SOON_S)
    assert lane.state == LaneState(running=1, waiting=0)
    held.gate.set()
    assert next(keeper) is CHUNK


@pytest.mark.parametrize("in_own_thread", [True, False])
def test_who_waits_alone_for_a_net_that_hangs_is_told(held, monkeypatch, in_own_thread):
    lane = Lane(2 if in_own_thread else 1, hung_s=0.05)
    monkeypatch.setattr(scheduler, "_lanes", {"cpu": lane})
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    playback = Playback(is_ahead=True)
    playback.made(100.0)

    def chunks():
        with playback.active():
            yield lane.run(held)

    speech = Speech(chunks(), playback)
    with pytest.raises(NetError, match=r"has not ended after 0\.05 s and is given up"):
        next(speech)
    assert list(speech) == []
    assert lane.state == LaneState(running=0, waiting=0)


def test_a_fault_while_all_is_closed_is_the_listeners_and_nothing_is_kept():
    class Broken:
        """Chunks that fail once more when they are closed."""

        def __iter__(self):
            return iter([CHUNK])

        def close(self):
            raise NetError("broke")

    over = threading.Event()
    speech = speak(Broken(), over.set)
    assert over.wait(SOON_S)
    assert next(speech) is CHUNK
    with pytest.raises(NetError, match="broke"):
        next(speech)
    assert list(speech) == []


def test_a_program_that_ends_waits_for_what_is_at_work(held):
    over = threading.Event()
    speech = speak(runs(Lane(1), held), over.set)
    assert held.began.wait(SOON_S)
    threading.Timer(0.05, held.gate.set).start()
    ahead._stop_all()
    assert over.is_set()
    assert list(speech) == []
