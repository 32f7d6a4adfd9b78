"""Turn any text-to-speech model into a streaming voice, through blocks wired by JSON."""

import os
from typing import TYPE_CHECKING, Any

from voxstack.core.errors import BusyError, DeadlineError, VoxstackError

if TYPE_CHECKING:
    from voxstack.core.text import FLUSH
    from voxstack.engine.admission import Admission
    from voxstack.engine.audio import Audio
    from voxstack.engine.service import Service
    from voxstack.engine.telemetry import Telemetry
    from voxstack.engine.voice import Voice, load
    from voxstack.engine.voices import Voices

__all__ = [
    "FLUSH",
    "Admission",
    "Audio",
    "BusyError",
    "DeadlineError",
    "Service",
    "Telemetry",
    "Voice",
    "Voices",
    "VoxstackError",
    "load",
]
__version__ = "0.1.0"

# onnxruntime reports to its vendor where nobody says otherwise; it looks when it is imported, which is later.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "FLUSH": "dictation",
    "Admission": "admission",
    "Audio": "audio",
    "Service": "service",
    "Telemetry": "telemetry",
    "Voice": "voice",
    "Voices": "voices",
    "load": "voice",
}


def __getattr__(name: str) -> Any:
    # `import voxstack` alone must not cost the half second that onnxruntime takes.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"voxstack.engine.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'voxstack' has no attribute '{name}'")
