"""The nets of real voices give an utterance in any company what they give it alone."""

from pathlib import Path

import numpy as np
import pytest

from voxstack.core import padding
from voxstack.core.errors import NetError
from voxstack.core.executables import Choice
from voxstack.engine.batching import typical_steps, typical_tensors, typical_walk
from voxstack.runtimes.named import choose_engine, usable
from voxstack.stack.addon import load_addon
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.slow

ADDONS = [Path(__file__).parents[2] / folder for folder in ("addons", "examples/addons")]
NETS = [
    pytest.param(path.parent, name, id=f"{path.parent.name}-{name}")
    for folder in ADDONS
    for path in sorted(folder.glob("*/addon.json"))
    for name in load_addon(path.parent).specs
]
TOLERANCE = 1e-5
"""Of a tensor's greatest value, or of 1."""
STEPS = 6


@pytest.fixture(params=["onnxruntime", "openvino", "torch"])
def runtime(request):
    if request.param not in usable():
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def net(runtime, request):
    folder, name = request.param
    addon = load_addon(folder)
    try:
        engine = choose_engine(runtime, Choice(threads=1), where="test")
        return open_net(engine, addon.specs[name], addon.read(addon.file_of(name, runtime)))
    except NetError as error:
        pytest.skip(str(error))


def lengths(net) -> list[int]:
    steps = typical_steps(net)
    return [steps, steps - 3, steps, steps - 1]


def same(got, want):
    for one, wanted in zip(got, want, strict=True):
        for name, tensor in wanted.items():
            assert one[name].shape == tensor.shape, name
            scale = max(float(np.abs(tensor).max(initial=0)), 1.0)
            np.testing.assert_allclose(one[name], tensor, rtol=0, atol=TOLERANCE * scale, err_msg=name)


def together(run):
    """Run what only a net of a batch of one refuses."""
    try:
        return run()
    except NetError as error:
        pytest.skip(f"the file takes a batch of one: {error}")


@pytest.mark.parametrize(
    "net", [param.values for param in NETS], ids=[param.id for param in NETS], indirect=True
)
def test_each_gets_what_it_gets_alone(net, monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)
    given = [typical_tensors(net.spec, steps, seed) for seed, steps in enumerate(lengths(net))]
    if net.spec.state:
        walked(net, given)
        return
    alone = [net.run(tensors) for tensors in given]
    for order in ([0, 1, 2, 3], [3, 1, 0], [2, 3]):
        same(together(lambda order=order: net.run_many([given[k] for k in order])), [alone[k] for k in order])


def walked(net, given):
    alone, company = ([typical_walk(net, tensors) for tensors in given] for _ in range(2))
    for k in range(STEPS):
        who = ([0, 1, 2, 3], [3, 0, 2], [1, 3])[k % 3]
        want = [alone[w][0].step(alone[w][1]) for w in who]
        got = together(
            lambda who=who: net.step_many([company[w][0] for w in who], [company[w][1] for w in who])
        )
        same(got, want)
