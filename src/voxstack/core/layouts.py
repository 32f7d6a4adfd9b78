"""Lay one tensor out as a net has it or as blocks see it: no batch axis, the named (time) axis first."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstack.core.errors import NetError
from voxstack.core.ports import Array, Axis, Port

__all__ = ["BATCH", "Layout"]

BATCH = "batch"
"""Name of the batch axis in a net's own layout."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one tensor of a net lies on both sides; worked out once, used in every run.

    port     as blocks see it
    axes     as the net has them, with the batch
    """

    port: Port
    axes: tuple[Axis, ...]
    _to_net: tuple[int, ...]
    _to_block: tuple[int, ...]
    _add_batch: Any
    _drop_batch: Any

    @classmethod
    def of(cls, name: str, dtype: str, axes: tuple[Axis, ...]) -> "Layout":
        kept = [axis for axis in axes if axis != BATCH]
        first = next((place for place, axis in enumerate(kept) if isinstance(axis, str)), 0)
        order = [first, *(place for place in range(len(kept)) if place != first)] if kept else []
        before = (slice(None),) * axes.index(BATCH) if BATCH in axes else ()
        return cls(
            port=Port(name, dtype, tuple(kept[place] for place in order)),
            axes=axes,
            _to_net=tuple(sorted(range(len(order)), key=order.__getitem__)),
            _to_block=tuple(order),
            _add_batch=(*before, None) if BATCH in axes else (),
            _drop_batch=(*before, 0, ...) if BATCH in axes else (...,),
        )

    def to_net(self, tensor: Array) -> Array:
        """Return a block's tensor as the net wants it, batch of one, contiguous; raise NetError."""
        fault = self.port.fault(tensor)
        if fault is not None:
            raise NetError(fault)
        return np.asarray(tensor.transpose(self._to_net)[self._add_batch], order="C")

    def to_block(self, tensor: Array) -> Array:
        """Return what the net gave, batch of one, as blocks see it; raise NetError."""
        if tensor.ndim != len(self.axes):
            want = f"[{', '.join(map(str, self.axes))}]"
            raise NetError(f"gave {self.port.name}: shape {list(tensor.shape)}, said {want}")
        tensor = tensor[self._drop_batch].transpose(self._to_block)
        fault = self.port.fault(tensor)
        if fault is not None:
            raise NetError(f"gave {fault}")
        return tensor
