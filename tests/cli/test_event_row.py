"""An event has one shape, whatever its values are called."""

import pytest

from voxstack.cli.event_row import event_row
from voxstack.core.events import Event

pytestmark = pytest.mark.unit


def test_the_values_come_last_and_take_nothings_place():
    event = Event("x", "net", 7, "what happened", {"symbol": 3, "text": "a value"})
    assert list(event_row(event, utterance=1, audio_s=0.12345).items()) == [
        ("kind", "x"),
        ("net", "net"),
        ("frame", 7),
        ("utterance", 1),
        ("audio_s", 0.123),
        ("text", "what happened"),
        ("symbol", 3),
    ]
