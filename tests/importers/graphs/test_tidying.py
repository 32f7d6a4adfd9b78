"""What a TensorFlow graph became on its way to ONNX is written as what it means; it computes the same."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from voxstack.importers.graphs.graph import Edge, Graph, attribute
from voxstack.importers.graphs.sizes import Size, arithmetic
from voxstack.importers.graphs.tidying import tidy
from voxstack.importers.graphs.views import join_views, lay_channels_first
from voxstack.importers.vits_parity import open_session

pytestmark = pytest.mark.unit

STEPS = Edge("x", "float32", ("batch", "time", 6))
CHANNELS = Edge("x", "float32", ("batch", 6, "time"))


def build(inner: Callable[[Graph], str], *, source: Edge = STEPS, axes: tuple[str | int, ...]) -> Graph:
    graph = Graph([], {}, [source], [], 17)
    graph.rename(inner(graph), "y")
    graph.outputs = [Edge("y", "float32", axes)]
    return graph


def tidied(graph: Graph, *, steps: int = 13) -> Counter[str]:
    """Tidy a graph, see that it computes the same, and count its operators."""
    axes = graph.inputs[0].axes or ()
    shape = [axis if isinstance(axis, int) else {"batch": 1}.get(axis, steps) for axis in axes]
    signal = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before = np.asarray(open_session(graph.model()).run(None, {"x": signal})[0])
    tidy(graph)
    after = np.asarray(open_session(graph.model()).run(None, {"x": signal})[0])
    np.testing.assert_allclose(after, before, atol=2e-5)
    return Counter(node.op_type for node in graph.nodes)


def weights(graph: Graph, *shape: int) -> str:
    values = np.random.default_rng(len(shape)).standard_normal(shape)
    return graph.constant((values / np.sqrt(np.prod(shape[1:]))).astype(np.float32))


def number(graph: Graph, *values: int) -> str:
    return graph.constant(np.asarray(values))


@pytest.mark.parametrize(
    ("mode", "taps", "dilation", "pads"),
    [
        ("SAME_UPPER", 3, 1, [1, 1]),
        ("SAME_UPPER", 4, 1, [1, 2]),
        ("SAME_LOWER", 4, 1, [2, 1]),
        ("VALID", 3, 2, [0, 0]),
    ],
)
def test_automatic_pads_are_written_down(mode: str, taps: int, dilation: int, pads: list[int]) -> None:
    def convolve(graph: Graph) -> str:
        options = {"kernel_shape": [taps], "auto_pad": mode, "dilations": [dilation]}
        return graph.add("Conv", ["x", weights(graph, 6, 6, taps)], options)

    graph = build(convolve, source=CHANNELS, axes=("batch", 6, "steps"))

    assert tidied(graph) == {"Conv": 1}
    assert attribute(graph.nodes[0], "pads") == pads
    assert attribute(graph.nodes[0], "auto_pad") is None


def test_a_convolution_takes_in_zeros_before_it_and_factors_behind_it() -> None:
    def convolve(graph: Graph) -> str:
        padded = graph.add("Pad", ["x", number(graph, 0, 0, 2, 0, 0, 3)])
        made = graph.add("Conv", [padded, weights(graph, 6, 6, 4)], {"kernel_shape": [4]})
        biased = graph.add("Add", [made, weights(graph, 1, 6, 1)])
        return graph.add("Add", [graph.add("Mul", [biased, weights(graph, 1, 6, 1)]), weights(graph, 6, 1)])

    graph = build(convolve, source=CHANNELS, axes=("batch", 6, "steps"))

    assert tidied(graph) == {"Conv": 1}
    assert attribute(graph.nodes[0], "pads") == [2, 3]


def test_a_pad_that_is_no_zero_stays() -> None:
    def convolve(graph: Graph) -> str:
        one = graph.constant(np.asarray(1, np.float32))
        padded = graph.add("Pad", ["x", number(graph, 0, 0, 2, 0, 0, 2), one])
        return graph.add("Conv", [padded, weights(graph, 6, 6, 5)], {"kernel_shape": [5]})

    graph = build(convolve, source=CHANNELS, axes=("batch", 6, "time"))

    assert tidied(graph) == {"Pad": 1, "Conv": 1}


def test_a_convolution_over_a_height_of_one_becomes_one_dimensional() -> None:
    def convolve(graph: Graph) -> str:
        wide = graph.add("Unsqueeze", ["x", number(graph, -3)])
        turned = graph.add("Transpose", [wide], {"perm": [0, 3, 1, 2]})
        options = {"kernel_shape": [1, 3], "pads": [0, 1, 0, 1], "strides": [1, 1], "dilations": [1, 1]}
        made = graph.add("Conv", [turned, weights(graph, 6, 6, 1, 3)], options)
        bent = graph.add("Relu", [graph.add("Squeeze", [made, number(graph, 2)])])
        return graph.add("Transpose", [bent], {"perm": [0, 2, 1]})

    graph = build(convolve, axes=("batch", "time", 6))

    assert tidied(graph) == {"Transpose": 2, "Conv": 1, "Relu": 1}
    conv = next(node for node in graph.nodes if node.op_type == "Conv")
    assert (attribute(conv, "kernel_shape"), attribute(conv, "pads")) == ([3], [1, 1])


def test_a_net_that_takes_channels_first_needs_no_transposes() -> None:
    def convolve(graph: Graph) -> str:
        turned = graph.add("Transpose", ["x"], {"perm": [0, 2, 1]})
        made = graph.add("Conv", [turned, weights(graph, 6, 6, 3)], {"kernel_shape": [3], "pads": [1, 1]})
        back = graph.add("Transpose", [made], {"perm": [0, 2, 1]})
        bent = graph.add("Mul", [graph.add("Tanh", [back]), weights(graph, 6)])
        return graph.add("Pad", [bent, number(graph, 0, 1, 0, 0, 2, 0)], {"mode": "reflect"})

    graph = build(convolve, axes=("batch", "steps", 6))
    lay_channels_first(graph, "x")
    lay_channels_first(graph, "y")

    assert tidied(graph) == {"Conv": 1, "Tanh": 1, "Mul": 1, "Pad": 1}
    assert graph.outputs[0].axes == ("batch", 6, "steps")


def test_a_transpose_sinks_below_what_works_element_by_element() -> None:
    def turn(graph: Graph) -> str:
        wide = graph.add("Transpose", ["x"], {"perm": [0, 2, 3, 1]})
        padded = graph.add("Pad", [wide, number(graph, 0, 1, 0, 0, 0, 0, 2, 0)])
        bent = graph.add("Mul", [graph.add("Tanh", [padded]), weights(graph, 6)])
        return graph.add("Relu", [graph.add("Transpose", [bent], {"perm": [0, 3, 1, 2]})])

    graph = build(turn, source=Edge("x", "float32", ("batch", 6, "time", 5)), axes=("batch", 6, "steps", 7))

    assert tidied(graph) == {"Pad": 1, "Tanh": 1, "Mul": 1, "Relu": 1}


def test_views_that_undo_each_other_vanish_and_others_stay() -> None:
    def undo(graph: Graph) -> str:
        wide = graph.add("Unsqueeze", ["x", number(graph, 1)])
        turned = graph.add("Transpose", [wide], {"perm": [0, 3, 2, 1]})
        flat = graph.add("Squeeze", [turned, number(graph, 3)])
        return graph.add("Relu", [flat])

    graph = build(undo, axes=("batch", 6, "time"))
    before = len(graph.nodes)

    assert join_views(graph) >= 1
    assert before > len(graph.nodes)
    assert tidied(graph) == {"Transpose": 1, "Relu": 1}


def test_a_product_over_a_flattened_batch_is_one_over_all_axes() -> None:
    def multiply(graph: Graph) -> str:
        shape = graph.add("Gather", [graph.add("Shape", ["x"]), number(graph, 0, 1)])
        shape = graph.add("Concat", [shape, number(graph, 4)], {"axis": 0})
        flat = graph.add("Reshape", ["x", number(graph, -1, 6)])
        return graph.add("Reshape", [graph.add("MatMul", [flat, weights(graph, 6, 4)]), shape])

    assert tidied(build(multiply, axes=("batch", "time", 4))) == {"MatMul": 1}


@pytest.mark.parametrize("pooled", [True, False])
def test_a_normalisation_with_its_scale_inside_is_one_operator(pooled: bool) -> None:
    def mean(graph: Graph, tensor: str) -> str:
        return (
            graph.add("GlobalAveragePool", [tensor])
            if pooled
            else graph.add("ReduceMean", [tensor], {"axes": [-1]})
        )

    def normalise(graph: Graph) -> str:
        middle = mean(graph, "x")
        centred = graph.add("Sub", ["x", middle])
        total = graph.add("Add", [mean(graph, graph.add("Mul", [centred, centred])), epsilon(graph)])
        scale = graph.add("Reciprocal", [graph.add("Sqrt", [total])])
        factor = graph.add("Mul", [scale, weights(graph, 6)])
        shift = graph.add("Sub", [weights(graph, 6), graph.add("Mul", [middle, factor])])
        return graph.add("Add", [graph.add("Mul", ["x", factor]), shift])

    assert tidied(build(normalise, axes=("batch", "time", 6))) == {"LayerNormalization": 1}


def epsilon(graph: Graph) -> str:
    return graph.constant(np.asarray(1e-5, np.float32))


def test_sizes_are_divided_where_the_rest_is_known() -> None:
    assert arithmetic("Div", Size("time", 6, 3), Size.number(2)) == Size("time", 3, 1)
    assert arithmetic("Div", Size("time", 3, 0), Size.number(2)) is None
    assert arithmetic("Div", Size("time", 2, -1), Size.number(2)) is None
    assert arithmetic("Div", Size.number(7), Size.number(0)) is None
    assert arithmetic("Max", Size.number(3), Size.number(5)) == Size.number(5)
    assert arithmetic("Max", Size("time", 1, 0), Size.number(5)) is None
