"""Make an addon ready: choose the runtime, load its nets side by side, wire its stack."""

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.blocks import StreamableBlock
from voxstack.core.errors import RequestError, VoxstackError, WiringError
from voxstack.core.nets import Net
from voxstack.core.ports import Port, Ports, differences
from voxstack.engine.fitting import Limits, limits_of
from voxstack.engine.library import find_addon, installed
from voxstack.engine.nets import Running, load_nets, resolve
from voxstack.engine.plan import ChunkPlan
from voxstack.stack.addon import Addon
from voxstack.stack.containers import StreamableStack
from voxstack.stack.faults import END, Faults
from voxstack.stack.wire import Block, Wired, wire_stack

__all__ = ["Loaded", "Watch", "load_stack"]


@dataclass(frozen=True)
class Loaded:
    """An addon with its nets ready and its stack wired, its vocoder's stack below it if it needs one."""

    addon: Addon
    profile: str
    block: StreamableBlock
    nets: dict[str, Net]
    wired: tuple[Wired, ...]
    vocoder: Addon | None = None
    plan: ChunkPlan = ChunkPlan()  # noqa: RUF009 - frozen

    @property
    def runtime(self) -> str:
        """What runs the nets: engine, version, provider and precision, as they really are."""
        return ", ".join(sorted({f"{net.runtime} {net.precision}" for net in self.nets.values()}))

    @cached_property
    def limits(self) -> Limits:
        """How long an utterance may be for nets that must see all of it, at the sizes that they have."""
        plain = limits_of(self.nets.values())
        golden, rate = self.addon.config.golden, self.addon.frame_rate
        if plain.most_frames is None or golden is None or rate is None:
            return plain
        sample = soundfile.info(io.BytesIO(self.addon.read(golden.audio)))
        frames = float(rate) * sample.duration * golden.controls.get("speed", 1.0)
        return limits_of(self.nets.values(), golden_ids=len(golden.ids), golden_frames=frames)


class Watch(Protocol):
    """Look into a stack while it works: each method returns what shall stand in the place of what it got.

    That is the thing itself, or one that does the same and looks on.
    """

    def net(self, name: str, net: Net) -> Net: ...
    def block(self, path: str, name: str, block: Block) -> Block: ...


def load_stack(
    addon: Addon,
    *,
    running: Running = Running(),  # noqa: B008 - frozen
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
    watch: Watch | None = None,
    faults: Faults | None = None,
) -> Loaded:
    """Load an addon's nets, wire its stack, and put its vocoder under it.

    Nets that another voice of this process has loaded are used again. A vocoder alone is wired to a
    stream of its own mels.

    In:       running  how its nets run
              vocoder  name or path of another one than the addon names
              watch    what looks into it; without one, nothing does
              faults   is filled with what is wrong with its stack, and only the rest is raised; what
                       comes back can be looked at then, but may not speak
    Raises:   ConfigError, WiringError, AddonError, NetError, RequestError; each says where
    """
    try:
        return _load_stack(addon, running, folders=folders, vocoder=vocoder, watch=watch, faults=faults)
    except VoxstackError as error:
        if not error.where.startswith("$"):
            raise
        raise type(error)(error.what, where=f"{addon.name}: {error.where}") from error


def _load_stack(
    addon: Addon,
    running: Running,
    *,
    folders: Sequence[str | Path],
    vocoder: str | Path | None,
    watch: Watch | None,
    faults: Faults | None,
) -> Loaded:
    profile = resolve(addon, running)
    nets = _watched(load_nets(addon, profile), watch)
    wired: list[Wired] = []
    block = wire_stack(
        addon.config.stack,
        nets=nets,
        tensors=addon.request,
        source=addon.source,
        frame_rate=addon.frame_rate,
        mel=addon.mel,
        seen=wired,
        watch=watch.block if watch else None,
        faults=faults,
    )
    below = None
    if addon.config.gives == "mel":
        with _kept(faults if vocoder is None else None):
            below = _vocoder(addon, block, vocoder, folders, faults=faults)
    elif vocoder is not None:
        raise RequestError("it makes audio itself and takes no vocoder", where=addon.name)
    if below is not None:
        own = _watched(load_nets(below, resolve(below, running, user=addon)), watch, prefix=f"{below.name}/")
        voiced = wire_stack(
            below.config.stack,
            nets=own,
            tensors=addon.request,
            source=block.gives,
            mel=below.mel,
            seen=wired,
            root=f"{below.name}: $",
            watch=watch.block if watch else None,
            faults=faults,
        )
        block = StreamableStack((block, voiced))
        nets |= {f"{below.name}/{key}": net for key, net in own.items()}
    if not (faults and faults.found):
        with _kept(faults):
            _gives_samples(block, below or addon)
    plan = ChunkPlan(**profile.chunk_settings())
    return Loaded(addon, running.name, block, nets, tuple(wired), below, plan)


