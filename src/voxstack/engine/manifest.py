"""Describe nets that were compiled ahead of time: with what, from what, for which sizes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from pydantic import Field

from voxstack.core.executables import Engine, FixedAxes
from voxstack.core.layouts import BATCH
from voxstack.core.nets import NetSpec, TensorSpec
from voxstack.core.sizes import ShapePolicy
from voxstack.engine.processor import kind
from voxstack.stack.strict import StrictModel

__all__ = ["FORMAT", "Artefact", "CompiledEntry", "Manifest", "NetPlan", "difference", "identity", "shapes"]

FORMAT = 1

OF_THE_MACHINE = ("threads",)
"""Settings of an engine that a compiled net does not depend on."""


WORDS = {"tool": "by", "source": "of a file with the hash", "processor": "on a processor of the kind"}


@dataclass(frozen=True)
class NetPlan:
    """Say how one net is made ready.

    file, source  of the addon, and the hash of what it holds
    """

    spec: NetSpec
    engine: Engine
    shapes: ShapePolicy
    file: str
    source: str


class TensorShape(StrictModel):
    """One tensor of a compiled net: null stands where any size may come."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] = Field(strict=False)


class Artefact(StrictModel):
    """One compiled file: the sizes it was compiled for, its inputs in the order that it takes them."""

    file: str
    sha256: str
    axes: dict[str, int]
    inputs: tuple[TensorShape, ...] = Field(strict=False)
    outputs: tuple[TensorShape, ...] = Field(strict=False)


class CompiledEntry(StrictModel):
    """One net: what compiled it and how, the hash of its file, its ragged axis, and its compiled files.

    processor  of which kind it was compiled on, if that matters
    """

    runtime: str
    tool: str
    flags: dict[str, Any]
    source: str
    ragged: dict[str, Any] | None
    processor: str | None
    artefacts: tuple[Artefact, ...] = Field(strict=False)


class Manifest(StrictModel):
    """The whole of an artefact folder's manifest.json."""

    format: int
    voxstack: str
    addon: str
    version: str
    profile: str
    nets: dict[str, CompiledEntry]


def identity(plan: NetPlan) -> dict[str, Any]:
    """Return all that must be the same for a compiled net to be the one that is wanted."""
    settings = asdict(cast("Any", plan.engine))
    flags = {key: value for key, value in settings.items() if key not in OF_THE_MACHINE and _is_plain(value)}
    return {
        "runtime": plan.engine.name,
        "tool": f"{plan.engine.name} {plan.engine.version}",
        "flags": json.loads(json.dumps(flags)),
        "source": plan.source,
        "ragged": None if plan.spec.ragged is None else json.loads(json.dumps(asdict(plan.spec.ragged))),
        "processor": None if plan.engine.bound_to is None else kind(plan.engine.bound_to),
    }


def difference(entry: CompiledEntry, wanted: Mapping[str, Any]) -> str | None:
    """Return in what a compiled net is not the one that is wanted, to follow "compiled", or None."""
    for key, want in wanted.items():
        have = getattr(entry, key)
        if have == want:
            continue
        if isinstance(have, dict) and isinstance(want, dict):
            mine, theirs = cast("dict[str, Any]", have), cast("dict[str, Any]", want)
            name = min(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
            return f"with {name} {json.dumps(mine.get(name))}, want {json.dumps(theirs.get(name))}"
        word = WORDS.get(key, f"with {key}")
        return f"{word} {have}, want {want}"
    return None


def shapes(spec: NetSpec, axes: FixedAxes, tensors: Mapping[str, TensorSpec]) -> tuple[TensorShape, ...]:
    """Return the sizes that a net's inputs or outputs have where its axes are fixed."""
    known: dict[str, int | None] = dict(axes)
    if spec.ragged is not None and spec.ragged.axis in axes:
        hopped = axes[spec.ragged.axis] * spec.ragged.hop
        outer = {axis for tensor in spec.outputs.values() for axis in tensor.axes if isinstance(axis, str)}
        known = {**dict.fromkeys(outer - {BATCH}, hopped), **known}
    return tuple(
        TensorShape(
            name=name,
            dtype=tensor.dtype,
            shape=tuple(axis if isinstance(axis, int) else known.get(axis) for axis in tensor.axes),
        )
        for name, tensor in tensors.items()
    )


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
