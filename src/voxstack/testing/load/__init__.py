"""Measure voices and servers under load: many listeners at once, in a closed loop."""

from voxstack.testing.load.closed_loop import Load, run_load, warm_up
from voxstack.testing.load.listener import Heard, hear
from voxstack.testing.load.report import LoadReport
from voxstack.testing.load.search import most_streams
from voxstack.testing.load.server import Refused, SpeechServer
from voxstack.testing.load.targets import InTurn, Target, VoiceTarget
from voxstack.testing.load.texts import ENGLISH, read_texts

__all__ = [
    "ENGLISH",
    "Heard",
    "InTurn",
    "Load",
    "LoadReport",
    "Refused",
    "SpeechServer",
    "Target",
    "VoiceTarget",
    "hear",
    "most_streams",
    "read_texts",
    "run_load",
    "warm_up",
]
