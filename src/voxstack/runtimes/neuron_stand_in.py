"""Stand in for a chip of fixed shapes: compute on the CPU, and refuse what such a chip would refuse."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["SEEN", "StandIn"]

SHAPES = "shapes.json"

SEEN: set[str] = set()
"""The shapes and dtypes that have reached a stand-in in this process, for tests that count them."""

Tensor = torch.Tensor


class StandIn:
    """A NeuronBackend without the vendor's package: a traced module that takes one signature only."""

    name = "neuron stand-in (CPU)"

    @property
    def version(self) -> str:
        return f"torch {torch.__version__}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StandIn)

    def __hash__(self) -> int:
        return hash(StandIn)

    def trace(self, module: torch.nn.Module, examples: Sequence[Tensor], flags: Sequence[str]) -> bytes:
        traced = torch.jit.trace(module, tuple(examples), check_trace=False)
        data = io.BytesIO()
        told = {SHAPES: json.dumps([signature(example) for example in examples])}
        torch.jit.save(traced, data, _extra_files=told)
        return data.getvalue()

    def load(self, artefact: bytes, core: int) -> Callable[..., Any]:
        told = {SHAPES: ""}
        module = torch.jit.load(io.BytesIO(artefact), _extra_files=told)
        wanted = json.loads(told[SHAPES])

        def run(*tensors: Tensor) -> Any:
            got = [signature(tensor) for tensor in tensors]
            if got != wanted:
                raise RuntimeError(f"compiled for {', '.join(wanted)}; got {', '.join(got)}")
            SEEN.add(", ".join(got))
            return module(*tensors)

        return run


def signature(tensor: Tensor) -> str:
    """Return a tensor's dtype and shape in one word, such as float32[1, 192, 64]."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
