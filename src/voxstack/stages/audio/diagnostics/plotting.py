"""Write a picture at the end of each utterance: what both plots share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voxstack.core.errors import ConfigError
from voxstack.core.events import REASON, Event, report
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.drawing import Format, picture, require_matplotlib
from voxstack.stages.audio.diagnostics.numbered_files import NumberedFiles
from voxstack.stages.audio.diagnostics.passing import Place

__all__ = ["PlotOptions", "Sheet"]


class PlotOptions(Protocol):
    """Options of a plot: folder, name, format, seconds that are drawn, files that may be there."""

    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def format(self) -> Format: ...
    @property
    def most_s(self) -> float: ...
    @property
    def most_files(self) -> int: ...


@dataclass(frozen=True)
class Sheet:
    """Where pictures go, and how much of an utterance is on one."""

    kind: str
    place: Place
    files: NumberedFiles
    form: Format
    most_steps: int

    @classmethod
    def of(cls, options: PlotOptions, site: Site, *, kind: str, name: str) -> "Sheet":
        """Return the sheet that options ask for; raise ConfigError if there cannot be such a one."""
        if not 0 < options.most_s <= 600:
            raise ConfigError(
                f"got {options.most_s} s, want more than 0, at most 600", where=f"{site.path}.most_s"
            )
        require_matplotlib(site.path)
        name = name if options.name is None else options.name
        files = NumberedFiles.within(options.path, name, options.most_files, path=site.path)
        place = Place.of(site, options.name, site.source or {})
        return cls(kind, place, files, options.format, place.most(options.most_s))

    @property
    def rate(self) -> float:
        """Steps in one unit of the time axis: of a second, or of a step where there are no seconds."""
        return float(self.place.rate or 1)

    def write(
        self, draw: Callable[[Any], None], *, what: str, utterance: int, steps: int, high_in: float
    ) -> None:
        """Draw an utterance and write it down, whole or not at all; report it if that fails."""
        rate = self.place.rate
        shown = min(steps, self.most_steps)
        title = f"{self.place.title}{what} of utterance {utterance}"
        if shown < steps:
            size = (
                f"{shown / float(rate):g} of {steps / float(rate):.3g} s"
                if rate
                else f"{shown} of {steps} steps"
            )
            title += f", cut: the first {size}"

        def drawn(axes: Any) -> None:
            draw(axes)
            axes.set(xlim=(0, shown / self.rate), xlabel="step" if rate is None else "seconds")

        path = None
        try:
            if not self.files.is_full():
                data = picture(drawn, title=title, wide_in=9.0, high_in=high_in, form=self.form)
                path = self.files.write(utterance, f".{self.form}", data)
        except OSError as error:
            reason = error.strerror or str(error)
            self.report("failed", steps, f"no picture could be written: {reason}", {REASON: reason})
            return
        if path is None:
            most = f"{self.files.most} files named '{self.files.name}' are the most"
            self.report("full", steps, f"{most}; this utterance is not drawn")

    def report(self, what: str, steps: int, text: str, values: Mapping[str, Any] | None = None) -> None:
        """Tell what went wrong with a picture."""
        place, kind = self.place, f"{self.kind}.{what}"
        report(Event(kind, place.name, place.frame(steps), f"{place.title}{text}", values or {}))
