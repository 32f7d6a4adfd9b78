"""Draw pictures of what flowed: an image of values over time, boxes for symbols that last."""

import importlib
import io
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from voxstack.core.errors import ConfigError
from voxstack.core.ports import Array

__all__ = ["BLUE", "ORANGE", "Format", "draw_boxes", "draw_image", "picture", "require_matplotlib"]

BLUE = "#4a86c5"
ORANGE = "#d98324"
COLOURS = 64
"""Few colours keep a picture small."""

Format: TypeAlias = Literal["png", "svg"]
Extent: TypeAlias = tuple[float, float, float, float]


def require_matplotlib(path: str) -> None:
    """Import matplotlib, or raise ConfigError, at `path`."""
    try:
        _canvas()
        _figure()
    except ImportError as error:
        raise ConfigError(
            'matplotlib, which draws it, is not installed; pip install "voxstack[report]"', where=path
        ) from error


def picture(
    draw: Callable[[Any], None], *, title: str, wide_in: float, high_in: float, form: Format
) -> bytes:
    """Return a picture as a file holds it; `draw` is given its axes.

    No setting of the library is changed, not even for a while: others may draw at the same time.
    """
    figure = _figure().Figure(figsize=(wide_in, high_in), layout="constrained")
    _canvas().FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    draw(axes)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=form, dpi=100, metadata={"Date": None} if form == "svg" else {})
    return drawn.getvalue()


def _canvas() -> Any:
    """Return the part of matplotlib that draws into memory, without its types: they are not complete."""
    return importlib.import_module("matplotlib.backends.backend_agg")


def _figure() -> Any:
    return importlib.import_module("matplotlib.figure")


def draw_image(
    axes: Any, values: Array, extent: Extent, *, low: float | None = None, high: float | None = None
) -> None:
    """Draw values, rows from the bottom up, at their own resolution."""
    if not values.size or extent[0] == extent[1] or extent[2] == extent[3]:
        return
    axes.imshow(
        values,
        cmap=importlib.import_module("matplotlib").colormaps["magma"].resampled(COLOURS),
        vmin=low,
        vmax=high,
        extent=extent,
        aspect="auto",
        origin="lower",
        interpolation="none",
    )


def draw_boxes(axes: Any, positions: Array, *, begin_s: float, rate: float, base: int) -> None:
    """Draw a box for each symbol, as wide as it lasts; nothing where there is none (below 0)."""
    if not len(positions):
        return
    cuts = np.flatnonzero(np.diff(positions)) + 1
    starts = np.concatenate([[0], cuts])
    stops = np.concatenate([cuts, [len(positions)]])
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        place = int(positions[start])
        if place < 0:
            continue
        axes.broken_barh(
            [(begin_s + start / rate, (stop - start) / rate)],
            (base + place, 1),
            color=(BLUE, ORANGE)[number % 2],
            linewidth=0.8,  # to be seen where symbols are many
        )
