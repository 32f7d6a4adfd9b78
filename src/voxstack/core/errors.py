"""Say every way that voxstack can refuse, as one small tree.

    VoxstackError
    ├── ConfigError      a value in JSON or in options is wrong (has a path: $.stack[0].type)
    ├── AddonError       an addon cannot be trusted or read
    ├── WiringError      two blocks do not fit each other
    ├── RequestError     what the caller asked for cannot be done (voice, control, text)
    ├── ImporterError    a checkpoint cannot be turned into an addon
    ├── OutputError      audio cannot be written or played
    ├── NetError         a net, or the runtime that runs it, failed
    │   └── TooLongError  an utterance has more steps than a net was compiled for
    ├── LawError         a stream's chunks do not add up to its whole
    ├── BusyError        a service has no room for it now (has retry_after_s)
    ├── DeadlineError    a request's time was over before its audio was made
    └── Cancelled        the work was stopped because its stream was closed

Texts are for people: where, what was got, what is wanted, what to do. Fields are for programs.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "AddonError",
    "BusyError",
    "Cancelled",
    "ConfigError",
    "DeadlineError",
    "ImporterError",
    "LawError",
    "NetError",
    "OutputError",
    "RequestError",
    "TooLongError",
    "VoxstackError",
    "WiringError",
    "suggest",
]


class VoxstackError(Exception):
    """Base of every error that voxstack raises on purpose; `where` is a path, a file or a name."""

    def __init__(self, what: str, *, where: str = "") -> None:
        self.what = what
        self.where = where
        super().__init__(f"{where}: {what}" if where else what)


class ConfigError(VoxstackError):
    """A value in an addon's JSON or in a block's options is wrong."""


class AddonError(VoxstackError):
    """An addon cannot be trusted or read."""


class WiringError(VoxstackError):
    """Two blocks were put together that do not fit."""


class RequestError(VoxstackError):
    """A request names a voice, a control or a text that cannot be served."""


class ImporterError(VoxstackError):
    """A checkpoint cannot be turned into an addon."""


class OutputError(VoxstackError):
    """Audio cannot be written or played: a full disk, a player that ended."""


class NetError(VoxstackError):
    """A net, or the runtime that runs it, failed."""


class TooLongError(NetError):
    """An utterance has more steps of an axis than a net that must see all of them was compiled for."""

    def __init__(self, *, steps: int, most: int, axis: str, where: str = "") -> None:
        self.steps = steps
        self.most = most
        self.axis = axis
        super().__init__(
            f"an utterance has {steps} {axis}, more than the {most} that fit; "
            "shorten the sentence, or declare a larger size in the profile",
            where=where,
        )


class LawError(VoxstackError, AssertionError):
    """A StreamableBlock broke the streaming law."""


class BusyError(VoxstackError):
    """A service has no room for a request now; the same one may be asked again after `retry_after_s`."""

    def __init__(self, what: str, *, retry_after_s: float, where: str = "") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{what}; try again in {retry_after_s:.0f} s", where=where)


class DeadlineError(VoxstackError):
    """A request's time was over before all of its audio was made; `made_s` seconds of it were."""

    def __init__(self, what: str, *, made_s: float = 0.0, where: str = "") -> None:
        self.made_s = made_s
        super().__init__(what, where=where)


class Cancelled(VoxstackError):  # noqa: N818 - what was asked for, not a fault
    """The work was stopped because nobody listens any more."""


def suggest(got: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?", or a list of what is known, to end an error with.

    Example:
        >>> suggest("Encoder", ["Encoders", "Decoder"])
        "; did you mean 'Encoders'?"
        >>> suggest("zzz", ["b", "a"])
        '; known: a, b'
    """
    names = sorted(known)
    close = difflib.get_close_matches(got, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""
