"""Read what judged the voices elsewhere, a recogniser say, and show it on the page of a comparison."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from voxstack.core.errors import ConfigError, RequestError
from voxstack.stack.strict import parse_json, validated

__all__ = ["Scores", "read_scores"]

Cell: TypeAlias = str | int | float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A table of scores: who judged and how, in words, and a row each of the same columns."""

    method: str
    rows: Annotated[tuple[dict[str, Cell], ...], Field(min_length=1, strict=False)]

    def html(self) -> str:
        """Return the table as a part of the page."""
        columns = list(self.rows[0])
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
        body = "".join(f"<tr>{''.join(_cell(row[column]) for column in columns)}</tr>" for row in self.rows)
        return (
            '<h2 id="scores">Judged by machine</h2>'
            '<div class="wide" role="region" aria-labelledby="scores" tabindex="0"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            f'<p class="soft">{escape(self.method)}</p>'
        )


def read_scores(path: Path) -> Scores:
    """Return the scores of a JSON file.

    Raises:   RequestError if it cannot be read; ConfigError if it holds something else, or if its rows
              differ in their columns
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        scores = validated(Scores, parse_json(text, where="$"))
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{path}: {error.where}") from error
    columns = list(scores.rows[0])
    for place, row in enumerate(scores.rows):
        if list(row) != columns:
            raise ConfigError(
                f"got the columns {_listed(row)}, want {_listed(columns)} as in the first row",
                where=f"{path}: $.rows[{place}]",
            )
    return scores


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{value if isinstance(value, int) else f"{value:.2f}"}</td>'


def _listed(columns: Sequence[str] | dict[str, Any]) -> str:
    return json.dumps(list(columns), ensure_ascii=False)
