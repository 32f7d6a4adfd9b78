"""PyTorch: what is chosen is what runs, on any length or a fixed one; state stays; nothing is run in part."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from onnx import helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.executables import Choice
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.runtimes.named import choose_engine
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from voxstack.runtimes.torch import TorchExecutable, TorchRuntime  # noqa: E402 - behind the skip
from voxstack.runtimes.torch_nets.captures import Captured  # noqa: E402
from voxstack.testing.nets import open_net  # noqa: E402

pytestmark = pytest.mark.unit

F = "float32"
WIDE = (F, ["batch", 3, "frames"])
CONV = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1])]
RANDOM = np.random.default_rng(2)
W = {"w": RANDOM.standard_normal((3, 3, 3)).astype(np.float32)}
FIXED = ShapePolicy(Sizes((4, 8)))


def spec(inputs, outputs, state=None, ragged=None) -> NetSpec:
    def tensors(declared):
        return {name: TensorSpec(dtype, tuple(axes)) for name, (dtype, axes) in declared.items()}

    return NetSpec("toy", "nets/toy.onnx", "decoder", tensors(inputs), tensors(outputs), ragged, state or {})


@pytest.fixture(scope="module")
def conv(onnx_model):
    """A net of one convolution over frames: its spec and its file."""
    data = onnx_model(CONV, {"x": WIDE}, {"y": WIDE}, W).SerializeToString()
    return spec({"x": WIDE}, {"y": WIDE}, ragged=Ragged("frames", (1, 1))), data


def frames(steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((steps, 3)).astype(np.float32)}


def fault(error, call) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


# What is chosen


def test_a_profile_chooses_it_by_name():
    choice = Choice(device="cpu", precision="bf16", threads=3)
    assert choose_engine("torch", choice, where="test") == TorchRuntime(3, "cpu", "bf16")
    assert (TorchRuntime.name, TorchRuntime.needs_sizes, TorchRuntime.needs_artefact) == (
        "torch",
        False,
        False,
    )
    assert TorchRuntime.bound_to is None


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(device="gpu"), "got device 'gpu', want cpu, cuda or cuda:N"),
        (
            Choice(precision="int8"),
            "got precision 'int8', want f32, bf16, f16; nets in int8 run on onnxruntime",
        ),
        (Choice(options=(("graph", True),)), "no option 'graph'; did you mean 'graphs'?"),
        (Choice(options=(("graphs", "yes"),)), "option 'graphs': got 'yes', want true or false"),
        (Choice(options=(("graphs", True),)), "option 'graphs' needs a CUDA device, got device 'cpu'"),
    ],
)
def test_what_it_cannot_do_is_refused(choice, message):
    assert fault(ConfigError, lambda: TorchRuntime.choose(choice)) == f"runtime torch: {message}"


def test_a_device_that_is_not_there_is_refused_and_never_replaced(monkeypatch, conv):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = f"runtime torch: got device 'cuda', but torch {torch.__version__} finds no CUDA device here"
    assert fault(ConfigError, lambda: TorchRuntime.choose(Choice(device="cuda"))) == message
    assert fault(ConfigError, lambda: open_net(TorchRuntime(device="cuda"), *conv)) == message


def test_a_device_is_one_of_those_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    choice = Choice(device="cuda:1", options=(("graphs", True),))
    assert TorchRuntime.choose(choice) == TorchRuntime(1, "cuda:1", "f32", graphs=True)
    assert fault(ConfigError, lambda: TorchRuntime.choose(Choice(device="cuda:2"))) == (
        "runtime torch: got device 'cuda:2', but the last one here is cuda:1"
    )


def test_it_reports_what_really_runs(conv):
    net = open_net(TorchRuntime(precision="bf16"), *conv)
    assert (net.runtime, net.precision) == (f"torch {torch.__version__} cpu", "bf16")


def test_threads_are_as_said_and_the_caller_keeps_its_own(conv, monkeypatch):
    net = open_net(TorchRuntime(threads=2), *conv)
    seen = []
    run = net._any._run
    monkeypatch.setattr(net._any, "_run", lambda *x: (seen.append(torch.get_num_threads()), run(*x))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        net.run(frames(5))
        assert (seen, torch.get_num_threads()) == ([2], 3)
    finally:
        torch.set_num_threads(before)


def test_each_thread_runs_with_the_number_of_its_own_net(conv):
    """Torch's number is the process's and the thread's: it must be said where the net runs."""
    seen = {1: set(), 2: set()}
    nets = {threads: open_net(TorchRuntime(threads=threads), *conv) for threads in seen}
    for threads, net in nets.items():

        def noted(*x, run=net._any._run, threads=threads):
            seen[threads].add(torch.get_num_threads())
            return run(*x)

        net._any._run = noted
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: nets[1 + number % 2].run(frames(5)), range(200)))
    assert seen == {1: {1}, 2: {2}}


