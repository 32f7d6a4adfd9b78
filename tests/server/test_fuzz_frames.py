"""Whatever comes over a WebSocket: that socket ends, and nobody else hears of it."""

import json
import random
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("calm")]

SEED = 6455
MUTANTS = 300
TOGETHER = 8
SOON_S = 0.3
MOST_GROWTH_KB = 20_000
LONG = 10_000_000

PLAIN, ELEVEN = "/v1/audio/speech/stream", "/v1/text-to-speech/tone/stream-input?output_format=pcm_16000"
TEXT = {"text": "Bad cab. Abc ", "flush": True}
CONVERSATIONS = {
    PLAIN: [
        {"voice": "tone", "format": "pcm_16000", "marks": ["word"]},
        TEXT,
        {"text": "deaf.", "end": True},
    ],
    ELEVEN: [{"text": " ", "voice_settings": {"speed": 1.5}}, TEXT, {"text": "deaf."}, {"text": ""}],
}
KEY = ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
each_socket = pytest.mark.parametrize("path", CONVERSATIONS, ids=["plain", "stream-input"])
each_end = pytest.mark.parametrize("is_rude", [False, True], ids=["end", "reset"])


def framed(
    data: bytes, opcode: int = 1, *, bits: int = 0x80, length: int | None = None, is_masked=True
) -> bytes:
    """Return a client's frame, whose length may be a lie."""
    count, mask = len(data) if length is None else length, b"\1\2\3\4"
    first = bytes([bits | opcode])
    if count < 126:
        head = first + bytes([count | 0x80 * is_masked])
    elif count < 65_536:
        head = first + bytes([126 | 0x80 * is_masked]) + struct.pack(">H", count)
    else:
        head = first + bytes([127 | 0x80 * is_masked]) + struct.pack(">Q", count)
    if not is_masked:
        return head + data
    key = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "big")
    return head + mask + (int.from_bytes(data, "big") ^ key).to_bytes(len(data), "big")


def said(messages) -> bytes:
    return b"".join(framed(json.dumps(message).encode()) for message in messages)


def upgraded(attacked, path, *, to="", receive_bytes=None) -> socket.socket:
    """Return a connection that has become a WebSocket."""
    head = [f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", *KEY]
    client = attacked.connect("\r\n".join(head).encode(), to=to, receive_bytes=receive_bytes)
    told = b""
    while not told.endswith(b"\r\n\r\n"):
        part = client.recv(1)
        assert part, told
        told += part
    assert told.startswith(b"HTTP/1.1 101"), told
    return client


def closing(client) -> bytes:
    """Return what comes until the server closes, and close."""
    told, place = bytearray(), 0
    with client, suppress(ConnectionError):
        while part := client.recv(65_536):
            told += part
            while (frame := told[place : place + 10])[1:]:
                if frame[0] & 15 == 8:
                    return bytes(told)
                count, head = frame[1], 2
                if count > 125:
                    head = 4 if count == 126 else 10
                    count = int.from_bytes(frame[2:head], "big") if len(frame) >= head else 1 << 63
                if place + head + count > len(told):
                    break
                place += head + count
    return bytes(told)


FRAMES = {
    "opcode 3": framed(b"{}", 3),
    "opcode 15": framed(b"", 15),
    "reserved bits": framed(b"{}", bits=0xF0),
    "compressed": framed(b"{}", bits=0xC0),
    "not masked": framed(b"{}", is_masked=False),
    "control in parts": framed(b"a", 9, bits=0),
    "control too long": framed(b"a" * 126, 9),
    "close in parts": framed(b"\3\xe8", 8, bits=0),
    "continued nothing": framed(b"{}", 0),
    "begun twice": framed(b"{", bits=0) + framed(b"}"),
    "no UTF-8": framed(b'{"text": "\xff"}'),
    "half a character": framed(b'{"text": "\xe2\x82'),
    "a surrogate": framed(b'{"text": "\xed\xa0\x80"}'),
    "no UTF-8 in parts": framed(b'{"text": "\xe2', bits=0) + framed(b'x"}', 0),
    "length of 2**63": b"\x81\xff\x80" + bytes(11),
    "length of 2**63 - 1": b"\x81\xff\x7f" + b"\xff" * 11,
    "length of 10 MB": framed(b"{}", length=LONG),
    "length of 10 MB in parts": framed(b"{", bits=0) + framed(b"}", 0, length=LONG),
    "close with half a code": framed(b"\3", 8),
    "close with code 0": framed(b"\0\0", 8),
    "close with code 1005": framed(struct.pack(">H", 1005), 8),
    "close with code 65535": framed(b"\xff\xff", 8),
    "close with no UTF-8": framed(b"\3\xe8\xff\xfe", 8),
    "close in a message": framed(b"{", bits=0) + framed(b"\3\xe8", 8),
    "a head of HTTP": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(1000),
    "noise": random.Random(SEED).randbytes(5000),
}

WRONG = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"1" + b"0" * 5000,
    b"NaN",
    b"[" * 50_000,
    b'{"text": null, "voice": null}',
    b'{"text": {"text": "a"}, "voice": ["tone"]}',
    b'{"text": "a", "text": "b"}',
    b'{"text": "\\ud800", "voice": "\\udfff"}',
    b'{"text": "a", "voice": "tone", "controls": {"seed": 1e300}, "flush": true}',
    b'{"text": "a", "voice": "tone", "controls": {"seed": -1}, "flush": true}',
    b'{"text": "a", "voice": "tone", "controls": {"speed": "nan"}, "flush": true}',
    b'{"text": "a", "voice": "tone", "speed": -1, "voice_settings": {"speed": 1e308}}',
    b'{"text": "a", "flush": 1}',
    b'{"end": "yes", "text": 1.5}',
    b'{"voice": "tone", "marks": ["word", "nothing"], "text": false}',
    b'{"xi-api-key": 5, "key": 5, "text": "a"}',
]


