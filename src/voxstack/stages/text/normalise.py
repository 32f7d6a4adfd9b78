"""Write numbers, dates, money, times, units and abbreviations as the words that are spoken.

The work is done by the `spokenform` package (Apache-2.0), the optional extra `normalise`; it is
imported only for a text that has something to normalise.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from voxstack.core.errors import ConfigError
from voxstack.stages.text.mapped import Edit, MappedText

__all__ = ["Normaliser"]

# A digit, two capitals in a row, a full stop before the last, or a sign that is not punctuation.
_WRITTEN = re.compile(r"\d|[A-Z]{2}|\.(?![\"”’)]*\s*\Z)|[^\w\s,;:!?.'\"“”‘’()…—–-]|_")


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Put written forms of one language into words, keeping the map to the original text.

    Raises: ConfigError if the extra `normalise` is not installed or does not know the language.
    """

    language: str

    def normalise(self, mapped: MappedText) -> MappedText:
        if self.language.split("-")[0] == "en" and _WRITTEN.search(mapped.text) is None:
            return mapped
        try:
            prepared = _prepare()(
                mapped.text,
                language=self.language,
                use_spacy=False,
                normalize_whitespace=False,
                normalize_unicode=False,
                strip_outer_whitespace=False,
                collapse_horizontal_whitespace=False,
                normalize_line_whitespace=False,
                collapse_blank_lines=False,
                normalize_literals=True,
            )
        except ValueError as error:
            raise ConfigError(
                f"cannot normalise {self.language!r}: {error}", where="$.text.normalise"
            ) from error
        edits = [Edit(r.source_start, r.source_end, r.replacement) for r in prepared.source_replacements]
        result = mapped.edited(edits)
        if result.text == prepared.spoken_text:
            return result
        return mapped.edited([Edit(0, len(mapped.text), prepared.spoken_text)])


def _prepare() -> Any:
    try:
        return import_module("spokenform").prepare
    except ImportError as error:
        raise ConfigError(
            "the addon asks for normalised text, which needs the package spokenform; "
            "install it with: pip install 'voxstack[normalise]'",
            where="$.text.normalise",
        ) from error
