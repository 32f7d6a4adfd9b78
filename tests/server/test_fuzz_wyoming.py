"""Whatever comes as Wyoming's events: its own connection ends, and nobody else hears of it."""

import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from voxstack.server import wyoming_frames

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("calm")]

SEED = 10_200
MUTANTS = 400
TOGETHER = 8
SOON_S = 0.3
MOST_GROWTH_KB = 20_000
LONG = 10_000_000

each_end = pytest.mark.parametrize("is_rude", [False, True], ids=["end", "reset"])


def event(kind, data=None, payload=b"", **header) -> bytes:
    """Return an event, whose header may be a lie."""
    body = b"" if data is None else json.dumps(data).encode()
    told = {
        "type": kind,
        "version": "1.8.0",
        "data_length": len(body),
        "payload_length": len(payload),
        **header,
    }
    return json.dumps(told).encode() + b"\n" + body + payload


VOICE = {"voice": {"name": "tone"}}
TALKS = {
    "whole": [
        event("describe"),
        event("synthesize", {"text": "Bad cab.", **VOICE}),
        event("ping", {"text": "a"}),
    ],
    "written": [
        event("synthesize-start", VOICE),
        event("synthesize-chunk", {"text": "Bad cab. A"}),
        event("synthesize-chunk", {"text": "bc."}, b"\0" * 20),
        event("synthesize-stop"),
    ],
}
each_talk = pytest.mark.parametrize("talk", TALKS)

EVENTS = [
    b"\n\n\n",
    b"{\n",
    b'{"type": null}\n',
    b'{"type": "ping", "data": 5}\n',
    b'{"type": "ping", "type": "ping"}\n',
    b'{"type": "\\ud800"}\n{"type": 5}\n',
    b"[" * 60_000 + b"\n",
    b"x" * 1_000_000,
    b'{"type": "' + b"x" * 60_000,
    b'{"type": "ping", "data_length": 1' + b"0" * 3000 + b"}\n",
    b'{"type": "ping", "data_length": 1' + b"0" * 30_000 + b"}\n",
    b'{"type": "ping", "data_length": 1e2}\n',
    b'{"type": "ping", "data_length": true}\n',
    b'{"type": "ping", "data_length": NaN}\n',
    b'{"type": "ping", "data_length": -5}\n',
    b'{"type": "ping", "payload_length": -5}\n',
    b'{"type": "ping", "payload_length": 1.5}\n',
    b'{"type": "ping", "payload_length": "9"}\n',
    b'{"type": "ping", "payload_length": 99999999999}\n',
    b'{"type": "ping", "data_length": 3}\n[1]',
    b'{"type": "ping", "data_length": 2}\n\xff\xfe',
    event("synthesize", {"text": "a", "voice": "tone"}),
    event("synthesize", {"text": None}),
    event("synthesize", {"text": "\ud800"}),
    event("synthesize", {"text": "a", "voice": {"name": "tone", "speaker": "nan"}}),
    event("synthesize-start", {"voice": {"name": 5}}),
    event("synthesize", {"text": "a" * 5000}),
    random.Random(SEED).randbytes(5000),
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\n",
]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "begun", "speaking"])
@each_talk
def test_a_wrong_event_ends_its_connection_only(attacked, talk, place):
    for number, wrong in enumerate(EVENTS):
        client = attacked.connect(b"".join(TALKS[talk][:place]), to=attacked.wyoming)
        with suppress(ConnectionError):
            if place and talk == "whole" and number % 2:
                client.recv(100)
            client.sendall(wrong)
            client.shutdown(socket.SHUT_WR)
        assert b"internal_error" not in attacked.heard(client), wrong[:80]
        client.close()


@each_talk
@each_end
def test_a_talk_that_breaks_off_at_any_byte_hurts_nobody(attacked, talk, is_rude):
    whole = b"".join(TALKS[talk])
    for stop in range(len(whole) + 1):
        client = attacked.connect(whole[:stop], to=attacked.wyoming)
        if stop == len(whole):
            client.recv(100)
        attacked.leave(client, is_rude=is_rude)


def test_mutated_talks_are_ended_without_a_fault(attacked):
    def one(seed: int) -> None:
        dice = random.Random(seed)
        data = attacked.mutated(b"".join(dice.choice([*TALKS.values()])), dice)
        attacked.attack(attacked.connect(to=attacked.wyoming), data, dice, seed)

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, range(SEED, SEED + MUTANTS)))


def test_megabytes_for_wyoming_are_refused_and_not_kept(attacked):
    before = attacked.measured().get("VmHWM", 0)
    begun = TALKS["written"][0]
    for data in (
        event("synthesize", {"text": "a" * LONG, **VOICE}),
        json.dumps({"type": "synthesize", "data": {"text": "a" * LONG}}).encode() + b"\n",
        begun + event("synthesize-chunk", {"text": "abcd " * 800}) * 2500,
        begun + event("unknown", {"text": "[]" * 50_000}) * 100,
        begun + event("ping", payload=bytes(900_000)) * 11,
    ):
        client = attacked.connect(to=attacked.wyoming)
        with suppress(ConnectionError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        assert b"internal_error" not in attacked.heard(client)
        client.close()
    assert attacked.measured().get("VmHWM", 0) <= before + MOST_GROWTH_KB


def test_who_sends_an_event_byte_by_byte_is_let_go(serve, attacked, monkeypatch, until):
    monkeypatch.setattr(wyoming_frames, "ARRIVING_S", SOON_S)
    served, is_over = serve(wyoming_port=0), threading.Event()
    for data in (b'{"type": "' + b"x" * 50_000, event("synthesize", {"text": "a" * 4000}, bytes(40_000))):
        client = attacked.connect(to=served.server.wyoming.url.removeprefix("tcp://"))
        with suppress(ConnectionError):
            for byte in data:
                client.sendall(bytes([byte]))
                if not served.server.wyoming.connections:
                    break
                is_over.wait(0.001)
        assert b"the event did not come within 0.3 s" in attacked.heard(client)
        client.close()
    until(lambda: not served.server.wyoming.connections)


# Afterwards


def test_the_process_is_as_it_was(attacked):
    assert attacked.heard_right > 10
    assert attacked.changed() == []
