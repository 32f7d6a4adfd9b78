"""Let a thread stand back for the others of this process, where the system has priorities for threads."""

import os
import sys
import threading
from contextlib import suppress

__all__ = ["stand_back"]

NICENESS = 10
"""Beside a thread that does not stand back, one that does gets a tenth of a core; never nothing."""


def stand_back() -> None:
    """Give the current thread a lower priority, for good; only Linux does that for a thread by itself."""
    if sys.platform != "linux":
        return  # elsewhere a thread's number may be that of some process
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
