"""Describe profiles: how an addon's nets run, net by net, and which profiles every addon has.

"profiles": {"npu": {"nets": {"*":      {"runtime": "openvino", "device": "npu", "shapes": "fixed"},
                              "vocoder": {"shapes": {"buckets": [64, 256]}}}}}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from voxstack.core.errors import ConfigError, suggest
from voxstack.core.executables import Choice, Option, Precision
from voxstack.core.nets import NetSpec
from voxstack.core.policies import automatic_sizes
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes
from voxstack.stack.strict import StrictModel

__all__ = [
    "DEFAULT",
    "STANDARD",
    "ChunksConfig",
    "NetProfile",
    "Profile",
    "ProfileConfig",
    "ShapesConfig",
    "check_selectors",
    "shape_policy",
]

DEFAULT = "cpu"
"""The profile that runs where none is named; the others are held against it."""

ALL = "*"

PositiveSizes: TypeAlias = tuple[Annotated[int, Field(ge=1)], ...]


AUTOMATIC = ("dynamic", "fixed", "buckets")


def _in_a_word(value: object) -> object:
    """Read "fixed" as {"automatic": "fixed"}."""
    if not isinstance(value, str):
        return value
    if value not in AUTOMATIC:
        raise ValueError(f"got '{value}'{suggest(value, AUTOMATIC)}")
    return {"automatic": value}


class ShapesConfig(StrictModel):
    """Steps of a net's ragged axis: worked out, the only sizes there are, or the most; and its batch."""

    automatic: Literal["dynamic", "fixed", "buckets"] = "dynamic"
    buckets: PositiveSizes = Field(default=(), strict=False)
    most: int | None = Field(default=None, ge=1)
    batch: PositiveSizes = Field(default=(1,), strict=False, min_length=1)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.buckets and self.most is not None:
            raise ValueError("got buckets and most; the largest bucket is the most: give one of them")
        if self.automatic != "dynamic" and (self.buckets or self.most is not None):
            raise ValueError(f"got automatic '{self.automatic}' and sizes; give one of them")
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"got buckets {list(self.buckets)}, want each once, the smallest first")
        if list(self.batch) != sorted(set(self.batch)):
            raise ValueError(f"got batch {list(self.batch)}, want each once, the smallest first")
        return self


class NetProfile(StrictModel):
    """How one net runs, or all that a selector means; what is left out is as the rest says."""

    runtime: str | None = None
    device: str | None = None
    precision: Precision | None = None
    threads: int | None = Field(default=None, ge=0)
    shapes: Annotated[
        ShapesConfig | None,
        BeforeValidator(
            _in_a_word, json_schema_input_type=Literal["dynamic", "fixed", "buckets"] | ShapesConfig
        ),
    ] = None
    options: dict[str, Option] | None = None


class ChunksConfig(StrictModel):
    """How reads grow, see voxstack.engine.plan.ChunkPlan: first and most in ms, growth a factor."""

    first_ms: float | None = Field(default=None, gt=0)
    growth: float | None = Field(default=None, gt=0)
    most_ms: float | None = Field(default=None, gt=0)


class ProfileConfig(StrictModel):
    """A named choice of how nets run: by net, by role, or "*" for all; and of how large chunks are."""

    nets: dict[str, NetProfile] = Field(default_factory=dict)
    chunks: ChunksConfig = ChunksConfig()


def _all(**how: Any) -> ProfileConfig:
    return ProfileConfig(nets={ALL: NetProfile.model_validate(how)})


HALF = NetProfile.model_validate({"runtime": "openvino", "precision": "bf16", "shapes": "buckets"})

