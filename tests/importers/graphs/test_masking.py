"""Padding that a graph would read is masked before it is read, and nothing else is changed."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.mask_views import mask_from_lengths
from voxstack.importers.graphs.masking import add_mask, mask_padding
from voxstack.importers.graphs.measuring import run_tensors
from voxstack.importers.graphs.padded import Padding, draw_inputs

pytestmark = pytest.mark.unit

WIDE = ("batch", 6, "time")
X = Edge("x", "float32", WIDE)
MASK = Edge("inside", "float32", ("batch", 1, "time"))
SIZES = [(1, 5), (9, 10), (20, 64)]


def build(
    inner: Callable[[Graph], str], *inputs: Edge, axes: Sequence[str | int] = WIDE, opset: int = 17
) -> Graph:
    graph = Graph([], {}, list(inputs or (X,)), [], opset)
    graph.rename(inner(graph), "y")
    graph.outputs = [Edge("y", "float32", tuple(axes))]
    return graph


def weights(graph: Graph, *shape: int) -> str:
    return graph.constant(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def convolve(graph: Graph, tensor: str, taps: int = 3) -> str:
    made = [tensor, weights(graph, 6, 6, taps), weights(graph, 6)]
    return graph.add("Conv", made, {"kernel_shape": [taps], "pads": [taps // 2, taps // 2]})


def attend(graph: Graph, tensor: str) -> str:
    """Let every step of [batch, 6, time] see every other."""
    steps = graph.add("Transpose", [tensor], {"perm": [0, 2, 1]})
    scores = graph.add("MatMul", [steps, tensor])
    return graph.add("MatMul", [tensor, graph.add("Softmax", [scores], {"axis": -1})])


def number(graph: Graph, *values: int) -> str:
    return graph.constant(np.asarray(values))


def ops(graph: Graph) -> Counter[str]:
    graph.prune()
    return Counter(node.op_type for node in graph.nodes)


def check(graph: Graph, *, mask: str | None, lengths: str | None = None, symbols: int = 1) -> None:
    """See that padding, of numbers or of NaN, changes nothing inside."""
    for steps, size in SIZES:
        padding = Padding("time", steps, size, mask, lengths, symbols)
        random = np.random.default_rng(size)
        feeds = draw_inputs(graph.inputs, padding, random)
        whole = run_tensors(graph, ["y"], feeds)["y"]
        for fill in (None, np.nan):
            padded = padding.padded(graph.inputs, feeds, random, fill=fill)
            inside = padding.inside(graph.outputs[0], run_tensors(graph, ["y"], padded)["y"])
            np.testing.assert_allclose(inside, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_each_kernel_that_reaches_padding_gets_a_mask_and_the_input_a_zero_for_nan() -> None:
    graph = build(lambda g: convolve(g, g.add("Relu", [convolve(g, "x")])))

    assert add_mask(graph, "time") == "time_mask"
    # The first kernel reads zeros by then, so only the second one needs a factor.
    assert (ops(graph)["Where"], ops(graph)["Mul"]) == (1, 1)
    check(graph, mask="time_mask")


def test_without_masks_such_a_graph_reads_its_padding() -> None:
    graph = build(lambda g: convolve(g, convolve(g, "x")))

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(graph, mask=None)


def test_a_kernel_of_one_step_needs_no_mask() -> None:
    graph = build(lambda g: convolve(g, g.add("Relu", [convolve(g, "x", 1)]), 1))

    assert add_mask(graph, "time") is None
    assert [edge.name for edge in graph.inputs] == ["x"]
    assert ops(graph) == {"Conv": 2, "Relu": 1}


def test_two_kernels_that_read_the_same_share_a_mask() -> None:
    def inner(graph: Graph) -> str:
        wide = graph.add("Exp", [convolve(graph, "x", 1)])
        return graph.add("Add", [convolve(graph, wide), convolve(graph, wide, 5)])

    graph = build(inner)
    add_mask(graph, "time")

    assert ops(graph)["Mul"] == 1
    check(graph, mask="time_mask")


def test_attention_pays_no_heed_to_padding() -> None:
    graph = build(lambda g: attend(g, "x"))

    add_mask(graph, "time")
    assert (ops(graph)["Where"], ops(graph)["Mul"]) == (2, 0)  # the scores, and the values
    check(graph, mask="time_mask")


def test_what_a_graph_masks_itself_is_not_masked_again() -> None:
    def inner(graph: Graph) -> str:
        outside = graph.add("Sub", [graph.constant(np.ones((), np.float32)), "inside"])
        low = graph.add("Mul", [outside, graph.constant(np.asarray(-1e9, np.float32))])
        steps = graph.add("Transpose", ["x"], {"perm": [0, 2, 1]})
        scores = graph.add("Add", [graph.add("MatMul", [steps, "x"]), low])
        seen = graph.add("MatMul", ["x", graph.add("Softmax", [scores], {"axis": -1})])
        return convolve(graph, graph.add("Mul", [seen, "inside"]))

    graph = build(inner, X, MASK)
    before = ops(graph)

    assert mask_padding(graph, "time", mask="inside") == 1
    assert ops(graph) - before == {"Where": 1, "Cast": 1}  # against NaN in x, and nothing else
    check(graph, mask="inside")


def test_inputs_that_become_one_before_anything_mixes_steps_are_zeroed_as_one() -> None:
    def inner(graph: Graph) -> str:
        spread = graph.add("Mul", ["noise", graph.add("Exp", ["log_std"])])
        return convolve(graph, graph.add("Add", ["x", spread]))

    graph = build(inner, X, Edge("log_std", "float32", WIDE), Edge("noise", "float32", WIDE), MASK)

    assert mask_padding(graph, "time", mask="inside") == 1
    check(graph, mask="inside")


def test_an_input_that_no_other_step_reads_is_left_as_it_is() -> None:
    graph = build(lambda g: g.add("Mul", [convolve(g, "x"), "gain"]), X, Edge("gain", "float32", WIDE))

    add_mask(graph, "time")
    assert ops(graph) == {"Unsqueeze": 1, "Where": 1, "Conv": 1, "Mul": 1}
    check(graph, mask="time_mask")


def test_a_sum_over_all_steps_leaves_padding_out() -> None:
    def inner(graph: Graph) -> str:
        total = graph.add("ReduceSum", [convolve(graph, "x", 1), number(graph, 2)], {"keepdims": 1})
        return graph.add("Add", ["x", total])

    graph = build(inner)
    add_mask(graph, "time")

    check(graph, mask="time_mask")


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.05])
def test_a_sum_of_rounded_numbers_that_are_zero_by_chance_leaves_padding_out(scale: float) -> None:
    """Durations, say: zero in every probe, or in the padding of every probe, and yet not masked."""

    def inner(graph: Graph) -> str:
        kernel = graph.constant(np.full((6, 6, 3), 1e-3 + scale, np.float32))
        wide = graph.add("Conv", [graph.add("Abs", ["x"]), kernel], {"kernel_shape": [3], "pads": [1, 1]})
        rounded = graph.add("Round", [wide])
        return graph.add("Add", ["x", graph.add("ReduceSum", [rounded, number(graph, 2)], {"keepdims": 1})])

    graph = build(inner)
    add_mask(graph, "time")
    # Louder than any probe; the kernel carries the last step over into the padding.
    signal = np.full((1, 6, 9), 1000, np.float32)
    padded = np.pad(signal, ((0, 0), (0, 0), (0, 3)), constant_values=np.nan)
    told = {"x": padded, "time_mask": np.arange(12)[None] < 9}

    whole = run_tensors(graph, ["y"], {"x": signal, "time_mask": np.ones((1, 9), bool)})["y"]
    np.testing.assert_allclose(run_tensors(graph, ["y"], told)["y"][..., :9], whole, rtol=1e-6)


def test_a_kernel_over_numbers_that_are_zero_by_chance_leaves_padding_out() -> None:
    """They are zero in the probe inside too, so that it shows no mask."""

    def inner(graph: Graph) -> str:
        quiet = graph.constant(np.full((6, 6, 3), 1e-3, np.float32))
        wide = graph.add("Conv", [graph.add("Abs", ["x"]), quiet], {"kernel_shape": [3], "pads": [1, 1]})
        return convolve(graph, graph.add("Round", [wide]))

    graph = build(inner)
    add_mask(graph, "time")
    signal = np.full((1, 6, 9), 1000, np.float32)
    told = {"x": np.pad(signal, ((0, 0), (0, 0), (0, 3))), "time_mask": np.arange(12)[None] < 9}

    whole = run_tensors(graph, ["y"], {"x": signal, "time_mask": np.ones((1, 9), bool)})["y"]
    np.testing.assert_allclose(run_tensors(graph, ["y"], told)["y"][..., :9], whole, rtol=1e-5)


def test_a_sum_behind_an_input_that_was_zeroed_needs_no_mask_of_its_own() -> None:
    def inner(graph: Graph) -> str:
        seen = graph.add("Mul", ["memory", "gain"])
        return graph.add("Add", ["x", graph.add("ReduceSum", [seen, number(graph, 2)], {"keepdims": 1})])

    graph = build(inner, X, Edge("memory", "float32", WIDE), Edge("gain", "float32", ("batch", 6, 1)))
    add_mask(graph, "time")

    assert (ops(graph)["Where"], ops(graph)["Mul"]) == (1, 1)
    check(graph, mask="time_mask")


def test_a_sum_weighed_by_attention_needs_no_mask_of_its_own() -> None:
    def inner(graph: Graph) -> str:
        scores = graph.add("ReduceSum", ["x", number(graph, 1)], {"keepdims": 1})
        seen = graph.add("Mul", [graph.add("Softmax", [scores], {"axis": -1}), "x"])
        return graph.add("Add", ["x", graph.add("ReduceSum", [seen, number(graph, 2)], {"keepdims": 1})])

    graph = build(inner)
    add_mask(graph, "time")

    assert (ops(graph)["Where"], ops(graph)["Mul"]) == (
        2,
        1,
    )  # the scores, and x for NaN; the product is its own
    check(graph, mask="time_mask")


def test_a_count_of_what_is_inside_stays_a_count_even_of_a_reversed_mask() -> None:
    """Such a sum meets ones where padding lies; a mask before it would make it count wrongly."""

    def inner(graph: Graph) -> str:
        back = [number(graph, -1), number(graph, -(2**31)), number(graph, 2), number(graph, -1)]
        reversed_mask = graph.add("Slice", ["inside", *back])
        count = graph.add("ReduceSum", [reversed_mask, number(graph, 2)], {"keepdims": 1})
        return graph.add("Div", [convolve(graph, graph.add("Mul", ["x", "inside"])), count])

    graph = build(inner, X, MASK)

    assert mask_padding(graph, "time", mask="inside") == 1
    check(graph, mask="inside")


def test_lengths_do_as_well_as_a_mask() -> None:
    ids, lengths = Edge("ids", "int64", ("batch", "time")), Edge("lengths", "int64", ("batch",))

    def inner(graph: Graph) -> str:
        rows = graph.add("Gather", [weights(graph, 11, 6), "ids"])
        count = graph.add("Cast", ["lengths"], {"to": 1})
        wide = graph.add("Transpose", [rows], {"perm": [0, 2, 1]})
        return graph.add("Mul", [convolve(graph, convolve(graph, wide)), count])

    graph = build(inner, ids, lengths)

    assert mask_padding(graph, "time", lengths="lengths", symbols=11) == 2
    check(graph, mask=None, lengths="lengths", symbols=11)


def test_ids_in_padding_become_the_one_that_a_net_knows_padding_by() -> None:
    def inner(graph: Graph) -> str:
        known = graph.add("Equal", ["ids", graph.constant(np.zeros((), np.int64))])
        inside = graph.add("Cast", [graph.add("Not", [known])], {"to": 1})
        rows = graph.add("Gather", [weights(graph, 11, 6), "ids"])
        seen = graph.add("Mul", [rows, graph.add("Unsqueeze", [inside, number(graph, 2)])])
        return convolve(graph, graph.add("Transpose", [seen], {"perm": [0, 2, 1]}))

    graph = build(inner, Edge("ids", "int64", ("batch", "time")))

    assert add_mask(graph, "time", symbols=11, zeroes_ids=True) == "time_mask"
    assert (ops(graph)["Where"], ops(graph)["Mul"]) == (1, 1)  # the ids; the factor is its own
    check(graph, mask="time_mask", symbols=11)


def test_a_mask_of_ones_leaves_every_bit_as_it_was() -> None:
    def inner(graph: Graph) -> str:
        return convolve(graph, attend(graph, convolve(graph, "x")))

    plain, masked = build(inner), build(inner)
    add_mask(masked, "time")
    signal = np.random.default_rng(0).standard_normal((1, 6, 40)).astype(np.float32)
    told = {"x": signal, "time_mask": np.ones((1, 40), bool)}

    got = run_tensors(masked, ["y"], told)["y"]
    np.testing.assert_array_equal(got, run_tensors(plain, ["y"], {"x": signal})["y"])


def test_utterances_of_one_batch_keep_masks_of_their_own() -> None:
    """Also where the mask must get another axis for a net that was lifted to two dimensions."""

    def inner(graph: Graph) -> str:
        wide = graph.add("Unsqueeze", ["x", number(graph, 2)])
        kernel = {"kernel_shape": [1, 3], "pads": [0, 1, 0, 1]}
        for _ in range(2):
            wide = graph.add("Conv", [wide, weights(graph, 6, 6, 1, 3), weights(graph, 6)], kernel)
        return graph.add("Squeeze", [wide, number(graph, 2)])

    graph = build(inner, X, MASK)
    mask_padding(graph, "time", mask="inside")
    signal = np.random.default_rng(0).standard_normal((2, 6, 12)).astype(np.float32)
    mask = (np.arange(12) < np.asarray([[12], [5]])).astype(np.float32)[:, None]

    both = run_tensors(graph, ["y"], {"x": signal, "inside": mask})["y"]
    for row, steps in enumerate((12, 5)):
        feeds = {"x": signal[row : row + 1, :, :steps], "inside": np.ones((1, 1, steps), np.float32)}
        alone = run_tensors(graph, ["y"], feeds)["y"]
        np.testing.assert_allclose(both[row : row + 1, :, :steps], alone, rtol=0, atol=1e-5)


def test_what_is_not_known_to_be_masked_is_left_as_it_is() -> None:
    graph = build(lambda g: g.add("Sub", ["x", g.add("ReduceMean", ["x"], {"axes": [2], "keepdims": 1})]))

    add_mask(graph, "time")
    assert ops(graph)["ReduceMean"] == 1
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(graph, mask="time_mask")


def test_a_mask_made_of_lengths_is_as_long_as_the_axis() -> None:
    ids = Edge("ids", "int64", ("batch", "time"))
    graph = Graph([], {}, [ids, Edge("lengths", "int64", ("batch",))], [], 17)
    mask = mask_from_lengths(graph, "lengths", "ids")

    found = run_tensors(graph, [mask], {"ids": np.zeros((2, 4), np.int64), "lengths": np.asarray([4, 1])})
    assert found[mask].tolist() == [[True] * 4, [True, False, False, False]]
