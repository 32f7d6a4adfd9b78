"""A FastSpeech2Conformer checkpoint becomes a voice and a vocoder that say what the library says."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import voxstack
from voxstack.core.errors import ImporterError
from voxstack.core.streams import EVERYTHING
from voxstack.core.text import Sentence
from voxstack.importers.checkpoint import read_checkpoint
from voxstack.importers.cut_net import CutNet
from voxstack.importers.fastspeech2_conformer import import_checkpoint, text_of
from voxstack.importers.padding import check_padding
from voxstack.importers.torch_export import run_net
from voxstack.stack.addon import load_addon
from voxstack.stack.front import build_front_end
from voxstack.stack.wire import wire_stack
from voxstack.testing.conformance import check_addon

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("onnxscript", reason="torch exports with onnxscript")

BANDS, HOP = 12, 16
TINY: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_mel_bins": BANDS,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_linear_units": 24,
    "decoder_linear_units": 24,
    "decoder_kernel_size": 7,
    "speech_decoder_postnet_units": 16,
    "duration_predictor_channels": 16,
    "energy_predictor_channels": 16,
    "energy_embed_kernel_size": 3,
    "pitch_predictor_channels": 16,
    "pitch_predictor_layers": 2,
}
KINDS: dict[str, dict[str, Any]] = {
    "many": {
        "num_speakers": 4,
        "num_languages": 3,
        "speaking_speed": 1.3,
        "encoder_normalize_before": True,
        "decoder_concat_after": True,
    },
    "vocoder": {"decoder_normalize_before": True},
}
VOCODER: dict[str, Any] = {
    "model_in_dim": BANDS,
    "upsample_initial_channel": 32,
    "upsample_rates": [4, 4],
    "upsample_kernel_sizes": [8, 8],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
    "initializer_range": 0.15,
}


@cache
def model(kind: str) -> Any:
    """Return a random model that gives each symbol a few frames; "vocoder" has one."""
    torch.manual_seed(len(kind))
    config = transformers.FastSpeech2ConformerConfig(**TINY, **KINDS[kind])
    if kind != "vocoder":
        made = transformers.FastSpeech2ConformerModel(config).eval()
        acoustic = made
    else:
        vocoder = transformers.FastSpeech2ConformerHifiGanConfig(**VOCODER)
        both = transformers.FastSpeech2ConformerWithHifiGanConfig(
            model_config=config.to_dict(), vocoder_config=vocoder.to_dict()
        )
        made = transformers.FastSpeech2ConformerWithHifiGan(both).eval()
        acoustic = made.model
    with torch.no_grad():
        acoustic.duration_predictor.linear.bias.fill_(1.5)
        for layer in acoustic.speech_decoder_postnet.layers:
            layer.batch_norm.running_mean.normal_(std=0.1)
            layer.batch_norm.running_var.uniform_(0.5, 2)
        if made is not acoustic:
            made.vocoder.mean.normal_()
            made.vocoder.scale.uniform_(0.5, 2)
    return made


def acoustic_of(kind: str) -> Any:
    return model(kind).model if kind == "vocoder" else model(kind)


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Callable[[str], tuple[Path, Any]]:
    """Return the voice made of a model, and the import's report."""

    @cache
    def make(kind: str) -> tuple[Path, Any]:
        root = tmp_path_factory.mktemp(kind)
        model(kind).save_pretrained(root / "checkpoint")
        return root / "voice", import_checkpoint(root / "checkpoint", root / "voice")

    return make


@pytest.fixture(scope="module", params=sorted(KINDS))
def pieces(request, imported) -> tuple[str, dict[str, CutNet]]:
    folder, _ = imported(request.param)
    nets = json.loads((folder / "addon.json").read_text(encoding="utf-8"))["nets"]
    return request.param, {key: CutNet(onnx.load(folder / net["file"]), net) for key, net in nets.items()}


def some_ids(length: int, seed: int = 0):
    return np.random.default_rng(seed).integers(1, TINY["vocab_size"], length)


def said(kind: str, ids, **chosen: int) -> Any:
    numbers = {name: torch.tensor([number]) for name, number in chosen.items()}
    with torch.no_grad():
        return model(kind)(torch.from_numpy(ids)[None], return_dict=True, **numbers)


def one(number: float):
    return np.array(number, np.float32)


def told(**steps: int):
    """Return masks of so many steps without padding."""
    return {f"{axis}_mask": np.ones((1, number), bool) for axis, number in steps.items()}


