"""Import OpenVINO so that it tells nobody, and read what it says."""

import importlib
import sys
from functools import cache
from typing import Any, cast

__all__ = ["core", "ov", "reason", "shown"]


def _import_quietly() -> Any:
    """Import OpenVINO without its reporter: with it, an import alone sends a report to its maker."""
    reporter, modules = "openvino_telemetry", cast("dict[str, Any]", sys.modules)
    kept = {reporter: modules[reporter]} if reporter in modules else {}
    modules[reporter] = None
    try:
        return importlib.import_module("openvino")
    finally:
        del modules[reporter]
        modules.update(kept)


ov = _import_quietly()


@cache
def core() -> Any:
    """Return the one that all nets of the process share: each has device drivers of its own."""
    return ov.Core()


def reason(error: Exception) -> str:
    """Return, in one line, what an error of OpenVINO says, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from ", "Check '"))]
    return "; ".join(told or lines[-1:]) or type(error).__name__


def shown(shape: Any) -> str:
    """Return a shape as errors show it."""
    if shape.rank.is_dynamic:
        return "[…]"
    return f"[{', '.join(str(size.get_length()) if size.is_static else 'any' for size in shape)}]"
