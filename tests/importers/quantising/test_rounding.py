"""What is written as 8 bits is what was meant: scales, padding, factors moved between convolutions."""

from collections import Counter

import numpy as np
import pytest

from voxstack.core.closeness import snr_db
from voxstack.importers.graphs.graph import Edge, Graph, attributes
from voxstack.importers.quantising.ranges import Seen, watch
from voxstack.importers.quantising.rewriting import with_int8
from voxstack.importers.quantising.running import outputs_of
from voxstack.importers.quantising.scales import activation_scale, round_weight, weight_scales
from voxstack.importers.quantising.smoothing import smooth

pytestmark = pytest.mark.unit

CHANNELS = 8
X = Edge("x", "float32", ("batch", CHANNELS, "time"))
Y = Edge("y", "float32", ("batch", CHANNELS, "time"))


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolve(graph: Graph, tensor: str, weight: np.ndarray, *, dilation: int = 1) -> str:
    pad = dilation * (weight.shape[-1] // 2)
    options = {"kernel_shape": [weight.shape[-1]], "dilations": [dilation], "pads": [pad, pad]}
    return graph.add("Conv", [tensor, graph.constant(weight)], options)


def finished(graph: Graph, last: str) -> Graph:
    graph.rename(last, "y")
    graph.outputs = [Y]
    return graph


def one_convolution(weight: np.ndarray, *, dilation: int = 1) -> Graph:
    graph = Graph([], {}, [X], [], 15)
    return finished(graph, convolve(graph, "x", weight, dilation=dilation))


def feeds(*, steps: int = 400, count: int = 1) -> list[dict[str, np.ndarray]]:
    return [{"x": drawn(1, CHANNELS, steps, seed=seed) + np.float32(2)} for seed in range(count)]


def rounded(x: np.ndarray, scale: np.float32, zero: np.uint8) -> np.ndarray:
    return ((np.clip(np.round(x / scale) + int(zero), 0, 255) - int(zero)) * scale).astype(np.float32)


def seen(values: np.ndarray) -> Seen:
    return Seen(values, values.min(axis=1), values.max(axis=1), values.shape[1])


@pytest.mark.parametrize("shift", [-30.0, -1.0, 0.0, 1.0, 30.0])
def test_zero_is_a_number_that_an_activation_s_integers_hold(shift: float) -> None:
    values = drawn(CHANNELS, 1000) + np.float32(shift)

    scale, zero = activation_scale(seen(values))

    assert (scale.dtype, zero.dtype) == (np.float32, np.uint8)
    assert rounded(np.zeros(1, np.float32), scale, zero)[0] == 0
    assert snr_db(values, rounded(values, scale, zero)) > 35


def test_a_few_great_values_are_clipped_for_the_sake_of_the_many() -> None:
    values = drawn(CHANNELS, 100_000)
    values[0, 0] = 8

    scale, _ = activation_scale(seen(values))

    assert scale < (values.max() - values.min()) / 255


def test_a_tensor_of_zeros_has_a_scale() -> None:
    scale, zero = activation_scale(seen(np.zeros((CHANNELS, 4), np.float32)))

    assert np.isfinite(scale)
    assert scale > 0
    assert zero == 0


def test_each_output_channel_of_a_weight_has_a_scale_of_its_own() -> None:
    weight = drawn(CHANNELS, CHANNELS, 5)
    weight[3] *= 1000
    weight[5] = 0

    scales = weight_scales(weight)
    integers = round_weight(weight, scales)
    restored = integers * scales[:, None, None]

    assert integers.dtype == np.int8
    assert scales[3] > 300 * scales[2]
    assert not restored[5].any()
    assert all(snr_db(weight[n], restored[n]) > 35 for n in range(CHANNELS) if n != 5)


def test_wide_padding_is_filled_with_the_zero_point() -> None:
    weight, dilation = drawn(CHANNELS, CHANNELS, 5), 4
    graph, given = one_convolution(weight, dilation=dilation), feeds()
    found = watch(graph, ["x"], given)

    quantised = with_int8(graph, ["y"], found)

    (pad,) = [node for node in quantised.nodes if node.op_type == "Pad"]
    (conv,) = [node for node in quantised.nodes if node.op_type == "Conv"]
    scale, zero = activation_scale(found["x"])
    assert zero > 0
    assert quantised.constants[pad.input[2]] == zero
    assert quantised.constants[pad.input[1]].tolist() == [0, 0, 8, 0, 0, 8]
    assert attributes(conv)["pads"] == [0, 0]
    scales = weight_scales(weight)
    restored = (round_weight(weight, scales) * scales[:, None, None]).astype(np.float32)
    wanted = convolved(rounded(given[0]["x"][0], scale, zero), restored, dilation)
    np.testing.assert_allclose(outputs_of(quantised, given)[0], wanted.reshape(-1), atol=1e-4)


def convolved(x: np.ndarray, weight: np.ndarray, dilation: int) -> np.ndarray:
    """Return the sum over taps of shifted x, zeros around it."""
    pad = dilation * (weight.shape[-1] // 2)
    wide = np.pad(x, [(0, 0), (pad, pad)])
    taps = range(weight.shape[-1])
    return np.sum([weight[..., n] @ wide[:, n * dilation :][:, : x.shape[1]] for n in taps], axis=0)


def test_little_padding_stays_with_the_convolution() -> None:
    graph = one_convolution(drawn(CHANNELS, CHANNELS, 5), dilation=2)

    quantised = with_int8(graph, ["y"], watch(graph, ["x"], feeds()))

    assert Counter(node.op_type for node in quantised.nodes) == {
        "QuantizeLinear": 1,
        "DequantizeLinear": 2,
        "Conv": 1,
    }


def test_convolutions_of_one_tensor_share_its_integers() -> None:
    graph = Graph([], {}, [X], [], 15)
    branches = [convolve(graph, "x", drawn(CHANNELS, CHANNELS, 3), dilation=n) for n in (1, 2, 9)]
    near = graph.add("Add", branches[:2])
    finished(graph, graph.add("Add", [near, branches[2]]))

    quantised = with_int8(graph, branches, watch(graph, ["x"], feeds()))

    kinds = Counter(node.op_type for node in quantised.nodes)
    assert (kinds["QuantizeLinear"], kinds["Pad"], kinds["DequantizeLinear"]) == (1, 1, 3 + 2)


def test_the_float_graph_stays_as_it_was() -> None:
    graph = one_convolution(drawn(CHANNELS, CHANNELS, 5))
    before = graph.model().SerializeToString()

    with_int8(graph, ["y"], watch(graph, ["x"], feeds()))

    assert graph.model().SerializeToString() == before


def test_what_was_seen_is_every_extreme_and_a_sample_of_the_rest() -> None:
    graph = one_convolution(drawn(CHANNELS, CHANNELS, 3))
    given = feeds(steps=5000, count=3)

    found = watch(graph, ["x"], given)["x"]

    everything = np.concatenate([one["x"][0] for one in given], axis=1)
    np.testing.assert_array_equal(found.low, everything.min(axis=1))
    np.testing.assert_array_equal(found.high, everything.max(axis=1))
    assert found.steps == everything.shape[1]
    assert found.values.shape == (CHANNELS, 3 * 1250)


def uneven_chain() -> tuple[Graph, str]:
    """Return conv → LeakyRelu → conv, with channels of very different size between, and the last's input."""
    graph = Graph([], {}, [X], [], 15)
    sizes = np.geomspace(0.01, 1, CHANNELS, dtype=np.float32)
    first = convolve(graph, "x", drawn(CHANNELS, CHANNELS, 3) * sizes[:, None, None])
    activation = graph.add("LeakyRelu", [first], {"alpha": 0.1})
    last = convolve(graph, activation, drawn(CHANNELS, CHANNELS, 3, seed=1) / sizes[None, :, None])
    return finished(graph, last), activation


def test_uneven_channels_are_made_even_and_the_net_computes_what_it_did() -> None:
    graph, activation = uneven_chain()
    given = feeds()
    (wanted,) = outputs_of(graph, given)
    found = watch(graph, [activation], given)
    (plain,) = outputs_of(with_int8(graph, ["y"], found), given)

    even = smooth(graph, [node for node in graph.nodes if node.output[0] == "y"], found)

    (same,) = outputs_of(graph, given)
    assert snr_db(wanted, same) > 110
    np.testing.assert_allclose(
        even[activation].high, watch(graph, [activation], given)[activation].high, 1e-5
    )
    (smoothed,) = outputs_of(with_int8(graph, ["y"], even), given)
    assert snr_db(wanted, smoothed) > snr_db(wanted, plain) + 10


def test_an_activation_that_something_else_reads_is_not_scaled() -> None:
    graph, activation = uneven_chain()
    graph.rename("y", "last")
    finished(graph, graph.add("Add", ["last", activation]))
    before = graph.model().SerializeToString()
    found = watch(graph, [activation], feeds())

    even = smooth(graph, [node for node in graph.nodes if node.input[0] == activation], found)

    assert even == found
    assert graph.model().SerializeToString() == before