def read(block, tensors, *sizes: int, port: str = "samples"):
    stream, chunks = block.open(tensors, None), []
    while not chunks or len(chunks[-1]):
        chunks.append(stream.read(sizes[len(chunks) % len(sizes)])[port])
    stream.close()
    return np.concatenate(chunks)


def request_of(voice, ids, **controls: float):
    return {**voice.tensors(controls), "ids": ids, "utterance": np.array(0, np.int64)}


@pytest.mark.parametrize("length", [1, 6, 50])
def test_each_net_gives_what_its_part_of_the_model_gives(pieces, length):
    kind, nets = pieces
    library = acoustic_of(kind)
    chosen = {"speaker": 2, "language": 1} if kind == "many" else {}
    ids = some_ids(length)
    masks = told(phonemes=length, frames=3 * length)
    feeds = {"ids": ids[None], **masks, **{name: np.array([n]) for name, n in chosen.items()}}
    with torch.no_grad():
        encoded = library.encoder(torch.from_numpy(ids)[None], None, return_dict=False)[0]
        for name, n in chosen.items():
            encoded = encoded + getattr(library, f"{name}_id_embedding")(torch.tensor([n]))[:, None]
        got = run_net(nets["encoder"], feeds)["encoded"]
        np.testing.assert_allclose(got, encoded.numpy(), rtol=0, atol=1e-4)

        varied = run_net(nets["variance"], {**masks, "encoded": got, "pitch": one(1), "energy": one(1)})
        durations = library.duration_predictor(encoded).numpy()
        np.testing.assert_array_equal(varied["durations"], durations)
        hidden = encoded + library.pitch_embed(library.pitch_predictor(encoded))
        hidden = hidden + library.energy_embed(library.energy_predictor(encoded))
        np.testing.assert_allclose(varied["hidden"], hidden.numpy(), rtol=0, atol=1e-4)

        frames = torch.randn(1, 3 * length, TINY["hidden_size"])
        decoded = library.decoder(frames, None, return_dict=False)[0]
        rough, mel = library.speech_decoder_postnet(decoded)
        got = run_net(nets["decoder"], {**masks, "hidden": frames.numpy()})["rough_mel"]
        np.testing.assert_allclose(got, rough.numpy(), rtol=0, atol=1e-4)
        got = run_net(nets["postnet"], {"rough_mel": rough.numpy()})["mel"]
        np.testing.assert_allclose(got, mel.numpy(), rtol=0, atol=1e-4)


def test_pitch_and_energy_are_multiplied(pieces):
    kind, nets = pieces
    library = acoustic_of(kind)
    encoded = torch.randn(1, 9, TINY["hidden_size"])
    feeds = {**told(phonemes=9), "encoded": encoded.numpy(), "pitch": one(1.5), "energy": one(0.25)}
    got = run_net(nets["variance"], feeds)
    with torch.no_grad():
        pitch, energy = library.pitch_predictor(encoded) * 1.5, library.energy_predictor(encoded) * 0.25
        hidden = encoded + library.pitch_embed(pitch) + library.energy_embed(energy)

    np.testing.assert_allclose(got["hidden"], hidden.numpy(), rtol=0, atol=1e-5)


def test_symbols_without_any_duration_last_a_frame_each_as_in_the_library(pieces):
    kind, nets = pieces
    library = acoustic_of(kind)
    torch.manual_seed(0)
    encoded = torch.randn(200, 1, TINY["hidden_size"])
    with torch.no_grad():
        durations = library.duration_predictor(encoded)[:, 0].numpy()
    silent = int(np.argwhere(durations == 0)[0][0])
    feeds = {"encoded": encoded[silent : silent + 1].numpy(), "pitch": one(1), "energy": one(1)}
    feeds |= told(phonemes=1)

    assert run_net(nets["variance"], feeds)["durations"].tolist() == [[1]]


def test_the_decoder_takes_more_frames_than_the_librarys_table_has(pieces):
    _, nets = pieces
    frames = np.zeros((1, 5200, TINY["hidden_size"]), np.float32)

    feeds = {"hidden": frames, **told(frames=5200)}
    assert run_net(nets["decoder"], feeds)["rough_mel"].shape == (1, 5200, BANDS)


