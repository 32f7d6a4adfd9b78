"""A SpeechT5 checkpoint becomes an addon that says what the library's generate_speech says."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from voxstack.core.errors import ImporterError
from voxstack.core.feeds import Feeds
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Port
from voxstack.core.text import Sentence
from voxstack.engine.loading import load_stack
from voxstack.importers.checkpoint import import_sources
from voxstack.importers.cut_net import CutNet
from voxstack.importers.speecht5 import import_checkpoint
from voxstack.importers.speecht5_nets import encode, guided_heads, refine, step
from voxstack.importers.speecht5_parity import NetLoop, speak
from voxstack.importers.speecht5_speakers import read_speakers
from voxstack.importers.torch_export import run_net
from voxstack.importers.writing import AddonReport
from voxstack.stack.addon import load_addon, seal
from voxstack.stack.front import build_front_end

pytestmark = pytest.mark.slow

WHY = 'is not installed: pip install "voxstack[transformers]"'
torch = pytest.importorskip("torch", reason=f"torch {WHY}")
transformers = pytest.importorskip("transformers", reason=f"transformers {WHY}")
sentencepiece = pytest.importorskip("sentencepiece", reason=f"sentencepiece {WHY}")

BANDS, UNITS, WIDTH, PAD = 12, 24, 16, 1
SHAPE = {
    "hidden_size": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "num_mel_bins": BANDS,
    "speech_decoder_prenet_units": UNITS,
    "speaker_embedding_dim": WIDTH,
    "speech_decoder_postnet_layers": 3,
    "speech_decoder_postnet_units": 20,
    "max_speech_positions": 400,
    "max_text_positions": 120,
    "encoder_max_relative_position": 8,
    "initializer_range": 0.3,
}


def model_of(vocabulary: int) -> Any:
    """Return a model of random weights, which never says by itself that it has come to an end."""
    torch.manual_seed(0)
    model = transformers.SpeechT5ForTextToSpeech(transformers.SpeechT5Config(vocab_size=vocabulary, **SHAPE))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.3, 1.2)
        model.speech_decoder_postnet.prob_out.bias.fill_(-6)
    return model.eval().requires_grad_(requires_grad=False)


def stops_of(model: Any, ids: np.ndarray, speaker: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return what the library compares with its threshold in each step, [steps]."""
    logits: list[Any] = []
    head = model.speech_decoder_postnet.prob_out
    hook = head.register_forward_hook(lambda _, __, given: logits.append(given[0]))
    speak(model, ids, speaker, noise, threshold=9, most_steps=len(noise))
    hook.remove()
    return torch.sigmoid(torch.stack(logits)).sum(-1).numpy()


def late_stop(stops: np.ndarray) -> tuple[float, int]:
    """Return a threshold that is first reached late, and the number of steps until then."""
    highest = np.maximum.accumulate(stops)
    last = int(np.flatnonzero(highest[1:] > highest[:-1])[-1]) + 1
    return float(highest[last - 1] + highest[last]) / 2, last + 1


@dataclass(frozen=True)
class Imported:
    model: Any
    folder: Path
    speakers: Path
    addon: Path
    report: AddonReport

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.addon / "addon.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, write_tokenizer: Callable[..., None]) -> Imported:
    root = tmp_path_factory.mktemp("checkpoints")
    folder, speakers, addon = root / "tts", root / "speakers.npz", root / "addons" / "reader"
    folder.mkdir()
    write_tokenizer(folder / "spm_char.model")
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm_char.model")).vocab_size()
    model = model_of(vocabulary)
    model.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage:\n- en\n---\n# A voice\n")
    draw = np.random.default_rng(5).standard_normal
    np.savez(speakers, anna=draw(WIDTH), ben=3 * draw((1, WIDTH)))
    vocoder = {
        "model_in_dim": BANDS,
        "upsample_initial_channel": 16,
        "upsample_rates": [16, 16],
        "upsample_kernel_sizes": [32, 32],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1]],
    }
    hifigan = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**vocoder))
    for name, weight in hifigan.named_parameters():
        if weight.ndim == 3:  # let signals through, so that differences can be heard
            read = weight.shape[0] * 2 if "upsampler" in name else weight.shape[1] * weight.shape[2]
            weight.data.normal_(0, read**-0.5)
    hifigan.save_pretrained(root / "hifigan")
    import_sources([root / "hifigan"], root / "addons" / "universal")
    report = import_sources([folder, speakers], addon)
    assert isinstance(report, AddonReport)
    return Imported(model, folder, speakers, addon, report)


