"""A service lets the C library have few heaps, unless the operator has said how many."""

import ctypes

import pytest

from voxstack.engine import heaps

pytestmark = pytest.mark.unit


class Library:
    def __init__(self):
        self.asked = []

    def mallopt(self, *asked):
        self.asked.append(asked)


@pytest.fixture
def library(monkeypatch):
    for name in heaps.SAID_BY:
        monkeypatch.delenv(name, raising=False)
    one = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: one)
    return one


def test_there_are_as_many_heaps_as_cores(library, monkeypatch):
    monkeypatch.setattr(heaps, "cores", lambda: 3)
    heaps.keep_few_heaps()
    assert library.asked == [(-8, 3)]


@pytest.mark.parametrize("name", heaps.SAID_BY)
def test_an_operators_word_counts_more(library, monkeypatch, name):
    monkeypatch.setenv(name, "4")
    heaps.keep_few_heaps()
    assert library.asked == []


def test_another_c_library_is_left_alone(library, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heaps.keep_few_heaps()


def test_each_service_sees_to_it(library):
    from voxstack.engine.service import Service
    from voxstack.engine.voices import Voices

    Service(Voices()).close()
    assert len(library.asked) == 1
