"""Count the bytes of nets in memory, each net once, and say what must go so that others fit."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeAlias

__all__ = ["Room", "Weights"]

Weights: TypeAlias = Mapping[Hashable, int]
"""Bytes of nets by their keys; equal keys are one net."""


class Room:
    """The nets in memory and how many hold each; not safe from several threads."""

    def __init__(self) -> None:
        self._bytes: dict[Hashable, int] = {}
        self._holders: dict[Hashable, int] = {}

    @property
    def in_use_bytes(self) -> int:
        return sum(self._bytes.values())

    def missing_bytes(self, weights: Weights) -> int:
        """Return what these add to what is there."""
        return sum(size for key, size in weights.items() if key not in self._bytes)

    def add(self, weights: Weights) -> None:
        """Count one more holder of each."""
        for key, size in weights.items():
            self._bytes[key] = size
            self._holders[key] = self._holders.get(key, 0) + 1

    def drop(self, weights: Weights) -> None:
        """Count one holder of each less; what nobody holds is gone."""
        for key in weights:
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key], self._bytes[key]

    def freed_bytes(self, going: Iterable[Weights], *, kept: Weights) -> int:
        """Return what becomes free if these holders go, of what is not in `kept`."""
        held: dict[Hashable, int] = {}
        for weights in going:
            for key in weights:
                held[key] = held.get(key, 0) + 1
        return sum(
            self._bytes[key] for key, count in held.items() if count == self._holders[key] and key not in kept
        )

    def fewest(self, idle: Sequence[Weights], *, free_bytes: int, kept: Weights) -> list[int] | None:
        """Return the places of those in `idle`, first ones first, that must go; None if all are too few.

        One that frees nothing, since others that stay hold the same, stays too.
        """
        going: list[int] = []
        for place in range(len(idle)):
            if self._freed(idle, going, kept) >= free_bytes:
                break
            going.append(place)
        if self._freed(idle, going, kept) < free_bytes:
            return None
        for place in tuple(going):
            without = [other for other in going if other != place]
            if self._freed(idle, without, kept) == self._freed(idle, going, kept):
                going = without
        return going

    def _freed(self, idle: Sequence[Weights], going: Sequence[int], kept: Weights) -> int:
        return self.freed_bytes((idle[place] for place in going), kept=kept)
