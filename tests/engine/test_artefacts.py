"""Nets compiled ahead of time run as they would have; what is missing, stale or changed is refused."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import AddonError
from voxstack.engine import nets
from voxstack.engine.compiling import compile_addon
from voxstack.engine.nets import Running
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.deployment import load_deployment

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
REMEDY = "compile its nets: voxstack compile tone --profile fixed --out DIR"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    out = tmp_path_factory.mktemp("artefacts")
    compile_addon("tone", out, Running("fixed"), folders=[ADDONS])
    return out


@pytest.fixture
def broken(compiled, tmp_path):
    """Return a copy of the compiled nets, and what changes its manifest."""
    folder = shutil.copytree(compiled, tmp_path / "artefacts")
    path = folder / "tone" / "manifest.json"

    def change(edit):
        manifest = json.loads(path.read_text())
        edit(manifest)
        path.write_text(json.dumps(manifest))
        return fault(folder)

    return folder, change


def fault(folder) -> str:
    with pytest.raises(AddonError) as caught:
        load(folder)
    return str(caught.value).replace(str(folder), "DIR", 1)


def load(artefacts, profile="fixed", **options):
    return voxstack.load("tone", profile, artefacts=artefacts, folders=[ADDONS], **options)


def test_a_voice_and_its_vocoder_speak_from_what_was_compiled(compiled):
    wanted = voxstack.load("tone", folders=[ADDONS]).say("Bad cab.").samples
    np.testing.assert_array_equal(load(compiled).say("Bad cab.").samples, wanted)
    assert sorted(path.name for path in compiled.iterdir()) == ["tone", "tone-vocoder"]


def test_nothing_compiles_while_it_serves(compiled, monkeypatch):
    def build(self, spec, data, axes):
        raise AssertionError("compiled while serving")

    monkeypatch.setattr(OrtRuntime, "build", build)
    monkeypatch.setattr(OrtRuntime, "compile", build)
    load(compiled).say("Bad cab.")


def test_the_manifest_says_all_that_a_compiled_net_is(compiled):
    manifest = json.loads((compiled / "tone" / "manifest.json").read_text())
    assert (manifest["addon"], manifest["version"], manifest["profile"]) == ("tone", "1.0.0", "fixed")
    entry = manifest["nets"]["decoder"]
    addon = json.loads((ADDONS / "tone" / "addon.json").read_text())
    assert entry["source"] == addon["files"]["nets/decoder.onnx"]
    assert entry["tool"] == f"onnxruntime {OrtRuntime().version}"
    assert entry["flags"] == {
        "provider": "CPUExecutionProvider",
        "provider_options": [],
        "precision": "f32",
        "locks_sizes": True,
    }
    assert entry["ragged"]["context"] == [2, 2]
    [artefact] = entry["artefacts"]
    assert artefact["axes"] == {"batch": 1, "frames": 64}
    assert artefact["inputs"] == [{"name": "hidden", "dtype": "float32", "shape": [1, 12, 64]}]
    assert artefact["outputs"] == [{"name": "mel", "dtype": "float32", "shape": [1, 12, 64]}]
    vocoder = json.loads((compiled / "tone-vocoder" / "manifest.json").read_text())["nets"]["vocoder"]
    assert vocoder["artefacts"][0]["outputs"][0]["shape"] == [1, 64 * 160]


def test_a_deployment_file_says_where_they_are(compiled, tmp_path):
    file = tmp_path / "deployment.json"
    said = {"profile": "fixed", "profiles": {"fixed": {"artefacts": str(compiled)}}}
    file.write_text(json.dumps(said))
    voice = voxstack.load("tone", deployment=file, folders=[ADDONS])
    assert voice.loaded.profile == "fixed"
    assert load_deployment(file).artefacts("fixed", "tone") == compiled


def test_threads_are_the_machine_s_and_make_nothing_stale(compiled):
    load(compiled, threads=1).say("Bad cab.")


def test_a_folder_without_compiled_nets_is_refused(tmp_path):
    assert fault(tmp_path) == f"DIR/tone: there are no compiled nets; {REMEDY}"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda m: m["nets"].pop("text"), "DIR/tone: net 'text': was not compiled"),
        (
            lambda m: m["nets"]["text"].update(source="sha256:0"),
            "DIR/tone: net 'text': is stale: it was compiled with source 'sha256:0', want 'sha256:",
        ),
        (
            lambda m: m["nets"]["text"].update(tool="onnxruntime 1.0"),
            "DIR/tone: net 'text': is stale: it was compiled with tool 'onnxruntime 1.0', want 'onnxruntime ",
        ),
        (
            lambda m: m["nets"]["text"]["flags"].update(provider="CUDAExecutionProvider"),
            "DIR/tone: net 'text': is stale: it was compiled with flags.provider 'CUDAExecutionProvider'",
        ),
        (
            lambda m: m["nets"]["text"]["artefacts"][0]["axes"].update(phonemes=64),
            "DIR/tone: net 'text': was not compiled for batch 1, phonemes 640, only for batch 1, phonemes 64",
        ),
        (lambda m: m.update(format=9), "DIR/tone/manifest.json: got format 9, want 1"),
        (
            lambda m: m.update(nest={}),
            "DIR/tone/manifest.json: $.nest: unknown key 'nest'; did you mean 'nets'?",
        ),
    ],
)
def test_what_is_missing_or_stale_is_refused_in_one_line(broken, edit, told):
    _, change = broken
    found = change(edit)
    assert found.startswith(told)
    assert found.endswith(f"; {REMEDY}")


def test_a_file_that_was_changed_or_lost_is_refused(broken):
    folder, _ = broken
    path = folder / "tone" / "text-phonemes640.bin"
    path.write_bytes(path.read_bytes() + b"\0")
    assert fault(folder) == (
        "DIR/tone: net 'text': text-phonemes640.bin is not what was compiled: its hash differs; " + REMEDY
    )
    path.unlink()
    assert fault(folder) == (
        "DIR/tone: net 'text': text-phonemes640.bin cannot be read: No such file or directory; " + REMEDY
    )


@dataclass(frozen=True)
class Ahead(OrtRuntime):
    """A runtime that needs all sizes, and never compiles while it serves."""

    needs_sizes: bool = field(default=True)
    needs_artefact: bool = field(default=True)


def test_a_runtime_that_only_loads_says_what_to_compile(monkeypatch):
    monkeypatch.setattr(nets, "choose_engine", lambda name, choice, where: Ahead())
    with pytest.raises(AddonError) as caught:
        load(None)
    assert str(caught.value).endswith(
        f"runtime onnxruntime compiles nothing while it serves; {REMEDY}, and say "
        "where they are: --artefacts DIR"
    )
