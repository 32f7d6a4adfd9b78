"""There are so many connections at a time; who waits longest makes room for who comes."""

import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest

from voxstack.core.errors import RequestError
from voxstack.server import listening
from voxstack.server.listening import CONNECTIONS, most_connections

pytestmark = pytest.mark.end_to_end

SMALL_BYTES = 4096
LONG = "abcdefghijkl " * 60


@pytest.fixture
def connect():
    """Return what opens connections; all are closed at the end."""
    with contextlib.ExitStack() as opened:

        def open_(served):
            host, port = served.url.split("//")[1].rsplit(":", 1)
            return opened.enter_context(socket.create_connection((host, int(port)), 20))

        yield open_


@pytest.mark.parametrize(
    ("files", "most"), [(1 << 20, CONNECTIONS), (1024, 960), (256, 192), (64, 16), (3, 1)]
)
def test_there_are_as_many_as_open_files_allow(monkeypatch, files, most):
    monkeypatch.setattr(listening, "_most_files", lambda: files)
    assert most_connections(None) == most


def test_more_than_the_system_allows_is_refused(monkeypatch):
    monkeypatch.setattr(listening, "_most_files", lambda: 1024)
    assert most_connections(1023) == 1023
    with pytest.raises(RequestError) as caught:
        most_connections(1024)
    assert str(caught.value) == (
        "max_connections: got 1024, but the system lets it open 1024 files; say fewer, or raise 'ulimit -n'"
    )


def test_the_one_that_waits_longest_makes_room(serve, connect, until):
    served = serve(max_connections=2)
    first, second = connect(served), connect(served)
    second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert second.recv(12) == b"HTTP/1.1 200"
    assert served.ask("/health")[0] == 200
    assert first.recv(1) == b""
    assert served.metric('voxstack_closed_connections_total{protocol="http",reason="idle"}') >= 1
    assert served.metric('voxstack_connections{protocol="http"}') <= 2
    first.close()
    second.close()
    until(lambda: served.metric('voxstack_connections{protocol="http"}') == 1)


def test_who_is_being_answered_never_makes_room(serve, connect, until):
    served = serve(max_connections=2)
    wanted = served.say(LONG, seed=2)[1]
    with served.begin(LONG, receive_bytes=SMALL_BYTES, seed=2) as client:
        assert client.recv(1)
        for _ in range(5):
            assert served.ask("/health")[0] == 200
        data = b""
        while part := client.recv(1 << 20):
            data += part
    assert data.endswith(b"0\r\n\r\n")
    assert len(data) > len(wanted)


def test_one_too_many_is_closed_when_all_are_being_answered(serve, connect, until):
    served = serve(max_connections=1)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        assert client.recv(1)
        with contextlib.suppress(ConnectionError):
            assert connect(served).recv(1) == b""
    until(lambda: not served.service.at_work)
    assert served.metric('voxstack_closed_connections_total{protocol="http",reason="full"}') == 1


def test_who_does_not_agree_on_tls_makes_room(serve, connect, tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    command = [*words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    served = serve(tls_cert=str(cert), tls_key=str(key), max_connections=3)
    trusted = ssl.create_default_context(cafile=str(cert))
    monkeypatch.setattr(ssl, "_create_default_https_context", lambda: trusted)
    silent = [connect(served) for _ in range(8)]
    assert served.say()[0] == 200
    assert silent[0].recv(1) == b""
