"""What a block notices reaches those who listen where its stream is read, and nobody else."""

import threading

import pytest

from voxstack.core.events import ALIGNMENT, TAP, Event, listening, report

pytestmark = pytest.mark.unit

STALL = Event("attention.stall", "step", 12, "the attention stands still", {"symbol": 3})


def test_an_event_says_what_where_and_when_and_need_say_no_more():
    event = Event("alignment", "step", 4)
    assert (event.kind, event.where, event.step, event.text, event.values) == ("alignment", "step", 4, "", {})
    assert Event("alignment", "step", 4) == event
    assert Event("alignment", "step", 5) != event


def test_data_is_told_apart_from_what_people_should_know():
    assert Event(ALIGNMENT, "step", 4).is_data
    assert Event(TAP, "$.stack[1]", 4).is_data
    assert not STALL.is_data
    assert not Event("tap.failed", "$.stack[1]", 4).is_data


def test_an_event_may_be_reported_though_nobody_listens():
    report(STALL)


def test_a_listener_hears_what_is_reported_inside_its_block_and_no_more():
    heard = []
    report(STALL)
    with listening(heard.append):
        report(STALL)
        report(Event("decoder.too_long", "step", 90))
    report(STALL)
    assert [event.kind for event in heard] == ["attention.stall", "decoder.too_long"]
    assert heard[0] is STALL


def test_those_who_listen_already_go_on_listening_and_hear_first():
    heard = []
    with listening(lambda event: heard.append(("outer", event.step))):
        with listening(lambda event: heard.append(("inner", event.step))):
            report(STALL)
        report(Event("attention.back", "step", 13))
    assert heard == [("outer", 12), ("inner", 12), ("outer", 13)]


def test_who_listens_twice_hears_twice():
    heard = []
    with listening(heard.append), listening(heard.append):
        report(STALL)
    assert heard == [STALL, STALL]


def test_a_listener_whose_block_fails_hears_no_more():
    heard = []
    with pytest.raises(ZeroDivisionError), listening(heard.append):
        _ = 1 / 0
    report(STALL)
    assert heard == []


def test_listeners_are_one_thread_s_own():
    heard = []
    with listening(heard.append):
        thread = threading.Thread(target=report, args=(STALL,))
        thread.start()
        thread.join()
    assert heard == []
