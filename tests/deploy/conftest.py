"""Read the files by which voxstack is deployed."""

import shlex
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the Dockerfile, stage by stage, each with its text."""
    found: list[list[tuple[str, str]]] = []
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, " ".join(rest.split())))
    return found


@pytest.fixture(scope="session")
def image_environment(stages) -> dict[str, str]:
    """The variables that the image sets."""
    words = [word for name, text in stages[-1] if name == "ENV" for word in shlex.split(text)]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="session")
def unit() -> dict[str, list[str]]:
    """The values of each key of the systemd unit, in order."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "voxstack.service").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The lines of the compose file without its comments; indented by two, as in the file."""
    lines = (DEPLOY / "compose.yaml").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
