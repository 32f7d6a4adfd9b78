"""A VITS checkpoint of transformers becomes a voice that says what the library says, chunk by chunk."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import ImporterError
from voxstack.core.noise import Noise
from voxstack.core.streams import EVERYTHING
from voxstack.core.text import Sentence
from voxstack.importers.checkpoint import read_checkpoint
from voxstack.importers.mms import import_checkpoint, text_of
from voxstack.stack.addon import load_addon
from voxstack.stack.front import build_front_end
from voxstack.stack.wire import wire_stack
from voxstack.testing.conformance import check_addon

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

FRENCH = "k '-abcdefghijlmnopqrstuvwxyzàâçéèêëîïôûùœ_É"
TINY: dict[str, Any] = {
    "vocab_size": len(FRENCH),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "ffn_dim": 48,
    "flow_size": 16,
    "spectrogram_bins": 9,
    "upsample_initial_channel": 32,
    "upsample_rates": [4, 4],
    "upsample_kernel_sizes": [8, 8],
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "posterior_encoder_num_wavenet_layers": 1,
    "prior_encoder_num_flows": 2,
    "prior_encoder_num_wavenet_layers": 2,
    "duration_predictor_num_flows": 2,
}
HOP = 16
KINDS: dict[str, dict[str, Any]] = {
    "one": {},
    "five": {
        "num_speakers": 5,
        "speaker_embedding_size": 12,
        "use_stochastic_duration_prediction": False,
        "speaking_rate": 0.8,
    },
}


@cache
def model(kind: str) -> Any:
    """Return a random model whose weights are small enough that it does not shout."""
    torch.manual_seed(len(kind))
    made = transformers.VitsModel(transformers.VitsConfig(**TINY, **KINDS[kind])).eval()
    with torch.no_grad():
        made.text_encoder.project.weight.mul_(0.3)
        made.decoder.conv_post.weight.mul_(0.2)
        for block in made.decoder.resblocks:
            for weight in block.parameters():
                weight.mul_(0.3)
    return made


def save(folder: Path, kind: str = "one", vocabulary: str = FRENCH, **options: Any) -> Path:
    """Write a checkpoint; one without a kind has no weights."""
    if kind:
        model(kind).save_pretrained(folder)
    else:
        folder.mkdir()
        config = {"model_type": "vits", "vocab_size": len(FRENCH)}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "model.safetensors").touch()
    numbers = {char: number for number, char in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    settings = {"language": "fra", "add_blank": True, "normalize": True, "phonemize": False, **options}
    settings |= {"pad_token": vocabulary[0], "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\nA voice.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=sorted(KINDS))
def made(request, tmp_path_factory) -> tuple[str, Path, Any]:
    root = tmp_path_factory.mktemp(request.param)
    report = import_checkpoint(save(root / "checkpoint", request.param), root / "voice")
    return request.param, root / "voice", report


def request_of(voice, ids, **controls: float):
    return {**voice.tensors(controls), "ids": ids, "utterance": np.array(0, np.int64)}


def bare_block(voice):
    """Return the voice's stack without its limiter."""
    addon = voice.loaded.addon
    stack = addon.config.model_dump()["stack"]
    assert stack[0]["streamable_block"]["stack"].pop()["type"] == "Limiter"
    return wire_stack(stack, nets=voice.loaded.nets, tensors=addon.request, frame_rate=addon.frame_rate)


def read(block, tensors, sizes: Iterator[int]):
    stream, chunks = block.open(tensors, None), []
    while not chunks or len(chunks[-1]):
        chunks.append(stream.read(next(sizes))["samples"])
    stream.close()
    return np.concatenate(chunks)


def endless(*sizes: int) -> Iterator[int]:
    while True:
        yield from sizes


def speak(monkeypatch, kind: str, ids, seed: int, **options: Any):
    """Return the library's samples for the noise that voxstack draws."""

    def draw(place: str, shape: tuple[int, ...], steps: int):
        noise = Noise(seed=seed, utterance=0, place=place, shape=shape).normal(0, steps)
        return torch.from_numpy(np.ascontiguousarray(noise.T)[None])

    monkeypatch.setattr(torch, "randn", lambda *_: draw("duration.duration_noise", (2,), len(ids)))
    monkeypatch.setattr(
        torch, "randn_like", lambda like: draw("flow.frame_noise", like.shape[1:2], like.shape[2])
    )
    with torch.no_grad():
        result = model(kind)(torch.from_numpy(ids)[None], **options)
    monkeypatch.undo()
    return result.waveform[0].numpy()


