"""What stands in for Neuron against ONNX Runtime: every net of the real addons, filled and padded."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon

pytest.importorskip("torch", reason="torch is not installed")

from voxstack.runtimes.neuron import NeuronRuntime
from voxstack.runtimes.neuron_stand_in import StandIn

pytestmark = pytest.mark.slow

ADDONS = Path(__file__).parents[2] / "addons"
NETS = sorted(
    (path.parent.name, name)
    for path in ADDONS.glob("*/addon.json")
    for name in json.loads(path.read_text(encoding="utf-8"))["nets"]
)
SIZE, SHORT = 96, 61
TOLERANCE = 1e-4
"""Of a tensor's scale: the order of summation, and nothing else."""

LEAST_SCALE = 0.01
"""A probability that is nearly nothing has the scale of probabilities, not its own."""


def feeds(spec, steps: int) -> dict[str, np.ndarray]:
    """Return tensors of the net's own layout, `steps` of which are inside the utterance."""
    rng = np.random.default_rng(zlib.crc32(spec.name.encode()))
    ragged, made = spec.ragged, {}
    for name, tensor in spec.inputs.items():
        shape = [axis if isinstance(axis, int) else 1 if axis == "batch" else SIZE for axis in tensor.axes]
        if ragged and name == ragged.mask:
            value = np.zeros(shape)
            value[..., :steps] = 1
        elif ragged and name == ragged.lengths:
            value = np.full(shape, steps)
        elif tensor.dtype.startswith("int"):
            value = np.zeros(shape) if name in spec.state else rng.integers(1, 30, shape)
        else:
            value = rng.random(shape) if tensor.random == "uniform" else 0.5 * rng.standard_normal(shape)
        made[name] = np.asarray(value).astype(tensor.dtype)
    return made


@pytest.mark.parametrize(("addon", "name"), NETS, ids=[f"{addon}-{name}" for addon, name in NETS])
def test_a_net_that_was_traced_computes_what_the_file_says(addon, name):
    """It was traced with a full utterance: were that a constant of the trace, a padded one would show it."""
    opened = load_addon(ADDONS / addon)
    spec, data = opened.specs[name], opened.read(opened.specs[name].file)
    axes = {
        axis: 1 if axis == "batch" else SIZE
        for tensor in spec.inputs.values()
        for axis in tensor.axes
        if isinstance(axis, str)
    }
    engine = NeuronRuntime(backend=StandIn())
    net, reference = engine.restore(spec, engine.compile(spec, data, axes), axes), OrtRuntime()
    for steps in (SIZE, SHORT):
        wanted = reference.build(spec, data, {}).run(feeds(spec, steps))
        for output, got in net.run(feeds(spec, steps)).items():
            want = wanted[output]
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            scale = max(float(np.abs(want).max()), LEAST_SCALE)
            assert np.abs(got.astype(float) - want).max() <= TOLERANCE * scale, (steps, output)
