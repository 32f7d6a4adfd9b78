"""An ONNX model becomes a module: what cannot is refused by name, what is constant is computed once."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from voxstack.runtimes.torch_nets import module_of  # noqa: E402 - behind the skip

pytestmark = pytest.mark.unit

X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.arange(12, dtype=np.float32).reshape(3, 4)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def fault(read) -> str:
    with pytest.raises(NetError) as caught:
        read()
    return str(caught.value)


def test_tensors_go_in_and_come_out_in_the_order_that_was_asked_for(toy):
    nodes = [node("Sub", ["a", "b"], ["y"]), node("Neg", ["a"], ["z"])]
    net = toy(nodes, {"a": X, "b": X}, ["y", "z"])
    module = module_of(net.data, ["b", "a"], ["z", "y"])
    z, y = module(torch.zeros(2, 3), torch.ones(2, 3))
    assert (y == 1).all()
    assert (z == -1).all()


def test_all_unknown_operators_are_named_at_once(toy):
    nodes = [
        node("Loop", ["n", "", "x"], ["a"], body=helper.make_graph([], "b", [], [])),
        node("Det", ["a"], ["y"]),
    ]
    net = toy(nodes, {"x": X, "n": np.array(1)}, ["y"])
    assert fault(net.module) == (
        "needs operators that the runtime torch does not have: Det, Loop; run it on onnxruntime"
    )


def test_an_operator_of_another_domain_is_named_with_it(toy):
    net = toy([node("Relu", ["x"], ["y"], domain="com.microsoft")], {"x": X}, ["y"])
    assert fault(net.module) == (
        "needs operators that the runtime torch does not have: com.microsoft.Relu; run it on onnxruntime"
    )


def test_what_no_output_follows_from_need_not_be_known(toy):
    net = toy([node("Det", ["x"], ["d"]), node("Neg", ["x"], ["y"])], {"x": X}, ["y"])
    np.testing.assert_array_equal(net.module()(torch.tensor(X))[0], -X)


def test_names_that_disagree_are_refused(toy):
    net = toy([node("Neg", ["x"], ["y"])], {"x": X}, ["y"])
    assert fault(lambda: module_of(net.data, ["hidden"], ["y"])) == (
        "addon.json names the inputs ['hidden'], the file has ['x']"
    )
    assert fault(lambda: module_of(net.data, ["x"], ["mel"])) == (
        "addon.json names the outputs ['mel'], the file has ['y']"
    )


@pytest.mark.parametrize("broken", [b"garbage", b"\x3a\x02\x0a"])
def test_a_file_that_is_no_net_is_refused(broken):
    assert fault(lambda: module_of(broken, ["x"], ["y"])).startswith("cannot be loaded: ")


def test_a_dtype_that_torch_lacks_is_refused(toy):
    model = onnx.load_model_from_string(toy([node("Add", ["x", "w"], ["y"])], {"x": X}, ["y"], {"w": X}).data)
    model.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [1], [1.0]))
    assert fault(lambda: module_of(model.SerializeToString(), ["x"], ["y"])) == (
        "has a tensor 'w' of dtype FLOAT8E4M3FN, which torch nets do not know"
    )


def test_a_failure_says_at_which_operator(toy):
    net = toy([node("MatMul", ["x", "w"], ["y"], name="mix")], {"x": X}, ["y"], {"w": W})
    assert fault(lambda: net.module()(torch.zeros(2, 5))) == (
        "MatMul 'mix': mat1 and mat2 shapes cannot be multiplied (2x5 and 3x4)"
    )


def test_what_follows_from_weights_alone_is_computed_once(toy):
    nodes = [
        node("Transpose", ["w"], ["t"]),
        node("Transpose", ["t"], ["v"]),
        node("MatMul", ["x", "v"], ["y"]),
    ]
    module = toy(nodes, {"x": X}, ["y"], {"w": W}).module()
    with torch.profiler.profile() as profile:
        module(torch.tensor(X))
    assert not [event for event in profile.events() if event.name in ("aten::permute", "aten::transpose")]


def test_weights_that_nobody_reads_are_not_kept(toy):
    module = toy([node("Neg", ["x"], ["y"])], {"x": X}, ["y"], {"w": W}).module()
    assert [name for name, _ in module.named_buffers()] == ["like"]


def test_constants_may_be_nodes(agrees):
    nodes = [
        node("Constant", [], ["a"], value=numpy_helper.from_array(W)),
        node("Constant", [], ["b"], value_float=2.0),
        node("Constant", [], ["c"], value_ints=[4, 2]),
        node("MatMul", ["x", "a"], ["d"]),
        node("Mul", ["d", "b"], ["e"]),
        node("Reshape", ["e", "c"], ["y"]),
    ]
    agrees(nodes, {"x": X})


def test_an_output_may_be_a_weight_or_an_input(toy):
    net = toy(
        [node("Identity", ["x"], ["y"]), node("Identity", ["w"], ["z"])], {"x": X}, ["y", "z"], {"w": W}
    )
    y, z = net.module()(*net.tensors())
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(z, W)


def test_functions_of_a_model_are_put_in_their_places(toy):
    model = onnx.load_model_from_string(toy([node("Neg", ["x"], ["y"])], {"x": X}, ["y"]).data)
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[0].CopyFrom(node("Twice", ["x"], ["y"], domain="own"))
    [y] = module_of(model.SerializeToString(), ["x"], ["y"])(torch.tensor(X))
    np.testing.assert_array_equal(y, 2 * X)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_module_computes_in_the_dtype_that_it_is_moved_to(toy, dtype):
    """Also where the net casts to float32 or makes a float of a size: nothing inside stays wider."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Shape", ["a"], ["shape"]),
        node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        node("ReduceSum", ["sizes"], ["count"], keepdims=0),
        node("Div", ["a", "count"], ["b"]),
        node("Cast", ["n"], ["m"], to=TensorProto.FLOAT),
        node("Add", ["b", "m"], ["c"]),
        node("Where", ["yes", "c", "low"], ["y"]),
    ]
    inputs = {"x": X, "n": np.array([[1], [2]]), "yes": np.array([[True], [False]])}
    net = toy(nodes, inputs, ["y"], {"w": W, "low": np.array(-1, np.float32)})
    x, n, yes = net.tensors()
    [y] = net.module().to(dtype)(x.to(dtype), n, yes)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.float(), net.wanted()[0], rtol=1e-2)


