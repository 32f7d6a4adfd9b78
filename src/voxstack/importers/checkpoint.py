"""Read the folder of a transformers checkpoint, and find who imports its kind."""

import hashlib
import importlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from voxstack.core.errors import ImporterError, VoxstackError, suggest
from voxstack.importers.destination import check_destination
from voxstack.importers.hub import local_folder, origin_of
from voxstack.importers.writing import AddonReport, addon_name

__all__ = ["KINDS", "Checkpoint", "Kind", "first_line", "import_sources", "read_checkpoint"]

Json = dict[str, Any]
FAMILY = "transformers"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.bin", "pytorch_model.pt")
CONVERT = (
    "import torch, safetensors.torch as s; "
    "w = torch.load('{name}', map_location='cpu', weights_only=True); "
    "s.save_file({{k: v.clone() for k, v in w.items()}}, 'model.safetensors', {{'format': 'pt'}})"
)


@dataclass(frozen=True)
class Kind:
    """Who imports checkpoints of one `model_type`: a module with `import_checkpoint(folder, out)`.

    `extra` says what a second source is good for; the function then takes it as a third argument.
    """

    module: str
    extra: str | None = None


_VOCODER = Kind("voxstack.importers.hifigan")
_CONFORMER = Kind("voxstack.importers.fastspeech2_conformer")
KINDS: Mapping[str, Kind] = {
    "fastspeech2_conformer": _CONFORMER,
    "fastspeech2_conformer_hifigan": _CONFORMER,
    "fastspeech2_conformer_with_hifigan": _CONFORMER,
    "hifigan": _VOCODER,
    "speecht5": Kind("voxstack.importers.speecht5", extra="speaker embeddings, a .npy or .npz file"),
    "speecht5_hifigan": _VOCODER,
    "vits": Kind("voxstack.importers.mms"),
}


@dataclass(frozen=True)
class Checkpoint:
    """A folder that transformers can load from: what its JSON files say, and where its weights lie."""

    folder: Path
    config: Json
    weights: tuple[Path, ...]

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @cached_property
    def sha256(self) -> str:
        """The hash of the weights, one file after another."""
        digest = hashlib.sha256()
        for path in self.weights:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    @property
    def origin(self) -> Json:
        """The addon's `origin` entry."""
        found = origin_of(self.folder.resolve())
        return {"family": FAMILY, **found, "model_type": self.model_type, "sha256": self.sha256}

    @property
    def said(self) -> Json:
        """What addon.json says of every addon that comes of it."""
        return {"languages": self.languages, "licence": self.licence, "origin": self.origin}

    @property
    def licence(self) -> str:
        """What the model card says, or "unknown"."""
        return next(iter(self._card("license")), "unknown")

    @property
    def languages(self) -> list[str]:
        """What the model card says; [] if it says nothing."""
        return self._card("language")

    def json(self, name: str) -> Json:
        """Return what a JSON file of the folder holds; {} if there is no such file."""
        path = self.folder / name
        return _read_json(path) if path.is_file() else {}

    def number(self, key: str, default: float, *, file: str = "config.json") -> float:
        """Return a number that a JSON file of the folder gives, or the default where it says nothing."""
        value = self.json(file).get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ImporterError(f"{key}: got {value!r}, want a number", where=str(self.folder / file))
        return value

    def vocabulary(self, size: float) -> dict[str, int]:
        """Return the ids, below `size`, that vocab.json gives to symbols; {} if there is none."""
        found = self.json("vocab.json")
        for symbol, number in found.items():
            if not isinstance(number, int) or not 0 <= number < size:
                raise ImporterError(
                    f"gives '{symbol}' the id {number!r}; want a whole number below {size:g}",
                    where=str(self.folder / "vocab.json"),
                )
        return found

    def path(self, name: str, *, what: str) -> Path:
        """Return the path of a file that must be there; `what` says what it is."""
        path = self.folder / name
        if not path.is_file():
            raise ImporterError(f"there is no {name}, {what}", where=str(self.folder))
        return path

    def _card(self, key: str) -> list[str]:
        """Return the values that the front matter of the model card gives for a key."""
        card = self.folder / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
        found = re.search(
            rf"^{key}:[ \t]*(?P<one>\S.*)?\n?(?P<list>(?:[ \t]*-[ \t]+.*\n?)*)",
            front.group(1) if front else "",
            re.MULTILINE,
        )
        if found is None:
            return []
        values = (found["one"] or "").strip("[] \t").split(",") + re.findall(r"-[ \t]+(.*)", found["list"])
        return [value for item in values if (value := item.strip().strip("\"'"))]


