"""Pass on only the sentences in which there is something to speak, and refuse a text without any."""

from dataclasses import dataclass, field

from voxstack.core.errors import RequestError
from voxstack.core.text import Sentence, Splitter
from voxstack.stages.text.clean import clean, is_speakable

__all__ = ["SpeakableSplitter", "shown"]

_SHOWN = 40


def shown(text: str) -> str:
    r"""Return `text` short, on one line and with its hidden characters visible, for an error.

    Example:
        >>> shown("!\x00")
        "'!\\x00'"
    """
    return repr(_short(text, "…")) if text.isprintable() else ascii(_short(text, "..."))


def _short(text: str, more: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + more


@dataclass(slots=True)
class SpeakableSplitter:
    """Split with `inner`; drop sentences of nothing but signs; raise when nothing else came."""

    inner: Splitter
    _got: str = field(default="", init=False)
    _spoke: bool = field(default=False, init=False)

    def feed(self, text: str) -> list[Sentence]:
        if len(self._got) <= _SHOWN:
            self._got += text[: _SHOWN + 1]
        return self._speakable(list(self.inner.feed(text)))

    def flush(self) -> list[Sentence]:
        return self._speakable(list(self.inner.flush()))

    def finish(self) -> list[Sentence]:
        sentences = self._speakable(list(self.inner.finish()))
        if not self._spoke:
            got = f"got only {shown(self._got)}" if self._got else "got an empty text"
            raise RequestError(f"nothing to speak: {got}; send at least one letter or number", where="text")
        return sentences

    def _speakable(self, sentences: list[Sentence]) -> list[Sentence]:
        kept = [sentence for sentence in sentences if is_speakable(clean(sentence.text).text)]
        self._spoke = self._spoke or bool(kept)
        return kept
