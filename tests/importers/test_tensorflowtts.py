"""Exports of the family become addons: told apart by their graphs, cut, checked, named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ImporterError
from voxstack.engine.voice import Voice, load
from voxstack.importers import tensorflowtts
from voxstack.importers.fastspeech2 import cut_parallel
from voxstack.importers.fastspeech2_parity import check_parallel
from voxstack.importers.graphs.dropouts import lift_dropouts
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.reach import measure_reach
from voxstack.importers.mb_melgan import check_vocoder, cut_vocoder, merge_synthesis
from voxstack.importers.padding import check_padding
from voxstack.importers.tensorflowtts import import_sources
from voxstack.importers.tflite import Conversion
from voxstack.importers.vits_parity import open_session
from voxstack.stack.addon import load_addon
from voxstack.testing import check_streamable

pytestmark = pytest.mark.unit

BANDS, WIDTH = 80, 8
SYMBOLS = ["pad", "sil", "eos", "#0", "^", *["n", "h", "j", "sh", "i2", "ao3", "iii4", "ie4"]]
GOLDEN = ["sil", "n", "i2", "#0", "h", "ao3", "#0", "sh", "iii4", "#0", "j", "ie4", "sil", "eos"]


class Toy:
    """A graph as TensorFlow's exporter leaves it: channels last, sizes computed, views round convolutions."""

    def __init__(self, inputs: Sequence[Edge], outputs: Sequence[Edge], *, seed: int = 0) -> None:
        self.graph = Graph([], {}, list(inputs), list(outputs), 17)
        self.random = np.random.default_rng(seed)

    def __call__(self, op: str, *inputs: str | Constant | list[int] | float, **options: Any) -> str:
        names = [item if isinstance(item, str) else self.number(item) for item in inputs]
        return self.graph.add(op, names, options)

    def number(self, value: Constant | list[int] | float) -> str:
        array = np.asarray(value)
        return self.graph.constant(array.astype(np.float32) if array.dtype == np.float64 else array)

    def weights(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        spread = scale / np.sqrt(np.prod(shape[1:]))
        return (self.random.standard_normal(shape) * spread).astype(np.float32)

    def convolve(self, tensor: str, inputs: int, outputs: int, taps: int, **options: Any) -> str:
        """Convolve [batch, time, channels] the way it is exported."""
        wide = self("Transpose", self("Unsqueeze", tensor, [-3]), perm=[0, 3, 1, 2])
        made = self("Conv", wide, self.weights(outputs, inputs, 1, taps), kernel_shape=[1, taps], **options)
        biased = self("Add", self("Squeeze", made, [2]), self.weights(1, outputs, 1, scale=0.1))
        return self("Transpose", biased, perm=[0, 2, 1])

    def named(self, tensor: str, name: str) -> str:
        self.graph.rename(tensor, name)
        return name

    def model(self) -> onnx.ModelProto:
        return self.graph.model()


def toy_vocoder(*, hop: Sequence[int] = (20, 15)) -> onnx.ModelProto:
    """Mirror, convolve, put zeros between and filter, twice; the second pair is a filter bank's synthesis."""
    toy = Toy(
        [Edge("mels", "float32", (1, "t", BANDS))], [Edge("audio", "float32", (1, "samples", 1))], seed=1
    )
    padded = toy("Pad", "mels", [0, 3, 0, 0, 3, 0], mode="reflect")
    hidden = toy("LeakyRelu", toy.convolve(padded, BANDS, WIDTH, 7), alpha=0.2)
    wide = toy("Transpose", toy("Unsqueeze", hidden, [1]), perm=[0, 3, 2, 1])
    kernel = toy.weights(WIDTH, WIDTH, 2 * hop[0], 1, scale=hop[0] ** 0.5)
    long = toy("ConvTranspose", wide, kernel, kernel_shape=[2 * hop[0], 1], strides=[hop[0], 1])
    # The output's size is asked for, so what is too much is cropped by a size that is computed.
    steps = toy("Gather", toy("Shape", wide), [2])
    wanted = toy("Mul", steps, [hop[0]])
    extra = toy("Max", toy("Sub", toy("Gather", toy("Shape", long), [2]), wanted), [0])
    start = toy("Div", extra, [2])
    cut = toy("Slice", long, start, toy("Add", start, wanted), [2])
    hidden = toy("Transpose", toy("Squeeze", cut, [3]), perm=[0, 2, 1])
    mirrored = toy("Pad", toy("LeakyRelu", hidden, alpha=0.2), [0, 9, 0, 0, 9, 0], mode="reflect")
    bands = toy("Tanh", dilated(toy, mirrored, WIDTH, 4, 3, dilation=9))
    wide = toy("Transpose", toy("Unsqueeze", bands, [1]), perm=[0, 3, 1, 2])
    eye = (np.eye(4) * 4)[:, :, None, None] * (np.arange(hop[1]) == 0)
    zeros = toy("ConvTranspose", wide, eye, kernel_shape=[1, hop[1]], strides=[1, hop[1]])
    filtered = toy("Conv", toy("Pad", zeros, [0, 0, 0, 31, 0, 0, 0, 31]), toy.weights(1, 4, 1, 63))
    toy.named(toy("Reshape", toy("Squeeze", filtered, [2]), [1, -1, 1]), "audio")
    return toy.model()


def dilated(toy: Toy, tensor: str, inputs: int, outputs: int, taps: int, *, dilation: int) -> str:
    """Convolve with holes as it is exported: steps of one phase side by side in the batch, and back."""
    steps = toy("Gather", toy("Shape", tensor), [1])
    over = toy("Sub", steps, toy("Mul", toy("Div", steps, [dilation]), [dilation]))
    missing = toy("Sub", [dilation], over)
    missing = toy("Sub", missing, toy("Mul", toy("Div", missing, [dilation]), [dilation]))
    padded = toy("Pad", tensor, toy("Concat", [0, 0, 0, 0], missing, [0], axis=0))
    rows = toy("Div", toy("Gather", toy("Shape", padded), [1]), [dilation])
    split = toy("Reshape", padded, toy("Concat", [-1], rows, [dilation, inputs], axis=0))
    batch = toy(
        "Reshape", toy("Transpose", split, perm=[2, 0, 1, 3]), toy("Concat", [-1], rows, [inputs], axis=0)
    )
    wide = toy("Transpose", toy("Unsqueeze", batch, [-3]), perm=[0, 3, 1, 2])
    made = toy("Conv", wide, toy.weights(outputs, inputs, 1, taps), kernel_shape=[1, taps])
    flat = toy("Transpose", toy("Squeeze", made, [2]), perm=[0, 2, 1])
    left = toy("Gather", toy("Shape", flat), [1])
    back = toy("Reshape", flat, toy("Concat", [dilation, -1], left, [outputs], axis=0))
    long = toy(
        "Reshape",
        toy("Transpose", back, perm=[1, 2, 0, 3]),
        toy("Concat", [-1], toy("Mul", left, [dilation]), [outputs], axis=0),
    )
    return toy("Slice", long, [0], toy("Sub", toy("Mul", left, [dilation]), missing), [1])


def toy_parallel(
    *, refine: bool = True, dropout: bool = True, averages: bool = False, bias: float = 1.0
) -> onnx.ModelProto:
    """Encode, predict durations, pitch and energy, repeat, decode with attention over all frames, refine."""
    ratios = [Edge(name, "float32", (1,)) for name in ("speed", "f0", "energies")]
    mels = ["before", "after"] if refine else ["before"]
    toy = Toy(
        [Edge("input", "int32", (1, "n")), Edge("speaker", "int32", (1,)), *ratios],
        [*(Edge(name, "float32", (1, "f", BANDS)) for name in mels), Edge("lasts", "int32", (1, "n"))],
        seed=2,
    )
    inside = toy("Unsqueeze", toy("Not", toy("Equal", "input", np.asarray(0, np.int32))), [2])
    mask = toy("Cast", inside, to=onnx.TensorProto.FLOAT)
    rows = toy("Gather", toy.weights(len(SYMBOLS), WIDTH, scale=3), "input")
    hidden = toy("Mul", normed(toy, toy.convolve(rows, WIDTH, WIDTH, 3, auto_pad="SAME_UPPER")), mask)
    base = toy("Squeeze", predict(toy, hidden, bias), [-1])
    floats = toy("Relu", toy("Sub", toy("Exp", base), 1.0))
    whole = toy("Round", toy("Mul", floats, toy("Reshape", "speed", [1, 1])))
    toy.named(toy("Cast", whole, to=onnx.TensorProto.INT32), "lasts")
    added = [embed(toy, hidden, name, dropout=dropout) for name in ("f0", "energies")]
    varied = toy("Add", hidden, toy("Add", *added))
    frames, total = repeat(toy, varied)
    inside = toy("Less", toy("Range", np.int32(0), total, np.int32(1)), toy("Reshape", total, [1, 1]))
    count = toy("Cast", inside, to=onnx.TensorProto.INT32)
    size = toy("Squeeze", toy("Gather", toy("Shape", frames), [1]), [0])
    places = toy("Range", np.int32(1), toy("Add", toy("Cast", size, to=6), np.int32(1)), np.int32(1))
    table = toy("Gather", toy.weights(600, WIDTH), toy("Mul", toy("Unsqueeze", places, [0]), count))
    known = toy("Add", frames, table)
    if averages:
        known = toy("Sub", known, toy("ReduceMean", known, axes=[1], keepdims=1))
    weights = toy("Softmax", toy("MatMul", known, toy("Transpose", known, perm=[0, 2, 1])), axis=-1)
    seen = toy("Mul", toy("MatMul", weights, known), toy("Cast", toy("Unsqueeze", count, [2]), to=1))
    toy.named(toy("Add", toy("MatMul", seen, toy.weights(WIDTH, BANDS)), toy.weights(BANDS)), "before")
    if refine:
        refined = toy("Tanh", toy.convolve("before", BANDS, BANDS, 5, auto_pad="SAME_UPPER"))
        shown = toy("Mul", refined, toy("Cast", toy("Unsqueeze", count, [2]), to=1))
        toy.named(toy("Add", shown, "before"), "after")
    return toy.model()


def normed(toy: Toy, tensor: str) -> str:
    """Normalise the way it is exported: x · s + (shift - mean · s)."""
    mean = toy("GlobalAveragePool", tensor)
    centred = toy("Sub", tensor, mean)
    variance = toy("GlobalAveragePool", toy("Mul", centred, centred))
    spread = toy("Reciprocal", toy("Sqrt", toy("Add", variance, 1e-5)))
    factor = toy("Mul", spread, toy.weights(WIDTH, scale=2))
    shift = toy("Sub", toy.weights(WIDTH), toy("Mul", mean, factor))
    return toy("Add", toy("Mul", tensor, factor), shift)


def predict(toy: Toy, hidden: str, bias: float) -> str:
    """Return [1, phonemes, 1], by a product over a flattened batch."""
    shape = toy("Concat", toy("Gather", toy("Shape", hidden), [0, 1]), [1], axis=0)
    flat = toy("MatMul", toy("Reshape", hidden, [-1, WIDTH]), toy.weights(WIDTH, 1, scale=0.1))
    return toy("Add", toy("Reshape", flat, shape), np.asarray([bias]))


def embed(toy: Toy, hidden: str, ratio: str, *, dropout: bool) -> str:
    scaled = toy("Mul", toy("Squeeze", predict(toy, hidden, 0.3), [-1]), toy("Reshape", ratio, [1, 1]))
    wide = toy("MatMul", toy("Unsqueeze", scaled, [2]), toy.weights(1, WIDTH, scale=2))
    return toy("Dropout", wide) if dropout else wide


def repeat(toy: Toy, varied: str) -> tuple[str, str]:
    """Repeat as a comparison with a range and a mask over copies; return frames and how many they are."""
    counts = toy("Squeeze", "lasts", [0])
    most = toy("ReduceMax", counts, axes=[0], keepdims=0)
    grid = toy("Less", toy("Range", np.int32(0), most, np.int32(1)), toy("Unsqueeze", counts, [-1]))
    chosen = toy("Squeeze", toy("Transpose", toy("NonZero", toy("Reshape", grid, [-1]))), [1])
    many = toy("Concat", [1], toy("Cast", toy("Unsqueeze", most, [0]), to=7), [1], axis=0)
    copies = toy("Tile", toy("Unsqueeze", toy("Squeeze", varied, [0]), [1]), many)
    frames = toy("Gather", toy("Reshape", copies, [-1, WIDTH]), chosen, axis=0)
    return toy("Unsqueeze", frames, [0]), toy("ReduceSum", counts, keepdims=0)


@pytest.fixture(scope="module")
def vocoder() -> onnx.ModelProto:
    return toy_vocoder()


@pytest.fixture(scope="module")
def parallel() -> onnx.ModelProto:
    return toy_parallel()


@pytest.fixture
def sources(tmp_path: Path, vocoder: onnx.ModelProto, parallel: onnx.ModelProto) -> Path:
    """Return a folder with a vocoder, a parallel model and their mapper."""
    folder = tmp_path / "sources"
    folder.mkdir()
    onnx.save(vocoder, folder / "vocoder.onnx")
    onnx.save(parallel, folder / "parallel.onnx")
    mapper = {"symbol_to_id": {symbol: n for n, symbol in enumerate(SYMBOLS)}, "speakers_map": {"baker": 0}}
    (folder / "mapper.json").write_text(json.dumps(mapper), encoding="utf-8")
    return folder


def test_a_vocoder_becomes_one_net_of_plain_convolutions(vocoder: onnx.ModelProto) -> None:
    net = cut_vocoder(vocoder)

    ops = {node.op_type for node in net.model.graph.node}
    assert not ops & {"ConvTranspose", "Shape", "Gather", "Div"}
    assert net.spec["inputs"]["mel"]["axes"] == ["batch", BANDS, "frames"]
    assert check_vocoder(vocoder, net) < 1e-5


def test_the_vocoders_context_is_what_its_kernels_reach(vocoder: onnx.ModelProto) -> None:
    """Seven taps, two inputs for each upsampled step, 2 · 9 steps of 20 a frame, 63 taps of 300 samples."""
    assert cut_vocoder(vocoder).spec["ragged"] == {
        "axis": "frames",
        "context": [5, 5],
        "hop": 300,
        "pad": None,
        "chunkable": True,
        "least": 10,
        "mask": None,
        "lengths": None,
    }


def test_the_vocoder_streamed_is_the_model_run_whole(
    sources: Path, tmp_path: Path, vocoder: onnx.ModelProto, wire_addon: Any
) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "vocoder")
    addon = load_addon(tmp_path / "vocoder")
    mel = np.random.default_rng(3).standard_normal((90, BANDS)).astype(np.float32)
    whole = np.asarray(open_session(vocoder).run(None, {"mels": mel[None]})[0])

    check_streamable(
        wire_addon(tmp_path / "vocoder", source=addon.source),
        tensors={},
        source={"mel": mel},
        cuts=[[1, 300, 700], [4096]],
        expected={"samples": whole.reshape(-1)},
        tolerance=1e-5,
    )


