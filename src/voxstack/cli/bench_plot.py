"""Draw what listeners met against how many they were."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voxstack.stages.audio.diagnostics.drawing import BLUE, ORANGE, picture

if TYPE_CHECKING:
    from voxstack.testing.load import LoadReport

__all__ = ["first_audio_plot"]

WIDE_IN, HIGH_IN = 6.4, 3.6


def first_audio_plot(reports: Sequence["LoadReport"], *, title: str) -> str:
    """Return an SVG text: half and 95 % of the requests were answered by then, against streams."""
    answered = [report for report in reports if report.heard]
    streams = [report.streams for report in answered]

    def draw(axes: Any) -> None:
        for percentile, colour in ((50, BLUE), (95, ORANGE)):
            values = [report.first_audio_ms(percentile) for report in answered]
            axes.plot(streams, values, "o-", color=colour, label=f"p{percentile}")
        axes.set(xlabel="streams", ylabel="first audio, ms", ylim=(0, None))
        axes.set_xticks(streams)
        if answered:
            axes.legend(frameon=False)

    return picture(draw, title=title, wide_in=WIDE_IN, high_in=HIGH_IN, form="svg").decode()
