"""A check of a profile says how it differs from the reference, and once what it cannot speak."""

from pathlib import Path

import pytest

from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running
from voxstack.runtimes.ort import OrtExecutable
from voxstack.stack.deployment import load_deployment
from voxstack.testing.conformance import check_addon

pytestmark = pytest.mark.golden

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
GOLDEN = len(find_addon("tone", [ADDONS]).config.golden.ids)


@pytest.fixture
def checked(tmp_path):
    """Check an addon under what a deployment file says: checked('…', name) → findings by name."""

    def check(text, name="tone"):
        file = tmp_path / "edge.toml"
        file.write_text(text)
        running = Running(deployment=load_deployment(file))
        found = list(check_addon(name, running=running, folders=[ADDONS]))
        assert len({finding.name for finding in found}) == len(found)
        return {finding.name: finding for finding in found}

    return check


def test_the_reference_is_held_against_nothing(checked):
    assert list(checked("")) == ["files", "wiring", "text", "law", "golden"]


@pytest.mark.parametrize(
    "selector", ["profiles.cpu.nets.decoder", "addons.tone-vocoder.profiles.cpu.nets.vocoder"]
)
def test_a_reference_that_a_deployment_file_redefines_is_held_against_the_built_in_one(checked, selector):
    found = checked(f'[{selector}]\nshapes = "fixed"')
    assert list(found) == ["files", "wiring", "text", "law", "golden", "nets", "audio"]
    assert found["audio"].is_good
    assert found["audio"].detail.endswith(" dB against the built-in 'cpu'")


def test_a_redefined_reference_that_says_something_else_is_found(checked, monkeypatch):
    run = OrtExecutable.run

    def wrong(self, feeds):
        size = feeds["hidden"].shape[-1] if "hidden" in feeds else 0
        return {name: array * (1.5 if size == 64 else 1) for name, array in run(self, feeds).items()}

    monkeypatch.setattr(OrtExecutable, "run", wrong)
    found = checked('[profiles.cpu.nets.decoder]\nshapes = "fixed"')
    assert not found["audio"].is_good
    assert found["audio"].detail.startswith("LawError: profile cpu: differs from the built-in 'cpu' by 0.")


def test_the_profiles_beside_a_redefined_reference_are_checked_too(checked):
    found = checked('[profiles.cpu.nets."*"]\nthreads = 1\n[profiles.edge.nets.decoder]\nshapes = "fixed"')
    assert list(found)[-3:] == ["nets", "audio", "profile edge"]
    assert found["profile edge"].detail.endswith(" dB against 'cpu'")


def test_sizes_that_the_golden_sample_does_not_fit_are_told_once(checked):
    found = checked('profile = "edge"\n[profiles.edge.nets.text]\nshapes = {buckets = [4, 8]}')
    assert list(found) == ["files", "wiring", "text", "sizes"]
    assert not found["sizes"].is_good
    assert found["sizes"].detail == (
        f"TooLongError: net 'text': the golden sample has {GOLDEN} phonemes, more than the 8 that fit; "
        f"declare a size of {GOLDEN} or more to check it"
    )


def test_a_size_that_just_holds_the_golden_sample_is_checked(checked):
    found = checked(f'profile = "edge"\n[profiles.edge.nets.text]\nshapes = {{buckets = [{GOLDEN}]}}')
    assert list(found)[-4:] == ["law", "golden", "nets", "audio"]
    assert all(finding.is_good for finding in found.values())


def test_sizes_of_another_profile_are_told_under_its_name(checked):
    found = checked("[profiles.edge.nets.text]\nshapes = {buckets = [8]}")
    assert list(found)[-2:] == ["golden", "profile edge"]
    assert found["profile edge"].detail.startswith("TooLongError: net 'text': the golden sample has ")
