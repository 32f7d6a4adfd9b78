"""Operators see how a server fares; keys, limits, reloading and the end are as they were told."""

import json
import os
import shutil
import ssl
import subprocess
import threading
import time

import pytest

import make_tone
from voxstack.server.keys import add_key

pytestmark = pytest.mark.end_to_end

LONG = "abcdefghijkl " * 300
SMALL_BYTES = 4096


@pytest.fixture
def own_voices(voices, tmp_path):
    """A copy of the voices that a test may change."""
    return shutil.copytree(voices, tmp_path / "own")


def status_of(served, name):
    rows = json.loads(served.ask("/v1/audio/voices")[1])["voices"]
    return next((row["status"] for row in rows if row["id"] == name), None)


def peak(served, voice="tone"):
    import numpy as np

    status, body, _ = served.say(voice=voice)
    assert status == 200, body
    return np.abs(np.frombuffer(body, "<i2").astype(int)).max()


def later(folder):
    """Let an addon's time be another than before."""
    stamp = time.time_ns() + 5_000_000_000
    os.utime(folder / "addon.json", ns=(stamp, stamp))


# Health, metrics, lines


def test_health_and_ready_say_so(served):
    assert served.ask("/health")[:2] == (200, b'{"status":"up"}')
    assert served.ask("/ready")[:2] == (200, b'{"status":"ready"}')


def test_a_server_listens_before_its_voices_are_loaded_and_is_not_ready_then(served):
    served.desk.is_loaded = False
    try:
        assert served.ask("/ready")[:2] == (503, b'{"status":"loading"}')
        assert served.ask("/health")[0] == 200
    finally:
        served.desk.is_loaded = True


def test_metrics_count_what_was_spoken_and_what_was_not(serve, until):
    served = serve()
    assert served.say()[0] == 200
    assert served.say("...")[0] == 400
    until(lambda: not served.desk.in_flight)  # a client has its answer before all of it is counted
    by = 'profile="cpu",voice="tone"'
    assert served.metric(f'voxstack_requests_total{{error_type="",outcome="done",{by}}}') == 1
    assert served.metric(f'voxstack_requests_total{{error_type="RequestError",outcome="error",{by}}}') == 1
    assert served.metric(f"voxstack_first_audio_seconds_count{{{by}}}") == 1
    assert served.metric(f"voxstack_real_time_factor_count{{{by}}}") == 1
    assert served.metric(f"voxstack_underruns_total{{{by}}}") == 0
    assert served.metric(f"voxstack_audio_seconds_total{{{by}}}") == pytest.approx(0.46, abs=0.2)
    spoken = '{format="pcm",voice="tone"}'
    assert served.metric(f"voxstack_http_first_audio_seconds_count{spoken}") == 1
    assert served.metric(f"voxstack_http_audio_bytes_total{spoken}") == len(served.say()[1])
    until(lambda: not served.desk.in_flight)
    answered = '{method="POST",route="/v1/audio/speech",status="%d"}'
    assert served.metric("voxstack_http_requests_total" + answered % 200) == 2
    assert served.metric("voxstack_http_requests_total" + answered % 400) == 1
    assert served.metric('voxstack_refusals_total{reason="invalid_value"}') == 1
    assert served.metric('voxstack_voice_state{state="ready",voice="tone"}') == 1
    for gauge in ("streams", "queued_characters", "lane_running", "lane_waiting", "draining"):
        assert served.metric(f"voxstack_{gauge}") == 0
    assert served.metric("voxstack_nets_bytes") > 1000


def test_metrics_see_a_stream_at_work(serve):
    served = serve()
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        assert client.recv(10)
        assert served.metric("voxstack_streams") == 1
        assert served.metric('voxstack_active_requests{profile="cpu",voice="tone"}') == 1
        assert json.loads(served.ask("/status")[1])["streams"] == 1


def test_each_request_has_a_line_with_its_id_and_no_text(served, caplog, until):
    with caplog.at_level("INFO", "voxstack"):
        _, _, headers = served.say("Bad cab.")
        until(lambda: not served.desk.in_flight)
        lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "voxstack"]
    [line] = [line for line in lines if line["event"] == "http"]
    assert line["id"] == headers["x-request-id"]
    assert (line["status"], line["voice"], line["format"], line["characters"]) == (200, "tone", "pcm", 8)
    assert line["outcome"] == "done"
    assert 0 < line["first_audio_s"] <= line["took_s"]
    assert "Bad" not in json.dumps(lines)


