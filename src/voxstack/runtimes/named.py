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

    Raises:   ConfigError if there is none of that name, its library is missing, or it cannot do that
    """
    if name not in RUNTIMES:
        raise ConfigError(f"no runtime '{name}'{suggest(name, RUNTIMES)}", where=where)
    try:
        return cast("Engine", _load(name).choose(choice))
    except ImportError as error:
        raise ConfigError(
            f"runtime '{name}' cannot be used: {_first_line(error)}; install the extra '{name}', "
            f"or choose one that is here: {', '.join(usable())}",
            where=where,
        ) from error


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


def _load(name: str) -> Any:
    module, attribute = RUNTIMES[name]
    return getattr(importlib.import_module(module), attribute)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
