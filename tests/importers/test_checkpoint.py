"""A checkpoint's folder is looked into, goes to the importer of its kind, or is refused in one line."""

import importlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers import checkpoint_model as module
from voxstack.importers import destination
from voxstack.importers.checkpoint import KINDS, Kind, import_sources, read_checkpoint
from voxstack.importers.checkpoint_model import load_model
from voxstack.importers.writing import AddonReport

pytestmark = pytest.mark.unit


def safetensors(path: Path, seed: int = 0) -> None:
    """Write a file of one tensor as the format has it: the header's size, the header, the data."""
    data = np.full(2, seed, np.float32).tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "toy-tts"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "vits", "sampling_rate": 8000}))
    safetensors(path / "model.safetensors")
    return path


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(ImporterError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


# What a folder says


def test_a_checkpoint_knows_its_kind_its_config_and_where_it_comes_from(folder: Path) -> None:
    found = read_checkpoint(folder)

    assert (found.model_type, found.config["sampling_rate"]) == ("vits", 8000)
    assert found.weights == (folder / "model.safetensors",)
    assert found.origin == {
        "family": "transformers",
        "source": "toy-tts",
        "model_type": "vits",
        "sha256": found.sha256,
    }


def test_the_hash_is_that_of_all_weights(folder: Path) -> None:
    alone = read_checkpoint(folder).sha256
    for number in (1, 2):
        safetensors(folder / f"part-{number}.safetensors", seed=number)
    parts = {"a": "part-1.safetensors", "b": "part-2.safetensors", "c": "part-1.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))

    found = read_checkpoint(folder)
    before = found.sha256
    safetensors(folder / "part-2.safetensors", seed=3)

    assert [path.name for path in found.weights] == ["part-1.safetensors", "part-2.safetensors"]
    assert len({alone, before, read_checkpoint(folder).sha256}) == 3


@pytest.mark.parametrize(
    ("card", "licence", "languages"),
    [
        ("---\nlicense: mit\nlanguage: en\n---\nlanguage: de", "mit", ["en"]),
        (
            "---\ntags:\n- speech\nlanguage:\n- nl\n- 'fy'\nlicense: \"cc-by-4.0\"\n---\n",
            "cc-by-4.0",
            ["nl", "fy"],
        ),
        ("---\nlanguage: [en, de]\n---\n", "unknown", ["en", "de"]),
        ("# A voice\nlicense: mit\n", "unknown", []),
        (None, "unknown", []),
    ],
)
def test_licence_and_languages_are_what_the_model_card_says(
    folder: Path, card: str | None, licence: str, languages: list[str]
) -> None:
    if card is not None:
        (folder / "README.md").write_text(card)

    found = read_checkpoint(folder)

    assert (found.licence, found.languages) == (licence, languages)


def test_other_files_of_the_folder_are_read_where_they_are(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"fmin": 80}')
    found = read_checkpoint(folder)

    assert found.json("preprocessor_config.json") == {"fmin": 80}
    assert found.json("tokenizer_config.json") == {}
    assert found.path("config.json", what="of it") == folder / "config.json"
    assert refusal(lambda: found.path("vocab.json", what="the letters")) == (
        f"{folder}: there is no vocab.json, the letters"
    )


# Refusals


def test_a_kind_that_nobody_imports_is_refused_with_those_that_somebody_does(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "speech5"}')
    assert refusal(read_checkpoint, folder) == (
        f"{folder}/config.json: no importer for model_type 'speech5'; did you mean 'speecht5'?"
    )
    (folder / "config.json").write_text('{"model_type": "llama"}')
    assert refusal(read_checkpoint, folder) == (
        f"{folder}/config.json: no importer for model_type 'llama'; known: {', '.join(sorted(KINDS))}"
    )
    (folder / "config.json").write_text("{}")
    assert refusal(read_checkpoint, folder).startswith(
        f"{folder}/config.json: it says no model_type; known: "
    )


def test_a_folder_without_a_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()

    assert refusal(read_checkpoint, folder) == (
        f"{folder}: there is no config.json; want the folder of a checkpoint, as save_pretrained writes it"
    )


def test_a_config_that_is_none_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{model_type}")
    assert refusal(read_checkpoint, folder).startswith(f"{folder}/config.json: not JSON: ")
    (folder / "config.json").write_text('["vits"]')
    assert refusal(read_checkpoint, folder) == f"{folder}/config.json: got a list, want a JSON object"
    (folder / "config.json").write_text("[" * 100_000)
    assert refusal(read_checkpoint, folder).startswith(f"{folder}/config.json: not JSON: ")
    (folder / "config.json").write_text('{"model_type": ["vits"]}')
    assert "no importer for model_type '['vits']'" in refusal(read_checkpoint, folder)


def test_what_is_no_folder_is_refused(folder: Path) -> None:
    rest = "the folder of a checkpoint, as save_pretrained writes it"

    config = folder / "config.json"
    assert refusal(read_checkpoint, config) == f"{config}: is a file; want {rest}"
    other = folder / "other"
    assert refusal(read_checkpoint, other) == f"{other}: there is no such folder; want {rest}"


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    assert refusal(read_checkpoint, folder) == f"{folder}: there are no weights; want model.safetensors"


def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert refusal(read_checkpoint, folder) == (
        f"{folder}: its weights are a pickle, pytorch_model.bin, which can run code and is never read; "
        'convert it there, once: python -c "import torch, safetensors.torch as s; '
        "w = torch.load('pytorch_model.bin', map_location='cpu', weights_only=True); "
        "s.save_file({k: v.clone() for k, v in w.items()}, 'model.safetensors', {'format': 'pt'})\""
    )


def test_a_part_of_the_weights_that_is_missing_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    safetensors(folder / "part-1.safetensors")

    assert refusal(read_checkpoint, folder) == (
        f"{folder}: part-2.safetensors is missing, which model.safetensors.index.json names"
    )


def test_an_index_without_files_is_refused(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')

    assert refusal(read_checkpoint, folder) == (
        f"{folder}/model.safetensors.index.json: 'weight_map' is missing, or names no files"
    )


@pytest.mark.parametrize("value", ['"80"', "true", "NaN", "[80]"])
def test_what_should_be_a_number_is_one(folder: Path, value: str) -> None:
    (folder / "preprocessor_config.json").write_text(f'{{"fmin": {value}, "fmax": 7600, "hop_length": null}}')
    found = read_checkpoint(folder)

    assert found.number("sampling_rate", 1) == 8000
    assert found.number("hop_length", 16, file="preprocessor_config.json") == 16
    assert found.number("fmax", 1, file="preprocessor_config.json") == 7600
    said = refusal(lambda: found.number("fmin", 1, file="preprocessor_config.json"))
    assert said.startswith(f"{folder}/preprocessor_config.json: fmin: got ")
    assert said.endswith(", want a number")


@pytest.mark.parametrize(("number", "shown"), [("9", "9"), ("-1", "-1"), ('"1"', "'1'"), ("1.5", "1.5")])
def test_ids_are_whole_numbers_that_the_model_knows(folder: Path, number: str, shown: str) -> None:
    found = read_checkpoint(folder)
    assert found.vocabulary(9) == {}
    (folder / "vocab.json").write_text('{"a": 0, "b": 8}')
    assert found.vocabulary(9) == {"a": 0, "b": 8}
    (folder / "vocab.json").write_text(f'{{"a": 0, "b": {number}}}')

    assert refusal(found.vocabulary, 9) == (
        f"{folder}/vocab.json: gives 'b' the id {shown}; want a whole number below 9"
    )


def test_missing_packages_are_named_with_the_extra_that_brings_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"safetensors", "onnxscript"}
    finder = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: name if name in there else None))
    monkeypatch.setattr(module, "importlib", finder)

    assert refusal(load_model, read_checkpoint(folder), "VitsModel") == (
        f'{folder}: needs torch, transformers to read it: pip install "voxstack[transformers]"'
    )


