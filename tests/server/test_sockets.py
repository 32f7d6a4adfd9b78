"""WebSockets of every protocol: who may open them, what is told of them, and what bytes may come."""

import json
import socket
from contextlib import suppress

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from voxstack.server.keys import add_key
from voxstack.server.running import bind
from voxstack.server.settings import ServerSettings

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
PLAIN = "/v1/audio/speech/stream"
ELEVEN = "/v1/text-to-speech/tone/stream-input"


def is_same(samples, wanted) -> bool:
    return len(samples) == len(wanted) and np.abs(samples / 32767 - wanted).max() < 2 / 32767


@pytest.fixture(scope="module")
def keyed(serve_for_module, tmp_path_factory):
    """A server that wants a key, and the key."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    key = add_key(file, "ann")
    return serve_for_module(keys=str(file)), key


@pytest.mark.parametrize("where", ["header", "bearer", "query", "message"])
def test_a_key_may_come_in_the_head_the_address_or_the_first_message(keyed, where):
    served, key = keyed
    headers = {"header": {"xi-api-key": key}, "bearer": {"Authorization": f"Bearer {key}"}}.get(where)
    query = f"?xi-api-key={key}" if where == "query" else ""
    with served.talk(ELEVEN + query, additional_headers=headers) as talk:
        talk.send(text="Bad.", **({"xi-api-key": key} if where == "message" else {}))
        talk.send(text="")
        assert len(talk.until_final()) > 1
    with served.talk(PLAIN + query, additional_headers=headers) as talk:
        talk.send(voice="tone", **({"key": key} if where == "message" else {}))
        assert talk.receive()["type"] == "started"


@pytest.mark.parametrize(("key", "code"), [(None, "missing_api_key"), ("vox-wrong", "invalid_api_key")])
def test_no_key_and_a_wrong_one_are_refused(keyed, key, code):
    with keyed[0].talk(ELEVEN.replace("tone", "tonne")) as talk:
        talk.send(text="Bad.", **({} if key is None else {"xi_api_key": key}))
        [told], closed = talk.end()
        assert (told["error"], closed) == (code, 1008)
    with keyed[0].talk(PLAIN) as talk:
        talk.send(voice="tonne", **({} if key is None else {"key": key}))
        [told], closed = talk.end()
        assert (told["error"]["code"], closed) == (code, 1008)


def test_a_page_from_elsewhere_may_not_call_unless_it_is_allowed(served, serve):
    with pytest.raises(InvalidStatus, match="403"), served.talk(PLAIN, origin="http://evil.example"):
        pass
    for origin in (served.url, None):
        with served.talk(PLAIN, origin=origin):
            pass
    with serve(cors_origins=("http://good.example",)).talk(PLAIN, origin="http://good.example"):
        pass


def test_the_log_and_the_metrics_tell_of_a_socket_but_not_its_text_or_key(served, until, caplog):
    caplog.set_level("INFO", "voxstack")
    route = "/v1/text-to-speech/{voice}/stream-input"
    counted = f'voxstack_http_requests_total{{method="WEBSOCKET",route="{route}",status="1000"}}'
    before = served.metric(counted)
    with served.talk(ELEVEN + "?xi-api-key=vox-secret") as talk:
        talk.send(text="Bad cab.", xi_api_key="vox-secret")
        talk.send(text="")
        talk.until_final()
        talk.end()
    until(lambda: any('"websocket"' in message for message in caplog.messages))
    [line] = [json.loads(message) for message in caplog.messages if '"websocket"' in message]
    assert (line["path"], line["outcome"], line["status"]) == (ELEVEN, "done", 1000)
    assert (line["voice"], line["format"], line["characters"], line["requests"]) == (
        "tone",
        "mp3_44100_128",
        8,
        1,
    )
    assert not any(secret in caplog.text for secret in ("vox-secret", "Bad cab"))
    assert served.metric(counted) == before + 1


UPGRADE = (
    f"GET {PLAIN} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


def framed(data, *, opcode=1, bits=0x80) -> bytes:
    """Return a client's frame of fewer than 126 bytes, masked with zeros."""
    return bytes([bits | opcode, 0x80 | len(data)]) + bytes(4) + data


