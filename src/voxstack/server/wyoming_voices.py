"""Tell Wyoming's clients of the voices, and find the one that they want."""

from contextlib import suppress
from typing import Any

from pydantic import ConfigDict

from voxstack import __version__
from voxstack.core.errors import RequestError
from voxstack.server.catalogue import Offer
from voxstack.server.desk import Asked, Desk
from voxstack.stack.strict import StrictModel

__all__ = ["VoiceWish", "Wish", "asked_of", "info_of"]


class VoiceWish(StrictModel):
    """The voice that a client wants; a name says more than a language."""

    model_config = ConfigDict(extra="ignore")

    name: str | None = None
    language: str | None = None
    speaker: str | None = None


class Wish(StrictModel):
    """What `synthesize` and `synthesize-start` have in common."""

    model_config = ConfigDict(extra="ignore")

    voice: VoiceWish | None = None
    text_format: str | None = None


def asked_of(wish: Wish, desk: Desk) -> Asked:
    """Return what is wanted, but for the text; raise RequestError."""
    if (wish.text_format or "text") != "text":
        raise RequestError(f"got '{wish.text_format}', want text", where="text_format")
    voice = wish.voice or VoiceWish()
    offer = _offer(voice, desk)
    if voice.speaker is None:
        return Asked(offer.name, "")
    speaker: float | str = voice.speaker
    with suppress(ValueError):  # a speaker without a name has a number
        if voice.speaker not in _speakers(offer):
            speaker = float(voice.speaker)
    return Asked(offer.name, "", controls={"speaker": speaker})


def _offer(voice: VoiceWish, desk: Desk) -> Offer:
    if voice.name is not None:
        return desk.catalogue.find(voice.name)
    offers = list(desk.catalogue.offers.values())
    if not offers:
        raise RequestError("there is none yet", where="voice")
    if voice.language is None:
        return offers[0]
    for kin in (_same, _akin):
        for offer in offers:
            if any(kin(language, voice.language) for language in offer.languages):
                return offer
    known = sorted({language for offer in offers for language in offer.languages})
    raise RequestError(f"no voice speaks '{voice.language}'; known: {', '.join(known)}", where="language")


def _same(one: str, other: str) -> bool:
    return _parts(one) == _parts(other)


def _akin(one: str, other: str) -> bool:
    return _parts(one)[0] == _parts(other)[0]


def _parts(language: str) -> list[str]:
    return language.lower().replace("_", "-").split("-")


def _speakers(offer: Offer) -> list[str]:
    control = offer.controls.get("speaker")
    return [] if control is None else list(control.choices)


def info_of(desk: Desk) -> dict[str, Any]:
    """Return the data of an `info` event."""
    voices = [
        {
            "name": offer.name,
            "description": f"{offer.name} ({', '.join(offer.languages)})",
            "languages": list(offer.languages),
            "speakers": [{"name": name} for name in _speakers(offer)] or None,
            "version": None,
            "installed": True,
            "attribution": {"name": offer.licence, "url": ""},
        }
        for offer in desk.catalogue.offers.values()
    ]
    program = {
        "name": "voxstack",
        "description": "Voices that speak while they compute",
        "version": __version__,
        "installed": True,
        "attribution": {"name": "voxstack", "url": ""},
        "supports_synthesize_streaming": True,
        "voices": voices,
    }
    others = ("asr", "handle", "intent", "wake", "mic", "snd")
    return {**{name: [] for name in others}, "tts": [program]}
