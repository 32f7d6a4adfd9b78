"""OpenVINO: what it would choose is pinned, what it would compute wrongly is refused, no report is sent."""

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.executables import Choice
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.unit

runtime_module = pytest.importorskip("voxstack.runtimes.openvino", reason="OpenVINO is not installed")
OpenVinoRuntime, core, openvino = runtime_module.OpenVinoRuntime, runtime_module.core, runtime_module.ov

F = "float32"
WIDE = (F, ["batch", 3, "frames"])
DOUBLE = [helper.make_node("Add", ["x", "x"], ["y"])]
FIXED = {"batch": 1, "frames": 8}
HAS_BF16 = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
NAME = openvino.get_version().partition("-")[0]


def spec_of(inputs, outputs, state=None) -> NetSpec:
    def tensors(named):
        return {name: TensorSpec(dtype, tuple(axes)) for name, (dtype, axes) in named.items()}

    return NetSpec("toy", "nets/toy.onnx", "decoder", tensors(inputs), tensors(outputs), state=state or {})


@pytest.fixture(scope="module")
def make(onnx_model):
    """Return what makes a net on OpenVINO: make(nodes, inputs, outputs, constants, axes, runtime)."""

    def build(nodes, inputs, outputs, constants=None, *, axes=None, runtime=None):
        data = onnx_model(nodes, inputs, outputs, constants).SerializeToString()
        return (runtime or OpenVinoRuntime()).build(spec_of(inputs, outputs), data, axes or {})

    return build


@pytest.fixture(scope="module")
def load(onnx_model):
    """Return what makes a net of blocks' tensors, with state."""

    def loaded(nodes, inputs, outputs, constants=None, state=None):
        data = onnx_model(nodes, inputs, outputs, constants).SerializeToString()
        return open_net(OpenVinoRuntime(), spec_of(inputs, outputs, state), data)

    return loaded


@pytest.fixture(scope="module")
def data(onnx_model) -> bytes:
    return onnx_model(DOUBLE, {"x": WIDE}, {"y": WIDE}).SerializeToString()


@pytest.fixture(scope="module")
def double(make):
    return make(DOUBLE, {"x": WIDE}, {"y": WIDE})


TOY = spec_of({"x": WIDE}, {"y": WIDE})


def frames(steps: int, value: float = 1.0, bands: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.full((1, bands, steps), value, np.float32)}


def fault(error, function, *arguments) -> str:
    with pytest.raises(error) as caught:
        function(*arguments)
    return str(caught.value)


def refusal(**chosen) -> str:
    return fault(ConfigError, OpenVinoRuntime.choose, Choice(**chosen))


# What is chosen is what runs


def test_a_net_runs_on_tensors_of_any_length(double):
    for steps in (1, 5, 2):
        np.testing.assert_array_equal(double.run(frames(steps))["y"], 2 * frames(steps)["x"])


def property_of(executable, name):
    return executable._compiled.net.get_property(name)


def test_threads_are_as_said_and_no_thread_is_tied_to_a_core(data):
    net = OpenVinoRuntime.choose(Choice(threads=2)).build(TOY, data, {})
    assert property_of(net, "INFERENCE_NUM_THREADS") == 2
    assert property_of(net, "NUM_STREAMS") == 1
    assert property_of(net, "ENABLE_CPU_PINNING") is False
    assert property_of(net, "PERFORMANCE_HINT").lower() == "latency"


def test_each_of_several_streams_has_its_threads(data):
    runtime = OpenVinoRuntime.choose(Choice(options=(("num_streams", 2),)))
    net = runtime.build(TOY, data, {})
    assert (property_of(net, "NUM_STREAMS"), property_of(net, "INFERENCE_NUM_THREADS")) == (2, 2)


def test_it_reports_what_really_runs(double):
    assert double.runtime == f"openvino {NAME} CPU"
    assert double.precision == "f32"
    assert OpenVinoRuntime().version == openvino.get_version()


def test_f32_is_pinned_where_openvino_would_take_bf16_by_itself(double, data):
    assert property_of(double, "INFERENCE_PRECISION_HINT") == openvino.Type.f32
    by_itself = core().compile_model(core().read_model(data), "CPU")
    expected = openvino.Type.bf16 if HAS_BF16 else openvino.Type.f32
    assert by_itself.get_property("INFERENCE_PRECISION_HINT") == expected


