"""A deployment file that speaks of one addon is held to the nets that this addon has."""

from pathlib import Path

import pytest

import voxstack
from voxstack.core.errors import ConfigError

pytestmark = pytest.mark.unit

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


@pytest.fixture
def refusal(tmp_path):
    def refused(text: str) -> str:
        file = tmp_path / "edge.toml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            voxstack.load("tone", folders=[ADDONS], deployment=file)
        return str(caught.value).removeprefix(f"{tmp_path}/")

    return refused


def test_a_net_that_the_addon_lacks_is_refused_with_file_path_and_suggestion(refusal):
    assert refusal('[addons.tone.profiles.e.nets.decodr]\nshapes = "fixed"') == (
        "edge.toml: $.addons.tone.profiles.e.nets.decodr: 'decodr' is no net and no role of this addon; "
        "did you mean 'decoder'?"
    )


def test_what_is_said_of_a_vocoder_is_held_to_the_vocoder_s_nets(refusal):
    assert refusal("[addons.tone-vocoder.profiles.e.nets.vocodr]\nthreads = 1") == (
        "edge.toml: $.addons.tone-vocoder.profiles.e.nets.vocodr: 'vocodr' is no net and no role of this "
        "addon; did you mean 'vocoder'?"
    )


def test_what_is_said_of_all_addons_may_mean_nets_of_others(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text("[profiles.cpu.nets.flow]\nthreads = 1")
    assert voxstack.load("tone", folders=[ADDONS], deployment=file).name == "tone"


def test_a_choice_that_fails_says_for_which_profile_and_net(refusal):
    assert refusal('profile = "e"\n[profiles.e.nets.decoder]\ndevice = "gpu"') == (
        "tone: profile 'e', net 'decoder': runtime onnxruntime: got device 'gpu', "
        "want one of cpu, cuda, tensorrt, openvino, coreml; did you mean 'cuda'?"
    )
    assert refusal('profile = "e"\n[profiles.e.nets.decoder]\ndevice = ""') == (
        "tone: profile 'e', net 'decoder': runtime onnxruntime: got an empty device; "
        "name one, such as 'cpu', or leave it out"
    )