@pytest.fixture(scope="module")
def nets(imported: Imported) -> dict[str, CutNet]:
    """The nets as they lie in the addon."""
    files = {name: str(imported.addon / net["file"]) for name, net in imported.manifest["nets"].items()}
    return {name: CutNet(onnx.load(file), imported.manifest["nets"][name]) for name, file in files.items()}


def request_of(imported: Imported, text: str, *, speaker: int = 0, seed: int = 7) -> dict[str, np.ndarray]:
    (phonemes,) = build_front_end(imported.manifest["text"]).phonemize(Sentence(text))
    return {
        "ids": phonemes.ids,
        "speaker": np.array(speaker, np.int64),
        "seed": np.array(seed, np.int64),
        "utterance": np.array(0, np.int64),
    }


def noise_of(spec: NetSpec, request: dict[str, np.ndarray], steps: int) -> np.ndarray:
    """Draw what the block draws, [steps, layers, units]."""
    names = {*spec.takes} - {"dropout"}
    feeds = Feeds(spec, request, consumed={name: Port(name, "float32", ()) for name in names})
    return feeds.noise(0, steps)["dropout"]


def random_ids(model: Any, length: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, model.config.vocab_size, length)


# The addon


def test_padding_changes_no_net_that_is_told_of_it(imported: Imported) -> None:
    changes = dict(imported.report.lines())["padding"].removesuffix(" greatest change by it").split(", ")

    shares = {name: float(share) for name, share in map(str.split, changes)}
    assert shares.keys() == {"encoder", "step"}
    assert shares["encoder"] <= 1e-5
    assert shares["step"] <= 1e-4  # its random weights make much of how another size is rounded


def test_what_stands_in_padding_does_not_change_a_bit_of_a_step(nets: dict[str, CutNet]) -> None:
    """So what another size changes is rounding. NaN is spared it: a cache that grows has no fixed size."""
    inputs = nets["step"].spec["inputs"]
    sizes = {"batch": 1, "phonemes": 16, "past": 3}
    random = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {"position": np.array(3)}
    for name, entry in inputs.items():
        shape = [sizes.get(axis, axis) for axis in entry["axes"]]
        feeds.setdefault(name, random.standard_normal(shape).astype(np.float32))
    feeds["phonemes_mask"] = feeds["attended"] = (np.arange(16) < 9).astype(np.float32)[None]
    others = dict(feeds)
    for name in (name for name in inputs if name.startswith("memory")):
        others[name] = feeds[name].copy()
        others[name][:, :, 9:] = 1000

    one, other = run_net(nets["step"], feeds), run_net(nets["step"], others)
    for name in ("mel_before", "stop", "alignment"):
        np.testing.assert_array_equal(one[name], other[name])


def test_the_addon_holds_encoder_speaker_step_and_postnet(imported: Imported) -> None:
    addon = load_addon(imported.addon)

    roles = {name: spec.role for name, spec in addon.specs.items()}
    assert roles == {"encoder": "encoder", "speaker": "encoder", "step": "step", "postnet": "decoder"}
    assert addon.specs["postnet"].ragged.context == (6, 6)
    assert addon.specs["step"].inputs["dropout"].random == "uniform"
    assert addon.specs["step"].state == {
        "last_frame": "last_frame_next",
        **{f"past_{kind}_{n}": f"past_{kind}_{n}_next" for n in (0, 1) for kind in ("keys", "values")},
    }


def test_the_addon_says_what_the_checkpoint_says(imported: Imported) -> None:
    manifest = imported.manifest

    assert (manifest["gives"], manifest["licence"], manifest["languages"]) == ("mel", "mit", ["en"])
    assert manifest["vocoder"] == "universal"
    assert manifest["mel"] == {
        "sample_rate": 16000,
        "hop": 256,
        "bands": BANDS,
        "fmin": 80.0,
        "fmax": 7600.0,
        "log": "10",
        "normalisation": "none",
    }
    assert manifest["controls"]["speaker"]["choices"] == {"anna": 0, "ben": 1}
    assert manifest["text"]["normalise"] == "en"
    assert manifest["text"]["max_characters"] == 60


