"""Run a net of fixed sizes from one captured graph: its kernels are launched at once, not one by one.

    given ──copy──► tensors that stay ──replay──► tensors that stay ──copy──► taken

Never run on hardware where this was written: the copying is tested with a capture that computes on the
CPU; `capture_cuda` follows the documentation of torch.cuda.graph.
"""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeAlias

import torch

__all__ = ["Capture", "Captured", "capture_cuda"]

Tensor = torch.Tensor
Run: TypeAlias = Callable[..., tuple[Tensor, ...]]

Capture: TypeAlias = Callable[
    [Callable[[], tuple[Tensor, ...]]], tuple[Callable[[], None], tuple[Tensor, ...]]
]
"""Record what a function does; return what does it again, and the tensors that it then fills."""

WARM_UPS = 3
"""Runs before a capture: libraries choose their kernels, and known values reach the device."""


class Captured:
    """A net that was captured once; safe from many threads, which wait for one another.

    They wait only until the work is handed to the device's current stream. Streams of voxstack are all
    the same one; who runs a net in another must wait for it before somebody else runs the net.
    """

    def __init__(self, run: Run, examples: Sequence[Tensor], capture: Capture) -> None:
        self._inputs = tuple(example.clone() for example in examples)
        self._replay, self._outputs = capture(lambda: run(*self._inputs))
        self._turns: SimpleQueue[None] = SimpleQueue()
        self._turns.put(None)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        self._turns.get()
        try:
            for mine, given in zip(self._inputs, tensors, strict=True):
                mine.copy_(given)
            self._replay()
            return tuple(output.clone() for output in self._outputs)
        finally:
            self._turns.put(None)


def capture_cuda(run: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Capture a CUDA graph, on a stream of its own, as torch.cuda.graph asks for.

    Source:   "CUDA Graphs" in the notes of PyTorch, torch.cuda.graph
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads go on using the device while this one captures.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = run()
    return graph.replay, outputs