@each_socket
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "begun", "speaking"])
def test_a_wrong_frame_or_message_ends_its_socket_only(attacked, path, place):
    before = said(CONVERSATIONS[path][:place])
    frames = [*FRAMES.values(), *map(framed, WRONG), *(framed(data, 2) for data in WRONG)]
    for number, frame in enumerate(frames):
        client = upgraded(attacked, path)
        with suppress(ConnectionError):
            client.sendall(before)
            if place == 2 and number % 2:
                client.recv(1000)
            client.sendall(frame)
            client.sendall(said([{"text": "a", "end": True}, {"end": True}, {"text": ""}]))
        assert b"internal_error" not in closing(client), frame[:80]


@each_socket
@each_end
def test_a_conversation_that_breaks_off_at_any_byte_hurts_nobody(attacked, path, is_rude):
    whole = said(CONVERSATIONS[path])
    for stop in range(len(whole) + 1):
        client = upgraded(attacked, path)
        client.sendall(whole[:stop])
        if stop % 3 == 0 and stop == len(whole):
            client.recv(1000)
        attacked.leave(client, is_rude=is_rude)


@each_socket
def test_mutated_conversations_are_ended_without_a_fault(attacked, path):
    def one(seed: int) -> None:
        dice = random.Random(seed)
        messages = [json.dumps(message).encode() for message in CONVERSATIONS[path]]
        if dice.random() < 0.5:  # as text, in frames that are right
            place = dice.randrange(len(messages))
            messages[place] = attacked.mutated(messages[place], dice)
            data = b"".join(map(framed, messages))
        else:
            data = attacked.mutated(b"".join(map(framed, messages)), dice)
        attacked.attack(upgraded(attacked, path), data, dice, seed)

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, range(SEED, SEED + MUTANTS)))


HEADS = [
    ("Origin: http://[",),
    ("Origin: null",),
    ("Sec-WebSocket-Protocol: " + "a, " * 500,),
    ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",),
    tuple(f"A{number}: b" for number in range(200)),
    ("Cookie: " + "a" * 20_000,),
    ("Upgrade: h2c",),
    ("Content-Length: 5",),
    ("Sec-WebSocket-Key: again",),
    ("A: \xff\xfe",),
]


@pytest.mark.parametrize("lines", HEADS, ids=lambda lines: lines[0][:20])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_head_of_a_socket_is_answered(attacked, method, lines):
    head = [f"{method} {PLAIN} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", *lines]
    head += KEY
    with attacked.connect("\r\n".join(head).encode("latin-1")) as client:
        told = client.recv(1000)
        assert told.startswith(b"HTTP/1.1 "), told
        assert int(told[9:12]) < 500


@each_socket
def test_megabytes_for_a_socket_are_refused_and_not_kept(attacked, path):
    before = attacked.measured().get("VmHWM", 0)
    begun = said(CONVERSATIONS[path][:1])
    whole = framed(json.dumps({"text": "a" * LONG}).encode())
    parts = framed(b"{", bits=0) + framed(b" " * 60_000, 0, bits=0) * 170
    messages = said([{"text": "abcd " * 800, "flush": True}]) * 2500
    for data in (whole, parts, messages):
        client = upgraded(attacked, path)
        with suppress(ConnectionError):
            client.sendall(begun + data)
        closing(client)
    assert attacked.measured().get("VmHWM", 0) <= before + MOST_GROWTH_KB


@each_socket
@pytest.mark.parametrize(
    "frame",
    [framed(bytes(125), 9), framed(b"", 0, bits=0), framed(bytes(125), 10)],
    ids=["pings", "empty parts", "pongs"],
)
def test_frames_without_end_are_not_kept(attacked, path, frame):
    before = attacked.measured().get("VmHWM", 0)
    with upgraded(attacked, path, receive_bytes=4096) as client:
        client.sendall(framed(b"{", bits=0))
        for _ in range(40):
            client.sendall(frame * 4000)
    assert attacked.measured().get("VmHWM", 0) <= before + MOST_GROWTH_KB // 4


def test_who_sends_a_frame_byte_by_byte_is_let_go(serve, attacked, until):
    served = serve(silent_s=SOON_S)
    refused = ("voxstack_refusals_total", {"reason": "input_timeout_exceeded"})
    whole, is_over = framed(b" " * 60_000), threading.Event()
    for number, path in enumerate((PLAIN, f"{ELEVEN}&inactivity_timeout=1"), 1):
        client = upgraded(attacked, path, to=served.url.removeprefix("http://"))
        with suppress(ConnectionError):
            for byte in whole:
                client.sendall(bytes([byte]))
                if served.desk.metrics.registry.get_sample_value(*refused) == number:
                    break
                is_over.wait(0.001)
        assert b"input_timeout_exceeded" in closing(client)
    until(lambda: not served.service.at_work)


# Afterwards


def test_the_process_is_as_it_was(attacked):
    assert attacked.heard_right > 10
    assert attacked.changed() == []
