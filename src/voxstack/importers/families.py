"""List the model families that can be imported; a new one adds a line here and a file beside it."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from voxstack.core.errors import ConfigError

__all__ = ["FAMILIES", "Family", "Report"]


class Report(Protocol):
    """What an importer made and measured, as labels and values for people."""

    def lines(self) -> list[tuple[str, str]]: ...


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint: what it is, what stands on the command line for it, and who reads it.

    `target` is "module:function"; the function takes the sources and the new addon's folder, and
    returns a Report or raises ImporterError. Where a family `has_int8`, it takes `int8` too: whether nets
    with 8-bit convolutions are written beside the plain ones.
    """

    summary: str
    sources: str
    target: str
    has_int8: bool = False

    def run(self, sources: Sequence[Path], out: Path, *, int8: bool = False) -> Report:
        """Write the addon of a checkpoint into `out`; raise ConfigError for int8 where there is none."""
        if int8 and not self.has_int8:
            able = ", ".join(name for name, family in FAMILIES.items() if family.has_int8)
            raise ConfigError(f"this family has no int8 nets (only: {able}); import without", where="--int8")
        module, _, function = self.target.partition(":")
        importer = getattr(importlib.import_module(module), function)
        report: Report = importer(sources, out, int8=int8) if self.has_int8 else importer(sources, out)
        return report


FAMILIES = {
    "piper": Family(
        "Cut a Piper voice (.onnx, with its .json beside it or named) into streamable nets.",
        "MODEL [CONFIG]",
        "voxstack.importers.piper:import_sources",
        has_int8=True,
    ),
    "tensorflowtts": Family(
        "Cut a TensorFlowTTS export (.tflite or .onnx, with the mapper of its symbols) into streamable nets.",
        "MODEL [MAPPER]",
        "voxstack.importers.tensorflowtts:import_sources",
    ),
    "transformers": Family(
        "Make nets of a transformers checkpoint: a folder, or hub:OWNER/NAME to download one.",
        "CHECKPOINT [SPEAKERS]",
        "voxstack.importers.checkpoint:import_sources",
    ),
}
