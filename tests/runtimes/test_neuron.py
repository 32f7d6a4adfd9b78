"""AWS Neuron: compiled ahead for fixed shapes in one order; what stands in for it refuses all else."""

import importlib.metadata
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, ConfigError, NetError
from voxstack.core.executables import Choice
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.runtimes import named

torch = pytest.importorskip("torch")

from voxstack.runtimes.neuron import NeuronRuntime  # noqa: E402 - needs torch
from voxstack.runtimes.neuron_stand_in import SEEN, StandIn  # noqa: E402
from voxstack.runtimes.neuron_vendor import Vendor  # noqa: E402
from voxstack.testing.nets import open_net  # noqa: E402

pytestmark = pytest.mark.unit

WIDE = ("float32", ["batch", 3, "frames"])
SPEC = NetSpec(
    "toy",
    "nets/toy.onnx",
    "decoder",
    {"x": TensorSpec(*WIDE), "gain": TensorSpec("float32", ()), "shift": TensorSpec("int64", ("batch",))},
    {"y": TensorSpec(*WIDE)},
    Ragged("frames", pad=0.0),
)
STAND_IN = NeuronRuntime(backend=StandIn())


@pytest.fixture(scope="module")
def data(onnx_model) -> bytes:
    nodes = [
        helper.make_node("Cast", ["shift"], ["whole"], to=1),
        helper.make_node("Mul", ["x", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "whole"], ["y"]),
    ]
    inputs = {"x": WIDE, "gain": ("float32", []), "shift": ("int64", ["batch"])}
    return onnx_model(nodes, inputs, {"y": WIDE}).SerializeToString()


def feeds(steps=8, gain=2.0) -> dict[str, np.ndarray]:
    return {"x": np.ones((steps, 3), np.float32), "gain": np.array(gain, np.float32), "shift": np.array(1)}


def buckets(*sizes) -> ShapePolicy:
    return ShapePolicy(Sizes(buckets=sizes))


def test_a_compiled_net_computes_at_each_of_its_sizes(data):
    net = open_net(STAND_IN, SPEC, data, buckets(8, 16))
    for steps in (8, 16):
        np.testing.assert_array_equal(net.run(feeds(steps))["y"], np.full((steps, 3), 3.0))


def test_it_says_plainly_that_it_is_no_hardware(data):
    net = open_net(STAND_IN, SPEC, data, buckets(8))
    assert net.runtime == f"neuron stand-in (CPU) torch {torch.__version__}"
    assert net.precision == "f32"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"x": np.ones((1, 3, 9), np.float32)},
            (
                "net 'toy': failed on x [1, 3, 9], gain [], shift [1]: compiled for float32[1, 3, 8], "
                "float32[], int64[1]; got float32[1, 3, 9], float32[], int64[1]"
            ),
        ),
        (
            {"x": np.ones((1, 3, 8), np.float64)},
            (
                "net 'toy': failed on x [1, 3, 8], gain [], shift [1]: compiled for float32[1, 3, 8], "
                "float32[], int64[1]; got float64[1, 3, 8], float32[], int64[1]"
            ),
        ),
    ],
)
def test_another_shape_or_dtype_is_refused(data, change, told):
    executable = STAND_IN.restore(SPEC, STAND_IN.compile(SPEC, data, {"batch": 1, "frames": 8}), {})
    with pytest.raises(NetError) as caught:
        executable.run({**SPEC.pack(feeds()), **change})
    assert str(caught.value) == told


def test_another_order_or_number_of_inputs_is_refused(data):
    run = StandIn().load(STAND_IN.compile(SPEC, data, {"batch": 1, "frames": 8}), 0)
    x, gain, shift = torch.ones(1, 3, 8), torch.tensor(2.0), torch.tensor([1])
    with pytest.raises(
        RuntimeError, match=r"^compiled for float32\[1, 3, 8\], float32\[\], int64\[1\]; got "
    ):
        run(gain, x, shift)
    with pytest.raises(RuntimeError, match=r"got float32\[1, 3, 8\], float32\[\]$"):
        run(x, gain)


def test_as_many_shapes_reach_it_as_there_are_buckets(data):
    net = open_net(STAND_IN, SPEC, data, buckets(24, 40))
    SEEN.clear()
    for steps in (24, 40, 24, 40):
        net.run(feeds(steps))
    assert len(SEEN) == 2