@pytest.mark.parametrize(
    "frame",
    [
        framed(b"{}", opcode=3),
        framed(b"{}", bits=0xC0),
        framed(b"{}", opcode=9, bits=0),
        framed(b"\xff\xfe"),
        framed(b"{}", opcode=0),
        framed(b"x" * 50, bits=0) + framed(b"{}"),
        b"\x81\x02{}",
        b"\x81\xff\x7f" + b"\xff" * 20,
        b"\x88\x81" + bytes(5),
        b"\0" * 100,
    ],
)
def test_a_malformed_frame_ends_its_socket_only(served, until, frame):
    with raw_socket(served) as client:
        upgrade(client)
        client.sendall(frame)
        told = b""
        with suppress(ConnectionResetError):
            while data := client.recv(65_536):
                told += data
    assert not told or told[0] == 0x88  # a close frame, if there still was time for it
    assert served.is_idle(until)
    with served.talk(PLAIN) as talk:
        talk.send(voice="tone", format="pcm_16000")
        talk.send(text="Bad cab.", end=True)
        audio = b"".join(part for part in talk.until("done") if isinstance(part, bytes))
    assert is_same(np.frombuffer(audio, "<i2"), served.service.say("tone", "Bad cab.").samples)


def test_a_socket_that_breaks_off_at_any_byte_hurts_nobody(served, until):
    begun, text = json.dumps({"voice": "tone"}), json.dumps({"text": "Bad cab. Abc", "flush": True})
    frames = framed(begun.encode()) + framed(text.encode())
    for stop in range(0, len(UPGRADE), 7):
        with raw_socket(served) as client:
            client.sendall(UPGRADE[:stop])
    for stop in range(len(frames) + 1):
        with raw_socket(served) as client:
            upgrade(client)
            client.sendall(frames[:stop])
            if stop >= len(framed(begun.encode())):
                assert client.recv(1)
    assert served.is_idle(until)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UPGRADE.replace(b"GET", b"POST"), b"405"),
        (UPGRADE.replace(b"Host", b"A: b\r\n" * 200 + b"Host"), b"400"),
        (UPGRADE.replace(b"Host", b"A: " + b"b" * 20_000 + b"\r\nHost"), b"400"),
        (UPGRADE.replace(b"Host", b"Origin: http://[\r\nHost"), b"403"),
    ],
    ids=["method", "many lines", "long line", "origin"],
)
def test_a_head_that_is_none_of_a_socket_is_answered(served, until, caplog, head, status):
    with raw_socket(served) as client:
        client.sendall(head)
        told = b""
        while data := client.recv(65_536):
            told += data
    assert told.startswith(b"HTTP/1.1 " + status)
    until(lambda: not served.server.server_state.connections)
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_pings_whose_answers_nobody_takes_are_answered_with_the_last(served):
    with raw_socket(served, receive_bytes=4096) as client:
        upgrade(client)
        for number in range(40_000):
            client.sendall(framed(b"%0100d" % number, opcode=9))
        client.settimeout(0.5)
        told = bytearray()
        with suppress(TimeoutError):
            while data := client.recv(1 << 20):
                told += data
    assert len(told) < 1_000_000
    assert told.endswith(b"%0100d" % 39_999)


def test_empty_parts_of_a_message_are_not_kept(served):
    with raw_socket(served) as client:
        upgrade(client)
        client.sendall(framed(b'{"voice": ', bits=0) + framed(b"", opcode=0, bits=0) * 10_000)
        client.sendall(framed(b'"tone"}', opcode=0))
        assert b'"started"' in client.recv(1000)


def test_last_bytes_of_a_socket_that_nobody_takes_are_dropped(served, until, monkeypatch):
    monkeypatch.setattr("voxstack.server.connection.LINGER_S", 0.2)
    connections = served.server.server_state.connections
    until(lambda: not connections)
    with raw_socket(served, receive_bytes=4096) as client:
        upgrade(client)
        client.sendall(framed(b'{"voice": "tone", "format": "pcm_48000"}'))
        client.sendall(framed(b'{"text": "%s", "end": true}' % (b"abcdefghijkl " * 7)))
        until(lambda: any(one.transport.get_write_buffer_size() for one in connections))
        client.sendall(framed(b"{", opcode=3))
        until(lambda: not connections)


def test_a_frame_that_cannot_be_read_is_not_the_servers_fault(served, until, caplog):
    caplog.set_level("INFO", "voxstack")
    for _ in range(20):
        with raw_socket(served) as client:
            upgrade(client)
            client.sendall(framed(b'{"voice": "tone", "format": "pcm_48000"}'))
            client.sendall(framed(b'{"text": "abcdefghijkl abcdefghijkl abcdefghijkl", "end": true}'))
            client.recv(1000)
            client.sendall(framed(b"{", opcode=3))
            with suppress(ConnectionResetError):
                while client.recv(65_536):
                    pass
    assert served.is_idle(until)
    assert "broken" not in caplog.text


def upgrade(client) -> None:
    """Make a WebSocket of a socket."""
    client.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101")


def raw_socket(served, receive_bytes=None) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.settimeout(PATIENCE_S)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect((host, int(port)))
    return client


def test_no_chunk_waits_for_the_client_to_confirm_the_one_before():
    with bind(ServerSettings(port=0)) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
