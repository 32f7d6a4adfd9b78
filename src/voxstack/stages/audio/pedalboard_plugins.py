"""Make plugins of the pedalboard library from JSON: those that are part of it, and nothing from a file.

The library (GPL, version 3) comes with the optional extra `pedalboard` and is loaded when a stack names its
block.
"""

from collections.abc import Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any, cast

from voxstack.core.errors import ConfigError, suggest

__all__ = ["PLUGINS", "chain", "check_plugins", "library"]

PLUGINS = frozenset(
    {
        "Bitcrush",
        "BrickwallLimiter",
        "Chorus",
        "Clipping",
        "Compressor",
        "Delay",
        "Distortion",
        "Gain",
        "HighShelfFilter",
        "HighpassFilter",
        "Invert",
        "LadderFilter",
        "Limiter",
        "LowShelfFilter",
        "LowpassFilter",
        "NoiseGate",
        "PeakFilter",
        "Phaser",
        "Resample",
        "Reverb",
    }
)
"""What may be named: what reads no file, and gives in blocks what it gives at once."""

OTHERS = {
    "Convolution": "it reads a file",
    "ExternalPlugin": "it loads a program",
    "VST3Plugin": "it loads a program",
    "AudioUnitPlugin": "it loads a program",
    "GSMFullRateCompressor": "in blocks it gives other samples than at once",
    "MP3Compressor": "in blocks it gives other samples than at once",
    "PitchShift": "in blocks it gives other samples than at once; use the block 'Pitch'",
}
"""What may not, and why."""

FREQUENCIES = frozenset({"cutoff_frequency_hz", "cutoff_hz", "centre_frequency_hz"})
"""Parameters that must be below half the sample rate; the library does not look."""

RANGES = {
    "gain_db": (-60.0, 60.0),
    "drive_db": (-60.0, 60.0),
    "feedback": (-0.99, 0.99),
    "target_sample_rate": (1_000.0, 384_000.0),
}
"""Parameters beyond which the library gives what is no number, or never ends; it does not look."""

USUAL_RANGE = (-1e6, 1e6)


def library(*, where: str) -> Any:
    """Return the library.

    Raises:   ConfigError if it is not installed
    """
    try:
        return import_module("pedalboard")
    except ImportError as error:
        raise ConfigError(
            "needs the package pedalboard (GPL-3.0); install it with: pip install 'voxstack[pedalboard]'",
            where=where,
        ) from error


def check_plugins(entries: list[dict[str, Any]], rate: Fraction, *, where: str) -> None:
    """Raise ConfigError unless each entry names a plugin and parameters that it has, in their ranges."""
    if not entries:
        raise ConfigError("got an empty list, want at least one plugin", where=where)
    pedalboard = library(where=where)
    for place, entry in enumerate(entries):
        _check(pedalboard, entry, rate, f"{where}[{place}]")


def chain(entries: list[dict[str, Any]]) -> Any:
    """Return new plugins in a row, for one utterance; `entries` have been checked."""
    pedalboard = library(where="pedalboard")
    return pedalboard.Pedalboard([_made(pedalboard, entry) for entry in entries])


def _check(pedalboard: Any, entry: Mapping[str, Any], rate: Fraction, where: str) -> None:
    name = entry.get("plugin")
    if not isinstance(name, str):
        raise ConfigError("'plugin' is missing; it names the plugin", where=f"{where}.plugin")
    if name in OTHERS:
        raise ConfigError(f"'{name}' cannot be used: {OTHERS[name]}", where=f"{where}.plugin")
    if name not in PLUGINS:
        raise ConfigError(f"no plugin '{name}'{suggest(name, PLUGINS)}", where=f"{where}.plugin")
    if not hasattr(pedalboard, name):
        raise ConfigError(
            f"pedalboard {pedalboard.__version__} has no '{name}'; update it", where=f"{where}.plugin"
        )
    plugin = getattr(pedalboard, name)()
    parameters = _parameters(plugin)
    for key, value in entry.items():
        if key == "plugin":
            continue
        path = f"{where}.{key}"
        if key not in parameters:
            hint = suggest(key, parameters) or "; it has none"
            raise ConfigError(f"'{name}' has no parameter '{key}'{hint}", where=path)
        _check_value(parameters[key], value, path)
        if key in FREQUENCIES and not 0 < value < rate / 2:
            raise ConfigError(
                f"got {value} Hz, want more than 0 and less than {float(rate / 2):g}, half the sample rate",
                where=path,
            )
    try:
        _made(pedalboard, entry)
    except ValueError as error:
        raise ConfigError(f"'{name}' refuses this: {error}", where=where) from error


def _parameters(plugin: Any) -> dict[str, Any]:
    """Return a plugin's parameters and their present values: its properties that can be set."""
    kind = cast("type[Any]", type(plugin))
    names = [
        name
        for name in dir(kind)
        if isinstance(getattr(kind, name), property) and getattr(kind, name).fset is not None
    ]
    return {name: getattr(plugin, name) for name in names}


def _check_value(default: Any, value: Any, path: str) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"got {value!r:.40}, want true or false", where=path)
    elif isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"got {value!r:.40}, want a number", where=path)
        low, high = RANGES.get(path.rpartition(".")[2], USUAL_RANGE)
        if not low <= value <= high:
            raise ConfigError(f"got {value!r:.40}, want {low:g} to {high:g}", where=path)
    elif not isinstance(value, str) or value not in _choices(default):
        raise ConfigError(f"got {value!r:.40}, want one of {', '.join(_choices(default))}", where=path)


def _choices(default: Any) -> dict[str, Any]:
    """Return the values of a parameter that is one of several, by name."""
    return dict(default.__class__.__members__)


def _made(pedalboard: Any, entry: Mapping[str, Any]) -> Any:
    kind = getattr(pedalboard, entry["plugin"])
    defaults = _parameters(kind())
    given = {key: value for key, value in entry.items() if key != "plugin"}
    for key, value in given.items():
        if isinstance(value, str):
            given[key] = _choices(defaults[key])[value]
    return kind(**given)