def test_the_voice_says_what_the_library_says_for_the_same_noise(made, monkeypatch):
    kind, folder, report = made
    voice = voxstack.load(folder, threads=1)
    ids = np.random.default_rng(1).integers(0, len(FRENCH), 31)
    speaker = {"speaker": 3} if kind == "five" else {}

    ours = read(bare_block(voice), request_of(voice, ids, seed=5, **speaker), endless(100, 400))
    theirs = speak(monkeypatch, kind, ids, 5, **({"speaker_id": 3} if speaker else {}))

    assert len(ours) == len(theirs) >= 31 * HOP
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert np.abs(theirs).max() > 0.05
    assert max(report.differences.values()) < 1e-5


def test_speed_is_the_librarys_speaking_rate(made, monkeypatch):
    kind, folder, _ = made
    voice = voxstack.load(folder, threads=1)
    ids = np.random.default_rng(2).integers(0, len(FRENCH), 20)

    ours = read(bare_block(voice), request_of(voice, ids, seed=1, speed=1.6), endless(800))
    rate = 1.6 * model(kind).config.speaking_rate
    theirs = speak(
        monkeypatch, kind, ids, 1, speaking_rate=rate, **({"speaker_id": 0} if kind == "five" else {})
    )

    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_chunks_join_to_the_whole(made):
    _, folder, _ = made
    voice = voxstack.load(folder, threads=1)
    tensors = request_of(voice, np.random.default_rng(3).integers(0, len(FRENCH), 40))
    whole = read(voice.loaded.block, tensors, endless(EVERYTHING))

    for sizes in ((70,), (16, 500, 1), (2000, 3)):
        np.testing.assert_allclose(
            read(voice.loaded.block, tensors, endless(*sizes)), whole, rtol=0, atol=1e-5
        )


def test_the_addon_passes_every_check_and_says_where_it_came_from(made):
    kind, folder, report = made
    assert all(finding.is_good for finding in check_addon(folder))
    config = load_addon(folder).config

    assert config.licence == "cc-by-nc-4.0"
    assert config.languages == ("fra",)
    assert config.origin["model_type"] == "vits"
    assert config.audio.sample_rate == 16_000
    assert (
        set(config.controls)
        == {
            "one": {"speed", "noise", "noise_w"},
            "five": {"speed", "noise", "speaker"},
        }[kind]
    )
    assert ("speakers", "5" if kind == "five" else "1") in report.lines()
    changes = dict(report.lines())["padding"].removesuffix(" greatest change by it").split(", ")
    assert [change.split()[0] for change in changes] == ["encoder", "duration", "flow"]
    assert max(float(change.split()[1]) for change in changes) <= 1e-5
    assert ("text", f"{len(FRENCH)} characters") in report.lines()


TEXTS = (
    "bonjour",
    "Bonjour à tous",
    "ÇA VA ÊTRE GÉNIAL",
    "Élodie mange une pomme",
    "l'été - c'est fini",
    "un deux  trois",
    "Bonjour !",
    "¡ hola",
    "« Oui », dit-il",
    "naïve cœur où",
    "İstanbul",
    "le kiwi akène",
    "œuvre_d'art",
    "ŒUVRE",
    "  oui  non ",
    "OUI... NON?! (peut-être)",
    "cafe et thé",
    "l’été à Noël",
    "½ l'été n°5",
    "12 h 30",
    "fox 語 fox",
    "語fox語語",
    "русский oui",
    "ﬁn — ﬂux…",
    "a/b\\c|d_e",
    "x² + y₃",
    "“oui” ‘non’",
    "a\u00a0fine\u3000jour\u2009là",
    "É é _É_",
    "\u0130\u0131",
    "GROẞ straße ĳ",
    "´oui¨ ¸non",
    "oui & non @ #1",
)


