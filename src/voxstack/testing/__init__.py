"""Check, in public, that a block, a runtime or an addon keeps its contract."""

from voxstack.testing.law import check_streamable, random_cuts

__all__ = ["check_streamable", "random_cuts"]
