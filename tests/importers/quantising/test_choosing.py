"""Convolutions are quantised by what they cost: one that rounding ruins stays in float."""

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ConfigError, ImporterError
from voxstack.importers.families import FAMILIES
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.quantising.choosing import Limits, choose, convolutions
from voxstack.importers.quantising.int8 import quantise
from voxstack.importers.quantising.ranges import watch
from voxstack.importers.quantising.running import outputs_of

pytestmark = pytest.mark.unit

CHANNELS = 16
X = Edge("x", "float32", ("batch", CHANNELS, "time"))
LOUD = 3000.0
"""How much greater one channel is before the planted bad layer, whose weights make it small again."""

STRICT = Limits(snr_db=90, alone_snr_db=90)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolve(graph: Graph, tensor: str, seed: int, *, factors: np.ndarray | None = None) -> str:
    weight = drawn(CHANNELS, CHANNELS, 3, seed=seed) / np.float32(7)
    weight = weight if factors is None else weight / factors[None, :, None]
    return graph.add("Conv", [tensor, graph.constant(weight)], {"kernel_shape": [3], "pads": [1, 1]})


def toy() -> tuple[Graph, list[str]]:
    """Return three convolutions, with one channel made far too loud before the last; and what they make."""
    graph = Graph([], {}, [X], [], 15)
    one = convolve(graph, "x", 1)
    two = convolve(graph, graph.add("LeakyRelu", [one], {"alpha": 0.1}), 2)
    factors = np.ones(CHANNELS, np.float32)
    factors[3] = LOUD
    loud = graph.add("Mul", [two, graph.constant(factors.reshape(1, -1, 1))])
    three = convolve(graph, loud, 3, factors=factors)
    graph.rename(graph.add("Tanh", [three]), "y")
    graph.outputs = [Edge("y", "float32", ("batch", CHANNELS, "time"))]
    return graph, [one, two, three]


def utterances(first: int, count: int) -> list[dict[str, np.ndarray]]:
    return [
        {"x": drawn(1, CHANNELS, 300 + 10 * seed, seed=100 + seed)} for seed in range(first, first + count)
    ]


def refusal(graph: Graph, limits: Limits = STRICT) -> str:
    with pytest.raises(ImporterError) as caught:
        quantise(graph.model(), utterances(0, 3), utterances(9, 2), limits)
    return str(caught.value)


def test_a_layer_that_rounding_ruins_is_left_in_float() -> None:
    graph, (one, two, three) = toy()
    found = watch(graph, [node.input[0] for node in convolutions(graph)], utterances(0, 3))

    chosen = choose(graph, found, utterances(9, 2), Limits())

    assert set(chosen.outputs) == {one, two}
    left = chosen.graph.producer(three)
    assert left is not None
    assert left.input[1] in chosen.graph.constants
    assert chosen.closeness.snr_db > 30


def test_what_the_report_says_is_what_the_file_does() -> None:
    graph, _ = toy()
    held_out = utterances(9, 2)

    made = quantise(graph.model(), utterances(0, 3), held_out)

    wanted = outputs_of(graph, held_out)
    got = outputs_of(Graph.read(made.model), held_out)
    noise = [10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()) for a, b in zip(wanted, got, strict=True)]
    assert made.closeness.snr_db == pytest.approx(float(np.median(noise)), abs=0.01)
    assert (made.chosen, made.of, made.share) == (2, 3, pytest.approx(2 / 3))
    label, value = made.fact()
    assert label == "int8"
    assert value == (
        "2 of 3 convolutions, 67% of their multiplications; "
        f"SNR {made.closeness.snr_db:.1f} dB, log-spectral distance {made.closeness.spectral_db:.2f} dB; "
        "speak with --profile int8"
    )


def test_the_limit_of_all_together_bounds_how_many_there_are() -> None:
    graph, (one, two, _) = toy()
    held_out = utterances(9, 2)
    found = watch(graph, [node.input[0] for node in convolutions(graph)], utterances(0, 3))
    both = choose(graph, found, held_out, Limits()).closeness

    fewer = choose(graph, found, held_out, Limits(snr_db=both.snr_db + 1, price=1e9))

    assert len(fewer.outputs) == 1
    assert set(fewer.outputs) < {one, two}
    assert fewer.closeness.snr_db >= both.snr_db + 1


def test_the_same_model_gives_the_same_bytes() -> None:
    made = [
        quantise(toy()[0].model(), utterances(0, 3), utterances(9, 2)).model.SerializeToString()
        for _ in range(2)
    ]

    assert made[0] == made[1]


def test_names_of_the_file_that_is_read_are_not_used_again() -> None:
    once = quantise(toy()[0].model(), utterances(0, 3), utterances(9, 2))

    onnx.checker.check_model(once.model, full_check=True)
    names = [name for node in once.model.graph.node for name in node.output]
    assert len(names) == len(set(names))


def test_a_net_in_which_nothing_can_be_rounded_is_refused() -> None:
    said = refusal(toy()[0])

    assert said.startswith(
        "no convolution can compute in 8 bits within SNR 90 dB and log-spectral distance 3 dB: "
        "of 3 3 would pay; the nearest alone gave SNR "
    )
    assert said.endswith(" dB; import without int8")


def test_a_small_convolution_or_one_before_a_change_of_layout_does_not_pay() -> None:
    graph, _ = toy()
    last = graph.producer("y")
    assert last is not None
    last.op_type = "Transpose"
    graph.changed()

    assert "of 3 2 would pay" in refusal(graph)
    assert refusal(graph, Limits(share=0.5)) == (
        "no convolution can compute in 8 bits within SNR 22 dB and log-spectral distance 3 dB: "
        "of 3 0 would pay; import without int8"
    )


def test_a_net_without_convolutions_is_refused() -> None:
    graph = Graph([], {}, [X], [Edge("y", "float32", ("batch", CHANNELS, "time"))], 15)
    graph.rename(graph.add("Tanh", ["x"]), "y")

    assert refusal(graph) == "it has no convolution with constant weights; import without int8"


def test_a_net_of_an_old_opset_is_refused() -> None:
    graph, _ = toy()
    graph.opset = 11

    assert refusal(graph) == "got a net of ONNX opset 11; for int8 it must be 13 or newer"


@pytest.mark.parametrize("family", [name for name in FAMILIES if not FAMILIES[name].has_int8])
def test_a_family_without_int8_says_so_before_it_reads_anything(family: str, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        FAMILIES[family].run([tmp_path / "missing"], tmp_path / "out", int8=True)

    assert str(caught.value) == "--int8: this family has no int8 nets (only: piper); import without"
