"""Whatever comes over HTTP, true to the description or no HTTP at all: nobody else hears of it."""

import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from voxstack.server import bodies, connection

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("calm")]

SEED = 20_260
EXAMPLES = 100
MUTANTS = 400
TOGETHER = 8
SOON_S = 0.3
MOST_GROWTH_KB = 20_000
LONG = 10_000_000
SPOKEN = {"model": "tts-1", "voice": "tone", "input": "Bad cab.", "response_format": "pcm"}


def wanted(path="/v1/audio/speech", body=SPOKEN, *lines) -> bytes:
    """Return a request that ends its connection."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *lines]
    if "Transfer-Encoding: chunked" not in lines:
        head.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*head, "", ""]).encode() + data


def statuses(told: bytes) -> list[int]:
    """Return the statuses of answers whose bodies hold no head."""
    return [int(part[:3]) for part in told.split(b"HTTP/1.1 ")[1:]]


# What the description says


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_operation_answers_as_it_is_described(attacked, mode):
    schemathesis = pytest.importorskip("schemathesis")
    import requests
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.errors import Unsatisfiable
    from schemathesis import checks
    from schemathesis.generation import GenerationMode

    held_to = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    answered: list[tuple[str, int]] = []
    description = schemathesis.openapi.from_url(f"{attacked.url}/openapi.json")

    def hold(operation):
        cases = operation.as_strategy(generation_mode=GenerationMode(mode))

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(is_known=st.booleans(), is_plain=st.booleans(), case=cases)
        def run(case, is_known, is_plain):
            if is_known:  # else few requests would get as far as a voice
                known = {"model": "tts-1", "voice": "tone", "id": "tts-1", "name": "tone"}
                for place in (case.path_parameters, case.body):
                    if isinstance(place, dict):
                        place |= {name: known[name] for name in known.keys() & place.keys()}
                if is_plain and isinstance(case.body, dict) and mode == "positive":
                    plain = {"input": SPOKEN["input"], "controls": None, "marks": None}
                    case.body |= {name: plain[name] for name in plain.keys() & case.body.keys()}
            # A sentence behind the first that was given may hold what this voice cannot speak.
            with suppress(requests.exceptions.ChunkedEncodingError):
                answer = case.call_and_validate(checks=held_to, timeout=20)
                answered.append((operation.label, answer.status_code))

        try:
            run()
        except Unsatisfiable:  # where nothing is asked for, nothing can be wrong
            assert mode == "negative"
            assert "POST" not in operation.label

    paths = json.loads(attacked.ask("/openapi.json")[1])["paths"]
    labels = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    operations = [found.ok() for found in description.get_all_operations()]
    # The description is read from there, so it is not taken for an operation.
    assert {operation.label for operation in operations} == labels - {"GET /openapi.json"}
    for operation in operations:
        hold(operation)
    wanted_status = 200 if mode == "positive" else 400
    assert {"POST /v1/audio/speech", "POST /v1/voices/{name}/trace"} <= {
        label for label, status in answered if status == wanted_status
    }


# Bytes


MALFORMED = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET  /health  HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\nHost: x\n\n",
    b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
    b"GET /health HTTP/1.1\r\n: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nA\0b: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET /%00%ff%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //health?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT /health HTTP/1.1\r\nHost: x\r\n\r\n" + b"\0" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(60),
    b"TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    b"GET /health HTTP/1.1\r\nA: " + b"b" * 100_000,
    b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/audio/speech HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/audio/speech HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/audio/speech HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 100_000,
    b"POST /v1/audio/speech HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/models HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\n",
    bytes(range(256)) * 100,
]


def test_what_is_malformed_is_refused_or_cut(attacked):
    for data in MALFORMED:
        client = attacked.connect()
        with suppress(ConnectionError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        told = attacked.heard(client)
        client.close()
        assert all(status < 500 for status in statuses(told)), data[:80]


def test_mutated_requests_are_answered_without_a_fault(attacked):
    whole = [
        wanted(),
        wanted("/v1/audio/speech", b"c\r\n{          }\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        wanted("/v1/voices/tone/trace", {"input": "Bad."}),
    ]
    whole.append(
        b"GET /v1/models/tts-1?a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n"
    )

    def one(seed: int) -> None:
        dice = random.Random(seed)
        told = attacked.attack(attacked.connect(), attacked.mutated(dice.choice(whole), dice), dice, seed)
        assert all(status < 500 for status in statuses(told)), f"seed {seed}"

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, range(SEED, SEED + MUTANTS)))


BODIES = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"model": "tts-1", "voice": "tone", "input": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    b'{"model": "tts-1", "voice": "tone", "input": "\xff\xfe"}',
    b"\xff\xfe{\x00}\x00",
    b'{"model": "tts-1", "voice": "tone", "input": "a", "speed": Infinity}',
    b'{"model": "tts-1", "voice": "tone", "input": "a", "speed": 1e-400, "seed": 9e99}',
    b'{"model": "tts-1", "voice": "tone", "input": "a", "seed": 1' + b"0" * 50_000 + b"}",
    b'{"model": "tts-1", "voice": "tone", "input": "a", "controls": {"speed": 1e308, "seed": -1e308}}',
    b'{"model": "tts-1", "voice": "tone", "input": "a", "controls": {"seed": 1' + b"0" * 300 + b"}}",
    b'{"input": "a", "seed": 1' + b"0" * 300 + b"}",
    b'{"input": "a", "seed": -1}',
    b'{"input": "a", "controls": {"seed": "1e999"}}',
]


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/voices/tone/trace"])
def test_json_that_nobody_should_write_is_the_writers_fault(attacked, path):
    for body in BODIES:
        with attacked.connect(wanted(path, body)) as client:
            [status] = statuses(attacked.heard(client))
        assert 400 <= status < 500, body[:80]


def test_a_text_of_megabytes_is_refused_and_not_kept(attacked):
    before = attacked.measured()
    for path in ("/v1/audio/speech", "/v1/voices/tone/trace"):
        body = {**SPOKEN, "input": "a" * LONG} if "speech" in path else {"input": "a" * LONG}
        client = attacked.connect(wanted(path, body))
        told = attacked.heard(client)
        client.close()
        assert statuses(told) == [413]
        assert b"the body has more than 114,688 bytes" in told
    assert attacked.measured().get("VmHWM", 0) <= before.get("VmHWM", 0) + MOST_GROWTH_KB


@pytest.mark.parametrize("is_rude", [False, True], ids=["end", "reset"])
def test_a_request_that_breaks_off_at_any_byte_hurts_nobody(attacked, is_rude):
    whole = wanted()
    for stop in range(len(whole) + 1):
        attacked.leave(attacked.connect(whole[:stop]), is_rude=is_rude)


@pytest.mark.parametrize("is_rude", [False, True], ids=["end", "reset"])
def test_who_leaves_anywhere_in_an_answer_hurts_nobody(attacked, is_rude):
    request = wanted(body={**SPOKEN, "input": "Bad cab. " * 40, "response_format": "wav"})
    for count in [*range(1, 300, 7), *range(300, 60_000, 2999)]:
        client = attacked.connect(request, receive_bytes=4096)
        left = count
        while left > 0 and (part := client.recv(left)):
            left -= len(part)
        attacked.leave(client, is_rude=is_rude)


# Slowness


@pytest.fixture
def hasty(serve, monkeypatch):
    """A server in this process that waits for nobody for long."""
    for name in ("HEAD_S", "REST_S", "LINGER_S"):
        monkeypatch.setattr(connection, name, SOON_S)
    monkeypatch.setattr(bodies, "SENDING_S", SOON_S)
    return serve()


@pytest.mark.parametrize(
    "whole",
    [
        b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 50_000,
        wanted(body=b" " * 50_000),
        wanted("/v1/audio/speech", b"1\r\n \r\n" * 50_000, "Transfer-Encoding: chunked"),
        wanted("/health", b"1\r\n \r\n" * 50_000, "Transfer-Encoding: chunked"),
    ],
    ids=["head", "body", "chunks", "chunks for nobody"],
)
def test_who_sends_byte_by_byte_is_let_go(hasty, attacked, until, whole):
    began = time.monotonic()
    is_over = threading.Event()
    head = len(whole.partition(b"\r\n\r\n")[0]) + 4 if b"\r\n\r\n" in whole else 0
    with attacked.connect(to=hasty.url.removeprefix("http://")) as client:
        with suppress(ConnectionError):
            client.sendall(whole[:head])
            for byte in whole[head:]:
                client.sendall(bytes([byte]))
                is_over.wait(0.001)
        told = attacked.heard(client)
    assert time.monotonic() - began < 15 * SOON_S
    assert statuses(told) in ([], [405], [408])
    until(lambda: not hasty.desk.in_flight and not hasty.server.server_state.connections)


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/health", "/nowhere"])
def test_a_body_without_an_end_is_cut(hasty, attacked, until, path):
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with attacked.connect(to=hasty.url.removeprefix("http://")) as client:
        end = time.monotonic() + 20
        with suppress(ConnectionError):
            client.sendall(wanted(path, b"", "Transfer-Encoding: chunked"))
            while time.monotonic() < end:
                client.sendall(chunk)
        assert time.monotonic() < end
    until(lambda: not hasty.desk.in_flight and not hasty.server.server_state.connections)


# Afterwards


def test_the_process_is_as_it_was(attacked):
    assert attacked.heard_right > 10
    assert attacked.changed() == []