MANY = np.random.default_rng(3).standard_normal((256, 256)).astype(np.float32)
PRODUCT = [helper.make_node("MatMul", ["x", "w"], ["y"])]
ROWS = (F, ["batch", "frames", 256])


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")
def test_bf16_is_what_it_computes_in_where_that_is_asked_for(make):
    x = {"x": np.random.default_rng(4).standard_normal((1, 9, 256)).astype(np.float32)}
    exact = x["x"].astype(np.float64) @ MANY
    worst = {}
    for precision in ("f32", "bf16"):
        runtime = OpenVinoRuntime.choose(Choice(precision=precision))
        net = make(PRODUCT, {"x": ROWS}, {"y": ROWS}, {"w": MANY}, runtime=runtime)
        assert net.precision == precision
        worst[precision] = np.abs(net.run(x)["y"] - exact).max() / np.abs(exact).max()
    assert worst["f32"] < 1e-6 < 1e-4 < worst["bf16"] < 2e-2


def test_a_precision_that_is_not_the_one_asked_for_is_refused(data):
    for told, what in (
        ({"INFERENCE_PRECISION_HINT": openvino.Type.bf16}, "computes in bf16, not in f32"),
        ({"EXECUTION_DEVICES": ["CPU", "GPU.0"]}, "runs on CPU, GPU.0, not on CPU"),
    ):
        assert (
            fault(NetError, OpenVinoRuntime()._ready, TOY, lambda told=told: Impostor(data, **told))
            == f"net 'toy': {what}"
        )


class Impostor:
    """A compiled net that is not where it was told to be."""

    def __init__(self, data: bytes, **told):
        net = core().compile_model(core().read_model(data), "CPU")
        self.inputs, self.outputs = net.inputs, net.outputs
        self.told = {
            "INFERENCE_PRECISION_HINT": openvino.Type.f32,
            "EXECUTION_DEVICES": ["CPU"],
            **told,
        }

    def get_property(self, name):
        return self.told[name]


def quantised() -> tuple[list, dict]:
    """Return the nodes and constants of a convolution of which input and weights are in eight bits."""
    weights = np.random.default_rng(1).integers(-90, 90, (8, 8, 3)).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"], pads=[1, 1]),
    ]
    constants = {
        "x_scale": np.array(0.02, np.float32),
        "x_zero": np.array(128, np.uint8),
        "w": weights,
        "w_scale": np.full(8, 0.01, np.float32),
        "w_zero": np.zeros(8, np.int8),
    }
    return nodes, constants


EIGHT = (F, ["batch", 8, "frames"])


def test_int8_is_a_net_whose_file_is_quantised(make):
    nodes, constants = quantised()
    runtime = OpenVinoRuntime.choose(Choice(precision="int8"))
    net = make(nodes, {"x": EIGHT}, {"y": EIGHT}, constants, runtime=runtime)
    assert net.precision == "int8"
    assert np.isfinite(net.run(frames(20, 0.5, bands=8))["y"]).all()


@pytest.mark.parametrize(("can", "hint"), [(["INT8", "FP32", "BF16"], "bf16"), (["INT8", "FP32"], "f32")])
def test_beside_int8_a_net_computes_in_bfloat16_where_the_device_has_it(monkeypatch, can, hint):
    monkeypatch.setattr("voxstack.runtimes.openvino.core", lambda: Devices(CPU=can))
    config = OpenVinoRuntime.choose(Choice(precision="int8"))._config()
    assert config["INFERENCE_PRECISION_HINT"].get_type_name() == hint


def test_int8_of_a_net_that_is_not_quantised_is_refused(data):
    assert fault(NetError, OpenVinoRuntime(precision="int8").build, TOY, data, {}) == (
        "net 'toy': nothing of it computes in int8; want a file that was quantised with a calibration"
    )


# What cannot be chosen


def test_a_device_that_is_not_there_is_refused_with_those_that_are(data):
    there = ", ".join(core().available_devices).lower()
    for device in ("tpu", "gpu.7", "auto"):
        wanted = f"runtime openvino: got device '{device}'; there are: {there}"
        assert refusal(device=device) == wanted
        assert fault(ConfigError, OpenVinoRuntime(device=device.upper()).build, TOY, data, {}) == wanted


class Devices:
    """OpenVINO on a machine with other hardware."""

    def __init__(self, **capabilities):
        self.available_devices = [name.replace("_", ".") for name in capabilities]
        self.capabilities = {name.partition("_")[0]: can for name, can in capabilities.items()}

    def get_property(self, device, name):
        can = self.capabilities[device.partition(".")[0]]
        return can if name == "OPTIMIZATION_CAPABILITIES" else {"INFERENCE_PRECISION_HINT": "RW"}


