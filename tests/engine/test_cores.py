"""A process counts the cores that it may use, with the limits of the container it is in."""

import os

import pytest

from voxstack.engine.cores import cores

pytestmark = pytest.mark.unit


@pytest.fixture
def allowed(monkeypatch):
    """Let the system allow eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def groups(tmp_path):
    """Return what writes the files of a control group, and the folder that all are in."""

    def write(inside, **files):
        folder = tmp_path / inside
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        return tmp_path

    return write


def mine(tmp_path, text):
    path = tmp_path / "mine"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("limit", "counted"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_a_container_gives_so_many(allowed, groups, tmp_path, limit, counted):
    assert cores(groups("", cpu__max=f"{limit}\n"), tmp_path / "none") == counted


def test_the_tightest_group_around_a_process_counts(allowed, groups, tmp_path):
    groups("system.slice", cpu__max="300000 100000\n")
    where = groups("system.slice/speech.service", cpu__max="max 100000\n")
    assert cores(where, mine(tmp_path, "0::/system.slice/speech.service\n")) == 3


def test_the_older_kind_of_groups_is_read_too(allowed, groups, tmp_path):
    where = groups("cpu/docker/a", cpu__cfs_quota_us="250000\n", cpu__cfs_period_us="100000\n")
    lines = "3:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n"
    assert cores(where, mine(tmp_path, lines)) == 3
    groups("cpu/docker/a", cpu__cfs_quota_us="-1\n")
    assert cores(where, mine(tmp_path, lines)) == 8


def test_without_groups_the_system_alone_says_it(allowed, tmp_path):
    assert cores(tmp_path / "none", tmp_path / "none") == 8
