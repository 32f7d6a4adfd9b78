"""A client who stops reading stops the work, and one who leaves frees it at once."""

import socket
import struct
import threading

import pytest

from voxstack.core.errors import DeadlineError

pytestmark = pytest.mark.end_to_end

LONG = "abcdefghijkl " * 300
LONG_S = 261
SMALL_BYTES = 4096


def made_s(service):
    """Return how much audio the requests at work have."""
    return sum(request.made_s for request in tuple(service._requests))


def read_all(client):
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def is_ended(client, data=b""):
    """Send, and answer whether the connection is ended without an answer."""
    try:
        client.sendall(data)
        return client.recv(1) == b""
    except ConnectionError:
        return True


def is_paused(service, until):
    """Wait until nothing is made any more; return how much was."""
    seen = []

    def is_still():
        threading.Event().wait(0.05)
        seen.append(made_s(service))
        return seen[-1] and seen[-6:] == [seen[-1]] * 6

    until(is_still)
    return seen[-1]


def test_who_stops_reading_stops_the_work_and_reading_on_goes_on_with_it(served, until):
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        paused_s = is_paused(served.service, until)
        assert paused_s < LONG_S / 4
        until(lambda: client.recv(65_536) and made_s(served.service) > paused_s)
    until(lambda: not served.service.at_work)


def test_who_leaves_in_the_middle_frees_his_place(served, until):
    before = served.metric('voxstack_cancellations_total{reason="left",voice="tone"}')
    client = served.begin(LONG, receive_bytes=SMALL_BYTES)
    assert client.recv(100)
    assert served.service.at_work == 1
    client.close()
    until(lambda: not served.service.at_work and not served.service.admission.at_work)
    line = 'voxstack_cancellations_total{reason="left",voice="tone"}'
    until(lambda: served.metric(line) == before + 1)


def test_who_resets_his_connection_frees_his_place(served, until):
    client = served.begin(LONG, receive_bytes=SMALL_BYTES)
    assert client.recv(100)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: not served.service.at_work and not served.service.admission.at_work)


def test_who_leaves_before_the_first_audio_frees_his_place(serve, until, monkeypatch):
    """His voice is still being loaded; what then begins for nobody ends."""
    served = serve()
    go_on, is_asked = threading.Event(), threading.Event()
    lease = served.service.voices.lease

    def slow(name, **more):
        is_asked.set()
        assert go_on.wait(20)
        return lease(name, **more)

    monkeypatch.setattr(served.service.voices, "lease", slow)
    client = served.begin("Bad cab.")
    assert is_asked.wait(20)
    client.close()
    until(lambda: not served.desk.in_flight)
    go_on.set()
    until(lambda: not served.service.at_work and not served.service.admission.at_work)


def test_many_who_wait_for_a_voice_that_loads_do_not_hold_up_the_others(serve, until, monkeypatch):
    served = serve()
    served.service.voices.unload("quiet")
    go_on, waiting = threading.Event(), []
    lease = served.service.voices.lease

    def slow(name, **more):
        if name == "quiet":
            waiting.append(name)
            assert go_on.wait(20)
        return lease(name, **more)

    monkeypatch.setattr(served.service.voices, "lease", slow)
    clients = [served.begin("Bad cab.", voice="quiet") for _ in range(40)]
    until(lambda: len(waiting) >= 32)
    assert served.say()[0] == 200
    go_on.set()
    assert all(client.recv(12).endswith(b"200") for client in clients)
    for client in clients:
        client.close()


def test_no_thread_waits_for_slow_clients_but_the_one_that_makes_each_ones_speech(serve, until):
    served = serve()
    threads = threading.active_count()
    clients = [served.begin(LONG, receive_bytes=SMALL_BYTES) for _ in range(20)]
    until(lambda: served.service.at_work == 20)
    is_paused(served.service, until)
    assert served.ask("/health")[0] == 200
    assert served.say("Bad.")[0] == 200
    others = [thread for thread in threading.enumerate() if thread.name != "voxstack-speech"]
    assert len(others) <= threads + 34  # those that start requests, which are kept for the next
    for client in clients:
        client.close()
    until(lambda: not served.service.at_work)


def test_who_takes_nothing_for_too_long_is_let_go(serve, until):
    served = serve(stalled_s=0.3)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        assert client.recv(12)
        until(lambda: served.metric('voxstack_cancellations_total{reason="stalled",voice="tone"}') == 1)
        until(lambda: not served.service.at_work)
        until(lambda: len(served.server.server_state.connections) <= 1)


def test_speech_that_breaks_off_does_not_end_as_if_it_were_whole(serve, until):
    served = serve(time_limit_s=1.0)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        said = client.recv(12)
        until(lambda: not served.service.at_work)
        said += read_all(client)
    assert said.startswith(b"HTTP/1.1 200")
    assert not said.endswith(b"0\r\n\r\n")


def test_events_say_why_speech_broke_off(served, monkeypatch):
    stream = served.service.stream

    def breaking(*args, **more):
        speech = stream(*args, **more)
        take, count = speech.take_ready, [0]

        def take_ready():
            chunk = take()
            count[0] += chunk is not None
            if count[0] > 1:
                raise DeadlineError("its 1 s are over", where="tone")
            return chunk

        speech.take_ready = take_ready
        return speech

    monkeypatch.setattr(served.service, "stream", breaking)
    status, body, _ = served.say("Bad cab. " * 9, stream_format="sse")
    assert status == 200
    last = body.decode().strip().split("\n\n")[-1]
    assert '"type": "error"' in last
    assert "tone: its 1 s are over" in last
    assert "speech.audio.done" not in body.decode()


def test_a_head_that_does_not_end_ends_the_connection(served, monkeypatch):
    monkeypatch.setattr("voxstack.server.connection.HEAD_S", 0.2)
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\n")
        assert is_ended(client)
    with socket.create_connection((host, int(port)), timeout=20) as client:
        assert is_ended(client, b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 200_000)