def test_a_mirror_at_the_ends_reaches_as_far_inwards_as_it_pads() -> None:
    mirror = Graph([], {}, [Edge("x", "float32", ("batch", 1, "time"))], [], 17)
    padded = mirror.add("Pad", ["x", mirror.constant(np.asarray([0, 0, 4, 0, 0, 0]))], {"mode": "reflect"})
    # Five taps that look back only: at the start they meet the mirrored steps 1 to 4.
    kernel = mirror.constant(np.ones((1, 1, 5), np.float32))
    mirror.rename(mirror.add("Conv", [padded, kernel], {"kernel_shape": [5]}), "y")
    mirror.outputs = [Edge("y", "float32", ("batch", 1, "time"))]

    assert measure_reach(mirror, "time").context == (4, 4)


def test_zeros_between_samples_and_a_filter_are_one_transposed_convolution() -> None:
    toy = Toy([Edge("x", "float32", ("b", 4, "t"))], [Edge("y", "float32", ("b", 1, "s"))])
    long = toy("ConvTranspose", "x", toy.weights(4, 3, 5), kernel_shape=[5], strides=[4])
    toy.named(toy("Conv", long, toy.weights(1, 3, 9), kernel_shape=[9], pads=[4, 2]), "y")
    signal = np.random.default_rng(0).standard_normal((1, 4, 11)).astype(np.float32)
    before = open_session(toy.model()).run(None, {"x": signal})[0]

    assert merge_synthesis(toy.graph) == 1
    assert [node.op_type for node in toy.graph.nodes] == ["ConvTranspose"]
    np.testing.assert_allclose(open_session(toy.model()).run(None, {"x": signal})[0], before, atol=1e-5)


