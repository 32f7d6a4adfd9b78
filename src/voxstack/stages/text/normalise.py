"""Write numbers, dates, money, times, units and abbreviations as the words that are spoken.

The work is done by the `spokenform` package (Apache-2.0), the optional extra `normalise`; it is
imported only for a text that has something to normalise. English forms that it misreads are
rewritten before it sees them; digits for which it has no words stay digits. Mandarin, which it
does not know, has rules of its own and needs no package.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from voxstack.core.errors import ConfigError
from voxstack.stages.text.mapped import Edit, MappedText
from voxstack.stages.text.rules_en import rewrite_english
from voxstack.stages.text.rules_zh import normalise_mandarin

__all__ = ["Normaliser"]

# A digit, two capitals in a row, a full stop before the last, or a sign that is not punctuation.
_WRITTEN = re.compile(r"\d|[A-Z]{2}|\.(?![\"”’)]*\s*\Z)|[^\w\s,;:!?.'\"“”‘’()…—–-]|_")
_WORD = re.compile(r"\w+")
# Letters one by one, such as A M.
_SPELLED = re.compile(r"\b[A-Z](?: [A-Z])+\b")

_CHOICES = {
    "use_spacy": False,
    "normalize_whitespace": False,
    "normalize_unicode": False,
    "strip_outer_whitespace": False,
    "collapse_horizontal_whitespace": False,
    "normalize_line_whitespace": False,
    "collapse_blank_lines": False,
    "normalize_literals": True,
}


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Put written forms of one language into words, keeping the map to the original text.

    Raises: ConfigError if the extra `normalise` is not installed or does not know the language.
    """

    language: str

    def normalise(self, mapped: MappedText) -> MappedText:
        if self.language.split("-")[0] == "zh":
            return normalise_mandarin(mapped)
        is_english = self.language.split("-")[0] == "en"
        if is_english and _WRITTEN.search(mapped.text) is None:
            return mapped
        if is_english:
            mapped = rewrite_english(mapped)
        prepare = _prepare()
        try:
            prepared = prepare(mapped.text, language=self.language, **_CHOICES)
        except (ValueError, ArithmeticError, LookupError):
            self._check_language(prepare)
            return mapped  # it stumbles over some numbers, such as 1,00024/7
        edits = [Edit(r.source_start, r.source_end, r.replacement) for r in prepared.source_replacements]
        if mapped.edited(edits).text != prepared.spoken_text:
            edits = [Edit(0, len(mapped.text), prepared.spoken_text)]
        return mapped.edited(_safe(mapped.text, edits, is_english))

    def _check_language(self, prepare: Any) -> None:
        try:
            prepare("", language=self.language, **_CHOICES)
        except ValueError as error:
            raise ConfigError(
                f"cannot normalise {self.language!r}: {error}", where="$.text.normalise"
            ) from error


def _safe(text: str, edits: list[Edit], is_english: bool) -> Iterator[Edit]:
    """Drop each edit that loses digits without a word for them; let no spelled A be the article."""
    for start, stop, replacement in edits:
        old, new = (set(_WORD.findall(part.lower())) for part in (text[start:stop], replacement))
        if new - old or not any(char.isdigit() for char in text[start:stop]):
            spelled = _SPELLED.sub(_hyphened, replacement) if is_english else replacement
            yield Edit(start, stop, spelled)


def _hyphened(found: re.Match[str]) -> str:
    return found.group().replace(" ", "-") if "A" in found.group() else found.group()


def _prepare() -> Any:
    try:
        return import_module("spokenform").prepare
    except ImportError as error:
        raise ConfigError(
            "the addon asks for normalised text, which needs the package spokenform; "
            "install it with: pip install 'voxstack[normalise]'",
            where="$.text.normalise",
        ) from error
