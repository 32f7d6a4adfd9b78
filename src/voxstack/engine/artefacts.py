"""Keep nets that were compiled ahead of time, and refuse those that were compiled for something else.

DIR/joe/manifest.json               what was compiled, with what, from what
DIR/joe/decoder-frames96.bin        one net at one size
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import voxstack
from voxstack.core.compiled import variants
from voxstack.core.errors import AddonError, NetError, OutputError, VoxstackError
from voxstack.core.executables import FixedAxes
from voxstack.core.layouts import BATCH
from voxstack.engine.manifest import (
    FORMAT,
    Artefact,
    CompiledEntry,
    Manifest,
    NetPlan,
    difference,
    identity,
    shapes,
)
from voxstack.stack.strict import parse_json, validated

__all__ = ["MANIFEST", "SUFFIX", "Artefacts", "write_artefacts"]

MANIFEST = "manifest.json"
SUFFIX = ".bin"


def write_artefacts(
    folder: Path,
    plans: Mapping[str, NetPlan],
    read: Mapping[str, bytes],
    *,
    addon: str,
    version: str,
    profile: str,
) -> list[Path]:
    """Compile nets for each of their sizes into `folder`; return the files written, the manifest last.

    In:       read  the bytes of each net's file
    """
    folder.mkdir(parents=True, exist_ok=True)
    nets: dict[str, CompiledEntry] = {}
    written: list[Path] = []
    for name, plan in plans.items():
        artefacts: list[Artefact] = []
        for axes in variants(plan.spec, plan.shapes, locked=plan.engine.locks_sizes):
            data = _compiled(plan, read[name], axes)
            path = folder / f"{name}{_sized(axes)}{SUFFIX}"
            path.write_bytes(data)
            written.append(path)
            artefacts.append(
                Artefact(
                    file=path.name,
                    sha256=_sha256(data),
                    axes=dict(axes),
                    inputs=shapes(plan.spec, axes, plan.spec.inputs),
                    outputs=shapes(plan.spec, axes, plan.spec.outputs),
                )
            )
        nets[name] = CompiledEntry(**identity(plan), artefacts=tuple(artefacts))
    manifest = Manifest(
        format=FORMAT,
        voxstack=voxstack.__version__,
        addon=addon,
        version=version,
        profile=profile,
        nets=nets,
    )
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, path]


def _compiled(plan: NetPlan, data: bytes, axes: FixedAxes) -> bytes:
    """Compile; say so if it failed because there is no room for what an engine writes on its way."""
    try:
        return plan.engine.compile(plan.spec, data, axes)
    except NetError as error:
        try:
            with tempfile.TemporaryFile() as file:
                file.write(data)
        except OSError as full:
            raise OutputError(
                f"cannot write what was compiled of net '{plan.spec.name}': {full.strerror or full}",
                where=tempfile.gettempdir(),
            ) from error
        raise


class Artefacts:
    """The compiled nets of one addon, each checked when it is read; `remedy` ends every error."""

    def __init__(self, folder: Path, manifest: Manifest, *, remedy: str) -> None:
        self._folder = folder
        self._manifest = manifest
        self._remedy = remedy

    @classmethod
    def open(cls, folder: Path, *, remedy: str) -> "Artefacts":
        """Read a folder's manifest; raise AddonError if there is none that can be read."""
        return cls(folder, _manifest(folder, remedy=remedy), remedy=remedy)

    def read(self, name: str, plan: NetPlan, axes: FixedAxes) -> bytes:
        """Return a compiled net.

        Raises:   AddonError if it is missing, was compiled from or for something else, or was changed
        """
        try:
            return self._read(self._manifest, name, plan, axes)
        except AddonError:
            now = _manifest(self._folder, remedy=self._remedy)
            if now == self._manifest:
                raise
            # They were compiled anew since the manifest was read.
            return self._read(now, name, plan, axes)

    def _read(self, manifest: Manifest, name: str, plan: NetPlan, axes: FixedAxes) -> bytes:
        where = f"{self._folder}: net '{name}'"
        entry = manifest.nets.get(name)
        if entry is None:
            raise AddonError(f"was not compiled; {self._remedy}", where=where)
        stale = difference(entry, identity(plan))
        if stale is not None:
            raise AddonError(
                f"is stale: it was compiled for profile '{manifest.profile}', {stale}; {self._remedy}",
                where=where,
            )
        found = next((one for one in entry.artefacts if one.axes == dict(axes)), None)
        if found is None:
            have = "; ".join(_sizes(one.axes) for one in entry.artefacts)
            raise AddonError(
                f"was not compiled for {_sizes(axes)}, only for {have}; {self._remedy}", where=where
            )
        path = self._folder / Path(found.file).name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AddonError(
                f"{path.name} cannot be read: {error.strerror}; {self._remedy}", where=where
            ) from error
        if _sha256(data) != found.sha256:
            raise AddonError(
                f"{path.name} is not what was compiled: its hash differs; {self._remedy}", where=where
            )
        return data


def _manifest(folder: Path, *, remedy: str) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise AddonError(f"there are no compiled nets; {remedy}", where=str(folder))
    try:
        manifest = validated(Manifest, parse_json(path.read_bytes(), where=str(path)))
    except VoxstackError as error:
        inside = "" if error.where == str(path) else f": {error.where.removeprefix(f'{path}: ')}"
        raise AddonError(f"{error.what}; {remedy}", where=f"{path}{inside}") from error
    if manifest.format != FORMAT:
        raise AddonError(f"got format {manifest.format}, want {FORMAT}; {remedy}", where=str(path))
    return manifest


def _sized(axes: FixedAxes) -> str:
    return "".join(f"-{axis}{size}" for axis, size in axes.items() if axis != BATCH or size != 1)


def _sizes(axes: FixedAxes) -> str:
    return ", ".join(f"{axis} {size}" for axis, size in axes.items()) or "any size"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
