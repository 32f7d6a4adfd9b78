"""Describe addon.json exactly."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from voxstack.core.errors import suggest
from voxstack.stack.profiles import ProfileConfig
from voxstack.stack.strict import StrictModel

__all__ = [
    "FORMAT",
    "AddonConfig",
    "AudioConfig",
    "ControlConfig",
    "GoldenConfig",
    "MelConfig",
    "NetConfig",
    "RaggedConfig",
    "TensorConfig",
]

FORMAT = 1


def _this_format(value: object) -> object:
    if value != FORMAT:
        raise ValueError(
            f"got format {value!r}; this voxstack reads format {FORMAT}; "
            "update voxstack, or import the model again"
        )
    return value


def _empty_is_none(value: object) -> object:
    # What passes through here is no longer JSON to pydantic: tuples inside need strict=False.
    return None if value == {} else value


class _Empty(StrictModel):
    """{} stands for null."""


class TensorConfig(StrictModel):
    """One input or output of a net; `axes` in the net's own order, "batch" marks the batch axis."""

    dtype: Literal["float32", "float16", "int64", "int32", "bool"]
    axes: tuple[int | str, ...]
    random: Literal["normal", "uniform"] | None = None


class RaggedConfig(StrictModel):
    """The axis along which a net grows with the utterance; see voxstack.core.nets.Ragged."""

    axis: str
    context: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        default=(0, 0), strict=False
    )
    hop: int = Field(default=1, ge=1)
    pad: float | None = None
    chunkable: bool = True
    least: int = Field(default=1, ge=1)
    mask: str | None = None
    lengths: str | None = None


class NetConfig(StrictModel):
    """One exported net: its file in the addon, its role, its tensors."""

    file: str
    role: str
    inputs: dict[str, TensorConfig]
    outputs: dict[str, TensorConfig]
    variants: dict[str, str] = Field(default_factory=dict)
    ragged: Annotated[
        RaggedConfig | None,
        BeforeValidator(_empty_is_none, json_schema_input_type=RaggedConfig | _Empty | None),
    ] = None
    state: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for name, after in self.state.items():
            _one_of(name, self.inputs, "state", "input")
            _one_of(after, self.outputs, f"state.{name}", "output")
            before, later = self.inputs[name], self.outputs[after]
            if before.dtype != later.dtype or not _may_become(before.axes, later.axes):
                raise ValueError(
                    f"state '{name}' is {before.dtype} {list(before.axes)}, but '{after}', which it becomes, "
                    f"is {later.dtype} {list(later.axes)}"
                )
            if self.ragged is not None and name in (self.ragged.mask, self.ragged.lengths):
                raise ValueError(f"'{name}' is state, which the net makes itself, so it is no mask or length")
            if before.random:
                raise ValueError(f"'{name}' is state, which the net makes itself, so it cannot be random")
        drawn = {name: tensor for name, tensor in self.inputs.items() if tensor.random}
        if self.state:
            self._draws_each_step(drawn)
            drawn = {}
        if self.ragged is not None:
            self._fits_its_axis(self.ragged, drawn)
        elif drawn:
            raise ValueError(
                f"'{next(iter(drawn))}' is random, so \"ragged\" must name the axis it is drawn along"
            )
        return self

    def _draws_each_step(self, drawn: dict[str, TensorConfig]) -> None:
        for name, tensor in drawn.items():
            named = [axis for axis in tensor.axes if isinstance(axis, str) and axis != "batch"]
            if named or tensor.dtype != "float32":
                raise ValueError(
                    f"'{name}' is random in a net with state, so it is drawn anew each step: want float32 "
                    f"and axes of fixed size; got {tensor.dtype} {list(tensor.axes)}"
                )

    def _fits_its_axis(self, ragged: RaggedConfig, drawn: dict[str, TensorConfig]) -> None:
        made = {key: name for key, name in (("mask", ragged.mask), ("lengths", ragged.lengths)) if name}
        for key, name in made.items():
            _one_of(name, self.inputs, f"ragged.{key}", "input")
        if ragged.lengths is not None and ragged.pad is not None:
            raise ValueError("ragged has lengths and pad: a length cannot tell padding in front; use a mask")
        for name in [*drawn, *([ragged.mask] if ragged.mask else [])]:
            grows = [axis for axis in self.inputs[name].axes if isinstance(axis, str) and axis != "batch"]
            if grows != [ragged.axis]:
                raise ValueError(
                    f"'{name}' is made along '{ragged.axis}', "
                    f"so this must be its only named axis; got {grows}"
                )
        for name, tensor in drawn.items():
            if tensor.dtype != "float32":
                raise ValueError(f"'{name}' is random, so it must be float32; got {tensor.dtype}")
        sent = self.inputs.keys() - {*made.values(), *drawn, *self.state}
        if not any(ragged.axis in self.inputs[name].axes for name in sent):
            raise ValueError(f"ragged.axis is '{ragged.axis}', but no input sent to the net has this axis")


