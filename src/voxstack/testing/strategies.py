"""Draw, with Hypothesis, what the law is tried on: ways to cut reads, durations, tensors for ports."""

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from voxstack.core.ports import Array, Ports

__all__ = ["cuts", "durations", "tensors"]


def cuts(*, most: int = 64) -> st.SearchStrategy[list[int]]:
    """Return a strategy for read sizes, 1 to `most` steps each; a stream's reads repeat the list."""
    return st.lists(st.integers(1, most), min_size=1, max_size=12)


def durations(*, phonemes: int = 12, most: int = 9) -> st.SearchStrategy[Array]:
    """Return a strategy for durations in frames, int64 [phonemes]; zeros, too, and none at all."""
    return st.lists(st.integers(0, most), max_size=phonemes).map(lambda items: np.array(items, np.int64))


def tensors(ports: Ports, *, steps: int) -> st.SearchStrategy[Mapping[str, Array]]:
    """Return a strategy for tensors that fill ports, `steps` long on every named axis."""

    def fill(seed: int) -> Mapping[str, Array]:
        generator = np.random.default_rng(seed)
        filled: dict[str, Array] = {}
        for name, port in ports.items():
            shape = [axis if isinstance(axis, int) else steps for axis in port.axes]
            if np.dtype(port.dtype).kind == "f":
                filled[name] = generator.standard_normal(shape).astype(port.dtype)
            else:
                filled[name] = generator.integers(0, 2, shape).astype(port.dtype)
        return filled

    return st.integers(0, 2**32 - 1).map(fill)
