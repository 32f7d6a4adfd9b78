"""Graphs are cut, folded, measured and rewritten without a change in what they compute."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.gates import split_gates
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.norms import join_norms
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.graphs.sizes import Size
from voxstack.importers.graphs.speed import speed_up

pytestmark = pytest.mark.unit

SIGNAL = Edge("x", "float32", ("batch", 16, "time"))


def build(inputs: Sequence[Edge], output: Edge) -> Graph:
    return Graph(nodes=[], constants={}, inputs=list(inputs), outputs=[output], opset=15)


def end(graph: Graph, tensor: str) -> Graph:
    graph.rename(tensor, graph.outputs[0].name)
    return graph


def random_weight(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(
        np.float32
    )


def conv(graph: Graph, tensor: str, outputs: int, kernel: int, *, inputs: int = 16, dilation: int = 1) -> str:
    pad = dilation * (kernel - 1) // 2
    weight = graph.constant(random_weight(outputs, inputs, kernel))
    bias = graph.constant(random_weight(outputs))
    options = {"kernel_shape": [kernel], "pads": [pad, pad], "dilations": [dilation]}
    return graph.add("Conv", [tensor, weight, bias], options)


def run(graph: Graph, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])


def signal(steps: int, *, channels: int = 16, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(steps).standard_normal((batch, channels, steps)).astype(np.float32)


def small_decoder(*, stride: int, kernel: int, pad: int, extra: int = 0) -> Graph:
    """Conv → upsampling → a residual sum, averaged → one channel, as HiFi-GAN has it."""
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 1, "samples")))
    x = graph.add("LeakyRelu", [conv(graph, "x", 32, 7)], {"alpha": 0.1})
    weight = graph.constant(random_weight(32, 16, kernel))
    options = {"kernel_shape": [kernel], "strides": [stride], "pads": [pad, pad], "output_padding": [extra]}
    x = graph.add("ConvTranspose", [x, weight, graph.constant(random_weight(16))], options)
    branches = []
    for kernel_size, dilation in ((3, 1), (5, 2)):
        y = conv(graph, graph.add("LeakyRelu", [x], {"alpha": 0.1}), 16, kernel_size, dilation=dilation)
        branches.append(graph.add("Add", [y, x]))
    mean = graph.add("Div", [graph.add("Add", branches), graph.constant(np.asarray(2, np.float32))])
    last = conv(graph, graph.add("LeakyRelu", [mean], {"alpha": 0.01}), 1, 7)
    return end(graph, graph.add("Tanh", [last]))


def test_reading_turns_constant_nodes_into_constants_and_drops_identities() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Mul", ["same", "two"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    opset = [helper.make_opsetid("", 15)]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:]), opset_imports=opset)

    graph = Graph.read(model)

    assert [node.op_type for node in graph.nodes] == ["Mul"]
    assert graph.scalar("two") == 2.0
    assert run(graph, {"x": np.ones(3, np.float32)}).tolist() == [2, 2, 2]


def test_a_part_is_cut_out_between_tensors_under_new_names() -> None:
    graph = build([SIGNAL], Edge("y", "float32", None))
    middle = graph.add("Tanh", ["x"])
    end(graph, graph.add("Exp", [middle]))

    part = graph.extract({middle: Edge("in", "float32", ("n",))}, {"y": Edge("out", "float32", ("n",))})

    assert [edge.name for edge in (*part.inputs, *part.outputs)] == ["in", "out"]
    assert run(part, {"in": np.zeros(2, np.float32)}).tolist() == [1, 1]


def test_a_part_that_depends_on_more_than_was_said_is_refused() -> None:
    graph = build([SIGNAL, Edge("scale", "float32", ())], Edge("y", "float32", None))
    middle = graph.add("Tanh", ["x"])
    end(graph, graph.add("Mul", [middle, "scale"]))

    with pytest.raises(ImporterError) as caught:
        graph.extract({middle: Edge("in", "float32", None)}, {"y": Edge("out", "float32", None)})

    assert str(caught.value) == "['out'] depend on input 'scale'"


def test_shapes_keep_free_axes_through_convolutions() -> None:
    graph = small_decoder(stride=4, kernel=8, pad=2)

    shape = infer_shapes(graph).of["y"]

    assert shape == (Size("batch", 1, 0), Size.number(1), Size("time", 4, 0))


def test_folding_removes_sizes_zeros_and_ones_that_an_exporter_left() -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("b", 4, 4, "time")))
    zeros = graph.add("ConstantOfShape", [graph.add("Shape", ["x"])])
    ones = graph.add("Exp", [graph.add("Neg", [zeros])])
    x = graph.add("Mul", [graph.add("Add", ["x", zeros]), ones])
    size = graph.add("Gather", [graph.add("Shape", [x]), graph.constant(np.asarray(2))])
    target = [graph.constant(np.asarray([number])) for number in (1, 4, 4)]
    size = graph.add("Unsqueeze", [size, graph.constant(np.asarray([0]))])
    target = graph.add("Concat", [*target, size], {"axis": 0})
    end(graph, graph.add("Tanh", [graph.add("Reshape", [x, target])]))
    whole = run(graph, {"x": signal(5)})

    fold(graph)

    assert [node.op_type for node in graph.nodes] == ["Reshape", "Tanh"]
    assert np.array_equal(run(graph, {"x": signal(5)}), whole)


@pytest.mark.parametrize(
    ("start", "stop", "kept"), [(None, None, [0, 1, 2]), (1, None, [1, 2]), (None, -1, [0, 1]), (-2, 2, [1])]
)
def test_a_shape_may_tell_some_axes_only(start: int | None, stop: int | None, kept: list[int]) -> None:
    graph = build([SIGNAL], Edge("y", "int64", ("sizes",)))
    ends = {name: place for name, place in (("start", start), ("end", stop)) if place is not None}
    sizes = graph.add("Shape", ["x"], ends)
    end(graph, graph.add("Neg", [sizes]))

    shapes = infer_shapes(graph)

    assert shapes.of[sizes] == (Size.number(len(kept)),)
    assert shapes.sizes(sizes) == tuple(shapes.of["x"][place] for place in kept)
    assert (-run(graph, {"x": signal(5)})).tolist() == [(1, 16, 5)[place] for place in kept]


@pytest.mark.parametrize(("allowzero", "wanted"), [(0, (1, 16, 5)), (1, (0, 16, 5))])
def test_a_zero_in_a_reshape_means_as_it_is_unless_it_may_mean_nothing(
    allowzero: int, wanted: tuple[int, ...]
) -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("some", 16, 5)))
    target = graph.constant(np.asarray([0, 16, 5]))
    view = graph.add("Reshape", ["x", target], {"allowzero": allowzero})
    end(graph, graph.add("Tanh", [view]))

    first = infer_shapes(graph).of[view][0]

    assert first == (Size.number(0) if allowzero else Size("batch", 1, 0))
    x = signal(0 if allowzero else 5)
    assert run(graph, {"x": x}).shape == wanted


def test_a_reshape_that_allowed_zeros_is_folded_to_one_that_keeps_axes() -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 4, 4, "time")))
    sizes = [graph.add("Shape", ["x"], {"start": place, "end": place + 1}) for place in (0, 2)]
    four = graph.constant(np.asarray([4]))
    target = graph.add("Concat", [sizes[0], four, four, sizes[1]], {"axis": 0})
    end(graph, graph.add("Reshape", ["x", target], {"allowzero": 1}))
    whole = run(graph, {"x": signal(5, batch=2)})

    fold(graph)

    (reshape,) = graph.nodes
    assert graph.constants[reshape.input[1]].tolist() == [0, 4, 4, -1]
    assert not reshape.attribute
    assert np.array_equal(run(graph, {"x": signal(5, batch=2)}), whole)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (7, 3)])
def test_a_convolution_reaches_half_its_dilated_kernel(kernel: int, dilation: int) -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 16, "time")))
    end(graph, conv(graph, "x", 16, kernel, dilation=dilation))

    reach = measure_reach(graph, "time")

    half = dilation * (kernel - 1) // 2
    assert (reach.context, reach.hop, reach.obstacle) == ((half, half), 1, None)


@pytest.mark.parametrize(
    ("stride", "kernel", "pad", "extra"), [(4, 8, 2, 0), (8, 16, 4, 0), (2, 4, 1, 0), (3, 5, 1, 0)]
)
def test_a_window_with_the_measured_context_gives_what_the_whole_gives(
    stride: int, kernel: int, pad: int, extra: int
) -> None:
    graph = small_decoder(stride=stride, kernel=kernel, pad=pad, extra=extra)
    reach = measure_reach(graph, "time")
    left, right = reach.context
    x = signal(60)
    whole = run(graph, {"x": x})

    window = run(graph, {"x": x[:, :, 30 - left : 33 + right]})

    assert reach.hop == stride
    got = window[:, :, left * stride : (left + 3) * stride]
    assert np.abs(got - whole[:, :, 30 * stride : 33 * stride]).max() < 1e-5
    narrow = run(graph, {"x": x[:, :, 30 - left + 1 : 33 + right]})
    got = narrow[:, :, (left - 1) * stride : (left + 2) * stride]
    assert np.abs(got - whole[:, :, 30 * stride : 33 * stride]).max() > 1e-5


@pytest.mark.parametrize("op", ["Softmax", "ReduceMean", "CumSum", "Slice", "Shape"])
def test_what_mixes_the_whole_axis_is_an_obstacle(op: str) -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 16, "time")))
    if op == "Softmax":
        x = graph.add("Softmax", ["x"], {"axis": -1})
    elif op == "ReduceMean":
        x = graph.add("Sub", ["x", graph.add("ReduceMean", ["x"], {"axes": [-1]})])
    elif op == "CumSum":
        x = graph.add("CumSum", ["x", graph.constant(np.asarray(2))])
    elif op == "Slice":
        bounds = [graph.constant(np.asarray([at])) for at in (-1, -(2**63) + 1, 2, -1)]
        x = graph.add("Slice", ["x", *bounds])
    else:
        size = graph.add("Gather", [graph.add("Shape", ["x"]), graph.constant(np.asarray(2))])
        x = graph.add("Div", ["x", graph.add("Cast", [size], {"to": onnx.TensorProto.FLOAT})])
    end(graph, x)

    obstacle = measure_reach(graph, "time").obstacle

    assert obstacle is not None
    assert "'time'" in obstacle


@pytest.mark.parametrize(
    ("stride", "kernel", "pad", "extra"),
    [(4, 8, 2, 0), (8, 16, 4, 0), (16, 32, 8, 0), (2, 4, 1, 0), (2, 5, 2, 1), (3, 3, 0, 0), (4, 7, 1, 0)],
)
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_a_decoder_made_fast_computes_the_same(
    stride: int, kernel: int, pad: int, extra: int, steps: int
) -> None:
    graph = small_decoder(stride=stride, kernel=kernel, pad=pad, extra=extra)
    x = signal(steps, batch=2)
    whole = run(graph, {"x": x})

    assert speed_up(graph)

    assert "ConvTranspose" not in {node.op_type for node in graph.nodes}
    fast = run(graph, {"x": x})
    assert fast.shape == whole.shape
    assert np.abs(fast - whole).max() < 1e-5


def test_a_net_with_an_operator_that_cannot_be_lifted_is_left_as_it_is() -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 16, "time")))
    end(graph, graph.add("CumSum", [conv(graph, "x", 16, 3), graph.constant(np.asarray(2))]))

    assert not speed_up(graph)

    assert [node.op_type for node in graph.nodes] == ["Conv", "CumSum"]


def test_halves_of_a_gated_convolution_become_two_convolutions() -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", 16, "time")))
    both = conv(graph, "x", 32, 5)
    parts = []
    for op, start, stop in (("Tanh", 0, 16), ("Sigmoid", 16, 2**62)):
        bounds = [graph.constant(np.asarray([at])) for at in (start, stop, 1)]
        parts.append(graph.add(op, [graph.add("Slice", [both, *bounds])]))
    end(graph, graph.add("Mul", parts))
    whole = run(graph, {"x": signal(9)})

    assert split_gates(graph) == 1

    assert sorted(node.op_type for node in graph.nodes) == ["Conv", "Conv", "Mul", "Sigmoid", "Tanh"]
    assert np.abs(run(graph, {"x": signal(9)}) - whole).max() < 1e-5


def test_a_layer_normalisation_in_pieces_becomes_one_operator() -> None:
    graph = build([SIGNAL], Edge("y", "float32", ("batch", "time", 16)))
    x = graph.add("Transpose", ["x"], {"perm": [0, 2, 1]})
    centred = graph.add("Sub", [x, graph.add("ReduceMean", [x], {"axes": [-1]})])
    square = graph.add("Pow", [centred, graph.constant(np.asarray(2, np.float32))])
    variance = graph.add("ReduceMean", [square], {"axes": [-1]})
    spread = graph.add("Sqrt", [graph.add("Add", [variance, graph.constant(np.asarray(1e-5, np.float32))])])
    scaled = graph.add("Mul", [graph.add("Div", [centred, spread]), graph.constant(random_weight(16))])
    end(graph, graph.add("Add", [scaled, graph.constant(random_weight(16, seed=1))]))
    whole = run(graph, {"x": signal(7)})

    assert join_norms(graph) == 1

    assert [node.op_type for node in graph.nodes] == ["Transpose", "LayerNormalization"]
    assert np.abs(run(graph, {"x": signal(7)}) - whole).max() < 1e-5
