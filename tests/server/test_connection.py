"""A connection ends when nothing sensible comes or goes on it, and never in the middle of an answer."""

import json
import socket
import threading

import pytest

from voxstack.server import connection

pytestmark = pytest.mark.end_to_end

LONG = "abcdefghijkl " * 300
SMALL_BYTES = 4096
SOON_S = 0.2
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def wanted(text="Bad cab.", version="1.1", **more):
    """Return the bytes of a request to speak."""
    body = {"model": "tts-1", "voice": "tone", "input": text, "response_format": "pcm", **more}
    data = json.dumps(body).encode()
    return (
        f"POST /v1/audio/speech HTTP/{version}\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        + data
    )


@pytest.fixture
def connect(served):
    """Return what opens connections; all are closed at the end."""
    clients = []

    def open_(data=b"", receive_bytes=None, to=served):
        client = socket.socket()
        clients.append(client)
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(20)
        host, port = to.url.removeprefix("http://").rsplit(":", 1)
        client.connect((host, int(port)))
        client.sendall(data)
        return client

    yield open_
    for client in clients:
        client.close()


@pytest.fixture
def soon(monkeypatch):
    """Let nothing be waited for for long."""
    for name in ("HEAD_S", "REST_S", "LINGER_S"):
        monkeypatch.setattr(connection, name, SOON_S)


def read(client, *, until=None):
    """Return what comes until the connection ends, or until what has come ends with some bytes."""
    found = bytearray()
    try:
        while part := client.recv(65_536):
            found += part
            if until is not None and found.endswith(until):
                break
    except ConnectionError:
        pass
    return bytes(found)


def test_requests_that_come_at_once_are_answered_in_turn(connect):
    answers = read(
        connect(wanted() + HEALTH + wanted("Cab.") + HEALTH.replace(b"Host", b"Connection: close\r\nHost"))
    )
    assert [part.split(b" ")[0] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 4
    assert answers.count(b'{"status":"up"}') == 2


def test_who_leaves_with_more_requests_waiting_frees_them_all(served, connect, until):
    line = 'voxstack_cancellations_total{reason="left",voice="tone"}'
    before = served.metric(line)
    client = connect(wanted(LONG) + wanted(LONG) + HEALTH, SMALL_BYTES)
    assert client.recv(100)
    client.close()
    until(lambda: not served.service.at_work and not served.desk.in_flight)
    assert served.metric(line) == before + 1


def test_half_a_request_behind_another_does_not_cut_the_others_answer(connect, soon):
    client = connect(wanted(LONG) + b"GET /hea", SMALL_BYTES)
    got = client.recv(1000)
    threading.Event().wait(
        4 * SOON_S
    )  # the answer waits for its client, the rest of the request for the answer
    assert (got + read(client)).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        HEALTH,
        HEALTH.replace(b"Host", b"Content-Length: 9\r\nHost") + b"x",
        HEALTH.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"1\r\nx",
        HEALTH.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"0\r\nX-Trailer: ",
    ],
    ids=["line ends", "body", "chunks", "trailer"],
)
def test_what_comes_behind_an_answered_request_and_never_ends_ends_the_connection(connect, soon, data):
    client = connect(data)
    assert read(client, until=b'"up"}').startswith(b"HTTP/1.1 200")
    client.sendall(b"\r\n")
    assert read(client) == b""


def test_what_stands_behind_a_body_is_bounded(connect):
    client = connect(HEALTH.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost") + b"0\r\n")
    with pytest.raises(ConnectionError):  # noqa: PT012 - which one of them meets it is not known
        for _ in range(1000):
            client.sendall(b"X-Trailer: " + b"x" * 4000 + b"\r\n")


def test_requests_sent_at_once_are_no_head_that_is_too_large(connect):
    count = 3000
    answers = read(connect(HEALTH * count + HEALTH.replace(b"Host", b"Connection: close\r\nHost")))
    assert answers.count(b"HTTP/1.1 200") == count + 1


def test_last_bytes_that_nobody_takes_are_dropped(served, connect, soon, until):
    until(lambda: not served.server.server_state.connections)
    data = wanted("abcdefghijkl " * 3).replace(b"Host", b"Connection: close\r\nHost")
    assert connect(data, SMALL_BYTES).recv(12)
    until(lambda: not served.desk.in_flight)
    until(lambda: not served.server.server_state.connections)


def test_who_asks_and_asks_and_takes_nothing_is_let_go(serve, connect, until):
    served = serve(stalled_s=SOON_S)
    client = connect(b"", SMALL_BYTES, to=served)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):  # noqa: PT012 - as above
        while True:
            client.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    until(lambda: not served.server.server_state.connections and not served.desk.in_flight)


def test_http_1_0_gets_audio_without_chunks_and_a_connection_that_ends(served, connect):
    head, _, audio = read(connect(wanted(version="1.0"))).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert audio == served.say("Bad cab.")[1]
    _, _, body = read(connect(HEALTH.replace(b"1.1", b"1.0"))).partition(b"\r\n\r\n")
    assert body == b'{"status":"up"}'


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_refused_in_the_shape_of_all_refusals(connect, data):
    head, _, body = read(connect(data)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "not_http"


def test_what_is_no_http_is_never_refused_in_the_middle_of_an_answer(served, connect, until):
    client = connect(wanted(LONG), SMALL_BYTES)
    got = client.recv(1000)
    client.sendall(b"\x00\x01\x02")
    got += read(client)
    assert b"HTTP/1.1 400" not in got
    assert not got.endswith(b"0\r\n\r\n")
    until(lambda: not served.service.at_work)


@pytest.mark.parametrize("cut", [b"", b"Upgrade: ", b"HTTP2-Settings: ", b"Content-Length: ", b"\r\n\r\n"])
@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0"])
def test_who_offers_another_protocol_is_answered_in_this_one(served, connect, until, caplog, protocol, cut):
    offer = (
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AA\r\nHost".encode()
    )
    data = wanted().replace(b"Host", offer)
    until(lambda: not served.server.server_state.connections)
    place = data.index(cut) + len(cut)
    read_bytes = 0 if cut == b"\r\n\r\n" else place  # of the head, as long as it goes on
    client = connect(data[:place])
    until(lambda: [one._idle_bytes for one in served.server.server_state.connections] == [read_bytes])
    client.sendall(data[place:])
    assert read(client, until=b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")
    client.sendall(HEALTH.replace(b"Host", offer) + HEALTH)
    answers = read(client, until=b'"up"}')
    if answers.count(b'"up"}') < 2:
        answers += read(client, until=b'"up"}')
    assert answers.count(b"HTTP/1.1 200") == 2
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_any_number_of_offers_at_once_is_answered(connect):
    offer = HEALTH.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: x\r\nHost")
    answers = read(connect(offer * 2000 + HEALTH.replace(b"Host", b"Connection: close\r\nHost")))
    assert answers.count(b"HTTP/1.1 200") == 2001


def test_no_socket_is_opened_in_the_middle_of_an_answer(served, connect, until):
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost"
    upgrade = HEALTH.replace(b"/health", b"/v1/audio/speech/stream").replace(b"Host", key)
    upgrade = upgrade.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost")
    client = connect(wanted(LONG) + upgrade, SMALL_BYTES)
    assert b"HTTP/1.1 101" not in read(client)
    until(lambda: not served.service.at_work and not served.server.server_state.connections)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "\x80;;"]
)
def test_a_body_is_read_as_json_whatever_it_is_called(served, kind):
    assert served.say(headers={"Content-Type": kind})[0] == 200
