"""A program is written at fixed sizes and read without trust: no pickle, no call that no net makes."""

import io
import json
import pickle

import numpy as np
import pytest
from onnx import helper

from voxstack.core.errors import NetError

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from voxstack.runtimes.torch_nets.programs import CALLS, program_of, read_program  # noqa: E402 - behind the skip

pytestmark = pytest.mark.unit

X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def net(toy):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Split", ["a"], ["b", "c"], axis=1),
        helper.make_node("Concat", ["c", "b"], ["d"], axis=1),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    return toy(nodes, {"x": X}, ["y"], {"w": W})


def parts(data: bytes) -> tuple[dict, dict]:
    kept = torch.load(io.BytesIO(data), weights_only=True)
    return json.loads(kept["program"]), kept["tensors"]


def changed(data: bytes, **keys) -> bytes:
    """Return a program with other keys."""
    program, tensors = parts(data)
    buffer = io.BytesIO()
    torch.save({"program": json.dumps({**program, **keys}), "tensors": tensors}, buffer)
    return buffer.getvalue()


def fault(data: bytes) -> str:
    with pytest.raises(NetError) as caught:
        read_program(data)
    return str(caught.value)


def test_a_program_computes_what_its_net_did(net):
    program = read_program(program_of(net.module(), net.tensors()))
    np.testing.assert_array_equal(program(*net.tensors())[0], net.module()(*net.tensors())[0])


def test_a_program_holds_its_weights_once_and_names_no_file_of_the_machine(net):
    data = program_of(net.module(), net.tensors())
    program, tensors = parts(data)
    assert [list(tensor.shape) for tensor in tensors.values()] == [[3, 4]]
    assert all(set(step) == {"call", "args", "kwargs", "gives"} for step in program["steps"])
    assert b".py" not in data.replace(b"serialization", b"")


def test_a_program_moves_to_another_dtype_only_before_it_is_written(net):
    module = net.module().to(torch.bfloat16)
    program = read_program(program_of(module, [torch.tensor(X, dtype=torch.bfloat16)]))
    assert program(torch.tensor(X, dtype=torch.bfloat16))[0].dtype == torch.bfloat16


def test_a_device_is_where_the_program_runs_not_where_it_was_made(toy):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["y"]),
    ]
    net = toy(nodes, {"x": np.ones((9, 9), np.float32)}, ["y"])
    program, _ = parts(program_of(net.module(), net.tensors()))
    assert "cpu" not in json.dumps(program)
    module = read_program(program_of(net.module(), net.tensors())).to("meta")
    assert module(torch.ones(9, 9, device="meta"))[0].device.type == "meta"


def test_a_net_whose_sizes_follow_from_values_has_no_program(toy):
    net = toy(
        [helper.make_node("Range", ["zero", "x", "one"], ["y"], name="places")],
        {"x": np.array(6)},
        ["y"],
        {"zero": np.array(0), "one": np.array(1)},
    )
    with pytest.raises(NetError) as caught:
        program_of(net.module(), net.tensors())
    assert str(caught.value) == (
        "cannot be compiled ahead of time: Range 'places': its sizes follow from the values that it is given"
    )


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code of a stranger was run",))


def test_a_pickle_is_not_run():
    buffer = io.BytesIO()
    torch.save({"program": Bomb(), "tensors": {}}, buffer)
    assert fault(buffer.getvalue()) == "is no program that can be read: UnpicklingError"
    assert fault(b"PK" + pickle.dumps(Bomb())).startswith("is no program that can be read: ")


@pytest.mark.parametrize(
    "call",
    [
        *(
            "aten.from_file.default",
            "aten.save.default",
            "aten.add.__class__",
            "aten.add.nothing",
        ),
        *("os.system", "prim.print.default", "builtins.eval", ""),
    ],
)
def test_a_call_that_no_net_makes_is_refused_before_anything_runs(net, call):
    step = {"call": call, "args": ["x"], "kwargs": {}, "gives": 9}
    data = changed(program_of(net.module(), net.tensors()), steps=[step])
    assert fault(data) == f"calls '{call}', which no net of this voxstack calls; nothing of it was run"


def test_an_argument_is_a_dtype_or_nothing(net):
    step = {"call": "aten.add.Tensor", "args": [{"dtype": "hub"}], "kwargs": {}, "gives": 9}
    data = changed(program_of(net.module(), net.tensors()), steps=[step])
    assert fault(data) == "is no program that can be read: 'hub' is no dtype"


def test_another_format_and_a_damaged_file_are_refused(net):
    data = program_of(net.module(), net.tensors())
    assert fault(changed(data, format=2)) == "is a program of format 2, this voxstack reads 1"
    assert fault(data[: len(data) // 2]).startswith("is no program that can be read: ")
    assert fault(changed(data, steps=[{}])) == "is no program that can be read: KeyError"


def test_every_call_in_the_list_is_one_that_torch_has():
    assert not [name for name in CALLS if not hasattr(torch.ops.aten, name)]
