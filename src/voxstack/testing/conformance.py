"""Hold a whole addon to its contract: files, wiring, the law, its golden sample, its profiles."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from voxstack.core.errors import (
    AddonError,
    ConfigError,
    LawError,
    RequestError,
    TooLongError,
    VoxstackError,
)
from voxstack.core.ports import Array, Tensors
from voxstack.engine.deployed import check_names
from voxstack.engine.golden import golden_audio, read_golden
from voxstack.engine.library import find_addon
from voxstack.engine.loading import Loaded, load_stack
from voxstack.engine.nets import Running, resolve
from voxstack.engine.voice import Voice
from voxstack.stack.addon import Addon
from voxstack.stack.profiles import DEFAULT
from voxstack.testing.law import check_streamable
from voxstack.testing.parity import Parity, compare

__all__ = ["Finding", "check_addon"]

LAW_TOLERANCE = {"f32": 1e-5}
"""Blocked matrix products round differently for different lengths; float32 nets stay below this."""

COARSE_LAW_TOLERANCE = 3e-2
"""Where nets compute in 8 or 16 bits, a last bit may fall otherwise in another window: faint noise."""

VOCODER_FRAMES = 200


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was looked at, and what is wrong with it, if anything.

    One that was not tried says why, and is no fault.
    `facts` are what the check found out on its way (voice, profile, runtime), for programs.
    """

    name: str
    detail: str
    is_good: bool
    is_tried: bool = True
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


def check_addon(
    name_or_path: str | Path,
    *,
    running: Running = Running(),  # noqa: B008 - frozen
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
) -> Iterator[Finding]:
    """Yield a finding for each check; stop where the next ones would make no sense.

    A profile other than the reference ("cpu") is held against it, net by net and as audio; so is "cpu" if
    the deployment file says otherwise of it. Under "cpu", the addon's own and the deployment file's other
    profiles are, if they can run here.

    Where the sizes of a profile do not hold the golden sample, one finding says so in the place of all
    that would speak it.

    Effects that a deployment file puts behind every voice are left out: they are not the addon's.

    Raises:   RequestError if there is no such addon; ConfigError if there is no such profile, or the
              deployment file misspells an addon
    """
    running = replace(running, effects=())
    try:
        addon = find_addon(name_or_path, folders)
        addon.verify()
    except RequestError:
        raise
    except VoxstackError as error:
        yield Finding("files", f"{type(error).__name__}: {error}", is_good=False)
        return
    yield Finding("files", f"{len(addon.config.files)} files as listed", is_good=True)
    # A profile or an addon that nobody knows is a wrong request, and no fault of the addon.
    resolve(addon, running)
    check_names(running.deployment, addon, folders)
    try:
        loaded = load_stack(addon, running=running, folders=folders, vocoder=vocoder)
    except VoxstackError as error:
        yield Finding("wiring", f"{type(error).__name__}: {error}", is_good=False)
        return
    facts = {"voice": addon.name, "profile": loaded.profile, "runtime": loaded.runtime}
    yield Finding("wiring", f"{len(loaded.wired)} blocks, {len(loaded.nets)} nets", is_good=True, facts=facts)
    if addon.config.text is not None:
        yield _tried("text", lambda: _text(loaded))
    if addon.source is not None:
        yield _tried("law", lambda: _law(addon, loaded), of="the mels that a vocoder is tried on")
        return  # it speaks no ids: its golden sample is that of the voices that use it
    parity = None
    if running.name != DEFAULT or _is_redefined(running, loaded):
        parity = cache(lambda: _parity(addon, loaded, folders, vocoder))
    yield from _spoken(addon, loaded, parity)
    if running.name != DEFAULT:
        return
    own = {
        name for layer in (addon.config.profiles, *running.deployment.profiles(addon.name)) for name in layer
    }
    for name in sorted(own - {DEFAULT}):
        other = replace(running, profile=name)
        yield _tried(f"profile {name}", lambda other=other: _other(addon, other, folders, vocoder))


def _spoken(addon: Addon, loaded: Loaded, parity: Callable[[], Parity] | None) -> Iterator[Finding]:
    """Yield what is found by speaking the golden sample; `parity` compares with the reference, once."""
    checks: dict[str, Callable[[], str]] = {
        "law": lambda: _law(addon, loaded),
        "golden": lambda: _golden(addon, loaded),
    }
    if parity is not None:
        checks |= {"nets": lambda: parity().nets_line(), "audio": lambda: _judged(parity())}
    for name, check in checks.items():
        found = _tried(name, check, too_long="sizes")
        yield found
        if found.name == "sizes" or (name == "nets" and not found.is_good):
            return  # what follows would fail of the same


