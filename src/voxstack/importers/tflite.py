"""Convert a TFLite model to ONNX, in a temporary environment that holds TensorFlow for that long."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import onnx

from voxstack.core.errors import ImporterError

__all__ = ["Conversion", "Ran", "convert", "is_tflite"]

CONVERTER = "tf2onnx==1.17.0"
ONNX = "onnx==1.16.2"
TENSORFLOW_VERSION = "2.15.1"
OPTIONS = ("--dequantize", "--opset", "17")
NEWEST = (3, 11)
"""The newest Python that this TensorFlow was built for; newer ones lack operators that such models have."""

MARK = b"TFL3"
MARK_AT = 4
UNHELPFUL = ("[notice]", "WARNING", "warning", "hint:", "note:")


@dataclass(frozen=True)
class Ran:
    """How a command ended: its exit code, and what it wrote on stderr."""

    code: int
    errors: str


Run: TypeAlias = Callable[[Sequence[str]], Ran]


@dataclass(frozen=True)
class Conversion:
    """A converted model, and in words how it came about."""

    model: onnx.ModelProto
    story: str


def is_tflite(data: bytes) -> bool:
    """Say whether bytes begin as a TFLite file does."""
    return data[MARK_AT : MARK_AT + len(MARK)] == MARK


def run_command(command: Sequence[str]) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    return Ran(done.returncode, done.stderr or done.stdout)


def convert(path: Path, *, run: Run = run_command) -> Conversion:
    """Return the ONNX model of a .tflite file; weights of 8 bits become floats.

    Where this interpreter holds the converter already, it is used; else it is installed into a new
    environment, which is thrown away afterwards. The user's own environment stays as it is.

    In:       run   what runs a command; the process edge, for tests
    Raises:   ImporterError if the file is no TFLite model, if what is needed cannot be installed, or if the
              conversion fails; each says what to do
    """
    try:
        head = path.read_bytes()[: MARK_AT + len(MARK)]
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not is_tflite(head):
        raise ImporterError("not a TFLite model: it does not begin as one", where=str(path))
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="voxstack-tflite-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        ready = _is_ready()
        python = sys.executable if ready else _environment(place / "env", path, run)
        model = _converted(python, path, place / "model.onnx", run)
    where = "by what is installed here" if ready else "in a temporary environment"
    return Conversion(model, f"from TFLite {where}, {time.monotonic() - start:.0f} s")


def _is_ready() -> bool:
    """Say whether this interpreter holds the very versions that are wanted."""
    try:
        tensorflow = metadata.version(_tensorflow().partition("==")[0])
        return (tensorflow, f"tf2onnx=={metadata.version('tf2onnx')}") == (TENSORFLOW_VERSION, CONVERTER)
    except metadata.PackageNotFoundError:
        return False


def _tensorflow() -> str:
    """Return the requirement for this machine; the package without GPU parts exists for few of them."""
    is_small = platform.system() != "Darwin" and platform.machine().lower() in ("x86_64", "amd64")
    return f"{'tensorflow-cpu' if is_small else 'tensorflow'}=={TENSORFLOW_VERSION}"


def _interpreter(path: Path) -> str:
    if sys.version_info[:2] <= NEWEST:
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise ImporterError(
            f"converting it needs Python 3.11, for TensorFlow {TENSORFLOW_VERSION}, and there is no "
            f"python3.11 in PATH; install one, or {_by_hand(path)}",
            where=str(path),
        )
    return found


def _environment(folder: Path, path: Path, run: Run) -> str:
    """Make an environment with the converter in it; return its interpreter."""
    interpreter = _interpreter(path)
    ran = run([interpreter, "-I", "-m", "venv", str(folder)])
    if ran.code != 0:
        raise ImporterError(
            f"no temporary environment can be made to convert it in: {_last(ran)}; "
            f"install Python's venv, or {_by_hand(path)}",
            where=str(path),
        )
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    ran = run([python, "-I", "-m", "pip", "install", *quiet, _tensorflow(), CONVERTER, ONNX])
    if ran.code != 0:
        raise ImporterError(
            f"converting it needs TensorFlow, once, from the package index, but pip failed: {_last(ran)}; "
            f"connect to a network, or {_by_hand(path)}",
            where=str(path),
        )
    return python


def _converted(python: str, path: Path, out: Path, run: Run) -> onnx.ModelProto:
    files = ["--tflite", str(path.resolve()), "--output", str(out)]
    ran = run([python, "-I", "-m", "tf2onnx.convert", *files, *OPTIONS])
    if ran.code != 0 or not out.is_file():
        raise ImporterError(f"tf2onnx cannot convert it: {_last(ran)}", where=str(path))
    return onnx.load(out)


def _by_hand(path: Path) -> str:
    """Return what a person can do on another machine, to end a sentence with."""
    packages = f"{_tensorflow()} {CONVERTER} {ONNX}"
    options = " ".join(OPTIONS)
    name = path.with_suffix(".onnx").name
    return (
        f"convert it elsewhere and give the .onnx: pip install {packages}; "
        f"python -m tf2onnx.convert --tflite {path.name} --output {name} {options}"
    )


def _last(ran: Ran) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in ran.errors.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(UNHELPFUL) and " - INFO - " not in line]
    return (telling or lines or [f"exit code {ran.code}"])[-1]