def test_what_it_compiles_for_a_cpu_is_bound_to_all_that_the_cpu_can_for_other_devices_to_nothing():
    assert {"avx2", "avx512f", "amx_tile"} <= {*(OpenVinoRuntime().bound_to or ())}
    assert OpenVinoRuntime(device="GPU.1").bound_to is OpenVinoRuntime(device="NPU").bound_to is None


def test_devices_are_named_in_small_letters_and_one_of_several_by_its_number(monkeypatch):
    there = Devices(CPU=["FP32"], GPU_0=["FP32", "FP16"], GPU_1=["FP32", "FP16"], NPU=["FP16"])
    monkeypatch.setattr("voxstack.runtimes.openvino.core", lambda: there)
    assert OpenVinoRuntime.choose(Choice(device="gpu")).device == "GPU"
    assert OpenVinoRuntime.choose(Choice(device="gpu.1", precision="f16")).device == "GPU.1"
    assert not OpenVinoRuntime.choose(Choice(device="gpu.1", precision="f16")).needs_sizes
    assert OpenVinoRuntime.choose(Choice(device="npu", precision="f16")).needs_sizes
    assert refusal(device="npu", precision="f32") == (
        "runtime openvino: got precision 'f32', but device 'npu' computes in: f16"
    )
    assert refusal(device="npu", precision="f16", options=(("lock_sizes", False),)) == (
        "runtime openvino: got lock_sizes false, but device 'npu' needs every size fixed"
    )


def test_threads_are_not_set_where_a_device_has_none(monkeypatch):
    monkeypatch.setattr("voxstack.runtimes.openvino.core", lambda: Devices(GPU=["FP32"]))
    assert OpenVinoRuntime(device="GPU", threads=4)._config() == {
        "INFERENCE_PRECISION_HINT": openvino.Type.f32
    }


def test_a_processor_does_not_compute_in_f16():
    able = "f32, bf16, int8" if HAS_BF16 else "f32, int8"
    assert refusal(precision="f16") == (
        f"runtime openvino: got precision 'f16', but device 'cpu' computes in: {able}"
    )


def test_options_are_the_properties_of_openvino(data, tmp_path):
    cached = (("cache_dir", str(tmp_path)), ("perf_count", True))
    runtime = OpenVinoRuntime.choose(Choice(options=cached))
    assert runtime.options == (("CACHE_DIR", str(tmp_path)), ("PERF_COUNT", True))
    first = runtime.build(TOY, data, {})
    assert [path.suffix for path in tmp_path.iterdir()] == [".blob"]
    again = runtime.build(TOY, data, {})
    assert property_of(again, "LOADED_FROM_CACHE") is True
    assert property_of(first, "PERF_COUNT") == "YES"
    np.testing.assert_array_equal(again.run(frames(3))["y"], first.run(frames(3))["y"])


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cache_dri", "x", "device 'cpu' has no option 'cache_dri'; did you mean 'cache_dir'?"),
        ("full_device_name", "x", "device 'cpu' has no option 'full_device_name'; "),
        (
            "inference_num_threads",
            2,
            "got option 'inference_num_threads', but a profile states that as 'threads'",
        ),
        ("device_id", "1", "got option 'device_id', but a profile states that as 'device'"),
        ("num_streams", "many", "got 'many' for option 'num_streams', want 1 or more"),
        ("num_streams", 0, "got 0 for option 'num_streams', want 1 or more"),
        ("lock_sizes", "no", "got 'no' for option 'lock_sizes', want true or false"),
    ],
)
def test_an_option_that_there_is_not_is_refused(name, value, told):
    assert refusal(options=((name, value),)).startswith(f"runtime openvino: {told}")


def test_a_value_that_a_property_cannot_have_is_refused(data):
    runtime = OpenVinoRuntime.choose(Choice(options=(("tbb_partitioner", "x"),)))
    told = fault(NetError, runtime.build, TOY, data, {})
    assert told.startswith("net 'toy': cannot be compiled for CPU: Wrong value x")
    assert "\n" not in told


# What disagrees


