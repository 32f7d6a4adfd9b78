"""Numbers, dates, money, times and units become words that know what they stand for."""

import sys

import numpy as np
import pytest

from voxstack.core.errors import ConfigError
from voxstack.stages.text.mapped import MappedText
from voxstack.stages.text.normalise import Normaliser

pytestmark = pytest.mark.unit


def spoken(text: str, *, language: str = "en") -> str:
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    return Normaliser(language).normalise(MappedText.of(text)).text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I paid $12.50 for 3 apples.", "I paid twelve dollars and fifty cents for three apples."),
        ("On Jan. 5, 1999 at 3:30 p.m.", "On January fifth nineteen ninety nine at three thirty P M."),
        ("Dr. Smith ran 5.2 km.", "Doctor Smith ran five point two kilometers."),
        ("The 21st of 2,000,000.", "The twenty first of two million."),
        ("It is -5°C.", "It is minus five degrees Celsius."),
        ("Henry VIII", "Henry the eighth"),
        ("Don't change me, please!", "Don't change me, please!"),
    ],
)
def test_english(text: str, wanted: str) -> None:
    assert spoken(text) == wanted


def test_other_languages() -> None:
    assert spoken("Es kostet 5 €.", language="de") == "Es kostet fünf Euro."
    assert spoken("J'ai 21 ans.", language="fr") == "J'ai vingt et un ans."


def test_words_map_to_what_they_stand_for() -> None:
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    text = "I owe $12 now"
    mapped = Normaliser("en").normalise(MappedText.of(text))
    assert mapped.text == "I owe twelve dollars now"
    assert mapped.origins(np.array([[2, 5], [6, 12], [13, 20], [21, 24]])).tolist() == [
        [2, 5],
        [6, 9],
        [6, 9],
        [10, 13],
    ]


def test_an_unknown_language_is_a_clear_error() -> None:
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    with pytest.raises(ConfigError, match=r"^\$\.text\.normalise: cannot normalise 'xx': "):
        Normaliser("xx").normalise(MappedText.of("3"))


def test_without_the_package_only_a_text_that_needs_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spokenform", None)
    plain = MappedText.of("Nothing to do here, really. ")
    assert Normaliser("en").normalise(plain) is plain
    with pytest.raises(ConfigError) as caught:
        Normaliser("en").normalise(MappedText.of("I have 3."))
    assert str(caught.value) == (
        "$.text.normalise: the addon asks for normalised text, which needs the package spokenform; "
        "install it with: pip install 'voxstack[normalise]'"
    )
