"""`voxstack serve` listens, says when it is ready, and ends well when it is told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
PATIENCE_S = 60
HINT = "(voxstack serve --help shows how)"


def refused(capsys, *words):
    """Return exit code and standard error of a call that does not serve."""
    with pytest.raises(SystemExit) as end:
        main(["serve", *map(str, words)])
    return end.value.code, capsys.readouterr().err.strip()


@pytest.fixture
def served(tmp_path):
    """A process that serves "tone" by a config file, and its URL."""
    config = tmp_path / "serve.toml"
    config.write_text(f'addons = ["{ADDONS.as_posix()}"]\nport = 1\n[aliases]\nalloy = "tone"\n')
    words = ["serve", "--config", str(config), "--voice", "tone", "--port", "0"]
    environment = os.environ | {"VOXSTACK_SERVE_MAX_CHARACTERS": "9", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "voxstack", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        line = process.stdout.readline()
        yield process, line
        process.kill()


def test_it_says_when_it_is_ready_speaks_and_ends_with_0_when_told_to(served):
    process, line = served
    assert line.startswith("voxstack serves tone at http://127.0.0.1:"), process.stderr.read()
    assert line.endswith("; no key is needed\n")
    url = line.split(" at ")[1].split(";")[0]
    body = {"model": "tts-1", "voice": "alloy", "input": "Bad cab.", "response_format": "wav"}
    request = urllib.request.Request(f"{url}/v1/audio/speech", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.read(4) == b"RIFF"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["event"] for line in lines] == ["request", "http"]


def test_a_port_that_is_taken_is_told(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, said = refused(capsys, "--addons", ADDONS, "--port", port)
    assert code == 2
    assert said == (
        f"RequestError: 127.0.0.1:{port}: cannot listen there: Address already in use; "
        "stop what listens there, or choose another --port"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--addons", "nowhere"], "RequestError: addons: nowhere: there is no such folder"),
        (
            ["--addons", ADDONS, "--voice", "tona"],
            "RequestError: voice: no voice 'tona'; did you mean 'tone'?",
        ),
        (["--streams", "0"], "ConfigError: --streams: got 0; input should be greater than or equal to 1"),
        (["--keys", "nowhere"], "RequestError: nowhere: cannot be read: No such file or directory"),
        (["--new-key", "alice"], f"voxstack serve: --new-key needs --keys FILE {HINT}"),
        (
            ["--alias", "alloy"],
            f"voxstack serve: Invalid value for --alias: got 'alloy', want NAME=VOICE {HINT}",
        ),
    ],
)
def test_what_is_wrong_is_told_and_ends_it(capsys, words, said):
    code, found = refused(capsys, *words, "--port", "0")
    assert (code, found) == (2, said)


def test_a_folder_without_a_voice_is_told(capsys, tmp_path):
    code, said = refused(capsys, "--addons", tmp_path, "--port", "0")
    assert code == 2
    assert "there is no voice that can speak text" in said


def test_a_new_key_is_printed_once_and_its_hash_is_kept(capsys, tmp_path):
    file = tmp_path / "keys"
    with pytest.raises(SystemExit) as end:
        main(["serve", "--keys", str(file), "--new-key", "alice"])
    assert end.value.code == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("vox-")
    assert file.read_text().startswith("alice:")
    assert key not in file.read_text()
