"""A service takes what it can serve, and refuses the rest at once, with a hint."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from voxstack.core.errors import BusyError, RequestError
from voxstack.engine.admission import FIRST_GUESS_S, LEAST_S, MOST_S, Admission

pytestmark = pytest.mark.unit

PATIENCE_S = 20


def refusal(admission, characters=0, **options):
    with pytest.raises(BusyError) as refused:
        admission.admit(characters, **options)
    return refused.value


def settle(admission, clock, lasts_s):
    """Let so many streams of one length end that all that is known is that length."""
    for _ in range(200):
        ticket = admission.admit()
        clock.now_s += lasts_s
        ticket.close()


def test_so_many_streams_are_let_in_and_no_more(clock):
    admission = Admission(2, clock=clock)
    tickets = [admission.admit(), admission.admit()]
    refused = refusal(admission)
    assert str(refused) == "service: 2 of 2 streams are at work; try again in 2 s"
    assert admission.at_work == 2
    tickets[0].close()
    with admission.admit():
        assert admission.at_work == 2
    assert admission.at_work == 1


def test_a_ticket_is_given_back_once(clock):
    admission = Admission(2, clock=clock)
    ticket, _ = admission.admit(), admission.admit()
    ticket.close()
    ticket.close()
    assert admission.at_work == 1


def test_text_that_waits_is_bounded(clock):
    admission = Admission(8, queued_characters=1000, clock=clock)
    ticket = admission.admit(700)
    assert str(refusal(admission, 400)).startswith(
        "service: 700 of at most 1,000 characters wait to be spoken, 400 more are too many; try again in "
    )
    admission.admit(300)
    ticket.spoken(500)
    assert admission.queued == 500
    admission.admit(400)
    ticket.close()
    assert admission.queued == 700


def test_a_ticket_gives_back_no_more_text_than_it_has(clock):
    admission = Admission(8, queued_characters=1000, clock=clock)
    admission.admit(200)
    with admission.admit(300) as ticket:
        ticket.spoken(1000)
        assert admission.queued == 200
    assert admission.queued == 200


def test_a_text_that_never_fits_is_refused_for_good(clock):
    admission = Admission(8, queued_characters=1000, clock=clock)
    with pytest.raises(RequestError) as refused:
        admission.admit(1001)
    assert str(refused.value) == (
        "text: got 1,001 characters, at most 1,000 are taken at once; send the text in parts"
    )


def test_one_client_does_not_take_the_place_of_all_others(clock):
    admission = Admission(8, per_client=2, clock=clock)
    tickets = [admission.admit(client="a") for _ in range(2)]
    assert str(refusal(admission, client="a")).startswith(
        "service: this client has 2 of its 2 streams at work; try again in "
    )
    admission.admit(client="b")
    for _ in range(4):
        admission.admit()  # who does not say who he is, is not bounded by it
    tickets[0].close()
    admission.admit(client="a")


def test_clients_that_are_gone_are_forgotten(clock):
    admission = Admission(8, per_client=1, clock=clock)
    for client in range(1000):
        admission.admit(client=client).close()
    assert admission._of_client == {}


def test_the_hint_follows_how_long_streams_last(clock):
    admission = Admission(4, clock=clock)
    settle(admission, clock, 40)
    for _ in range(4):
        admission.admit()
    assert refusal(admission).retry_after_s == pytest.approx(40 / 4)
    settle(long := Admission(4, clock=clock), clock, 12)
    for _ in range(4):
        long.admit()
    assert refusal(long).retry_after_s == pytest.approx(12 / 4)


def test_before_any_has_ended_the_hint_is_a_guess(clock):
    admission = Admission(1, clock=clock)
    admission.admit()
    assert refusal(admission).retry_after_s == FIRST_GUESS_S


@pytest.mark.parametrize(("lasts_s", "hint_s"), [(0.001, LEAST_S), (10_000, MOST_S)])
def test_the_hint_is_bounded(clock, lasts_s, hint_s):
    admission = Admission(1, clock=clock)
    settle(admission, clock, lasts_s)
    admission.admit()
    assert refusal(admission).retry_after_s == pytest.approx(hint_s)


def test_not_all_who_are_refused_are_told_to_come_at_the_same_time(clock):
    admission = Admission(2, clock=clock)
    settle(admission, clock, 8)
    tickets = [admission.admit(), admission.admit()]
    hints = [refusal(admission).retry_after_s for _ in range(3)]
    assert hints == pytest.approx([4, 8, 12])
    tickets[0].close()
    admission.admit()
    assert refusal(admission).retry_after_s == pytest.approx(12, rel=0.2)


def test_refusals_are_forgotten_once_nothing_is_at_work(clock):
    admission = Admission(1, clock=clock)
    settle(admission, clock, 8)
    ticket = admission.admit()
    assert [refusal(admission).retry_after_s for _ in range(3)][-1] == pytest.approx(24)
    ticket.close()
    with admission.admit():
        assert refusal(admission).retry_after_s == pytest.approx(8, rel=0.2)


def test_a_client_beyond_his_own_bound_changes_nobody_elses_hint(clock):
    admission = Admission(2, per_client=1, clock=clock)
    settle(admission, clock, 8)
    with admission.admit(client="greedy"), admission.admit(client="other"):
        for _ in range(20):
            with pytest.raises(BusyError) as refused:
                admission.admit(client="greedy")
            assert refused.value.retry_after_s == pytest.approx(8)
        assert refusal(admission).retry_after_s == pytest.approx(4)


def test_a_flood_of_refusals_is_forgotten_as_streams_end(clock):
    admission = Admission(2, clock=clock)
    settle(admission, clock, 4)
    tickets = [admission.admit(), admission.admit()]
    for _ in range(10_000):
        refusal(admission)
    for _ in range(15):
        tickets.pop(0).close()
        clock.now_s += 4
        tickets.append(admission.admit())
    assert refusal(admission).retry_after_s < 10


def test_many_threads_get_so_many_places_and_no_more():
    admission = Admission(3)
    together = threading.Barrier(8)
    most = []

    def ask(_):
        together.wait(PATIENCE_S)
        let_in = 0
        for _ in range(200):
            try:
                with admission.admit(1):
                    let_in += 1
                    most.append(admission.at_work)
            except BusyError:
                pass
        return let_in

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) > 0
    assert max(most) <= 3
    assert (admission.at_work, admission.queued) == (0, 0)


@pytest.mark.parametrize("name", ["streams", "queued_characters", "per_client"])
def test_a_bound_is_one_at_least(name):
    with pytest.raises(RequestError, match=f"{name}: got 0, want 1 or more"):
        Admission(**{"streams": 1, name: 0})