def _is_redefined(running: Running, loaded: Loaded) -> bool:
    """Answer whether a deployment file says anything of the reference, for any addon of a voice."""
    addons = [loaded.addon, *loaded.nested, *([loaded.vocoder] if loaded.vocoder else [])]
    return any(DEFAULT in layer for addon in addons for layer in running.deployment.profiles(addon.name))


class _NotTried(Exception):  # noqa: N818 - no fault
    """A check that this machine cannot make."""


def _tried(
    name: str, check: Callable[[], str], *, of: str = "the golden sample", too_long: str = ""
) -> Finding:
    """Make a check; `of` is what it speaks, `too_long` the name of the finding where that fits no size."""
    try:
        return Finding(name, check(), is_good=True)
    except _NotTried as reason:
        return Finding(name, f"not tried: {reason}", is_good=True, is_tried=False)
    except TooLongError as error:
        detail = (
            f"{type(error).__name__}: {error.where}: {of} has {error.steps} {error.axis}, more than the "
            f"{error.most} that fit; declare a size of {error.steps} or more to check it"
        )
        return Finding(too_long or name, detail, is_good=False)
    except VoxstackError as error:
        return Finding(name, f"{type(error).__name__}: {error}", is_good=False)


def _text(loaded: Loaded) -> str:
    Voice(loaded).front.splitter()
    return "its front end can be built"


def _law(addon: Addon, loaded: Loaded) -> str:
    frame = addon.config.audio.sample_rate // 100
    cuts = [[frame], [8 * frame, 16 * frame, 32 * frame], [1, 7 * frame, 3, 50 * frame]]
    source = _mels(addon)
    tensors = _request(addon, loaded) if source is None else Voice(loaded).tensors({})
    precisions = {net.precision for net in loaded.nets.values()}
    tolerance = max(LAW_TOLERANCE.get(precision, COARSE_LAW_TOLERANCE) for precision in precisions)
    check_streamable(loaded.block, tensors=tensors, source=source, cuts=cuts, tolerance=tolerance)
    return f"{len(cuts)} ways to cut the reads, all within {tolerance:g}"


def _mels(addon: Addon) -> Tensors | None:
    """Return what a vocoder is tried on, None for a voice."""
    if addon.source is None:
        return None
    shape = [axis if isinstance(axis, int) else VOCODER_FRAMES for axis in addon.source["mel"].axes]
    return {"mel": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


def _golden(addon: Addon, loaded: Loaded) -> str:
    golden = addon.config.golden
    if golden is None:
        raise AddonError(
            "there is no golden sample, so nothing tells whether it still sounds as it did", where="golden"
        )
    wanted = read_golden(addon)
    got = golden_audio(loaded, golden)
    if len(wanted) != len(got):
        raise LawError(
            f"the golden sample has {len(wanted)} samples, this machine makes {len(got)}", where="golden"
        )
    worst = float(np.abs(wanted - got).max(initial=0))
    if any(net.precision not in LAW_TOLERANCE for net in loaded.nets.values()):
        return f"{len(got)} samples, as many as stored; greatest difference {worst:.2g} at lower precision"
    if not worst <= golden.tolerance:  # NaN is no agreement
        raise LawError(
            f"differs from the golden sample by {worst:.2g}, tolerance {golden.tolerance:g}", where="golden"
        )
    return f"{len(got)} samples, greatest difference {worst:.2g}"


def _other(addon: Addon, running: Running, folders: Sequence[str | Path], vocoder: str | Path | None) -> str:
    try:
        loaded = load_stack(addon, running=running, folders=folders, vocoder=vocoder)
    except ConfigError as error:
        raise _NotTried(str(error)) from error
    return _judged(_parity(addon, loaded, folders, vocoder))


def _parity(
    addon: Addon, loaded: Loaded, folders: Sequence[str | Path], vocoder: str | Path | None
) -> Parity:
    return compare(addon, loaded, _request(addon, loaded), folders=folders, vocoder=vocoder)


def _judged(parity: Parity) -> str:
    parity.check()
    return parity.audio_line()


def _request(addon: Addon, loaded: Loaded) -> dict[str, Array]:
    golden = addon.config.golden
    if golden is None:
        raise AddonError("a golden sample is needed: its ids are what is spoken", where="golden")
    return {
        **Voice(loaded).tensors({}),
        "ids": np.array(golden.ids, np.int64),
        "utterance": np.array(0, np.int64),
    }