def test_padding_of_anything_changes_no_net_that_is_told_of_it(pieces):
    _, nets = pieces
    sizes = [(1, 2), (5, 64), (31, 32), (50, 128)]
    changes = check_padding(nets, symbols=TINY["vocab_size"], sizes=sizes)

    assert list(changes) == ["encoder", "variance", "decoder"]
    assert max(changes.values()) <= 1e-5


def test_symbols_without_any_duration_last_a_frame_each_however_long_the_padding_would(pieces):
    kind, nets = pieces
    library = acoustic_of(kind)
    torch.manual_seed(0)
    encoded = torch.randn(200, 1, TINY["hidden_size"])
    with torch.no_grad():
        durations = library.duration_predictor(encoded)[:, 0].numpy()
    silent, longest = int(np.argwhere(durations == 0)[0][0]), int(durations.argmax())
    padded = encoded[[silent, longest, longest], 0][None].numpy()
    feeds = {"encoded": padded, "pitch": one(1), "energy": one(1)}
    feeds["phonemes_mask"] = np.asarray([[True, False, False]])

    assert run_net(nets["variance"], feeds)["durations"][0, 0] == 1


def test_only_the_postnet_is_cut_into_windows(pieces):
    _, nets = pieces
    assert {name: net.spec["ragged"]["chunkable"] for name, net in nets.items()} == {
        "encoder": False,
        "variance": False,
        "decoder": False,
        "postnet": True,
    }
    assert nets["postnet"].spec["ragged"]["context"] == [10, 10]  # five layers of five


@pytest.mark.parametrize(("speed", "speaker", "language"), [(1.0, 0, 0), (0.7, 3, 2), (1.7, 1, 0)])
def test_a_voice_without_vocoder_gives_the_librarys_mel(imported, load_nets, speed, speaker, language):
    made, (folder, _) = model("many"), imported("many")
    addon = load_addon(folder)
    nets, rate = load_nets(addon), addon.frame_rate
    block = wire_stack(addon.config.stack, nets=nets, tensors=addon.request, frame_rate=rate, mel=addon.mel)
    ids = some_ids(25, seed=4)
    tensors = {
        "ids": ids,
        "speed": one(speed),
        "pitch": one(1),
        "energy": one(1),
        "speaker": np.array(speaker),
        "language": np.array(language),
    }
    made.config.speaking_speed = float(np.float32(1.3) / np.float32(speed))
    wanted = said("many", ids, speaker_ids=speaker, lang_ids=language).spectrogram[0].numpy()
    made.config.speaking_speed = 1.3

    got = read(block, tensors, 3, 11, port="mel")
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


def test_speakers_and_languages_become_controls(imported):
    config = load_addon(imported("many")[0]).config

    assert config.vocoder is None
    assert set(config.controls) == {"speed", "pitch", "energy", "speaker", "language"}
    assert (config.controls["speaker"].max, config.controls["language"].max) == (3, 2)


def test_voice_and_vocoder_say_what_the_library_says(imported):
    folder, report = imported("vocoder")
    voice = voxstack.load(folder, threads=1)
    ids = some_ids(30, seed=2)
    wanted = said("vocoder", ids)
    got = read(voice.loaded.block, request_of(voice, ids), 100, 333)

    assert len(got) == len(wanted.waveform[0]) >= 30 * HOP
    np.testing.assert_allclose(got, wanted.waveform[0].numpy(), rtol=0, atol=1e-4)
    assert wanted.waveform.abs().max() > 0.02
    assert set(report.differences) == {"mel", "vocoder"}
    assert max(report.differences.values()) < 1e-4


def test_chunks_join_to_the_whole(imported):
    folder, _ = imported("vocoder")
    voice = voxstack.load(folder, threads=1)
    tensors = request_of(voice, some_ids(40, seed=3), speed=0.8, pitch=1.4, energy=0.5)
    whole = read(voice.loaded.block, tensors, EVERYTHING)

    for sizes in ((70,), (16, 500, 1), (2000, 3)):
        np.testing.assert_allclose(read(voice.loaded.block, tensors, *sizes), whole, rtol=0, atol=1e-5)


def test_the_checkpoint_with_vocoder_makes_two_addons_that_pass_every_check(imported):
    folder, _ = imported("vocoder")
    beside = folder.with_name("voice-vocoder")
    voice, vocoder = load_addon(folder).config, load_addon(beside).config

    assert all(finding.is_good for finding in check_addon(folder))
    assert (voice.vocoder, vocoder.name) == ("voice-vocoder", "voice-vocoder")
    assert voice.mel == vocoder.mel
    assert voice.mel.model_dump() == {
        "sample_rate": 22050,
        "hop": HOP,
        "bands": BANDS,
        "fmin": 80.0,
        "fmax": 7600.0,
        "log": "10",
        "normalisation": "fastspeech2_conformer",
    }
    assert voice.golden is not None


