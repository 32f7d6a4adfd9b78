"""A client of Wyoming finds a voice by name, language and speaker."""

from types import SimpleNamespace

import pytest

from voxstack.core.errors import RequestError
from voxstack.server.catalogue import Catalogue, Offer
from voxstack.server.wyoming_voices import VoiceWish, Wish, asked_of, info_of
from voxstack.stack.config import ControlConfig

pytestmark = pytest.mark.unit

SPEAKERS = {"speaker": ControlConfig(default=0, choices={"ann": 0, "bob": 1})}


@pytest.fixture
def desk():
    offers = {
        "joe": Offer("joe", ("en-US",), "MIT", 22_050, {}),
        "many": Offer("many", ("de-DE", "de-AT"), "MIT", 22_050, SPEAKERS),
    }
    return SimpleNamespace(catalogue=Catalogue(offers=offers))


@pytest.mark.parametrize(
    ("wish", "name", "controls"),
    [
        (None, "joe", {}),
        (VoiceWish(), "joe", {}),
        (VoiceWish(name="many", language="en"), "many", {}),
        (VoiceWish(language="de_at"), "many", {}),
        (VoiceWish(language="de"), "many", {}),
        (VoiceWish(language="en-GB"), "joe", {}),
        (VoiceWish(name="many", speaker="bob"), "many", {"speaker": "bob"}),
        (VoiceWish(name="many", speaker="1"), "many", {"speaker": 1.0}),
    ],
)
def test_the_voice_that_fits_is_found(desk, wish, name, controls):
    asked = asked_of(Wish(voice=wish), desk)
    assert (asked.voice, asked.controls) == (name, controls)


def test_a_language_that_nobody_speaks_is_refused(desk):
    with pytest.raises(RequestError) as caught:
        asked_of(Wish(voice=VoiceWish(language="fr")), desk)
    assert str(caught.value) == "language: no voice speaks 'fr'; known: de-AT, de-DE, en-US"


def test_the_info_lists_speakers_where_a_voice_has_some(desk):
    voices = info_of(desk)["tts"][0]["voices"]
    assert [voice["speakers"] for voice in voices] == [None, [{"name": "ann"}, {"name": "bob"}]]


def test_a_server_without_voices_says_so(desk):
    desk.catalogue.offers.clear()
    with pytest.raises(RequestError, match="voice: there is none yet"):
        asked_of(Wish(), desk)
