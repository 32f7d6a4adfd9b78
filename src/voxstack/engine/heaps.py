"""Keep a process small in which many threads come and go, where the C library lets us say so."""

import ctypes
import os
from contextlib import suppress

from voxstack.engine.cores import cores

__all__ = ["keep_few_heaps"]

ARENA_MAX = -8
"""M_ARENA_MAX of glibc's mallopt."""

SAID_BY = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
"""Variables by which an operator says it himself."""


def keep_few_heaps() -> None:
    """Let glibc have as many heaps as there are cores, for all of the process; elsewhere do nothing.

    By itself it has eight for each core, so that threads seldom wait for each other. Each stream works in a
    thread of its own, so all of them come to be used, and each keeps what its largest run needed: hundreds
    of MB. Memory is asked for by runs of nets, of which there are few at a time.
    """
    if any(name in os.environ for name in SAID_BY):
        return
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(ARENA_MAX, cores())
