"""Count the cores that this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cores"]

GROUPS = Path("/sys/fs/cgroup")
MINE = Path("/proc/self/cgroup")


def cores(groups: Path = GROUPS, mine: Path = MINE) -> int:
    """Return how many net runs of one thread each can be at work at once.

    That is the cores on which the system lets this process run, or fewer if its container or service (a
    control group, version 2 or 1, or one around it) has a limit on processor time; 1.5 cores count as 2.

    In:       groups  where control groups are mounted; mine  the file that says in which this process is
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [limit for folder in _folders(groups, mine) if (limit := _limit(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(limit - 1e-6) for limit in limits)]))


def _folders(groups: Path, mine: Path) -> Iterator[Path]:
    """Yield the groups that this process is in; inside a container, what is mounted is its own."""
    yield from (groups, groups / "cpu")
    try:
        lines = mine.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        inside = PurePosixPath(place.lstrip("/"))
        yield from (root / path for path in (inside, *inside.parents) if ".." not in path.parts)


def _limit(folder: Path) -> float | None:
    """Return the cores' worth of time that a group is given; None: it has no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # not there, or "max"
        return None