# Keys and limits


@pytest.fixture
def keys(tmp_path):
    file = tmp_path / "keys"
    return file, {name: add_key(file, name) for name in ("alice", "bob")}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_nothing_but_health_is_answered(serve, keys):
    file, known = keys
    served = serve(keys=str(file))
    for path in ("/v1/models", "/v1/audio/voices", "/metrics", "/status", "/nothing"):
        status, body, headers = served.ask(path)
        assert (status, json.loads(body)["error"]["code"]) == (401, "missing_api_key"), path
        assert headers["WWW-Authenticate"] == "Bearer"
    status, error = served.error(headers=bearer("vox-wrong"))
    assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
    assert served.ask("/health")[0] == served.ask("/ready")[0] == 200
    assert served.say(headers=bearer(known["alice"]))[0] == 200
    assert served.say(headers={"xi-api-key": known["bob"]})[0] == 200
    assert known["alice"] not in file.read_text()


def test_a_key_that_is_added_holds_without_a_restart(serve, keys, until):
    file, _ = keys
    served = serve(keys=str(file))
    key = add_key(file, "carol")
    later_ns = time.time_ns() + 5_000_000_000
    os.utime(file, ns=(later_ns, later_ns))
    until(lambda: served.say(headers=bearer(key))[0] == 200)


def test_a_key_has_so_many_requests_at_a_time(serve, keys, until):
    file, known = keys
    served = serve(keys=str(file), key_streams=1)
    with served.begin(LONG, receive_bytes=SMALL_BYTES, key=known["alice"]) as client:
        assert client.recv(10)
        status, error = served.error(headers=bearer(known["alice"]))
        assert (status, error["code"]) == (429, "rate_limit_exceeded")
        assert served.say(headers=bearer(known["bob"]))[0] == 200
    until(lambda: not served.service.at_work)


