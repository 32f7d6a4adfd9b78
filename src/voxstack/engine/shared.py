"""Keep each net once, however many voices use it."""

import threading
import weakref
from collections.abc import Callable, Hashable

from voxstack.core.nets import Net

__all__ = ["SHARED", "SharedNets"]


class SharedNets:
    """Nets that are in use somewhere in this process; one that nobody uses any more is freed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: weakref.WeakValueDictionary[Hashable, _Place] = weakref.WeakValueDictionary()

    def get(self, key: Hashable, load: Callable[[], Net]) -> Net:
        """Return the net of that key, loading it if nobody has it; others who want it wait for that.

        In:       key  says all that makes a net what it is: its bytes, its description, its runtime
        """
        with self._lock:
            place = self._places.setdefault(key, _Place())
        with place.lock:
            net = None if place.net is None else place.net()
            if net is None:
                net = load()
                place.net = weakref.ref(net)
                # The place lives as long as the net.
                weakref.finalize(net, _let_go, place).atexit = False
            return net


class _Place:
    """Where a net is, or is just being loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.net: weakref.ref[Net] | None = None


def _let_go(place: _Place) -> None:
    """Be what holds a place until its net is gone; the place may have a new net by then."""


SHARED = SharedNets()
"""The nets of this process."""