def test_nothing_is_compiled_while_serving(data):
    with pytest.raises(NetError) as caught:
        STAND_IN.build(SPEC, data, {"batch": 1, "frames": 8})
    assert str(caught.value) == (
        "net 'toy': nothing is compiled while serving; "
        "compile it: voxstack compile ADDON --profile P --out DIR"
    )


def test_a_free_axis_or_a_strange_operator_cannot_be_compiled(data, onnx_model):
    with pytest.raises(
        NetError, match=r"^net 'toy': cannot be compiled: axis 'frames' of x has no fixed size$"
    ):
        STAND_IN.compile(SPEC, data, {"batch": 1})
    nodes = [helper.make_node("Det", ["x"], ["y"])]
    square = ("float32", ["frames", "frames"])
    strange = onnx_model(nodes, {"x": square}, {"y": ("float32", [])}).SerializeToString()
    spec = NetSpec("toy", "f", "decoder", {"x": TensorSpec(*square)}, {"y": TensorSpec("float32", ())})
    with pytest.raises(NetError, match=r"^net 'toy': cannot be compiled: .*Det"):
        STAND_IN.compile(spec, strange, {"frames": 3})


def test_whole_numbers_must_fit_32_bits(data):
    net = open_net(STAND_IN, SPEC, data, buckets(8))
    for value in (2**31, -(2**31) - 1, -(2**63)):
        with pytest.raises(NetError) as caught:
            net.run({**feeds(), "shift": np.array(value)})
        assert str(caught.value) == (
            f"net 'toy': got the integer {value}, but Neuron computes int64 in 32 bits"
        )
    np.testing.assert_array_equal(
        net.run({**feeds(), "shift": np.array(-(2**31))})["y"], np.full((8, 3), 2.0 - 2**31, np.float32)
    )


class Peeking(torch.nn.Module):
    """A module whose steps depend on what its inputs hold, not only on their shapes."""

    def forward(self, x, gain, shift):
        return (x * gain + int(shift[0]),)


def test_a_net_whose_steps_depend_on_what_it_is_given_cannot_be_compiled(data, monkeypatch):
    """Traced, it would compute with the example's value for ever."""
    monkeypatch.setattr("voxstack.runtimes.neuron.module_of", lambda *_: Peeking())
    with pytest.raises(NetError) as caught:
        STAND_IN.compile(SPEC, data, {"batch": 1, "frames": 8})
    assert str(caught.value) == (
        "net 'toy': cannot be compiled: how it computes depends on what its inputs hold: "
        "Converting a tensor to a Python integer might cause the trace to be incorrect"
    )


def test_an_artefact_that_is_broken_is_refused():
    with pytest.raises(NetError, match=r"^net 'toy': cannot be loaded on core 0: "):
        STAND_IN.restore(SPEC, b"garbage", {})


def test_a_cancelled_scope_starts_nothing(data):
    net = open_net(STAND_IN, SPEC, data, buckets(8))
    scope = CancelScope()
    scope.cancel()
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run(feeds())


def test_a_scope_that_is_cancelled_while_the_net_runs_gets_no_result(data):
    scope = CancelScope()

    class Cancelling(StandIn):
        def load(self, artefact, core):
            run = super().load(artefact, core)
            return lambda *tensors: (run(*tensors), scope.cancel())[0]

    net = open_net(NeuronRuntime(backend=Cancelling()), SPEC, data, buckets(8))
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        net.run(feeds())


def test_many_threads_share_one_net(data):
    net = open_net(STAND_IN, SPEC, data, buckets(8))

    def work(number):
        return (net.run(feeds(gain=float(number)))["y"] == number + 1).all()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


def test_the_state_of_a_recurrent_net_stays_a_tensor(onnx_model):
    row = ("float32", ["batch", 4])
    nodes = [helper.make_node("Add", ["h", "x"], ["h_next"]), helper.make_node("Neg", ["h_next"], ["y"])]
    data = onnx_model(nodes, {"h": row, "x": row}, {"h_next": row, "y": row}).SerializeToString()
    tensors = {name: TensorSpec(*row) for name in ("h", "x", "h_next", "y")}
    spec = NetSpec(
        "cell",
        "f",
        "step",
        {name: tensors[name] for name in ("h", "x")},
        {name: tensors[name] for name in ("h_next", "y")},
        None,
        {"h": "h_next"},
    )
    walk = open_net(STAND_IN, spec, data, buckets(8)).begin({})
    made = [walk.step({"x": np.ones(4, np.float32)})["y"][0] for _ in range(3)]
    assert made == [-1, -2, -3]


