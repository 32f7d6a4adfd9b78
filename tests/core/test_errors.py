"""Errors say where, what was got and what to do."""

import pytest

from voxstack.core import errors

pytestmark = pytest.mark.unit


def test_an_error_reads_as_place_and_fault():
    error = errors.ConfigError("no block 'Encoder'; did you mean 'Encoders'?", where="$.stack[0].type")
    assert str(error) == "$.stack[0].type: no block 'Encoder'; did you mean 'Encoders'?"
    assert (error.where, error.what) == ("$.stack[0].type", "no block 'Encoder'; did you mean 'Encoders'?")


def test_an_error_without_a_place_is_the_fault_alone():
    assert str(errors.Cancelled("the stream was closed")) == "the stream was closed"


def test_every_error_is_a_voxstack_error():
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "suggest"]
    assert len(kinds) == 13
    assert all(issubclass(kind, errors.VoxstackError) for kind in kinds)


def test_the_tree_at_the_top_of_the_file_is_the_tree():
    drawn = [line.split("── ")[1].split()[0] for line in errors.__doc__.splitlines() if "── " in line]
    assert {"VoxstackError", *drawn} == {name for name in errors.__all__ if name != "suggest"}


def test_a_broken_law_fails_a_test_as_an_assertion_does():
    assert issubclass(errors.LawError, AssertionError)


@pytest.mark.parametrize(
    ("got", "known", "ending"),
    [
        ("Encoder", ["Encoders", "Decoder"], "; did you mean 'Encoders'?"),
        ("zzz", ["b", "a"], "; known: a, b"),
        ("zzz", [], ""),
    ],
)
def test_a_suggestion_names_the_nearest_or_all(got, known, ending):
    assert errors.suggest(got, known) == ending
