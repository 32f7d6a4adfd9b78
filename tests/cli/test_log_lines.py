"""The command line tells of requests on standard error if the environment or a file asks for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


def say(*words, telemetry=None, cwd):
    """Run the command as a program: pytest's own handlers would take the lines."""
    words = ["say", "Abc.", "--voice", "tone", "--addons", str(ADDONS), "--out", "abc.wav", *words]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    environment |= {} if telemetry is None else {"VOXSTACK_TELEMETRY": telemetry}
    done = subprocess.run(
        [sys.executable, "-m", "voxstack", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()


def test_the_environment_asks_for_lines(tmp_path):
    lines = [json.loads(line) for line in say(telemetry="logs", cwd=tmp_path)]
    assert [(line["event"], line["outcome"], line["voice"]) for line in lines] == [
        ("request", "done", "tone")
    ]


def test_the_deployment_file_asks_for_lines(tmp_path):
    (tmp_path / "d.toml").write_text('telemetry = "logs"\n', encoding="utf-8")
    [line] = say("--deployment", "d.toml", cwd=tmp_path)
    assert json.loads(line)["outcome"] == "done"


def test_nobody_asks_and_nothing_is_told(tmp_path):
    assert say(cwd=tmp_path) == []