STANDARD: Mapping[str, ProfileConfig] = {
    "cpu": ProfileConfig(),
    "fixed": _all(shapes="fixed"),
    "buckets": _all(shapes="buckets", options={"lock_sizes": False}),
    # What encodes and decides on durations stays exact: both would drift. Where a second takes less than
    # a tenth of one, chunks may grow faster.
    "fast": ProfileConfig(
        nets={"decoder": HALF, "vocoder": HALF}, chunks=ChunksConfig(growth=8, most_ms=2700)
    ),
    # Encoders have many buckets; compiled for each, their weights would be there as many times.
    "openvino": ProfileConfig(
        nets={
            ALL: NetProfile.model_validate({"runtime": "openvino", "shapes": "buckets"}),
            "encoder": NetProfile(options={"lock_sizes": False}),
        }
    ),
    "torch": _all(runtime="torch"),
    "gpu": _all(runtime="torch", device="cuda", shapes="buckets", options={"graphs": True}),
    "npu": _all(runtime="openvino", device="npu", shapes="fixed"),
    "neuron": _all(runtime="neuron", shapes="buckets"),
}
"""Profiles that every addon has. An addon's own, and a deployment file's, say more or say otherwise."""


@dataclass(frozen=True)
class Profile:
    """A profile as it holds for one addon.

    layers     what is said of its nets, each layer over the one before it
    chunks     what is said of chunks, likewise
    artefacts  the folder in which compiled nets lie, if any
    said_in    the deployment file, if it says anything of it
    threads    of every net, whatever the layers say; 0: as they say
    cores      what 0 threads means
    """

    name: str
    layers: tuple[Mapping[str, NetProfile], ...]
    chunks: tuple[ChunksConfig, ...] = ()
    artefacts: Path | None = None
    said_in: Path | None = None
    threads: int = 0
    cores: int = 1

    def of(self, spec: NetSpec) -> NetProfile:
        """Return how a net runs: `*`, then its role, then its name, layer over layer."""
        chosen = NetProfile(runtime="onnxruntime", device="cpu", precision="f32", threads=0, options={})
        for layer in self.layers:
            for selector in dict.fromkeys((ALL, spec.role, spec.name)):
                if selector in layer:
                    chosen = _over(chosen, layer[selector])
        return chosen if not self.threads else chosen.model_copy(update={"threads": self.threads})

    def chunk_settings(self) -> dict[str, float]:
        """Return what is said of chunks."""
        return {key: value for layer in self.chunks for key, value in layer if value is not None}

    def choice(self, chosen: NetProfile) -> Choice:
        """Return what an engine is told."""
        return Choice(
            device="cpu" if chosen.device is None else chosen.device,
            precision=chosen.precision or "f32",
            threads=chosen.threads or self.cores,
            options=tuple(sorted((chosen.options or {}).items())),
        )


def shape_policy(spec: NetSpec, shapes: ShapesConfig | None) -> ShapePolicy:
    """Return the sizes that a profile declares for a net, or has worked out from its axis."""
    if shapes is None:
        return DYNAMIC
    if shapes.automatic == "dynamic":
        return ShapePolicy(Sizes(shapes.buckets, shapes.most), Sizes(shapes.batch))
    if spec.ragged is None:
        return DYNAMIC
    return ShapePolicy(automatic_sizes(spec.ragged, one=shapes.automatic == "fixed"), Sizes(shapes.batch))


def check_selectors(profile: ProfileConfig, specs: Mapping[str, NetSpec], *, path: str) -> None:
    """Raise ConfigError where a profile for one addon speaks of a net that it does not have."""
    known = {ALL, *specs, *(spec.role for spec in specs.values())}
    for selector in profile.nets:
        if selector not in known:
            raise ConfigError(
                f"'{selector}' is no net and no role of this addon{suggest(selector, known)}",
                where=f"{path}.nets.{selector}",
            )


def _over(below: NetProfile, above: NetProfile) -> NetProfile:
    said = {
        name: getattr(above, name) for name in NetProfile.model_fields if getattr(above, name) is not None
    }
    if above.runtime is not None and above.runtime != below.runtime and above.options is None:
        said["options"] = {}  # those below are another engine's
    return below.model_copy(update=said)