def _may_become(before: tuple[int | str, ...], later: tuple[int | str, ...]) -> bool:
    """Whether a tensor of axes `later` may have axes `before`: a name fits any size."""
    return len(before) == len(later) and all(
        one == other or ((isinstance(one, str) or isinstance(other, str)) and "batch" not in (one, other))
        for one, other in zip(before, later, strict=True)
    )


def _one_of(name: str, known: Mapping[str, object], key: str, kind: str) -> None:
    if name not in known:
        raise ValueError(f"{key} names '{name}', which is no {kind}{suggest(name, known)}")


class AudioConfig(StrictModel):
    """What the audio is: `sample_rate` in Hz."""

    sample_rate: int = Field(gt=0)


class MelConfig(StrictModel):
    """How mels are made; see voxstack.core.ports.MelFormat."""

    sample_rate: int = Field(gt=0)
    hop: int = Field(gt=0)
    bands: int = Field(gt=0)
    fmin: float
    fmax: float
    log: Literal["e", "10", "db"] = "e"
    normalisation: str = "none"


class ControlConfig(StrictModel):
    """A number that a request may choose; `choices` gives names to values (speakers, styles)."""

    default: float
    min: float | None = None
    max: float | None = None
    dtype: Literal["float32", "int64"] = "float32"
    choices: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_in_its_own_range(self) -> Self:
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        if not low <= self.default <= high:
            raise ValueError(f"default is {self.default:g}, which is not in {low:g} to {high:g}")
        return self


class GoldenConfig(StrictModel):
    """A sample made at import: these ids under these controls must give this audio again."""

    ids: tuple[int, ...] = Field(strict=False)
    controls: dict[str, float] = Field(default_factory=dict)
    audio: str
    tolerance: float = Field(default=1e-3, gt=0, le=1e-2)


AddonName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class AddonConfig(StrictModel):
    """The whole of addon.json."""

    format: Annotated[Literal[1], BeforeValidator(_this_format)]
    name: AddonName
    version: str
    gives: Literal["mel", "audio"]
    takes: Literal["mel"] | None = None
    languages: tuple[str, ...] = ()
    licence: str
    origin: dict[str, Any] = Field(default_factory=dict)
    audio: AudioConfig
    mel: MelConfig | None = None
    text: dict[str, Any] | None = None
    controls: dict[str, ControlConfig] = Field(default_factory=dict)
    nets: dict[str, NetConfig]
    stack: list[dict[str, Any]] = Field(min_length=1)
    vocoder: AddonName | None = None
    profiles: dict[str, ProfileConfig] = Field(default_factory=dict)
    golden: Annotated[
        GoldenConfig | None,
        BeforeValidator(_empty_is_none, json_schema_input_type=GoldenConfig | _Empty | None),
    ] = None
    files: dict[str, Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_how_its_mels_are_made(self) -> Self:
        # Without it, mels of any make would seem to fit.
        if self.mel is None and "mel" in (self.gives, self.takes):
            raise ValueError("'mel' is missing: an addon that gives or takes mels says how they are made")
        if self.mel is not None and self.gives == "mel" and self.audio.sample_rate != self.mel.sample_rate:
            raise ValueError(
                f"audio.sample_rate is {self.audio.sample_rate}, but its mels are made for "
                f"{self.mel.sample_rate} Hz; want the same"
            )
        return self
