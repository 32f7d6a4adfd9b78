"""Numbers, dates, money, times and units become words that know what they stand for."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError
from voxstack.stages.text.mapped import MappedText
from voxstack.stages.text.normalise import Normaliser
from voxstack.stages.text.rules_en import rewrite_english

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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He is 5'10\" tall.", "He is five foot ten tall."),
        ("He is 6'2.", "He is six foot two."),
        ("A 6' tall door.", "A six foot tall door."),
        ("At 10:30 a.m. we go.", "At ten thirty A-M we go."),
        ("Open 8am-5pm.", "Open eight A-M to five P M."),
        ("Open 9-5pm, 9:00-17:00.", "Open nine to five P M, nine o'clock to seventeen o'clock."),
        ("It costs £5m.", "It costs five million pounds."),
        (
            "It made $3bn, €2.5m and $5k.",
            "It made three billion dollars, two point five million euros and five thousand dollars.",
        ),
        ("It is $5-10.", "It is five to ten dollars."),
        ("It is £1bn-£2bn.", "It is one billion to two billion pounds."),
        ("3bn people", "three billion people"),
        ("the 90s", "the nineties"),
        ("the '80s and 90s", "the eighties and nineties"),
        ("back in ’90s style", "back in nineties style"),
        ("a 30s timeout", "a thirty seconds timeout"),
        ("open 24/7", "open twenty-four seven"),
        ("24/7/365", "twenty-four seven three sixty-five"),
        ("Agent 007.", "Agent zero zero seven."),
        ("0.5 at 05:30", "zero point five at five thirty"),
        ("5-10 May", "the fifth to the tenth of May"),
        ("May 1-22", "May first to twenty second"),
        ("5-10% of 3–4 km", "five to ten percent of three to four kilometers"),
        ("20°C-25°C", "twenty degrees Celsius to twenty five degrees Celsius"),
        ("2019-2020", "twenty nineteen to twenty twenty"),
        ("2020-05-10", "May tenth twenty twenty"),
        ("call 555-123-4567", "call five five five one two three four five six seven"),
        ("won 3-2", "won three to two"),
    ],
)
def test_english_that_the_library_misreads(text: str, wanted: str) -> None:
    assert spoken(text) == wanted


WRITTEN = """5'10" 6'2 6' 10:30 a.m. am pm £5m $3bn $5k the 90s '90s 24/7 007 00 5-10 May 8am-5pm $5-10 1st
2nd % °C km $ £ € - – / . , : ' " ’ 1990-95 1,000 2.5 0 7 12 365 192.168.0.1 ISO-8601 #1 x² ½ ٣ ( ) + = He"""
FORMS = st.sampled_from(WRITTEN.split())
TEXTS = st.lists(st.tuples(FORMS, st.sampled_from(["", " ", " "])), max_size=12).map(
    lambda parts: "".join(form + space for form, space in parts)
)


@given(TEXTS, st.integers(0, 1000))
def test_no_group_of_digits_vanishes(text: str, start: int) -> None:
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    for mapped in (
        rewrite_english(MappedText.of(text, start)),
        Normaliser("en").normalise(MappedText.of(text, start)),
    ):
        assert len(mapped.text) == len(mapped.starts) == len(mapped.stops)
        assert (np.diff(mapped.starts) >= 0).all()
        assert (np.diff(mapped.stops) >= 0).all()
        words = np.array([char.isalnum() for char in mapped.text], dtype=bool)
        for group in re.finditer(r"\d+", text):
            over = (mapped.starts < start + group.end()) & (mapped.stops > start + group.start())
            assert (over & words).any(), (mapped.text, group)


@pytest.mark.parametrize("replacement", ["", "pages"])
def test_digits_without_words_stay_for_the_phonemizer(
    monkeypatch: pytest.MonkeyPatch, replacement: str
) -> None:
    edit = SimpleNamespace(source_start=0, source_end=8, replacement=replacement)
    prepared = SimpleNamespace(source_replacements=[edit], spoken_text=replacement + ".")
    monkeypatch.setitem(sys.modules, "spokenform", SimpleNamespace(prepare=lambda *_, **__: prepared))
    assert Normaliser("en").normalise(MappedText.of("pages 12.")).text == "pages 12."


def test_a_number_that_the_library_cannot_parse_stays() -> None:
    assert spoken("1,00024/7") == "1,00024/7"


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