def import_sources(sources: Sequence[Path], out: Path) -> AddonReport:
    """Write the addon of what stands on the command line: a checkpoint's folder, and what its kind needs.

    Raises:   ImporterError saying what is missing, not understood, or different from the model
    """
    with local_folder(sources[0]) as folder:
        checkpoint = read_checkpoint(folder)
        kind = KINDS[checkpoint.model_type]
        extra = sources[1:]
        if len(extra) > (kind.extra is not None):
            more = f" [{kind.extra}]" if kind.extra else ""
            raise ImporterError(
                f"got {len(sources)} sources; a {checkpoint.model_type} checkpoint wants FOLDER{more}",
                where=str(sources[-1]),
            )
        check_destination(out, name=addon_name(out), origin=checkpoint.origin)
        where = str(sources[0])
        try:
            report: AddonReport = importlib.import_module(kind.module).import_checkpoint(folder, out, *extra)
        except ImporterError as error:
            raise ImporterError(error.what, where=error.where or where) from error
        except VoxstackError:
            raise
        except Exception as error:  # a strange config can trip any step
            raise ImporterError(f"cannot be imported: {first_line(error)}", where=where) from error
        return report


def read_checkpoint(folder: Path) -> Checkpoint:
    """Look into a checkpoint's folder; nothing heavy is loaded.

    Raises:   ImporterError if it is no such folder, of a kind that nobody imports, or all weights are pickles
    """
    where = str(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is no such folder"
        raise ImporterError(
            f"{what}; want the folder of a checkpoint, as save_pretrained writes it", where=where
        )
    if not (folder / "config.json").is_file():
        raise ImporterError(
            "there is no config.json; want the folder of a checkpoint, as save_pretrained writes it",
            where=where,
        )
    config = _read_json(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        said = f"no importer for model_type '{kind}'" if kind else "it says no model_type"
        raise ImporterError(f"{said}{suggest(str(kind or ''), KINDS)}", where=f"{where}/config.json")
    return Checkpoint(folder, config, _weights(folder))


def _weights(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = _read_json(index).get("weight_map")
        if not isinstance(parts, dict) or not parts or not all(isinstance(n, str) for n in parts.values()):
            raise ImporterError("'weight_map' is missing, or names no files", where=str(index))
        names = sorted(set(parts.values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ImporterError(f"{missing[0]} is missing, which {index.name} names", where=str(folder))
        return tuple(folder / name for name in names)
    if (folder / "model.safetensors").is_file():
        return (folder / "model.safetensors",)
    pickle = next((name for name in PICKLES if (folder / name).is_file()), None)
    if pickle is None:
        raise ImporterError("there are no weights; want model.safetensors", where=str(folder))
    raise ImporterError(
        f"its weights are a pickle, {pickle}, which can run code and is never read; convert it there, once: "
        f'python -c "{CONVERT.format(name=pickle)}"',
        where=str(folder),
    )


def _read_json(path: Path) -> Json:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ImporterError(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise ImporterError(f"got a {type(value).__name__}, want a JSON object", where=str(path))
    return value


def first_line(error: Exception) -> str:
    """Return what an error says first, on one line."""
    text = str(error).strip() or type(error).__name__
    head, _, rest = text.partition("\n")
    more = rest.strip().partition("\n")[0]
    return f"{head} {more}" if head.endswith(":") and more else head
