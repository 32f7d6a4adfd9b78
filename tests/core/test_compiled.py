"""A net of executables picks the one of the right size, never sends another, and fills a batch."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from voxstack.core.compiled import compiled, variants
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes

pytestmark = pytest.mark.unit

WIDE = TensorSpec("float32", ("batch", 3, "frames"))
DOUBLE = NetSpec("toy", "f", "decoder", {"x": WIDE}, {"y": WIDE}, Ragged("frames", pad=0.0))
CELL = NetSpec(
    "cell",
    "f",
    "step",
    {"memory": TensorSpec("float32", ("batch", "phonemes")), "sum": TensorSpec("float32", ("batch", 1))},
    {"sum_next": TensorSpec("float32", ("batch", 1)), "y": TensorSpec("float32", ("batch", 1))},
    Ragged("phonemes", chunkable=False, pad=0.0),
    {"sum": "sum_next"},
)


@dataclass
class Locked:
    """An executable of numpy that takes one shape only, as fixed-shape hardware does."""

    axes: dict[str, int]
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    runtime = "numpy"
    precision = "f32"

    def run(self, feeds):
        self.shapes.append(feeds["x"].shape)
        assert not self.axes or feeds["x"].shape == (self.axes["batch"], 3, self.axes["frames"])
        return {"y": 2 * feeds["x"]}

    def value(self, array):
        return array.copy()

    def array(self, value):
        return value

    def run_values(self, feeds):
        total = feeds["sum"] + feeds["memory"].sum(axis=1, keepdims=True)
        return {"sum_next": total, "y": total}


def policy(*steps, batch=(1,)) -> ShapePolicy:
    return ShapePolicy(Sizes(buckets=steps), Sizes(buckets=batch))


def frames(steps) -> dict[str, np.ndarray]:
    return {"x": np.ones((steps, 3), np.float32)}


def test_a_policy_is_compiled_once_for_each_of_its_sizes():
    assert variants(DOUBLE, DYNAMIC) == variants(DOUBLE, policy(8, 16), locked=False) == [{}]
    assert variants(DOUBLE, policy(8, 16)) == [{"batch": 1, "frames": 8}, {"batch": 1, "frames": 16}]
    assert len(variants(DOUBLE, policy(8, 16, batch=(1, 4)))) == 4
    unsized = NetSpec("table", "f", "encoder", {"id": TensorSpec("int64", ("batch",))}, {})
    assert variants(unsized, policy(8)) == [{"batch": 1}]


def test_a_policy_that_the_net_cannot_keep_is_refused_by_its_name():
    spec = NetSpec("toy", "f", "decoder", {"x": WIDE}, {}, Ragged("frames", context=(4, 4)))
    with pytest.raises(ConfigError, match=r"^net 'toy': 8 steps of 'frames' are too few: 4 \+ 1 \+ 4 "):
        variants(spec, policy(8))


def test_each_size_has_its_own_executable_and_another_is_refused():
    made: list[Locked] = []
    net = compiled(DOUBLE, policy(8, 16), lambda axes: made.append(Locked(dict(axes))) or made[-1])
    assert (net.run(frames(16))["y"] == 2).all()
    net.run(frames(8))
    with pytest.raises(NetError) as caught:
        net.run(frames(9))
    assert str(caught.value) == "net 'toy': was compiled for 8, 16 frames, got 9; plan windows with its sizes"
    assert [one.shapes for one in made] == [[(1, 3, 8)], [(1, 3, 16)]]


def test_one_executable_that_takes_any_size_serves_all_and_no_other_size_reaches_it():
    made: list[Locked] = []
    net = compiled(DOUBLE, policy(8, 16), lambda axes: made.append(Locked({})) or made[-1], locked=False)
    net.run(frames(16))
    net.run(frames(8))
    with pytest.raises(NetError, match="was compiled for 8, 16 frames, got 9"):
        net.run(frames(9))
    assert [one.shapes for one in made] == [[(1, 3, 16), (1, 3, 8)]]


def test_one_utterance_fills_a_fixed_batch_and_comes_out_alone():
    net = compiled(DOUBLE, policy(8, batch=(4,)), lambda axes: Locked(dict(axes)))
    assert net.run(frames(8))["y"].shape == (8, 3)


@pytest.mark.parametrize("shapes", [DYNAMIC, policy(4), policy(4, batch=(2,))], ids=str)
def test_a_walk_keeps_its_state_in_the_engine(shapes):
    net = compiled(CELL, shapes, lambda axes: Locked(dict(axes)))
    walk = net.begin({"memory": np.ones(4, np.float32)})
    assert [float(walk.step({})["y"][0]) for _ in range(3)] == [4, 8, 12]
    walk.close()
    with pytest.raises(Cancelled, match="step after close"):
        walk.step({})