def test_names_that_disagree_with_the_addon_are_refused(data):
    for inputs, outputs, told in (
        ({"hidden": WIDE}, {"y": WIDE}, "addon.json names the inputs ['hidden'], the file has ['x']"),
        (
            {"x": WIDE},
            {"mel": WIDE, "y": WIDE},
            "addon.json names the outputs ['mel', 'y'], the file has ['y']",
        ),
    ):
        assert (
            fault(NetError, OpenVinoRuntime().build, spec_of(inputs, outputs), data, {})
            == f"net 'toy': {told}"
        )


def test_another_dtype_or_size_than_the_addon_says_is_refused(data):
    whole = spec_of({"x": ("int64", WIDE[1])}, {"y": WIDE})
    assert fault(NetError, OpenVinoRuntime().build, whole, data, {}) == (
        "net 'toy': addon.json says that x is int64, in the file it is float32"
    )
    bands = spec_of({"x": (F, ["batch", 4, "frames"])}, {"y": WIDE})
    assert fault(NetError, OpenVinoRuntime().build, bands, data, {}) == (
        "net 'toy': x shall be [any, 4, any], the file has [any, 3, any]"
    )


@pytest.mark.parametrize("broken", [b"", b"garbage", b"\x3a\x02\x0a"])
def test_a_file_that_is_no_net_is_refused(broken):
    assert fault(NetError, OpenVinoRuntime().build, TOY, broken, {}) == (
        "net 'toy': cannot be loaded: Unable to read the model. Please check if the model format is "
        "supported and model is correct."
    )


# What OpenVINO would take, and compute something of


def test_a_net_of_fixed_sizes_refuses_all_others(make):
    net = make(DOUBLE, {"x": WIDE}, {"y": WIDE}, axes=FIXED)
    assert net.run(frames(8))["y"].shape == (1, 3, 8)
    assert (
        fault(NetError, net.run, frames(5)) == "net 'toy': x: got shape [1, 3, 5], was compiled for [1, 3, 8]"
    )
    assert fault(NetError, net.run, {"x": np.zeros((2, 3, 8), np.float32)}) == (
        "net 'toy': x: got shape [2, 3, 8], was compiled for [1, 3, 8]"
    )


def test_a_net_of_some_fixed_sizes_is_free_in_the_others(make):
    net = make(DOUBLE, {"x": WIDE}, {"y": WIDE}, axes={"batch": 1})
    assert [net.run(frames(steps))["y"].shape[2] for steps in (8, 5)] == [8, 5]
    assert fault(NetError, net.run, {"x": np.zeros((2, 3, 8), np.float32)}) == (
        "net 'toy': x: got shape [2, 3, 8], was compiled for [1, 3, any]"
    )


def test_a_net_of_free_sizes_refuses_what_cannot_be(double):
    """OpenVINO takes these, and gives one frame of three bands."""
    assert fault(NetError, double.run, frames(2, bands=4)) == (
        "net 'toy': x: got shape [1, 4, 2], was compiled for [any, 3, any]"
    )
    assert fault(NetError, double.run, {"x": np.zeros((2, 3), np.float32)}) == (
        "net 'toy': x: got shape [2, 3], was compiled for [any, 3, any]"
    )


def test_inputs_that_disagree_about_an_axis_are_refused(make):
    net = make(
        [helper.make_node("Add", ["x", "m"], ["y"])],
        {"x": WIDE, "m": (F, ["batch", 1, "frames"])},
        {"y": WIDE},
    )
    assert fault(NetError, net.run, {**frames(4), "m": np.ones((1, 1, 3), np.float32)}) == (
        "net 'toy': 'frames' is 3 steps long in 'm' but 4 in another input"
    )


def test_another_dtype_is_refused_not_converted(double):
    assert fault(NetError, double.run, {"x": np.zeros((1, 3, 2))}) == (
        "net 'toy': x: got dtype float64, want float32"
    )


def test_names_that_it_does_not_take_are_refused(double):
    assert fault(NetError, double.run, {"z": np.zeros(1, np.float32)}) == "net 'toy': takes ['x'], got ['z']"


def test_an_integer_that_would_lose_its_high_bits_is_refused(make):
    count = ("int64", ["n"])
    net = make([helper.make_node("Add", ["x", "x"], ["y"])], {"x": count}, {"y": count})
    np.testing.assert_array_equal(net.run({"x": np.array([7, -(1 << 30)])})["y"], [14, -(1 << 31)])
    for value in (1 << 31, -(1 << 31) - 1):
        assert fault(NetError, net.run, {"x": np.array([1, value])}) == (
            f"net 'toy': got the integer {value}, but OpenVINO computes int64 in 32 bits"
        )


