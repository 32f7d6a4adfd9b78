"""ONNX Runtime: threads as said, nothing that spins, names checked, a run in flight that can be stopped."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.nets import NetSpec, TensorSpec
from voxstack.runtimes.ort import OrtRuntime

pytestmark = pytest.mark.unit

WIDE = ("float32", ["batch", 3, "frames"])
DOUBLE = [helper.make_node("Add", ["x", "x"], ["y"])]


@pytest.fixture(scope="module")
def double(onnx_net):
    return onnx_net(DOUBLE, {"x": WIDE}, {"y": WIDE})


@pytest.fixture(scope="module")
def forever(onnx_net):
    """A net that counts to a number that it will not reach, one operator call a step."""
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "one"], ["sum_next"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_next", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    return onnx_net(
        [helper.make_node("Loop", ["steps", "yes", "x"], ["y"], body=step)],
        {"x": ("float32", []), "steps": ("int64", [])},
        {"y": ("float32", [])},
        {"yes": np.array(True)},
    )


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
        runtime.load(wanted, data)
    return str(caught.value)


@pytest.fixture(scope="module")
def data(onnx_model) -> bytes:
    return onnx_model(DOUBLE, {"x": WIDE}, {"y": WIDE}).SerializeToString()


def test_a_net_runs_on_time_first_tensors_of_any_length(double):
    for steps in (1, 5, 2):
        np.testing.assert_array_equal(double.run(frames(steps))["y"], 2 * frames(steps)["x"])


def test_threads_are_as_said_and_nothing_spins(monkeypatch, data):
    seen = []
    real = onnxruntime.InferenceSession

    def session(model, options, providers):
        seen.append((options, providers))
        return real(model, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    net = OrtRuntime(threads=3).load(spec(["x"], ["y"]), data)
    options, providers = seen[0]
    assert options.intra_op_num_threads == net.threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert providers == ["CPUExecutionProvider"]


def test_it_reports_what_really_runs(double, onnx_net):
    assert double.runtime == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    assert double.precision == "float32"
    whole = onnx_net(
        [helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT64)], {"x": WIDE}, {"n": ("int64", WIDE[1])}
    )
    assert whole.precision == "float32"
    half = ("float16", WIDE[1])
    assert onnx_net([helper.make_node("Neg", ["x"], ["y"])], {"x": half}, {"y": half}).precision == "float16"


def test_an_unknown_provider_is_refused_with_those_that_are_there(data):
    usable = ", ".join(onnxruntime.get_available_providers())
    assert load_fault(ConfigError, OrtRuntime(provider="TPU"), spec(["x"], ["y"]), data) == (
        f"runtime onnxruntime: provider 'TPU' is not in this build; usable: {usable}"
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
