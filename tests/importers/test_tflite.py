"""A TFLite file is converted in an environment that is made for it, and every failure says what to do."""

import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import onnx
import pytest
from onnx import helper

from voxstack.core.errors import ImporterError
from voxstack.importers.tflite import Ran, convert, is_tflite

pytestmark = pytest.mark.unit

BY_HAND = (
    "convert it elsewhere and give the .onnx: pip install {tensorflow}==2.15.1 tf2onnx==1.17.0 onnx==1.16.2; "
    "python -m tf2onnx.convert --tflite model.tflite --output model.onnx --dequantize --opset 17"
)


class Commands:
    """Stand in for what runs commands: note them, and write a model where a conversion would."""

    def __init__(self, *, failing: str = "", errors: str = "", writes: bool = True) -> None:
        self.seen: list[list[str]] = []
        self.failing, self.errors, self.writes = failing, errors, writes

    def __call__(self, command: Sequence[str]) -> Ran:
        self.seen.append(list(command))
        if self.failing and self.failing in command:
            return Ran(1, self.errors)
        if "tf2onnx.convert" in command and self.writes:
            node = helper.make_node("Identity", ["x"], ["y"])
            edges = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
            model = helper.make_model(helper.make_graph([node], "toy", edges[:1], edges[1:]))
            onnx.save(model, command[command.index("--output") + 1])
        return Ran(0, "")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x20\x00\x00\x00TFL3 and so on")
    return path


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this interpreter hold no converter, on a machine that all tests agree on."""

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "version_info", (3, 11, 9))


def refusal(path: Path, commands: Commands) -> str:
    with pytest.raises(ImporterError) as caught:
        convert(path, run=commands)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_tflite_file_is_known_by_its_mark() -> None:
    assert is_tflite(b"\x1c\x00\x00\x00TFL3")
    assert not is_tflite(b"TFL3")


def test_the_converter_is_installed_into_an_environment_of_its_own(model: Path) -> None:
    commands = Commands()

    converted = convert(model, run=commands)

    made, installed, run = commands.seen
    assert made[:4] == [sys.executable, "-I", "-m", "venv"]
    environment = Path(made[4])
    assert Path(installed[0]).is_relative_to(environment)
    assert installed[-3:] == ["tensorflow-cpu==2.15.1", "tf2onnx==1.17.0", "onnx==1.16.2"]
    assert run[0] == installed[0]
    assert run[run.index("--tflite") + 1] == str(model)
    assert run[-3:] == ["--dequantize", "--opset", "17"]
    assert [node.op_type for node in converted.model.graph.node] == ["Identity"]
    assert converted.story.startswith("from TFLite in a temporary environment, ")


def test_nothing_is_left_behind(model: Path) -> None:
    for failing in ("", "install", "tf2onnx.convert"):
        commands = Commands(failing=failing, errors="no")
        if failing:
            refusal(model, commands)
        else:
            convert(model, run=commands)
        assert not Path(commands.seen[0][4]).parent.exists()


def test_only_wheels_are_installed_so_that_no_code_runs_at_install(model: Path) -> None:
    commands = Commands()

    convert(model, run=commands)

    install = commands.seen[1]
    assert install[install.index("--only-binary") + 1] == ":all:"


def test_where_the_converter_is_at_hand_it_is_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorflow-cpu": "2.15.1", "tf2onnx": "1.17.0"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    commands = Commands()

    converted = convert(model, run=commands)

    ((python, *_),) = commands.seen
    assert python == sys.executable
    assert converted.story.startswith("from TFLite by what is installed here, ")


def test_another_version_at_hand_is_not_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorflow-cpu": "2.18.0", "tf2onnx": "1.17.0"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    commands = Commands()

    convert(model, run=commands)

    assert len(commands.seen) == 3


def test_a_mac_gets_the_package_that_exists_for_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    commands = Commands()

    convert(model, run=commands)

    assert "tensorflow==2.15.1" in commands.seen[1]


def test_a_newer_python_looks_for_an_older_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    commands = Commands()

    convert(model, run=commands)

    assert commands.seen[0][0] == "/somewhere/python3.11"


def test_without_an_older_python_it_says_how_to_go_on(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert refusal(model, Commands()) == (
        f"{model}: converting it needs Python 3.11, for TensorFlow 2.15.1, and there is no python3.11 in "
        f"PATH; install one, or {BY_HAND.format(tensorflow='tensorflow-cpu')}"
    )


def test_without_a_network_it_says_how_to_go_on(model: Path) -> None:
    errors = "WARNING: Retrying\nERROR: No matching distribution found for tensorflow-cpu\n[notice] update\n"

    assert refusal(model, Commands(failing="install", errors=errors)) == (
        f"{model}: converting it needs TensorFlow, once, from the package index, but pip failed: "
        "ERROR: No matching distribution found for tensorflow-cpu; "
        f"connect to a network, or {BY_HAND.format(tensorflow='tensorflow-cpu')}"
    )


def test_where_no_environment_can_be_made_it_says_so(model: Path) -> None:
    commands = Commands(failing="venv", errors="Error: ensurepip is not available")

    assert refusal(model, commands) == (
        f"{model}: no temporary environment can be made to convert it in: Error: ensurepip is not available; "
        f"install Python's venv, or {BY_HAND.format(tensorflow='tensorflow-cpu')}"
    )


def test_a_conversion_that_fails_says_why(model: Path) -> None:
    commands = Commands(failing="tf2onnx.convert", errors="Traceback\nValueError: an operator is not known\n")

    assert (
        refusal(model, commands)
        == f"{model}: tf2onnx cannot convert it: ValueError: an operator is not known"
    )


def test_a_conversion_that_writes_nothing_has_failed(model: Path) -> None:
    assert refusal(model, Commands(writes=False)) == f"{model}: tf2onnx cannot convert it: exit code 0"


def test_another_file_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"something else")
    commands = Commands()

    assert refusal(path, commands) == f"{path}: not a TFLite model: it does not begin as one"
    assert commands.seen == []
    path.unlink()
    assert refusal(path, commands) == f"{path}: cannot be read: No such file or directory"
