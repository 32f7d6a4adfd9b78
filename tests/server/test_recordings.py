"""A recording that cannot be written is told of and counted; speech, and later ones, are as ever."""

import json
import resource
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.end_to_end


@contextmanager
def full_disk():
    """Let no file be larger than a full disk lets it be: with nothing in it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_in(folder):
    return list((folder / "heard").iterdir())


def row_of(served, voice="tone"):
    rows = json.loads(served.ask("/status")[1])["voices"]
    return next(row for row in rows if row["name"] == voice)


def test_a_full_disk_is_told_once_an_utterance_and_speech_goes_on(
    serve, tmp_path, monkeypatch, caplog, until
):
    monkeypatch.chdir(tmp_path)
    deployment = tmp_path / "deployment.toml"
    deployment.write_text('[[effects]]\ntype = "Tap"\npath = "heard"\nname = "heard"\n')
    wanted = serve().say(seed=3)[1]
    recording = serve(deployment=str(deployment), voices=("tone",))
    before = len(files_in(tmp_path))  # warming up is recorded, too
    assert recording.say(seed=3)[1] == wanted
    assert len(files_in(tmp_path)) == before + 1
    assert (row_of(recording)["failed_recordings"], row_of(recording)["recording_fault"]) == (0, "")
    with caplog.at_level("INFO", "voxstack"), full_disk():
        assert recording.say(seed=3)[1] == wanted
        until(lambda: not recording.desk.in_flight)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "voxstack"]
    [line] = [line for line in lines if line["event"] == "tap.failed"]
    assert (line["level"], line["where"], line["voice"]) == ("WARNING", "heard", "tone")
    assert line["reason"] == "File too large"  # as such a disk says it
    row = row_of(recording)
    assert row["failed_recordings"] == 1
    assert row["recording_fault"] == f"heard: {line['reason']}"
    assert recording.metric('voxstack_failed_recordings_total{voice="tone"}') == 1
    assert recording.say(seed=3)[1] == wanted
    assert len(files_in(tmp_path)) == before + 2
    assert row_of(recording)["failed_recordings"] == 1
