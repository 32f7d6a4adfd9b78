"""A profile is held against the reference net by net and as audio, and a net that differs is found."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstack.core.errors import LawError
from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running
from voxstack.testing.parity import compare

pytestmark = pytest.mark.golden

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


@dataclass(frozen=True)
class Louder:
    """A net that gives a little more than it should."""

    net: Any
    factor: float

    def run(self, tensors):
        return {name: self.factor * tensor for name, tensor in self.net.run(tensors).items()}

    def __getattr__(self, name):
        return getattr(self.net, name)


@dataclass(frozen=True)
class Loud:
    """A Watch that makes one net louder."""

    name: str
    factor: float

    def net(self, name, net):
        return Louder(net, self.factor) if name == self.name else net

    def block(self, path, name, block):
        return block


def parity(voice, *, watch=None):
    """Compare a voice with its golden utterance."""
    addon = find_addon(voice, [ADDONS])
    loaded = load_stack(addon, running=Running("fixed"), folders=[ADDONS], watch=watch)
    golden = addon.config.golden
    controls = {name: np.array(item.default, item.dtype) for name, item in addon.config.controls.items()}
    numbers = {name: np.array(0, np.int64) for name in ("seed", "utterance")}
    tensors = {"ids": np.array(golden.ids), **numbers, **controls}
    return compare(addon, loaded, tensors, folders=[ADDONS])


@pytest.mark.parametrize("voice", ["tone", "tone-attention"])
def test_the_same_nets_at_other_sizes_agree(voice):
    found = parity(voice)
    found.check()
    assert found.worst < 1e-6
    assert found.snr_db > 100
    assert "tone-vocoder/vocoder" in found.nets
    assert all(net.worst < 1e-6 < net.scale for net in found.nets.values())


@pytest.mark.parametrize("name", ["decoder", "tone-vocoder/vocoder"])
def test_the_net_that_differs_is_the_one_that_is_named(name):
    found = parity("tone", watch=Loud(name, 1.1))
    assert [key for key, net in found.nets.items() if net.worst > 0.01] == [name]
    assert name in found.nets_line()
    with pytest.raises(LawError) as caught:
        found.check()
    assert str(caught.value).startswith("profile fixed: differs from 'cpu' by 0.0")
    assert str(caught.value).endswith(" want at most 0.001 and 60 dB")


@pytest.fixture(scope="module")
def coarse():
    """A comparison of nets that say that they compute in bfloat16."""
    found = parity("tone", watch=Loud("decoder", 1.1))
    return replace(found, nets={name: replace(net, precision="bf16") for name, net in found.nets.items()})


def test_lower_precision_may_sound_a_little_different_but_must_last_as_long(coarse):
    coarse.check()
    assert "log-spectral distance" in coarse.audio_line()
    with pytest.raises(LawError, match=r"^profile fixed: 100 samples became 90$"):
        replace(coarse, sizes=(100, 90)).check()


@pytest.mark.parametrize("spectral_db", [6.004, float("nan")])
def test_lower_precision_that_sounds_like_something_else_is_a_fault(coarse, spectral_db):
    replace(coarse, spectral_db=6.0).check()
    with pytest.raises(LawError) as caught:
        replace(coarse, spectral_db=spectral_db).check()
    assert str(caught.value) == (
        f"profile fixed: differs from 'cpu' by a log-spectral distance of {spectral_db:.2f} dB, "
        "want at most 6 dB; let more nets compute in f32"
    )
