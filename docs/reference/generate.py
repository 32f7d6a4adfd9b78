"""Write the generated parts of the reference: the keys of addon.json, front ends, standard blocks, telemetry.

cog calls this from docs/reference/*.md, in the repository's root: `make docs` writes, `make check` compares.
"""

import inspect
import json
import re
from typing import Any

from pydantic import TypeAdapter

from voxstack.core.registry import Registry
from voxstack.engine.signals import METRICS, SPANS, attributes
from voxstack.server.metrics import OWN
from voxstack.server.settings import ServerSettings
from voxstack.stack.config import AddonConfig
from voxstack.stack.front import CharactersText, EspeakText, PinyinText
from voxstack.stack.standard import STANDARD

__all__ = ["addon_keys", "blocks", "front_ends", "metrics", "server_keys", "server_metrics", "spans"]

TITLES = {
    "AddonConfig": "The whole",
    "AudioConfig": "audio",
    "MelConfig": "mel",
    "ControlConfig": "A control",
    "NetConfig": "A net",
    "TensorConfig": "A tensor",
    "RaggedConfig": "ragged",
    "GoldenConfig": "golden",
    "ProfileConfig": "A profile",
    "NetProfile": "How a net runs",
    "ShapesConfig": "shapes",
    "ChunksConfig": "chunks",
}

MEANINGS = {
    "AddonConfig": {
        "format": "which version of these rules the file follows",
        "name": "what `--voice` takes",
        "version": "the addon's own version, any text",
        "gives": "what the stack ends in",
        "takes": "`mel` makes it a vocoder; `null` makes it a voice",
        "languages": "language tags, for people and for choosing a voice",
        "licence": "of the weights, as their publisher states it",
        "origin": "where it comes from: `family`, `source`, `sha256` and whatever else is known",
        "audio": "what it ends in",
        "mel": "how its mels are made; a voice and its vocoder must agree",
        "text": "its [front end](#front-ends): `type` and that type's options; `null`: it speaks ids only",
        "controls": "what a request may choose, by name",
        "nets": "its nets, by name",
        "stack": "entries of blocks, from the head down: `type` and that block's [options](blocks.md)",
        "vocoder": "name of the vocoder addon that turns its mels into audio",
        "profiles": "named choices of how its nets run; [more](../how-to/choose-a-profile.md)",
        "golden": "a sample that it must make again",
        "files": "every file but addon.json, with its hash",
    },
    "AudioConfig": {"sample_rate": "Hz"},
    "MelConfig": {
        "sample_rate": "Hz, of the audio that the mels describe",
        "hop": "samples per frame",
        "bands": "mel bands",
        "fmin": "Hz, lower edge",
        "fmax": "Hz, upper edge",
        "log": "base of the logarithm, or decibels",
        "normalisation": "name of an affine map of the log mels",
    },
    "ControlConfig": {
        "default": "value if a request says nothing",
        "min": "least value allowed",
        "max": "greatest value allowed",
        "dtype": "what the nets read; `int64` takes whole numbers only",
        "choices": "names for values: speakers, styles",
    },
    "NetConfig": {
        "file": "path in the addon",
        "variants": "other files of the same net, by the precision (`int8`) or the runtime that takes them",
        "role": "`encoder`, `step`, `decoder`, `vocoder`, or one that a block asks for",
        "inputs": "by name",
        "outputs": "by name",
        "ragged": "the axis that grows with the utterance",
        "state": "recurrent state: input name → name of the output that is its next value; "
        "it begins with the tensor of that name that an encoder gives, else with zeros",
    },
    "TensorConfig": {
        "dtype": "as the net has it",
        "axes": "in the net's own order; a number is a fixed size, `batch` the batch, other names free sizes",
        "random": "the input is noise, drawn from the request's seed along the ragged axis; "
        "with `state`, anew each step",
    },
    "RaggedConfig": {
        "axis": "its name in the tensors' axes",
        "context": "input steps to the left and to the right that an output step depends on",
        "hop": "output steps per input step",
        "pad": "value beyond the utterance's ends; `null`: windows stop there, the net's own ends count",
        "least": "input steps that the net can run on at least; of a shorter utterance the last is repeated",
        "chunkable": "`false`: every output step depends on the whole axis",
        "mask": "name of the input that is 1 inside the utterance and 0 in padding",
        "lengths": "name of the input that holds the number of steps",
    },
    "GoldenConfig": {
        "ids": "what is spoken",
        "controls": "under these controls",
        "audio": "path in the addon of what must come out",
        "tolerance": "greatest difference that counts as equal",
    },
    "ProfileConfig": {
        "nets": "by `*` (all), by role, by a net's name: each says more than the one before",
        "chunks": "how large the chunks are that a listener gets",
    },
    "NetProfile": {
        "runtime": "`onnxruntime`, `openvino`, `torch`, `neuron`; `null` here and below: as the rest says",
        "device": "where it runs, in the runtime's words: `cpu`, `cuda`, `gpu`, `npu` …",
        "precision": "what it computes in; it is that or an error, never less",
        "threads": "of one run; `0`: one for each core",
        "shapes": "sizes it is compiled for; one word has them worked out: `dynamic`, `fixed`, `buckets`",
        "options": "of the runtime's own",
    },
    "ShapesConfig": {
        "automatic": "`fixed`: one size, `buckets`: several, both from the net's axis; `dynamic`: any size",
        "buckets": "the only sizes there are, ascending",
        "most": "the largest size, where there are no buckets",
        "batch": "utterances in one run; a smaller batch is filled up",
    },
    "ChunksConfig": {
        "first_ms": "the first chunk of a request, 90 if nobody says",
        "growth": "a chunk is at most so many times what the listener has been given, 3 if nobody says",
        "most_ms": "the longest chunk, 2200 if nobody says",
    },
}