# What it computes


def test_a_net_runs_on_any_length_as_on_onnxruntime(conv):
    net, reference = open_net(TorchRuntime(), *conv), open_net(OrtRuntime(), *conv)
    for steps in (1, 5, 200):
        np.testing.assert_allclose(net.run(frames(steps))["y"], reference.run(frames(steps))["y"], atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("f16", 5e-3), ("bf16", 5e-2)])
def test_less_precision_rounds_inside_and_keeps_the_dtypes_outside(conv, precision, tolerance):
    result = open_net(TorchRuntime(precision=precision), *conv).run(frames(50))["y"]
    wanted = open_net(OrtRuntime(), *conv).run(frames(50))["y"]
    assert result.dtype == np.float32
    difference = np.abs(result - wanted).max()
    assert difference < tolerance
    assert precision == "f32" or difference > tolerance / 100


def test_whole_numbers_are_not_rounded_by_less_precision(onnx_model):
    declared = {"n": ("int64", ["frames"])}, {"m": ("int64", ["frames"])}
    data = onnx_model([helper.make_node("Add", ["n", "n"], ["m"])], *declared).SerializeToString()
    net = open_net(TorchRuntime(precision="bf16"), spec(*declared), data)
    assert net.run({"n": np.array([100_001])})["m"].tolist() == [200_002]


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_halves_go_in_and_come_out_as_the_addon_says(onnx_model, precision):
    half = {"x": ("float16", ["frames"])}, {"y": ("float16", ["frames"])}
    data = onnx_model([helper.make_node("Neg", ["x"], ["y"])], *half).SerializeToString()
    result = open_net(TorchRuntime(precision=precision), spec(*half), data).run(
        {"x": np.ones(3, np.float16)}
    )["y"]
    assert (result.dtype, result.tolist()) == (np.float16, [-1, -1, -1])


def test_what_comes_out_shares_no_memory_with_what_went_in_or_with_weights(onnx_model):
    wide = (F, ["frames"])
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["w"], ["z"])]
    declared = {"x": wide}, {"y": wide, "z": wide}
    data = onnx_model(nodes, *declared, {"w": np.ones(100, np.float32)}).SerializeToString()
    net = open_net(TorchRuntime(), spec(*declared), data)
    x = np.zeros(5, np.float32)
    result = net.run({"x": x})
    result["y"][...] = result["z"][...] = 7
    assert not x.any()
    assert net.run({"x": x})["z"].tolist() == [1] * 100


def test_an_array_that_may_not_be_written_is_read(conv):
    tensors = frames(5)
    tensors["x"].flags.writeable = False
    np.testing.assert_array_equal(open_net(TorchRuntime(), *conv).run(tensors)["y"].shape, (5, 3))


@pytest.mark.parametrize("kind", ["two", "chain", "attention", "vocoder"])
def test_the_toy_nets_are_those_of_onnxruntime(tone, kind):
    addon = load_addon(tone(kind))
    for name, net in addon.specs.items():
        data = addon.read(net.file)
        sizes = {
            **{a: 20 for t in net.inputs.values() for a in t.axes if isinstance(a, str)},
            "batch": 1,
        }
        feeds = {
            key: (
                RANDOM.integers(1, 10, shape) if t.dtype.startswith("int") else RANDOM.random(shape)
            ).astype(t.dtype)
            for key, t in net.inputs.items()
            for shape in [[sizes.get(axis, axis) for axis in t.axes]]
        }
        wanted = OrtRuntime().build(net, data, {}).run(feeds)
        got = TorchRuntime().build(net, data, {}).run(feeds)
        for key, want in wanted.items():
            np.testing.assert_allclose(got[key], want, rtol=1e-5, atol=1e-5, err_msg=f"{name}.{key}")


# Errors


