"""List the model families that can be imported; a new one adds a line here and a file beside it."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["FAMILIES", "Family", "Report"]


class Report(Protocol):
    """What an importer made and measured, as labels and values for people."""

    def lines(self) -> list[tuple[str, str]]: ...


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint: what it is, what stands on the command line for it, and who reads it.

    `target` is "module:function"; the function takes the sources and the new addon's folder, and
    returns a Report or raises ImporterError.
    """

    summary: str
    sources: str
    target: str

    def run(self, sources: Sequence[Path], out: Path) -> Report:
        """Write the addon of a checkpoint into `out`."""
        module, _, function = self.target.partition(":")
        report: Report = getattr(importlib.import_module(module), function)(sources, out)
        return report


FAMILIES = {
    "piper": Family(
        "Cut a Piper voice (.onnx, with its .json beside it or named) into streamable nets.",
        "MODEL [CONFIG]",
        "voxstack.importers.piper:import_sources",
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
