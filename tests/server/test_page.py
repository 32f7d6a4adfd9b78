"""The page at / is served whole, small, safely, and from nowhere else, with pictures and traces of voices."""

import json
import re
import socket
import xml.etree.ElementTree as ET

import pytest

import voxstack
from voxstack.server.keys import add_key
from voxstack.server.web_page import FILES

pytestmark = pytest.mark.end_to_end

MOST_BYTES = 200_000

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def text_of(path: str) -> str:
    return FILES[path].data.decode()


def test_every_file_that_the_page_names_is_served_with_its_type(served):
    named = re.findall(r'(?:href|src)="(page/[^"]+)"', text_of("/"))
    for path, file in FILES.items():
        if path.endswith(".js"):
            named += [f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', file.data.decode())]
    assert len(named) > 10
    assert {f"/{path}" for path in named} == set(FILES) - {"/"}
    for path in {f"/{path}" for path in named}:
        status, body, headers = served.ask(path)
        assert (status, body) == (200, FILES[path].data)
        assert headers.get_content_type() == TYPES[path.rpartition(".")[2]]
    status, body, headers = served.ask("/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert body == FILES["/"].data


def test_all_of_it_together_is_small():
    assert sum(len(file.data) for file in FILES.values()) < MOST_BYTES


@pytest.mark.parametrize("path", FILES)
def test_nothing_comes_from_elsewhere(path):
    found = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", text_of(path))
    assert found == [] or set(found) == {"http://www.w3.org"}  # the name of SVG, which nobody fetches


@pytest.mark.parametrize("path", FILES)
def test_no_script_or_style_is_written_into_the_page(served, path):
    _, body, headers = served.ask(path)
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    if path.endswith((".js", ".html")) or path == "/":
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=|innerHTML|eval\(", body.decode())


@pytest.mark.parametrize("path", FILES)
def test_a_browser_that_has_the_newest_file_is_not_sent_it_again(served, path):
    _, _, headers = served.ask(path)
    assert headers["cache-control"] == "no-cache"
    for tag in (headers["etag"], f'"other", W/{headers["etag"]}'):
        status, body, again = served.ask(path, headers={"if-none-match": tag})
        assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert served.ask(path, headers={"if-none-match": '"old"'})[0] == 200


def test_the_page_needs_no_key_but_all_that_it_asks_for_does(serve, tmp_path):
    key = add_key(tmp_path / "keys", "anna")
    served = serve(keys=str(tmp_path / "keys"))
    assert {served.ask(path)[0] for path in FILES} == {200}
    assert served.ask("/v1/audio/voices")[0] == 401
    assert served.ask("/v1/voices/tone/stack.svg")[0] == 401
    assert served.ask("/v1/voices/tone/trace", {"input": "Bad cab."})[0] == 401
    assert served.ask("/v1/voices/tone/stack.svg", headers={"authorization": f"Bearer {key}"})[0] == 200


def test_a_server_may_do_without_it(serve):
    served = serve(page=False)
    assert {served.ask(path)[0] for path in (*FILES, "/v1/voices/tone/stack.svg")} == {404}
    assert served.ask("/v1/voices/tone/trace", {"input": "Bad cab."})[0] == 404


# What is inside a voice


def test_a_voices_stack_is_drawn_with_each_of_its_blocks(served):
    status, body, headers = served.ask("/v1/voices/tone/stack.svg")
    assert (status, headers.get_content_type()) == (200, "image/svg+xml")
    picture = ET.fromstring(body)
    words = [found.text for found in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Upsampler", "Decoder"} <= set(words)
    assert served.ask("/v1/voices/tone/stack.svg")[1] == body


def test_a_trace_says_when_each_block_and_net_of_the_voice_worked(served):
    status, body, _ = served.ask("/v1/voices/tone/trace", {"input": "Bad cab.", "controls": {"speed": 0.5}})
    trace = json.loads(body)
    assert status == 200
    names = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert "chunks for the listener" in names
    assert any(name.startswith("net ") for name in names)
    assert any(name.startswith("Upsampler ") for name in names)
    audio_s = voxstack.load("tone", folders=served.desk.settings.addons).say("Bad cab.", speed=0.5).duration_s
    assert trace["otherData"]["audio_s"] == pytest.approx(audio_s, abs=1e-3)


def test_who_leaves_while_his_trace_is_made_is_not_told_of_a_drain(served, until):
    data = json.dumps({"input": "abcdefghijkl " * 70}).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = f"POST /v1/voices/tone/trace HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        client.sendall(head.encode() + data)
        until(lambda: served.service.admission.at_work)
    until(lambda: not served.service.admission.at_work and not served.desk.in_flight)
    assert served.metric('voxstack_refusals_total{reason="invalid_value"}') >= 1
    assert served.metric('voxstack_refusals_total{reason="draining"}') == 0


def test_a_trace_leaves_nothing_behind(served):
    before = served.service.voices.in_use_bytes
    served.ask("/v1/voices/tone/trace", {"input": "Bad cab."})
    [tone] = [state for state in served.service.voices.states() if state.name == "tone"]
    assert (tone.leases, served.service.admission.at_work) == (0, 0)
    assert served.service.voices.in_use_bytes == before


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/voices/tine/stack.svg", None, 400, "no voice 'tine'; did you mean 'tone'?"),
        ("/v1/voices/tine/trace", {"input": "Bad."}, 400, "no voice 'tine'; did you mean 'tone'?"),
        ("/v1/voices/tone/trace", {"input": "b" * 1001}, 400, "at most 1,000 are traced"),
        ("/v1/voices/tone/trace", {"input": ""}, 400, "input"),
        ("/v1/voices/tone/trace", {"input": "Bad.", "controls": {"sped": 1}}, 400, "did you mean 'speed'?"),
        (
            "/v1/voices/tone/trace",
            {"input": "Bad.", "controls": {"marks": "word"}},
            400,
            "no control 'marks'",
        ),
        ("/v1/voices/tone/trace", None, 405, "Method Not Allowed"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(served, path, body, status, says):
    found, answer, _ = served.ask(path, body)
    assert (found, says in json.loads(answer)["error"]["message"]) == (status, True), answer
