"""OpenVINO against ONNX Runtime: every net of the real addons, at several lengths, free and fixed."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon

pytestmark = pytest.mark.slow

OpenVinoRuntime = pytest.importorskip(
    "voxstack.runtimes.openvino", reason="OpenVINO is not installed"
).OpenVinoRuntime

ADDONS = Path(__file__).parents[2] / "addons"
NETS = sorted(
    (path.parent.name, name)
    for path in ADDONS.glob("*/addon.json")
    for name in json.loads(path.read_text(encoding="utf-8"))["nets"]
)
LENGTHS = (48, 71, 160)
SPREAD = 0.5
"""Of what stands in for another net's output; a logarithm among them stays one of something small."""

LEAST_SCALE = 0.01
"""A probability that is nearly nothing has the scale of probabilities, not its own."""

STEPS = 8


def test_the_addons_are_there():
    if not NETS:
        pytest.skip("there are no addons: make mandarin addons/joe/addon.json")
    assert len(NETS) >= 4


each_net = pytest.mark.parametrize(("addon", "name"), NETS, ids=[f"{addon}-{name}" for addon, name in NETS])


def feeds(spec, length: int) -> dict[str, np.ndarray]:
    """Return tensors of the net's own layout, each axis without a size of the same length."""
    rng = np.random.default_rng([length, zlib.crc32(spec.name.encode())])
    made = {}
    for name, tensor in spec.inputs.items():
        shape = [axis if isinstance(axis, int) else 1 if axis == "batch" else length for axis in tensor.axes]
        if spec.ragged and name == spec.ragged.mask:
            value = np.ones(shape)
        elif spec.ragged and name == spec.ragged.lengths:
            value = np.full(shape, length)
        elif tensor.dtype.startswith("int"):
            value = np.zeros(shape) if name in spec.state else rng.integers(1, 30, shape)
        elif tensor.random == "uniform":
            value = rng.random(shape)
        else:
            value = SPREAD * rng.standard_normal(shape)
        made[name] = np.asarray(value).astype(tensor.dtype)
    return made


def difference(got, wanted) -> float:
    """Return the worst difference, in units of its tensor's scale."""
    worst = 0.0
    for name, want in wanted.items():
        assert got[name].shape == want.shape
        assert got[name].dtype == want.dtype
        scale = max(float(np.abs(want).max(initial=0)), LEAST_SCALE)
        worst = max(worst, float(np.abs(got[name].astype(float) - want).max(initial=0)) / scale)
    return worst


def compared(spec, one, other, length: int) -> float:
    """Return the worst difference of a run, or of a few steps, each fed what the reference made before."""
    inputs, worst = feeds(spec, length), 0.0
    for _ in range(STEPS if spec.state else 1):
        wanted = one.run(inputs)
        worst = max(worst, difference(other.run(inputs), wanted))
        inputs |= {before: wanted[after] for before, after in spec.state.items()}
    return worst


@each_net
def test_a_net_of_free_sizes_is_within_1e_4_of_its_scale(addon, name):
    """Another order of summation; nothing else differs in f32."""
    opened = load_addon(ADDONS / addon)
    spec, data = opened.specs[name], opened.read(opened.specs[name].file)
    one, other = OrtRuntime().build(spec, data, {}), OpenVinoRuntime().build(spec, data, {})
    for length in LENGTHS:
        assert compared(spec, one, other, length) < 1e-4, length


@each_net
def test_a_net_of_one_size_is_within_1e_4_of_its_scale(addon, name):
    opened = load_addon(ADDONS / addon)
    spec, data = opened.specs[name], opened.read(opened.specs[name].file)
    one = OrtRuntime().build(spec, data, {})
    for length in LENGTHS:
        axes = {
            axis: 1 if axis == "batch" else length
            for tensor in spec.inputs.values()
            for axis in tensor.axes
            if isinstance(axis, str)
        }
        assert compared(spec, one, OpenVinoRuntime().build(spec, data, axes), length) < 1e-4, length


@each_net
def test_a_net_that_was_compiled_ahead_is_the_same_to_the_bit(addon, name):
    opened = load_addon(ADDONS / addon)
    spec, data = opened.specs[name], opened.read(opened.specs[name].file)
    runtime = OpenVinoRuntime()
    one, other = runtime.build(spec, data, {}), runtime.restore(spec, runtime.compile(spec, data, {}), {})
    assert compared(spec, one, other, LENGTHS[0]) == 0
