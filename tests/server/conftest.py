"""Serve toy voices on the loopback, and talk to them byte by byte where a client would hide too much."""

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import make_tone
from voxstack.server.desk import Desk
from voxstack.server.running import Server, bind
from voxstack.server.settings import ServerSettings

PATIENCE_S = 20
SOON_S = 0.3
FAULTS = ("internal_error", "voice_unavailable", "draining")
"""What no client can bring about, as metrics call it."""

MOST_GROWTH_KB = 20_000
"""What the memory of a process that is attacked may grow, once it is warm."""


@pytest.fixture(scope="session", autouse=True)
def hurry() -> Iterator[None]:
    """Look at the disk more often than every second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("voxstack.server.running.LOOK_S", 0.1)
        yield


@pytest.fixture(scope="session")
def voices(tmp_path_factory) -> Path:
    """A folder with the voices "tone" and "quiet"."""
    folder = tmp_path_factory.mktemp("voices")
    make_tone.make_tone_vocoder(folder / "tone-vocoder")
    make_tone.make_tone(folder / "tone", name="tone")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(make_tone, "LOUDNESS", 0.25)
        make_tone.make_tone(folder / "quiet", name="quiet")
    return folder


class Talk:
    """A client of a WebSocket that sends JSON, and receives it or bytes."""

    def __init__(self, client):
        self.client = client

    def send(self, **message):
        self.client.send(json.dumps(message))

    def receive(self):
        message = self.client.recv(PATIENCE_S)
        return message if isinstance(message, bytes) else json.loads(message)

    def until(self, kind):
        """Return all messages up to one of a type."""
        messages = []
        while True:
            messages.append(self.receive())
            if not isinstance(messages[-1], bytes) and messages[-1].get("type") == kind:
                return messages

    def until_final(self):
        """Return ElevenLabs' messages up to the last."""
        messages = [self.receive()]
        while not messages[-1].get("isFinal"):
            messages.append(self.receive())
        return messages

    def end(self):
        """Return what is said before the server closes, and its code."""
        messages = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                messages.append(self.receive())
        return messages, self.client.protocol.close_code


