"""Read a deployment file: what an operator says of profiles, over what the addons say of themselves.

telemetry = "on"                        # who is told of requests: "on", "logs" or "off"

[profiles.npu.nets."*"]                 # of every addon
runtime = "openvino"
device = "npu"

[addons.joe.profiles.npu.nets.decoder]  # of one
shapes = {buckets = [64, 256]}
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from voxstack.core.errors import ConfigError, RequestError, VoxstackError, suggest
from voxstack.runtimes.named import RUNTIMES
from voxstack.stack.profiles import ProfileConfig
from voxstack.stack.strict import StrictModel, parse_json, validated

__all__ = ["NO_DEPLOYMENT", "TELEMETRY", "Deployment", "load_deployment"]

VARIABLE = "VOXSTACK_DEPLOYMENT"

TELEMETRY = ("on", "logs", "off")
"""Who is told of requests: OpenTelemetry and the log, the log alone, nobody."""


class DeployedProfile(ProfileConfig):
    """A profile as an operator states it; `artefacts` is the folder where `voxstack compile` put its nets."""

    artefacts: str | None = None


class DeployedAddon(StrictModel):
    """What an operator says of one addon; `effects` takes the place of those of all addons."""

    profiles: dict[str, DeployedProfile] = Field(default_factory=dict)
    effects: list[dict[str, Any]] | None = None


class DeploymentConfig(StrictModel):
    """The whole of a deployment file; `profile` is the one that runs where none is named.

    `effects` are blocks behind the last one of every voice.
    """

    profile: str | None = None
    effects: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    telemetry: Literal["on", "logs", "off"] | None = None
    profiles: dict[str, DeployedProfile] = Field(default_factory=dict)
    addons: dict[str, DeployedAddon] = Field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """A deployment file that was read, the folder that its paths count from, and the file itself."""

    config: DeploymentConfig = field(default_factory=DeploymentConfig)
    folder: Path = Path()
    file: Path | None = None

    def where(self, path: str) -> str:
        """Return a path in the file as errors show it."""
        return path if self.file is None else f"{self.file}: {path}"

    def profiles(self, addon: str) -> list[Mapping[str, DeployedProfile]]:
        """Return what it says of profiles for one addon: of all, then of this one."""
        own = self.config.addons.get(addon)
        return [self.config.profiles, own.profiles if own else {}]

    def effects(self, addon: str) -> list[dict[str, Any]]:
        """Return the entries of blocks that stand behind a voice's last one."""
        own = self.config.addons.get(addon)
        return self.config.effects if own is None or own.effects is None else own.effects

    def effects_path(self, addon: str) -> str:
        """Return where in the file these entries stand, as errors show it."""
        own = self.config.addons.get(addon)
        is_own = own is not None and own.effects is not None
        return self.where(f"$.addons.{addon}.effects" if is_own else "$.effects")

    def artefacts(self, profile: str, addon: str) -> Path | None:
        """Return the folder of nets compiled for a profile, if it names one; paths count from the file."""
        stated = [layer[profile].artefacts for layer in self.profiles(addon) if profile in layer]
        found = next((path for path in reversed(stated) if path is not None), None)
        return None if found is None else self.folder / found


NO_DEPLOYMENT = Deployment()


def load_deployment(path: str | Path | None) -> Deployment:
    """Read the deployment file at `path`, or at $VOXSTACK_DEPLOYMENT; none of both is an empty one.

    Raises:   RequestError if there is no such file; ConfigError with a path if it is wrong
    """
    text = os.environ.get(VARIABLE) if path is None else path
    if not text:
        return NO_DEPLOYMENT
    file = Path(text)
    if file.suffix not in (".toml", ".json"):
        raise RequestError(
            f"got a deployment file of type '{file.suffix}', want .toml or .json", where=str(file)
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=str(file)) from error
    try:
        config = validated(DeploymentConfig, _parsed(data, file))
        _check_runtimes(config.profiles, path="$.profiles")
        for name, addon in config.addons.items():
            _check_runtimes(addon.profiles, path=f"$.addons.{name}.profiles")
    except VoxstackError as error:
        where = str(file) if error.where in ("", str(file)) else f"{file}: {error.where}"
        raise ConfigError(error.what, where=where) from error
    return Deployment(config, file.parent, file)


def _check_runtimes(profiles: Mapping[str, DeployedProfile], *, path: str) -> None:
    """Raise ConfigError where a runtime does not exist, also under what no net of any addon is called."""
    for key, profile in profiles.items():
        for selector, net in profile.nets.items():
            if net.runtime is not None and net.runtime not in RUNTIMES:
                raise ConfigError(
                    f"no runtime '{net.runtime}'{suggest(net.runtime, RUNTIMES)}",
                    where=f"{path}.{key}.nets.{selector}.runtime",
                )


def _parsed(data: bytes, file: Path) -> Any:
    if file.suffix == ".json":
        return parse_json(data, where=str(file))
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=str(file)) from error
