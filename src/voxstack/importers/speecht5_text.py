"""Find the front end that reads a text as a SpeechT5 checkpoint's tokenizer does."""

import math
from itertools import product
from typing import Any

from voxstack.core.errors import ImporterError, VoxstackError
from voxstack.core.text import Sentence
from voxstack.importers.checkpoint import Checkpoint
from voxstack.stack.front import build_front_end

__all__ = ["read_text", "remark_on", "spoken_ids"]

Json = dict[str, Any]

SPACE, END, UNKNOWN = " ", "</s>", "<unk>"
MARK = "▁"
"""What the tokenizer writes for a space."""

SIGNS = "the  quick Brown fox…  ﬁve ａ\u00a0É 語語 x"
"""Stands behind all letters where front end and tokenizer are compared."""

LEAST_CHARACTERS, MOST_CHARACTERS = 40, 400


def read_text(checkpoint: Checkpoint) -> Json:
    """Return the front end that reads as the checkpoint's tokenizer does: character by character.

    Source:   SpeechT5Tokenizer: a sentencepiece model of characters, and an end sign; the same ids
    """
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
    own = {pieces.id_to_piece(number): number for number in range(len(pieces))}
    known = {SPACE if piece == MARK else piece: [n] for piece, n in own.items() if len(piece) == 1}
    symbols = checkpoint.number("vocab_size", math.inf)
    if len(own) > symbols:
        raise ImporterError(f"has {len(own)} symbols; the model knows {symbols:g}", where=str(path))
    letters = "".join(sign for sign in known if sign.isalpha())
    if not letters:
        raise ImporterError("knows no letter by itself; want a tokenizer of characters", where=str(path))
    end = int(checkpoint.number("eos_token_id", 2))
    longest = int(checkpoint.number("max_text_positions", 450))
    text: Json = {
        "type": "characters",
        "phoneme_ids": {**known, UNKNOWN: [pieces.unk_id()], END: [end]},
        "unknown": UNKNOWN,
        "start": SPACE if pieces.encode(letters[0])[:-1] else None,
        "end": END,
        # Half of what the model has positions for: numbers written out are longer than digits.
        "max_characters": min(MOST_CHARACTERS, max(LEAST_CHARACTERS, longest // 2)),
    }
    sample = f" {letters}  {letters[0]} {SIGNS} "
    wanted = [*pieces.encode(sample), end]
    for form, spaces, lowercase in product(("NFKC", "NFC"), ("single", "kept"), (False, True)):
        text |= {"form": form, "spaces": spaces, "lowercase": lowercase}
        if spoken_ids(text, sample) == wanted:
            break
    else:
        raise ImporterError(
            "does not read character by character; want a tokenizer of characters", where=str(path)
        )
    if checkpoint.languages[:1] and checkpoint.languages[0].split("-")[0] == "en" and "1" not in known:
        text["normalise"] = "en"
    return text


def remark_on(text: Json) -> str:
    """Say what a front end reads, for people."""
    ids = text["phoneme_ids"]
    counted = f"{sum(len(symbol) == 1 for symbol in ids)} characters"
    if "normalise" in text:
        return f"{counted}; numbers are written out in English"
    return counted if "1" in ids else f"{counted}, no digits: write numbers out"


def spoken_ids(text: Json, sentence: str) -> list[int] | None:
    """Return the ids of a sentence as the front end makes them; None if it cannot."""
    try:
        (phonemes,) = build_front_end(text).phonemize(Sentence(sentence))
    except (VoxstackError, ValueError):
        return None
    return phonemes.ids.tolist()
