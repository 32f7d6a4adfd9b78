"""Any Loop that makes frames comes apart by its structure; chained, the parts compute what it computed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from make_loop_toys import BANDS, PER_STEP, SYMBOLS, Toy, make_toy
from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.measuring import run, run_tensors
from voxstack.importers.loops.cut import LoopParts, cut_loop
from voxstack.importers.loops.noise import lift_noise, revive_dropouts
from voxstack.importers.loops.parity import LoopChain, Uncut, plain_session
from voxstack.importers.loops.stop import StopRule
from voxstack.importers.loops.views import find_frames

pytestmark = pytest.mark.unit

Arrays = Mapping[str, NDArray[Any]]
TOYS = {
    "scan outputs": Toy(),
    "a growing buffer": Toy(collects="concat"),
    "a buffer written by ScatterND": Toy(collects="scatter", counts=True),
    "a buffer written by Where": Toy(collects="where"),
    "a sequence": Toy(collects="sequence"),
    "a state that begins with the text": Toy(begins=True),
    "noise in the body": Toy(draws=True, counts=True),
    "any probability stops": Toy(stops="any"),
    "a logit stops": Toy(stops="logit"),
    "probabilities of going on": Toy(stops="flipped"),
    "no stop before the fourth step": Toy(stops="late"),
    "a fixed number of steps": Toy(stops="never"),
}


def feeds(length: int, *, inside: int | None = None) -> dict[str, NDArray[Any]]:
    ids = np.random.default_rng(length).integers(0, SYMBOLS, (1, length))
    return {"ids": ids, "lengths": np.asarray([inside or length])}


@cache
def cut(toy: Toy, **options: Any) -> LoopParts:
    return cut_loop(make_toy(toy), [feeds(6), feeds(9)], steps=(6, 9), outputs=["mel"], **options)


@cache
def chain(toy: Toy, **options: Any) -> LoopChain:
    parts = cut(toy, **options)
    sessions = (plain_session(parts.before.model()), plain_session(parts.step.model()))
    return LoopChain(*sessions, parts.state, parts.stop)


def noise_for(parts: LoopParts, seed: int = 0) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    axes = {edge.name: edge.axes or () for edge in parts.step.inputs}
    shapes = {name: [1 if axis == "batch" else int(axis) for axis in axes[name]] for name in parts.noise}
    return {name: random.random((20, *shape), np.float32) for name, shape in shapes.items()}


def uncut(toy: Toy, given: Arrays, noise: Arrays) -> Arrays:
    model = make_toy(toy)
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    return Uncut(model, loop, most=12).run(dict(given), dict(noise))


@pytest.mark.parametrize("name", TOYS)
def test_the_chain_gives_the_frames_of_the_uncut_loop(name: str) -> None:
    toy = TOYS[name]
    parts = cut(toy)
    for length in (1, 4, 11):
        noise = noise_for(parts, seed=length)
        made = chain(toy).run(feeds(length), noise)
        whole = uncut(toy, feeds(length), noise)
        after = run(plain_session(parts.after.model()), {key: made[key] for key in parts.pieces})

        assert whole["mel"].shape[1] >= 2 * PER_STEP
        np.testing.assert_allclose(after["mel"], whole["mel"], atol=1e-6, rtol=0)


def test_utterances_differ_in_length_so_that_a_fixed_number_of_steps_cannot_pass() -> None:
    assert {uncut(Toy(), feeds(n), {})["mel"].shape[1] for n in range(1, 14)} > {14}


def test_what_the_loop_carries_is_told_by_what_it_does_with_it() -> None:
    parts = cut(Toy(counts=True))
    inputs = {edge.name: edge.axes for edge in parts.step.inputs}

    assert parts.state == {name: f"{name}_next" for name in ("state_1", "attended_1", "state_2")}
    assert inputs["state_1"] == ("batch", 5)
    assert inputs["state_2"] == ("batch", BANDS)
    assert inputs["attended_1"] == ("batch", "phonemes")
    assert inputs["memory"] == ("batch", "phonemes", 4)
    assert inputs["position"] == ()
    assert len(inputs) == 7  # and the keys and the mask: no flag, no counter, nothing unread


def test_a_counter_that_nothing_reads_vanishes() -> None:
    assert "position" not in {edge.name for edge in cut(Toy()).step.inputs}


def test_what_hangs_on_the_memory_alone_is_computed_before_the_loop() -> None:
    parts = cut(Toy())
    keys = [edge for edge in parts.before.outputs if edge.axes == ("batch", "phonemes", 6)]

    assert len(keys) == 1
    assert not any(array.shape == (4, 6) for array in parts.step.constants.values())
    assert any(array.shape == (4, 6) for array in parts.before.constants.values())


def test_states_begin_with_zeros_or_with_what_the_part_before_gives() -> None:
    assert not {edge.name for edge in cut(Toy()).before.outputs} & set(cut(Toy()).state)
    assert {edge.name for edge in cut(Toy(begins=True)).before.outputs} & set(cut(Toy()).state) == {"state_1"}


def test_a_piece_is_one_steps_frames_and_the_stack_keeps_its_name_in_the_model() -> None:
    parts = cut(Toy())
    framing = find_frames(parts.after, "piece_1", "mel")

    assert parts.pieces == {"piece_1": "all"}
    assert (framing.per_step, framing.bands) == (PER_STEP, BANDS)
    assert cut(Toy(collects="concat")).pieces == {"piece_1": None}


def test_the_attention_weights_are_an_output_and_leave_padding_out() -> None:
    made = chain(Toy()).run(feeds(9, inside=5), {})["alignment"]

    assert made.shape[1:] == (1, 9)
    np.testing.assert_allclose(made.sum(axis=-1), 1, atol=1e-6)
    assert (made[..., :5] > 0).all()
    assert (made[..., 5:] == 0).all()


@pytest.mark.parametrize(
    ("toy", "rule"),
    [
        (Toy(), StopRule("chance", wants_all=True, most=12, flags=("open",))),
        (Toy(stops="any"), StopRule("chance", most=12, flags=("open",))),
        (Toy(stops="flipped"), StopRule("chance", flipped=True, wants_all=True, most=12, flags=("open",))),
        (Toy(stops="late"), StopRule("chance", wants_all=True, least=4, most=12, flags=("open",))),
        (Toy(stops="never"), StopRule(None, most=12)),
    ],
)
def test_the_stop_rule_is_found_by_trying_the_condition(toy: Toy, rule: StopRule) -> None:
    assert cut(toy).stop == rule


def test_a_logit_becomes_a_probability_with_the_threshold_that_means_the_same() -> None:
    rule = cut(Toy(stops="logit")).stop

    assert rule.is_logit
    assert rule.threshold == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-5)


def test_noise_of_the_body_is_an_input_of_the_step_of_fixed_size() -> None:
    parts = cut(Toy(draws=True))
    edges = {edge.name: edge.axes for edge in parts.step.inputs}

    assert parts.noise == {"step_noise": "uniform", "step_noise_2": "uniform"}
    assert edges["step_noise"] == edges["step_noise_2"] == ("batch", 5)
    assert not any(node.op_type.startswith("Random") for node in parts.step.nodes)


def test_other_noise_makes_other_frames() -> None:
    toy = Toy(draws=True)
    one, other = (chain(toy).run(feeds(6), noise_for(cut(toy), seed)) for seed in (1, 2))

    assert np.abs(one["piece_1"][:3] - other["piece_1"][:3]).max() > 1e-2


def test_an_idle_dropout_stays_idle_unless_it_is_asked_back() -> None:
    toy = Toy(idle=True)
    asked = cut(toy, dropout="noise")
    noise = noise_for(asked)
    still = chain(toy).run(feeds(6), {})
    none = chain(toy, dropout="noise").run({**feeds(6), "noise": np.asarray(0, np.float32)}, noise)
    full = chain(toy, dropout="noise").run({**feeds(6), "noise": np.asarray(1, np.float32)}, noise)

    assert not cut(toy).noise
    assert asked.noise == {"dropout": "uniform"}
    np.testing.assert_array_equal(none["piece_1"], still["piece_1"])
    assert np.abs(full["piece_1"][1:3] - still["piece_1"][1:3]).max() > 1e-2


def drawing(op: str, inputs: Mapping[str, object], **options: Any) -> Graph:
    """Return a graph of one node that draws, [2] → [2]."""
    graph = Graph([], {}, [Edge("x", "float32", (2,))], [], 17)
    names = ["x" if value is None else graph.constant(np.asarray(value)) for value in inputs.values()]
    graph.outputs = [Edge(graph.add(op, names, options), "float32", (2,))]
    return graph


@pytest.mark.parametrize(
    ("graph", "values"),
    [
        (drawing("Dropout", {"x": None, "ratio": np.float32(0.75), "training": True}), [4.0 * 3, 0]),
        (drawing("RandomUniform", {}, shape=[2], low=-1.0, high=3.0), [-1 + 4 * 0.24, -1 + 4 * 0.26]),
        (drawing("RandomNormalLike", {"x": None}, mean=2.0, scale=0.5), [2 + 0.5 * 0.24, 2 + 0.5 * 0.26]),
    ],
)
def test_lifted_noise_means_what_the_node_drew(graph: Graph, values: list[float]) -> None:
    kinds = lift_noise(graph, lambda _: (2,), prefix="noise")
    given = {"x": np.asarray([3, 3], np.float32), "noise": np.asarray([0.24, 0.26], np.float32)}
    name = graph.outputs[0].name

    assert len(kinds) == 1
    np.testing.assert_allclose(run_tensors(graph, [name], given)[name], values, rtol=1e-6)


def test_a_dropout_asked_back_drops_by_the_amount() -> None:
    graph = drawing("Dropout", {"x": None})
    kinds = revive_dropouts(graph, lambda _: (2,), prefix="dropout", amount="noise")
    given = {"x": np.asarray([3, 3], np.float32), "dropout": np.asarray([0.49, 0.51], np.float32)}
    name = graph.outputs[0].name

    assert kinds == {"dropout": "uniform"}
    for amount, values in {0: [3, 3], 0.5: [4.5, 1.5], 1: [6, 0]}.items():
        result = run_tensors(graph, [name], {**given, "noise": np.asarray(amount, np.float32)})[name]
        np.testing.assert_allclose(result, values)


def test_the_most_steps_end_an_utterance_whose_probability_never_rises() -> None:
    made = chain(Toy(stops="never")).run(feeds(5), {})

    assert "stop" not in made
    assert len(made["piece_1"]) == 12


def test_a_model_without_a_loop_is_refused() -> None:
    graph = helper.make_graph([], "none", [], [])
    with pytest.raises(ImporterError, match=r"^has no Loop operator; want a decoder that makes frames"):
        cut_loop(helper.make_model(graph), [{}, {}], steps=(6, 9))


def test_two_loops_that_could_make_frames_are_refused() -> None:
    model = make_toy()
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    twin = onnx.NodeProto()
    twin.CopyFrom(loop)
    twin.output[:] = [f"{name}.twin" for name in loop.output]
    model.graph.node.append(twin)
    model.graph.output.append(helper.make_tensor_value_info("all.twin", 1, None))
    with pytest.raises(ImporterError, match=r"^has 2 Loops that could make frames, want one$"):
        cut_loop(model, [feeds(6), feeds(9)], steps=(6, 9))


def test_a_part_behind_the_loop_that_reads_its_last_state_is_refused() -> None:
    with pytest.raises(ImporterError, match=r"^behind the Loop the model reads the last value of the state"):
        cut(Toy(reads_last=True))


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(ImporterError, match=r"^has no outputs \['mol'\]; has \['logits', 'mel'\]$"):
        cut_loop(make_toy(), [feeds(6), feeds(9)], steps=(6, 9), outputs=["mol"])


def test_examples_of_one_length_are_refused() -> None:
    with pytest.raises(ImporterError, match=r"^got examples of \[6, 6\] phonemes, want two"):
        cut_loop(make_toy(), [feeds(6), feeds(6)], steps=(6, 6))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("h", "the Loop's condition hangs on a state of the step before"),
        ("small", "2 tensors decide when the Loop stops, want one"),
    ],
)
def test_a_condition_that_hangs_on_something_else_too_is_refused(other: str, message: str) -> None:
    model = make_toy()
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    body = loop.attribute[0].g
    says = next(node for node in body.node if node.output[0] == "says")
    says.output[0] = "says_one"
    place = list(body.node).index(says)
    body.node.insert(place + 1, helper.make_node("Greater", ["h_small", other], ["louder5"]))
    body.node.insert(place + 2, helper.make_node("Slice", ["louder5", "z", "two", "a1"], ["louder"]))
    body.node.insert(place + 3, helper.make_node("And", ["says_one", "louder"], ["says"]))
    with pytest.raises(ImporterError, match=f"^{message}$"):
        cut_loop(model, [feeds(6), feeds(9)], steps=(6, 9))


def test_an_if_inside_the_body_is_refused() -> None:
    model = make_toy()
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    body = loop.attribute[0].g
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value_float=1.0)],
        "branch",
        [],
        [helper.make_tensor_value_info("c", 1, [])],
    )
    body.node.append(helper.make_node("If", ["go_in"], ["chosen"], then_branch=branch, else_branch=branch))
    with pytest.raises(ImporterError, match=r"^the Loop's body holds a If of its own; want plain operators$"):
        cut_loop(model, [feeds(6), feeds(9)], steps=(6, 9))


def test_frames_that_are_never_laid_out_in_a_row_are_refused() -> None:
    graph = Graph([], {}, [Edge("piece", "float32", ("steps", 6))], [], 17)
    doubled = graph.add("Add", ["piece", "piece"])
    graph.outputs = [Edge(doubled, "float32", None)]
    with pytest.raises(ImporterError, match=r"^what its Loop collects is never laid out as frames"):
        find_frames(graph, "piece", doubled)
