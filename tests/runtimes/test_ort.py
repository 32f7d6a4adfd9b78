"""ONNX Runtime: threads as said, nothing that spins, names checked, a run in flight that can be stopped."""

import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.nets import NetSpec, TensorSpec
from voxstack.engine.processor import kind
from voxstack.runtimes.ort import OrtRuntime
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.unit

WIDE = ("float32", ["batch", 3, "frames"])
DOUBLE = [helper.make_node("Add", ["x", "x"], ["y"])]


@pytest.fixture(scope="module")
def double(onnx_net):
    return onnx_net(DOUBLE, {"x": WIDE}, {"y": WIDE})


def frames(steps: int, value: float = 1.0) -> dict[str, np.ndarray]:
    return {"x": np.full((steps, 3), value, np.float32)}


def spec(inputs, outputs) -> NetSpec:
    return NetSpec(
        "toy",
        "nets/toy.onnx",
        "decoder",
        {name: TensorSpec("float32", ("batch", 3, "frames")) for name in inputs},
        {name: TensorSpec("float32", ("batch", 3, "frames")) for name in outputs},
    )


def load_fault(error, runtime, wanted, data) -> str:
    with pytest.raises(error) as caught:
        open_net(runtime, wanted, data)
    return str(caught.value)


@pytest.fixture(scope="module")
def data(onnx_model) -> bytes:
    return onnx_model(DOUBLE, {"x": WIDE}, {"y": WIDE}).SerializeToString()


