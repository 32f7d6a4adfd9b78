"""Wire the stacks of several addons into one: a voice, the addons nested in it, its vocoder, its effects."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np

from voxstack.core.blocks import StreamableBlock
from voxstack.core.errors import BusyError, ConfigError, VoxstackError, WiringError
from voxstack.core.nets import Net
from voxstack.core.ports import Array, Port, Ports
from voxstack.core.site import Entry, Site
from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, load_nets, resolve, weights
from voxstack.stack.addon import Addon
from voxstack.stack.faults import Faults
from voxstack.stack.nested import NestedAddon
from voxstack.stack.wire import Block, Wired, wire_stack

__all__ = ["Assembly", "Reserve", "Watch"]

SPOKEN = {"pauses_ms", "normalise"}
"""What a front end says of text and time, not of ids."""


Reserve: TypeAlias = Callable[[Mapping[Hashable, int]], None]
"""Is told the bytes of nets, by their keys, before they are loaded; may refuse by raising."""


class Watch(Protocol):
    """Look into a stack while it works: each method returns what shall stand in the place of what it got.

    That is the thing itself, or one that does the same and looks on.
    """

    def net(self, name: str, net: Net) -> Net: ...
    def block(self, path: str, name: str, block: Block) -> Block: ...


@dataclass
class Assembly:
    """What a voice is made of, growing while its stacks are wired.

    voice    the addon that speaks
    running  how the nets of all addons run
    folders  where other addons are looked for first
    watch    what looks into it; without one, nothing does
    faults   is filled with what is wrong, which is not raised then
    reserve  is told of nets before they are loaded
    nets     all that were loaded; another addon's stand under its name: "tone-vocoder/vocoder"
    wired    all blocks, inner ones first
    addons   the nested ones
    """

    voice: Addon
    running: Running
    folders: Sequence[str | Path] = ()
    watch: Watch | None = None
    faults: Faults | None = None
    reserve: Reserve | None = None
    nets: dict[str, Net] = field(default_factory=dict[str, Net])
    wired: list[Wired] = field(default_factory=list[Wired])
    addons: list[Addon] = field(default_factory=list[Addon])

    def stack(self, addon: Addon, *, source: Ports | None, root: str = "$") -> StreamableBlock:
        """Wire an addon's stack: that of the voice, or of a vocoder under it."""
        is_voice = addon is self.voice
        return self._stack(addon, self.voice.request, source, root, (addon,), is_voice=is_voice)

    def effects(self, entries: Sequence[Entry], *, source: Ports) -> StreamableBlock:
        """Wire what changes the voice's sound behind its last block."""
        return wire_stack(
            [dict(entry) for entry in entries],
            nets={},
            tensors=self.voice.request,
            source=source,
            seen=self.wired,
            root="effects: $",
            watch=self._watched_block,
            addons=self._nested_in((self.voice,)),
            faults=self.faults,
        )

    def find(self, name: str | Path, *, user: Addon, kind: Literal["addon", "vocoder"] = "addon") -> Addon:
        """Return another addon that one names; one that was given by its path finds it next door."""
        beside = Path(user.files.where).parent
        return find_addon(name, [*self.folders, beside], kind=kind, wanted_by=user.name)

    def _stack(
        self,
        addon: Addon,
        tensors: Ports,
        source: Ports | None,
        root: str,
        within: tuple[Addon, ...],
        *,
        is_voice: bool = False,
    ) -> StreamableBlock:
        profile = resolve(addon, self.running, user=None if is_voice else self.voice)
        if self.reserve is not None:
            self.reserve(weights(addon, profile))
        nets = load_nets(addon, profile)
        prefix = "" if is_voice else f"{addon.name}/"
        if self.watch is not None:
            nets = {name: self.watch.net(f"{prefix}{name}", net) for name, net in nets.items()}
        self.nets |= {f"{prefix}{name}": net for name, net in nets.items()}
        return wire_stack(
            addon.config.stack,
            nets=nets,
            tensors=tensors,
            source=source,
            frame_rate=addon.frame_rate,
            mel=addon.mel,
            seen=self.wired,
            root=root,
            watch=self._watched_block,
            addons=self._nested_in(within),
            faults=self.faults,
        )

    @property
    def _watched_block(self) -> Callable[[str, str, Block], Block] | None:
        return self.watch.block if self.watch else None

    def _nested_in(self, within: tuple[Addon, ...]) -> Callable[[str, Site], StreamableBlock]:
        """Return what wires another addon's stack inside the last of these addons."""

        def wire(name: str, site: Site) -> StreamableBlock:
            names = [addon.name for addon in within]
            if name in names:
                ring = " → ".join([*names[names.index(name) :], name])
                raise ConfigError(
                    f"addon '{name}' stands inside itself: {ring}; break the ring", where=f"{site.path}.name"
                )
            try:
                return self._nested(self.find(name, user=within[-1]), site, within)
            except BusyError:  # no fault of this stack
                raise
            except VoxstackError as error:
                if error.where.startswith(site.path):
                    raise
                what = error.what if error.where == "addon" else f"{error.where}: {error.what}"
                raise type(error)(what, where=f"{site.path}.name") from error

        return wire

    def _nested(self, addon: Addon, site: Site, within: tuple[Addon, ...]) -> NestedAddon:
        if addon.source is not None:
            site.need(addon.source, site.source or {}, of="the stream above")
        defaults: dict[str, Array] = {}
        ports: dict[str, Port] = {}
        for name, control in addon.config.controls.items():
            if name in site.tensors:
                _fits(name, addon, within[0], path=site.path)
                continue
            defaults[name] = np.array(control.default, control.dtype)
            ports[name] = Port(name, control.dtype, ())
        root = f"{site.path}.{addon.name}"
        block = self._stack(addon, {**site.tensors, **ports}, site.source, root, (*within, addon))
        if "ids" in block.takes:
            _same_ids(addon, self.voice, path=site.path)
        self.addons.append(addon)
        return NestedAddon(block, defaults)


def _fits(name: str, inner: Addon, outer: Addon, *, path: str) -> None:
    """Check that all that a request may ask of a control is what the inner addon can do."""
    mine, its = outer.config.controls.get(name), inner.config.controls[name]
    if mine is None:
        return
    below = its.min is not None and (mine.min is None or mine.min < its.min)
    above = its.max is not None and (mine.max is None or mine.max > its.max)
    if below or above or mine.choices != its.choices:
        raise WiringError(
            f"control '{name}' is {_range(mine.min, mine.max, mine.choices)} in '{outer.name}' but "
            f"{_range(its.min, its.max, its.choices)} in '{inner.name}'; state it as there",
            where=path,
        )


def _range(low: float | None, high: float | None, choices: Mapping[str, int]) -> str:
    told = f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"
    return f"{told} ({', '.join(choices)})" if choices else told


def _same_ids(inner: Addon, voice: Addon, *, path: str) -> None:
    """Check that an id means the same symbol to both."""
    mine, its = voice.config.text, inner.config.text
    if mine is None or its is None:
        return
    keys = sorted(key for key in {*mine, *its} - SPOKEN if mine.get(key) != its.get(key))
    if keys:
        raise WiringError(
            f"'{inner.name}' reads ids of another front end than '{voice.name}' makes (text differs in: "
            f"{', '.join(keys)}); copy 'text' from '{inner.name}'",
            where=path,
        )
