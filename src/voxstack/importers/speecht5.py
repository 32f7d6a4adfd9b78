"""Turn a SpeechT5 checkpoint of the transformers library into an addon: encoder, decoder step, postnet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError, VoxstackError
from voxstack.core.text import Sentence
from voxstack.importers.checkpoint import (
    Checkpoint,
    CheckpointReport,
    load_model,
    read_checkpoint,
    write_addon,
)
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.speecht5_nets import cut_speecht5, guided_heads
from voxstack.importers.torch_export import check_close, net_of
from voxstack.importers.vits import CutNet
from voxstack.importers.vits_parity import open_session
from voxstack.stack.front import build_front_end

__all__ = ["NetLoop", "Speakers", "Spoken", "import_checkpoint", "read_speakers", "read_text", "speak"]

Json = dict[str, Any]
Array = NDArray[Any]

MODEL = "SpeechT5ForTextToSpeech"
PREFIX, END = "▁", "</s>"
STOP_THRESHOLD, MOST_FRAMES_PER_SYMBOL = 0.5, 20.0
"""What generate_speech takes where it is not told otherwise (threshold, maxlenratio)."""

CHECKED_STEPS = 24
CHECKED_LENGTHS = (2, 9, 40)
LEAST_CHARACTERS, MOST_CHARACTERS = 40, 400
LETTERS = "The quick brown fox jumps over the lazy dog."


def import_checkpoint(folder: Path, out: Path, embeddings: Path | None = None) -> CheckpointReport:
    """Write the addon of a checkpoint.

    In:       embeddings  .npy or .npz of speaker embeddings (x-vectors): the model has no voice of its own
    Source:   _generate_speech in the library's modeling_speecht5.py
    """
    checkpoint = read_checkpoint(folder)
    made_for = checkpoint.config.get("architectures") or [MODEL]
    if MODEL not in made_for:
        raise ImporterError(f"is a {made_for[0]}; want a {MODEL}", where=str(folder))
    if embeddings is None:
        raise ImporterError(
            "the model has no voice of its own: it takes that of a speaker embedding (x-vector); "
            "name a .npy or .npz file of one or more after the folder",
            where=str(folder),
        )
    speakers = read_speakers(embeddings, width=int(checkpoint.config.get("speaker_embedding_dim", 512)))
    text = read_text(checkpoint)
    model = load_model(checkpoint, MODEL)
    nets = {**cut_speecht5(model), "speaker": speakers.net()}
    differences = _check(model, NetLoop.open(nets), speakers.table[:1])
    manifest = {**_manifest(checkpoint, model.config, speakers), "text": text}
    manifest = write_addon(out, checkpoint, nets, manifest, golden_ids=_spoken(text, "This is a test."))
    left, right = nets["postnet"].spec["ragged"]["context"]
    facts = (
        ("speakers", ", ".join(speakers.names)),
        ("frames", f"{model.config.reduction_factor} a step"),
        ("context", f"postnet {left} | {right} frames"),
        ("vocoder", manifest["vocoder"] or "none beside it takes these mels; name one in addon.json"),
    )
    return CheckpointReport(out, manifest["name"], facts, differences)


@dataclass(frozen=True)
class Speakers:
    """The voices that the model can take: names, and a table [speakers, width] of unit length."""

    names: tuple[str, ...]
    table: Array

    def net(self) -> CutNet:
        """Return the encoder that gives the embedding of the speaker that a request names by number."""
        out = Edge("speaker_embedding", "float32", ("batch", self.table.shape[1]))
        graph = Graph([], {"table": self.table}, [Edge("speaker", "int64", ("batch",))], [out], opset=18)
        graph.rename(graph.add("Gather", ["table", "speaker"]), out.name)
        return net_of(graph, role="encoder", ragged=None)


def read_speakers(path: Path, *, width: int) -> Speakers:
    """Read speaker embeddings: [width] or [speakers, width], in a .npy, or by their names in a .npz."""
    where = str(path)
    try:
        found = np.load(path, allow_pickle=False)
        arrays = dict(found) if hasattr(found, "files") else {path.stem: found}
    except (OSError, ValueError) as error:
        raise ImporterError(
            f"no .npy or .npz of numbers: {str(error).partition(chr(10))[0]}", where=where
        ) from error
    names: list[str] = []
    rows: list[Array] = []
    for name, array in arrays.items():
        table = np.atleast_2d(array)
        if table.ndim != 2 or table.shape[1] != width or table.dtype.kind not in "fiu" or not len(table):
            raise ImporterError(
                f"'{name}' is {array.dtype} {list(array.shape)}; want [{width}] or [speakers, {width}]",
                where=where,
            )
        lengths = np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths) & (lengths > 0)):
            raise ImporterError(
                f"'{name}' holds an embedding of zeros, or one that is not finite", where=where
            )
        rows.append(table / lengths)
        names += [name] if len(table) == 1 else [f"{name}-{number}" for number in range(len(table))]
    if not rows:
        raise ImporterError("holds no embeddings", where=where)
    return Speakers(tuple(names), np.concatenate(rows).astype(np.float32))


def read_text(checkpoint: Checkpoint) -> Json:
    """Return the front end that reads as the checkpoint's tokenizer does: character by character."""
    path = checkpoint.path("spm_char.model", what="the characters that the model reads")
    try:
        import sentencepiece  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ImporterError(
            'needs sentencepiece to read it: pip install "voxstack[transformers]"', where=str(path)
        ) from error
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ImporterError("not a sentencepiece model", where=str(path)) from error
    end = int(checkpoint.config.get("eos_token_id", 2))
    known = _characters(pieces)
    anchor = next((sign for sign in known if sign.isalpha()), None)
    if anchor is None:
        raise ImporterError("knows no letter by itself; want a tokenizer of characters", where=str(path))
    prefix = pieces.encode(anchor)[:-1]
    longest = int(checkpoint.config.get("max_text_positions", 450))
    text: Json = {
        "type": "characters",
        "phoneme_ids": {**({PREFIX: prefix} if prefix else {}), **known, END: [end]},
        "start": PREFIX if prefix else None,
        "end": END,
        # Half of what the model has positions for: numbers written out are longer than digits.
        "max_characters": min(MOST_CHARACTERS, max(LEAST_CHARACTERS, longest // 2)),
    }
    if checkpoint.languages[:1] and checkpoint.languages[0].split("-")[0] == "en" and "1" not in known:
        text["normalise"] = "en"
    sample = " ".join(word for word in LETTERS.split() if all(sign in known for sign in word))
    if sample and _spoken(text, sample) != [*pieces.encode(sample), end]:
        raise ImporterError("does not read character by character", where=str(path))
    return text


def _characters(pieces: Any) -> dict[str, list[int]]:
    """Return the ids of each character that is known, or is read as known ones ("…" as three full stops)."""
    own = [pieces.id_to_piece(number) for number in range(len(pieces))]
    letter = next((piece for piece in own if len(piece) == 1 and piece.isalpha() and piece != PREFIX), None)
    if letter is None:
        return {}
    before = pieces.encode(letter)
    signs = {chr(code) for code in (*range(0x20, 0x2200), *range(0x3000, 0x3100), *range(0xFB00, 0xFB07))}
    found: dict[str, list[int]] = {}
    for sign in sorted(signs | {piece for piece in own if len(piece) == 1 and piece != PREFIX}):
        ids = pieces.encode(f"{letter}{sign}{letter}")
        inner = ids[len(before) : -1]
        if (
            ids[: len(before)] == before
            and inner
            and pieces.unk_id() not in inner
            and ids[-1:] == before[-1:]
        ):
            found[sign] = inner
    return found


def _spoken(text: Json, sentence: str) -> list[int] | None:
    """Return the ids of a sentence as the front end makes them; None if it cannot."""
    try:
        (phonemes,) = build_front_end(text).phonemize(Sentence(sentence))
    except (VoxstackError, ValueError):
        return None
    return phonemes.ids.tolist()


@dataclass(frozen=True)
class Spoken:
    """What became of some ids: mel [frames, bands], and what each step read, [steps, ids]."""

    mel: Array
    alignment: Array


@dataclass(frozen=True)
class NetLoop:
    """Run the cut nets one after another, plainly: nothing shared with the engine."""

    sessions: Mapping[str, Any]
    nets: Mapping[str, CutNet]

    @classmethod
    def open(cls, nets: Mapping[str, CutNet]) -> "NetLoop":
        names = ("encoder", "step", "postnet")
        return cls({name: open_session(nets[name].model) for name in names}, nets)

    def speak(self, ids: Array, speaker: Array, noise: Array, *, threshold: float, most_steps: int) -> Spoken:
        """Speak ids [phonemes] with noise [steps, layers, units], until it stops or has made most_steps."""
        mask = np.ones((1, len(ids)), np.float32)
        text = self._run("encoder", {"ids": ids[None], "phonemes_mask": mask})
        constant = {**text, "phonemes_mask": mask, "speaker_embedding": speaker}
        state = self._nothing()
        frames: list[Array] = []
        alignment: list[Array] = []
        for number in range(most_steps):
            new = {"position": np.asarray(number), "dropout": noise[number][:, None]}
            made = self._run("step", {**constant, **state, **new})
            state = {name: made[f"{name}_next"] for name in state}
            frames.append(made["mel_before"][0])
            alignment.append(made["alignment"][0])
            if made["stop"][0] >= threshold:
                break
        before = np.concatenate(frames).T[None]
        mel = self._run("postnet", {"mel_before": np.ascontiguousarray(before)})["mel"][0].T
        return Spoken(mel, np.stack(alignment))

    def _nothing(self) -> dict[str, Array]:
        """Return the state before the first step: a silent frame, empty caches."""
        step = self.nets["step"].spec
        shapes = {name: step["inputs"][name]["axes"] for name in step["state"]}
        empty: Mapping[str | int, int] = {"batch": 1, "past": 0}
        return {
            name: np.zeros([empty[axis] if axis in empty else int(axis) for axis in axes], np.float32)
            for name, axes in shapes.items()
        }

    def _run(self, name: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        session = self.sessions[name]
        names = [item.name for item in session.get_outputs()]
        results = session.run(names, {item.name: feeds[item.name] for item in session.get_inputs()})
        return dict(zip(names, results, strict=True))


def speak(
    model: Any, ids: Array, speaker: Array, noise: Array, *, threshold: float, most_steps: int
) -> Spoken:
    """Let the library speak, with the same noise: its prenet draws a mask a layer and step, for all frames.

    It does so anew for frames of earlier steps too, but what it makes of those it throws away.
    """
    import torch  # pyright: ignore[reportMissingImports]

    prenet = model.speecht5.decoder.prenet
    drawn = iter(torch.from_numpy(noise.reshape(-1, noise.shape[-1])).to(model.dtype))

    def dropout(hidden: Any, keep: float) -> Any:
        return torch.where(next(drawn) < keep, hidden, 0) * 1 / (1 - keep)

    prenet.__dict__["_consistent_dropout"] = dropout
    try:
        with torch.no_grad():
            mel, weights = model.generate_speech(
                torch.from_numpy(ids)[None],
                torch.from_numpy(speaker).to(model.dtype),
                threshold=threshold,
                # The library turns the ratio back into steps and drops what is left of a whole one.
                maxlenratio=(most_steps + 0.5) * model.config.reduction_factor / len(ids),
                output_cross_attentions=True,
            )
    finally:
        del prenet.__dict__["_consistent_dropout"]
    return Spoken(mel.numpy(), weights[:, : guided_heads(model.config)].mean((0, 1)).numpy())


def _check(model: Any, nets: NetLoop, speaker: Array) -> dict[str, float]:
    """Return the largest differences between the nets' loop and the library's own, with the same noise.

    Raises:   ImporterError where they differ by more than 1e-4, or stop at different frames
    """
    random = np.random.default_rng(0)
    config = model.config
    shape = (CHECKED_STEPS, config.speech_decoder_prenet_layers, config.speech_decoder_prenet_units)
    mel, alignment = 0.0, 0.0
    for length in CHECKED_LENGTHS:
        ids = random.integers(0, config.vocab_size, length)
        noise = random.random(shape, np.float32)
        for threshold in (STOP_THRESHOLD, config.reduction_factor + 1.0):  # the second never stops
            got = nets.speak(ids, speaker, noise, threshold=threshold, most_steps=CHECKED_STEPS)
            want = speak(model, ids, speaker, noise, threshold=threshold, most_steps=CHECKED_STEPS)
            mel = max(mel, check_close("mel", got.mel, want.mel))
            alignment = max(alignment, check_close("alignment", got.alignment, want.alignment))
    return {"mel": mel, "alignment": alignment}


def _manifest(checkpoint: Checkpoint, config: Any, speakers: Speakers) -> Json:
    """Return what addon.json says of this kind of voice."""
    extractor = checkpoint.json("preprocessor_config.json")
    rate = int(extractor.get("sampling_rate", 16000))
    decoder = {
        "type": "AutoregressiveDecoder",
        "stop_threshold": STOP_THRESHOLD,
        "most_frames_per_symbol": MOST_FRAMES_PER_SYMBOL,
        # Several heads of several layers are averaged here: what they do is told, and ends nothing.
        "attention": {"ends_on": []},
    }
    return {
        "gives": "mel",
        "audio": {"sample_rate": rate},
        "mel": {
            "sample_rate": rate,
            "hop": int(extractor.get("hop_length", 16)) * rate // 1000,
            "bands": config.num_mel_bins,
            "fmin": float(extractor.get("fmin", 80)),
            "fmax": float(extractor.get("fmax", 7600)),
            "log": "10",
            "normalisation": "none",
        },
        "controls": {
            "speaker": {
                "default": 0,
                "min": 0,
                "max": len(speakers.names) - 1,
                "dtype": "int64",
                "choices": {name: number for number, name in enumerate(speakers.names)},
            }
        },
        "stack": [
            {
                "type": "StreamablePipeline",
                "sequence_block": {"type": "Encoders"},
                "streamable_block": {
                    "type": "StreamableStack",
                    "stack": [decoder, {"type": "Decoder", "net": "postnet"}],
                },
            }
        ],
    }