def test_a_net_runs_on_time_first_tensors_of_any_length(double):
    for steps in (1, 5, 2):
        np.testing.assert_array_equal(double.run(frames(steps))["y"], 2 * frames(steps)["x"])


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="tells no features")
def test_a_compiled_net_lays_its_weights_out_for_the_processor():
    """Why compiled nets are bound to its features: 16 channels a block with AVX-512, 8 without."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16, 1, 9]) for name in "xy")
    weights = numpy_helper.from_array(np.ones((16, 16, 1, 1), np.float32), "w")
    thin = numpy_helper.from_array(np.ones((8, 16, 1, 1), np.float32), "v")
    nodes = [helper.make_node("Conv", ["x", "v"], ["z"]), helper.make_node("Conv", ["x", "w"], ["y"])]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 8, 1, 9])
    graph = helper.make_graph(nodes, "net", [x], [y, z], [weights, thin])
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    tensors = [TensorSpec("float32", (1, channels, 1, 9)) for channels in (16, 16, 8)]
    wanted = NetSpec("net", "net.onnx", "decoder", {"x": tensors[0]}, {"y": tensors[1], "z": tensors[2]})
    made = onnx.load_from_string(OrtRuntime().compile(wanted, net.SerializeToString(), {}))
    blocks = {tensor.dims[0] for tensor in made.graph.initializer}
    assert blocks == ({16} if "avx512f" in kind(OrtRuntime.bound_to) else {8, 16})


def test_threads_are_as_said_and_nothing_spins(monkeypatch, data):
    seen = []
    real = onnxruntime.InferenceSession

    def session(model, options, providers):
        seen.append((options, providers))
        return real(model, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    open_net(OrtRuntime(threads=3), spec(["x"], ["y"]), data)
    options, providers = seen[0]
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert providers == ["CPUExecutionProvider"]


def test_it_reports_what_really_runs(double, onnx_net):
    assert double.runtime == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    assert double.precision == "f32"
    whole = onnx_net(
        [helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT64)], {"x": WIDE}, {"n": ("int64", WIDE[1])}
    )
    assert whole.precision == "f32"
    half = ("float16", WIDE[1])
    assert onnx_net([helper.make_node("Neg", ["x"], ["y"])], {"x": half}, {"y": half}).precision == "f16"


def test_an_unknown_provider_is_refused_with_those_that_are_there(monkeypatch, data):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert load_fault(ConfigError, OrtRuntime(provider="TPU"), spec(["x"], ["y"]), data) == (
        f"runtime onnxruntime: got device 'TPU', which onnxruntime {onnxruntime.__version__} as it is "
        "installed lacks; install a build that has it, or choose one that is here: cpu"
    )


def test_a_provider_that_silently_falls_back_is_refused(monkeypatch, data):
    real = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *real])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda model, options, providers, make=onnxruntime.InferenceSession: make(
            model, options, providers=["CPUExecutionProvider"]
        ),
    )
    assert load_fault(NetError, OrtRuntime(provider="CUDAExecutionProvider"), spec(["x"], ["y"]), data) == (
        "net 'toy': runs on CPUExecutionProvider, not on CUDAExecutionProvider"
    )


def test_names_that_disagree_with_the_addon_are_refused(data):
    assert load_fault(NetError, OrtRuntime(), spec(["hidden"], ["y"]), data) == (
        "net 'toy': addon.json names the inputs ['hidden'], the file has ['x']"
    )
    assert load_fault(NetError, OrtRuntime(), spec(["x"], ["mel", "y"]), data) == (
        "net 'toy': addon.json names the outputs ['mel', 'y'], the file has ['y']"
    )


@pytest.mark.parametrize("broken", [b"", b"garbage", b"\x3a\x02\x0a"])
def test_a_file_that_is_no_net_is_refused(broken):
    assert load_fault(NetError, OrtRuntime(), spec(["x"], ["y"]), broken).startswith(
        "net 'toy': cannot be loaded: "
    )


def test_a_run_that_fails_says_on_what(onnx_net):
    net = onnx_net(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": ("float32", ["batch", "frames", "bins"])},
        {"y": ("float32", ["batch", "frames", "bins"])},
        {"w": np.eye(3, dtype=np.float32)},
    )
    with pytest.raises(NetError, match=r"^net 'toy': failed on x \[1, 2, 5\]: .*[Mm]at[Mm]ul"):
        net.run({"x": np.zeros((2, 5), np.float32)})


def test_a_tensor_that_the_net_does_not_take_is_refused_before_it_runs(double):
    with pytest.raises(NetError, match=r"^net 'toy': x: got dtype float64, want float32$"):
        double.run({"x": np.zeros((2, 3))})


def test_many_threads_share_one_session(double):
    def work(number: int) -> bool:
        results = [double.run(frames(1 + number % 7, number))["y"] for _ in range(50)]
        return all((result == 2 * number).all() and len(result) == 1 + number % 7 for result in results)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_a_run_in_flight_stops_when_its_scope_is_cancelled(forever):
    scope = CancelScope()
    timer = threading.Timer(0.1, scope.cancel)
    timer.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        # Years of steps: only the cancel can end it.
        forever.run({"x": np.array(0, np.float32), "steps": np.array(1 << 60)})
    timer.join()


def test_a_cancelled_scope_stops_every_run_of_its_own_and_no_other(forever):
    scope, other = CancelScope(), CancelScope()
    steps = {"x": np.array(0, np.float32), "steps": np.array(1 << 60)}
    few = {**steps, "steps": np.array(1000)}

    def run(inside, tensors):
        with inside.active():
            return forever.run(tensors)

    with ThreadPoolExecutor(3) as pool:
        endless = [pool.submit(run, scope, steps) for _ in range(2)]
        assert pool.submit(run, other, few).result()["y"] == 1000
        scope.cancel()
        assert [type(future.exception(timeout=60)) for future in endless] == [Cancelled, Cancelled]
    assert run(other, few)["y"] == 1000


def test_nothing_starts_in_a_cancelled_scope(double):
    scope = CancelScope()
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        double.run(frames(1))


def test_a_run_that_fails_in_a_living_scope_is_a_failure_not_a_cancel(onnx_net):
    net = onnx_net(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        {"x": ("float32", ["frames"])},
        {"y": ("float32", ["frames"])},
        {"shape": np.array([7])},
    )
    with CancelScope().active(), pytest.raises(NetError, match=r"^net 'toy': failed on x "):
        net.run({"x": np.zeros(3, np.float32)})


# Recurrent nets

F = "float32"
GRU_LIKE = [
    helper.make_node("MatMul", ["h", "w"], ["hw"]),
    helper.make_node("Add", ["hw", "x"], ["sum"]),
    helper.make_node("Tanh", ["sum"], ["h_next"]),
    helper.make_node("Mul", ["h_next", "scale"], ["y"]),
]
WEIGHTS = np.random.default_rng(5).standard_normal((4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def cell(onnx_net):
    """A net that folds `x` into its state `h` each step, and shows it `scale` times as great."""
    row = (F, ["batch", 4])
    return onnx_net(
        GRU_LIKE,
        {"x": row, "scale": (F, []), "h": row},
        {"y": row, "h_next": row},
        {"w": WEIGHTS},
        state={"h": "h_next"},
    )


@pytest.fixture(scope="module")
def cache(onnx_net):
    """A net that keeps all rows that it was ever given, and shows their sum and their number."""
    return onnx_net(
        [
            helper.make_node("Concat", ["keys", "row"], ["keys_next"], axis=1),
            helper.make_node("ReduceSum", ["keys_next", "past_axis"], ["sum"], keepdims=0),
            helper.make_node("Shape", ["keys_next"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["rows"]),
        ],
        {"row": (F, ["batch", 1, 3]), "keys": (F, ["batch", "past", 3])},
        {"sum": (F, ["batch", 3]), "rows": ("int64", []), "keys_next": (F, ["batch", "now", 3])},
        {"past_axis": np.array([1]), "one": np.array(1)},
        state={"keys": "keys_next"},
    )


def inputs_of(steps: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rows = np.random.default_rng(seed).standard_normal((steps, 4)).astype(np.float32)
    return [{"x": row} for row in rows]


def walked(net, begin, steps) -> np.ndarray:
    walk = net.begin(begin)
    return np.stack([walk.step(step)["y"] for step in steps])


def row(value: float) -> dict[str, np.ndarray]:
    return {"row": np.full((1, 3), value, np.float32)}


def test_steps_are_the_net_run_on_its_own_last_state(cell):
    """Bit for bit: the loop is that of numpy, the net inside it the same."""
    scale = {"scale": np.array(2, np.float32)}
    h = np.zeros(4, np.float32)
    wanted = []
    for step in inputs_of(20):
        result = cell.run({**step, **scale, "h": h})
        h = result["h_next"]
        wanted.append(result["y"])
    np.testing.assert_array_equal(walked(cell, scale, inputs_of(20)), np.stack(wanted))


def test_steps_are_what_numpy_says_they_are(cell):
    h = np.zeros(4, np.float32)
    for step, got in zip(
        inputs_of(20), walked(cell, {"scale": np.array(2, np.float32)}, inputs_of(20)), strict=True
    ):
        h = np.tanh(h @ WEIGHTS + step["x"])
        np.testing.assert_allclose(got, 2 * h, atol=1e-5)


def test_state_begins_with_what_the_utterance_gives_of_its_name(cell):
    begin = {"scale": np.array(1, np.float32), "h": np.ones(4, np.float32)}
    step = {"x": np.zeros(4, np.float32)}
    np.testing.assert_allclose(cell.begin(begin).step(step)["y"], np.tanh(WEIGHTS.sum(0)), atol=1e-6)


def test_a_step_gives_what_the_net_shows_and_no_state(cell):
    walk = cell.begin({"scale": np.array(1, np.float32)})
    result = walk.step(inputs_of(1)[0])
    assert set(result) == {"y"}
    assert result["y"].shape == (4,)


def test_what_begin_was_not_given_is_given_in_each_step(cell):
    scales = [np.array(1, np.float32), np.array(3, np.float32)]
    [step] = inputs_of(1)
    small, great = (cell.begin({}).step({**step, "scale": scale})["y"] for scale in scales)
    np.testing.assert_allclose(3 * small, great, rtol=1e-6)


def test_a_cache_grows_from_nothing(cache):
    walk = cache.begin({})
    for number in range(1, 30):
        result = walk.step(row(number))
        assert result["rows"] == number
        np.testing.assert_array_equal(result["sum"], [number * (number + 1) / 2] * 3)


def test_a_cache_may_begin_with_what_an_encoder_gave(cache):
    walk = cache.begin({"keys": np.full((5, 3), 10, np.float32)})
    result = walk.step(row(1))
    assert result["rows"] == 6
    np.testing.assert_array_equal(result["sum"], [51, 51, 51])


def test_two_walks_read_in_turn_share_no_state(cell, cache):
    scale = {"scale": np.array(1, np.float32)}
    alone = [walked(cell, scale, inputs_of(10, seed)) for seed in (1, 2)]
    walks = [cell.begin(scale) for _ in range(2)]
    together = [[], []]
    for steps in zip(inputs_of(10, 1), inputs_of(10, 2), strict=True):
        for place, step in enumerate(steps):
            together[place].append(walks[place].step(step)["y"])
    np.testing.assert_array_equal(together, alone)
    one, two = cache.begin({}), cache.begin({})
    one.step(row(1))
    assert (two.step(row(1))["rows"], one.step(row(1))["rows"]) == (1, 2)


def test_many_walks_at_once_in_many_threads_share_no_state(cell):
    scale = {"scale": np.array(1, np.float32)}
    alone = [walked(cell, scale, inputs_of(50, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: walked(cell, scale, inputs_of(50, seed)), range(8)))
    np.testing.assert_array_equal(together, alone)


def test_a_result_stays_as_it_was_while_the_walk_goes_on(cell):
    walk = cell.begin({"scale": np.array(1, np.float32)})
    first = walk.step(inputs_of(1)[0])["y"]
    kept = first.copy()
    for step in inputs_of(20):
        walk.step(step)
    walk.close()
    np.testing.assert_array_equal(first, kept)


def test_a_walk_keeps_its_own_copy_of_what_it_began_with(cell, cache):
    scale = np.array(1, np.float32)
    walk = cell.begin({"scale": scale})
    scale[...] = 100
    assert np.abs(walk.step(inputs_of(1)[0])["y"]).max() <= 1
    keys = np.ones((2, 3), np.float32)
    grown = cache.begin({"keys": keys})
    keys[...] = 100
    np.testing.assert_array_equal(grown.step(row(1))["sum"], [3, 3, 3])


@pytest.mark.parametrize("after", ["h", "h_next"])
def test_state_that_a_step_passes_through_outlives_what_it_came_from(onnx_net, after):
    """An output that is an input lies in the input's memory: a borrowed one was read after it was freed."""
    wide = (F, ["batch", "frames"])
    nodes = [helper.make_node("Add", ["x", "h"], ["y"])]
    if after != "h":
        nodes.append(helper.make_node("Identity", ["h"], [after]))
    net = onnx_net(nodes, {"x": wide, "h": wide}, {"y": wide, after: wide}, state={"h": after})
    walk = net.begin({"h": np.arange(500_000, dtype=np.float32)})
    for _ in range(4):
        result = walk.step({"x": np.zeros(500_000, np.float32)})["y"]
        np.testing.assert_array_equal(result, np.arange(500_000))


