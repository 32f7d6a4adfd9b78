"""Make what `voxstack bench` measures: voices in this process, or a server's."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxstack.core.errors import RequestError
from voxstack.engine.nets import Running
from voxstack.engine.voice import open_voice
from voxstack.testing.load import SpeechServer, Target, VoiceTarget

__all__ = ["servers_to_measure", "voices_to_measure"]


def voices_to_measure(
    names: Sequence[str], running: Running, folders: tuple[Path, ...], *, is_english: bool
) -> tuple[list[Target], list[dict[str, Any]]]:
    """Load voices; raise RequestError if one cannot speak the texts."""
    targets: list[Target] = []
    facts: list[dict[str, Any]] = []
    as_served = dataclasses.replace(running, unsaid_threads=1)
    for name in names:
        voice = open_voice(name, as_served, folders=folders)
        _ = voice.front
        languages = voice.loaded.addon.config.languages
        if is_english and not any(language.partition("-")[0] == "en" for language in languages):
            raise RequestError(
                f"speaks {', '.join(languages) or 'no known language'}, and the built-in texts are English; "
                "give --texts FILE, one text a line",
                where=voice.name,
            )
        voice.warm_up()
        targets.append(VoiceTarget(voice))
        facts.append(
            {
                "voice": voice.name,
                "profile": voice.loaded.profile,
                "runtime": voice.loaded.runtime,
                "sample_rate": voice.sample_rate,
            }
        )
    return targets, facts


def servers_to_measure(
    names: Sequence[str], url: str, model: str, api_key_env: str | None
) -> tuple[list[Target], list[dict[str, Any]]]:
    """Return a target for each of a server's voices."""
    key = None
    if api_key_env is not None:
        key = os.environ.get(api_key_env)
        if not key:
            raise RequestError("the variable is not set, want one that holds the key", where=api_key_env)
    targets: list[Target] = [SpeechServer(url, name, model, key) for name in names]
    return targets, [{"voice": name, "model": model} for name in names]
