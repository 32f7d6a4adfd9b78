"""Say what a service knows of each of its voices: its versions, a load in progress, why it is broken."""

import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from voxstack.core.errors import AddonError, BusyError, RequestError, VoxstackError
from voxstack.engine.on_disk import OnDisk
from voxstack.engine.room import Room, Weights
from voxstack.engine.voice import Voice
from voxstack.stack.addon import Addon

__all__ = [
    "Loading",
    "Place",
    "Reloaded",
    "Version",
    "VoiceState",
    "addons_of",
    "again",
    "as_ours",
    "no_room",
    "state_of",
]

Failure = TypeVar("Failure", bound=BaseException)


@dataclass(frozen=True)
class VoiceState:
    """One line of what a service has in memory; after a reload, an old version has one of its own.

    state      "ready", "loading", "leaving" (until its last lease ends) or "broken"
    leases     streams and others that hold it
    bytes      of the files of its nets; own_bytes  of those that no other voice holds too
    idle_s     seconds since a lease of it was last given back, or since it came
    why        of a broken one; of a ready one, why its reload failed
    """

    name: str
    state: Literal["ready", "loading", "leaving", "broken"]
    leases: int = 0
    bytes: int = 0
    own_bytes: int = 0
    idle_s: float = 0.0
    profile: str = ""
    why: str = ""


@dataclass(frozen=True)
class Reloaded:
    """What looking for changes has done: the voices that changed, and what is wrong with others that did."""

    names: tuple[str, ...] = ()
    faults: Mapping[str, VoxstackError] = field(default_factory=dict[str, VoxstackError])


@dataclass(eq=False)
class Version:
    """A voice as it was on disk at some time.

    weights  bytes of its nets by key, as far as they are in memory or just being loaded
    seen     what was on disk of each addon in it
    """

    name: str
    profile: str
    used_s: float
    weights: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    voice: Voice | None = None
    seen: OnDisk = field(default_factory=OnDisk)
    leases: int = 0
    is_leaving: bool = False

    @property
    def use(self) -> str:
        """What keeps it in memory, for people."""
        if self.voice is None:
            return "loading"
        return f"{self.leases} lease{'' if self.leases == 1 else 's'}"

    def keep(self, voice: Voice, seen: OnDisk) -> None:
        """Be this voice, made of what was seen."""
        self.voice = voice
        self.seen = {addon.name: seen.get(addon.name, ()) for addon in addons_of(voice)}


class Loading:
    """A load in progress, for all who wait for it.

    wanted       how many want a lease of what comes
    is_unwanted  it was unloaded before it came
    seen         what was on disk when it began
    """

    def __init__(self, version: Version) -> None:
        self.version = version
        self.wanted = 0
        self.is_unwanted = False
        self.seen: OnDisk = {}
        self.error: BaseException | None = None
        self.ended = threading.Event()

    @property
    def is_over(self) -> bool:
        return self.ended.is_set()

    def end(self, error: BaseException | None) -> None:
        # Without what it was raised from, an error does not keep in memory what was loaded by then.
        self.error = again(error) if isinstance(error, VoxstackError) else error
        self.ended.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, and say whether it came in time; raise what went wrong, each waiter its own."""
        is_over = self.ended.wait(timeout_s)
        if self.error is not None:
            raise again(self.error)
        return is_over


@dataclass(eq=False)
class Place:
    """All that there is of one name.

    error, failed_s, tried  of the last load, if it failed: why, when, and what was on disk
    """

    name: str
    version: Version | None = None
    loading: Loading | None = None
    error: VoxstackError | None = None
    failed_s: float = 0.0
    tried: OnDisk = field(default_factory=OnDisk)

    def has_changed(self, now: OnDisk) -> bool:
        """Answer whether to load it again, by what is on disk now."""
        if self.loading is not None:
            return False
        if self.error is not None:  # whatever it lacked may be anywhere
            return self.tried != now
        return self.version is not None and any(
            now.get(name) != seen for name, seen in self.version.seen.items()
        )


def addons_of(voice: Voice) -> list[Addon]:
    """Return all addons that a voice is made of."""
    loaded = voice.loaded
    return [loaded.addon, *loaded.nested, *([loaded.vocoder] if loaded.vocoder else [])]


def state_of(name: str, place: Place | None, version: Version | None, room: Room, now: float) -> VoiceState:
    """Return the line of a version; `place` is that of its name if it is the one that new requests get."""
    why = "" if place is None or place.error is None else str(place.error)
    if version is None and place is not None and place.loading is not None:
        coming = place.loading.version
        return VoiceState(
            name, "loading", bytes=sum(coming.weights.values()), profile=coming.profile, why=why
        )
    if version is None:
        return VoiceState(name, "broken", why=why)
    return VoiceState(
        name,
        "leaving" if version.is_leaving else "ready",
        version.leases,
        sum(version.weights.values()),
        room.freed_bytes([version.weights], kept={}),
        max(0.0, now - version.used_s),
        version.profile,
        why,
    )


def again(error: Failure) -> Failure:
    """Return an error like this one, which keeps no frames and may be raised in another thread."""
    fresh: Failure = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh


def as_ours(error: Exception, name: str) -> VoxstackError:
    """Return an error that an operator can be told, whatever a library raised."""
    if isinstance(error, VoxstackError):
        return error
    return AddonError(f"it does not load: {type(error).__name__}: {error}", where=name)


def no_room(
    version: Version,
    new: Weights,
    others: Sequence[Version],
    room: Room,
    budget_bytes: int,
    *,
    retry_after_s: float,
) -> BusyError | RequestError:
    """Return the error of a version that finds no room for new nets: for now, or for ever."""
    whole = sum({**version.weights, **new}.values())
    if whole > budget_bytes:
        what = f"its nets have {_sized(whole)}, more than the budget of {_sized(budget_bytes)}; raise it"
        return RequestError(what, where=version.name)
    users = ", ".join(
        f"{other.name} {_sized(sum(other.weights.values()))} ({other.use})"
        for other in others
        if other.weights and other is not version
    )
    return BusyError(
        f"it needs {_sized(room.missing_bytes(new))} more, but {_sized(room.in_use_bytes)} of "
        f"{_sized(budget_bytes)} are in use: {users}; unload one, or raise the budget",
        where=version.name,
        retry_after_s=retry_after_s,
    )


def _sized(count: int) -> str:
    """Return bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
