"""Tell an event in the one shape that every command's JSON has."""

from typing import Any

from voxstack.core.events import Event

__all__ = ["event_row"]


def event_row(event: Event, *, utterance: int, audio_s: float) -> dict[str, Any]:
    """Return an event as a program reads it: what happened where, when in the audio, and its values.

    In:       utterance  number in the request, from 0
              audio_s    seconds into the request's audio at which it happened
    """
    row: dict[str, Any] = {
        "kind": event.kind,
        "net": event.where,
        "frame": event.step,
        "utterance": utterance,
        "audio_s": round(audio_s, 3),
        "text": event.text,
    }
    return {**row, **event.values, **row}  # in this order, and no value takes the place of these