def test_a_parallel_model_is_cut_into_four_nets(parallel: onnx.ModelProto) -> None:
    parts = cut_parallel(parallel)

    assert {name: net.spec["role"] for name, net in parts.nets.items()} == {
        "encoder": "encoder",
        "duration": "encoder",
        "decoder": "decoder",
        "postnet": "decoder",
    }
    assert parts.nets["decoder"].spec["ragged"]["chunkable"] is False
    assert parts.nets["postnet"].spec["ragged"]["context"] == [2, 2]
    assert parts.marks.most_frames == 599


@pytest.mark.parametrize("kind", [{}, {"refine": False}, {"dropout": False}])
def test_the_chain_makes_the_models_mels_and_durations(kind: dict[str, bool]) -> None:
    parts = cut_parallel(toy_parallel(**kind))
    nets = {name: net.model for name, net in parts.nets.items()}

    assert check_parallel(parts.whole, parts.marks, nets) < 1e-5


@pytest.mark.parametrize("kind", [{}, {"refine": False}, {"dropout": False}])
def test_padding_of_anything_changes_no_net_that_is_told_of_it(kind: dict[str, bool]) -> None:
    parts = cut_parallel(toy_parallel(**kind))
    changes = check_padding(parts.nets, symbols=parts.marks.symbols)

    assert list(changes) == ["encoder", "decoder"]
    assert max(changes.values()) <= 1e-5


