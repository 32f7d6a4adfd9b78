"""`voxstack new block` writes a package that works as it stands, and overwrites nothing."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from voxstack.cli.main import main
from voxstack.cli.new_block import KINDS
from voxstack.core.registry import GROUP, Registry
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.addon import load_addon
from voxstack.stack.standard import STANDARD

pytestmark = pytest.mark.end_to_end

USAGE = "(voxstack new block --help shows how)"


def new(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["new", "block", *map(str, words)])
    return end.value.code, *capsys.readouterr()


def fault(capsys, *words) -> str:
    code, out, err = new(capsys, *words)
    assert (code, out) == (2, "")
    return err.rstrip("\n")


@pytest.fixture
def made(capsys, tmp_path):
    """Return what makes a package and gives its folder."""

    def make(name: str, kind: str) -> Path:
        folder = tmp_path / "made" / name
        assert new(capsys, name, "--kind", kind, "--out", folder)[0] == 0
        return folder

    return make


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return what does as pip does: the package's code on the path, its entry points beside it."""

    def install(folder: Path) -> Registry:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        lines = [f"{name} = {target}" for name, target in project["entry-points"][GROUP].items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.syspath_prepend(str(info.parent))
        importlib.invalidate_caches()
        return Registry(STANDARD)

    return install


def test_it_says_what_it_wrote_and_what_comes_next(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = new(capsys, "FadeIn")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "written  voxstack-fade-in: README.md, pyproject.toml, test_voxstack_fade_in.py, voxstack_fade_in.py",
        "next     pip install --no-deps -e voxstack-fade-in && python -m pytest voxstack-fade-in",
    ]
    assert sorted(path.name for path in (tmp_path / "voxstack-fade-in").iterdir()) == [
        "README.md",
        "pyproject.toml",
        "test_voxstack_fade_in.py",
        "voxstack_fade_in.py",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_test_passes_and_ruff_finds_nothing(made, kind):
    folder = made("FadeIn", kind)
    for command in (
        ["pytest", "-q", "-p", "no:cacheprovider"],
        ["ruff", "check"],
        ["ruff", "format", "--check"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, folder],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.glob("*.md")) == [folder / "README.md"]


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_test_notices_a_block_that_does_something_else(made, kind):
    folder = made("FadeIn", kind)
    module = folder / "voxstack_fade_in.py"
    right = {"streamable": '["samples"] * self._gain', "sequence": "durations * self.factor"}[kind]
    wrong = {"streamable": '["samples"][:] * self._gain * 2', "sequence": "durations + self.factor"}[kind]
    assert module.read_text().count(right) == 1
    module.write_text(module.read_text().replace(right, wrong))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr


def test_a_streamable_block_stands_in_a_stack_by_its_name(made, installed, wire_addon, tone):
    registry = installed(made("MadeQuieter", "streamable"))
    stack = json.loads((tone("vocoder") / "addon.json").read_text())["stack"]
    mels = np.random.default_rng(0).random((30, 12), np.float32)

    def samples(entries):
        source = load_addon(tone("vocoder")).source
        block = wire_addon(tone("vocoder"), entries, registry=registry, source=source)
        return block.open({}, ArrayStream.over({"mel": mels})).read(EVERYTHING)["samples"]

    half = samples([*stack, {"type": "MadeQuieter", "gain": 0.5}])
    np.testing.assert_array_equal(half, samples(stack) * np.float32(0.5))
    assert np.abs(half).max() > 0


def test_its_readme_hears_a_streamable_block_by_effects_and_sends_a_sequence_block_to_an_addon(made):
    text = (made("MadeQuieter", "streamable") / "README.md").read_text()
    [entries] = re.findall(r"--effects '(.*)'$", text, re.MULTILINE)
    assert json.loads(entries) == [json.loads(text.partition("```json\n")[2].partition("```")[0])]
    assert "--effects" not in (made("MadeLonger", "sequence") / "README.md").read_text()


def test_a_sequence_block_stands_in_a_stack_as_its_readme_shows(
    made, installed, wire_addon, tone, request_tensors
):
    folder = made("MadeLonger", "sequence")
    registry = installed(folder)
    shown = (folder / "README.md").read_text().partition("```json\n")[2].partition("```")[0]
    changed = wire_addon(tone("two"), [json.loads(shown)], registry=registry)
    plain = wire_addon(tone("two"))
    ids = request_tensors([1, 2, 4])  # of 6, 7 and 6 frames; half a frame is rounded to the even number

    def frames(block):
        return len(block.open(ids, None).read(EVERYTHING)["mel"])

    assert (frames(plain), frames(changed)) == (19, 28)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fade_in", "FadeIn"),
        ("fadeIn", "FadeIn"),
        ("fade in 2", "FadeIn2"),
        ("3d", "D"),
        ("", "FadeIn"),
        ("größe", "Groesse"),
    ],
)
def test_a_name_that_is_not_camel_case_is_refused_with_one_that_is(capsys, name, wanted):
    assert fault(capsys, name) == (
        f"voxstack new block: Invalid value for NAME: got '{name}', want words joined like '{wanted}', "
        f"at most 40 letters and digits {USAGE}"
    )


@pytest.mark.parametrize("name", ["Fade-In", "../Up", "Füller", "FadeIn.v2", "A" * 41])
def test_no_name_leads_out_of_its_place(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert f"got '{name}', want words joined like " in fault(capsys, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["None", "True", "ValueError"])
def test_a_word_of_python_is_refused(capsys, name):
    assert fault(capsys, name) == (
        f"voxstack new block: Invalid value for NAME: '{name}' is a word of Python's own; "
        f"choose another name {USAGE}"
    )


@pytest.mark.parametrize("name", ["Stream", "Port", "ConfigError"])
def test_a_name_that_the_package_needs_itself_is_refused(capsys, name):
    assert fault(capsys, name) == (
        f"voxstack new block: Invalid value for NAME: '{name}' is what blocks are made of; "
        f"choose another name {USAGE}"
    )


@pytest.mark.parametrize("name", ["Encoders", "CustomizedEncoders", "Limiter"])
def test_the_name_of_a_standard_block_is_refused(capsys, name):
    assert fault(capsys, name) == (
        f"voxstack new block: Invalid value for NAME: '{name}' is a block of voxstack's own; "
        f"choose another name {USAGE}"
    )


@pytest.mark.parametrize("is_file", [False, True])
def test_nothing_is_overwritten(capsys, tmp_path, is_file):
    out = tmp_path / "there"
    out.write_text("mine") if is_file else out.mkdir()
    assert fault(capsys, "FadeIn", "--out", out) == (
        f"voxstack new block: Invalid value for --out: '{out}' is there already, and nothing is overwritten; "
        f"name another {USAGE}"
    )
    assert out.read_text() == "mine" if is_file else not list(out.iterdir())


def test_a_disk_that_is_full_leaves_nothing_half_written(capsys, tmp_path, monkeypatch):
    written = []

    def write(path, text, encoding):
        written.append(path.name)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        path.touch()

    monkeypatch.setattr(Path, "write_text", write)
    code, out, err = new(capsys, "FadeIn", "--out", tmp_path / "new")
    assert (code, out) == (1, "")
    assert err == f"{tmp_path / 'new' / 'test_voxstack_fade_in.py'}: No space left on device\n"
    assert not (tmp_path / "new").exists()
