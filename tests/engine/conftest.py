"""Share between tests of the engine: folders of toy voices whose sound can be told apart."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import make_tone
from voxstack.engine.shared import SharedNets


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