def test_every_net_takes_a_mask_or_can_be_cut_into_windows(parallel: onnx.ModelProto) -> None:
    nets = cut_parallel(parallel).nets

    along = {name: net.spec["ragged"] for name, net in nets.items()}
    assert {name: (said["mask"], said["chunkable"], said["context"]) for name, said in along.items()} == {
        "encoder": ("phonemes_mask", False, [0, 0]),
        "duration": (None, True, [0, 0]),  # the toy's predictors are products, a step each
        "decoder": ("frames_mask", False, [0, 0]),
        "postnet": (None, True, [2, 2]),
    }
    assert nets["encoder"].spec["inputs"]["phonemes_mask"] == {"dtype": "bool", "axes": ["batch", "phonemes"]}


def test_a_model_that_cannot_be_kept_from_reading_padding_is_refused(sources: Path, tmp_path: Path) -> None:
    """A mean over all frames takes padding for frames, and no mask before it would mend that."""
    onnx.save(toy_parallel(averages=True), sources / "parallel.onnx")

    head, _, tail = refusal(sources / "parallel.onnx", out=tmp_path / "o").partition(" by ")
    assert head == (
        f"{sources / 'parallel.onnx'}: net 'decoder', padded from 3 to 16 frames and told so, "
        "changes 'mel_before'"
    )
    assert tail.endswith(" of its greatest value, want at most 0.0001")