@dataclass
class Served:
    """A server that runs in a thread, and what a test asks it."""

    server: Server
    thread: threading.Thread

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def desk(self) -> Desk:
        return self.server.desk

    @property
    def service(self):
        return self.server.desk.service

    def ask(self, path: str, body: Any = None, *, method=None, headers=None) -> tuple[int, bytes, Message]:
        """Return status, body and headers of an answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    def say(self, text="Bad cab.", headers=None, **more) -> tuple[int, bytes, Message]:
        body = {"model": "tts-1", "voice": "tone", "input": text, "response_format": "pcm", **more}
        return self.ask("/v1/audio/speech", body, headers=headers)

    def error(self, *args, **more) -> tuple[int, dict]:
        """Return status and error of a refused request to speak."""
        status, body, _ = self.say(*args, **more)
        return status, json.loads(body)["error"]

    def metric(self, line: str) -> float:
        """Return the value of a metric's line, 0 if it is not there."""
        for found in self.ask("/metrics")[1].decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def begin(self, text: str, *, receive_bytes: int | None = None, key: str = "", **more) -> socket.socket:
        """Ask for speech and return the socket, of which nothing was read."""
        body = {"model": "tts-1", "voice": "tone", "input": text, "response_format": "pcm", **more}
        data = json.dumps(body).encode()
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(PATIENCE_S)
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        client.connect((host, int(port)))
        lines = [
            "POST /v1/audio/speech HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Content-Length: {len(data)}",
        ]
        if key:
            lines.append(f"Authorization: Bearer {key}")
        head = "\r\n".join([*lines, "\r\n"])
        client.sendall(head.encode() + data)
        return client

    @contextlib.contextmanager
    def talk(self, path: str, **options) -> Iterator[Talk]:
        """Open a WebSocket."""
        with connect(self.url.replace("http", "ws") + path, open_timeout=PATIENCE_S, **options) as client:
            yield Talk(client)

    def is_idle(self, until) -> bool:
        """Wait until nothing is at work, and say whether nothing is held either."""
        until(lambda: not self.service.at_work and not self.desk.in_flight)
        held = any(row.leases for row in self.service.voices.states())
        return self.service.admission.at_work == 0 and not held

    def stop(self) -> None:
        self.server.drain()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], Any]], None]:
    """Return what waits until something is so."""

    def wait(is_so: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end, "it did not come to be"
            time.sleep(0.005)

    return wait


@contextlib.contextmanager
def serving(folder: Path, **settings) -> Iterator[Served]:
    """Serve a folder of voices until the end of the block."""
    chosen = ServerSettings(addons=(str(folder),), port=0, drain_s=settings.pop("drain_s", 0.2), **settings)
    is_ready = threading.Event()
    server = Server(Desk.of(chosen), bind(chosen), is_ready.set)
    thread = threading.Thread(target=server.run_until_ended)
    thread.start()
    served = Served(server, thread)
    try:
        assert is_ready.wait(PATIENCE_S)
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def served(voices) -> Iterator[Served]:
    """A server with nothing set, for all tests of a module."""
    with serving(voices) as found:
        yield found


@pytest.fixture
def serve(voices) -> Iterator[Callable[..., Served]]:
    """Return what starts a server with settings."""
    with contextlib.ExitStack() as stack:
        yield lambda folder=voices, **settings: stack.enter_context(serving(folder, **settings))


@pytest.fixture(scope="module")
def serve_for_module(voices) -> Iterator[Callable[..., Served]]:
    """Return what starts a server with settings for all tests of a module."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(voices, **settings))


@dataclass
class Attacked:
    """`voxstack serve` in a process of its own, and somebody who asks it for speech all the while.

    before   memory now and at most in kB, threads and files of the process when it was warm
    """

    process: subprocess.Popen
    folder: Path
    right: bytes = b""
    heard_right: int = 0
    wrong: list[str] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    quiet: threading.Lock = field(default_factory=threading.Lock)

    @property
    def told(self) -> str:
        """Where it listens, as it says once it is ready."""
        return (self.folder / "out").read_text()

    @property
    def url(self) -> str:
        return self.told.split(" at ")[1].split(";")[0].split(",")[0].strip()

    @property
    def wyoming(self) -> str:
        return self.told.split("tcp://")[1].strip()

    def ask(self, path: str, body: dict | None = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.url + path, data, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def say(self, **more) -> tuple[int, bytes]:
        body = {"model": "tts-1", "voice": "tone", "input": "Bad cab. Deaf bee.", "response_format": "pcm"}
        return self.ask("/v1/audio/speech", {**body, **more})

    def connect(self, data: bytes = b"", *, to: str = "", receive_bytes: int | None = None) -> socket.socket:
        """Return a connection to HTTP, or to another address, on which nothing can wait for ever."""
        host, port = (to or self.url.removeprefix("http://")).rsplit(":", 1)
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(PATIENCE_S)
        client.connect((host, int(port)))
        client.sendall(data)
        return client

    @staticmethod
    def heard(client: socket.socket, most_s: float = PATIENCE_S) -> bytes:
        """Return what comes until the connection ends, however it does; fail if it does not."""
        found, end = bytearray(), time.monotonic() + most_s
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65_536):
                found += part
                assert time.monotonic() < end, "it never ends"
        return bytes(found)

    @staticmethod
    def leave(client: socket.socket, *, is_rude: bool) -> None:
        """Close; rudely, the server's system is told of an error."""
        if is_rude:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    def attack(self, client: socket.socket, data: bytes, dice: random.Random, seed: int) -> bytes:
        """Send, and leave soon: at once, or when nothing more comes; return what came."""
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        if dice.random() < 0.4:
            self.leave(client, is_rude=dice.random() < 0.5)
            return b""
        client.settimeout(SOON_S)
        told = bytearray()
        with client, contextlib.suppress(TimeoutError, ConnectionError):
            while part := client.recv(65_536):
                told += part
        assert b"internal_error" not in told, f"seed {seed}"
        return bytes(told)

    @staticmethod
    def mutated(data: bytes, dice: random.Random) -> bytes:
        """Return bytes of which some were changed, left out, doubled or added."""
        found = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 5))):
            place, count = dice.randrange(len(found)), dice.choice((1, 1, 4, 16))
            piece = dice.choice(
                (dice.randbytes(count), b"\r\n", b"\0", b'"', b"9" * count, found[place:][:count])
            )
            found[place : place + dice.choice((0, 1, count))] = piece
        return bytes(found)

    def measured(self) -> dict[str, int]:
        """Return what `before` has, nothing where there is no /proc."""
        about = Path(f"/proc/{self.process.pid}")
        if not about.exists():
            return {}
        lines = dict(line.split(":", 1) for line in (about / "status").read_text().splitlines())
        return {
            **{name: int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")},
            "Threads": int(lines["Threads"]),
            "files": len(list((about / "fd").iterdir())),
        }

    def left(self) -> list[str]:
        """Return what is still at work or open when there was time for it to end, and what went wrong."""
        end = time.monotonic() + PATIENCE_S
        with self.quiet:
            while (found := self._at_work()) and time.monotonic() < end:
                time.sleep(0.01)
            faults = self._counted(*(f'voxstack_refusals_total{{reason="{name}"}}' for name in FAULTS))
        return found + faults + self.wrong

    def _at_work(self) -> list[str]:
        status = json.loads(self.ask("/status")[1])
        found = [f"{name}: {status[name]}" for name in ("streams", "queued_characters") if status[name]]
        found += [f"leases: {row}" for row in status["voices"] if row["leases"]]
        gauges = ("streams", "queued_characters", "lane_running", "lane_waiting")
        found += self._counted(*(f"voxstack_{name}" for name in gauges))
        files = self.measured().get("files", 0)
        return [*found, f"{files} files"] if files > self.before.get("files", files) else found

    def _counted(self, *names: str) -> list[str]:
        """Return the lines of metrics that are not 0."""
        lines = [line.rsplit(" ", 1) for line in self.ask("/metrics")[1].decode().splitlines()]
        return [" ".join(line) for line in lines if line[0] in names and float(line[1])]

    def changed(self) -> list[str]:
        """Return what has grown since the process was warm, and what it complained of."""
        # Of the pool's threads that wait for work a few stay, as many as happened to be needed at once.
        grown = {"VmRSS": MOST_GROWTH_KB, "Threads": 2, "files": 0}
        end = time.monotonic() + PATIENCE_S
        while more := self._more_than(grown):
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        lines = (self.folder / "err").read_text().split("\n")[:-1]
        told = [one for one in lines if not one.startswith('{"time"') or '"level": "ERROR"' in one]
        return more + [one for one in told if one != "Invalid HTTP request received."]

    def _more_than(self, grown: dict[str, int]) -> list[str]:
        with self.quiet:
            now = self.measured()
        return [
            f"{name}: {now[name]}" for name in now if now[name] > self.before[name] + grown.get(name, 1e9)
        ]

    def listen(self, is_over: threading.Event) -> None:
        """Be the bystander."""
        while not is_over.wait(0.02):
            with self.quiet:
                try:
                    answers = [self.say(), self.ask("/health"), self.ask("/ready")]
                except OSError as error:
                    self.wrong.append(repr(error))
                    continue
            wanted = [(200, self.right), (200, b'{"status":"up"}'), (200, b'{"status":"ready"}')]
            if answers != wanted:
                self.wrong.append(f"{[status for status, _ in answers]}, {len(answers[0][1])} bytes")
            self.heard_right += 1


@pytest.fixture(scope="module")
def attacked(voices, tmp_path_factory, until) -> Iterator[Attacked]:
    """A warm server in a process of its own, with a bystander."""
    folder = tmp_path_factory.mktemp("attacked")
    words = ["serve", "--addons", str(voices), "--port", "0", "--wyoming-port", "0"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "voxstack", *words]
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        try:
            found, is_over = Attacked(process, folder), threading.Event()
            until(lambda: found.told.endswith("\n"))
            with serving(voices) as other:
                found.right = other.say("Bad cab. Deaf bee.")[1]
            for kind in ("mp3", "opus", "aac", "flac", "wav", "pcm") * 2:
                found.say(response_format=kind)
            bystander = threading.Thread(target=found.listen, args=(is_over,), daemon=True)
            bystander.start()
            until(lambda: found.heard_right > 20)
            with found.quiet:
                found.before = found.measured()
            yield found
            is_over.set()
            bystander.join(PATIENCE_S)
        finally:
            process.kill()
            process.wait(PATIENCE_S)


@pytest.fixture
def calm(attacked):
    """See that a test leaves nothing at work, and that the bystander heard what was right."""
    yield
    assert attacked.left() == []