def test_a_net_of_halves_computes_in_f32(toy):
    nodes = [node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Add", ["h", "w"], ["y"])]
    net = toy(nodes, {"x": X + 1e-4}, ["y"], {"w": X.astype(np.float16)})
    [y] = net.module()(*net.tensors())
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y, 2 * X + 1e-4, rtol=1e-6)


def test_a_net_keeps_its_doubles_while_it_computes_in_f32(agrees):
    nodes = [node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), node("Div", ["d", "three"], ["y"])]
    agrees(nodes, {"x": X}, {"three": np.array(3.0)}, atol=1e-15)


def test_what_is_not_needed_any_more_is_freed(toy):
    """Of a chain of a hundred tensors there are never more than a few."""
    names = [f"t{number}" for number in range(100)]
    nodes = [node("Neg", [a], [b]) for a, b in zip(["x", *names], [*names, "y"], strict=True)]
    x = torch.ones(1 << 16)
    module = toy(nodes, {"x": x.numpy()}, ["y"]).module()
    with torch.profiler.profile(profile_memory=True) as profile:
        module(x)
    sizes = np.cumsum([e.self_cpu_memory_usage for e in profile.events()])
    assert sizes.max() <= 4 * x.numel() * 4


def test_a_run_stops_before_the_next_operator(toy, monkeypatch):
    scope = CancelScope()
    net = toy(
        [node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["b"]), node("Exp", ["b"], ["y"])], {"x": X}, ["y"]
    )
    module = net.module()
    seen = []

    def call(step, label):
        def run(*values):
            seen.append(label)
            if label.startswith("Abs"):
                scope.cancel()
            return step(*values)

        return run

    steps = tuple(
        type(step)(step.label, call(step.call, step.label), step.takes, step.gives, step.frees)
        for step in module._steps
    )
    monkeypatch.setattr(module, "_steps", steps)
    with scope.active(), pytest.raises(Cancelled, match=r"^the stream was closed$"):
        module(*net.tensors())
    assert seen == ["Neg 'a'", "Abs 'b'"]