@pytest.fixture(scope="module")
def sum_of(make):
    """A net that fails in its second node where `x` and `z` are not equally long."""
    row = (F, ["batch", 1, "frames"])
    return make(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1]),
            helper.make_node("Concat", ["h", "z"], ["hz"], axis=1),
            helper.make_node("Conv", ["hz", "v"], ["y"], pads=[1, 1]),
        ],
        {"x": row, "z": (F, ["batch", 1, "others"])},
        {"y": row},
        {"w": np.ones((1, 1, 3), np.float32), "v": np.ones((1, 2, 3), np.float32)},
    )


def rows(steps: int, others: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((1, 1, steps), np.float32), "z": np.ones((1, 1, others), np.float32)}


def test_a_run_that_fails_says_on_what(sum_of):
    with pytest.raises(
        NetError, match=r"^net 'toy': failed on x \[1, 1, 9\], z \[1, 1, 7\]: .*Concat"
    ) as caught:
        sum_of.run(rows(9, 7))
    assert "\n" not in str(caught.value)


def test_a_run_that_fails_spoils_no_later_one(sum_of):
    """OpenVINO itself then fails on, or answers with the shape of what failed, at the old length."""
    wanted = sum_of.run(rows(5, 5))["y"]
    for _ in range(2):
        with pytest.raises(NetError, match="failed on"):
            sum_of.run(rows(9, 7))
    np.testing.assert_array_equal(sum_of.run(rows(5, 5))["y"], wanted)


def test_runs_on_many_threads_are_right_though_others_fail(sum_of):
    wanted = {steps: sum_of.run(rows(steps, steps))["y"] for steps in (5, 6)}

    def work(number: int) -> bool:
        if number % 4 == 0:
            with pytest.raises(NetError, match="failed on"):
                sum_of.run(rows(9, 7))
            return True
        steps = 5 + number % 2
        return np.array_equal(sum_of.run(rows(steps, steps))["y"], wanted[steps])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(64)))


# Tensors


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int32", "bool"])
def test_tensors_of_each_dtype_pass_through_also_empty(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, kind, ["rows", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "toy", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = (dtype, ["rows", 2])
    net = OpenVinoRuntime().build(spec_of({"x": rows}, {"y": rows}), model.SerializeToString(), {})
    for tensor in (np.array([[1, 0], [0, 1]], dtype), np.zeros((0, 2), dtype)):
        result = net.run({"x": tensor})["y"]
        assert result.dtype == tensor.dtype
        np.testing.assert_array_equal(result, tensor)


def test_a_scalar_and_a_read_only_view_are_taken(make):
    net = make([helper.make_node("Mul", ["x", "s"], ["y"])], {"x": WIDE, "s": (F, [])}, {"y": WIDE})
    x = np.broadcast_to(np.float32(2), (1, 3, 4))
    np.testing.assert_array_equal(net.run({"x": x, "s": np.array(3, np.float32)})["y"], np.full((1, 3, 4), 6))


def test_what_is_no_number_comes_out_as_it_went_in(double):
    """A net that makes NaN must be noticed: nothing here turns it into silence."""
    x = np.zeros((1, 3, 4), np.float32)
    x[0, :, 0], x[0, 1, 1], x[0, 2, 2], x[0, 0, 3] = np.nan, np.inf, -np.inf, 1e-42
    np.testing.assert_array_equal(double.run({"x": x})["y"], 2 * x)


def test_a_result_stays_as_it_was_when_the_net_runs_again(double):
    first = double.run(frames(4, 1))["y"]
    double.run(frames(4, 9))
    np.testing.assert_array_equal(first, np.full((1, 3, 4), 2))


def test_a_value_shares_no_memory_with_its_array(double):
    array = np.ones((1, 3, 2), np.float32)
    value = double.value(array)
    array[:] = 7
    shown = double.array(value)
    np.testing.assert_array_equal(shown, np.ones((1, 3, 2)))
    result = double.run_values({"x": value})["y"]
    shown[:] = 7
    double.run(frames(2, 5))
    np.testing.assert_array_equal(double.array(result), np.full((1, 3, 2), 2))


# Many at once, and stopped


def test_many_threads_share_one_net(double):
    def work(number: int) -> bool:
        results = [double.run(frames(1 + number % 7, number))["y"] for _ in range(50)]
        return all((result == 2 * number).all() and result.shape[2] == 1 + number % 7 for result in results)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_many_threads_share_one_net_of_several_streams(data):
    net = OpenVinoRuntime.choose(Choice(options=(("num_streams", 4),))).build(TOY, data, {})
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: net.run(frames(5, number))["y"], range(64)))
    assert [result.max() for result in results] == [2 * number for number in range(64)]


