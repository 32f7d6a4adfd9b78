"""Write the addons that a mel voice and its vocoder make two of: their JSON, their nets, a golden sample."""

import errno
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.errors import ImporterError, VoxstackError
from voxstack.core.ports import MelFormat
from voxstack.engine.golden import write_golden
from voxstack.importers.destination import new_addon
from voxstack.importers.vits import CutNet
from voxstack.stack.addon import addon_paths, load_addon, seal
from voxstack.stack.files import MANIFEST

__all__ = ["MelReport", "Source", "write_vocoder", "write_voice"]

Json = dict[str, Any]
Fact = tuple[str, str]


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
    def origin(self) -> Json:
        return {"family": self.family, "source": self.path.name, "sha256": self.sha256}


@dataclass(frozen=True)
class MelReport:
    """Say what an import made and measured."""

    addon: Path
    name: str
    mel: MelFormat
    facts: tuple[Fact, ...] = field(default=())

    def lines(self) -> list[Fact]:
        """Return the report as labels and values for people."""
        mel = f"{self.mel.bands} bands, {self.mel.sample_rate} Hz, {self.mel.hop} samples a frame"
        return [("addon", f"{self.addon} ({self.name})"), ("mel", mel), *self.facts]


def write_voice(
    source: Source,
    out: Path,
    *,
    nets: Mapping[str, CutNet],
    stack: Sequence[Json],
    controls: Mapping[str, Json],
    facts: Sequence[Fact] = (),
) -> MelReport:
    """Write the addon of a voice that gives mels, with the vocoder beside it that takes such mels, if any.

    A golden sample is audio, so there is one only where there is a vocoder.

    Raises:   ImporterError if `out` cannot be written
    """
    vocoder = _vocoder_beside(out, source.mel)
    manifest = _manifest(source, out, nets, gives="mel") | {
        "text": dict(source.text) if source.text is not None else None,
        "controls": dict(controls),
        "stack": list(stack),
        "vocoder": vocoder,
    }
    with new_addon(out, name=manifest["name"], origin=source.origin) as folder:
        _write(folder, manifest, nets)
        if vocoder is not None and source.golden_ids:
            try:
                write_golden(folder, source.golden_ids, {}, folders=[out.resolve().parent])
            except soundfile.SoundFileError as error:  # how its library says that a disk is full
                raise OSError(errno.EIO, str(error)) from error
    named = vocoder or f'none beside it takes these mels; set "vocoder" in {MANIFEST} when there is one'
    return _report(source, out, manifest, nets, [*facts, ("vocoder", named)])


def write_vocoder(
    source: Source,
    out: Path,
    *,
    nets: Mapping[str, CutNet],
    stack: Sequence[Json],
    facts: Sequence[Fact] = (),
) -> MelReport:
    """Write the addon of a vocoder, which takes mels and gives samples.

    Raises:   ImporterError if `out` cannot be written
    """
    manifest = _manifest(source, out, nets, gives="audio") | {"takes": "mel", "stack": list(stack)}
    with new_addon(out, name=manifest["name"], origin=source.origin) as folder:
        _write(folder, manifest, nets)
    return _report(source, out, manifest, nets, facts)


def _manifest(source: Source, out: Path, nets: Mapping[str, CutNet], *, gives: str) -> Json:
    mel = {key: getattr(source.mel, key) for key in MelFormat.__slots__}
    return {
        "format": 1,
        "name": _slug(out.resolve().name),
        "version": "1.0.0",
        "gives": gives,
        "languages": list(source.languages),
        "licence": source.licence,
        "origin": source.origin,
        "audio": {"sample_rate": source.mel.sample_rate},
        "mel": mel,
        "text": None,
        "controls": {},
        "nets": {key: {"file": f"nets/{key}.onnx", **net.spec} for key, net in nets.items()},
        "stack": [],
        "vocoder": None,
        "profiles": {},
        "golden": {},
        "files": {},
    }


def _write(folder: Path, manifest: Json, nets: Mapping[str, CutNet]) -> None:
    (folder / "nets").mkdir()
    for name, net in nets.items():
        onnx.save(net.model, str(folder / "nets" / f"{name}.onnx"))
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    seal(folder)


def _vocoder_beside(out: Path, mel: MelFormat) -> str | None:
    """Return the name of the first addon beside `out` that takes mels of this format."""
    place = out.resolve()
    for path in addon_paths(place.parent):
        if path == place:
            continue
        try:
            addon = load_addon(path)
        except VoxstackError:
            continue
        if addon.config.takes == "mel" and addon.mel == mel:
            return addon.name
    return None


def _report(
    source: Source, out: Path, manifest: Json, nets: Mapping[str, CutNet], facts: Sequence[Fact]
) -> MelReport:
    contexts: list[str] = []
    for name, net in nets.items():
        ragged = net.spec.get("ragged") or {}
        left, right = ragged.get("context", (0, 0))
        if ragged.get("axis") == "frames" and ragged.get("chunkable", True):
            contexts.append(f"{name} {left} | {right}")
    measured = [("context", f"{', '.join(contexts)} frames")] if contexts else []
    mel = replace(source.mel)
    return MelReport(out, manifest["name"], mel, (*source.facts, *measured, *facts))


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    if not slug:
        raise ImporterError(f"'{name}' makes no addon name; choose a folder name with letters or digits")
    return slug