FRONT_END_MEANINGS = {
    "type": "which front end",
    "voice": "espeak-ng's name of the language, such as `en-us`",
    "phoneme_ids": "ids of each symbol",
    "alphabet": "what the phonemes are written in",
    "lowercase": "whether capitals that have no ids are read as small letters",
    "form": "Unicode normalisation by which a character becomes symbols",
    "spaces": "`trimmed`: none at the ends; `single`: besides, one for each run",
    "unknown": "symbol for a run of unknown characters; `null`: they are skipped",
    "start": "symbol put before an utterance; a list for `pinyin`",
    "end": "symbol put behind an utterance; a list for `pinyin`",
    "separator": "symbol between two syllables",
    "pauses": "symbols for punctuation inside an utterance",
    "zero_initial": "symbol before a syllable that begins with a vowel",
    "apical_vowels": "symbol of the vowel in zi, ci, si, zhi, chi, shi, ri, by its initial",
    "syllables": "symbols of syllables that the rules do not spell",
    "tone_sandhi": "whether tones change before one another as in speech",
    "spacer": "symbol put behind every other symbol",
    "normalise": "language in which numbers, dates and the like are written out as words; `null`: not at all",
    "clause_ends": "signs inside a sentence that end an utterance too",
    "max_characters": "longer sentences are cut at their best inner boundary",
    "pauses_ms": "silence after a `sentence`, a `paragraph`, a `clause`, a `split`",
}


def addon_keys() -> str:
    """Return a section for each object in addon.json; fail if a key has no meaning written above."""
    schema = AddonConfig.model_json_schema()
    objects = {"AddonConfig": schema, **schema["$defs"]}
    parts: list[str] = []
    for name, meanings in MEANINGS.items():
        parts += [
            f"## {TITLES[name]}",
            "",
            _prose(objects[name]),
            "",
            *_table(name, objects[name], meanings),
            "",
        ]
    unknown = set(objects) - set(MEANINGS) - {"_Empty"}
    if unknown:
        raise ValueError(f"{sorted(unknown)} have no meanings; write them")
    return "\n".join(parts)


def front_ends() -> str:
    """Return a section for each front end."""
    parts: list[str] = []
    for options in (CharactersText, EspeakText, PinyinText):
        schema = TypeAdapter(options).json_schema()
        keys = schema["properties"]
        kind = keys["type"]["const"]
        meanings = {key: meaning for key, meaning in FRONT_END_MEANINGS.items() if key in keys}
        prose = _on_one_line(inspect.getdoc(options)).partition("`: ")[2]
        parts += [
            f"### {kind}",
            "",
            f"{prose[0].upper()}{prose[1:]}",
            "",
            *_table(kind, schema, meanings),
            "",
        ]
    return "\n".join(parts)


def blocks() -> str:
    """Return a section for each standard block."""
    registry = Registry(STANDARD)
    parts: list[str] = []
    for full in sorted(STANDARD):
        block = registry.find(full, path="$")
        head, _, rest = inspect.getdoc(block).partition("\n")
        kind = "StreamableBlock" if hasattr(block, "open") else "SequenceBlock"
        name, _, version = full.rpartition(".")
        parts += [
            f"## {name}",
            "",
            head,
            "",
            f"{kind}, version {version.removeprefix('v')}, `{STANDARD[full]}`.",
            "",
        ]
        if rest.strip():
            parts += ["```", rest.strip("\n"), "```", ""]
        schema = TypeAdapter(block.Options).json_schema()
        parts += [*_described(inspect.getdoc(block.Options))]
        if schema["properties"]:
            parts += [*_table(name, schema, None), ""]
        for key, inner in _inner_options(schema).items():
            parts += [f"`{key}` is an object:", "", *_described(inner["description"])]
            parts += [*_table(f"{name}.{key}", inner, None), ""]
    return (
        "\n".join(parts)
        .replace("| anything |", "| an entry |")
        .replace("| list of anything |", "| list of entries |")
    )


