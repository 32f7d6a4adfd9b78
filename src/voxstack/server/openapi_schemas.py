"""Say in JSON Schema what the server's answers hold."""

from typing import Any

__all__ = [
    "COUNT",
    "ERROR",
    "MODEL",
    "STATUS",
    "TEXT",
    "VOICE",
    "Schema",
    "a_list",
    "a_ref",
    "a_word",
    "an_object",
]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES_OR_NO: Schema = {"type": "boolean"}


def an_object(optional: dict[str, Schema] | None = None, /, **keys: Schema) -> Schema:
    """Return the schema of an object that has these keys, perhaps optional ones, and no others."""
    return {
        "type": "object",
        "properties": {**keys, **(optional or {})},
        "required": list(keys),
        "additionalProperties": False,
    }


def a_word(*words: str) -> Schema:
    """Return the schema of one of these words."""
    return {"type": "string", "enum": list(words)}


def a_ref(name: str) -> Schema:
    """Return a reference to the schema of a name among the description's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def a_list(name: str) -> Schema:
    """Return the schema of a list of what a name among the components is."""
    return {"type": "array", "items": a_ref(name)}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


ERROR = an_object(error=an_object(message=TEXT, type=TEXT, param=_maybe(TEXT), code=TEXT))

VOICE = an_object(
    {
        "languages": {"type": "array", "items": TEXT},
        "licence": TEXT,
        "sample_rate": COUNT,
        "controls": {"type": "object", "additionalProperties": {"type": "object"}},
        "aliases": {"type": "array", "items": TEXT},
        "why": TEXT,
    },
    id=TEXT,
    name=TEXT,
    object=a_word("voice"),
    status=TEXT,
)

MODEL = an_object(id=TEXT, object=a_word("model"), created={"type": "integer"}, owned_by=a_word("voxstack"))

STATUS = an_object(
    version=TEXT,
    is_ready=YES_OR_NO,
    is_draining=YES_OR_NO,
    streams=COUNT,
    most_streams=COUNT,
    queued_characters=COUNT,
    nets_bytes=COUNT,
    voices={
        "type": "array",
        "items": an_object(
            name=TEXT,
            state=TEXT,
            leases=COUNT,
            bytes=COUNT,
            idle_s=NUMBER,
            profile=_maybe(TEXT),
            why=_maybe(TEXT),
            failed_recordings=COUNT,
            recording_fault=TEXT,
        ),
    },
    faults={"type": "object", "additionalProperties": TEXT},
)
