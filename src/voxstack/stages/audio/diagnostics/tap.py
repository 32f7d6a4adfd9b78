"""Copy what flows, to files or to whoever listens."""

import contextlib
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.events import REASON, TAP, Event, report
from voxstack.core.ports import Array, Ports, Tensors
from voxstack.core.site import Site
from voxstack.stages.audio.diagnostics.growing_files import (
    GrowingFile,
    NpyFile,
    WavFile,
    endings,
    is_audio,
)
from voxstack.stages.audio.diagnostics.numbered_files import NumberedFiles
from voxstack.stages.audio.diagnostics.passing import PassingBlock, PassingStream, Place, number_of

__all__ = ["Tap"]


@dataclass(frozen=True)
class Tap(PassingBlock):
    """Copy what flows: into files, one for each utterance and port, or as events for those who listen.

    Files grow while it flows and are right when the utterance ends or is closed: `samples` become .wav
    (floats, to the bit), all else .npy. A file that cannot be written is reported; speech goes on.

    In:       anything; `ports` may also name tensors of the whole utterance, such as durations
    Out:      the same
    Timing:   1 → 1, no context
    Reports:  tap, which is data, where it has no path; tap.cut, tap.full, tap.failed
    Raises:   ConfigError if no file can be made in the folder or a bound makes no sense, WiringError if
              what is to be copied is not there
    """

    @dataclass(frozen=True)
    class Options:
        """Where the copies go, and how much is copied.

        path        folder for files, made if it is missing, below $VOXSTACK_FILES or where the program
                    was started; null: an event for each read
        name        what its files' names begin with and its events say; null: "tap" and its path
        ports       what is copied; null: all that the stream above gives
        most_s      seconds of each utterance that are copied
        most_steps  the same in steps; over most_s
        most_files  of this name that may be in the folder; what comes then is not copied
        """

        path: str | None = None
        name: str | None = None
        ports: tuple[str, ...] | None = None
        most_s: float = 60.0
        most_steps: int | None = None
        most_files: int = 200

    copied: Ports
    most_steps: int
    files: NumberedFiles | None

    @classmethod
    def wire(cls, options: Options, site: Site) -> "Tap":
        flow = cls.flow(site)
        place = Place.of(site, options.name, flow)
        if not 0 < options.most_s <= 3600:
            raise ConfigError(
                f"got {options.most_s} s, want more than 0, at most 3600", where=f"{site.path}.most_s"
            )
        if options.most_steps is not None and options.most_steps < 1:
            raise ConfigError(f"got {options.most_steps}, want 1 or more", where=f"{site.path}.most_steps")
        known = {**site.tensors, **flow}
        names = tuple(flow) if options.ports is None else options.ports
        copied = {
            name: cls.find(name, known, where=f"{site.path}.ports[{number}]")
            for number, name in enumerate(names)
        }
        if not copied:
            raise ConfigError("got an empty list, want at least one port", where=f"{site.path}.ports")
        files = None
        if options.path is not None:
            files = NumberedFiles.within(
                options.path,
                "tap" if options.name is None else options.name,
                options.most_files,
                path=site.path,
            )
        takes = cls.told(site, [name for name in names if name not in flow])
        most = place.most(options.most_s) if options.most_steps is None else options.most_steps
        return cls(place, takes, flow, flow, Timing(), copied, most, files)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        whole = {name: tensors[name] for name in self.copied if name not in self.gives}
        copying = _Copying(self, whole, number_of(tensors))
        stream = PassingStream(source, copying)
        # A stream that is only forgotten leaves right files too.
        weakref.finalize(stream, copying.close)
        return stream


class _Copying:
    """The copies of one utterance."""

    def __init__(self, block: Tap, whole: Tensors, utterance: int) -> None:
        self._block = block
        self._whole = whole
        self._utterance = utterance
        self._files: dict[str, GrowingFile] = {}
        self._is_done = False

    def look(self, chunk: Tensors, start: int) -> None:
        if self._is_done:
            return
        stop = min(len(chunk[name]) for name in chunk)
        kept = min(stop, self._block.most_steps - start)
        found = {name: chunk[name][:kept] for name in self._block.copied if name in chunk}
        if start == 0:
            found |= {name: np.atleast_1d(tensor) for name, tensor in self._whole.items()}
        if self._block.files is None:
            if found and kept:
                self._tell(found, start)
        else:
            self._write(self._block.files, found, start)
        if kept < stop and not self._is_done:
            self._finish(start + kept, "cut", f"the first {start + kept} steps are copied, no more")

    def end(self, steps: int) -> None:
        self._finish(steps)

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # where there is nobody to tell
            self._close_files()

    def _close_files(self) -> None:
        self._is_done = True
        while self._files:
            self._files.popitem()[1].close()

    def _tell(self, found: Tensors, start: int) -> None:
        copies = {name: tensor.copy() for name, tensor in found.items()}
        values = {"utterance": self._utterance, "start": start, "tensors": copies}
        self._report(TAP, start, "", values)

    def _write(self, files: NumberedFiles, found: Mapping[str, Array], start: int) -> None:
        try:
            if not self._files and not self._begin(files, found):
                text = f"{files.most} files named '{files.name}' are the most; this utterance is not copied"
                self._finish(start, "full", text)
                return
            for name, tensor in found.items():
                self._files[name].append(tensor)
        except (OSError, RuntimeError) as error:
            self._finish(start, "failed", f"the copy ends here: {error}", _reason(error))

    def _begin(self, files: NumberedFiles, found: Mapping[str, Array]) -> bool:
        """Make the files; return False if there are too many."""
        ports = self._block.copied
        paths = files.claim(self._utterance, endings(ports.values()))
        try:
            for (name, port), path in zip(ports.items(), paths, strict=bool(paths)):
                heard = is_audio(port)
                self._files[name] = (
                    WavFile(path, int(port.rate or 0)) if heard else NpyFile(path, found[name])
                )
        except (OSError, RuntimeError):
            self.close()
            for path in paths:
                path.unlink(missing_ok=True)
            raise
        return bool(paths)

    def _finish(self, step: int, kind: str = "", text: str = "", reason: str = "") -> None:
        """Close the files; say why, if there is something to be said."""
        if kind:
            values = {"step": step, **({REASON: reason} if reason else {})}
            self._report(f"tap.{kind}", step, f"{self._block.place.title}{text}", values)
        try:
            self._close_files()
        except (OSError, RuntimeError) as error:
            if not kind:
                text = f"{self._block.place.title}the copy cannot be finished: {error}"
                self._report("tap.failed", step, text, {"step": step, REASON: _reason(error)})
            self.close()

    def _report(self, kind: str, step: int, text: str, values: Mapping[str, Any]) -> None:
        report(Event(kind, self._block.place.name, self._block.place.frame(step), text, values))


def _reason(error: Exception) -> str:
    """Return why a file could not be written, for people."""
    return getattr(error, "strerror", None) or str(error)
