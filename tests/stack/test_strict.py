"""JSON and options are read strictly: whatever is odd is one line with its path."""

from dataclasses import dataclass

import pytest

from voxstack.core.errors import ConfigError
from voxstack.stack.config import AudioConfig
from voxstack.stack.strict import parse_json, validated

pytestmark = pytest.mark.unit


def fault(value, kind=AudioConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        validated(kind, value)
    return str(caught.value)


def json_fault(text) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_json(text, where="addon.json")
    return str(caught.value)


def test_no_object_is_told():
    assert fault([]) == "$: got a list, want an object"
    assert fault(None) == "$: got null, want an object"
    assert fault("a") == "$: got a text, want an object"


def test_values_are_called_as_in_json():
    assert fault({"sample_rate": None}).startswith("$.sample_rate: got null; ")
    assert fault({"sample_rate": True}).startswith("$.sample_rate: got true; ")
    assert fault({"sample_rate": "\ud83d"}).startswith("$: holds half a character (a lone surrogate)")


def test_what_json_cannot_hold_is_told():
    assert fault({"sample_rate": object()}).startswith("$: holds what JSON cannot: ")


def test_options_of_a_block_are_as_strict():
    @dataclass(frozen=True)
    class Options:
        names: tuple[str, ...] = ()
        gain: float = 0.0

    assert validated(Options, {"names": ["a"], "gain": 1}) == Options(("a",), 1.0)
    assert fault({"nmaes": []}, Options) == "$.nmaes: unknown key 'nmaes'; did you mean 'names'?"
    assert fault({"gain": "1"}, Options) == "$.gain: got '1'; input should be a valid number"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            (
                "addon.json: not JSON: Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)"
            ),
        ),
        ('{"a": NaN}', "addon.json: not JSON: NaN is not a number that JSON can hold"),
        ('{"a": -Infinity}', "addon.json: not JSON: -Infinity is not a number that JSON can hold"),
        ('{"a": 1e999}', "addon.json: not JSON: 1e999 is not a number that JSON can hold"),
        ('{"a": 1, "a": 1}', "addon.json: $: key 'a' stands twice in this object; keep one"),
        (
            '{"a": [{}, {"b": {"c": 1, "d": 2, "c": 3}}]}',
            "addon.json: $.a[1].b: key 'c' stands twice in this object; keep one",
        ),
        ("[" * 200 + "]" * 200, "addon.json: nests more than 100 levels deep; want fewer"),
    ],
)
def test_what_is_no_good_json_is_told(text, message):
    assert json_fault(text) == message


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", "[" * 100_000, "1" * 5000])
def test_what_breaks_a_reader_is_told(text):
    assert json_fault(text).startswith("addon.json: not JSON: ")
