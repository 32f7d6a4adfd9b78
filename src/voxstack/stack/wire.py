"""Wire a stack: turn its JSON into blocks, from the inside out, and check every join on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias, cast

from voxstack.core.blocks import SequenceBlock, StreamableBlock
from voxstack.core.errors import ConfigError, VoxstackError, WiringError, suggest
from voxstack.core.nets import Net, Nets
from voxstack.core.ports import MelFormat, Port, Ports, differences
from voxstack.core.registry import Registry
from voxstack.core.site import Entry, Site
from voxstack.stack.containers import StreamableStack
from voxstack.stack.faults import Faults
from voxstack.stack.standard import REGISTRY
from voxstack.stack.strict import validated

__all__ = ["Addons", "Block", "Wired", "wire_stack"]

Block: TypeAlias = SequenceBlock | StreamableBlock

Addons: TypeAlias = Callable[[str, Site], StreamableBlock]
"""Wires the stack of the addon of that name at a site."""

MANY = {
    "SequenceBlock": ("SequenceBlockContainer", "blocks"),
    "StreamableBlock": ("StreamableStack", "stack"),
}


@dataclass(frozen=True)
class Wired:
    """A block and the place in the JSON where it stands, kept for people who look inside.

    `is_container` says that other blocks of the JSON stand inside it.
    """

    path: str
    type: str
    block: Block
    is_container: bool = False


@dataclass(frozen=True)
class _Place:
    """The Site of one entry."""

    path: str
    nets: Nets
    tensors: Ports
    source: Ports | None
    frame_rate: Fraction | None
    mel: MelFormat | None
    registry: Registry
    seen: list[Wired]
    watch: Callable[[str, str, Block], Block] | None
    addons: Addons | None
    faults: Faults | None

    def net(self, name: str | None, *, role: str) -> Net:
        if name is not None:
            if name not in self.nets:
                raise ConfigError(f"no net '{name}'{suggest(name, self.nets)}", where=f"{self.path}.net")
            return self.nets[name]
        fitting = [key for key, net in self.nets.items() if net.spec.role == role]
        if len(fitting) == 1:
            return self.nets[fitting[0]]
        if not self.nets:
            raise ConfigError(
                f"it runs a net of role '{role}', and here are none: put it into the stack of an addon that "
                "has one; effects work on samples",
                where=self.path,
            )
        if not fitting:
            roles = ", ".join(f"'{key}' is {net.spec.role}" for key, net in self.nets.items())
            raise ConfigError(
                f"this addon has no net of role '{role}' ({roles}); give one of its nets that role",
                where=self.path,
            )
        raise ConfigError(
            f"several nets have the role '{role}': {', '.join(fitting)}; choose one with \"net\"",
            where=self.path,
        )

    def sequence(self, entry: Entry, key: str, *, tensors: Ports) -> SequenceBlock:
        return replace(self, path=f"{self.path}.{key}", tensors=tensors).wire(entry, "SequenceBlock")

    def streamable(self, entry: Entry, key: str, *, tensors: Ports, source: Ports | None) -> StreamableBlock:
        path = f"{self.path}.{key}" if key else self.path
        return replace(self, path=path, tensors=tensors, source=source).wire(entry, "StreamableBlock")

    def addon(self, name: str) -> StreamableBlock:
        if self.addons is None:
            raise ConfigError(
                f"the stack of addon '{name}' cannot be wired here: only a voice that is loaded finds others",
                where=self.path,
            )
        return self.addons(name, self)

    def need(self, wanted: Ports, given: Ports, *, of: str) -> None:
        for name, port in wanted.items():
            try:
                self._check(name, port, given, of)
            except WiringError as error:
                if self.faults is None:
                    raise
                self.faults.unmet(self.path, name, error)
                if name not in given:  # it belongs to this block: `wire` made it, or the block itself
                    cast("dict[str, Port]", given)[name] = self._as_if_given(port)

    def _check(self, name: str, port: Port, given: Ports, of: str) -> None:
        if not given:
            raise WiringError(
                f"wants '{name}' from {of}, but there is none; put a block that gives it before this one",
                where=self.path,
            )
        if name not in given:
            have = ", ".join(given)
            raise WiringError(
                f"wants '{name}' from {of}, which gives {have}{_hint(name, given)}", where=self.path
            )
        found = differences(given[name], port)
        if found:
            raise WiringError(
                f"'{name}' of {of} does not fit (given → wanted): {', '.join(found)}; "
                "use nets that were made for each other, or put a block that converts between them",
                where=self.path,
            )

    def _as_if_given(self, port: Port) -> Port:
        is_framewise = port.axes[:1] == ("frames",)
        return replace(port, rate=port.rate or (self.frame_rate if is_framewise else None))

    def wire(self, entry: Any, wanted: Literal["SequenceBlock", "StreamableBlock"]) -> Any:
        before = len(self.seen)
        try:
            name, block = self._wired(entry, wanted)
        except VoxstackError as error:
            if self.faults is None:
                raise
            name = _type(entry)
            block = self.faults.broken(self.path, error, branches=self._branches(name))
        self.seen.append(Wired(self.path, name, block, is_container=len(self.seen) > before))
        return block if self.watch is None else self.watch(self.path, name, block)

    def _wired(self, entry: Any, wanted: Literal["SequenceBlock", "StreamableBlock"]) -> tuple[str, Block]:
        """Return the name and the block of an entry; raise ConfigError or WiringError."""
        if isinstance(entry, list):
            container, key = MANY[wanted]
            raise ConfigError(
                f"got a list, want exactly one {wanted}; "
                f'several go into one: {{"type": "{container}", "{key}": […]}}',
                where=self.path,
            )
        if not isinstance(entry, Mapping):
            raise ConfigError(f'got {entry!r:.40}, want exactly one {wanted}: {{"type": …}}', where=self.path)
        options = dict(cast("Entry", entry))
        name = options.pop("type", None)
        if not isinstance(name, str):
            raise ConfigError("'type' is missing; it names the block", where=f"{self.path}.type")
        factory = self.registry.find(name, path=f"{self.path}.type")
        if not (hasattr(factory, "Options") and hasattr(factory, "wire")):
            raise ConfigError(f"'{name}' is no block: it lacks Options or wire", where=f"{self.path}.type")
        kind = "StreamableBlock" if hasattr(factory, "open") else "SequenceBlock"
        if kind != wanted:
            raise WiringError(f"'{name}' is a {kind}; a {wanted} is wanted here", where=f"{self.path}.type")
        return name, factory.wire(validated(factory.Options, options, path=self.path), self._own())

    def _branches(self, name: str) -> tuple[str, ...]:
        """Return which keys of a block that cannot be wired would hold branches of the same stream."""
        try:
            return getattr(self.registry.find(name, path=self.path), "branches", ())
        except ConfigError:
            return ()

    def _own(self) -> "_Place":
        """Return this place with ports of its own, so that a need taken as met is met here alone."""
        if self.faults is None:
            return self
        source = None if self.source is None else dict(self.source)
        return replace(self, tensors=dict(self.tensors), source=source)


def wire_stack(
    stack: list[dict[str, Any]],
    *,
    nets: Nets,
    tensors: Ports,
    source: Ports | None = None,
    frame_rate: Fraction | None = None,
    mel: MelFormat | None = None,
    registry: Registry = REGISTRY,
    seen: list[Wired] | None = None,
    root: str = "$",
    watch: Callable[[str, str, Block], Block] | None = None,
    addons: Addons | None = None,
    faults: Faults | None = None,
) -> StreamableBlock:
    """Return the StreamableBlock that a `stack` attribute describes: a list is a StreamableStack.

    In:       nets     ready to run, by name
              tensors  ports that a request fills
              source   ports of the stream above, if this stack stands under another
              seen     is filled with each block wired, inner ones first
              root     what paths start with, where a voice is wired from several addons
              addons   wires the stack of another addon where an entry names one
              watch    is given path, type and block; returns what shall stand there (`engine.assembly.Watch`)
              faults   is filled with what is wrong, and nothing is raised
    Raises:   ConfigError (an entry is wrong) or WiringError (two blocks do not fit), with JSON path
    """
    seen = seen if seen is not None else []
    place = _Place(root, nets, tensors, source, frame_rate, mel, registry, seen, watch, addons, faults)
    at = f"{root}.stack"
    block: StreamableBlock
    try:
        block = StreamableStack.wire(StreamableStack.Options(stack), place)
        _check_head(block, source, place)
    except VoxstackError as error:
        if faults is None:
            raise
        block = faults.broken(at, error)
    place.seen.append(Wired(at, "StreamableStack", block, is_container=True))
    return block


def _check_head(block: StreamableBlock, source: Ports | None, place: _Place) -> None:
    if not block.consumes or source is not None:
        return
    first = next(wired for wired in place.seen if wired.path == f"{place.path}.stack[0]")
    error = WiringError(
        f"'{first.type}' wants a stream above it ({', '.join(block.consumes)}), but it heads the stack",
        where=first.path,
    )
    if place.faults is None:
        raise error
    if not place.faults.found:
        place.faults.note(first.path, error)


def _type(entry: Any) -> str:
    """Return what an entry that cannot be wired calls itself."""
    named = cast("Entry", entry).get("type") if isinstance(entry, Mapping) else None
    return named if isinstance(named, str) else "?"


def _hint(name: str, given: Ports) -> str:
    hint = suggest(name, given)
    return hint if hint.startswith("; did") else ""
