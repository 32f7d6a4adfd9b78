"""The image is small, runs as nobody, and is made of what the repository pins."""

import fnmatch
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from voxstack.server.settings import load_settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def texts(stage, name):
    return [text for found, text in stage if found == name]


def copied(stages):
    """Yield what is copied from the build's context."""
    for stage in stages:
        for text in texts(stage, "COPY"):
            if not text.startswith("--from="):
                yield from text.split()[:-1]


def is_sent(path: str) -> bool:
    """Answer whether .dockerignore lets a path through: its last line that fits decides."""
    is_left_out = False
    parts = [path, *map(str, Path(path).parents)]
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        names = Path(path).parts if pattern.startswith("**/") else parts
        if (
            line
            and line[0] != "#"
            and any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in names)
        ):
            is_left_out = not line.startswith("!")
    return not is_left_out


def test_its_bases_are_slim_and_named_without_a_registry(stages):
    assert {texts(stage, "FROM")[0].split(" AS ")[0] for stage in stages} == {"python:${PYTHON}"}
    given = re.search(r"^ARG PYTHON=(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert given
    assert re.fullmatch(r"3\.1[12]-slim", given.group(1))


def test_what_is_copied_is_there_and_sent_to_the_build(stages):
    paths = list(copied(stages))
    assert len(paths) >= 6
    for path in paths:
        assert (ROOT / path).exists(), path
        assert is_sent(path), path
    assert not is_sent("addons/joe/addon.json")
    assert not is_sent("requirements/dev.txt")
    assert is_sent("src/voxstack/cli/main.py")
    assert not is_sent("src/voxstack/cli/__pycache__")


def test_every_package_is_held_to_its_hash_and_to_a_wheel(stages):
    installs = [text for text in texts(stages[0], "RUN") if "pip install" in text]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--only-binary=:all:" in installs[0]
    named = installs[0].split("-r ")[1]
    assert "--hash=sha256:" in (ROOT / named).read_text(encoding="utf-8")
    assert "--no-deps" in installs[1]
    assert "--no-build-isolation" in installs[1]


def test_what_it_takes_out_is_what_the_requirements_put_in(stages):
    """A package of another name would be taken out without effect."""
    pinned = (ROOT / "requirements" / "server.txt").read_text(encoding="utf-8")
    removed = re.findall(r'uninstall --quiet --yes (.*?)(?: ;;|"?$)', slim(), re.MULTILINE)
    names = {name for line in removed for name in line.split()} - {"pip"}
    assert names == {"espeakng-loader", "onnx", "ml-dtypes", "setuptools"}
    assert all(re.search(rf"^{name}==", pinned, re.MULTILINE) for name in names)


def slim() -> str:
    return (DEPLOY / "slim.sh").read_text(encoding="utf-8")


def test_nothing_is_installed_or_compiled_where_it_runs(stages):
    runs = " ".join(texts(stages[-1], "RUN"))
    assert not re.search(r"\b(apt|apt-get|pip|gcc|curl|wget)\b", runs)
    assert not texts(stages[-1], "ADD")


def test_it_runs_as_a_numbered_user_without_privileges(stages):
    instructions = [name for name, _ in stages[-1]]
    assert texts(stages[-1], "USER") == ["10001:10001"]
    assert instructions.index("USER") > max(at for at, name in enumerate(instructions) if name == "RUN")


def test_it_starts_without_a_shell_drains_at_a_signal_and_listens_where_it_says(stages, image_environment):
    assert json.loads(texts(stages[-1], "ENTRYPOINT")[0]) == ["/voxstack/bin/voxstack", "serve"]
    assert texts(stages[-1], "STOPSIGNAL") == ["SIGTERM"]
    assert texts(stages[-1], "EXPOSE") == [image_environment["VOXSTACK_SERVE_PORT"]]
    [(_, health)] = [item for item in stages[-1] if item[0] == "HEALTHCHECK"]
    assert json.loads(health.split("CMD ")[1]) == ["/voxstack/bin/python", "-I", "/voxstack/health.py"]


def test_its_variables_are_settings_of_the_server(image_environment):
    settings = load_settings(environment=image_environment)
    assert (settings.host, settings.port, settings.addons) == ("0.0.0.0", 8000, ("/addons",))
    assert image_environment["VOXSTACK_FILES"] == "/files"
    assert image_environment["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.fixture
def environment(tmp_path):
    """A folder that looks like a Python environment, with a pip that writes down what it was told."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for file in (
        "numpy/core.py",
        "numpy/tests/test_core.py",
        "numpy/core.pyi",
        "onnxruntime/tools/a.py",
        "onnxruntime/capi/a.so",
        "voxstack/testing/law.py",
    ):
        (packages / file).parent.mkdir(parents=True, exist_ok=True)
        (packages / file).touch()
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    pip.chmod(0o755)
    return tmp_path


def run_slim(environment, espeak):
    words = ["sh", DEPLOY / "slim.sh", environment, espeak]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": os.defpath})


@pytest.mark.parametrize(("espeak", "is_kept"), [("yes", True), ("no", False)])
def test_the_slimmed_environment_keeps_what_runs(environment, espeak, is_kept):
    done = run_slim(environment, espeak)
    assert (done.returncode, done.stderr) == (0, "")
    packages = environment / "lib" / "python3.11" / "site-packages"
    left = {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()}
    assert left == {"numpy/core.py", "onnxruntime/capi/a.so", "voxstack/testing/law.py"}
    told = (environment / "told").read_text()
    assert ("espeakng-loader" in told) != is_kept
    assert told.endswith("uninstall --quiet --yes pip\n")


def test_another_word_for_espeak_is_refused(environment):
    done = run_slim(environment, "1")
    assert (done.returncode, done.stderr) == (2, "ESPEAK: got '1', want yes or no\n")
    assert not (environment / "told").exists()