def test_a_checkpoint_of_the_vocoder_alone_fits_a_voice_of_the_same_training(imported, tmp_path):
    folder, _ = imported("vocoder")
    model("vocoder").vocoder.save_pretrained(tmp_path / "checkpoint")
    import_checkpoint(tmp_path / "checkpoint", tmp_path / "universal")
    alone = load_addon(tmp_path / "universal").config

    assert (alone.takes, alone.gives) == ("mel", "audio")
    assert alone.mel == load_addon(folder).config.mel


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ({"reduction_factor": 2}, "its decoder gives 2 frames of mel for each of its own; want 1"),
        ({"speaking_speed": 0.0}, "speaking_speed is 0.0; want more than 0"),
        ({"speaker_embed_dim": 8}, "its speakers are vectors of 8 numbers; want speakers by number"),
    ],
)
def test_what_the_stack_has_no_place_for_is_refused(tmp_path, option, wanted):
    config = transformers.FastSpeech2ConformerConfig(**TINY, **option)
    transformers.FastSpeech2ConformerModel(config).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ImporterError) as caught:
        import_checkpoint(tmp_path / "checkpoint", tmp_path / "voice")

    assert str(caught.value) == f"{tmp_path / 'checkpoint'}: {wanted}"
    assert not (tmp_path / "voice").exists()


def test_nets_that_differ_from_the_model_are_refused(pieces, tmp_path, monkeypatch):
    kind, nets = pieces
    broken = onnx.ModelProto()
    broken.CopyFrom(nets["postnet"].model)
    weight = max(broken.graph.initializer, key=lambda item: len(item.raw_data))
    weight.raw_data = (onnx.numpy_helper.to_array(weight) * np.float32(1.01)).tobytes()
    nets = {**nets, "postnet": CutNet(broken, nets["postnet"].spec)}
    monkeypatch.setattr("voxstack.importers.fastspeech2_conformer.nets_of", lambda _: nets)
    model(kind).save_pretrained(tmp_path / "checkpoint")

    with pytest.raises(ImporterError, match=r"^the mel of 2 symbols: the net differs from the model by "):
        import_checkpoint(tmp_path / "checkpoint", tmp_path / "voice")
    assert not (tmp_path / "voice").exists()


VOCABULARY = (
    "<blank> <unk> AH0 N T D S R L DH K Z IH1 M W HH OW1 ER1 , . ? ! ' AA1 JH AE1 IY0 EH0 IH0 UW1 <sos/eos>"
)


def vocabulary(folder: Path, symbols: str) -> Any:
    (folder / "config.json").write_text('{"model_type": "fastspeech2_conformer"}', encoding="utf-8")
    (folder / "model.safetensors").touch()
    numbers = {symbol: number for number, symbol in enumerate(symbols.split())}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    return text_of(read_checkpoint(folder), TINY["vocab_size"])


def test_text_is_spelt_in_the_vocabularys_arpabet(tmp_path):
    pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")
    text, languages, remark = vocabulary(tmp_path, VOCABULARY)
    symbols = [s for p in build_front_end(text).phonemize(Sentence("Hello world; it is.")) for s in p.symbols]

    assert (languages, remark) == (["en"], "ARPAbet by espeak-ng")
    assert " ".join(symbols) == "HH AH0 L OW1 W ER1 L D ; IH1 T IH1 Z . <sos/eos>"
    assert text["phoneme_ids"][";"] == text["phoneme_ids"][","]


def test_another_vocabulary_gives_no_front_end(tmp_path):
    assert vocabulary(tmp_path, "a b <sos/eos>") == (
        None,
        [],
        "none: there is no vocab.json with ARPAbet symbols, so this voice takes ids only",
    )


def test_an_id_that_the_model_has_not_is_refused(tmp_path):
    symbols = [*VOCABULARY.split(), *(f"more{number}" for number in range(30))]

    with pytest.raises(ImporterError) as caught:
        vocabulary(tmp_path, " ".join(symbols))
    assert str(caught.value) == (
        f"{tmp_path / 'vocab.json'}: gives '{symbols[40]}' the id 40; want a whole number below 40"
    )
