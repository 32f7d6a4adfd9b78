"""Say which sizes a net was compiled for: any, any up to a most, or one of a few buckets."""

from bisect import bisect_left
from dataclasses import dataclass

__all__ = ["ANY", "DYNAMIC", "ONE", "ShapePolicy", "Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes that one axis may have.

    buckets  the only sizes there are, ascending; empty: any size
    most     the largest size, where there are no buckets; None: no limit

    Example:
        >>> Sizes(buckets=(64, 128)).fit(70), Sizes(most=500).fit(70), Sizes().fit(70)
        (128, 70, 70)
        >>> Sizes(buckets=(64, 128)).fit(200)
        128
    """

    buckets: tuple[int, ...] = ()
    most: int | None = None

    @property
    def largest(self) -> int | None:
        """The largest size; None: there is no limit."""
        return self.buckets[-1] if self.buckets else self.most

    def fit(self, wanted: int) -> int:
        """Return the least size that holds `wanted` steps, or the largest one if none does."""
        if self.buckets:
            return self.buckets[min(bisect_left(self.buckets, wanted), len(self.buckets) - 1)]
        return wanted if self.most is None else min(wanted, self.most)

    def __str__(self) -> str:
        if self.buckets:
            return ", ".join(map(str, self.buckets))
        return "any" if self.most is None else f"up to {self.most}"


ANY = Sizes()
ONE = Sizes(buckets=(1,))


@dataclass(frozen=True, slots=True)
class ShapePolicy:
    """The sizes that a net accepts.

    steps   along its ragged axis
    batch   utterances in one run
    """

    steps: Sizes = ANY
    batch: Sizes = ONE

    @property
    def is_fixed(self) -> bool:
        """Whether every tensor's size is known before anything is said."""
        return bool(self.steps.buckets)


DYNAMIC = ShapePolicy()