def test_a_key_has_so_many_characters_a_minute(serve, keys):
    file, known = keys
    served = serve(keys=str(file), key_characters_per_minute=20)
    assert served.say("Bad cab, bad.", headers=bearer(known["alice"]))[0] == 200
    status, body, headers = served.say("Bad cab, bad.", headers=bearer(known["alice"]))
    assert (status, json.loads(body)["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(headers["Retry-After"]) <= 19
    assert served.say("Bad cab, bad.", headers=bearer(known["bob"]))[0] == 200
    assert served.error("Bad cab. " * 9, headers=bearer(known["bob"]))[0] == 400
    assert served.error("Bad cab", headers=bearer(known["bob"]), controls={"sped": 1})[0] == 400
    assert served.say("Bad cab", headers=bearer(known["bob"]))[0] == 200  # what was refused cost nothing


def test_text_is_bounded_as_it_was_told(serve):
    served = serve(max_characters=10)
    assert served.say("Bad cab.")[0] == 200
    assert served.error("Bad cab. Bad.")[0] == 400


def test_web_pages_may_call_only_where_they_were_told(serve, served):
    page = {"Origin": "http://page.test"}
    assert served.ask("/v1/models", headers=page)[2]["Access-Control-Allow-Origin"] is None
    open_ = serve(cors_origins=("http://page.test",))
    assert open_.ask("/v1/models", headers=page)[2]["Access-Control-Allow-Origin"] == "http://page.test"
    asked = {
        **page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert open_.ask("/v1/audio/speech", method="OPTIONS", headers=asked)[0] == 200
    other = open_.ask("/v1/models", headers={"Origin": "http://other.test"})
    assert other[2]["Access-Control-Allow-Origin"] is None


def test_https_is_spoken_with_a_certificate(serve, tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    command = [*words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    served = serve(tls_cert=str(cert), tls_key=str(key))
    assert served.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(cert))
    monkeypatch.setattr(ssl, "_create_default_https_context", lambda: trusted)
    assert served.say()[0] == 200


# Voices that change


def test_the_first_voice_may_be_put_into_a_watched_folder_later(serve, own_voices, tmp_path, until):
    empty = tmp_path / "empty"
    empty.mkdir()
    served = serve(empty, watch=True)
    assert served.ask("/ready")[:2] == (503, b'{"status":"without voices"}')
    for name in ("tone", "tone-vocoder"):
        (own_voices / name).rename(empty / name)
    until(lambda: served.ask("/ready")[0] == 200)
    assert served.say()[0] == 200
    (empty / "tone").rename(own_voices / "tone")
    until(lambda: served.ask("/ready")[0] == 503)


def test_a_voice_that_changes_is_reloaded_while_streams_run(serve, own_voices, until, monkeypatch):
    served = serve(own_voices, watch=True)
    loud = peak(served)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        assert client.recv(10)
        monkeypatch.setattr(make_tone, "LOUDNESS", 0.1)
        make_tone.make_tone(own_voices / "tone", name="tone")
        later(own_voices / "tone")
        until(lambda: peak(served) < loud / 2)
        assert client.recv(10)


def test_a_broken_addon_is_shown_and_the_others_speak_on(serve, own_voices, until):
    served = serve(own_voices, watch=True)
    shutil.copytree(own_voices / "tone", own_voices / "odd")
    (own_voices / "odd" / "addon.json").write_text("{")
    until(lambda: status_of(served, "odd") == "broken")
    assert served.say()[0] == 200
    assert served.error(voice="odd")[0] == 400
    assert "odd" in json.loads(served.ask("/status")[1])["faults"]
    assert str(own_voices) not in served.ask("/v1/audio/voices")[1].decode()


def test_a_voice_that_breaks_while_it_is_in_use_speaks_on(serve, own_voices, until):
    served = serve(own_voices, watch=True)
    loud = peak(served)
    addon = own_voices / "tone" / "addon.json"
    addon.write_text(addon.read_text().replace('"Upsampler"', '"Upsampla"'))
    later(own_voices / "tone")

    def is_told():
        states = json.loads(served.ask("/status")[1])["voices"]
        return any(state["name"] == "tone" and state["why"] for state in states)

    until(is_told)
    assert peak(served) == loud
    (own_voices / "tone" / "addon.json").write_text("{")
    until(lambda: served.desk.catalogue.faults)
    assert peak(served) == loud


def test_a_new_voice_is_offered_and_one_that_is_gone_is_not(serve, own_voices, until):
    served = serve(own_voices, watch=True)
    make_tone.make_tone(own_voices / "third", name="third")
    until(lambda: status_of(served, "third") == "ready")
    assert served.say(voice="third")[0] == 200
    shutil.rmtree(own_voices / "third")
    until(lambda: status_of(served, "third") is None)
    assert served.error(voice="third")[1]["code"] == "voice_not_found"


# The end


def test_requests_at_work_end_before_the_server_does_and_new_ones_are_refused(serve, until):
    served = serve(drain_s=20.0)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        heard = len(client.recv(10))
        served.server.drain()
        assert served.ask("/ready")[:2] == (503, b'{"status":"draining"}')
        assert served.ask("/health")[0] == 200
        status, body, headers = served.say()
        assert (status, json.loads(body)["error"]["code"]) == (503, "draining")
        assert headers["Retry-After"] == "1"
        assert served.thread.is_alive()
        last = b""
        while part := client.recv(1 << 20):
            heard += len(part)
            last = (last + part)[-5:]
    assert last == b"0\r\n\r\n"
    assert heard > 260 * 48_000
    served.thread.join(20)
    assert not served.thread.is_alive()


def test_what_has_not_ended_in_time_is_cut(serve):
    served = serve(drain_s=0.1)
    with served.begin(LONG, receive_bytes=SMALL_BYTES) as client:
        assert client.recv(10)
        served.server.drain()
        served.thread.join(20)
        assert not served.thread.is_alive()
    assert served.service.at_work == 0


def test_no_thread_is_left_when_a_server_has_ended(serve, until):
    served = serve()
    assert served.say()[0] == 200
    served.stop()
    until(lambda: not [one for one in threading.enumerate() if one.name == "voxstack-speech"])
