"""A deployment file that misspells an installed addon is refused; one that speaks of others is not."""

import shutil
from pathlib import Path

import pytest

import voxstack
from voxstack.core.errors import ConfigError
from voxstack.engine.compiling import compile_addon
from voxstack.engine.deployed import check_names
from voxstack.engine.library import find_addon, names
from voxstack.engine.nets import Running
from voxstack.stack.addon import Addon
from voxstack.stack.deployment import load_deployment
from voxstack.testing.conformance import check_addon

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_other_addons")]

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


@pytest.fixture
def deployed(tmp_path):
    """Write a deployment file that speaks of addons of these names."""

    def write(*addons):
        file = tmp_path / "edge.toml"
        file.write_text("".join(f"[addons.{name}.profiles.cpu.nets.'*']\nthreads = 1\n" for name in addons))
        return file

    return write


def refusal(file, folders=(ADDONS,)):
    with pytest.raises(ConfigError) as caught:
        check_names(load_deployment(file), find_addon("tone", [ADDONS]), folders)
    return str(caught.value).removeprefix(f"{file.parent}/")


@pytest.mark.parametrize(
    ("got", "meant"),
    [
        ("tnoe", "tone"),
        ("ton", "tone"),
        ("ttone", "tone"),
        ("tune", "tone"),
        ("Tone", "tone"),
        ("tone_vocoder", "tone-vocoder"),
        ("tone-vocodr", "tone-vocoder"),
    ],
)
def test_a_slip_is_refused_with_file_path_suggestion_and_the_way_out(deployed, got, meant):
    assert refusal(deployed(got)) == (
        f"edge.toml: $.addons.{got}: no addon '{got}' is installed; did you mean '{meant}'? "
        f"If '{got}' is installed elsewhere, state an empty addons.{meant}, too"
    )


@pytest.mark.parametrize("other", ["joe", "tone2", "tone-int8", "tenor", "noet", "tons-vocoders"])
def test_an_addon_of_another_machine_is_ignored(deployed, other):
    voxstack.load("tone", folders=[ADDONS], deployment=deployed(other))


def test_who_states_both_means_two(deployed):
    check_names(load_deployment(deployed("tune", "tone")), find_addon("tone", [ADDONS]), [ADDONS])


def test_one_that_is_installed_is_no_slip_though_it_is_near_another(deployed, tmp_path):
    folder = tmp_path / "more" / "tune"
    shutil.copytree(ADDONS / "tone", folder)
    config = (folder / "addon.json").read_text()
    assert config.count('"name": "tone"') == 1
    (folder / "addon.json").write_text(config.replace('"name": "tone"', '"name": "tune"'))
    file = deployed("tune")
    assert "'tune' is installed" in refusal(file)
    check_names(load_deployment(file), find_addon("tone", [ADDONS]), [ADDONS, folder.parent])


def test_short_names_of_one_letter_are_no_slips_of_each_other(deployed, tmp_path):
    (tmp_path / "more" / "b").mkdir(parents=True)
    (tmp_path / "more" / "b" / "addon.json").write_text('{"name": "b"}')
    check_names(load_deployment(deployed("a")), find_addon("tone", [ADDONS]), [tmp_path / "more"])


def test_a_voice_given_by_its_path_is_held_to_what_lies_beside_it(deployed):
    assert "did you mean 'tone-vocoder'?" in refusal(deployed("tone-vocodr"), folders=())


def test_names_are_found_without_loading_an_addon(monkeypatch):
    def read(self, name):
        raise AssertionError("read a file")

    monkeypatch.setattr(Addon, "read", read)
    assert {"tone", "tone-vocoder"} <= names([ADDONS])


def test_every_way_to_use_a_voice_refuses_it(deployed, tmp_path):
    file = deployed("tnoe")
    running = Running(deployment=load_deployment(file))
    for use in (
        lambda: voxstack.load("tone", folders=[ADDONS], deployment=file),
        lambda: compile_addon("tone", tmp_path / "out", running, folders=[ADDONS]),
        lambda: list(check_addon("tone", running=running, folders=[ADDONS])),
    ):
        with pytest.raises(ConfigError, match=r"did you mean 'tone'\?"):
            use()
    assert not (tmp_path / "out").exists()
