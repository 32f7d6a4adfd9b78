"""Hold a whole addon to its contract: files, wiring, the law, its golden sample, its profiles."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from voxstack.core.errors import AddonError, LawError, RequestError, VoxstackError
from voxstack.core.ports import Array, Tensors
from voxstack.core.streams import EVERYTHING
from voxstack.engine.golden import golden_audio, read_golden
from voxstack.engine.library import find_addon
from voxstack.engine.loading import PROFILES, Loaded, load_stack
from voxstack.engine.voice import Voice
from voxstack.stack.addon import Addon
from voxstack.testing.law import check_streamable

__all__ = ["Finding", "check_addon"]

LAW_TOLERANCE = 1e-5
"""Blocked matrix products round differently for different lengths; float32 nets stay below this."""

PARITY_TOLERANCE = 1e-3
"""Profiles may compute in another order or shape; what differs by more is heard."""

VOCODER_FRAMES = 200


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was looked at, and what is wrong with it, if anything.

    `facts` are what the check found out on its way (voice, profile, runtime), for programs.
    """

    name: str
    detail: str
    is_good: bool
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


def check_addon(
    name_or_path: str | Path,
    *,
    profile: str | None = None,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
) -> Iterator[Finding]:
    """Yield a finding for each check; stop where the next ones would make no sense.

    Raises:   RequestError if there is no such addon
    """
    try:
        addon = find_addon(name_or_path, folders)
        addon.verify()
    except RequestError:
        raise
    except VoxstackError as error:
        yield Finding("files", f"{type(error).__name__}: {error}", is_good=False)
        return
    yield Finding("files", f"{len(addon.config.files)} files as listed", is_good=True)
    try:
        loaded = load_stack(addon, profile=profile, folders=folders, vocoder=vocoder)
    except VoxstackError as error:
        yield Finding("wiring", f"{type(error).__name__}: {error}", is_good=False)
        return
    facts = {"voice": addon.name, "profile": loaded.profile, "runtime": loaded.runtime}
    yield Finding("wiring", f"{len(loaded.wired)} blocks, {len(loaded.nets)} nets", is_good=True, facts=facts)
    if addon.config.text is not None:
        yield _tried("text", lambda: _text(loaded))
    yield _tried("law", lambda: _law(addon, loaded))
    if addon.source is not None:
        return  # a vocoder speaks no ids: its golden sample is that of the voices that use it
    yield _tried("golden", lambda: _golden(addon, loaded))
    for other in sorted({*PROFILES, *addon.config.profiles} - {loaded.profile}):
        yield _tried(f"profile {other}", lambda other=other: _parity(addon, loaded, other, folders, vocoder))


def _tried(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check(), is_good=True)
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
    check_streamable(loaded.block, tensors=tensors, source=source, cuts=cuts, tolerance=LAW_TOLERANCE)
    return f"{len(cuts)} ways to cut the reads, all within {LAW_TOLERANCE:g}"


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
    if not worst <= golden.tolerance:  # NaN is no agreement
        raise LawError(
            f"differs from the golden sample by {worst:.2g}, tolerance {golden.tolerance:g}", where="golden"
        )
    return f"{len(got)} samples, greatest difference {worst:.2g}"


def _parity(
    addon: Addon,
    loaded: Loaded,
    other: str,
    folders: Sequence[str | Path],
    vocoder: str | Path | None,
) -> str:
    tensors = _request(addon, loaded)
    one = _whole(loaded, tensors)
    two = _whole(load_stack(addon, profile=other, folders=folders, vocoder=vocoder), tensors)
    if one.shape != two.shape:
        raise LawError(f"{len(one)} samples became {len(two)}", where=f"profile {other}")
    worst = float(np.abs(one - two).max(initial=0))
    if not worst <= PARITY_TOLERANCE:
        raise LawError(
            f"differs from '{loaded.profile}' by {worst:.2g}, tolerance {PARITY_TOLERANCE:g}",
            where=f"profile {other}",
        )
    return f"greatest difference {worst:.2g} against '{loaded.profile}'"


def _request(addon: Addon, loaded: Loaded) -> dict[str, Array]:
    golden = addon.config.golden
    if golden is None:
        raise AddonError("a golden sample is needed: its ids are what is spoken", where="golden")
    return {
        **Voice(loaded).tensors({}),
        "ids": np.array(golden.ids, np.int64),
        "utterance": np.array(0, np.int64),
    }


def _whole(loaded: Loaded, tensors: dict[str, Array]) -> Array:
    stream = loaded.block.open(tensors, None)
    try:
        return stream.read(EVERYTHING)["samples"]
    finally:
        stream.close()
