"""Make an addon ready: choose the runtime, load its nets side by side, wire its stack."""

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import soundfile  # pyright: ignore[reportMissingTypeStubs]

from voxstack.core.blocks import StreamableBlock
from voxstack.core.errors import RequestError, VoxstackError, WiringError
from voxstack.core.nets import Net
from voxstack.core.ports import Port, Ports, differences
from voxstack.engine.assembly import Assembly, Reserve, Watch
from voxstack.engine.deployed import check_names
from voxstack.engine.fitting import Limits, limits_of
from voxstack.engine.library import installed
from voxstack.engine.nets import EFFECTS, Running, resolve
from voxstack.engine.parts import weights_of_all
from voxstack.engine.plan import ChunkPlan
from voxstack.stack.addon import Addon
from voxstack.stack.containers import StreamableStack
from voxstack.stack.faults import END, Faults
from voxstack.stack.wire import Wired

__all__ = ["Loaded", "load_stack"]


@dataclass(frozen=True)
class Loaded:
    """An addon with its nets ready and its stack wired, its vocoder's and the effects' stack below it.

    sample_rate  of what it gives, in Hz
    nested       other addons of which the stack stands in this one's
    """

    addon: Addon
    profile: str
    block: StreamableBlock
    nets: dict[str, Net]
    wired: tuple[Wired, ...]
    sample_rate: int
    vocoder: Addon | None = None
    nested: tuple[Addon, ...] = ()
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


def load_stack(
    addon: Addon,
    *,
    running: Running = Running(),  # noqa: B008 - frozen
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
    watch: Watch | None = None,
    faults: Faults | None = None,
    reserve: Reserve | None = None,
) -> Loaded:
    """Load an addon's nets, wire its stack, and put its vocoder under it.

    Nets that another voice of this process has loaded are used again. A vocoder alone is wired to a
    stream of its own mels.

    In:       running  how its nets run
              vocoder  name or path of another one than the addon names
              watch    what looks into it; without one, nothing does
              faults   is filled with what is wrong with its stack, and only the rest is raised; what
                       comes back can be looked at then, but may not speak
              reserve  is told of nets before they are loaded, and may refuse
    Raises:   ConfigError, WiringError, AddonError, NetError, RequestError; each says where
    """
    try:
        assembly = Assembly(addon, running, folders, watch, faults, reserve)
        return _load_stack(assembly, vocoder=vocoder)
    except VoxstackError as error:
        if not error.where.startswith("$"):
            raise
        raise type(error)(error.what, where=f"{addon.name}: {error.where}") from error


def _load_stack(assembly: Assembly, *, vocoder: str | Path | None) -> Loaded:
    addon, running, faults = assembly.voice, assembly.running, assembly.faults
    check_names(running.deployment, addon, assembly.folders)
    if assembly.reserve is not None:
        # All at once, so that nobody goes for a part of what never fits; each part asks again for itself.
        try:
            whole = weights_of_all(addon, running, assembly.folders)
        except VoxstackError:
            whole = {}  # wiring says better what is wrong
        assembly.reserve(whole)
    block = assembly.stack(addon, source=addon.source)
    below = None
    if addon.config.gives == "mel":
        with _kept(faults if vocoder is None else None):
            below = _vocoder(assembly, block, vocoder)
    elif vocoder is not None:
        raise RequestError("it makes audio itself and takes no vocoder", where=addon.name)
    if below is not None:
        voiced = assembly.stack(below, source=block.gives, root=f"{below.name}: $")
        block = StreamableStack((block, voiced))
    sample_rate = (below or addon).config.audio.sample_rate
    if not (faults and faults.found):
        with _kept(faults):
            _check_rate(block, below or addon)
    effects = running.effects_of(addon.name)
    if effects:
        with _said_at(running.effects_path(addon.name), faults):
            block = StreamableStack((block, assembly.effects(effects, source=block.gives)))
        if not (faults and faults.found):
            with _said_at(running.effects_path(addon.name), None):
                sample_rate = _changed_rate(block, sample_rate)
    return Loaded(
        addon=addon,
        profile=running.name,
        block=block,
        nets=assembly.nets,
        wired=tuple(assembly.wired),
        sample_rate=sample_rate,
        vocoder=below,
        nested=tuple(assembly.addons),
        plan=ChunkPlan(**resolve(addon, running).chunk_settings()),
    )


@contextmanager
def _said_at(where: str, faults: Faults | None) -> Generator[None, None, None]:
    """Say of what is wrong with effects where they stand: in which file, under which key."""
    before = 0 if faults is None else len(faults.found)
    try:
        yield
    except VoxstackError as error:
        if not error.where.startswith(EFFECTS):
            raise
        raise type(error)(error.what, where=error.where.replace(EFFECTS, where, 1)) from error
    if faults is not None:
        faults.found[before:] = [
            replace(fault, message=fault.message.replace(EFFECTS, where, 1))
            for fault in faults.found[before:]
        ]


@contextmanager
def _kept(faults: Faults | None) -> Generator[None, None, None]:
    """Keep what is wrong with what follows a stack, where faults are kept."""
    try:
        yield
    except (WiringError, RequestError) as error:
        if faults is None:
            raise
        faults.note(END, error)


def _vocoder(assembly: Assembly, block: StreamableBlock, wanted: str | Path | None) -> Addon:
    """Return the vocoder's addon, if its mels are the voice's mels."""
    addon, folders, faults = assembly.voice, assembly.folders, assembly.faults
    if "mel" not in block.gives and not (faults and faults.unwired):
        raise WiringError(f"its stack gives {sorted(block.gives)}, not 'mel'", where=f"{addon.name}: $.stack")
    name = addon.config.vocoder if wanted is None else wanted
    if name is None:
        raise WiringError(f"it gives mels but names no vocoder; {_fitting(addon, folders)}", where=addon.name)
    vocoder = assembly.find(name, user=addon, kind="vocoder")
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


def _samples(block: StreamableBlock, *, where: str) -> Port:
    port = block.gives.get("samples")
    if port is None or len(port.axes) != 1:
        raise WiringError(
            f"a voice ends in 'samples' [samples]; this stack gives {_listed(block.gives)}", where=where
        )
    return port


def _check_rate(block: StreamableBlock, last: Addon) -> None:
    """Check that a stack ends in samples, as many a second as its addon says."""
    where = f"{last.name}: $.stack"
    port = _samples(block, where=where)
    rate = last.config.audio.sample_rate
    if port.rate is not None and port.rate != rate:
        raise WiringError(
            f"the stack gives {port.rate} samples per second, $.audio.sample_rate says {rate}", where=where
        )


def _changed_rate(block: StreamableBlock, before: int) -> int:
    """Return the rate behind the effects."""
    where = EFFECTS
    rate = _samples(block, where=where).rate or before
    if rate != int(rate):
        raise WiringError(f"the effects give {rate} samples per second, want a whole number", where=where)
    return int(rate)


def _listed(ports: Ports) -> str:
    return ", ".join(str(port) for port in ports.values())