def test_without_names_the_same_cuts_are_found(parallel: onnx.ModelProto) -> None:
    erased = Graph.read(parallel)
    for number, name in enumerate({name for node in erased.nodes for name in node.output}):
        if not erased.is_output(name):
            erased.rename(name, f"t{number}")

    assert cut_parallel(erased.model()).nets.keys() == cut_parallel(parallel).nets.keys()


def test_a_net_that_computes_otherwise_is_refused(parallel: onnx.ModelProto) -> None:
    parts = cut_parallel(parallel)
    nets = {name: net.model for name, net in parts.nets.items()}
    other = cut_parallel(toy_parallel(bias=1.2))
    nets["duration"] = other.nets["duration"].model

    with pytest.raises(ImporterError, match="durations differ from the model's"):
        check_parallel(parts.whole, parts.marks, nets)


def test_noise_is_off_unless_asked_for_and_follows_the_seed(sources: Path, tmp_path: Path) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "vocoder")
    import_sources([sources / "parallel.onnx"], tmp_path / "voice")
    voice = load(tmp_path / "voice")

    still = [speak(voice, seed=seed) for seed in (1, 2)]
    moved = [speak(voice, seed=seed, noise=1.0) for seed in (1, 2, 1)]

    np.testing.assert_array_equal(still[0], still[1])
    np.testing.assert_array_equal(moved[0], moved[2])
    assert np.abs(moved[0] - moved[1]).max() > 1e-3
    assert np.abs(moved[0] - still[0]).max() > 1e-3