def test_errors_of_a_file_say_which_net(conv):
    declared, data = conv
    assert fault(NetError, lambda: open_net(TorchRuntime(), spec({"mel": WIDE}, {"y": WIDE}), data)) == (
        "net 'toy': addon.json names the inputs ['mel'], the file has ['x']"
    )
    assert fault(NetError, lambda: open_net(TorchRuntime(), declared, b"garbage")).startswith(
        "net 'toy': cannot be loaded: "
    )


def test_an_operator_that_it_lacks_is_named_with_the_net(onnx_model):
    square = {"x": (F, ["frames", "frames"])}, {"y": (F, [])}
    data = onnx_model([helper.make_node("Det", ["x"], ["y"])], *square).SerializeToString()
    assert fault(NetError, lambda: open_net(TorchRuntime(), spec(*square), data)) == (
        "net 'toy': needs operators that the runtime torch does not have: Det; run it on onnxruntime"
    )


def test_a_run_that_fails_says_on_what_and_where(onnx_model):
    bins = (F, ["batch", "frames", "bins"])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    data = onnx_model(nodes, {"x": bins}, {"y": bins}, {"w": np.eye(3, dtype=np.float32)}).SerializeToString()
    net = open_net(TorchRuntime(), spec({"x": bins}, {"y": bins}), data)
    told = fault(NetError, lambda: net.run({"x": np.zeros((2, 5), np.float32)}))
    assert told.startswith("net 'toy': failed on x [1, 2, 5]: MatMul 'y': ")
    assert "\n" not in told


# Fixed sizes and programs


def test_a_net_of_fixed_sizes_refuses_others(conv):
    net = open_net(TorchRuntime(), *conv, FIXED)
    np.testing.assert_array_equal(
        net.run(frames(8))["y"], open_net(TorchRuntime(), *conv).run(frames(8))["y"]
    )
    executable = TorchRuntime().build(*conv, {"batch": 1, "frames": 8})
    assert fault(NetError, lambda: executable.run({"x": np.zeros((1, 3, 9), np.float32)})) == (
        "net 'toy': was compiled for x [1, 3, 8], got [1, 3, 9]"
    )


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16"])
def test_a_net_compiled_ahead_of_time_is_the_net(conv, precision):
    declared, data = conv
    engine, axes = TorchRuntime(precision=precision), {"batch": 1, "frames": 8}
    artefact = engine.compile(declared, data, axes)
    feeds = {"x": frames(8)["x"].T[None].copy()}
    got, wanted = (
        made.run(feeds)["y"]
        for made in (engine.restore(declared, artefact, axes), engine.build(declared, data, axes))
    )
    np.testing.assert_array_equal(got, wanted)
    assert fault(
        NetError, lambda: engine.restore(declared, artefact, axes).run({"x": np.zeros((1, 3, 9), np.float32)})
    ) == ("net 'toy': was compiled for x [1, 3, 8], got [1, 3, 9]")


def test_nothing_is_exported_while_a_program_is_made_ready(conv, monkeypatch):
    artefact = TorchRuntime().compile(*conv, {"batch": 1, "frames": 8})
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("it was compiled"))
    TorchRuntime().restore(conv[0], artefact, {"batch": 1, "frames": 8})


def test_where_a_size_is_free_the_file_itself_is_what_is_kept(conv):
    artefact = TorchRuntime().compile(*conv, {})
    assert artefact == conv[1]
    net = TorchRuntime().restore(conv[0], artefact, {})
    assert net.run({"x": np.zeros((1, 3, 17), np.float32)})["y"].shape == (1, 3, 17)


def test_a_net_without_a_free_size_has_a_program_that_is_json_and_tensors(onnx_model):
    row = {"x": (F, ["batch", 4])}, {"y": (F, ["batch", 4])}
    data = onnx_model([helper.make_node("Exp", ["x"], ["y"])], *row).SerializeToString()
    artefact = TorchRuntime().compile(spec(*row), data, {})
    assert json.dumps("aten.exp.default").encode()[1:-1] in artefact
    got = TorchRuntime().restore(spec(*row), artefact, {}).run({"x": np.zeros((1, 4), np.float32)})["y"]
    assert got.tolist() == [[1, 1, 1, 1]]


