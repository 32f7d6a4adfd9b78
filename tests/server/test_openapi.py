"""What the server says of its own HTTP API is true: every route is in it, and what it says is answered."""

import json
import re

import jsonschema
import pytest
from starlette.routing import Route

from voxstack.server.app import routes_of
from voxstack.server.encoding import FORMATS

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def description(served):
    status, body, _ = served.ask("/openapi.json")
    assert status == 200
    return json.loads(body)


def test_every_route_is_described_and_nothing_else(served, description):
    routes = [route for route in routes_of(served.desk) if isinstance(route, Route)]
    answered = {(route.path.replace(":path}", "}"), route_methods(route)) for route in routes}
    said = {
        (path, tuple(sorted(method.upper() for method in item)))
        for path, item in description["paths"].items()
    }
    assert said == answered


def test_every_reference_leads_somewhere(description):
    known = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
    said = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(description)))
    assert "#/components/schemas/VoiceId" in said
    assert said <= known


def route_methods(route):
    return tuple(sorted(set(route.methods or ()) - {"HEAD"}))


def resolved(schema, description):
    return {**schema, "components": description["components"]}


@pytest.mark.parametrize(
    "path",
    ["/v1/audio/voices", "/v1/models", "/v1/models/tts-1", "/health", "/ready", "/status", "/openapi.json"],
)
def test_answers_are_as_described(served, description, path):
    said = description["paths"]["/v1/models/{id}" if "tts-1" in path else path]["get"]
    status, body, headers = served.ask(path)
    answer = said["responses"][str(status)]["content"][headers.get_content_type()]
    jsonschema.validate(json.loads(body), resolved(answer["schema"], description))


def test_a_server_with_broken_addons_and_no_voice_is_as_described_too(serve, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "addon.json").write_text("{")
    served = serve(tmp_path, watch=True)
    description = json.loads(served.ask("/openapi.json")[1])
    for path, wanted in (("/ready", 503), ("/status", 200), ("/v1/audio/voices", 200)):
        status, body, _ = served.ask(path)
        said = description["paths"][path]["get"]["responses"][str(status)]["content"]["application/json"]
        assert status == wanted
        jsonschema.validate(json.loads(body), resolved(said["schema"], description))
    assert json.loads(served.ask("/ready")[1]) == {"status": "without voices", "faults": 1}


def test_refusals_are_as_described(served, description):
    said = description["paths"]["/v1/audio/speech"]["post"]["responses"]
    for body in (b"{", {"model": "x", "voice": "tone", "input": "a"}):
        status, answer, _ = served.ask("/v1/audio/speech", body)
        schema = said[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(json.loads(answer), resolved(schema, description))


def test_what_asks_for_speech_is_described_as_it_is_read(served, description):
    schema = resolved(description["components"]["schemas"]["Speech"], description)
    good = {"model": "tts-1", "voice": "tone", "input": "a"}
    for more in ({}, {"voice": {"id": "tone"}}, {"speed": 4}, {"controls": {"noise": 0.5}}, {"seed": None}):
        jsonschema.validate({**good, **more}, schema)
    for wrong in (
        {"voice": {"name": "tone"}},
        {"sped": 2},
        {"speed": 5},
        {"input": "a" * 4097},
        {"input": ""},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, **wrong}, schema)


def test_every_format_has_its_content_type(served, description):
    content = description["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    assert set(content) == {kind.media_type for kind in FORMATS.values()} | {"text/event-stream"}
    assert "tone" in description["components"]["schemas"]["Speech"]["properties"]["voice"]["examples"]
