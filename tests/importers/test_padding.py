"""A net that is told what is padding is held to it before it becomes part of an addon."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, net_of, ragged
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.masking import add_mask
from voxstack.importers.padding import check_padding, is_told, padding_fact

pytestmark = pytest.mark.unit

X = Edge("x", "float32", ("batch", "phonemes", 4))
INSIDE = Edge("inside", "float32", ("batch", "phonemes", 1))


def net(
    inner: Callable[[Graph], Mapping[str, str]],
    *inputs: Edge,
    mask: str | None = None,
    axes: Mapping[str, tuple[str | int, ...]] | None = None,
    state: Mapping[str, str] | None = None,
) -> CutNet:
    """Return a net of what is built: output names and the tensors that become them."""
    graph = Graph([], {}, list(inputs or (X,)), [], 17)
    made = inner(graph)
    for name, tensor in made.items():
        graph.rename(tensor, name)
    graph.outputs = [Edge(name, "float32", (axes or {}).get(name, X.axes)) for name in made]
    return net_of(graph, role="encoder", ragged=ragged("phonemes", chunkable=False, mask=mask), state=state)


def total(graph: Graph, tensor: str) -> str:
    """Sum [batch, phonemes, 4] over the phonemes."""
    return graph.add("ReduceSum", [tensor, graph.constant(np.asarray([1]))], {"keepdims": 1})


def summing(*, masked: str | None) -> CutNet:
    """Add to each step the sum of all, of padding too or not."""

    def inner(graph: Graph) -> Mapping[str, str]:
        kept = "x"
        if masked == "by a factor":
            kept = graph.add("Mul", ["x", "inside"])
        if masked == "by choice":
            flags = graph.add("Cast", ["inside"], {"to": 9})
            kept = graph.add("Where", [flags, "x", graph.constant(np.zeros((), np.float32))])
        return {"y": graph.add("Add", [graph.add("Mul", ["x", "inside"]), total(graph, kept)])}

    return net(inner, X, INSIDE, mask="inside")


def refusal(**nets: CutNet) -> str:
    with pytest.raises(ImporterError) as caught:
        check_padding(nets, symbols=5)
    return str(caught.value)


def test_a_net_that_leaves_padding_out_passes() -> None:
    assert check_padding({"sum": summing(masked="by choice")}, symbols=5)["sum"] < 1e-6


def test_a_net_that_reads_padding_is_refused() -> None:
    said = refusal(sum=summing(masked=None))

    head, change, tail = said.partition(" by ")
    assert head == "net 'sum', padded from 3 to 16 phonemes and told so, changes 'y'"
    assert (change, tail.endswith(" of its greatest value, want at most 0.0001")) == (" by ", True)


def test_a_factor_of_zero_is_refused_for_it_lets_nan_through() -> None:
    assert refusal(sum=summing(masked="by a factor")) == (
        "net 'sum', padded from 3 to 16 phonemes and told so, changes 'y' by nan of its greatest value, "
        "want at most 0.0001"
    )


def test_a_net_whose_output_is_not_as_long_as_its_input_is_refused() -> None:
    def inner(graph: Graph) -> Mapping[str, str]:
        kept = graph.add("Mul", ["x", "inside"])
        return {"y": graph.add("Reshape", [kept, graph.constant(np.asarray([1, -1, 2]))])}

    shape = {"y": ("batch", "steps", 2)}
    assert refusal(pairs=net(inner, X, INSIDE, mask="inside", axes=shape)) == (
        "net 'pairs', padded from 3 to 16 phonemes and told so, gives 'y' as [1, 32, 2], want [1, 6, 2]"
    )


def test_a_net_that_cannot_be_run_at_a_padded_size_is_refused_in_one_line() -> None:
    def inner(graph: Graph) -> Mapping[str, str]:
        count = graph.add("Cast", [total(graph, "inside")], {"to": 7})
        places = graph.add(
            "Concat",
            [graph.constant(np.asarray([1])), graph.add("Reshape", [count, one(graph)])],
            {"axis": 0},
        )
        shape = graph.add("Concat", [places, graph.constant(np.asarray([4]))], {"axis": 0})
        return {"y": graph.add("Reshape", ["x", shape])}

    def one(graph: Graph) -> str:
        return graph.constant(np.asarray([1]))

    said = refusal(sized=net(inner, X, INSIDE, mask="inside"))
    assert said.startswith("net 'sized', padded from 3 to 16 phonemes and told so, cannot be run: ")
    assert "\n" not in said


def test_what_is_not_told_is_not_held_to_anything() -> None:
    untold = net(lambda graph: {"y": graph.add("Add", ["x", total(graph, "x")])})

    assert not is_told(untold)
    assert check_padding({"sum": untold}, symbols=5) == {}


def test_a_net_takes_what_the_one_before_it_gave() -> None:
    """What is drawn at random would make a square root of a negative number, which is none."""

    def squared(graph: Graph) -> Mapping[str, str]:
        return {"power": graph.add("Mul", ["x", "x"])}

    def rooted(graph: Graph) -> Mapping[str, str]:
        return {"y": graph.add("Mul", [graph.add("Sqrt", ["power"]), "inside"])}

    power = Edge("power", "float32", X.axes)
    second = net(rooted, power, INSIDE, mask="inside")

    assert check_padding({"first": net(squared), "second": second}, symbols=5) == {"second": 0.0}
    assert "by nan" in refusal(second=second)


def stepping(*, masked: bool) -> CutNet:
    """Carry a sum of all steps on: padding that gets into the state comes out one step later."""

    def inner(graph: Graph) -> Mapping[str, str]:
        after = graph.add("Add", ["was", "x"])
        if masked:
            after = graph.add("Where", [graph.add("Cast", ["inside"], {"to": 9}), after, "nothing"])
        return {"y": total(graph, "was_kept"), "was_next": after}

    def whole(graph: Graph) -> Mapping[str, str]:
        graph.constants["nothing"] = np.zeros((), np.float32)
        flags = graph.add("Cast", ["inside"], {"to": 9})
        graph.rename(
            graph.add("Where", [flags, "was", "nothing"]) if masked else graph.add("Abs", ["was"]), "was_kept"
        )
        return inner(graph)

    was = Edge("was", "float32", X.axes)
    return net(whole, X, was, INSIDE, mask="inside", axes={"y": ("batch", 1, 4)}, state={"was": "was_next"})


def test_a_net_with_state_is_followed_for_some_steps() -> None:
    assert check_padding({"step": stepping(masked=True)}, symbols=5)["step"] < 1e-6
    assert "changes 'y'" in refusal(step=stepping(masked=False))


def test_a_state_that_grows_is_spared_nan_for_its_sizes_cannot_be_fixed() -> None:
    def inner(graph: Graph) -> Mapping[str, str]:
        kept = graph.add("Mul", ["x", "inside"])
        row = total(graph, kept)
        return {
            "y": graph.add("Add", [kept, row]),
            "past_next": graph.add("Concat", ["past", row], {"axis": 1}),
        }

    past = Edge("past", "float32", ("batch", "past", 4))
    growing = net(
        inner,
        X,
        INSIDE,
        past,
        mask="inside",
        axes={"past_next": ("batch", "past+1", 4)},
        state={"past": "past_next"},
    )

    assert check_padding({"step": growing}, symbols=5)["step"] < 1e-6


def test_a_mask_that_was_added_holds() -> None:
    graph = Graph([], {}, [X], [], 17)
    graph.rename(graph.add("Add", ["x", total(graph, "x")]), "y")
    graph.outputs = [Edge("y", "float32", X.axes)]
    mask = add_mask(graph, "phonemes")
    made = net_of(graph, role="encoder", ragged=ragged("phonemes", chunkable=False, mask=mask))

    assert made.spec["inputs"]["phonemes_mask"] == {"dtype": "bool", "axes": ["batch", "phonemes"]}
    assert check_padding({"sum": made}, symbols=5)["sum"] < 1e-6


def test_the_report_says_how_much_padding_changes_each_net() -> None:
    assert padding_fact({"encoder": 0.0, "step": 2.5e-7}) == (
        "padding",
        "encoder 0.0e+00, step 2.5e-07 greatest change by it",
    )
    assert padding_fact({}) == ("padding", "no net is told what is padding")