def test_a_mask_and_lengths_are_those_of_a_whole_utterance_when_a_net_is_compiled(onnx_model):
    """A net must be able to run on what it is compiled with: no row without a step, no length of zero."""
    declared = (
        {"x": (F, ["batch", "frames"]), "mask": (F, ["batch", "frames"]), "lengths": ("int64", ["batch"])},
        {"y": (F, ["batch", "frames"])},
    )
    nodes = [
        helper.make_node("Mul", ["x", "mask"], ["a"]),
        helper.make_node("Cast", ["lengths"], ["n"], to=1),
        helper.make_node("Div", ["a", "n"], ["y"]),
    ]
    data = onnx_model(nodes, *declared).SerializeToString()
    ragged = Ragged("frames", chunkable=False, mask="mask", lengths="lengths")
    axes, net = {"batch": 1, "frames": 4}, spec(*declared, ragged=ragged)
    executable = TorchRuntime().restore(net, TorchRuntime().compile(net, data, axes), axes)
    feeds = {"x": np.ones((1, 4)), "mask": np.array([[1, 1, 0, 0]]), "lengths": np.array([2])}
    feeds = {name: feeds[name].astype(net.inputs[name].dtype) for name in feeds}
    assert executable.run(feeds)["y"].tolist() == [[0.5, 0.5, 0, 0]]


def test_a_damaged_program_is_refused_by_name(conv):
    assert fault(NetError, lambda: TorchRuntime().restore(conv[0], b"PK\x03\x04", {"batch": 1})) == (
        "net 'toy': is no program that can be read: RuntimeError"
    )


def test_a_captured_net_is_the_net(conv):
    """As on CUDA, with a capture that computes on the CPU."""

    def capture(run):
        outputs = run()
        return lambda: [mine.copy_(new) for mine, new in zip(outputs, run(), strict=True)], outputs

    declared, data = conv
    eager = TorchRuntime().build(declared, data, {"batch": 1, "frames": 8})
    with torch.inference_mode():
        run = Captured(eager._run, [torch.zeros(1, 3, 8)], capture)
    captured = TorchExecutable(declared, run, TorchRuntime(), {"batch": 1, "frames": 8}, " as a graph")
    assert captured.runtime == f"torch {torch.__version__} cpu as a graph"
    feeds = [{"x": frames(8, seed)["x"].T[None].copy()} for seed in range(20)]
    wanted = [eager.run(feed)["y"] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(lambda feed: captured.run(feed)["y"], feeds)), wanted)


# Threads and cancelling


def test_many_threads_share_one_net(conv):
    net = open_net(TorchRuntime(), *conv)
    wanted = [net.run(frames(1 + number, number))["y"] for number in range(8)]

    def work(number: int) -> bool:
        return all((net.run(frames(1 + number, number))["y"] == wanted[number]).all() for _ in range(30))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_nothing_starts_in_a_cancelled_scope(conv):
    net, scope = open_net(TorchRuntime(), *conv), CancelScope()
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run(frames(1))
    net.run(frames(1))


