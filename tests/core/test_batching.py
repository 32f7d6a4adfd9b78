"""Runs that may join give each utterance what it gets alone, whoever its companions are."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from voxstack.core import padding
from voxstack.core.batching import BatchedNet, BatchedRecurrence
from voxstack.core.cancel import CancelScope
from voxstack.core.compiled import compiled
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes

pytestmark = pytest.mark.unit

F = "float32"
HOP = 4


def spec_of(inputs, outputs, ragged=None, state=None) -> NetSpec:
    def tensors(named):
        return {name: TensorSpec(dtype, tuple(axes)) for name, (dtype, axes) in named.items()}

    return NetSpec("toy", "f", "decoder", tensors(inputs), tensors(outputs), ragged, state or {})


FRAMES = (F, ["batch", 3, "frames"])
MASK = (F, ["batch", 1, "frames"])
SAMPLES = (F, ["batch", "samples"])
WHOLE = Ragged("frames", chunkable=False, hop=HOP, mask="mask")
TOLD = spec_of({"x": FRAMES, "mask": MASK, "gain": (F, [])}, {"y": FRAMES, "samples": SAMPLES}, WHOLE)
BARE = spec_of({"x": FRAMES}, {"samples": SAMPLES}, Ragged("frames", hop=HOP, context=(1, 1)))
STEP = spec_of(
    {
        "memory": (F, ["batch", "phonemes", 2]),
        "mask": (F, ["batch", "phonemes"]),
        "gain": (F, []),
        "sum": (F, ["batch", 2]),
        "seen": (F, ["batch", "phonemes"]),
        "chance": (F, ["batch", 2]),
    },
    {
        "frame": (F, ["batch", 2]),
        "alignment": (F, ["batch", "phonemes"]),
        "sum_next": (F, ["batch", 2]),
        "seen_next": (F, ["batch", "phonemes"]),
    },
    Ragged("phonemes", chunkable=False, mask="mask"),
    {"sum": "sum_next", "seen": "seen_next"},
)


def told(x, mask, gain):
    """Add to each step the mean of all steps of its utterance; nothing of what stands in padding."""
    x = np.where(mask > 0, x, 0)
    mean = x.sum(2, keepdims=True) / mask.sum(2, keepdims=True)
    y = gain * np.where(mask > 0, x + mean, 0)
    return {"y": y, "samples": np.repeat(y.sum(1), HOP, axis=1)}


def bare(x):
    return {"samples": np.repeat(x.sum(1), HOP, axis=1)}


def step(memory, mask, gain, sum, seen, chance):  # noqa: A002 - what the state is
    """Attend to all symbols alike, but for what was seen of them."""
    shares = np.where(mask > 0, 1 + np.where(mask > 0, seen, 0), 0)
    shares = shares / shares.sum(1, keepdims=True)
    read = (shares[..., None] * np.where(mask[..., None] > 0, memory, 0)).sum(1)
    total = sum + gain * read + chance
    return {"frame": np.tanh(total), "alignment": shares, "sum_next": total, "seen_next": seen + shares}


@dataclass
class Counted:
    """An executable of numpy that keeps the shapes it was run with; of fixed sizes, it takes no others."""

    function: object
    axes: dict[str, int] = field(default_factory=dict)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    runtime = "numpy"
    precision = "f32"

    def run(self, feeds):
        scope = CancelScope.current()
        if scope is not None and scope.is_cancelled:
            raise Cancelled("the stream was closed")
        first = next(iter(feeds.values()))
        assert not self.axes or first.shape[0] == self.axes["batch"]
        self.shapes.append(first.shape)
        return {name: value.astype(F) for name, value in self.function(**feeds).items()}

    def value(self, array):
        return array.copy()

    def array(self, value):
        return value.copy()

    def run_values(self, feeds):
        return self.run(feeds)


def net_of(spec, function, shapes=DYNAMIC, *, locked=True):
    made: list[Counted] = []
    net = compiled(
        spec, shapes, lambda axes: made.append(Counted(function, dict(axes))) or made[-1], locked=locked
    )
    return net, made


def policy(*steps, batch=(1,)) -> ShapePolicy:
    return ShapePolicy(Sizes(buckets=steps), Sizes(buckets=batch))


def utterance(steps, *, seed=0, gain=1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng((seed, steps))
    return {
        "x": random.standard_normal((steps, 3)).astype(F),
        "mask": np.ones((steps, 1), F),
        "gain": np.array(gain, F),
    }


def spoken(steps, *, gain=1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(steps)
    memory = random.standard_normal((steps, 2)).astype(F)
    return {"memory": memory, "mask": np.ones(steps, F), "gain": np.array(gain, F)}


def chance(number) -> dict[str, np.ndarray]:
    return {"chance": np.random.default_rng(number).random(2, np.float32)}


def same(got, want):
    assert [sorted(one) for one in got] == [sorted(one) for one in want]
    for one, wanted in zip(got, want, strict=True):
        for name, tensor in wanted.items():
            assert one[name].shape == tensor.shape, name
            np.testing.assert_allclose(one[name], tensor, rtol=0, atol=1e-6, err_msg=name)


@pytest.fixture(autouse=True)
def nothing_is_read_of_padding(monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)


# Who may join


def test_runs_of_any_length_may_join_where_the_net_is_told_what_is_padding():
    net, _ = net_of(TOLD, told)
    assert net.batch_key(utterance(5)) == net.batch_key(utterance(3)) is not None
    assert isinstance(net, BatchedNet)


def test_much_longer_ones_do_not_as_padding_would_cost_more_than_joining_gains():
    net, _ = net_of(TOLD, told)
    key = net.batch_key(utterance(100))
    assert key == net.batch_key(utterance(105))
    assert key not in (net.batch_key(utterance(60)), net.batch_key(utterance(160)))


def test_runs_of_one_length_only_may_join_where_it_is_not_told():
    net, _ = net_of(BARE, bare)
    five = {"x": utterance(5)["x"]}
    assert net.batch_key(five) == net.batch_key({"x": utterance(5, seed=1)["x"]}) is not None
    assert net.batch_key(five) != net.batch_key({"x": utterance(4)["x"]})


def test_runs_that_differ_in_what_all_of_a_batch_share_do_not_join():
    net, _ = net_of(TOLD, told)
    assert net.batch_key(utterance(5)) != net.batch_key(utterance(5, gain=0.5))


@pytest.mark.parametrize(
    "broken",
    [
        {"x": None},
        {"x": np.ones((5, 2), np.float32)},
        {"x": np.ones((5, 3))},
        {"x": np.ones((4, 3), np.float32)},
        {"x": np.ones((0, 3), np.float32), "mask": np.ones((0, 1), np.float32)},
    ],
    ids=["missing", "shape", "dtype", "length", "empty"],
)
def test_what_cannot_be_run_as_it_is_fails_alone(broken):
    net, _ = net_of(TOLD, told)
    tensors = {name: value for name, value in {**utterance(5), **broken}.items() if value is not None}
    assert net.batch_key(tensors) is None


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": (F, ["frames"])}, {"y": (F, ["frames"])}),
        ({"x": FRAMES}, {"y": (F, [3])}),
        ({"x": FRAMES}, {"y": FRAMES, "tokens": (F, ["batch", "tokens", 3])}),
    ],
    ids=["no batch", "an output that all share", "a length of its own"],
)
def test_a_net_that_cannot_tell_utterances_apart_runs_alone(inputs, outputs):
    net, _ = net_of(spec_of(inputs, outputs, Ragged("frames")), bare)
    given = {
        name: np.ones([5 if axis == "frames" else 3 for axis in net.spec.port(name).axes], F)
        for name in inputs
    }
    assert net.batch_key(given) is None


def test_a_state_that_all_share_keeps_a_walk_alone():
    shared = spec_of(
        {"x": (F, ["batch", 2]), "count": (F, [])},
        {"y": (F, ["batch", 2]), "more": (F, [])},
        state={"count": "more"},
    )
    net, _ = net_of(shared, lambda x, count: {"y": x, "more": count + 1})
    walk = net.begin({})
    assert walk.batch_key({"x": np.ones(2, F)}) is None


# What comes out


@pytest.mark.parametrize("lengths", [*itertools.permutations((5, 3, 8)), (4, 4), (7,)], ids=str)
def test_each_gets_what_it_gets_alone(lengths):
    net, [executable] = net_of(TOLD, told)
    batch = [utterance(steps, seed=place) for place, steps in enumerate(lengths)]
    alone = [net.run(tensors) for tensors in batch]
    executable.shapes.clear()
    same(net.run_many(batch), alone)
    assert executable.shapes == [(len(lengths), 3, max(lengths))]


def test_those_that_may_not_join_run_one_after_the_other_and_come_back_in_order():
    net, [executable] = net_of(TOLD, told)
    batch = [utterance(5), utterance(5, gain=0.5), utterance(3), utterance(200)]
    alone = [net.run(tensors) for tensors in batch]
    executable.shapes.clear()
    same(net.run_many(batch), alone)
    assert executable.shapes == [(2, 3, 5), (1, 3, 5), (1, 3, 200)]


def test_what_one_is_given_shares_no_memory_with_what_others_are():
    net, _ = net_of(TOLD, told)
    first, second = net.run_many([utterance(5), utterance(5, seed=1)])
    before = second["y"].copy()
    first["y"][...] = np.nan
    assert first["y"].base is None or first["y"].base.size == first["y"].size
    np.testing.assert_array_equal(second["y"], before)


def test_one_that_is_missing_something_is_named():
    net, _ = net_of(TOLD, told)
    with pytest.raises(NetError, match=r"^net 'toy': input 'x' is missing"):
        net.run_many([utterance(5), {"mask": np.ones((5, 1), F)}])


def test_no_runs_are_no_work():
    net, [executable] = net_of(TOLD, told)
    assert net.run_many([]) == net.step_many([], []) == []
    assert not executable.shapes


def test_a_cancelled_scope_stops_them_all():
    net, _ = net_of(TOLD, told)
    scope = CancelScope()
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled):
        net.run_many([utterance(5), utterance(3)])


# Fixed sizes


def test_a_fixed_batch_is_filled_with_the_others_first():
    net, made = net_of(TOLD, told, policy(8, batch=(1, 4)))
    batch = [utterance(8, seed=seed) for seed in range(6)]
    alone = [net.run(tensors) for tensors in batch]
    for one in made:
        one.shapes.clear()
    same(net.run_many(batch), alone)
    assert [one.shapes for one in made] == [[], [(4, 3, 8), (4, 3, 8)]]


def test_a_net_that_was_compiled_for_one_utterance_runs_each_alone():
    net, [executable] = net_of(TOLD, told, policy(8))
    batch = [utterance(8), utterance(8, seed=1)]
    assert net.batch_key(batch[0]) is None
    net.run_many(batch)
    assert executable.shapes == [(1, 3, 8)] * 2


def test_one_executable_for_all_sizes_takes_any_number():
    net, [executable] = net_of(TOLD, told, policy(8, 16), locked=False)
    same(
        net.run_many([utterance(8), utterance(8, seed=1)]),
        [net.run(utterance(8)), net.run(utterance(8, seed=1))],
    )
    assert executable.shapes == [(2, 3, 8), (1, 3, 8), (1, 3, 8)]


def test_a_net_without_a_batch_axis_runs_whatever_batch_a_profile_names():
    spec = spec_of({"x": (F, ["frames"])}, {"y": (F, ["frames"])}, Ragged("frames", pad=0.0))
    net, _ = net_of(spec, lambda x: {"y": 2 * x}, policy(4, batch=(2,)))
    net._executables[4, 1].axes.clear()
    assert (net.run({"x": np.ones(4, F)})["y"] == 2).all()


# Walks


SIZES = (3, 6, 4)
STEPS = 5


def alone_of(net, sizes=SIZES, steps=STEPS):
    walks = [net.begin(spoken(size)) for size in sizes]
    return [[walk.step(chance(10 * place + k)) for k in range(steps)] for place, walk in enumerate(walks)]


def walked(net, who_of, sizes=SIZES, steps=STEPS):
    """Let walks step with changing company; return what each step of each gave."""
    walks = [net.begin(spoken(size)) for size in sizes]
    given = [[] for _ in walks]
    for k in range(steps):
        for who in who_of(k):
            results = net.step_many([walks[w] for w in who], [chance(10 * w + k) for w in who])
            for w, result in zip(who, results, strict=True):
                given[w].append(result)
    return given


COMPANIES = {
    "always together": lambda k: [(0, 1, 2)],
    "in another order": lambda k: [(2, 0, 1)] if k % 2 else [(1, 2, 0)],
    "each alone": lambda k: [(0,), (1,), (2,)],
    "with changing others": lambda k: [[(0, 1), (2,)], [(0, 2), (1,)], [(1, 2, 0)], [(0,), (2, 1)]][k % 4],
}


@pytest.mark.parametrize("shapes", [DYNAMIC, policy(6, batch=(2,)), policy(6, batch=(1, 2, 4))], ids=str)
@pytest.mark.parametrize("company", COMPANIES)
def test_a_walk_goes_as_it_goes_alone_whoever_steps_with_it(company, shapes):
    sizes = SIZES if shapes is DYNAMIC else (6, 6, 6)
    net, _ = net_of(STEP, step, shapes)
    for got, want in zip(walked(net, COMPANIES[company], sizes), alone_of(net, sizes), strict=True):
        same(got, want)


def test_walks_that_stay_together_are_one_run_a_step_and_stay_where_they_are():
    net, [executable] = net_of(STEP, step)
    values = []
    keep, executable.value = executable.value, lambda array: values.append(array) or keep(array)
    walks = [net.begin(spoken(size)) for size in SIZES]
    executable.shapes.clear()
    for k in range(3):
        values.clear()
        net.step_many(walks, [chance(k)] * 3)
        assert len(values) == (1 if k else len(STEP.inputs))
    assert executable.shapes == [(3, 6, 2)] * 3


def test_walks_join_by_what_they_share():
    net, _ = net_of(STEP, step)
    first, second, louder = (net.begin(spoken(size, gain=gain)) for size, gain in ((3, 1), (6, 1), (3, 2)))
    assert first.batch_key(chance(0)) == second.batch_key(chance(1)) is not None
    assert first.batch_key(chance(0)) != louder.batch_key(chance(0))
    assert first.batch_key({}) is None
    assert isinstance(first, BatchedRecurrence)


def test_a_state_that_grows_joins_those_that_have_grown_as_much():
    cache = (F, ["batch", "past", 2])
    grown = spec_of(
        {"x": (F, ["batch", 2]), "keys": cache},
        {"y": (F, ["batch", 2]), "more": (F, ["batch", "past+1", 2])},
        state={"keys": "more"},
    )

    def grow(x, keys):
        more = np.concatenate([keys, x[:, None]], axis=1)
        return {"y": more.sum(1), "more": more}

    net, [executable] = net_of(grown, grow)
    walks = [net.begin({}) for _ in range(3)]
    x = [{"x": np.full(2, k + 1, F)} for k in range(3)]
    walks[2].step(x[2])
    assert walks[0].batch_key(x[0]) == walks[1].batch_key(x[1]) != walks[2].batch_key(x[2])
    executable.shapes.clear()
    sums = [[float(one["y"][0]) for one in net.step_many(walks, x)] for _ in range(2)]
    assert sums == [[1, 2, 6], [2, 4, 9]]
    assert [shape[0] for shape in executable.shapes] == [2, 1] * 2


def test_a_failed_step_takes_nobody_on():
    net, [executable] = net_of(STEP, step)
    walks = [net.begin(spoken(size)) for size in SIZES]
    want = alone_of(net)
    same(net.step_many(walks, [chance(10 * w) for w in range(3)]), [one[0] for one in want])
    works, executable.function = executable.function, lambda **feeds: 1 / 0
    with pytest.raises(ZeroDivisionError):
        net.step_many(walks, [chance(99)] * 3)
    executable.function = works
    same(net.step_many(walks, [chance(10 * w + 1) for w in range(3)]), [one[1] for one in want])


def test_those_that_went_before_one_that_fails_are_back_where_they_were():
    net, _ = net_of(STEP, step)
    walks = [net.begin(spoken(3)), net.begin(spoken(3, gain=2))]
    first = net.begin(spoken(3)).step(chance(0))
    with pytest.raises(NetError, match="input 'chance' is missing"):
        net.step_many(walks, [chance(0), {}])
    same([walks[0].step(chance(0))], [first])


def test_a_closed_walk_stops_the_step_before_anybody_went():
    net, [executable] = net_of(STEP, step)
    walks = [net.begin(spoken(3)), net.begin(spoken(4))]
    executable.shapes.clear()
    walks[1].close()
    assert walks[1].batch_key(chance(0)) is None
    with pytest.raises(Cancelled, match="step after close"):
        net.step_many(walks, [chance(0), chance(1)])
    assert not executable.shapes


def test_a_walk_that_is_closed_in_company_leaves_the_others_as_they_are():
    net, _ = net_of(STEP, step)
    want = alone_of(net)
    walks = [net.begin(spoken(size)) for size in SIZES]
    net.step_many(walks, [chance(10 * w) for w in range(3)])
    walks[1].close()
    same(net.step_many(walks[::2], [chance(1), chance(21)]), [want[0][1], want[2][1]])
    same([walks[2].step(chance(22))], [want[2][2]])