def test_the_report_says_how_near_the_nets_come(imported: Imported) -> None:
    assert imported.report.differences.keys() == {"mel", "alignment"}
    assert max(imported.report.differences.values()) < 2e-5
    assert dict(imported.report.lines())["speakers"] == "anna, ben"


def test_the_golden_sample_is_spoken_at_import(imported: Imported) -> None:
    assert imported.manifest["golden"]["audio"] == "golden/sample.flac"


# Piece by piece


def test_the_encoder_gives_the_librarys_memory_as_keys_and_values(
    imported: Imported, nets: dict[str, CutNet]
) -> None:
    model, ids = imported.model, random_ids(imported.model, 17)
    ids[4] = PAD
    attended = torch.from_numpy(ids != PAD)[None].int()
    with torch.no_grad():
        memory = model.speecht5.encoder(
            torch.from_numpy(ids)[None], attention_mask=attended
        ).last_hidden_state
        last = model.speecht5.decoder.wrapped_decoder.layers[-1].encoder_attn
        keys = last.k_proj(memory).view(1, 17, 4, 8).transpose(1, 2).numpy()

    got = run_net(nets["encoder"], {"ids": ids[None], "phonemes_mask": np.ones((1, 17), np.float32)})

    np.testing.assert_allclose(got["memory_keys_1"], keys, atol=1e-5)
    assert got["attended"].tolist() == attended.tolist()


def test_a_step_makes_the_librarys_frames_from_any_number_of_steps_before(
    imported: Imported, nets: dict[str, CutNet]
) -> None:
    model, ids = imported.model, random_ids(imported.model, 9)
    noise = np.random.default_rng(2).random((30, 2, UNITS), np.float32)
    speaker = read_speakers(imported.speakers, width=WIDTH).table[:1]

    for steps in (1, 2, 30):
        got = NetLoop.open(nets).speak(ids, speaker, noise, threshold=9, most_steps=steps)
        want = speak(model, ids, speaker, noise, threshold=9, most_steps=steps)

        assert got.mel.shape == (2 * steps, BANDS)
        assert np.abs(want.mel).max() > 1
        np.testing.assert_allclose(got.mel, want.mel, atol=2e-5)
        np.testing.assert_allclose(got.alignment, want.alignment, atol=1e-5)