def test_a_run_in_flight_stops_before_its_next_operator(onnx_model):
    """The net would multiply for minutes; each product is short."""
    names = ["x", *(f"t{number}" for number in range(20_000)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    square = (F, ["frames", 400])
    data = onnx_model(nodes, {"x": square}, {"y": square}, {"w": np.eye(400, dtype=np.float32)})
    net = open_net(TorchRuntime(), spec({"x": square}, {"y": square}), data.SerializeToString())
    scope = CancelScope()
    timer = threading.Timer(0.1, scope.cancel)
    timer.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run({"x": np.zeros((4000, 400), np.float32)})
    timer.join()


# Recurrent nets

CELL = [
    helper.make_node("MatMul", ["h", "w"], ["hw"]),
    helper.make_node("Add", ["hw", "x"], ["sum"]),
    helper.make_node("Tanh", ["sum"], ["h_next"]),
    helper.make_node("Mul", ["h_next", "scale"], ["y"]),
]
ROW = (F, ["batch", 4])
WEIGHTS = RANDOM.standard_normal((4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def cell(onnx_model):
    """A net that folds `x` into its state `h` each step, and shows it `scale` times as great."""
    declared = {"x": ROW, "scale": (F, []), "h": ROW}, {"y": ROW, "h_next": ROW}
    data = onnx_model(CELL, *declared, {"w": WEIGHTS}).SerializeToString()
    return spec(*declared, state={"h": "h_next"}), data


@pytest.fixture(scope="module")
def cache(onnx_model):
    """A net that keeps all rows that it was ever given, and shows their sum and their number."""
    declared = (
        {"row": (F, ["batch", 1, 3]), "keys": (F, ["batch", "past", 3])},
        {"sum": (F, ["batch", 3]), "rows": ("int64", []), "keys_next": (F, ["batch", "now", 3])},
    )
    nodes = [
        helper.make_node("Concat", ["keys", "row"], ["keys_next"], axis=1),
        helper.make_node("ReduceSum", ["keys_next", "past_axis"], ["sum"], keepdims=0),
        helper.make_node("Shape", ["keys_next"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["rows"]),
    ]
    constants = {"past_axis": np.array([1]), "one": np.array(1)}
    data = onnx_model(nodes, *declared, constants).SerializeToString()
    return open_net(TorchRuntime(), spec(*declared, state={"keys": "keys_next"}), data)


def steps_of(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rows = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return [{"x": row} for row in rows]


def walked(net, steps) -> np.ndarray:
    walk = net.begin({"scale": np.array(2, np.float32)})
    return np.stack([walk.step(step)["y"] for step in steps])


def test_steps_are_what_numpy_says_they_are(cell):
    h = np.zeros(4, np.float32)
    for step, got in zip(steps_of(20), walked(open_net(TorchRuntime(), *cell), steps_of(20)), strict=True):
        h = np.tanh(h @ WEIGHTS + step["x"])
        np.testing.assert_allclose(got, 2 * h, atol=1e-5)


def test_state_stays_a_tensor_of_torch(cell):
    walk = open_net(TorchRuntime(), *cell).begin({"scale": np.array(1, np.float32)})
    walk.step(steps_of(1)[0])
    assert {name: type(value) for name, value in walk.place.state.items()} == {"h": torch.Tensor}


def test_a_cell_compiled_ahead_of_time_makes_the_same_steps(cell):
    declared, data = cell
    restored = TorchRuntime().restore(declared, TorchRuntime().compile(declared, data, {}), {})
    feeds = {
        "x": np.ones((1, 4), np.float32),
        "scale": np.array(2, np.float32),
        "h": np.ones((1, 4), np.float32),
    }
    wanted = TorchRuntime().build(declared, data, {}).run(feeds)
    for name, got in restored.run(feeds).items():
        np.testing.assert_array_equal(got, wanted[name])


def test_a_cache_grows_from_nothing_and_two_do_not_disturb_each_other(cache):
    one, two = cache.begin({}), cache.begin({})
    for number in range(1, 20):
        result = one.step({"row": np.full((1, 3), number, np.float32)})
        assert result["rows"] == number
        np.testing.assert_array_equal(result["sum"], [number * (number + 1) / 2] * 3)
    assert two.step({"row": np.zeros((1, 3), np.float32)})["rows"] == 1


def test_many_walks_at_once_share_no_state(cell):
    net = open_net(TorchRuntime(), *cell)
    alone = [walked(net, steps_of(30, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: walked(net, steps_of(30, seed)), range(8)))
    np.testing.assert_array_equal(together, alone)


def test_a_walk_keeps_its_own_copy_of_what_it_began_with_and_gives_copies(cell):
    scale = np.array(1, np.float32)
    walk = open_net(TorchRuntime(), *cell).begin({"scale": scale})
    scale[...] = 100
    first = walk.step(steps_of(1)[0])["y"]
    assert np.abs(first).max() <= 1
    kept = first.copy()
    walk.step(steps_of(1)[0])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("dtype", ["float16", "int64", "bool"])
def test_state_may_be_of_any_dtype_and_pass_through(onnx_model, dtype):
    two = (dtype, ["batch", 2])
    declared = {"x": two, "h": two}, {"y": two, "h_next": two}
    nodes = [helper.make_node("Identity", ["h"], ["y"]), helper.make_node("Identity", ["x"], ["h_next"])]
    data = onnx_model(nodes, *declared).SerializeToString()
    walk = open_net(TorchRuntime(), spec(*declared, state={"h": "h_next"}), data).begin({})
    assert not walk.step({"x": np.ones(2, dtype)})["y"].any()
    assert walk.step({"x": np.ones(2, dtype)})["y"].all()


def test_a_step_that_fails_leaves_the_walk_where_it_was(cell):
    net = open_net(TorchRuntime(), *cell)
    walk = net.begin({"scale": np.array(2, np.float32)})
    one, two = steps_of(2)
    first = walk.step(one)["y"]
    with pytest.raises(NetError):
        walk.step({"x": np.zeros(5, np.float32)})
    np.testing.assert_array_equal([first, walk.step(two)["y"]], walked(net, [one, two]))
