"""A torch module becomes a plain, folded graph whose edges are called as its importer calls them."""

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import net_of, ragged
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.graphs.shapes import infer_shapes
from voxstack.importers.torch_export import Example, check_close, export_graph, run_net
from voxstack.stack.onnx_scan import scan_net

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "voxstack[transformers]"')
pytest.importorskip("onnxscript", reason='onnxscript is not installed: pip install "voxstack[transformers]"')


def example(*axes: str | int, random: str | None = None) -> Example:
    sizes = {"batch": 2, "frames": 7, "past": 5}
    torch.manual_seed(0)
    return Example(torch.randn([sizes.get(a, 0) if isinstance(a, str) else a for a in axes]), axes, random)


class Mixer(torch.nn.Module):
    """Reads a window, the past and a place; has a table, heads and a constant branch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.project = torch.nn.Linear(6, 8)
        self.table = torch.nn.Embedding(10, 8)
        self.norm = torch.nn.LayerNorm(8)

    def forward(self, x: Any, past: Any, place: Any) -> tuple[Any, Any]:
        wide = torch.nn.functional.gelu(self.norm(self.project(x) + self.table(place)))
        heads = wide.reshape(x.shape[0], x.shape[1], 2, 4).transpose(1, 2)
        keys = torch.cat([past, heads], dim=2)
        read = (heads @ keys.transpose(2, 3)).softmax(-1) @ keys
        return read.transpose(1, 2).reshape(x.shape[0], -1, 8), keys


INPUTS = {
    "x": example("batch", "frames", 6),
    "past": example("batch", 2, "past", 4),
    "place": Example(torch.tensor(3), ()),
}
OUTPUTS = {"y": ("batch", "frames", 8), "past_next": ("batch", 2, "past+frames", 4)}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return export_graph(Mixer().eval(), INPUTS, OUTPUTS)


def test_edges_have_the_names_and_axes_that_were_asked_for(graph: Graph) -> None:
    assert graph.inputs == [
        Edge("x", "float32", ("batch", "frames", 6)),
        Edge("past", "float32", ("batch", 2, "past", 4)),
        Edge("place", "int64", ()),
    ]
    assert graph.outputs == [Edge(name, "float32", axes) for name, axes in OUTPUTS.items()]


@pytest.mark.parametrize(("batch", "frames", "past"), [(1, 1, 0), (1, 30, 3), (3, 2, 1)])
def test_the_net_computes_what_the_module_computes_at_any_size(
    graph: Graph, batch: int, frames: int, past: int
) -> None:
    net = net_of(graph, role="step", ragged=None)
    torch.manual_seed(2)
    inputs = {
        "x": torch.randn(batch, frames, 6),
        "past": torch.randn(batch, 2, past, 4),
        "place": torch.tensor(9),
    }
    with torch.no_grad():
        want = Mixer().eval()(*inputs.values())

    got = run_net(net, {name: value.numpy() for name, value in inputs.items()})

    for (name, tensor), wanted in zip(got.items(), want, strict=True):
        assert check_close(name, tensor, wanted.numpy()) < 1e-6


def test_the_file_is_one_that_addons_accept(graph: Graph) -> None:
    model = net_of(graph, role="decoder", ragged=None).model

    onnx.checker.check_model(model, full_check=True)
    scan_net(model.SerializeToString(), name="toy", where="toy")
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}


def test_sizes_are_followed_through_the_graph(graph: Graph) -> None:
    """Folding and receptive fields need every shape; exporters write sizes in ways that hide them."""
    shapes = infer_shapes(graph)

    unknown = [node.op_type for node in graph.nodes if None in shapes.of.get(node.output[0], (None,))]
    assert unknown.count("Reshape") == 0
    assert not any(node.op_type == "Shape" and node.attribute for node in graph.nodes)


def test_a_call_may_stand_in_for_forward() -> None:
    def doubled(module: Any, x: Any) -> Any:
        return 2 * module(x)

    linear = torch.nn.Linear(6, 3)
    exported = export_graph(
        linear, {"x": example("batch", "frames", 6)}, {"y": ("batch", "frames", 3)}, call=doubled
    )
    x = np.ones((1, 4, 6), np.float32)

    got = run_net(net_of(exported, role="decoder", ragged=None), {"x": x})["y"]

    np.testing.assert_allclose(got, 2 * linear(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_batch_of_one_may_stay_one() -> None:
    inputs = {"x": Example(torch.randn(1, 7, 6), ("batch", "frames", 6))}

    exported = export_graph(torch.nn.Linear(6, 3), inputs, {"y": ("batch", "frames", 3)})

    assert exported.inputs == [Edge("x", "float32", ("batch", "frames", 6))]


def test_the_exporter_says_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    before = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        export_graph(
            torch.nn.Linear(6, 3), {"x": example("batch", "frames", 6)}, {"y": ("batch", "frames", 3)}
        )

    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.messages, list(recwarn)) == ("", "", [], [])
    assert logging.getLogger("torch.onnx").level == before


def test_the_entry_for_addon_json_says_what_is_random_and_what_is_state() -> None:
    def step(module: Any, noise: Any, last: Any) -> tuple[Any, Any]:
        frame = module(last) + noise
        return frame[:, None], frame

    inputs = {"noise": example("batch", 6, random="uniform"), "last": example("batch", 6)}
    outputs = {"mel": ("batch", 1, 6), "last_next": ("batch", 6)}
    exported = export_graph(torch.nn.Linear(6, 6), inputs, outputs, call=step)
    along = ragged("phonemes", chunkable=False, mask="mask")

    spec = net_of(
        exported,
        role="step",
        ragged=along,
        random={name: one.random for name, one in inputs.items()},
        state={"last": "last_next"},
    ).spec

    assert spec == {
        "role": "step",
        "inputs": {
            "noise": {"dtype": "float32", "axes": ["batch", 6], "random": "uniform"},
            "last": {"dtype": "float32", "axes": ["batch", 6]},
        },
        "outputs": {
            "mel": {"dtype": "float32", "axes": ["batch", 1, 6]},
            "last_next": {"dtype": "float32", "axes": ["batch", 6]},
        },
        "ragged": {
            "axis": "phonemes",
            "context": [0, 0],
            "hop": 1,
            "pad": None,
            "chunkable": False,
            "least": 1,
            "mask": "mask",
            "lengths": None,
        },
        "state": {"last": "last_next"},
    }


# Refusals


def refusal(function: Any, /, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ImporterError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


LINE = {"y": ("batch", "frames", 3)}


def test_an_axis_that_the_module_needs_at_one_size_is_refused() -> None:
    def seven(module: Any, x: Any) -> Any:
        return module(x) if x.shape[1] == 7 else x

    said = refusal(
        export_graph, torch.nn.Linear(6, 3), {"x": example("batch", "frames", 6)}, LINE, call=seven
    )

    assert said == "torch fixed 'frames' of 'x' to 7; want it free"


def test_a_module_that_cannot_be_traced_is_refused() -> None:
    def peeks(module: Any, x: Any) -> Any:
        raise ValueError("no such sound\nat all")

    said = refusal(
        export_graph, torch.nn.Linear(6, 3), {"x": example("batch", "frames", 6)}, LINE, call=peeks
    )

    assert said == "torch cannot export what makes y: no such sound"


def test_an_input_that_is_not_read_is_refused() -> None:
    def first(module: Any, x: Any, _: Any) -> Any:
        return module(x)

    inputs = {"x": example("batch", "frames", 6), "unused": example("batch", 6)}

    assert refusal(export_graph, torch.nn.Linear(6, 3), inputs, LINE, call=first) == (
        "nothing that the module gives depends on its inputs ['unused']"
    )


def test_another_number_of_outputs_is_refused() -> None:
    outputs = {**LINE, "z": ("batch",)}

    said = refusal(export_graph, torch.nn.Linear(6, 3), {"x": example("batch", "frames", 6)}, outputs)

    assert said == "the module gives 1 tensors, want ['y', 'z']"


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ({"x": (2, 7, 6)}, "example 'x' has 3 axes, want ['batch', 'frames']"),
        ({"x": (2, 7)}, "example 'x' has 7 where its axes say 6"),
    ],
)
def test_an_example_that_is_not_as_its_axes_say_is_refused(inputs: dict[str, Any], fault: str) -> None:
    axes = {3: ("batch", "frames"), 2: ("batch", 6)}
    examples = {name: Example(torch.zeros(shape), axes[len(shape)]) for name, shape in inputs.items()}

    assert refusal(export_graph, torch.nn.Linear(6, 3), examples, LINE) == fault


def test_free_axes_of_one_size_or_of_size_one_are_refused() -> None:
    same = {"x": Example(torch.zeros(7, 7, 6), ("batch", "frames", 6))}
    one = {"x": Example(torch.zeros(2, 1, 6), ("batch", "frames", 6))}
    apart = {**INPUTS, "z": Example(torch.zeros(9), ("frames",))}

    fault = "free axes need sizes of their own above 1; got"
    assert refusal(export_graph, torch.nn.Linear(6, 3), same, LINE) == f"{fault} {{'batch': 7, 'frames': 7}}"
    assert refusal(export_graph, torch.nn.Linear(6, 3), one, LINE) == f"{fault} {{'batch': 2, 'frames': 1}}"
    assert refusal(export_graph, Mixer(), apart, OUTPUTS) == "'frames' is 9 long in example 'z', 7 in another"


def test_what_differs_too_much_is_refused() -> None:
    near, far = np.zeros(3), np.array([0, 2e-4, 0])

    assert check_close("mel", near, near) == 0
    assert check_close("mel", np.array([5e-5]), np.zeros(1)) == pytest.approx(5e-5)
    assert refusal(check_close, "mel", near, far) == (
        "mel: the net differs from the model by 0.0002, want at most 0.0001"
    )
    assert refusal(check_close, "mel", near, np.array([0, np.nan, 0])) == (
        "mel: the net differs from the model by nan, want at most 0.0001"
    )
    assert refusal(check_close, "mel", near, np.zeros(4)) == "mel: the net gives [3], the model [4]"