LAYERS, LONG = 200, 4_000


@pytest.fixture(scope="module")
def deep(onnx_model):
    """Return what makes a net of many layers, free or of one length; the long one takes seconds."""
    names = ["x", *(f"h{layer}" for layer in range(LAYERS - 1)), "y"]
    nodes = [
        helper.make_node("Conv", [before, "w"], [after], pads=[8, 8])
        for before, after in itertools.pairwise(names)
    ]
    tensor = (F, ["batch", 64, "frames"])
    weights = np.random.default_rng(0).standard_normal((64, 64, 17)).astype(np.float32) / 33
    data = onnx_model(nodes, {"x": tensor}, {"y": tensor}, {"w": weights}).SerializeToString()
    spec = spec_of({"x": tensor}, {"y": tensor})
    return lambda axes: OpenVinoRuntime().build(spec, data, axes)


@pytest.fixture(scope="module")
def fixed(deep):
    return deep({"batch": 1, "frames": LONG})


def long(steps: int = LONG) -> dict[str, np.ndarray]:
    return {"x": np.ones((1, 64, steps), np.float32)}


@pytest.fixture
def waits(monkeypatch):
    """Record how each wait for a run ended; `began` is set when the first one begins."""
    ended, began, wait = [], threading.Event(), openvino.InferRequest.wait

    def waiting(request):
        began.set()
        try:
            wait(request)
        except RuntimeError:
            ended.append("stopped")
            raise
        ended.append("over")

    monkeypatch.setattr(openvino.InferRequest, "wait", waiting, raising=False)
    return ended, began


def cancelled_in_flight(net, feeds, began) -> None:
    scope = CancelScope()
    thread = threading.Thread(target=lambda: began.wait() and scope.cancel())
    thread.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run(feeds)
    thread.join()


def test_a_run_of_a_fixed_size_stops_in_flight_when_its_scope_is_cancelled(fixed, waits):
    ended, began = waits
    cancelled_in_flight(fixed, long(), began)
    assert ended == ["stopped"]


def test_a_run_of_a_free_size_ends_first_so_that_it_spoils_no_later_one(deep, waits):
    """Were it stopped, OpenVINO would answer the last run of four steps with two hundred."""
    ended, began = waits
    net = deep({})
    wanted = net.run(long(4))["y"]
    began.clear()
    cancelled_in_flight(net, long(200), began)
    np.testing.assert_array_equal(net.run(long(4))["y"], wanted)
    assert ended == ["over"] * 3


def test_a_cancelled_scope_stops_its_own_runs_and_no_other(fixed):
    scope, other = CancelScope(), CancelScope()

    def run(inside):
        with inside.active():
            return fixed.run(long())["y"].shape

    with ThreadPoolExecutor(3) as pool:
        stopped = [pool.submit(run, scope) for _ in range(2)]
        kept = pool.submit(run, other)
        scope.cancel()
        assert [type(future.exception(timeout=60)) for future in stopped] == [Cancelled, Cancelled]
        assert kept.result() == (1, 64, LONG)


def test_nothing_starts_in_a_cancelled_scope(double):
    scope = CancelScope()
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        double.run(frames(1))


def test_a_scope_that_is_cancelled_before_there_is_a_run_to_stop_stops_it(fixed, waits, monkeypatch):
    scope, start = CancelScope(), openvino.InferRequest.start_async

    def late(request, *arguments):
        scope.cancel()
        start(request, *arguments)

    monkeypatch.setattr(openvino.InferRequest, "start_async", late)
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        fixed.run(long())
    assert waits[0] == ["stopped"]


def test_a_device_that_cannot_stop_a_run_is_waited_for(make, monkeypatch):
    net = make(DOUBLE, {"x": WIDE}, {"y": WIDE}, axes=FIXED)
    scope, start = CancelScope(), openvino.InferRequest.start_async

    def late(request, *arguments):
        start(request, *arguments)
        scope.cancel()

    def cannot(request):
        raise RuntimeError("not implemented")

    monkeypatch.setattr(openvino.InferRequest, "start_async", late)
    monkeypatch.setattr(openvino.InferRequest, "cancel", cannot, raising=False)
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run(frames(8))


