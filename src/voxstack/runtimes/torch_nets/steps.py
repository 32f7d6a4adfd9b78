"""Run a net as a list of steps over numbered places, each freed when nobody needs it any more."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.ports import Array
from voxstack.runtimes.torch_nets.operators import constant, is_traced

__all__ = ["NOTHING", "Here", "Step", "StepNet", "with_frees"]

Tensor = torch.Tensor
Value: TypeAlias = Tensor | Array | None

NOTHING = 0
"""The place that always holds None: an input that is not given, an output that nobody reads."""

MOST_PLACED = 256
"""Known values whose tensors are kept; beyond them all are made anew."""


class Here:
    """Where a net runs: the device and dtype of `like`, an empty tensor, and tensors of what is known."""

    def __init__(self, like: Tensor, placed: dict[Any, Tensor]) -> None:
        self.like = like
        self._placed = placed

    def tensor(self, value: Tensor | Array) -> Tensor:
        """Return a value as a tensor; the same known value is copied to a device once."""
        if isinstance(value, Tensor):
            return value
        if is_traced() or torch.compiler.is_exporting():
            return self._made(value)
        key = (value.dtype.str, value.shape, value.tobytes(), self.like.device, self.like.dtype)
        found = self._placed.get(key)
        if found is None:
            if len(self._placed) >= MOST_PLACED:
                self._placed.clear()
            found = self._placed[key] = self._made(value)
        return found

    def _made(self, value: Array) -> Tensor:
        is_like = value.dtype == np.float32 or (value.dtype.kind == "f" and self.like.dtype != torch.float32)
        return constant(value, self.like.device, self.like.dtype if is_like else None)


@dataclass(frozen=True, slots=True)
class Step:
    """One call: `call(here, *values)` gives a value, or a tuple of them.

    label  for errors
    takes  places that it reads
    gives  places that it fills
    frees  places that no later step reads
    """

    label: str
    call: Callable[..., Any]
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    frees: tuple[int, ...] = ()


def with_frees(steps: Sequence[Step], outputs: Iterable[int]) -> tuple[Step, ...]:
    """Return steps that free each place after its last reader."""
    kept = {NOTHING, *outputs}
    done: list[Step] = []
    for step in reversed(steps):
        frees = {*step.takes, *step.gives} - kept
        kept |= frees
        done.append(Step(step.label, step.call, step.takes, step.gives, tuple(sorted(frees))))
    return tuple(reversed(done))


class StepNet(torch.nn.Module):
    """A net as a module: tensors in the order of `inputs`, a tuple in the order of `outputs`.

    Its tensors are buffers, so `.to()` moves it. It can be traced and exported at fixed sizes, stops
    between two steps when its CancelScope is cancelled, and is safe from many threads.

    In:       tensors  place → weights
              known    place → small arrays that are no weights
    """

    like: Tensor

    def __init__(
        self,
        steps: Sequence[Step],
        tensors: Mapping[int, Tensor],
        known: Mapping[int, Array],
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(0), persistent=False)
        self._named = [(f"t{place}", place) for place in tensors]
        for name, place in self._named:
            self.register_buffer(name, tensors[place])
        self._steps = with_frees(steps, outputs)
        self._known = dict(known)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        places = {NOTHING, *tensors, *known, *inputs, *outputs}
        places |= {place for step in steps for place in (*step.takes, *step.gives)}
        self._size = max(places) + 1
        self._placed: dict[Any, Tensor] = {}

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        buffers = self._buffers
        values: list[Any] = [None] * self._size
        for place, array in self._known.items():
            values[place] = array
        for name, place in self._named:
            values[place] = buffers[name]
        for place, tensor in zip(self._inputs, tensors, strict=True):
            values[place] = tensor
        here = Here(self.like, self._placed)
        self._run(values, here)
        return tuple(here.tensor(values[place]) for place in self._outputs)

    def _run(self, values: list[Any], here: Here) -> None:
        scope = CancelScope.current()
        label = ""
        try:
            for step in self._steps:
                if scope is not None and scope.is_cancelled:
                    raise Cancelled("the stream was closed")
                label = step.label
                result = step.call(here, *[values[place] for place in step.takes])
                results = result if isinstance(result, tuple) else (result,)
                for place, value in zip(step.gives, results, strict=False):
                    if place != NOTHING:
                        values[place] = value
                for place in step.frees:
                    values[place] = None
        except Cancelled:
            raise
        except Exception as error:  # torch raises many unrelated classes
            text = (error.what if isinstance(error, NetError) else str(error)).strip()
            raise NetError(f"{label}: {text.splitlines()[0] if text else type(error).__name__}") from error