# What a profile asks for


def fault(**choice) -> str:
    with pytest.raises(ConfigError) as caught:
        NeuronRuntime.choose(Choice(**choice))
    return str(caught.value)


def test_what_it_cannot_do_is_refused():
    assert fault(precision="int8") == "runtime neuron: got precision 'int8', want f32, bf16, f16"
    assert fault(device="cuda") == "runtime neuron: got device 'cuda', want neuron"
    assert fault(options=(("cor", 1),)) == "runtime neuron: no option 'cor'; did you mean 'core'?"
    assert fault(options=(("core", -1),)) == "runtime neuron: got option core -1, want a number from 0"
    assert fault(options=(("backend", "x"),)) == (
        "runtime neuron: got option backend 'x', want vendor or stand-in"
    )


def test_the_stand_in_is_there_only_where_it_is_named():
    chosen = NeuronRuntime.choose(Choice(options=(("backend", "stand-in"), ("core", 1))))
    assert (chosen.backend, chosen.core) == (StandIn(), 1)


def test_without_the_vendor_s_package_those_that_can_be_used_are_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_neuronx", None)
    monkeypatch.setattr(named, "usable", lambda: ["onnxruntime"])
    with pytest.raises(ConfigError) as caught:
        named.choose_engine("neuron", Choice(), where="joe")
    assert str(caught.value) == (
        "joe: runtime 'neuron' cannot be used: import of torch_neuronx halted; None in sys.modules; "
        "torch_neuronx is the vendor's and in no extra: install it from the vendor's own package repository, "
        "or choose one that is here: onnxruntime"
    )


def test_the_stub_of_that_name_is_recognised(monkeypatch, tmp_path):
    (tmp_path / "torch_neuronx.py").write_text('raise ImportError("WRONG PACKAGE. Please install …")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_neuronx", raising=False)
    with pytest.raises(
        ImportError, match=r"^the installed torch_neuronx is a stub of that name; remove it, "
    ):
        NeuronRuntime.choose(Choice())


# The lines that touch the vendor's package, against a module of its shape


@pytest.fixture
def vendor(monkeypatch):
    """Return what was asked of a module of the vendor's shape."""
    asked = []
    package = ModuleType("torch_neuronx")

    def trace(module, examples, *, compiler_args):
        asked.append(("trace", [tuple(example.shape) for example in examples], compiler_args))
        return torch.jit.trace(module, examples)

    def set_neuron_cores(loaded, *, start_nc, nc_count):
        asked.append(("cores", start_nc, nc_count))

    package.trace, package.__version__ = trace, "2.8"
    versions = {"neuronx-cc": "2.21"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    package.experimental = SimpleNamespace(set_neuron_cores=set_neuron_cores)
    monkeypatch.setitem(sys.modules, "torch_neuronx", package)
    return asked


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("f32", ["--auto-cast", "none"]), ("bf16", ["--auto-cast", "all", "--auto-cast-type", "bf16"])],
)
def test_the_vendor_is_asked_for_the_shapes_in_order_the_precision_and_the_core(
    vendor, data, precision, flags
):
    engine = NeuronRuntime.choose(Choice(precision=precision, options=(("core", 1),)))
    net = open_net(engine, SPEC, data, buckets(8))
    np.testing.assert_array_equal(net.run(feeds())["y"], np.full((8, 3), 3.0))
    assert vendor == [("trace", [(1, 3, 8), (), (1,)], flags), ("cores", 1, 1)]
    assert (engine.version, net.runtime) == ("2.8 (compiler 2.21)", "neuron 2.8 (compiler 2.21)")


def test_two_engines_that_choose_the_same_are_equal(vendor):
    """So that voices share their nets; a stand-in is never taken for hardware."""
    one, other = (NeuronRuntime.choose(Choice()) for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))
    assert one != STAND_IN


def test_a_machine_that_only_serves_has_no_compiler(vendor, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert Vendor().version == "2.8 (compiler none)"


def test_the_vendor_s_artefact_is_torchscript(vendor, data):
    artefact = NeuronRuntime(backend=Vendor()).compile(SPEC, data, {"batch": 1, "frames": 8})
    run = torch.jit.load(io.BytesIO(artefact))
    (result,) = run(torch.ones(1, 3, 8), torch.tensor(2.0), torch.tensor([1]))
    assert result.max() == 3