@pytest.mark.parametrize("dtype", ["float16", "int64", "bool"])
def test_state_may_be_of_any_dtype(onnx_net, dtype):
    tensor = (dtype, ["batch", 2])
    net = onnx_net(
        [helper.make_node("Identity", ["h"], ["y"]), helper.make_node("Identity", ["x"], ["h_next"])],
        {"x": tensor, "h": tensor},
        {"y": tensor, "h_next": tensor},
        state={"h": "h_next"},
    )
    walk = net.begin({})
    ones = np.ones(2, dtype)
    assert not walk.step({"x": ones})["y"].any()
    assert walk.step({"x": ones})["y"].all()


def test_a_step_that_fails_leaves_the_walk_where_it_was(cell):
    scale = {"scale": np.array(1, np.float32)}
    walk = cell.begin(scale)
    one, two = inputs_of(2)
    first = walk.step(one)["y"]
    with pytest.raises(NetError):
        walk.step({"x": np.zeros(5, np.float32)})
    np.testing.assert_array_equal([first, walk.step(two)["y"]], walked(cell, scale, [one, two]))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({}, "net 'toy': input 'x' is missing; got []"),
        ({"X": np.zeros(4, np.float32)}, "net 'toy': input 'x' is missing; got ['X']"),
        ({"x": np.zeros(5, np.float32)}, "net 'toy': x: got shape [5], want [4]"),
        ({"x": np.zeros((1, 4), np.float32)}, "net 'toy': x: got shape [1, 4], want [4]"),
        ({"x": np.zeros(4)}, "net 'toy': x: got dtype float64, want float32"),
    ],
)
def test_a_step_refuses_what_the_net_cannot_take(cell, step, message):
    with pytest.raises(NetError) as caught:
        cell.begin({"scale": np.array(1, np.float32)}).step(step)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        ({"scale": np.ones(2, np.float32)}, "net 'toy': scale: got shape [2], want []"),
        ({"scale": np.array(1.0)}, "net 'toy': scale: got dtype float64, want float32"),
        ({"h": np.zeros((1, 4), np.float32)}, "net 'toy': h: got shape [1, 4], want [4]"),
    ],
)
def test_begin_refuses_what_the_net_cannot_take(cell, begin, message):
    with pytest.raises(NetError) as caught:
        cell.begin(begin)
    assert str(caught.value) == message