@pytest.mark.parametrize("control", ["pitch", "energy"])
def test_pitch_and_energy_are_heard(sources: Path, tmp_path: Path, control: str) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "vocoder")
    import_sources([sources / "parallel.onnx"], tmp_path / "voice")
    voice = load(tmp_path / "voice")

    plain, changed = speak(voice), speak(voice, **{control: 1.5})

    assert plain.shape == changed.shape
    assert np.abs(plain - changed).max() > 1e-3


@pytest.mark.parametrize("controls", [{}, {"speed": 1.3}, {"pitch": 1.4}, {"energy": 0.6}])
def test_a_voice_speaks_as_the_uncut_models_do(
    sources: Path,
    tmp_path: Path,
    vocoder: onnx.ModelProto,
    parallel: onnx.ModelProto,
    controls: dict[str, float],
) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "vocoder")
    import_sources([sources / "parallel.onnx"], tmp_path / "voice")
    ratios = {
        "speed": 1 / controls.get("speed", 1.0),
        "f0": controls.get("pitch", 1.0),
        "energies": controls.get("energy", 1.0),
    }
    feeds: dict[str, np.ndarray] = {name: np.asarray([value], np.float32) for name, value in ratios.items()}
    ids = np.asarray([[SYMBOLS.index(symbol) for symbol in GOLDEN]], np.int32)
    feeds |= {"input": ids, "speaker": np.zeros(1, np.int32)}
    mel = open_session(parallel).run(["after"], feeds)[0]
    whole = np.asarray(open_session(vocoder).run(None, {"mels": mel})[0]).reshape(-1)

    samples = speak(load(tmp_path / "voice"), **controls)

    np.testing.assert_allclose(samples, whole, atol=1e-4)


def test_dropout_lets_through_what_is_drawn_below_its_keep_and_makes_up_for_the_rest() -> None:
    toy = Toy([Edge("x", "float32", ("b", "n", 2))], [Edge("y", "float32", ("b", "n", 2))])
    toy.named(toy("Dropout", "x", np.asarray(0.25, np.float32)), "y")

    assert lift_dropouts(toy.graph, 2) == ("dropout_1",)
    session = open_session(toy.model())
    drawn = np.asarray([[[0.1, 0.7], [0.8, 0.99]]], np.float32)
    for noise, wanted in (
        (0, [[1, 1], [1, 1]]),
        (1, [[4 / 3, 4 / 3], [0, 0]]),
        (0.5, [[7 / 6, 7 / 6], [0.5, 0.5]]),
    ):
        feeds = {
            "x": np.ones((1, 2, 2), np.float32),
            "dropout_1": drawn,
            "noise": np.asarray(noise, np.float32),
        }
        np.testing.assert_allclose(np.asarray(session.run(None, feeds)[0])[0], wanted, rtol=1e-6)


def speak(voice: Voice, *, seed: int = 0, **controls: float) -> np.ndarray:
    ids = np.asarray([SYMBOLS.index(symbol) for symbol in GOLDEN])
    key = {"seed": np.asarray(seed), "utterance": np.asarray(0)}
    stream = voice.loaded.block.open({**voice.tensors(controls), **key, "ids": ids}, None)
    try:
        return stream.read(1 << 20)["samples"]
    finally:
        stream.close()


