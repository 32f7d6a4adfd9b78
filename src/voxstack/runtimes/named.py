"""Find a runtime by the name that a profile gives it; its library is imported only then."""

import importlib
from typing import Any, cast

from voxstack.core.errors import ConfigError, suggest
from voxstack.core.executables import Choice, Engine

__all__ = ["RUNTIMES", "choose_engine", "usable"]

RUNTIMES: dict[str, tuple[str, str]] = {
    "onnxruntime": ("voxstack.runtimes.ort", "OrtRuntime"),
    "openvino": ("voxstack.runtimes.openvino", "OpenVinoRuntime"),
    "torch": ("voxstack.runtimes.torch", "TorchRuntime"),
    "neuron": ("voxstack.runtimes.neuron", "NeuronRuntime"),
}
"""Name → module and class; all but the first come with the extra of their name."""


def choose_engine(name: str, choice: Choice, *, where: str) -> Engine:
    """Return the engine that a profile asks for.

    Devices are named in small letters, whatever the runtime.

    Raises:   ConfigError if there is none of that name, its library is missing, or it cannot do that
    """
    if name not in RUNTIMES:
        raise ConfigError(f"no runtime '{name}'{suggest(name, RUNTIMES)}", where=where)
    try:
        runtime = _load(name)
    except ImportError as error:
        raise _unusable(name, f"{_first_line(error)}; install the extra '{name}'", where=where) from error
    try:
        _check_spelling(choice.device, where=f"runtime {name}")
        return cast("Engine", runtime.choose(choice))
    except ImportError as error:
        # What no extra holds, such as a vendor's own package: the runtime says where it comes from.
        raise _unusable(name, _first_line(error), where=where) from error
    except ConfigError as error:
        raise ConfigError(str(error), where=where) from error


def usable() -> list[str]:
    """Return the names of the runtimes whose libraries are installed and work."""
    found: list[str] = []
    for name in RUNTIMES:
        try:
            _load(name).choose(Choice())
        except (ImportError, ConfigError):
            continue
        found.append(name)
    return found


def _unusable(name: str, why: str, *, where: str) -> ConfigError:
    return ConfigError(
        f"runtime '{name}' cannot be used: {why}, or choose one that is here: {', '.join(usable())}",
        where=where,
    )


def _check_spelling(device: str, *, where: str) -> None:
    if not device:
        raise ConfigError("got an empty device; name one, such as 'cpu', or leave it out", where=where)
    if device != device.lower():
        raise ConfigError(
            f"got device '{device}', want small letters; did you mean '{device.lower()}'?", where=where
        )


def _load(name: str) -> Any:
    module, attribute = RUNTIMES[name]
    return getattr(importlib.import_module(module), attribute)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