def test_noise_stands_for_the_masks_that_the_library_draws(
    imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids, speaker = imported.model, random_ids(imported.model, 5), np.eye(1, WIDTH, dtype=np.float32)
    noise = np.random.default_rng(4).random((10, 2, UNITS), np.float32)
    rows = iter(torch.from_numpy(noise.reshape(-1, UNITS)))
    got = speak(model, ids, speaker, noise, threshold=9, most_steps=10).mel

    monkeypatch.setattr(torch, "bernoulli", lambda hidden, p: (next(rows) < p).float().expand(hidden.shape))
    want = model.generate_speech(
        torch.from_numpy(ids)[None], torch.from_numpy(speaker), threshold=9.0, maxlenratio=4.0
    )

    np.testing.assert_array_equal(got, want.numpy())


def test_alignment_looks_at_the_heads_that_training_guides() -> None:
    def heads(**options: Any) -> int:
        return guided_heads(transformers.SpeechT5Config(**SHAPE, **options))

    assert heads() == 2
    assert heads(guided_attention_loss_num_heads=3) == 3
    assert heads(guided_attention_loss_num_heads=9) == 4
    assert heads(use_guided_attention_loss=False) == 4


def test_alignment_is_a_share_of_attention_for_each_symbol(
    imported: Imported, nets: dict[str, CutNet]
) -> None:
    ids = random_ids(imported.model, 9)
    noise = np.random.default_rng(2).random((4, 2, UNITS), np.float32)
    speaker = read_speakers(imported.speakers, width=WIDTH).table[:1]

    spoken = NetLoop.open(nets).speak(ids, speaker, noise, threshold=9, most_steps=4)

    assert spoken.alignment.shape == (4, 9)
    np.testing.assert_allclose(spoken.alignment.sum(1), 1, atol=1e-5)


def first_step(
    nets: dict[str, CutNet], ids: np.ndarray, mask: np.ndarray, position: int = 0
) -> dict[str, Any]:
    text = run_net(nets["encoder"], {"ids": ids[None], "phonemes_mask": mask[None]})
    feeds = {
        **{name: np.zeros((1, 4, 0, 8), np.float32) for name in nets["step"].spec["state"]},
        "last_frame": np.ones((1, BANDS), np.float32),
        "dropout": np.full((2, 1, UNITS), 0.1, np.float32),
        "speaker_embedding": np.eye(1, WIDTH, dtype=np.float32),
        "position": np.asarray(position),
        "phonemes_mask": mask[None],
    }
    return run_net(nets["step"], {**text, **feeds})


def test_what_the_mask_leaves_out_is_not_read(imported: Imported, nets: dict[str, CutNet]) -> None:
    ids, mask = random_ids(imported.model, 8), np.ones(8, np.float32)
    more, less = np.concatenate([ids, ids[:3]]), np.concatenate([mask, np.zeros(3, np.float32)])

    alone, padded = first_step(nets, ids, mask), first_step(nets, more, less)

    np.testing.assert_allclose(padded["mel_before"], alone["mel_before"], atol=1e-5)
    np.testing.assert_allclose(padded["alignment"][:, :8], alone["alignment"], atol=1e-6)
    assert not padded["alignment"][:, 8:].any()


def test_steps_beyond_the_positions_of_training_stand_at_the_last(
    imported: Imported, nets: dict[str, CutNet]
) -> None:
    ids, mask = random_ids(imported.model, 8), np.ones(8, np.float32)

    early, last, beyond = (first_step(nets, ids, mask, place)["mel_before"] for place in (7, 399, 10_000))

    assert np.array_equal(last, beyond)
    assert np.abs(early - last).max() > 1e-2


def test_the_postnet_refines_as_the_library_does(imported: Imported, nets: dict[str, CutNet]) -> None:
    mel = np.random.default_rng(0).standard_normal((1, 33, BANDS)).astype(np.float32)
    with torch.no_grad():
        want = imported.model.speech_decoder_postnet.postnet(torch.from_numpy(mel)).numpy()

    got = run_net(nets["postnet"], {"mel_before": np.ascontiguousarray(mel.transpose(0, 2, 1))})

    np.testing.assert_allclose(got["mel"].transpose(0, 2, 1), want, atol=1e-5)


# Why a loop of steps can drift


@pytest.mark.parametrize(("ids", "drifts"), [([9, 5, 7, 6], False), ([9, PAD, 7, 6], True)])
def test_only_the_padding_token_makes_a_loop_without_its_mask_drift(ids: list[int], *, drifts: bool) -> None:
    """In float64 nothing is left of the difference but rounding; who attends to padding is far off."""
    model = model_of(20).double()
    noise = np.random.default_rng(3).random((20, 2, UNITS))
    speaker = np.eye(1, WIDTH)
    wanted = speak(model, np.array(ids), speaker, noise, threshold=9, most_steps=20).mel

    masked = torch_loop(model, ids, speaker, noise)
    model.config.pad_token_id = -1
    unmasked = torch_loop(model, ids, speaker, noise)

    assert np.abs(masked - wanted).max() < 1e-13
    assert bool(np.abs(unmasked - wanted).max() > 1e-2) is drifts


def torch_loop(model: Any, ids: list[int], speaker: np.ndarray, noise: np.ndarray) -> np.ndarray:
    frames, mask = [], torch.ones(1, len(ids)).double()
    last, past = torch.zeros(1, BANDS).double(), [torch.zeros(1, 4, 0, 8).double()] * 4
    with torch.no_grad():
        attended, *memory = encode(model, torch.tensor([ids]), mask)
        for number, drawn in enumerate(torch.from_numpy(noise)):
            made = step(
                model,
                last,
                torch.tensor(number),
                drawn[:, None],
                torch.from_numpy(speaker),
                mask,
                attended,
                *memory,
                *past,
            )
            frames.append(made[0][0])
            last, past = made[3], made[4:]
        return refine(model, torch.cat(frames).T[None])[0].T.numpy()


# End to end


@pytest.mark.parametrize(("text", "speaker"), [("isn't it?", 0), ("no", 1)])
@pytest.mark.parametrize("stops", [True, False], ids=["until it stops", "until it must"])
def test_the_voice_speaks_as_generate_speech_does(
    imported: Imported, tmp_path: Path, text: str, speaker: int, *, stops: bool
) -> None:
    request = request_of(imported, text, speaker=speaker)
    embedding = np.load(imported.speakers)[("anna", "ben")[speaker]].reshape(1, WIDTH).astype(np.float32)
    steps = len(request["ids"]) * 20 // 2
    noise = noise_of(load_addon(imported.addon).specs["step"], request, steps)
    threshold = 0.5
    if stops:
        threshold, steps = late_stop(stops_of(imported.model, request["ids"], embedding, noise))
    addon = with_threshold(imported.addon, tmp_path / "reader", threshold)
    mel = speak(
        imported.model, request["ids"], embedding, noise, threshold=threshold, most_steps=len(noise)
    ).mel
    folder = imported.folder.parent / "hifigan"
    hifigan = transformers.SpeechT5HifiGan.from_pretrained(folder).eval()
    with torch.no_grad():
        audio = hifigan(torch.from_numpy(mel)).numpy()

    loaded = load_stack(load_addon(addon), folders=[imported.addon.parent])
    stream = loaded.block.open(request, None)
    chunks = [stream.read(10_000)["samples"]]
    while len(chunks[-1]):
        chunks.append(stream.read(10_000)["samples"])
    stream.close()

    samples = np.concatenate(chunks)
    assert np.abs(audio).max() > 0.1
    assert samples.shape == (256 * 2 * steps,)
    np.testing.assert_allclose(samples, audio, atol=1e-5)


def with_threshold(addon: Path, folder: Path, threshold: float) -> Path:
    """Return a copy of the addon that stops elsewhere."""
    shutil.copytree(addon, folder)
    manifest = json.loads((folder / "addon.json").read_text(encoding="utf-8"))
    decoder = manifest["stack"][0]["streamable_block"]["stack"][0]
    assert decoder["stop_threshold"] == 0.5
    decoder["stop_threshold"] = threshold
    (folder / "addon.json").write_text(json.dumps(manifest), encoding="utf-8")
    seal(folder)
    return folder


@pytest.mark.parametrize("seed", range(2))
def test_the_loop_stops_where_the_library_stops(
    imported: Imported, nets: dict[str, CutNet], seed: int
) -> None:
    loop, ids = NetLoop.open(nets), random_ids(imported.model, 6, seed=8)
    speaker = read_speakers(imported.speakers, width=WIDTH).table[:1]
    noise = np.random.default_rng(seed).random((40, 2, UNITS), np.float32)
    late, steps = late_stop(stops_of(imported.model, ids, speaker, noise))

    assert steps > 1
    for threshold, wanted in ((0.0, 1), (late, steps), (0.5, 40)):
        got = loop.speak(ids, speaker, noise, threshold=threshold, most_steps=40)
        want = speak(imported.model, ids, speaker, noise, threshold=threshold, most_steps=40)
        assert len(got.mel) == len(want.mel) == 2 * wanted


# Refusals


def test_the_model_needs_a_speaker(imported: Imported, tmp_path: Path) -> None:
    with pytest.raises(ImporterError) as caught:
        import_sources([imported.folder], tmp_path / "out")

    assert str(caught.value) == (
        f"{imported.folder}: the model has no voice of its own: "
        "it takes that of a speaker embedding (x-vector); "
        "name a .npy or .npz file of one or more after the folder"
    )


def test_a_model_for_another_task_is_refused(tmp_path: Path) -> None:
    model = model_of(20)
    model.save_pretrained(tmp_path / "asr")
    config = tmp_path / "asr" / "config.json"
    config.write_text(config.read_text().replace("SpeechT5ForTextToSpeech", "SpeechT5ForSpeechToText"))

    with pytest.raises(ImporterError, match="is a SpeechT5ForSpeechToText; want a SpeechT5ForTextToSpeech"):
        import_checkpoint(tmp_path / "asr", tmp_path / "out")
