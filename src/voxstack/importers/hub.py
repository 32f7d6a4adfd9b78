"""Fetch a checkpoint from the Hugging Face hub where a source is written `hub:owner/name[@revision]`."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstack.core.errors import ImporterError

__all__ = ["is_hub", "local_folder", "origin_of"]

PREFIX = "hub:"
ENDPOINT = "https://huggingface.co"
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")
"""Configurations, weights, vocabularies, sentencepiece models, and the model card with the licence."""

UNWANTED = "*/*"
"""Folders hold exports for other programs."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_SOURCE = re.compile(r"hub:(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)
_SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


def is_hub(source: Path | str) -> bool:
    """Say whether a source asks for a download."""
    return _text(source).startswith(PREFIX)


@contextlib.contextmanager
def local_folder(source: Path | str) -> Iterator[Path]:
    """Give the folder of a checkpoint, downloaded first if the source says so.

    In:       source  `hub:owner/name`, `hub:owner/name@revision` (branch, tag, commit, refs/pr/1), or a path
    Out:      the folder in the hub library's own cache, where a second import finds it; a path as it is.
              Configuration, vocabulary, model card and safetensors are fetched; pickles never are.
    Raises:   ImporterError if there is no such repository or revision, no access, no network, no safetensors

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to the library.
    """
    yield _download(_text(source)) if is_hub(source) else Path(source)


def origin_of(folder: Path) -> dict[str, str]:
    """Return where a checkpoint's folder came from: repository and commit, if it lies in the hub's cache."""
    found = _SNAPSHOT.fullmatch(folder.parent.parent.name)
    if found is None or folder.parent.name != "snapshots":
        return {"source": folder.name}
    return {"source": f"{found['owner']}/{found['name']}", "commit": folder.name}


@dataclass(frozen=True)
class _Wanted:
    """What to fetch, from where."""

    repository: str
    revision: str
    endpoint: str

    @property
    def where(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision != "main" else "")


def _text(source: Path | str) -> str:
    return source.as_posix() if isinstance(source, Path) else source


def _download(source: str) -> Path:
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise ImporterError("want hub:owner/name or hub:owner/name@revision", where=source)
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    wanted = _Wanted(found["repository"], found["revision"] or "main", endpoint)
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
        import huggingface_hub.errors  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ImporterError(
            'downloads need huggingface_hub: pip install "voxstack[transformers]"', where=wanted.where
        ) from error
    return _snapshot(huggingface_hub, wanted)


def _snapshot(hub: Any, wanted: _Wanted) -> Path:
    offline = False
    try:
        listed = hub.HfApi(endpoint=wanted.endpoint).model_info(wanted.repository, revision=wanted.revision)
        _check_weights([item.rfilename for item in listed.siblings or []], wanted)
    except hub.errors.OfflineModeIsEnabled:
        offline = True
    except ImporterError:
        raise
    except Exception as error:  # the library's transport, and its exceptions, change between versions
        raise _refusal(hub, error, wanted, f"cannot reach {wanted.endpoint}") from error
    try:
        folder = hub.snapshot_download(
            wanted.repository,
            revision=wanted.revision,
            endpoint=wanted.endpoint,
            allow_patterns=list(WANTED),
            ignore_patterns=UNWANTED,
            local_files_only=offline,
        )
    except Exception as error:
        stage = "HF_HUB_OFFLINE is set and it is not in the cache" if offline else "the download broke off"
        raise _refusal(hub, error, wanted, stage) from error
    return Path(folder)


def _check_weights(names: list[str], wanted: _Wanted) -> None:
    """Refuse a repository that has nothing to read before anything is downloaded."""
    top = [name for name in names if "/" not in name]
    if any(name.endswith(".safetensors") for name in top):
        return
    pickles = [name for name in top if name.endswith(PICKLES)]
    if pickles:
        raise ImporterError(
            f"its weights are pickles only ({', '.join(pickles)}), which can run code and are never read; "
            "name a revision with .safetensors (the hub's converter offers one as @refs/pr/N), "
            "or save the model with save_pretrained and give that folder",
            where=wanted.where,
        )
    raise ImporterError("holds no .safetensors weights", where=wanted.where)


def _refusal(hub: Any, error: Exception, wanted: _Wanted, stage: str) -> ImporterError:
    """Say in a line what the hub's client said in many; its classes of errors are told apart here."""
    errors = hub.errors
    if isinstance(error, errors.RevisionNotFoundError):
        what = f"there is no revision '{wanted.revision}' of {wanted.repository} at {wanted.endpoint}"
    elif isinstance(error, errors.GatedRepoError):
        what = (
            f"gated: accept its conditions at {wanted.endpoint}/{wanted.repository}, "
            "then set HF_TOKEN to a token of your account"
        )
    elif isinstance(error, errors.RepositoryNotFoundError):
        what = f"there is no such repository at {wanted.endpoint}, or it is private: then set HF_TOKEN"
    elif isinstance(error, errors.HfHubHTTPError):
        status = getattr(getattr(error, "response", None), "status_code", "no status")
        what = (
            f"{wanted.endpoint} answered {status}; try later, or give the folder of a downloaded checkpoint"
        )
    else:
        line = f"{error or type(error).__name__}".strip().partition("\n")[0]
        what = f"{stage}: {line}; try again, or give a checkpoint's folder"
    return ImporterError(what, where=wanted.where)
