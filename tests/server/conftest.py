"""Serve toy voices on the loopback, and talk to them byte by byte where a client would hide too much."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
