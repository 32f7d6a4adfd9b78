"""Load an addon: read its JSON strictly, check its files, describe its nets; seal and pack one."""

import json
import os
import zipfile
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from voxstack.core.errors import AddonError, ConfigError, VoxstackError
from voxstack.core.feeds import SEED, UTTERANCE
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.ports import MelFormat, Port, Ports
from voxstack.stack.config import AddonConfig, NetConfig
from voxstack.stack.files import (
    MANIFEST,
    SUFFIX,
    Files,
    check_listing,
    checked_name,
    open_files,
    read_checked,
    sha256_of,
)
from voxstack.stack.profiles import check_selectors
from voxstack.stack.strict import parse_json, validated

__all__ = ["Addon", "addon_paths", "load_addon", "pack", "seal"]

IDS = Port("ids", "int64", ("phonemes",))
CHOICES = frozenset({"marks"})
"""Names by which a request chooses something else than a control."""

UNIX = 3
"""The system that a zip entry says it was made on, so that its bytes are the same from every one."""


@dataclass(frozen=True)
class Addon:
    """An addon whose JSON was read and whose files are all listed; each is checked when it is read."""

    config: AddonConfig
    files: Files

    @property
    def name(self) -> str:
        return self.config.name

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, once they have the listed hash; raise AddonError."""
        return read_checked(self.files, name, self.config.files)

    def verify(self) -> None:
        """Read and check every file."""
        for name in self.config.files:
            self.read(name)

    @cached_property
    def specs(self) -> dict[str, NetSpec]:
        """The nets' descriptions, by name."""
        return {name: _spec(name, net) for name, net in self.config.nets.items()}

    def file_of(self, name: str, variant: str) -> str:
        """Return the file of a net in a variant ("int8"), which is its plain one where it has no such."""
        net = self.config.nets[name]
        return net.variants.get(variant, net.file)

    @property
    def mel(self) -> MelFormat | None:
        return MelFormat(**self.config.mel.model_dump()) if self.config.mel else None

    @property
    def frame_rate(self) -> Fraction | None:
        """Exact frames per second: from the mel format, else from the hops of what decodes."""
        if self.config.mel is not None:
            return Fraction(self.config.mel.sample_rate, self.config.mel.hop)
        rate = Fraction(self.config.audio.sample_rate)
        hop = 1
        for spec in self.specs.values():
            if spec.role != "encoder" and spec.ragged is not None:
                hop *= spec.ragged.hop
        return rate / hop

    @property
    def source(self) -> Ports | None:
        """What flows into its stack: mels of its format if it is a vocoder, nothing if it is a voice."""
        if self.config.takes is None or self.mel is None:
            return None
        return {"mel": Port("mel", "float32", ("frames", self.mel.bands), rate=self.frame_rate, mel=self.mel)}

    @property
    def request(self) -> Ports:
        """What a request brings: ids, the noise's key, and the controls."""
        controls = {name: Port(name, control.dtype, ()) for name, control in self.config.controls.items()}
        fixed = {port.name: port for port in (IDS, SEED, UTTERANCE)}
        for name in controls:
            if name in fixed or name in CHOICES:
                raise ConfigError(f"'{name}' is not free for a control", where=f"$.controls.{name}")
        return {**fixed, **controls}


def load_addon(path: Path) -> Addon:
    """Read and check the addon in a folder or `.voxaddon` file.

    Raises:   ConfigError if its JSON is wrong, AddonError if its files cannot be trusted
    """
    files = open_files(path)
    if not files.has(MANIFEST):
        raise AddonError(f"there is no {MANIFEST} in it, so it is no addon", where=str(path))
    manifest = f"{path}/{MANIFEST}"
    value = parse_json(files.read(MANIFEST), where=manifest)
    try:
        addon = Addon(validated(AddonConfig, value), files)
        for name, net in addon.config.nets.items():
            _check_file(net.file, addon.config.files, where=f"$.nets.{name}.file")
            for variant, file in net.variants.items():
                _check_file(file, addon.config.files, where=f"$.nets.{name}.variants.{variant}")
        for key, profile in addon.config.profiles.items():
            check_selectors(profile, addon.specs, path=f"$.profiles.{key}")
        _ = addon.request
    except VoxstackError as error:
        raise type(error)(f"{error.where}: {error.what}", where=manifest) from error
    check_listing(files, addon.config.files)
    return addon


def _check_file(name: str, listed: Container[str], *, where: str) -> None:
    checked_name(name, where=where)
    if not name.endswith(".onnx"):
        raise ConfigError(
            f"got '{name}'; a net is an .onnx file, that is all that is looked into", where=where
        )
    if name not in listed:
        raise ConfigError(f"'{name}' is not listed under 'files'; seal the addon again", where=where)


def addon_paths(folder: Path) -> list[Path]:
    """Return what looks like an addon in a folder, also what cannot be looked into."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX or _may_be_addon(path))


def _may_be_addon(path: Path) -> bool:
    if path.name.startswith("."):  # such as an editor's lock, a link to nothing
        return os.path.lexists(path / MANIFEST)
    try:
        os.lstat(path / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return path.is_symlink() and not path.exists()
    except OSError:
        return True
    return True


def seal(folder: Path) -> None:
    """Write the hash of every file of the folder into its addon.json, then read it all back."""
    manifest = folder / MANIFEST
    files = open_files(folder)
    config = parse_json(files.read(MANIFEST), where=str(manifest))
    if not isinstance(config, dict):
        raise ConfigError(f"got a {type(config).__name__}, want an object", where=str(manifest))
    config["files"] = {name: sha256_of(files.read(name)) for name in files.names() if name != MANIFEST}
    manifest.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    load_addon(folder).verify()


def pack(folder: Path, out: Path) -> Path:
    """Write a folder's addon as one `.voxaddon` zip, the same bytes every time; return its path."""
    addon = load_addon(folder)
    if out.is_dir():
        out = out / f"{addon.name}-{addon.config.version}{SUFFIX}"
    if out.resolve().is_relative_to(folder.resolve()):
        raise AddonError(
            "the pack would lie inside the addon that it packs; choose another place", where=str(out)
        )
    partial = out.with_name(out.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(addon.files.names()):
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = UNIX, 0o100644 << 16
                data = addon.files.read(name) if name == MANIFEST else addon.read(name)
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=6)
        load_addon(partial).verify()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _spec(name: str, net: NetConfig) -> NetSpec:
    return NetSpec(
        name=name,
        file=net.file,
        role=net.role,
        inputs={key: TensorSpec(t.dtype, t.axes, t.random) for key, t in net.inputs.items()},
        outputs={key: TensorSpec(t.dtype, t.axes, t.random) for key, t in net.outputs.items()},
        ragged=Ragged(**net.ragged.model_dump()) if net.ragged else None,
        state=dict(net.state),
    )