def test_a_voice_names_the_vocoder_that_lies_beside_it(sources: Path, tmp_path: Path) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "some-vocoder")
    report = import_sources([sources / "parallel.onnx", sources / "mapper.json"], tmp_path / "voice")

    addon = load_addon(tmp_path / "voice")
    assert addon.config.vocoder == "some-vocoder"
    assert ("vocoder", "some-vocoder") in report.lines()
    assert addon.config.golden is not None
    assert list(addon.config.golden.ids) == [SYMBOLS.index(symbol) for symbol in GOLDEN]


def test_a_vocoder_of_other_mels_beside_it_is_not_named(sources: Path, tmp_path: Path) -> None:
    import_sources([sources / "vocoder.onnx"], tmp_path / "other")
    manifest = tmp_path / "other" / "addon.json"
    text = manifest.read_text(encoding="utf-8").replace('"baker"', '"another corpus"')
    manifest.write_text(text, encoding="utf-8")
    import_sources([sources / "parallel.onnx"], tmp_path / "voice")

    assert load_addon(tmp_path / "voice").config.vocoder is None


def test_a_voice_without_a_vocoder_beside_it_names_none(sources: Path, tmp_path: Path) -> None:
    report = import_sources([sources / "parallel.onnx"], tmp_path / "voice")

    addon = load_addon(tmp_path / "voice")
    assert (addon.config.vocoder, addon.config.golden) == (None, None)
    told = 'none beside it takes these mels; set "vocoder" in addon.json when there is one'
    assert ("vocoder", told) in report.lines()


def test_the_addon_says_what_the_corpus_tells(sources: Path, tmp_path: Path) -> None:
    import_sources([sources / "parallel.onnx"], tmp_path / "voice")

    manifest = json.loads((tmp_path / "voice" / "addon.json").read_text(encoding="utf-8"))
    assert manifest["mel"] == {
        "sample_rate": 24000,
        "hop": 300,
        "bands": 80,
        "fmin": 80,
        "fmax": 7600,
        "log": "10",
        "normalisation": "baker",
    }
    assert (manifest["languages"], manifest["origin"]["family"]) == (["zh-CN"], "tensorflowtts")
    assert manifest["licence"].endswith("non-commercial use")
    text = manifest["text"]
    assert text.pop("phoneme_ids") == {symbol: [number] for number, symbol in enumerate(SYMBOLS)}
    assert text == {
        "type": "pinyin",
        "start": ["sil"],
        "end": ["sil", "eos"],
        "separator": "#0",
        "zero_initial": "^",
        "apical_vowels": {"z": "ii", "c": "ii", "s": "ii", "zh": "iii", "ch": "iii", "sh": "iii", "r": "iii"},
        "syllables": {"n": ["^", "en"], "ng": ["^", "en"], "yo": ["^", "iou"]},
        "pauses": {},
        "tone_sandhi": False,
        "normalise": "zh",
        "clause_ends": "、，：；",
        "max_characters": 60,
    }
    assert manifest["controls"] == {
        "speed": {"default": 1.0, "min": 0.5, "max": 2.0},
        "pitch": {"default": 1.0, "min": 0.5, "max": 2.0},
        "energy": {"default": 1.0, "min": 0.5, "max": 2.0},
        "noise": {"default": 0.0, "min": 0.0, "max": 1.0},
    }


def test_the_report_says_what_was_measured(sources: Path, tmp_path: Path) -> None:
    lines = dict(import_sources([sources / "parallel.onnx"], tmp_path / "voice").lines())

    assert lines["mel"] == "80 bands, 24000 Hz, 300 samples a frame"
    assert lines["context"] == "decoder all, postnet 2 | 2 frames"
    assert lines["longest"] == "7.5 s in one utterance, as its table of positions is long"
    assert lines["chain vs. model"].endswith("greatest difference, equal durations")
    assert lines["padding"].startswith("encoder ")
    assert lines["padding"].endswith(" greatest change by it")


