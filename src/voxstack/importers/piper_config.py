"""Read the JSON of a Piper voice: every value that the addon needs, checked and named when it is wrong."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstack.core.errors import ConfigError, ImporterError, RequestError
from voxstack.core.text import Sentence
from voxstack.stack.front import build_front_end

__all__ = ["PiperConfig", "check_espeak", "check_ids", "read_config"]

Json = dict[str, Any]

FRONT_ENDS = {"espeak": "espeak", "text": "characters"}
START, END, SPACER = "^", "$", "_"
INFERENCE = {  # default where an old file leaves it out, least, most
    "noise_scale": (0.667, 0.0, 2.0),
    "length_scale": (1.0, 0.1, 10.0),
    "noise_w": (0.8, 0.0, 2.0),
}
PROBE = Sentence("1, 2, 3.")  # every language has sounds for numbers


@dataclass(frozen=True)
class PiperConfig:
    """Hold what a voice's JSON says.

    inference  noise_scale, length_scale, noise_w
    text       the addon's `text` entry: which front end makes phonemes, and their ids
    speakers   numbers by name
    """

    sample_rate: int
    inference: Mapping[str, float]
    text: Json
    languages: list[str]
    speakers: Mapping[str, int]


def read_config(path: Path) -> PiperConfig:
    """Read and check a file.

    Raises:   ImporterError naming the key, what was got and what is wanted
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImporterError("no such file; a Piper voice comes with a JSON config", where=str(path)) from None
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise ImporterError(f"not JSON: {error}", where=str(path)) from error
    try:
        return _config(settings)
    except ImporterError as error:
        raise ImporterError(error.what, where=str(path)) from None


def check_ids(config: PiperConfig, symbols: int, *, where: str) -> None:
    """Check that the model's table of `symbols` rows has all phoneme ids; raise ImporterError."""
    ids: dict[str, list[int]] = config.text["phoneme_ids"]
    symbol = max(ids, key=lambda key: max(ids[key]))
    if max(ids[symbol]) >= symbols:
        raise ImporterError(
            f"phoneme_id_map.{symbol}: got {max(ids[symbol])}, want at most {symbols - 1}, the last row of "
            "the model's phoneme table; is this the config of another voice?",
            where=where,
        )


def check_espeak(config: PiperConfig, *, where: str) -> None:
    """Check that espeak-ng, if it is installed, has the voice; raise ImporterError."""
    if config.text["type"] != "espeak" or importlib.util.find_spec("espeakng_loader") is None:
        return
    text = {**config.text, "normalise": None}  # another extra, not asked about here
    try:
        build_front_end(text).phonemize(PROBE)
    except ConfigError as error:
        raise ImporterError(f"espeak.voice: {error.what}", where=where) from error
    except RequestError as error:
        raise ImporterError(
            f"phoneme_id_map: it has no ids for the sounds that the espeak-ng voice "
            f"'{config.text['voice']}' makes of numbers; is this the config of another voice?",
            where=where,
        ) from error


def _config(settings: Any) -> PiperConfig:
    for key, inner in (("audio", "sample_rate"), ("phoneme_id_map", None)):
        value = settings.get(key) if isinstance(settings, dict) else None
        if not isinstance(value, dict) or (inner and inner not in value):
            name = f"{key}.{inner}" if inner else key
            raise ImporterError(f"'{name}' is missing; is this the config of a Piper voice?")
    languages = _languages(settings)
    return PiperConfig(
        sample_rate=_whole("audio.sample_rate", settings["audio"]["sample_rate"], least=1),
        inference=_inference(_object(settings, "inference")),
        text=_text(settings, languages),
        languages=languages,
        speakers={
            name: _whole(f"speaker_id_map.{name}", number)
            for name, number in _object(settings, "speaker_id_map").items()
        },
    )


def _object(settings: Json, key: str) -> Json:
    """Return an object, {} if it is left out or null."""
    value = settings.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ImporterError(f"{key}: got {_shown(value)}, want an object")
    return value


def _whole(key: str, value: object, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ImporterError(f"{key}: got {_shown(value)}, want a whole number of at least {least}")
    return value


def _inference(given: Json) -> dict[str, float]:
    values: dict[str, float] = {}
    for key, (default, least, most) in INFERENCE.items():
        value = given.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:  # NaN is in no range
            raise ImporterError(
                f"inference.{key}: got {_shown(value)}, want a number from {least:g} to {most:g}"
            )
        values[key] = float(value)
    return values


def _text(settings: Json, languages: list[str]) -> Json:
    kind = settings.get("phoneme_type") or "espeak"
    if not isinstance(kind, str) or kind not in FRONT_ENDS:
        known = ", ".join(sorted(FRONT_ENDS))
        raise ImporterError(f"phoneme_type '{kind}' has no front end here; known: {known}")
    ids = {symbol: _ids(symbol, numbers) for symbol, numbers in settings["phoneme_id_map"].items()}
    missing = [symbol for symbol in (START, END, SPACER) if symbol not in ids]
    if missing:
        raise ImporterError(f"phoneme_id_map lacks {missing}, which frame every sentence")
    text: Json = {"type": FRONT_ENDS[kind]}
    if kind == "espeak":
        voice = _object(settings, "espeak").get("voice")
        if not voice:
            raise ImporterError("'espeak.voice' is missing")
        if not isinstance(voice, str):
            raise ImporterError(f"espeak.voice: got {_shown(voice)}, want a name such as 'en-us'")
        text["voice"] = voice
    text |= {"phoneme_ids": ids, "start": START, "end": END, "spacer": SPACER}
    if languages and languages[0].startswith("en"):
        text["normalise"] = "en"
    return text


def _ids(symbol: str, numbers: object) -> list[int]:
    key = f"phoneme_id_map.{symbol}"
    if not isinstance(numbers, list) or not numbers:
        raise ImporterError(f"{key}: got {_shown(numbers)}, want a list of one id or more")
    return [_whole(key, number) for number in numbers]


def _languages(settings: Json) -> list[str]:
    code = _object(settings, "language").get("code") or _object(settings, "espeak").get("voice")
    return [str(code).replace("_", "-")] if code else []


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
