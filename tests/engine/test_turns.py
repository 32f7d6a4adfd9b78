"""Whose turn it is follows from who waits, who is at work and what time it is, and from nothing else."""

import contextvars

import pytest

from voxstack.engine.runs import Run
from voxstack.engine.turns import Turns

pytestmark = pytest.mark.unit

NOW = 1000.0


class Net:
    """A work that is never run."""

    where = "net 'x'"

    def __init__(self, key=None, most=1, *, can_stand_back=True):
        self.key, self.most, self.can_stand_back = key, most, can_stand_back


class Listener:
    """Whose audio lasts for so long; None: he waits for his first word."""

    def __init__(self, audio_s):
        self.has_begun = audio_s is not None
        self.dry = NOW + (audio_s or 0.0)

    def runs_dry_at(self):
        return self.dry


def a_run(audio_s=None, *, threads=1, **work):
    return Run(Net(**work), threads, Listener(audio_s), None, contextvars.copy_context(), NOW)


def turns_with(units, *runs):
    """Return the turns of a lane in which these wait, and nobody is at work."""
    turns = Turns(units)
    turns.waiting.extend(runs)
    return turns


def granted(turns):
    turns.grant_urgent(NOW)
    return {run for run in turns.running if run.is_granted}


def test_a_gap_is_worse_than_a_late_first_word_and_that_is_worse_than_nothing():
    enough, new, nearly_dry = a_run(0.4), a_run(), a_run(0.1)
    turns = turns_with(1, enough, new, nearly_dry)
    for run in (nearly_dry, new, enough):
        assert granted(turns) == {run}
        assert run.woken.is_set()
        turns.end(run)
    assert (turns.waiting, turns.running, turns.free) == ([], set(), 1)


def test_the_most_urgent_waits_for_as_many_units_as_it_needs_and_nobody_overtakes_it():
    narrow, wide, late = a_run(0.0), a_run(0.1, threads=2), a_run(0.4)
    turns = turns_with(2, narrow, wide, late)
    assert granted(turns) == {narrow}
    turns.end(narrow)
    assert granted(turns) == {wide}
    assert turns.free == 0


def test_the_patient_are_granted_no_unit_but_have_as_many_of_their_own():
    patient, other = a_run(100), a_run(50)
    turns = turns_with(1, patient, other)
    assert granted(turns) == set()
    assert turns.take_patient(NOW) is other
    assert turns.take_patient(NOW) is None
    assert (turns.free, turns.free_for_patient, other.is_granted) == (1, 0, False)
    turns.end(other)
    assert turns.take_patient(NOW) is patient


def test_who_was_patient_is_urgent_once_he_has_little_left():
    run = a_run(100)
    turns = turns_with(1, run)
    turns.grant_urgent(NOW + 99.4)
    assert not run.is_granted
    turns.grant_urgent(NOW + 99.6)
    assert run.is_granted


def test_a_patient_run_that_finds_nobody_is_at_work_at_once_and_keeps_no_unit():
    turns, run = Turns(2), a_run(100)
    turns.come(run, NOW)
    assert run.is_granted
    assert turns.free == 2
    turns.come(other := a_run(100), NOW)
    assert not other.is_granted


def test_where_there_is_one_unit_a_patient_run_leaves_it_free():
    turns, run = Turns(1), a_run(100)
    turns.come(run, NOW)
    assert turns.waiting == [run]


def test_fellows_are_the_most_urgent_of_the_same_key_up_to_a_bound():
    first, late, soon, other = a_run(0.0, key=7, most=2), a_run(0.4, key=7), a_run(0.2, key=7), a_run(key=8)
    turns = turns_with(1, late, first, other, soon)
    assert granted(turns) == {first}
    assert first.fellows == [soon]
    assert turns.waiting == [late, other]


def test_what_can_be_run_as_one_gathers_but_the_urgent_do_not_wait_for_a_thread_that_stands_back():
    patient, next_patient, urgent = (a_run(audio_s, key=7) for audio_s in (50, 100, None))
    turns = turns_with(3, patient)
    assert turns.take_patient(NOW) is patient
    turns.waiting.extend([next_patient, urgent])
    assert turns.ready(NOW) == [urgent]
    assert granted(turns) == {urgent}
    turns.waiting.append(a_run(key=7))
    assert turns.ready(NOW) == []


def test_a_turn_that_nobody_takes_leaves_its_fellows_waiting():
    first, fellow = a_run(0.0, key=7, most=8), a_run(0.2, key=7)
    turns = turns_with(1, first, fellow)
    assert granted(turns) == {first}
    turns.turn_down(first)
    assert (turns.waiting, turns.running, turns.free) == ([fellow], set(), 1)


def test_fellows_that_part_wait_again_alone_but_for_those_who_have_gone():
    first, stays, gone = a_run(0.0, key=7, most=8), a_run(0.1, key=7), a_run(0.2, key=7)
    turns = turns_with(2, first, stays, gone)
    assert granted(turns) == {first}
    gone.give()
    turns.part(first)
    assert turns.waiting == [stays]
    assert stays.key is None
    assert granted(turns) == {first, stays}


def test_with_no_thread_for_the_patient_the_first_of_them_may_have_a_unit():
    patient, wide = a_run(100), a_run(50, threads=2)
    turns = turns_with(1, patient, wide)
    turns.grant_first(NOW)
    assert turns.running == set()
    turns.waiting.remove(wide)
    turns.grant_first(NOW)
    assert patient.is_granted


def test_those_at_work_are_known_by_when_they_began():
    turns = turns_with(2, early := a_run())
    turns.grant_urgent(NOW)
    turns.waiting.append(a_run())
    turns.grant_urgent(NOW + 2)
    assert turns.begun_before(NOW + 1) == [early]
