"""A server with OpenAI's speech API is asked as its clients ask, and nothing else is taken for audio."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from voxstack.core.errors import RequestError, VoxstackError
from voxstack.testing.load import Load, Refused, SpeechServer, run_load

pytestmark = pytest.mark.unit

TEXT = "three words here"


def test_it_is_asked_for_raw_samples(speech_api):
    list(SpeechServer(speech_api.url, "joe", "some-model", "secret").stream(TEXT))
    [(path, headers, body)] = speech_api.requests
    assert path == "/v1/audio/speech"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {"model": "some-model", "voice": "joe", "input": TEXT, "response_format": "pcm"}


def test_without_a_key_none_is_sent(speech_api):
    list(SpeechServer(speech_api.url, "joe").stream(TEXT))
    assert "Authorization" not in speech_api.requests[0][1]


def test_audio_is_counted_in_samples_whatever_the_pieces(speech_api):
    chunks = list(SpeechServer(speech_api.url, "joe").stream(TEXT))
    assert len(chunks) > 1
    assert sum(chunks) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["audio/pcm;rate=48000", "audio/L16; rate=48000; channels=1"])
def test_the_rate_that_the_server_says_holds(speech_api, kind):
    speech_api.content_type = kind
    assert sum(SpeechServer(speech_api.url, "joe").stream(TEXT)) == pytest.approx(0.15)


def test_a_rate_that_is_given_holds(speech_api):
    assert sum(SpeechServer(speech_api.url, "joe", sample_rate=12_000).stream(TEXT)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://host", "/v1/audio/speech"),
        ("http://host:8000/", "/v1/audio/speech"),
        ("https://host/v1", "/v1/audio/speech"),
        ("https://host/api/v1/", "/api/v1/audio/speech"),
        ("https://host/v1/audio/speech", "/v1/audio/speech"),
    ],
)
def test_a_url_may_name_the_server_its_api_or_the_whole_path(url, path):
    assert SpeechServer(url, "joe").path == path


@pytest.mark.parametrize("url", ["host:8000", "ftp://host", "http://", "http://host:port", "http://host:0"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(RequestError, match=r"^url: got '.*', want http://HOST"):
        SpeechServer(url, "joe")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "wait_s"), [({"Retry-After": "7"}, 7), ({}, 1), ({"Retry-After": "?"}, 1)]
)
def test_a_full_server_refuses_and_says_for_how_long(speech_api, status, header, wait_s):
    speech_api.answers = [(status, header, b'{"error": {"message": "too many streams"}}')]
    with pytest.raises(Refused) as refused:
        list(SpeechServer(speech_api.url, "joe").stream(TEXT))
    assert refused.value.retry_after_s == wait_s
    assert "too many streams" in str(refused.value)


def test_the_hint_may_be_a_date(speech_api):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    speech_api.answers = [(503, {"Retry-After": then}, b"")]
    with pytest.raises(Refused) as refused:
        list(SpeechServer(speech_api.url, "joe").stream(TEXT))
    assert 20 < refused.value.retry_after_s <= 30


def test_a_refused_request_is_made_again(speech_api):
    speech_api.answers = [None, (429, {"Retry-After": "0"}, b"")]
    report = run_load(SpeechServer(speech_api.url, "joe"), [TEXT, "two words"], Load(1, pace="fast"))
    assert (report.requests, report.failed, report.refused) == (2, 0, 1)
    assert report.audio_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {}, b'{"error": {"message": "no voice\\n\'jo\'"}}'), "404 Not Found: no voice 'jo'"),
        ((500, {}, b"<h1>oops</h1>"), "500 Internal Server Error: <h1>oops</h1>"),
        ((500, {}, b""), "500 Internal Server Error"),
        ((200, {"Content-Type": "audio/mpeg"}, b"ID3"), "got audio/mpeg, want raw samples"),
        ((200, {"Content-Type": "application/json"}, b"{}"), "got application/json, want raw samples"),
        (
            (200, {"Content-Type": "audio/pcm", "Content-Length": "48"}, bytes(8)),
            "the answer broke off 40 bytes early",
        ),
        (
            (200, {"Content-Type": "audio/pcm", "Transfer-Encoding": "chunked"}, b"8\r\n\0\0\0\0"),
            "IncompleteRead",
        ),
    ],
)
def test_what_is_no_whole_audio_is_an_error_on_one_line(speech_api, answer, said):
    speech_api.answers = [answer]
    with pytest.raises(VoxstackError) as failed:
        list(SpeechServer(speech_api.url, "joe").stream(TEXT))
    assert not isinstance(failed.value, Refused)
    assert str(failed.value).startswith(f"{speech_api.url}: {said}")
    assert len(str(failed.value).splitlines()) == 1


def test_a_server_that_is_not_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as left:
        url = f"http://127.0.0.1:{left.getsockname()[1]}"
    with pytest.raises(VoxstackError, match="Connection refused"):
        list(SpeechServer(url, "joe").stream(TEXT))
