"""How many runs of a net go together is measured once a net; whoever stands around a net hands batches on."""

import numpy as np
import pytest

import voxstack.engine.batching as module
from voxstack.core.batching import BatchedNet, BatchedRecurrence
from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import DYNAMIC
from voxstack.engine.batching import most_together, typical_tensors
from voxstack.engine.lookouts import ObservedNet
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.watching import Watcher

pytestmark = pytest.mark.unit

F = "float32"
FRAMES = TensorSpec(F, ("batch", 2, "frames"))
SPEC = NetSpec(
    "toy",
    "f",
    "decoder",
    {"x": FRAMES, "mask": TensorSpec(F, ("batch", "frames")), "gain": TensorSpec(F, ())},
    {"y": FRAMES},
    Ragged("frames", mask="mask", chunkable=False),
)


class Clock:
    """A clock that only nets move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module.time, "perf_counter", clock.perf_counter)
    return clock


class Timed:
    """A net that takes as long as it is told to: cost(count) seconds for so many together."""

    spec = SPEC
    shapes = DYNAMIC
    runtime = precision = "f32"

    def __init__(self, clock, cost) -> None:
        self.clock = clock
        self.cost = cost
        self.counts: list[int] = []

    def run(self, tensors):
        return self.run_many([tensors])[0]

    def begin(self, tensors):
        raise NotImplementedError

    def batch_key(self, tensors):
        return "any"

    def run_many(self, batch):
        self.clock.now += self.cost(len(batch))
        self.counts.append(len(batch))
        return [{"y": 2 * tensors["x"]} for tensors in batch]

    def step_many(self, walks, batch):
        raise NotImplementedError


def saving(share):
    """Return the cost of a net that takes 1 ms alone, and `share` of it for each together."""
    return lambda count: 0.001 * count * (1 if count == 1 else share)


@pytest.mark.parametrize(
    ("cost", "most"),
    [
        (saving(0.5), 8),
        (saving(0.89), 8),
        (saving(0.95), 1),
        (saving(1.2), 1),
        (lambda count: 0.001 * count * (0.8 if count in (2, 4) else 1), 4),
        (lambda count: 0.001 * count * (0.8 if count == 2 else 1), 2),
    ],
)
def test_it_is_the_greatest_number_that_takes_a_tenth_less_for_each(clock, cost, most):
    assert most_together(Timed(clock, cost)) == most


@pytest.mark.parametrize("alone_ms", [0.1, 1, 4, 13, 20])
def test_measuring_is_over_in_a_moment(clock, alone_ms):
    net = Timed(clock, lambda count: alone_ms * count / 1000)
    assert most_together(net) == 1
    assert clock.now < 0.15


def test_a_slow_net_is_measured_with_as_many_as_there_is_time_for(clock):
    net = Timed(clock, lambda count: 0.013 * (1 + 0.1 * (count - 1)))
    assert most_together(net) == 2
    slower = Timed(clock, lambda count: 0.1)
    assert most_together(slower) == 1
    assert slower.counts == [1, 1, 2, 1, 1]


def test_a_net_is_measured_once_whoever_stands_around_it(clock):
    net = Timed(clock, saving(0.5))
    assert most_together(net) == most_together(NetAround(ObservedNet("toy", net))) == 8
    runs = len(net.counts)
    most_together(net)
    assert len(net.counts) == runs


def test_a_net_that_cannot_be_run_together_runs_alone(clock):
    class OfOne(Timed):
        """A net whose file says a batch of one."""

        def run_many(self, batch):
            if len(batch) > 1:
                raise NetError("failed on x [2, 2, 64]", where="net 'toy'")
            return super().run_many(batch)

    assert most_together(OfOne(clock, saving(0.1))) == 1


def test_a_net_that_gives_something_else_together_runs_alone(clock):
    class Mixing(Timed):
        """A net that reckons with all of a batch, as one does that finds its scale of it."""

        def run_many(self, batch):
            scale = max(float(np.abs(tensors["x"]).max()) for tensors in batch)
            return [{"y": one["y"] / scale} for one in super().run_many(batch)]

    assert most_together(Mixing(clock, saving(0.1))) == 1


def test_the_last_digits_of_a_small_number_are_no_difference(clock):
    class Rounding(Timed):
        """A net that gives a probability near 0, and rounds it otherwise in a batch."""

        def run_many(self, batch):
            off = 1e-7 if len(batch) > 1 else 0.0
            return [{"y": 4e-4 + 0 * one["y"] + off} for one in super().run_many(batch)]

    assert most_together(Rounding(clock, saving(0.1))) == 8


def test_a_net_that_may_never_join_or_knows_nothing_of_batches_runs_alone(clock, numpy_net):
    lonely = Timed(clock, saving(0.1))
    lonely.batch_key = lambda tensors: None
    assert most_together(lonely) == 1
    third_party = numpy_net(lambda x: {"y": x}, {"x": (F, ["frames"])}, {"y": (F, ["frames"])})
    assert most_together(third_party) == 1


def test_what_nobody_foresaw_is_not_swallowed(clock):
    def broken(count):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        most_together(Timed(clock, broken))


def test_an_utterance_that_is_tried_is_one_that_a_net_can_take():
    spec = NetSpec(
        "toy",
        "f",
        "encoder",
        {
            "ids": TensorSpec("int64", ("batch", "phonemes")),
            "lengths": TensorSpec("int64", ("batch",)),
            "chance": TensorSpec(F, ("batch", "phonemes"), "uniform"),
            "noise": TensorSpec(F, ()),
            "state": TensorSpec(F, ("batch", 3)),
        },
        {"after": TensorSpec(F, ("batch", 3))},
        Ragged("phonemes", lengths="lengths"),
        {"state": "after"},
    )
    tensors = typical_tensors(spec, 7)
    assert sorted(tensors) == ["chance", "ids", "lengths", "noise"]
    assert (tensors["ids"].tolist(), int(tensors["lengths"]), float(tensors["noise"])) == ([1] * 7, 7, 1.0)
    assert 0 <= tensors["chance"].min() <= tensors["chance"].max() < 1
    assert all(spec.port(name).fault(tensor) is None for name, tensor in tensors.items())


# Who stands around a net


@pytest.fixture
def step_net(tone, load_nets):
    from voxstack.stack.addon import load_addon

    return load_nets(load_addon(tone("attention")))["step"]


def spoken(steps) -> dict[str, np.ndarray]:
    memory = np.random.default_rng(steps).random((steps, 12), np.float32)
    controls = {name: np.array(value, F) for name, value in (("speed", 1), ("stuck", -1), ("loop", -1))}
    return {"memory": memory, "phonemes_mask": np.ones(steps, F), **controls}


@pytest.mark.parametrize(
    "around", [NetAround, lambda net: ObservedNet("step", net)], ids=["plain", "observed"]
)
def test_walks_through_a_net_with_something_around_it_step_together(step_net, around):
    net = NetAround(around(step_net))
    assert isinstance(net, BatchedNet)
    walks = [WalkAround(net.begin(spoken(steps))) for steps in (3, 5)]
    assert walks[0].batch_key({}) == walks[1].batch_key({}) is not None
    assert isinstance(walks[0], BatchedRecurrence)
    together = net.step_many(walks, [{}, {}])
    for steps, got in zip((3, 5), together, strict=True):
        want = step_net.begin(spoken(steps)).step({})
        for name in want:
            np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-6)


def test_walks_that_are_recorded_step_together(step_net):
    watcher = Watcher()
    net = watcher.net("step", step_net)
    with watcher.recording():
        walks = [net.begin(spoken(3)), net.begin(spoken(5))]
        assert [len(one["alignment"]) for one in net.step_many(walks, [{}, {}])] == [3, 5]


def test_a_net_that_knows_nothing_of_batches_does_not_learn_it_by_being_looked_at(numpy_net):
    net = NetAround(numpy_net(lambda x: {"y": x}, {"x": (F, ["frames"])}, {"y": (F, ["frames"])}))
    assert not isinstance(net, BatchedNet)
    assert not hasattr(net, "step_many")
