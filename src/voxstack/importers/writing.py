"""Write what an import made as an addon: its name, JSON, nets, hashes, golden sample; and report it."""

import contextlib
import errno
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.errors import ImporterError, VoxstackError
from voxstack.engine.golden import write_golden
from voxstack.importers.cut_net import CutNet
from voxstack.importers.destination import new_addon
from voxstack.stack.addon import addon_paths, load_addon, seal
from voxstack.stack.files import MANIFEST

__all__ = ["AddonReport", "Fact", "addon_name", "fill_addon", "manifest_of", "write_addon"]

Json = dict[str, Any]
Fact = tuple[str, str]


@dataclass(frozen=True)
class AddonReport:
    """Say what an import made and measured.

    facts        lines for people
    differences  the largest difference between each net and the model that it came from
    """

    addon: Path
    name: str
    facts: tuple[Fact, ...] = ()
    differences: Mapping[str, float] = field(default_factory=dict[str, float])

    def lines(self) -> list[Fact]:
        """Return the report as labels and values for people."""
        measured = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        compared = [("nets vs. model", f"{measured} greatest difference")] if measured else []
        return [("addon", f"{self.addon} ({self.name})"), *self.facts, *compared]


def addon_name(out: Path) -> str:
    """Return the name of the addon in a folder: the folder's, as names of addons are written."""
    name = out.resolve().name
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    if not slug:
        raise ImporterError(f"'{name}' makes no addon name; choose a folder name with letters or digits")
    return slug


def write_addon(
    out: Path,
    nets: Mapping[str, CutNet],
    said: Json,
    *,
    golden_ids: Sequence[int] = (),
    facts: Sequence[Fact] = (),
    differences: Mapping[str, float] | None = None,
) -> AddonReport:
    """Write an addon; one that gives mels names the vocoder beside it that takes them.

    In:       said         what addon.json says beside nets: gives, audio, stack, origin …
              golden_ids   to speak the golden sample with, if the addon makes audio or finds its vocoder
              facts        lines of the report that only the importer knows
    Raises:   ImporterError if `out` cannot be written, or holds what is no earlier import of the same
    """
    manifest = manifest_of(out, nets, said)
    beside = out.resolve().parent
    with new_addon(out, name=manifest["name"], origin=manifest["origin"]) as folder:
        spoken = golden_ids if manifest["gives"] == "audio" or manifest["vocoder"] else ()
        fill_addon(folder, manifest, nets, golden_ids=spoken, vocoders=beside)
    found = (*_mel_fact(manifest), *_context_fact(nets), *facts, *_vocoder_fact(manifest))
    return AddonReport(out, manifest["name"], found, differences or {})


def manifest_of(out: Path, nets: Mapping[str, CutNet], said: Json) -> Json:
    """Return the addon's JSON, all but hashes and golden sample: `said`, and what goes without saying."""
    manifest: Json = {
        "format": 1,
        "name": addon_name(out),
        "version": "1.0.0",
        "gives": "audio",
        "languages": [],
        "licence": "unknown",
        "origin": {},
        "audio": {},
        "mel": None,
        "text": None,
        "controls": {},
        "nets": {key: {"file": f"nets/{key}.onnx", **net.spec} for key, net in nets.items()},
        "stack": [],
        "vocoder": None,
        "profiles": {},
        "golden": {},
        "files": {},
        **said,
    }
    if manifest["gives"] == "mel" and manifest["vocoder"] is None:
        manifest["vocoder"] = _vocoder_beside(out.resolve(), manifest["mel"])
    return manifest


def fill_addon(
    folder: Path,
    manifest: Json,
    nets: Mapping[str, CutNet],
    *,
    golden_ids: Sequence[int] = (),
    vocoders: Path | None = None,
) -> None:
    """Put nets and JSON into an empty folder, seal them, and let the addon speak its golden sample.

    In:       golden_ids  what it speaks; none for no sample
              vocoders    the folder in which the addon's vocoder lies
    Raises:   ImporterError if what the JSON says makes no addon
    """
    (folder / "nets").mkdir()
    for name, net in nets.items():
        onnx.save(net.model, str(folder / "nets" / f"{name}.onnx"))
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    try:
        seal(folder)
        if len(golden_ids):
            write_golden(folder, golden_ids, {}, folders=[vocoders] if vocoders else [])
    except soundfile.SoundFileError as error:  # how its library says that a disk is full
        raise OSError(errno.EIO, str(error).strip().partition("\n")[0]) from error
    except VoxstackError as error:
        said = str(error).removeprefix(f"{folder / MANIFEST}: ")
        raise ImporterError(f"no addon can be made of it: {said}") from error


def _vocoder_beside(out: Path, mel: Json) -> str | None:
    """Return the name of the first addon beside `out` that takes such mels."""
    for path in addon_paths(out.parent):
        with contextlib.suppress(VoxstackError):
            config = load_addon(path).config
            takes = config.mel.model_dump() if config.takes == "mel" and config.mel else None
            if path != out and takes == mel:
                return config.name
    return None


def _mel_fact(manifest: Json) -> list[Fact]:
    mel = manifest["mel"]
    if mel is None:
        return []
    return [("mel", f"{mel['bands']} bands, {mel['sample_rate']} Hz, {mel['hop']} samples a frame")]


def _context_fact(nets: Mapping[str, CutNet]) -> list[Fact]:
    """Say which frames each net needs to make one, left and right of it."""
    contexts: list[str] = []
    for name, net in nets.items():
        ragged = net.spec["ragged"] or {}
        if ragged.get("axis") == "frames":
            left, right = ragged.get("context", (0, 0))
            contexts.append(f"{name} {left} | {right}" if ragged.get("chunkable", True) else f"{name} all")
    return [("context", f"{', '.join(contexts)} frames")] if contexts else []


def _vocoder_fact(manifest: Json) -> list[Fact]:
    if manifest["gives"] != "mel":
        return []
    missing = f'none beside it takes these mels; set "vocoder" in {MANIFEST} when there is one'
    return [("vocoder", manifest["vocoder"] or missing)]
