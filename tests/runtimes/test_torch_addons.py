"""Real nets run on PyTorch as on ONNX Runtime: at any length, compiled ahead of time, and in whole voices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from voxstack.runtimes.torch import TorchRuntime  # noqa: E402 - behind the skip

pytestmark = pytest.mark.slow

ADDONS = Path(__file__).parents[2] / "addons"
TOLERANCE = 1e-4
"""Of a tensor's scale: kernels add in another order, and errors grow over dozens of layers."""
SCALES = {"stop": 1.0}
"""A probability is held to its own scale: where it saturates, near 1e-7, f32 has no digits left."""
LENGTHS = (11, 40, 157)

NETS = sorted(
    (path.parent.name, name) for path in ADDONS.glob("*/addon.json") for name in load_addon(path.parent).specs
) or [pytest.param("", "", marks=pytest.mark.skip("no real addons here: make say, make mandarin"))]
each_net = pytest.mark.parametrize(("addon", "name"), NETS)


def net_of(addon: str, name: str) -> tuple[NetSpec, bytes]:
    loaded = load_addon(ADDONS / addon)
    return loaded.specs[name], loaded.read(loaded.specs[name].file)


def feeds(spec: NetSpec, steps: int) -> dict[str, np.ndarray]:
    """Return an utterance of random numbers, all of its steps inside the mask."""
    random = np.random.default_rng(steps)
    ragged = spec.ragged

    def tensor(name: str) -> np.ndarray:
        declared = spec.inputs[name]
        shape = [1 if axis == "batch" else steps if isinstance(axis, str) else axis for axis in declared.axes]
        if ragged is not None and name == ragged.mask:
            array = np.ones(shape)
        elif ragged is not None and name == ragged.lengths:
            array = np.full(shape, steps)
        elif declared.dtype.startswith("int"):
            array = random.integers(1, 12, shape)
        elif not shape:
            array = np.array(0.7)
        else:
            array = random.standard_normal(shape)
        return array.astype(declared.dtype)

    return {name: tensor(name) for name in sorted(spec.inputs)}


def differences(got, wanted) -> Iterator[tuple[str, float]]:
    for name, want in wanted.items():
        assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape)
        scale = SCALES.get(name) or float(np.abs(want).max()) or 1.0
        yield name, float(np.abs(got[name].astype(np.float64) - want).max()) / scale


@each_net
def test_a_net_is_that_of_onnxruntime_at_every_length(addon, name):
    spec, data = net_of(addon, name)
    net, reference = TorchRuntime().build(spec, data, {}), OrtRuntime().build(spec, data, {})
    for steps in LENGTHS:
        tensors = feeds(spec, steps)
        found = dict(differences(net.run(tensors), reference.run(tensors)))
        assert max(found.values()) < TOLERANCE, (steps, found)


@each_net
def test_a_net_compiled_ahead_of_time_is_that_of_onnxruntime(addon, name):
    spec, data = net_of(addon, name)
    axes = {"batch": 1, **({spec.ragged.axis: 40} if spec.ragged else {})}
    try:
        artefact = TorchRuntime().compile(spec, data, axes)
    except NetError as error:
        if "its sizes follow from the values" not in str(error):
            raise
        pytest.skip(str(error))
    tensors = feeds(spec, 40)
    wanted = OrtRuntime().build(spec, data, axes).run(tensors)
    found = dict(differences(TorchRuntime().restore(spec, artefact, axes).run(tensors), wanted))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("joe", "The quick brown fox jumps over the lazy dog."),
        ("baker-fastspeech2", "今天天气很好，我们去公园散步吧。"),
        ("baker-tacotron2", "今天天气很好。"),
    ],
)
def test_a_voice_speaks_as_it_does_on_onnxruntime(name, text):
    """Within 1e-3 of full scale: durations are whole numbers of frames, and those are the same."""
    if not (ADDONS / name / "addon.json").exists():
        pytest.skip(f"no addon {name} here: make say, make mandarin")
    voices = [voxstack.load(name, profile, threads=1, folders=[ADDONS]) for profile in ("cpu", "torch")]
    assert f"torch {torch.__version__} cpu f32" in voices[1].loaded.runtime
    audios = [voice.say(text, seed=3).samples for voice in voices]
    assert len(audios[0]) == len(audios[1])
    assert np.abs(audios[0]).max() > 0.05
    assert np.abs(audios[0] - audios[1]).max() < 1e-3
