"""Pass on only the sentences that a voice of one script has sounds for, and refuse a text without any."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from voxstack.core.errors import RequestError
from voxstack.core.text import Sentence, Splitter
from voxstack.stages.text.clean import clean
from voxstack.stages.text.skipped import report_skipped
from voxstack.stages.text.speakable import shown

__all__ = ["KnownSplitter"]


@dataclass(slots=True)
class KnownSplitter:
    """Split with `inner`; drop the sentences that `knows` denies; raise when no other came.

    In a sentence that it knows such a voice skips what it has no sounds for; a sentence of nothing
    else is skipped whole, so one foreign word between two sentences does not end the speech. What
    it skips it reports, in the thread that feeds it.
    """

    inner: Splitter
    knows: Callable[[str], bool]
    wanted: str
    _dropped: str = field(default="", init=False)
    _spoke: bool = field(default=False, init=False)

    def feed(self, text: str) -> list[Sentence]:
        return self._known(self.inner.feed(text))

    def flush(self) -> list[Sentence]:
        return self._known(self.inner.flush())

    def finish(self) -> list[Sentence]:
        sentences = self._known(self.inner.finish())
        if not self._spoke:
            raise RequestError(
                f"nothing to speak: this voice has no sounds for {shown(self._dropped)}; {self.wanted}",
                where="text",
            )
        return sentences

    def _known(self, sentences: Iterable[Sentence]) -> list[Sentence]:
        kept: list[Sentence] = []
        for sentence in sentences:
            if self.knows(clean(sentence.text).text):
                kept.append(sentence)
            else:
                self._dropped = self._dropped or sentence.text
                report_skipped(sentence.text, sentence.start)
        self._spoke = self._spoke or bool(kept)
        return kept
