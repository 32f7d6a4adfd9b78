"""Share between tests of the engine: toy voices whose sound can be told apart, and who loads them."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import make_tone
from voxstack.engine import voices as voices_module
from voxstack.engine.shared import SharedNets
from voxstack.engine.voices import Voices

PATIENCE_S = 20


@pytest.fixture
def no_other_addons(monkeypatch, tmp_path_factory) -> None:
    """Look nowhere but where a test says."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("VOXSTACK_ADDONS", raising=False)


@pytest.fixture
def addons(tmp_path, monkeypatch) -> Path:
    """A folder with the vocoder of the toy voices, for voices to be put in; no other test has their nets."""
    monkeypatch.setattr("voxstack.engine.nets.SHARED", SharedNets())
    folder = tmp_path / "installed"
    make_tone.make_tone_vocoder(folder / "tone-vocoder")
    return folder


@pytest.fixture
def put(addons, monkeypatch) -> Callable[..., Path]:
    """Return what writes a toy voice into the folder, or a louder or softer version over it."""

    def write(name: str, loudness: float = 0.5, *, encoders: str = "two") -> Path:
        folder = addons / name
        with monkeypatch.context() as patched:
            patched.setattr(make_tone, "LOUDNESS", loudness)
            make_tone.make_tone(folder, name=name, encoders=encoders)
        later = max(path.stat().st_mtime_ns for path in folder.rglob("*")) + 1_000_000
        os.utime(folder / "addon.json", ns=(later, later))
        return folder

    return write


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_voices(addons, clock):
    """Return what makes the voices of the folder."""
    opened = []

    def make(**options):
        opened.append(Voices([addons], clock=clock, **options))
        return opened[-1]

    yield make
    for voices in opened:
        voices.close()


@pytest.fixture
def loads(monkeypatch):
    """The names of voices that were loaded, in order."""
    names = []
    real = voices_module.open_voice

    def counted(name, *args, **options):
        names.append(name)
        return real(name, *args, **options)

    monkeypatch.setattr(voices_module, "open_voice", counted)
    return names


@pytest.fixture
def gate(monkeypatch):
    """Hold up the loading of voices: `gate.reached` is set by the first, which waits for `gate.is_open`."""
    return Gate(monkeypatch)


class Gate:
    def __init__(self, monkeypatch):
        self.reached, self.is_open = threading.Event(), threading.Event()
        self.held = None
        real = voices_module.open_voice

        def held_up(name, *args, **options):
            voice = real(name, *args, **options)
            if self.held in (None, name):
                self.reached.set()
                assert self.is_open.wait(PATIENCE_S)
            return voice

        monkeypatch.setattr(voices_module, "open_voice", held_up)