def front_of(folder: Path):
    return build_front_end(text_of(read_checkpoint(folder))[0])


def tokenizer_of(folder: Path):
    return transformers.VitsTokenizer.from_pretrained(str(folder), local_files_only=True)


@pytest.mark.parametrize("blank", [True, False])
def test_ids_are_those_of_the_librarys_tokenizer(tmp_path, blank):
    folder = save(tmp_path / "checkpoint", kind="", add_blank=blank)
    front, tokenizer = front_of(folder), tokenizer_of(folder)

    for text in TEXTS:
        (phonemes,) = front.phonemize(Sentence(text))
        assert phonemes.ids.tolist() == tokenizer(text)["input_ids"], text


def test_a_letter_whose_accent_is_unknown_is_read_without(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="")

    ids = front_of(folder).phonemize(Sentence("Ån"))[0].ids.tolist()
    assert ids == tokenizer_of(folder)("an")["input_ids"]


def test_a_letter_that_has_the_blanks_id_stands_between_blanks_at_the_ends_too(tmp_path):
    """So it was in training. The library takes it for a sign of its own there and leaves one out."""
    folder = save(tmp_path / "checkpoint", kind="")

    ids = front_of(folder).phonemize(Sentence("kan"))[0].ids.tolist()
    assert ids == [0, 0, 0, FRENCH.index("a"), 0, FRENCH.index("n"), 0]
    assert tokenizer_of(folder)("kan")["input_ids"] == ids[1:]


def test_the_romanian_t_with_a_comma_is_read_as_the_one_with_a_cedilla(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="", vocabulary="abţ o", language="ron")

    ids = front_of(folder).phonemize(Sentence("boț"))[0].ids.tolist()
    assert ids == tokenizer_of(folder)("boț")["input_ids"]


def test_english_numbers_are_written_out_as_for_any_english_voice(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="", language="eng")
    text, languages, _ = text_of(read_checkpoint(folder))

    assert (text["normalise"], languages) == ("en", ["en"])


def test_a_checkpoint_of_phonemes_gets_them_from_espeak(tmp_path):
    text, _, remark = text_of(read_checkpoint(save(tmp_path / "checkpoint", kind="", phonemize=True)))

    assert (text["type"], text["voice"], text["spacer"]) == ("espeak", "en-us", "<blank>")
    assert text["phoneme_ids"]["é"] == [FRENCH.index("é")]
    assert remark == "espeak-ng phonemes, as the library's phonemizer has them"


def test_what_must_be_romanised_first_is_said_in_the_report(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="", is_uroman=True)

    assert text_of(read_checkpoint(folder))[2] == (
        f"{len(FRENCH)} characters; they are Latin: "
        "a text in another script is to be romanised by uroman first"
    )


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="", vocabulary=FRENCH + "ß")
    with pytest.raises(ImporterError) as caught:
        import_checkpoint(folder, tmp_path / "voice")
    assert str(caught.value) == (
        f"{folder / 'vocab.json'}: gives 'ß' the id {len(FRENCH)}; want a whole number below {len(FRENCH)}"
    )

    (folder / "vocab.json").unlink()
    with pytest.raises(ImporterError) as caught:
        import_checkpoint(folder, tmp_path / "voice")
    assert str(caught.value) == (f"{folder}: there is no vocab.json, which says what ids the characters have")
    assert not (tmp_path / "voice").exists()


def test_a_voice_does_not_guess_how_a_text_is_read(tmp_path):
    folder = save(tmp_path / "checkpoint", kind="")
    (folder / "tokenizer_config.json").unlink()

    with pytest.raises(ImporterError) as caught:
        import_checkpoint(folder, tmp_path / "voice")
    assert str(caught.value) == (
        f"{folder}: there is no tokenizer_config.json, which says how a text is read"
    )


def test_parts_that_do_not_say_what_the_library_says_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("voxstack.importers.mms.Chain.decode", lambda *_: np.zeros((1, 9), np.float32))

    with pytest.raises(ImporterError, match=r"^samples of 3 symbols: the net gives \[1, 9\], the model "):
        import_checkpoint(save(tmp_path / "checkpoint"), tmp_path / "voice")
