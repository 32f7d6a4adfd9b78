"""Every runtime gives an utterance in a batch what it gives it alone."""

import numpy as np
import pytest
from onnx import helper

from voxstack.core import padding
from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled
from voxstack.core.executables import Choice
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes
from voxstack.engine.batching import most_together
from voxstack.runtimes.named import RUNTIMES, choose_engine, usable
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.unit

F = "float32"
FRAMES = (F, ["batch", 3, "frames"])
MASK = (F, ["batch", 1, "frames"])
MEMORY = (F, ["batch", "phonemes", 2])
SHARES = (F, ["batch", "phonemes"])
ROW = (F, ["batch", 2])
node = helper.make_node

ENCODER = (
    {"x": FRAMES, "mask": MASK, "gain": (F, [])},
    {"y": FRAMES},
    [
        node("Greater", ["mask", "zero"], ["inside"]),
        node("Where", ["inside", "x", "zero"], ["seen"]),
        node("ReduceSum", ["seen", "last"], ["sum"], keepdims=1),
        node("ReduceSum", ["mask", "last"], ["steps"], keepdims=1),
        node("Div", ["sum", "steps"], ["mean"]),
        node("Add", ["seen", "mean"], ["raised"]),
        node("Mul", ["raised", "gain"], ["y"]),
    ],
    {"zero": np.float32(0), "last": np.array([2])},
)
STEP = (
    {"memory": MEMORY, "mask": SHARES, "total": ROW, "seen": SHARES, "chance": ROW},
    {"frame": ROW, "alignment": SHARES, "total_next": ROW, "seen_next": SHARES},
    [
        node("Greater", ["mask", "zero"], ["inside"]),
        node("Where", ["inside", "seen", "zero"], ["known"]),
        node("Where", ["inside", "known", "far"], ["scores"]),
        node("Softmax", ["scores"], ["alignment"], axis=1),
        node("Add", ["seen", "alignment"], ["seen_next"]),
        node("Unsqueeze", ["inside", "two"], ["inside_row"]),
        node("Where", ["inside_row", "memory", "zero"], ["symbols"]),
        node("Unsqueeze", ["alignment", "one"], ["row"]),
        node("MatMul", ["row", "symbols"], ["read_row"]),
        node("Squeeze", ["read_row", "one"], ["read"]),
        node("Add", ["read", "chance"], ["fresh"]),
        node("Add", ["total", "fresh"], ["total_next"]),
        node("Tanh", ["total_next"], ["frame"]),
    ],
    {"zero": np.float32(0), "far": np.float32(-1e9), "one": np.array([1]), "two": np.array([2])},
)


@pytest.fixture(params=[name for name in RUNTIMES if name != "neuron"])
def runtime(request):
    if request.param not in usable():
        pytest.skip(f"{request.param} is not installed")
    return choose_engine(request.param, Choice(threads=1), where="test")


@pytest.fixture
def load(runtime, onnx_model):
    """Return what makes a toy ready on a runtime."""

    def make(toy, ragged, shapes=DYNAMIC, state=None):
        inputs, outputs, nodes, constants = toy
        tensors = [
            {name: TensorSpec(dtype, tuple(axes)) for name, (dtype, axes) in end.items()} for end in toy[:2]
        ]
        spec = NetSpec("toy", "f", "decoder", *tensors, ragged, state or {})
        return open_net(
            runtime, spec, onnx_model(nodes, inputs, outputs, constants).SerializeToString(), shapes
        )

    return make


def utterance(steps):
    x = np.random.default_rng(steps).standard_normal((steps, 3)).astype(F)
    return {"x": x, "mask": np.ones((steps, 1), F), "gain": np.array(2, F)}


def spoken(steps):
    memory = np.random.default_rng(steps).standard_normal((steps, 2)).astype(F)
    return {"memory": memory, "mask": np.ones(steps, F)}


def same(got, want):
    for one, wanted in zip(got, want, strict=True):
        assert one.keys() == wanted.keys()
        for name, tensor in wanted.items():
            np.testing.assert_allclose(one[name], tensor, rtol=0, atol=1e-5, err_msg=name)


@pytest.fixture(autouse=True)
def nothing_is_read_of_padding(monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)


TOLD = Ragged("frames", chunkable=False, mask="mask")
ATTENDED = Ragged("phonemes", chunkable=False, mask="mask")
STATE = {"total": "total_next", "seen": "seen_next"}


def test_runs_of_different_lengths(load):
    net = load(ENCODER, TOLD)
    batch = [utterance(steps) for steps in (5, 9, 2, 9)]
    same(net.run_many(batch), [net.run(tensors) for tensors in batch])


def test_runs_of_fixed_sizes(load):
    net = load(ENCODER, TOLD, ShapePolicy(Sizes(buckets=(8,)), Sizes(buckets=(1, 4))))
    batch = [utterance(8), {**utterance(8), "x": np.ones((8, 3), F)}]
    same(net.run_many(batch), [net.run(tensors) for tensors in batch])


def test_walks_in_changing_company(load):
    net = load(STEP, ATTENDED, state=STATE)
    sizes = (3, 6, 4)
    alone, walks = ([net.begin(spoken(size)) for size in sizes] for _ in range(2))
    for k, who in enumerate([(0, 1, 2), (0, 1, 2), (2, 0), (1,), (1, 2), (2, 1, 0)]):
        chances = [{"chance": np.full(2, 0.1 * k + w, F)} for w in who]
        want = [alone[w].step(chance) for w, chance in zip(who, chances, strict=True)]
        same(net.step_many([walks[w] for w in who], chances), want)


def test_a_cancelled_scope_stops_runs_and_steps(load):
    net, steps = load(ENCODER, TOLD), load(STEP, ATTENDED, state=STATE)
    walks = [steps.begin(spoken(3)), steps.begin(spoken(4))]
    scope = CancelScope()
    scope.cancel()
    with scope.active():
        with pytest.raises(Cancelled):
            net.run_many([utterance(3), utterance(4)])
        with pytest.raises(Cancelled):
            steps.step_many(walks, [{"chance": np.ones(2, F)}] * 2)


def test_a_toy_is_worth_joining_or_not_but_is_measured(load):
    assert most_together(load(ENCODER, TOLD)) in (1, 2, 4, 8)
    assert most_together(load(STEP, ATTENDED, state=STATE)) in (1, 2, 4, 8)