def test_a_net_that_fails_in_a_step_says_on_what(onnx_net):
    tensor = (F, ["batch", "frames"])
    net = onnx_net(
        [helper.make_node("Add", ["x", "h"], ["h_next"]), helper.make_node("Neg", ["h_next"], ["y"])],
        {"x": tensor, "h": tensor},
        {"y": tensor, "h_next": tensor},
        state={"h": "h_next"},
    )
    walk = net.begin({"h": np.zeros(3, np.float32)})
    with pytest.raises(NetError, match=r"^net 'toy': failed on h \[1, 3\], x \[1, 2\]: .*Add"):
        walk.step({"x": np.zeros(2, np.float32)})


def test_a_closed_walk_takes_no_step_and_may_be_closed_again(cell):
    walk, other = (cell.begin({"scale": np.array(1, np.float32)}) for _ in range(2))
    [step] = inputs_of(1)
    walk.step(step)
    walk.close()
    walk.close()
    with pytest.raises(Cancelled, match=r"^step after close$"):
        walk.step(step)
    other.step(step)


@pytest.fixture(scope="module")
def endless(onnx_net, counting):
    """A net whose step counts `steps` times, one operator call each, and keeps the sum as its state."""
    return onnx_net(
        [
            helper.make_node("Loop", ["steps", "yes", "sum"], ["sum_next"], body=counting),
            helper.make_node("Identity", ["sum_next"], ["y"]),
        ],
        {"steps": ("int64", []), "sum": (F, [])},
        {"y": (F, []), "sum_next": (F, [])},
        {"yes": np.array(True)},
        state={"sum": "sum_next"},
    )


def test_a_step_in_flight_stops_when_its_scope_is_cancelled(endless):
    scope = CancelScope()
    walk = endless.begin({})
    assert walk.step({"steps": np.array(7)})["y"] == 7
    timer = threading.Timer(0.1, scope.cancel)
    timer.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        walk.step({"steps": np.array(1 << 60)})
    timer.join()


def test_no_step_begins_in_a_cancelled_scope(endless):
    scope = CancelScope()
    walk = endless.begin({})
    with scope.active():
        walk.step({"steps": np.array(1)})
        scope.cancel()
        with pytest.raises(Cancelled, match=r"^the stream was closed$"):
            walk.step({"steps": np.array(1)})
    assert walk.step({"steps": np.array(2)})["y"] == 3
