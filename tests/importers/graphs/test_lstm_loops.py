"""A Loop that is an LSTM becomes the LSTM operator, whatever the order of its gates, and padding rests."""

from itertools import permutations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from voxstack.importers.graphs.graph import Graph
from voxstack.importers.graphs.lstm_loops import replace_lstms
from voxstack.importers.graphs.measuring import run_tensors

pytestmark = pytest.mark.unit

INPUTS, WIDTH = 3, 4
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def lstm_loop(
    order: str = "ifco", *, reverse: bool = False, masked: bool = True, bent: str = "Tanh"
) -> onnx.ModelProto:
    """Return x [steps, 1, 3], inside [steps, 1, 1] → y [steps, 1, 4]: a cell in a Loop, gates in `order`."""
    random = np.random.default_rng(0)
    shapes = {"W": (INPUTS, 4 * WIDTH), "U": (WIDTH, 4 * WIDTH), "B": (4 * WIDTH,)}
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    step = [
        ("Gather", "xs n", "x_row"),
        ("MatMul", "x_row W", "xW"),
        ("MatMul", "h U", "hU"),
        ("Add", "xW hU", "sum"),
        ("Add", "sum B", "gates"),
        ("Split", "gates", " ".join(order)),
        *[("Sigmoid", gate, f"{gate}_s") for gate in "ifo"],
        (bent, "c", "c_t"),
        ("Mul", "f_s m", "kept"),
        ("Mul", "i_s c_t", "new"),
        ("Add", "kept new", "m_new"),
        ("Tanh", "m_new", "m_t"),
        ("Mul", "o_s m_t", "h_new"),
        ("Gather", "flags n", "flag"),
        *[
            ("Where", f"flag {new} {old}" if masked else f"always {new} {old}", out)
            for new, old, out in [
                ("h_new", "h", "h_next"),
                ("m_new", "m", "m_next"),
                ("h_new", "rest", "y_row"),
            ]
        ],
        ("Add", "n one", "n_next"),
        ("Less", "n_next steps", "go_on"),
        *[("Identity", name, f"{name}_next") for name in ("xs", "flags", "steps", "rest")],
    ]
    constants = [
        numpy_helper.from_array(np.asarray(1), "one"),
        numpy_helper.from_array(np.asarray(True), "always"),
    ]
    row = [1, WIDTH]
    kinds = {
        "n": (INT, []),
        "h": (FLOAT, row),
        "m": (FLOAT, row),
        "xs": (FLOAT, ["s", 1, INPUTS]),
        "flags": (BOOL, ["s", 1, 1]),
        "steps": (INT, []),
        "rest": (FLOAT, row),
    }
    values = [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]
    body = helper.make_graph(
        [
            helper.make_node(op, given.split(), made.split(), **({"axis": 1} if op == "Split" else {}))
            for op, given, made in step
        ],
        "body",
        [
            helper.make_tensor_value_info("number", INT, []),
            helper.make_tensor_value_info("go", BOOL, []),
            *values,
        ],
        [
            helper.make_tensor_value_info("go_on", BOOL, []),
            *[helper.make_tensor_value_info(f"{name}_next", *kind) for name, kind in kinds.items()],
            helper.make_tensor_value_info("y_row", FLOAT, [1, WIDTH]),
        ],
        [*weights, *constants],
    )
    around = [
        helper.make_node("Shape", ["x"], ["shape"], end=1),
        helper.make_node("Squeeze", ["shape"], ["count"]),
        helper.make_node("ReverseSequence", ["x", "shape"], ["x_back"], time_axis=0, batch_axis=1),
        helper.make_node("Cast", ["inside"], ["inside_i"], to=FLOAT),
        helper.make_node("ReverseSequence", ["inside_i", "shape"], ["inside_b"], time_axis=0, batch_axis=1),
        helper.make_node("Cast", ["inside_b"], ["inside_back"], to=BOOL),
        helper.make_node(
            "Loop",
            ["", "yes", "zero", "zeros", "zeros"]
            + (["x_back", "inside_back"] if reverse else ["x", "inside"])
            + ["count", "zeros"],
            [*(f"{name}_last" for name in kinds), "ys"],
            body=body,
        ),
        helper.make_node("ReverseSequence", ["ys", "shape"], ["ys_back"], time_axis=0, batch_axis=1),
        helper.make_node("Identity", ["ys_back" if reverse else "ys"], ["y"]),
    ]
    graph = helper.make_graph(
        around,
        "lstm",
        [
            helper.make_tensor_value_info("x", FLOAT, ["s", 1, INPUTS]),
            helper.make_tensor_value_info("inside", BOOL, ["s", 1, 1]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, ["s", 1, WIDTH])],
        [
            numpy_helper.from_array(np.asarray(0), "zero"),
            numpy_helper.from_array(np.zeros((1, WIDTH), np.float32), "zeros"),
            numpy_helper.from_array(np.asarray(True), "yes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return model


def both(model: onnx.ModelProto, *, inside: int) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """Return y of the model before and after, and the operators after; 7 steps, of which some are inside."""
    x = np.random.default_rng(1).standard_normal((7, 1, INPUTS)).astype(np.float32)
    feeds = {"x": x, "inside": (np.arange(7) < inside)[:, None, None]}
    graph = Graph.read(model)
    before = run_tensors(graph, ["y"], feeds)["y"]
    replace_lstms(graph)
    return before, run_tensors(graph, ["y"], feeds)["y"], {node.op_type for node in graph.nodes}


@pytest.mark.parametrize("order", ["".join(order) for order in permutations("ifco")])
def test_the_gates_are_found_in_any_order(order: str) -> None:
    before, after, ops = both(lstm_loop(order), inside=7)

    assert "LSTM" in ops
    assert "Loop" not in ops
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inside", [1, 5, 7])
def test_padding_gives_zeros_and_moves_nothing(inside: int, reverse: bool) -> None:
    before, after, ops = both(lstm_loop(reverse=reverse), inside=inside)

    assert "Loop" not in ops
    assert (after[inside:] == 0).all()
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_sequence_read_backwards_is_not_turned_round_any_more() -> None:
    assert "ReverseSequence" not in both(lstm_loop(reverse=True, masked=False), inside=7)[2]


def test_another_cell_stays_a_loop() -> None:
    before, after, ops = both(lstm_loop(bent="Sigmoid"), inside=7)

    assert "Loop" in ops
    assert "LSTM" not in ops
    np.testing.assert_array_equal(after, before)
