"""Describe a wired stack for people: one row a block, and the same as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from voxstack.core.blocks import Timing
from voxstack.core.ports import Ports
from voxstack.stack.wire import Wired

__all__ = ["Row", "rows", "svg"]

WIDTH, HEIGHT, LEFT, ARROW, LINE = 480, 60, 30, 24, 18
"""Sizes in the picture, in its units."""


@dataclass(frozen=True)
class Row:
    """What there is to know of one block: where it stands, what it takes and gives, and its timing.

    context is in input steps; ahead_ms, how much audio of what comes after it needs, is None where that
    is everything (`needs_all`), or where there is no rate.
    """

    path: str
    type: str
    nets: tuple[str, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    steps: Fraction | None = None
    context: tuple[int, int] | None = None
    ahead_ms: float | None = None
    needs_all: bool = False
    is_container: bool = False


def rows(wired: Sequence[Wired]) -> list[Row]:
    """Return a row for each block, in the order in which data reaches them."""
    return [_row(item) for item in wired]


def svg(name: str, described: Sequence[Row]) -> str:
    """Return the chain of blocks as an SVG picture: what flows stands beside the arrows."""
    drawn: list[str] = []
    bottom = 0
    flowing: tuple[str, ...] | None = None
    for row in described:
        if row.is_container:
            continue
        labels = row.takes if flowing is None else flowing
        top = bottom + ARROW + LINE * len(labels)
        drawn += _box(row, labels, above=bottom, top=top)
        bottom, flowing = top + HEIGHT, row.gives
    labels = flowing or ()
    end = bottom + ARROW + LINE * len(labels)
    drawn += _arrow(labels, bottom, end)
    size = f'viewBox="0 0 {WIDTH + 2 * LEFT} {end + ARROW // 2}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
            f"<title>{escape(name)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"',
            ' orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
            *drawn,
            "</svg>\n",
        ]
    )


def _box(row: Row, labels: Sequence[str], *, above: int, top: int) -> list[str]:
    """Draw a block and the arrow into it."""
    shape = f'x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
    return [
        *_arrow(labels, above, top),
        f'<rect {shape} fill="#eef4fb" stroke="#3b6ea5"/>',
        f'<text x="{LEFT + 14}" y="{top + 24}" font-weight="bold">{escape(row.type)}</text>',
        f'<text x="{LEFT + 14}" y="{top + 45}" fill="#555">{escape(_about(row))}</text>',
    ]


def _arrow(labels: Sequence[str], top: int, bottom: int) -> list[str]:
    middle = LEFT + WIDTH // 4
    line = f'x1="{middle}" y1="{top + 2}" x2="{middle}" y2="{bottom - 2}"'
    label_at = [top + ARROW // 2 + LINE * place + 12 for place in range(len(labels))]
    return [
        f'<line {line} stroke="#555" marker-end="url(#tip)"/>',
        *(
            f'<text x="{middle + 12}" y="{y}" fill="#555">{escape(label)}</text>'
            for y, label in zip(label_at, labels, strict=True)
        ),
    ]


def _row(item: Wired) -> Row:
    block = item.block
    timing: Timing | None = getattr(block, "timing", None)
    consumes: Ports = getattr(block, "consumes", None) or {}
    rate = next((port.rate for port in block.gives.values() if port.rate is not None), None)
    ahead_ms = None
    if timing is not None and timing.lookahead is not None and rate is not None and consumes:
        ahead_ms = float(timing.right * timing.steps / rate * 1000)
    return Row(
        path=item.path,
        type=item.type,
        nets=_nets(block),
        takes=tuple(str(port) for port in {**block.takes, **consumes}.values()),
        gives=tuple(str(port) for port in block.gives.values()),
        steps=timing.steps if timing is not None and consumes else None,
        context=(timing.left, timing.right) if timing is not None and consumes else None,
        ahead_ms=ahead_ms,
        needs_all=timing is not None and timing.lookahead is None,
        is_container=item.is_container,
    )


def _nets(block: object) -> tuple[str, ...]:
    net = getattr(block, "net", None)
    if net is not None:
        return (net.spec.name,)
    return tuple(name for inner in getattr(block, "blocks", ()) for name in _nets(inner))


def _about(row: Row) -> str:
    parts = [f"net {', '.join(row.nets)}"] if row.nets else []
    if row.steps is not None:
        parts.append(f"1 → {row.steps}")
    if row.context and any(row.context):
        parts.append(f"context {row.context[0]} | {row.context[1]}")
    if row.needs_all:
        parts.append("needs the whole utterance")
    if row.ahead_ms:
        parts.append(f"needs {row.ahead_ms:.0f} ms ahead")
    return " · ".join(parts)
