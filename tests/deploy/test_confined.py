"""The server speaks as containers and services run it: nobody, without a home, on a read-only file system."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from voxstack.server.settings import ServerSettings

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]
ADDONS = ROOT / "examples" / "addons"
PATIENCE_S = 60
DRAIN_S = 10.0


@pytest.fixture
def confined(tmp_path):
    """Return the words that begin a command line of a confined program."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    confine = Path(__file__).parent / "confine.py"
    words = ["unshare", "--map-root-user", "--mount", sys.executable, confine, scratch]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"namespaces may not be made here: {tried.stderr.strip()}")
    return words


@pytest.fixture
def served(confined, tmp_path, image_environment):
    """A confined process that serves the toy voices with the image's variables, and its URL."""
    scratch = str(tmp_path / "scratch")
    told = {name: text for name, text in image_environment.items() if name not in ("HOME", "PATH")} | {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "src"),
        "TMPDIR": scratch,
        "VOXSTACK_FILES": scratch,
        "VOXSTACK_SERVE_ADDONS": str(ADDONS),
        "VOXSTACK_SERVE_HOST": "127.0.0.1",
        "VOXSTACK_SERVE_PORT": "0",
        "VOXSTACK_SERVE_VOICES": "tone",
    }
    command = [*confined, sys.executable, "-m", "voxstack", "serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=told, cwd="/") as process:
        line = process.stdout.readline()
        try:
            assert " at http://" in line, process.stderr.read()
            yield process, line.split(" at ")[1].split(";")[0]
        finally:
            process.kill()


def ask(url, text):
    body = {"model": "tts-1", "voice": "tone", "input": text, "response_format": "pcm"}
    request = urllib.request.Request(f"{url}/v1/audio/speech", json.dumps(body).encode())
    return urllib.request.urlopen(request, timeout=PATIENCE_S)


def test_nothing_can_be_written_but_in_memory(confined, tmp_path):
    script = f"id -u; touch {tmp_path}/scratch/a && echo in memory; touch {tmp_path}/b || touch {__file__}"
    done = subprocess.run([*confined, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "10001\nin memory\n"
    assert done.stderr.count("Read-only file system") == 2


def test_it_speaks_and_writes_nothing_but_its_lines(served):
    process, url = served
    with ask(url, "Bad cab.") as answer:
        assert len(answer.read()) > 10_000
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < DRAIN_S / 2  # nothing was at work
    lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["event"] for line in lines] == ["request", "http"]


def test_what_is_being_said_when_it_is_told_to_end_is_said_to_its_end(served):
    process, url = served
    text = "Bad cab. " * 400
    with ask(url, text) as answer:
        first = answer.read(1000)
        process.send_signal(signal.SIGTERM)
        rest = []
        reading = threading.Thread(target=lambda: rest.append(answer.read()))
        reading.start()
        assert process.wait(ServerSettings().drain_s + 5) == 0
        reading.join(PATIENCE_S)
    lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["outcome"] for line in lines if line["event"] == "http"] == ["done"]
    [said] = [line for line in lines if line["event"] == "http"]
    assert len(first) + len(rest[0]) == said["bytes"]