def test_a_tflite_file_is_converted_first(
    sources: Path, tmp_path: Path, vocoder: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vocoder.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3...")
    monkeypatch.setattr(tensorflowtts, "convert", lambda _: Conversion(vocoder, "from TFLite, 0 s"))

    report = import_sources([path], tmp_path / "vocoder")

    assert ("converted", "from TFLite, 0 s") in report.lines()
    assert load_addon(tmp_path / "vocoder").config.origin["source"] == "vocoder.tflite"


def refusal(*paths: Path, out: Path) -> str:
    with pytest.raises(ImporterError) as caught:
        import_sources(list(paths), out)
    assert not out.exists()
    return str(caught.value)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no model")
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")

    assert refusal(junk, out=tmp_path / "o") == f"{junk}: neither a TFLite nor an ONNX model"
    assert refusal(empty, out=tmp_path / "o") == (
        f"{empty}: neither a TFLite nor an ONNX model: it holds no operators"
    )
    assert refusal(tmp_path / "none", out=tmp_path / "o") == f"{tmp_path / 'none'}: there is no such file"
    assert refusal(tmp_path, out=tmp_path / "o") == f"{tmp_path}: is a folder; want the .tflite or .onnx file"


def test_too_many_files_are_refused(sources: Path, tmp_path: Path) -> None:
    three = [sources / name for name in ("parallel.onnx", "mapper.json", "vocoder.onnx")]

    assert refusal(*three, out=tmp_path / "o") == f"{three[2]}: got 3 files, want MODEL [MAPPER]"


def test_a_voice_without_its_mapper_is_refused(sources: Path, tmp_path: Path) -> None:
    (sources / "mapper.json").unlink()

    assert refusal(sources / "parallel.onnx", out=tmp_path / "o") == (
        f"{sources / 'parallel.onnx'}: the JSON with its 'symbol_to_id' is wanted, and none lies beside it; "
        "name one: MODEL MAPPER"
    )


def test_a_mapper_of_a_corpus_that_is_not_known_is_refused(sources: Path, tmp_path: Path) -> None:
    mapper = sources / "mapper.json"
    mapper.write_text('{"symbol_to_id": {"a": 1}, "speakers_map": {"ljspeech": 0}}', encoding="utf-8")

    assert refusal(sources / "parallel.onnx", mapper, out=tmp_path / "o") == (
        f"{mapper}: speakers_map names the corpus 'ljspeech', whose mels and text are not known here; "
        "known: baker"
    )


@pytest.mark.parametrize("text", ['{"symbol_to_id": {"a": -1}}', "[]", '{"symbol_to_id": {}}'])
def test_a_mapper_without_ids_is_refused(sources: Path, tmp_path: Path, text: str) -> None:
    mapper = sources / "mapper.json"
    mapper.write_text(text, encoding="utf-8")

    assert refusal(sources / "parallel.onnx", mapper, out=tmp_path / "o") == (
        f"{mapper}: 'symbol_to_id' is missing, or no object of symbols and ids"
    )


def test_a_vocoder_takes_no_mapper(sources: Path, tmp_path: Path) -> None:
    given = [sources / "vocoder.onnx", sources / "mapper.json"]

    assert refusal(*given, out=tmp_path / "o") == f"{given[1]}: a vocoder has no symbols; leave MAPPER out"


def test_a_vocoder_of_other_mels_is_refused(tmp_path: Path) -> None:
    onnx.save(toy_vocoder(hop=(16, 16)), tmp_path / "other.onnx")

    assert refusal(tmp_path / "other.onnx", out=tmp_path / "o") == (
        f"{tmp_path / 'other.onnx'}: makes 256 samples of 80 bands a frame; "
        "its mels are said to have 300 and 80"
    )


def test_a_graph_that_is_neither_is_refused(sources: Path, tmp_path: Path) -> None:
    toy = Toy([Edge("x", "int32", (1, "n"))], [Edge("y", "float32", (1, "n", BANDS))])
    toy.named(toy("Gather", toy.weights(4, BANDS), "x"), "y")
    onnx.save(toy.model(), sources / "other.onnx")

    assert refusal(sources / "other.onnx", out=tmp_path / "o") == (
        f"{sources / 'other.onnx'}: durations are rounded by 0 operators; want one Round or Ceil"
    )