def test_nothing_heavy_is_loaded_before_a_model_is() -> None:
    script = (
        "import sys\n"
        "from voxstack.importers import checkpoint, hifigan, speecht5\n"
        "print(sorted({'torch', 'transformers', 'sentencepiece', 'onnxscript'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# Dispatch


def toy_kind(monkeypatch: pytest.MonkeyPatch, *, extra: str | None = None, fault: str = "") -> list[Any]:
    """Let a module of the test import checkpoints of type vits; return the calls it gets."""
    calls: list[Any] = []

    def import_checkpoint(*arguments: Path) -> AddonReport:
        calls.append(arguments)
        if fault:
            raise ImporterError(fault)
        return AddonReport(arguments[1], "toy", (("text", "letters"),), {"encoder": 2e-7, "decoder": 0.0})

    monkeypatch.setitem(sys.modules, "toy_kind", SimpleNamespace(import_checkpoint=import_checkpoint))  # type: ignore[arg-type]
    monkeypatch.setitem(KINDS, "vits", Kind("toy_kind", extra=extra))  # type: ignore[arg-type]
    return calls


def test_a_checkpoint_goes_to_the_importer_of_its_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = toy_kind(monkeypatch)

    report = import_sources([folder], folder.parent / "out")

    assert calls == [(folder, folder.parent / "out")]
    assert report.lines() == [
        ("addon", f"{folder.parent / 'out'} (toy)"),
        ("text", "letters"),
        ("nets vs. model", "encoder 2.0e-07, decoder 0.0e+00 greatest difference"),
    ]


def test_a_second_source_goes_where_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = toy_kind(monkeypatch, extra="voices, a .npy file")
    out, voices = folder.parent / "out", folder.parent / "voices.npy"

    import_sources([folder, voices], out)

    assert calls == [(folder, out, voices)]
    assert refusal(import_sources, [folder, voices, voices], out) == (
        f"{voices}: got 3 sources; a vits checkpoint wants FOLDER [voices, a .npy file]"
    )
    toy_kind(monkeypatch)
    assert refusal(import_sources, [folder, voices], out) == (
        f"{voices}: got 2 sources; a vits checkpoint wants FOLDER"
    )


def test_an_importers_refusal_says_which_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_kind(monkeypatch, fault="torch cannot export what makes samples")

    assert refusal(import_sources, [folder], folder.parent / "out") == (
        f"{folder}: torch cannot export what makes samples"
    )


def test_an_error_that_nobody_foresaw_is_one_line_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_checkpoint(*_: Path) -> None:
        raise IndexError("list index out of range\nmore")

    module_of_toys = SimpleNamespace(import_checkpoint=import_checkpoint)
    monkeypatch.setitem(sys.modules, "toy_kind", module_of_toys)  # type: ignore[arg-type]
    monkeypatch.setitem(KINDS, "vits", Kind("toy_kind"))  # type: ignore[arg-type]

    assert refusal(import_sources, [folder], folder.parent / "out") == (
        f"{folder}: cannot be imported: list index out of range"
    )


def test_a_place_that_is_taken_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = toy_kind(monkeypatch)
    out = folder.parent / "taken"
    out.mkdir()
    (out / "letter").touch()
    assert refusal(import_sources, [folder], out) == (
        f"{out}: holds 'letter', which this import did not write; name a new folder or remove it"
    )
    assert refusal(import_sources, [folder], out / "letter" / "voice") == (
        f"{out}/letter/voice: {out}/letter is a file; want a folder above the new addon"
    )
    monkeypatch.setattr(destination.os, "access", lambda *_: False)  # root may write anywhere
    assert refusal(import_sources, [folder], folder.parent / "new") == (
        f"{folder.parent / 'new'}: cannot be written: Permission denied"
    )
    assert calls == []


def test_an_addon_of_another_kind_is_not_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_kind(monkeypatch)
    origin = {**read_checkpoint(folder).origin, "model_type": "hifigan"}
    out = folder.parent / "voice"
    out.mkdir()
    (out / "addon.json").write_text(json.dumps({"name": "voice", "origin": origin, "files": {}}))

    assert refusal(import_sources, [folder], out) == (
        f"{out}: holds the addon 'voice' (transformers hifigan), which this import did not write; "
        "name a new folder or remove it"
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_module(kind: str) -> None:
    assert callable(importlib.import_module(KINDS[kind].module).import_checkpoint)
