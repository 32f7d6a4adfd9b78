"""Give the tests of importers what several of them need."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Is it a fine day, or isn't it?",
    "no",
    "Wait… what ﬁne jugs!",
    "THE FIVE BOXING WIZARDS JUMP QUICKLY",
    "café",
)


@pytest.fixture(scope="session")
def write_tokenizer() -> Callable[..., None]:
    """Return what writes a small sentencepiece model of characters; options of its trainer change it."""
    sentencepiece = pytest.importorskip(
        "sentencepiece", reason='sentencepiece is not installed: pip install "voxstack[transformers]"'
    )

    def write(path: Path, **changes: Any) -> None:
        model = io.BytesIO()
        options = {"sentence_iterator": iter(SENTENCES * 9), "model_writer": model, "minloglevel": 9}
        options |= {"model_type": "char", "vocab_size": 200, "hard_vocab_limit": False}
        options |= {"character_coverage": 1.0, "bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
        sentencepiece.SentencePieceTrainer.train(**options | changes)
        path.write_bytes(model.getvalue())

    return write
