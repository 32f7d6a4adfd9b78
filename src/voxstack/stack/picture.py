"""Draw a stack's graph as an SVG picture."""

from html import escape

from voxstack.stack.drawn import FONT, Arrow, Box, Words
from voxstack.stack.graph import Graph
from voxstack.stack.layout import lay_out

__all__ = ["svg"]

BOXES = {
    "block": 'fill="#eef4fb" stroke="#3b6ea5"',
    "fault": 'fill="#fdecea" stroke="#c62828" stroke-width="2"',
    "unknown": 'fill="#f4f4f4" stroke="#888" stroke-dasharray="5 3"',
    "request": 'fill="#f3f7ec" stroke="#6b8e3d"',
    "unmet": 'fill="#fff" stroke="#c62828" stroke-width="2" stroke-dasharray="5 3"',
    "end": 'fill="#f3f7ec" stroke="#6b8e3d"',
    "frame": 'fill="#777" fill-opacity="0.05" stroke="#999"',
    "frame fault": 'fill="#c62828" fill-opacity="0.05" stroke="#c62828"',
}
WORDS = {
    "title": 'font-weight="bold"',
    "fault": 'fill="#c62828"',
    "unmet": 'fill="#c62828"',
    "unknown": 'fill="#777"',
    "label": 'fill="#444"',
    "frame": 'fill="#666" font-style="italic"',
}
RED = ("unmet",)


def svg(graph: Graph) -> str:
    """Return a picture: blocks as boxes in the frames of their containers, tensors at the arrows."""
    layout = lay_out(graph)
    size = f'viewBox="0 0 {layout.width:g} {layout.height:g}"'
    font = f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
            f"<title>{escape(graph.title)}</title>",
            f"<defs>{_tip('tip', '#555')}{_tip('red', '#c62828')}</defs>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *map(_box, layout.boxes),
            *map(_arrow, layout.arrows),
            *map(_words, layout.words),
            "</svg>\n",
        ]
    )


def _tip(name: str, colour: str) -> str:
    size = 'viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
    return f'<marker id="{name}" {size}><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'


def _box(box: Box) -> str:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    return f'<rect {place} rx="6" {BOXES[box.kind]}/>'


def _arrow(arrow: Arrow) -> str:
    points = " ".join(f"{x:g},{y:g}" for x, y in arrow.points)
    colour, tip = ("#c62828", "red") if arrow.kind in RED else ("#555", "tip")
    return f'<polyline points="{points}" fill="none" stroke="{colour}" marker-end="url(#{tip})"/>'


def _words(words: Words) -> str:
    style = WORDS.get(words.kind, 'fill="#333"')
    return f'<text x="{words.x:g}" y="{words.y:g}" {style}>{escape(words.text)}</text>'
