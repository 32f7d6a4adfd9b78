"""Nets compiled ahead of time run as they would have; what is missing, stale or changed is refused."""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import AddonError, NetError
from voxstack.engine import nets, processor
from voxstack.engine.artefacts import Artefacts
from voxstack.engine.compiling import compile_addon
from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, resolve
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.deployment import load_deployment
from voxstack.stack.files import sha256_of

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
REMEDY = f"compile its nets: voxstack compile {ADDONS / 'tone'} --profile fixed --out DIR"
STALE = "DIR/tone: net 'text': is stale: it was compiled for profile 'fixed', "


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


def test_the_remedy_names_the_deployment_file_that_says_something_of_the_profile(tmp_path):
    file = tmp_path / "my edge.toml"
    file.write_text('[profiles.mine.nets."*"]\nshapes = "fixed"\n')
    for profile, said in (("mine", f" --deployment '{file}'"), ("fixed", "")):
        with pytest.raises(AddonError) as caught:
            load(tmp_path / "none", profile, deployment=file)
        assert str(caught.value) == (
            f"{tmp_path}/none/tone: there are no compiled nets; "
            f"compile its nets: voxstack compile {ADDONS / 'tone'} --profile {profile}{said} --out DIR"
        )


def test_threads_are_the_machine_s_and_make_nothing_stale(compiled):
    load(compiled, threads=1).say("Bad cab.")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Let this machine be x86 with given features, so far as compiled nets are concerned."""

    def become(*features):
        path = tmp_path / "-".join(["cpuinfo", *features])
        path.write_text(f"flags\t\t: fpu {' '.join(features)}\n")
        monkeypatch.setattr(processor, "CPUINFO", path)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")

    return become


@pytest.mark.parametrize(
    ("there", "here"), [(["avx2", "avx512f"], ["avx2"]), (["avx2"], ["avx2", "avx512f"])]
)
def test_nets_of_another_kind_of_processor_are_refused(machine, tmp_path, there, here):
    machine(*there)
    compile_addon("tone", tmp_path, Running("fixed"), folders=[ADDONS])
    machine(*here)
    assert fault(tmp_path) == STALE + (
        f"on a processor of the kind x86_64 {' '.join(there)}, want x86_64 {' '.join(here)}; {REMEDY}"
    )


def test_a_processor_may_differ_in_what_does_not_matter(machine, tmp_path):
    machine("avx2", "avx512f")
    compile_addon("tone", tmp_path, Running("fixed"), folders=[ADDONS])
    machine("avx2", "avx512f", "amx_tile")
    load(tmp_path)


def test_nets_that_no_processor_is_bound_to_run_on_any(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(OrtRuntime, "bound_to", None)
    machine("avx2", "avx512f")
    compile_addon("tone", tmp_path, Running("fixed"), folders=[ADDONS])
    machine("avx2")
    load(tmp_path)


def test_a_folder_without_compiled_nets_is_refused(tmp_path):
    assert fault(tmp_path) == f"DIR/tone: there are no compiled nets; {REMEDY}"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda m: m["nets"].pop("text"), "DIR/tone: net 'text': was not compiled"),
        (
            lambda m: m["nets"]["text"].update(source="sha256:0"),
            STALE + "of a file with the hash sha256:0, want sha256:",
        ),
        (
            lambda m: m["nets"]["text"].update(tool="onnxruntime 1.0"),
            STALE + "by onnxruntime 1.0, want onnxruntime ",
        ),
        (
            lambda m: m["nets"]["text"]["flags"].update(provider="CUDAExecutionProvider"),
            STALE + 'with provider "CUDAExecutionProvider", want "CPUExecutionProvider"',
        ),
        (
            lambda m: m["nets"]["text"].update(processor="sparc64"),
            STALE + "on a processor of the kind sparc64, want ",
        ),
        (
            lambda m: m["nets"]["text"].pop("processor"),
            "DIR/tone/manifest.json: $.nets.text.processor: ",
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


def test_a_manifest_that_is_no_json_is_named_once(broken):
    folder, _ = broken
    (folder / "tone" / "manifest.json").write_text("{")
    found = fault(folder)
    assert found.startswith("DIR/tone/manifest.json: not JSON: ")
    assert found.count("manifest.json") == 1


def test_two_that_compile_into_one_folder_at_once_leave_the_files_of_one(tmp_path):
    both = threading.Barrier(2, timeout=30)

    def write(profile):
        for _ in range(5):
            both.wait()
            compile_addon("tone-vocoder", tmp_path, Running(profile), folders=[ADDONS])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["fixed", "buckets"]))
    assert [path.name for path in tmp_path.iterdir()] == ["tone-vocoder"]
    manifest = json.loads((tmp_path / "tone-vocoder" / "manifest.json").read_text())
    listed = {one["file"]: one["sha256"] for net in manifest["nets"].values() for one in net["artefacts"]}
    found = {path.name: sha256_of(path.read_bytes()) for path in tmp_path.glob("*/*.bin")}
    assert found == listed


def test_what_another_profile_left_is_gone(tmp_path):
    compile_addon("tone", tmp_path, Running("fixed"), folders=[ADDONS])
    compile_addon("tone", tmp_path, Running("buckets"), folders=[ADDONS])
    assert not list(tmp_path.glob("*/*64.bin"))
    load(tmp_path, "buckets")


def test_a_fault_leaves_what_was_there(compiled, tmp_path, monkeypatch):
    folder = shutil.copytree(compiled, tmp_path / "artefacts")

    def compile_net(self, spec, data, axes):
        raise NetError("cannot be loaded: no", where=f"net '{spec.name}'")

    monkeypatch.setattr(OrtRuntime, "compile", compile_net)
    with pytest.raises(NetError, match=r"^net 'text': cannot be loaded: no$"):
        compile_addon("tone", folder, Running("fixed"), folders=[ADDONS])
    assert sorted(path.name for path in folder.iterdir()) == ["tone", "tone-vocoder"]
    load(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on a file's size there")
def test_a_full_disk_is_told_as_one(tmp_path):
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    call = "from voxstack.cli.main import main; main(sys.argv[1:])"
    words = ["compile", "tone", "--profile", "fixed", "--out", str(tmp_path), "--addons", str(ADDONS)]
    done = subprocess.run(
        [sys.executable, "-c", limit + call, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"OutputError: {tempfile.gettempdir()}: cannot write what was compiled of net 'text': "
        "File too large\n"
    )


def test_a_voice_that_loads_while_its_nets_are_compiled_anew_reads_the_new_ones(broken):
    folder, _ = broken
    addon = find_addon("tone", [ADDONS])
    profile = resolve(addon, Running("fixed"))
    early = Artefacts.open(folder / "tone", remedy=REMEDY)
    path = folder / "tone" / "text-phonemes640.bin"
    path.write_bytes(b"new")
    manifest = json.loads((folder / "tone" / "manifest.json").read_text())
    manifest["nets"]["text"]["artefacts"][0]["sha256"] = sha256_of(b"new")
    (folder / "tone" / "manifest.json").write_text(json.dumps(manifest))
    assert early.read("text", nets.plan_nets(addon, profile)["text"], {"batch": 1, "phonemes": 640}) == b"new"


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
