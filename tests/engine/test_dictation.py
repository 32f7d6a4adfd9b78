"""A text in writing passes from one who never waits to one who does, in order and bounded."""

import threading

import pytest

from voxstack.core.text import FLUSH
from voxstack.engine.dictation import Dictation

pytestmark = pytest.mark.unit


def test_what_has_been_put_comes_as_one_piece_and_a_flush_keeps_its_place():
    dictation = Dictation()
    for piece in ("a", "b", "", FLUSH, "c", "d"):
        dictation.put(piece)
    dictation.end()
    pieces = list(dictation)
    assert pieces == ["ab", "", "cd"]
    assert pieces[1] is FLUSH


def test_its_reader_waits_until_something_is_put():
    dictation, read = Dictation(), []
    reader = threading.Thread(target=lambda: read.extend(dictation))
    reader.start()
    dictation.put("a")
    dictation.end()
    reader.join(10)
    assert read == ["a"]


def test_closing_wakes_the_reader_and_drops_what_was_not_read():
    dictation, read = Dictation(), []
    reader = threading.Thread(target=lambda: read.extend(dictation))
    reader.start()
    dictation.close()
    reader.join(10)
    assert not reader.is_alive()
    dictation.put("too late")
    assert list(dictation) == read == []


def test_it_is_full_until_it_is_read_and_tells_who_waits():
    dictation, told = Dictation(most_waiting=4), []
    dictation.tell(lambda: told.append(dictation.is_full))
    dictation.put("abc")
    assert not dictation.is_full
    dictation.put("d")
    assert (dictation.is_full, dictation.is_read, told) == (True, False, [])
    assert next(dictation) == "abcd"
    assert (dictation.is_full, dictation.is_read, told) == (False, True, [False])
