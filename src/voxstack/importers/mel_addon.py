"""Say of an export what its file does not, and write the mel voice or the vocoder that comes of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from voxstack.core.ports import MelFormat
from voxstack.importers.cut_net import CutNet
from voxstack.importers.writing import AddonReport, Fact, write_addon

__all__ = ["Source", "write_vocoder", "write_voice"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """What is imported, and what its addon says about it beside its nets.

    model       the net as ONNX
    path        the file it came from; its name and hash become the addon's origin
    sha256      of that file
    family      the importer's name, kept in the addon's origin
    mel         how the mels are made that it gives or takes
    languages   what it speaks
    licence     what is known of its terms
    text        the addon's text front end; None for a vocoder
    golden_ids  ids of a short sentence, for the golden sample
    facts       lines for the report, of what was done before the net was looked into
    """

    model: onnx.ModelProto
    path: Path
    sha256: str
    family: str
    mel: MelFormat
    languages: tuple[str, ...] = ()
    licence: str = "unknown"
    text: Mapping[str, Any] | None = None
    golden_ids: tuple[int, ...] = ()
    facts: tuple[Fact, ...] = ()

    @classmethod
    def digest(cls, path: Path) -> str:
        """Return the sha256 of a file."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def said(self) -> Json:
        """What addon.json says of it, voice or vocoder."""
        return {
            "languages": list(self.languages),
            "licence": self.licence,
            "origin": {"family": self.family, "source": self.path.name, "sha256": self.sha256},
            "audio": {"sample_rate": self.mel.sample_rate},
            "mel": {key: getattr(self.mel, key) for key in MelFormat.__slots__},
        }


def write_voice(
    source: Source,
    out: Path,
    *,
    nets: Mapping[str, CutNet],
    stack: Sequence[Json],
    controls: Mapping[str, Json],
    profiles: Mapping[str, Json] | None = None,
    facts: Sequence[Fact] = (),
) -> AddonReport:
    """Write the addon of a voice that gives mels.

    Raises:   ImporterError if `out` cannot be written
    """
    text = dict(source.text) if source.text is not None else None
    said = {"gives": "mel", **source.said, "text": text, "controls": dict(controls), "stack": list(stack)}
    said["profiles"] = dict(profiles or {})
    facts = (*source.facts, *facts)
    return write_addon(out, nets, said, golden_ids=source.golden_ids, facts=facts)


def write_vocoder(
    source: Source,
    out: Path,
    *,
    nets: Mapping[str, CutNet],
    stack: Sequence[Json],
    facts: Sequence[Fact] = (),
) -> AddonReport:
    """Write the addon of a vocoder, which takes mels and gives samples.

    Raises:   ImporterError if `out` cannot be written
    """
    said = {"gives": "audio", "takes": "mel", **source.said, "stack": list(stack)}
    return write_addon(out, nets, said, facts=(*source.facts, *facts))
