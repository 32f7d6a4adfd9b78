"""Stretch a text encoding to frames: repeat each phoneme's step as often as it lasts."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError, NetError, WiringError, suggest
from voxstack.core.events import ALIGNMENT, DURATIONS, Event, report
from voxstack.core.ports import Array, Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.streams import ArrayStream

__all__ = ["Upsampler"]

SPEED = Port("speed", "float32", ())

MOST_S = 300
"""Seconds that one utterance may last; durations beyond are a fault, and would fill the memory."""

MOST_FRAME_RATE = 200
"""Frames per second that are taken for possible where the addon does not say."""
HEAD = Timing()


@dataclass(frozen=True)
class Upsampler:
    """The head of a stream of frames: phoneme steps repeated by their durations.

    In:       durations  int64 or float32 [phonemes], frames; stretched by length_scale / speed, rounded
              others     [phonemes, …], all that are at hand or those named by `tensors`
    Out:      the others, [frames, …], frames = sum(durations)
    Reports:  durations, as they are after stretching; alignment
    Source:   the length regulator of FastSpeech (Ren et al. 2019, §3.2)
    Raises:   NetError if durations are no numbers, or ask for more than five minutes
    """

    @dataclass(frozen=True)
    class Options:
        """`tensors` names what is repeated (default: all float tensors beside the durations)."""

        durations: str = "durations"
        tensors: tuple[str, ...] | None = None
        rounding: Literal["ceil", "round"] = "round"
        length_scale: float = 1.0

    options: Options
    takes: Ports
    gives: Ports
    consumes: Ports | None = None
    timing: Timing = HEAD
    most_frames: int = 60_000

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Upsampler":
        if options.length_scale <= 0:
            raise ConfigError(
                f"got {options.length_scale}, want a number above 0", where=f"{site.path}.length_scale"
            )
        durations = _found(options.durations, site.tensors, f"{site.path}.durations")
        if len(durations.axes) != 1:
            raise WiringError(f"durations are {durations}, want [phonemes]", where=f"{site.path}.durations")
        axis = durations.axes[0]
        names = options.tensors
        if names is None:
            names = tuple(
                name
                for name, port in site.tensors.items()
                if port.axes[:1] == (axis,) and name != options.durations and port.dtype.startswith("float")
            )
        if not names:
            raise WiringError(f"nothing with axis '{axis}' is there to be repeated", where=site.path)
        repeated = [_found(name, site.tensors, f"{site.path}.tensors") for name in names]
        takes = {port.name: port for port in (durations, *repeated)}
        if SPEED.name in site.tensors:
            takes[SPEED.name] = SPEED
        gives = {
            port.name: replace(port, axes=("frames", *port.axes[1:]), rate=site.frame_rate)
            for port in repeated
        }
        most_frames = round(MOST_S * (site.frame_rate or MOST_FRAME_RATE))
        return cls(options, takes, gives, most_frames=most_frames)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        frames = self.frames(tensors)
        if frames.sum() > self.most_frames:
            raise NetError(
                f"'{self.options.durations}' ask for {frames.sum():,} frames in one utterance; "
                f"{self.most_frames:,} are the most"
            )
        steps = np.repeat(np.arange(len(frames)), frames)
        kept = {name: tensors[name] for name in self.gives}
        for name, tensor in kept.items():
            if len(tensor) != len(frames):
                raise NetError(f"'{name}' has {len(tensor)} steps, but there are {len(frames)} durations")

        report(Event(DURATIONS, self.options.durations, 0, values={"frames": frames}))

        def gather(start: int, stop: int) -> Tensors:
            here = steps[start:stop]
            report(Event(ALIGNMENT, self.options.durations, start, values={"positions": here}))
            return {name: tensor[here] for name, tensor in kept.items()}

        return ArrayStream(gather, len(steps))

    def frames(self, tensors: Tensors) -> Array:
        """Return how many frames each phoneme lasts, int64 [phonemes]."""
        durations = tensors[self.options.durations]
        speed = np.float32(tensors.get(SPEED.name, 1.0))
        stretched = durations.astype(np.float32) * (np.float32(self.options.length_scale) / speed)
        if not np.isfinite(stretched).all():
            place = int(np.argwhere(~np.isfinite(stretched))[0][0])
            raise NetError(
                f"'{self.options.durations}' is {stretched[place]} at phoneme {place}, "
                "want a number of frames"
            )
        rounded = np.ceil(stretched) if self.options.rounding == "ceil" else np.rint(stretched)
        return np.maximum(rounded, 0).astype(np.int64)


def _found(name: str, available: Ports, path: str) -> Port:
    if name not in available:
        raise WiringError(f"no tensor '{name}' is there{suggest(name, available)}", where=path)
    return available[name]
