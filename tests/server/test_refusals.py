"""What cannot be served is refused in OpenAI's shape, with the status that its client understands."""

import json
import logging

import openai
import pytest

from voxstack.core.errors import AddonError, BusyError, Cancelled, DeadlineError, NetError, TooLongError
from voxstack.server.door import Visit, refused
from voxstack.server.refusals import refusal_of

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize(
    ("more", "status", "param", "code", "message"),
    [
        ({"voice": "tona"}, 400, "voice", "voice_not_found", "voice: no voice 'tona'; did you mean 'tone'?"),
        (
            {"voice": {"id": "tona"}},
            400,
            "voice",
            "voice_not_found",
            "voice: no voice 'tona'; did you mean 'tone'?",
        ),
        ({"voice": {"name": "tone"}}, 400, "voice", "invalid_value", None),
        ({"voice": "../tone"}, 400, "voice", "voice_not_found", None),
        ({"model": "tts-7"}, 404, "model", "model_not_found", "no model 'tts-7'; did you mean 'tts-1'?"),
        ({"speed": 4.5}, 400, "speed", "invalid_value", None),
        ({"speed": "fast"}, 400, "speed", "invalid_value", None),
        ({"response_format": "ogg"}, 400, "response_format", "invalid_value", None),
        ({"stream_format": "ws"}, 400, "stream_format", "invalid_value", None),
        ({"text": ""}, 400, "input", "invalid_value", None),
        ({"text": "..."}, 400, "input", "invalid_value", None),
        ({"text": 7}, 400, "input", "invalid_value", None),
        ({"sped": 2}, 400, "sped", "invalid_value", "sped: unknown key 'sped'; did you mean 'speed'?"),
        (
            {"text": "a" * 4097},
            400,
            "input",
            "string_above_max_length",
            "got 4,097 characters, at most 4,096 are taken; send the text in parts",
        ),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(served, more, status, param, code, message):
    got, error = served.error(**more)
    assert (got, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    if message:
        assert error["message"] == message
    assert served.service.at_work == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"model": "a", "model": "b"}',
        b'{"model": "tts-1", "voice": "tone", "input": "\\ud800"}',
        b'{"model": "tts-1", "voice": "tone", "input": "a", "speed": NaN}',
        b'{"model": "tts-1", "voice": "tone", "input": "a", "seed": 1e999}',
        b'{"model": "tts-1", "voice": "tone", "input": "a", "seed": -1}',
        b'{"model": "tts-1", "voice": "tone", "input": "a", "seed": 1%s}' % (b"0" * 4000),
        b'{"model": "tts-1", "voice": "tone", "input": "a", "seed": 1, "controls": {"seed": 2}}',
        b'{"\\ud800": 1, "\\ud800": 2}',
    ],
)
def test_what_is_no_json_object_is_refused(served, body):
    status, answer, _ = served.ask("/v1/audio/speech", body)
    assert status == 400
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"


def test_what_is_wrong_with_a_body_as_a_whole_names_no_key(served):
    _, answer, _ = served.ask("/v1/audio/speech", b"{")
    error = json.loads(answer)["error"]
    assert error["param"] is None
    assert error["message"].startswith("the body: not JSON: ")


def test_a_body_that_is_too_large_is_refused_before_it_is_read_to_its_end(served):
    status, answer, _ = served.ask("/v1/audio/speech", b" " * 10_000_000)
    assert status == 413
    assert "the body has more than 114,688 bytes" in json.loads(answer)["error"]["message"]


def test_other_paths_and_methods_are_answered_in_the_same_shape(served):
    status, answer, _ = served.ask("/v1/nothing")
    assert (status, json.loads(answer)["error"]["code"]) == (404, "not_found")
    status, answer, _ = served.ask("/v1/audio/speech")
    assert (status, json.loads(answer)["error"]["code"]) == (405, "method_not_allowed")


def test_the_real_client_raises_its_own_errors(served):
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.audio.speech.create(model="tts-1", voice="nobody", input="a")
    assert caught.value.param == "voice"
    assert caught.value.request_id


def test_what_breaks_inside_is_not_shown(served, monkeypatch):
    def fail(*args, **more):
        raise ZeroDivisionError("the secret of the inside")

    monkeypatch.setattr(served.service, "stream", fail)
    status, body, headers = served.say()
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "secret" not in error["message"]
    assert headers["x-request-id"] in error["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BusyError("full", retry_after_s=2.5), 429),
        (DeadlineError("late"), 504),
        (TooLongError(steps=9, most=8, axis="ids"), 400),
        (AddonError("nets/x.onnx has another hash", where="/secret/place"), 503),
        (ValueError("inside"), 500),
    ],
)
def test_each_error_of_the_engine_has_its_status(error, status):
    refusal = refusal_of(error, request="abc")
    assert refusal.status == status
    assert "/secret" not in json.dumps(refusal.body)
    assert refusal.headers.get("Retry-After") == ("3" if status == 429 else None)


def test_a_full_service_says_when_to_come_again(serve):
    served = serve(streams=1)
    with served.begin("abcdefghijkl " * 300, receive_bytes=4096) as first:
        assert first.recv(1000)
        status, body, headers = served.say()
    assert status == 429
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert int(headers["Retry-After"]) >= 1


def test_a_deadline_before_the_first_audio_is_504(serve, monkeypatch):
    served = serve()

    def late(*args, **more):
        raise DeadlineError("its 1 s are over", where="tone")

    monkeypatch.setattr(served.service, "stream", late)
    assert served.error()[0] == 504


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (Cancelled("the service was closed"), False),
        (DeadlineError("too late", made_s=0.0), False),
        (NetError("failed"), True),
        (ZeroDivisionError(), True),
    ],
)
def test_the_log_tells_of_what_broke_and_not_of_a_drain_or_a_deadline(caplog, error, is_told):
    with caplog.at_level(logging.DEBUG, "voxstack"):
        refused(error, Visit("abc"))
    assert ["broken" in record.message for record in caplog.records] == [True] * is_told


@pytest.mark.parametrize("name", ["marks", "deadline_s", "client", "voice", "text", "self"])
def test_no_control_can_be_taken_for_something_that_is_not_the_clients_to_say(served, name):
    status, error = served.error(controls={name: 1})
    assert status == 400
    assert error["message"].startswith(f"controls: voice 'tone' has no control '{name}'")
