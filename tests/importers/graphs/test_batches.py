"""A batch of one that an exporter wrote into reshapes is freed, where a one is the batch's."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from voxstack.importers.batching import batch_fact, freed, takes_batches
from voxstack.importers.cut_net import CutNet

pytestmark = pytest.mark.unit

F = "float32"
ROWS = ["batch", "phonemes", 4]


def net(nodes, outputs, **constants) -> CutNet:
    """Return a net of `x` [batch, phonemes, 4]."""

    def info(name, axes):
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, axes)

    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **more) for op, inputs, output, more in nodes],
        "toy",
        [info("x", ROWS)],
        [
            info(name, [f"{axis} of {name}" if axis == "batch" else axis for axis in axes])
            for name, axes in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = {
        "role": "encoder",
        "inputs": {"x": {"dtype": F, "axes": ROWS}},
        "outputs": {name: {"dtype": F, "axes": axes} for name, axes in outputs.items()},
        "ragged": {"axis": "phonemes"},
        "state": {},
    }
    return CutNet(model, spec)


WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype(F)
PRODUCT = [
    ("Reshape", ["x", "flat"], "rows", {}),
    ("MatMul", ["rows", "weights"], "made", {}),
    ("Reshape", ["made", "back"], "y", {}),
]
FLAT = {"flat": np.array([-1, 4]), "back": np.array([1, -1, 3]), "weights": WEIGHTS}
WIDE = {"y": ["batch", "phonemes", 3]}


def ops(cut: CutNet) -> list[str]:
    return [node.op_type for node in cut.model.graph.node]


def one(cut: CutNet) -> CutNet:
    assert not takes_batches(cut, symbols=1)
    made = freed({"toy": cut}, symbols=1)["toy"]
    assert takes_batches(made, symbols=1, like=cut)
    return made


def test_a_product_of_rows_that_were_laid_end_to_end_keeps_its_axes():
    assert ops(one(net(PRODUCT, WIDE, **FLAT))) == ["MatMul"]


def test_a_leading_one_is_what_is_there_or_what_is_left():
    cut = net(
        [
            ("Reshape", ["x", "heads"], "split", {}),
            ("ReduceSum", ["x", "one"], "sum", {"keepdims": 0}),
            ("Reshape", ["sum", "frames"], "frame", {}),
        ],
        {"split": ["batch", "phonemes", 2, 2], "frame": ["batch", 2, 2]},
        heads=np.array([1, -1, 2, 2]),
        frames=np.array([1, 2, 2]),
        one=np.array([1]),
    )
    assert sorted(ops(one(cut))) == sorted(ops(cut))


def test_a_one_that_is_no_batch_stays():
    """The table has no batch, so what is laid out of it has none either."""
    cut = net(
        [
            *PRODUCT[:2],
            ("Reshape", ["made", "back"], "laid", {}),
            ("Reshape", ["table", "row"], "bias", {}),
            ("Add", ["laid", "bias"], "y", {}),
        ],
        WIDE,
        **FLAT,
        table=np.arange(3, dtype=F),
        row=np.array([1, 1, 3]),
    )
    assert takes_batches(one(cut), symbols=1)


def test_a_net_that_takes_batches_is_left_as_it_is():
    cut = net([("MatMul", ["x", "weights"], "y", {})], WIDE, weights=WEIGHTS)
    assert freed({"toy": cut}, symbols=1)["toy"] is cut
    assert batch_fact({"toy": cut}, symbols=1) == ("batch", "every net takes several utterances at once")


def test_one_that_mixes_its_utterances_all_the_same_is_left_as_it_is():
    cut = net(
        [
            *PRODUCT[:2],
            ("ReduceMax", ["made"], "most", {}),
            ("Sub", ["made", "most"], "less", {}),
            ("Reshape", ["less", "back"], "y", {}),
        ],
        WIDE,
        **FLAT,
    )
    assert freed({"toy": cut}, symbols=1)["toy"] is cut
    assert batch_fact({"toy": cut}, symbols=1) == ("batch", "of one only: toy")
