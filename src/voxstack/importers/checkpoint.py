"""Read the folder of a transformers checkpoint, find who imports its kind, and write what comes of it."""

import contextlib
import errno
import hashlib
import importlib
import importlib.util
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.errors import ImporterError, VoxstackError, suggest
from voxstack.engine.golden import write_golden
from voxstack.importers.destination import new_addon
from voxstack.importers.families import Report
from voxstack.importers.hub import local_folder, origin_of
from voxstack.importers.vits import CutNet
from voxstack.stack.addon import addon_paths, load_addon, seal
from voxstack.stack.config import MelConfig
from voxstack.stack.files import MANIFEST

__all__ = [
    "KINDS",
    "Checkpoint",
    "CheckpointReport",
    "Kind",
    "addon_name",
    "import_sources",
    "load_model",
    "read_checkpoint",
    "write_addon",
]

Json = dict[str, Any]
FAMILY = "transformers"
PACKAGES = ("torch", "transformers", "safetensors", "onnxscript")
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


@dataclass(frozen=True)
class CheckpointReport:
    """Say what an import made and measured.

    facts        lines for people, of what is special to its kind
    differences  the largest difference between each net and the model that it came from
    """

    addon: Path
    name: str
    facts: tuple[tuple[str, str], ...]
    differences: Mapping[str, float]

    def lines(self) -> list[tuple[str, str]]:
        """Return the report as labels and values for people."""
        measured = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return [
            ("addon", f"{self.addon} ({self.name})"),
            *self.facts,
            ("nets vs. model", f"{measured} greatest difference"),
        ]


def import_sources(sources: Sequence[Path], out: Path) -> Report:
    """Write the addon of what stands on the command line: a checkpoint's folder, and what its kind needs."""
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
        try:
            module = importlib.import_module(kind.module)
            report: Report = module.import_checkpoint(folder, out, *extra)
        except ImporterError as error:
            raise ImporterError(error.what, where=error.where or str(sources[0])) from error
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
    if kind not in KINDS:
        said = f"no importer for model_type '{kind}'" if kind else "it says no model_type"
        raise ImporterError(f"{said}{suggest(str(kind or ''), KINDS)}", where=f"{where}/config.json")
    return Checkpoint(folder, config, _weights(folder))


def load_model(checkpoint: Checkpoint, name: str) -> Any:
    """Return the transformers model of class `name`, in float32, on the CPU, ready to be exported.

    Raises:   ImporterError if packages are missing, or if the weights are not all there or do not fit
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImporterError(
            f'needs {", ".join(missing)} to read it: pip install "voxstack[transformers]"',
            where=str(checkpoint.folder),
        )
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    with _quiet(transformers):
        try:
            model, found = getattr(transformers, name).from_pretrained(
                str(checkpoint.folder),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
                attn_implementation="eager",
            )
        except Exception as error:  # the library, torch and safetensors each have their own
            line = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ImporterError(f"cannot be loaded: {line}", where=str(checkpoint.folder)) from error
    lacking = sorted(found["missing_keys"])
    if lacking:
        raise ImporterError(
            f"the weights do not fit config.json: {len(lacking)} tensors of {name} are missing, "
            f"'{lacking[0]}' for one; want the checkpoint of such a model, whole",
            where=str(checkpoint.folder),
        )
    return model.eval().requires_grad_(False)


def addon_name(out: Path) -> str:
    """Return the name of the addon in a folder: the folder's, as names of addons are written."""
    name = out.resolve().name
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    if not slug:
        raise ImporterError(f"'{name}' makes no addon name; choose a folder name with letters or digits")
    return slug


def write_addon(
    out: Path,
    checkpoint: Checkpoint,
    nets: Mapping[str, CutNet],
    manifest: Json,
    *,
    golden_ids: Sequence[int] | None = None,
) -> Json:
    """Write an addon and return its JSON, but for hashes and golden sample.

    In:       manifest    what only its kind knows: gives, audio, stack; and takes, mel, text, controls …
              golden_ids  to speak the golden sample with, if the addon makes audio or finds its vocoder
    """
    manifest = {
        "format": 1,
        "name": addon_name(out),
        "version": "1.0.0",
        "languages": checkpoint.languages,
        "licence": checkpoint.licence,
        "origin": checkpoint.origin,
        "mel": None,
        "text": None,
        "controls": {},
        "nets": {key: {"file": f"nets/{key}.onnx", **net.spec} for key, net in nets.items()},
        "vocoder": _vocoder_beside(out, manifest["mel"]) if manifest["gives"] == "mel" else None,
        "profiles": {},
        "golden": {},
        "files": {},
        **manifest,
    }
    with new_addon(out, name=manifest["name"], origin=manifest["origin"]) as folder:
        (folder / "nets").mkdir()
        for name, net in nets.items():
            onnx.save(net.model, str(folder / "nets" / f"{name}.onnx"))
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        seal(folder)
        if golden_ids and (manifest["gives"] == "audio" or manifest["vocoder"]):
            try:
                write_golden(folder, golden_ids, {}, folders=[out.resolve().parent])
            except soundfile.SoundFileError as error:  # how its library says that a disk is full
                raise OSError(errno.EIO, str(error)) from error
    return manifest


def _vocoder_beside(out: Path, mel: Json) -> str | None:
    """Return the name of the first addon beside `out` that takes such mels."""
    wanted = MelConfig(**mel)
    for path in addon_paths(out.resolve().parent):
        with contextlib.suppress(VoxstackError):
            config = load_addon(path).config
            if config.takes == "mel" and config.mel == wanted:
                return config.name
    return None


def _weights(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
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
    except ValueError as error:
        raise ImporterError(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise ImporterError(f"got a {type(value).__name__}, want a JSON object", where=str(path))
    return value


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep the library's progress bars and advice to itself: what matters is raised."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    try:
        log.set_verbosity(log.CRITICAL)
        log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
