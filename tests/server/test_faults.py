"""A server in a process of its own goes on speaking, or does so again, when what is around it fails."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PATIENCE_S = 60
LONG = "abcdefghijkl " * 300
SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class Process:
    """A server, where it listens, and the file with its log."""

    process: subprocess.Popen
    port: int
    log: Path

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
            return answer.read()

    def begin(self, text="Bad cab.", voice="tone"):
        body = {"model": "tts-1", "voice": voice, "input": text, "response_format": "pcm", "seed": 3}
        asked = urllib.request.Request(f"{self.url}/v1/audio/speech", json.dumps(body).encode())
        return urllib.request.urlopen(asked, timeout=PATIENCE_S)

    def say(self, *args, **more):
        with self.begin(*args, **more) as answer:
            return answer.read()

    def lines(self, event=None):
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in found if event in (None, line["event"])]

    def metric(self, line):
        found = re.findall(rf"^{re.escape(line)} (.*)$", self.get("/metrics").decode(), re.MULTILINE)
        return float(found[0]) if found else 0.0


@pytest.fixture
def launch(voices, tmp_path):
    """Return what starts servers; `shell` is what is said before."""
    with ExitStack() as started:

        def start(*words, shell="", port=0, folder=voices, out=subprocess.PIPE, err=None, wait=True, **told):
            if not port:
                with closing(socket.create_server(("127.0.0.1", 0))) as free:
                    port = free.getsockname()[1]
            serve = [sys.executable, "-m", "voxstack", "serve", "--addons", str(folder), "--port", str(port)]
            log = tmp_path / f"log-{len(list(tmp_path.glob('log-*')))}"
            command = ["sh", "-c", f'{shell}; exec "$@"' if shell else 'exec "$@"', "sh", *serve, *words]
            environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path), **told}
            with log.open("w") as lines:
                process = subprocess.Popen(
                    command,
                    stdout=out,
                    stderr=lines if err is None else err,
                    env=environment,
                    cwd=tmp_path,
                    # The tests themselves may run under nohup.
                    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
                )
            started.callback(end, process)
            served = Process(process, port, log)
            until(lambda: not wait or is_ready(served))
            return served

        yield start


def end(process):
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def until(is_so):
    limit = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < limit, "it did not come to be"
        time.sleep(0.02)


def is_ready(served):
    assert served.process.poll() is None, served.log.read_text()
    try:
        return bool(served.get("/ready"))
    except OSError:
        return False


def cpu_s(process):
    """Return the seconds of all cores that a process has had."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# Killed


def test_one_that_is_killed_while_eight_listen_speaks_as_before_when_it_is_started_again(launch, tmp_path):
    tap = [{"type": "Tap", "path": "heard", "name": "heard"}]
    (tmp_path / "deployment.toml").write_text(f"effects = {json.dumps(tap).replace(': ', ' = ')}\n")
    served = launch("--deployment", str(tmp_path / "deployment.toml"))
    wanted = served.say()
    listeners = [served.begin(LONG) for _ in range(8)]
    heard = [listener.read(2000) for listener in listeners]
    assert all(heard)
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(PATIENCE_S)
    for listener in listeners:
        with listener, pytest.raises((OSError, ValueError, HTTPException)):
            listener.read()
    left = sorted(path.name for path in tmp_path.rglob("*"))
    again = launch("--deployment", str(tmp_path / "deployment.toml"), port=served.port)
    assert again.say() == wanted
    assert not [name for name in left if name.startswith((".", "voxstack-"))]
    assert not again.lines("tap.failed")


# Full disks and closed pipes


@pytest.fixture(params=["a full disk", "a closed pipe"])
def nowhere(request):
    """What takes nothing that is written to it."""
    if request.param == "a full disk":
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            yield full.fileno()
        return
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("both", [False, True], ids=["log", "log and output"])
def test_a_log_that_cannot_be_written_ends_no_speech(launch, voices, tmp_path, nowhere, both):
    own = shutil.copytree(voices, tmp_path / "own")
    out = nowhere if both else subprocess.DEVNULL
    served = launch("--watch", "--log-level", "debug", folder=own, out=out, err=nowhere)
    said = served.say()
    for _ in range(20):
        assert served.say() == said
    (own / "quiet").rename(own / "moved")
    config = json.loads((own / "moved" / "addon.json").read_text())
    (own / "moved" / "addon.json").write_text(json.dumps(config | {"name": "moved"}))
    until(lambda: b'"moved"' in served.get("/v1/audio/voices"))  # it still watches
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE_S) == 0


# More connections than files


def test_more_connections_than_files_neither_end_nor_spin_it(launch):
    served = launch(shell="ulimit -n 64")
    wanted = served.say()
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(socket.socket())) for _ in range(200)]
        for client in clients:
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.1", served.port))
        assert served.say() == wanted
        before = cpu_s(served.process)
        time.sleep(2)
        assert cpu_s(served.process) - before < 0.5
        assert served.say() == wanted
        assert served.metric('voxstack_connections{protocol="http"}') <= 17
        assert served.metric('voxstack_closed_connections_total{protocol="http",reason="idle"}') >= 180
    [line] = served.lines("connections")
    assert (line["level"], line["most"]) == ("WARNING", 16)
    assert "max_connections" in line["error"]


def test_files_that_run_out_altogether_are_told_in_a_line_and_it_speaks_again_once_there_are_some(launch):
    served = launch("--max-connections", "63", shell="ulimit -n 64")
    wanted = served.say()
    with ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(closing(socket.socket()))
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.1", served.port))
        before = cpu_s(served.process)
        time.sleep(2)
        assert cpu_s(served.process) - before < 0.5
    assert served.say() == wanted
    [line] = served.lines("connections")
    assert "ulimit" in line["error"]
    assert "Traceback" not in served.log.read_text()


def test_when_all_connections_are_at_work_a_new_one_is_closed_and_the_others_hear_on(launch):
    served = launch("--max-connections", "3")
    with ExitStack() as stack:
        busy = [stack.enter_context(served.begin(LONG)) for _ in range(3)]
        with pytest.raises((OSError, HTTPException)):
            served.say()
        heard = [None] * 3
        threads = [
            threading.Thread(target=lambda place=place: heard.__setitem__(place, busy[place].read()))
            for place in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert heard[0]
    assert heard == heard[:1] * 3
    assert served.metric('voxstack_closed_connections_total{protocol="http",reason="full"}') == 1


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]],
    ids=["asked to", "terminal closed", "Ctrl-C twice"],
)
def test_an_end_that_cuts_answers_short_says_so_in_lines_of_the_log(launch, signals):
    served = launch("--drain-s", "0.5")
    with served.begin(LONG) as heard, served.begin(LONG):
        heard.read(1000)
        for number in signals:
            served.process.send_signal(number)
            time.sleep(0.2)
        assert served.process.wait(PATIENCE_S) == 0
    assert [line["path"] for line in served.lines("http")] == ["/v1/audio/speech"] * 2


def test_who_is_to_outlive_its_terminal_does(launch):
    served = launch(shell="trap '' HUP")
    served.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert served.say()
