"""The JSON Schema of addon.json is made from the code, and shipped."""

import json
from pathlib import Path

import jsonschema
import pytest

from voxstack.stack import schema

pytestmark = pytest.mark.unit

SHIPPED = Path(schema.__file__).with_name("addon.schema.json")


@pytest.fixture(scope="module")
def validator():
    read = json.loads(SHIPPED.read_text())
    jsonschema.Draft202012Validator.check_schema(read)
    return jsonschema.Draft202012Validator(read)


def test_the_shipped_schema_is_current():
    assert SHIPPED.read_text() == schema.schema_text(), (
        "write it anew: python -m voxstack.stack.schema > src/voxstack/stack/addon.schema.json"
    )


@pytest.mark.parametrize("kind", ["one", "two", "chain", "vocoder"])
def test_it_accepts_the_tone_addons(validator, tone, kind):
    validator.validate(json.loads((tone(kind) / "addon.json").read_text()))


def test_it_accepts_empty_objects_where_the_code_does(validator, tone):
    config = json.loads((tone("two") / "addon.json").read_text())
    config["golden"] = config["nets"]["text"]["ragged"] = {}
    validator.validate(config)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"nmae": 1}, "$"),
        ({"format": 2}, "$.format"),
        ({"audio": {"sample_rate": "16000"}}, "$.audio.sample_rate"),
        ({"stack": []}, "$.stack"),
        ({"files": {"a": "md5:0"}}, "$.files.a"),
    ],
)
def test_it_refuses_what_the_code_refuses(validator, tone, change, path):
    config = json.loads((tone("two") / "addon.json").read_text()) | change
    assert [error.json_path for error in validator.iter_errors(config)] == [path]


def test_every_object_is_closed_but_those_that_are_free_on_purpose():
    free = {"origin", "text"}
    open_objects = {
        name
        for name, node in schema.addon_schema()["properties"].items()
        if node.get("additionalProperties") is True
        or any(option.get("additionalProperties") is True for option in node.get("anyOf", ()))
    }
    assert open_objects == free
    assert all(node["additionalProperties"] is False for node in schema.addon_schema()["$defs"].values())