@contextmanager
def _kept(faults: Faults | None) -> Generator[None, None, None]:
    """Keep what is wrong with what follows a stack, where faults are kept."""
    try:
        yield
    except (WiringError, RequestError) as error:
        if faults is None:
            raise
        faults.note(END, error)


def _watched(nets: dict[str, Net], watch: Watch | None, *, prefix: str = "") -> dict[str, Net]:
    return {name: watch.net(f"{prefix}{name}", net) for name, net in nets.items()} if watch else nets


def _vocoder(
    addon: Addon,
    block: StreamableBlock,
    wanted: str | Path | None,
    folders: Sequence[str | Path],
    *,
    faults: Faults | None,
) -> Addon:
    """Return the vocoder's addon, if its mels are the voice's mels."""
    if "mel" not in block.gives and not (faults and faults.unwired):
        raise WiringError(f"its stack gives {sorted(block.gives)}, not 'mel'", where=f"{addon.name}: $.stack")
    name = addon.config.vocoder if wanted is None else wanted
    if name is None:
        raise WiringError(f"it gives mels but names no vocoder; {_fitting(addon, folders)}", where=addon.name)
    # A voice that was named by its path finds its vocoder next door.
    beside = Path(addon.files.where).parent
    vocoder = find_addon(name, [*folders, beside], kind="vocoder", wanted_by=addon.name)
    if vocoder.config.takes != "mel":
        where = f"{addon.name}: $.vocoder" if wanted is None else addon.name
        raise WiringError(f"'{name}' is no vocoder: it does not take mels", where=where)
    if faults is None:  # else the vocoder's own need says it, where it is drawn
        _same_mels(addon, block.gives["mel"], vocoder, name)
    return vocoder


def _same_mels(addon: Addon, given: Port, vocoder: Addon, name: str | Path) -> None:
    found = differences(given, replace(given, mel=vocoder.mel))
    if found:
        lines = "".join(f"\n  {line}" for line in found)
        raise WiringError(
            f"does not fit the vocoder '{name}': mel → mel{lines}\n"
            "  These nets were trained on different mel settings; choose a vocoder trained on the same, "
            "or put a resampling block between.",
            where=f"{addon.name}: $.stack[{len(addon.config.stack) - 1}]",
        )


def _fitting(addon: Addon, folders: Sequence[str | Path]) -> str:
    """Say which installed vocoders take a voice's mels."""
    beside = Path(addon.files.where).parent
    known, _ = installed([*folders, beside])
    names = [name for name, other in known.items() if other.config.takes == "mel" and other.mel == addon.mel]
    if not names:
        return 'no installed vocoder takes its mels; install one, or set "vocoder" in addon.json'
    return f'choose one with --vocoder, or set "vocoder" in addon.json; those that fit: {", ".join(names)}'


def _gives_samples(block: StreamableBlock, last: Addon) -> None:
    where = f"{last.name}: $.stack"
    port = block.gives.get("samples")
    if port is None or len(port.axes) != 1:
        raise WiringError(
            f"a voice ends in 'samples' [samples]; this stack gives {_listed(block.gives)}", where=where
        )
    rate = last.config.audio.sample_rate
    if port.rate is not None and port.rate != rate:
        raise WiringError(
            f"the stack gives {port.rate} samples per second, $.audio.sample_rate says {rate}", where=where
        )


def _listed(ports: Ports) -> str:
    return ", ".join(str(port) for port in ports.values())