def test_a_loop_inside_a_net_ends_first_but_is_cancelled_all_the_same(make, counting):
    """OpenVINO looks for a stop between nodes, and a loop is one node."""
    loop = [helper.make_node("Loop", ["steps", "yes", "x"], ["y"], body=counting)]
    net = make(loop, {"x": (F, []), "steps": ("int64", [])}, {"y": (F, [])}, {"yes": np.array(True)})
    assert net.run({"x": np.array(0, np.float32), "steps": np.array(7)})["y"] == 7
    scope = CancelScope()
    timer = threading.Timer(0.05, scope.cancel)
    timer.start()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run({"x": np.array(0, np.float32), "steps": np.array(400_000)})
    timer.join()


def test_a_run_that_fails_in_a_living_scope_is_a_failure_not_a_cancel(sum_of):
    with CancelScope().active(), pytest.raises(NetError, match=r"^net 'toy': failed on x "):
        sum_of.run(rows(9, 7))


# Recurrent nets


GRU_LIKE = [
    helper.make_node("MatMul", ["h", "w"], ["hw"]),
    helper.make_node("Add", ["hw", "x"], ["sum"]),
    helper.make_node("Tanh", ["sum"], ["h_next"]),
    helper.make_node("Mul", ["h_next", "scale"], ["y"]),
]
WEIGHTS = np.random.default_rng(5).standard_normal((4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def cell(load):
    """A net that folds `x` into its state `h` each step, and shows it `scale` times as great."""
    row = (F, ["batch", 4])
    return load(
        GRU_LIKE,
        {"x": row, "scale": (F, []), "h": row},
        {"y": row, "h_next": row},
        {"w": WEIGHTS},
        {"h": "h_next"},
    )


@pytest.fixture(scope="module")
def cache(load):
    """A net that keeps all rows that it was ever given, and shows their sum and their number."""
    return load(
        [
            helper.make_node("Concat", ["keys", "row"], ["keys_next"], axis=1),
            helper.make_node("ReduceSum", ["keys_next", "past_axis"], ["sum"], keepdims=0),
            helper.make_node("Shape", ["keys_next"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["rows"]),
        ],
        {"row": (F, ["batch", 1, 3]), "keys": (F, ["batch", "past", 3])},
        {"sum": (F, ["batch", 3]), "rows": ("int64", []), "keys_next": (F, ["batch", "now", 3])},
        {"past_axis": np.array([1]), "one": np.array(1)},
        {"keys": "keys_next"},
    )


def inputs_of(steps: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rows = np.random.default_rng(seed).standard_normal((steps, 4)).astype(np.float32)
    return [{"x": row} for row in rows]


SCALE = {"scale": np.array(2, np.float32)}


def walked(net, steps) -> np.ndarray:
    walk = net.begin(SCALE)
    return np.stack([walk.step(step)["y"] for step in steps])


def test_steps_are_what_numpy_says_they_are(cell):
    h = np.zeros(4, np.float32)
    for step, got in zip(inputs_of(20), walked(cell, inputs_of(20)), strict=True):
        h = np.tanh(h @ WEIGHTS + step["x"])
        np.testing.assert_allclose(got, 2 * h, atol=1e-5)


def test_steps_are_the_net_run_on_its_own_last_state(cell):
    h, wanted = np.zeros(4, np.float32), []
    for step in inputs_of(20):
        result = cell.run({**step, **SCALE, "h": h})
        h = result["h_next"]
        wanted.append(result["y"])
    np.testing.assert_array_equal(walked(cell, inputs_of(20)), np.stack(wanted))


def test_a_cache_grows_from_nothing(cache):
    walk = cache.begin({})
    for number in range(1, 30):
        result = walk.step({"row": np.full((1, 3), number, np.float32)})
        assert result["rows"] == number
        np.testing.assert_array_equal(result["sum"], [number * (number + 1) / 2] * 3)


def test_many_walks_at_once_in_many_threads_share_no_state(cell):
    alone = [walked(cell, inputs_of(50, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: walked(cell, inputs_of(50, seed)), range(8)))
    np.testing.assert_array_equal(together, alone)


# Sizes and artefacts


POLICY = ShapePolicy(steps=Sizes(buckets=(8, 16)))
RAGGED = NetSpec("toy", "f", "decoder", TOY.inputs, TOY.outputs, Ragged("frames"))


def steps_of(count: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((count, 3), np.float32)}


@pytest.mark.parametrize("locks", [True, False])
def test_a_policy_of_sizes_is_kept_by_one_compiled_net_or_by_one_for_each(data, locks):
    runtime = OpenVinoRuntime.choose(Choice(options=(("lock_sizes", locks),)))
    net = open_net(runtime, RAGGED, data, POLICY)
    assert [net.run(steps_of(count))["y"].shape[0] for count in (8, 16)] == [8, 16]
    assert fault(NetError, net.run, steps_of(9)).startswith("net 'toy': was compiled for 8, 16 frames, got 9")
    assert len({id(one) for one in net._executables.values()}) == (2 if locks else 1)


@pytest.mark.parametrize("axes", [{}, FIXED], ids=["free", "fixed"])
def test_a_compiled_net_is_restored_as_it_was(data, axes):
    runtime = OpenVinoRuntime()
    artefact = runtime.compile(TOY, data, axes)
    assert isinstance(artefact, bytes)
    net = runtime.restore(TOY, artefact, axes)
    assert (net.runtime, net.precision) == (f"openvino {NAME} CPU", "f32")
    np.testing.assert_array_equal(net.run(frames(8))["y"], 2 * frames(8)["x"])
    if axes:
        assert fault(NetError, net.run, frames(9)) == (
            "net 'toy': x: got shape [1, 3, 9], was compiled for [1, 3, 8]"
        )


def test_a_compiled_net_is_restored_without_the_file_or_a_compiler(data, monkeypatch):
    artefact = OpenVinoRuntime().compile(TOY, data, FIXED)

    class Importing:
        def __getattr__(self, name):
            assert name in {"available_devices", "get_property", "import_model"}, f"{name} was called"
            return getattr(core(), name)

    monkeypatch.setattr("voxstack.runtimes.openvino.core", Importing)
    assert OpenVinoRuntime().restore(TOY, artefact, FIXED).run(frames(8))["y"].shape == (1, 3, 8)


def test_a_net_that_was_compiled_for_other_sizes_is_refused(data):
    artefact = OpenVinoRuntime().compile(TOY, data, FIXED)
    assert fault(NetError, OpenVinoRuntime().restore, TOY, artefact, {"batch": 1, "frames": 16}) == (
        "net 'toy': was compiled for x [1, 3, 8], not for [1, 3, 16]; compile it again"
    )


def test_a_compiled_net_of_another_version_or_processor_is_refused(data):
    artefact = OpenVinoRuntime().compile(TOY, data, FIXED)
    assert NAME.encode() in artefact
    older = artefact.replace(NAME.encode(), b"2025.1.0", 1)
    told = fault(NetError, OpenVinoRuntime().restore, TOY, older, FIXED)
    assert told.startswith(
        "net 'toy': cannot be restored on CPU: [CPU] Cannot import compiled blob: it was built for a "
        "different runtime configuration (OpenVINO version/isa mismatch)"
    )
    assert told.endswith("; compile it again, on this machine")
    assert "\n" not in told


@pytest.mark.parametrize("broken", [b"", b"garbage"])
def test_a_file_that_is_no_compiled_net_is_refused(broken):
    assert fault(NetError, OpenVinoRuntime().restore, TOY, broken, FIXED) == (
        "net 'toy': cannot be restored on CPU: [CPU] Cannot import compiled blob: failed to read minimal "
        "requirements header.; compile it again, on this machine"
    )


# What is told to others


QUIET = """
import socket, subprocess, sys, threading, urllib.request
def told(*arguments, **named):
    raise SystemExit(f"somebody is told: {arguments}")
socket.create_connection = socket.getaddrinfo = urllib.request.urlopen = subprocess.Popen = told
import voxstack.runtimes.openvino as runtime
import openvino
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")], "the reporter is loaded"
assert threading.active_count() == 1, threading.enumerate()
assert callable(openvino.convert_model)
"""


def test_the_import_sends_no_report():
    subprocess.run([sys.executable, "-W", "error", "-c", QUIET], check=True, timeout=60)


def test_the_reporter_is_left_to_whoever_loaded_it():
    code = "import sys; sys.modules['openvino_telemetry'] = kept = type(sys)('kept')\n"
    code += "import voxstack.runtimes.openvino\nassert sys.modules['openvino_telemetry'] is kept"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