def spans() -> str:
    """Return a section for each kind of span."""
    parts: list[str] = []
    for kind, facts in SPANS.items():
        names = zip(attributes(dict.fromkeys(facts, "")), facts.values(), strict=True)
        rows = [f"| `{name}` | {meaning} |" for name, meaning in names]
        parts += [f"### voxstack.{kind}", "", "| attribute | meaning |", "| --- | --- |", *rows, ""]
    return "\n".join(parts)


def metrics() -> str:
    """Return the table of metrics."""
    rows = ["| metric | kind | unit | told apart by | meaning |", "| --- | --- | --- | --- | --- |"]
    for metric in METRICS.values():
        by = ", ".join(f"`{name}`" for name in attributes(dict.fromkeys(metric.by, "")))
        kind = metric.kind.replace("_", "-")
        rows.append(f"| `{metric.name}` | {kind} | `{metric.unit}` | {by} | {metric.meaning} |")
    return "\n".join(rows)


def server_keys() -> str:
    """Return the table of what a server is told."""
    schema = ServerSettings.model_json_schema()
    meanings = {key: value["description"] for key, value in schema["properties"].items()}
    return "\n".join(_table("ServerSettings", schema, meanings))


def server_metrics() -> str:
    """Return the table of what a server counts itself."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in OWN.items()]
    return "\n".join(["| metric | meaning |", "| --- | --- |", *rows])


def _described(text: str | None) -> list[str]:
    """Return a docstring's sentence, and the aligned list below it as it stands."""
    head, _, rest = (text or "").partition("\n\n")
    return [_on_one_line(head), "", *(["```", rest, "```", ""] if rest else [])]


def _inner_options(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of a block that are objects themselves, by key."""
    return {
        key: schema["$defs"][value["$ref"].rsplit("/", 1)[1]]
        for key, value in schema["properties"].items()
        if "$ref" in value
    }


def _table(name: str, described: dict[str, Any], meanings: dict[str, str] | None) -> list[str]:
    """Return the rows of a table of keys; fail unless each has its meaning, if there is a column for them."""
    keys, required = described["properties"], described.get("required", [])
    if meanings is not None and set(keys) != set(meanings):
        raise ValueError(
            f"{name}: {sorted(set(keys) ^ set(meanings))} stand on one side only; mend the meanings"
        )
    rows = ["| key | value | default |", "| --- | --- | --- |"]
    if meanings is not None:
        rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in keys.items():
        default = "required" if key in required else f"`{json.dumps(value.get('default', _empty(value)))}`"
        meaning = f" {meanings[key]} |" if meanings is not None else ""
        rows.append(f"| `{key}` | {_kind(value)} | {default} |{meaning}")
    return rows


def _kind(value: dict[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        title = TITLES.get(name, "")
        return f"[{title}](#{title.lower().replace(' ', '-')})" if title else "`{}`"
    if "anyOf" in value:
        return " or ".join(_kind(option) for option in value["anyOf"])
    if "enum" in value or "const" in value:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in value.get("enum", [value.get("const")]))
    kind = value.get("type")
    if kind == "array":
        if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])}: {_kind(value['prefixItems'][0])} each"
        return f"list of {_kind(value['items'])}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"object of {_kind(inner)}" if isinstance(inner, dict) else "object"
    least = f" ≥ {value['minimum']}" if "minimum" in value else ""
    above = f" > {value['exclusiveMinimum']}" if "exclusiveMinimum" in value else ""
    most = f" ≤ {value['maximum']}" if "maximum" in value else ""
    pattern = f" like `{value['pattern']}`" if "pattern" in value else ""
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "`null`",
    }
    return f"{words.get(kind, 'anything')}{least}{above}{most}{pattern}"


def _empty(value: dict[str, Any]) -> Any:
    return {} if value.get("type") == "object" or "$ref" in value else []


def _prose(described: dict[str, Any]) -> str:
    text = re.sub(r"; see voxstack\.[\w.]+?(?=\.?$)", "", described.get("description", ""))
    return _on_one_line(text)


def _on_one_line(text: str | None) -> str:
    return " ".join((text or "").split())
