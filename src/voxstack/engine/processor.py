"""Say of which kind this machine's processor is, as far as a compiled net depends on it."""

import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["kind"]

CPUINFO = Path("/proc/cpuinfo")


def kind(features: Iterable[str]) -> str:
    """Return the machine's name, and those of some features that its processor has.

    Only x86 under Linux tells its features; elsewhere the name stands alone.

    In:       features  as Linux calls them: avx2, avx512f, amx_tile
    """
    there = _features(CPUINFO)
    return " ".join([platform.machine(), *(one for one in features if one in there)])


@cache
def _features(cpuinfo: Path) -> frozenset[str]:
    """Return what the first processor of the list says that it has."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2] for line in lines if line.split(":")[0].strip() == "flags")
    return frozenset(next(found, "").split())
