"""Stand around nets and a voice's stack, look on, and tell what a request's utterances and chunks took.

What is handed on is what came. Outside an observed request (a check, a warm-up) nothing is told.
"""

import time

from voxstack.core.blocks import Stream, StreamableBlock, Timing
from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Ports, Tensors
from voxstack.core.streams import length
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.pieces import Piece, current_piece
from voxstack.engine.signals import Facts

__all__ = ["ObservedNet", "ObservedStack"]


class ObservedNet(NetAround):
    """A net whose runs are told."""

    def __init__(self, name: str, net: Net) -> None:
        super().__init__(net)
        self._name = name
        self._ragged = _ragged_input(net.spec)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        here = current_piece()
        if here is None:
            return self.net.run(tensors)
        facts = self._facts()
        if self._ragged is not None and self._ragged[0] in tensors:
            facts["steps"] = tensors[self._ragged[0]].shape[self._ragged[1]]
        piece = Piece(here.told, "net", facts, here)
        try:
            results = self.net.run(tensors)
        except BaseException as error:
            piece.end(error)
            raise
        here.told.tell("voxstack.net.duration", piece.age_s, net=self._name)
        piece.end()
        return results

    def begin(self, tensors: Tensors) -> Recurrence:
        here = current_piece()
        if here is None:
            return self.net.begin(tensors)
        facts = self._facts()
        begun = time.perf_counter_ns()
        walk = self.net.begin(tensors)
        here.stepped(facts, time.perf_counter_ns() - begun, steps=0)
        return _ObservedWalk(walk, facts)

    def _facts(self) -> dict[str, str | int | float | bool]:
        return {"net": self._name, "runtime": self.net.runtime, "precision": self.net.precision}


class _ObservedWalk(WalkAround):
    """One utterance's walk through a recurrent net; its steps are told together, for each chunk."""

    def __init__(self, walk: Recurrence, facts: Facts) -> None:
        super().__init__(walk)
        self._facts = facts

    def step(self, tensors: Tensors) -> dict[str, Array]:
        begun = time.perf_counter_ns()
        results = self.walk.step(tensors)
        here = current_piece()
        if here is not None:
            here.stepped(self._facts, time.perf_counter_ns() - begun)
        return results


class ObservedStack:
    """A voice's whole stack, whose openings are utterances and whose reads are chunks.

    `frames_per_sample` is None for a voice without frames.
    """

    def __init__(self, block: StreamableBlock, frames_per_sample: float | None) -> None:
        self._block = block
        self._frames_per_sample = frames_per_sample

    @property
    def takes(self) -> Ports:
        return self._block.takes

    @property
    def gives(self) -> Ports:
        return self._block.gives

    @property
    def consumes(self) -> Ports | None:
        return self._block.consumes

    @property
    def timing(self) -> Timing:
        return self._block.timing

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        here = current_piece()
        if here is None:
            return self._block.open(tensors, source)
        begun = here.tally.opened_ns = time.perf_counter_ns()
        facts = {"utterance": int(tensors["utterance"]), "ids": len(tensors["ids"])}
        piece = Piece(here.told, "utterance", facts, here)
        try:
            with piece.working():
                stream = self._block.open(tensors, source)
        except BaseException as error:
            piece.end(error)
            raise
        finally:
            here.tally.work_ns += time.perf_counter_ns() - begun
        return _ObservedStream(stream, piece, self._frames_per_sample)


class _ObservedStream:
    """One utterance's audio, whose reads are told as chunks."""

    def __init__(self, stream: Stream, utterance: Piece, frames_per_sample: float | None) -> None:
        self._stream = stream
        self._utterance = utterance
        self._frames_per_sample = frames_per_sample
        self._samples = 0
        self._is_whole = False
        self._error: BaseException | None = None

    def read(self, steps: int) -> Tensors:
        utterance, tally = self._utterance, self._utterance.tally
        begun = time.perf_counter_ns()
        facts = {"utterance": utterance.facts["utterance"], "asked": steps}
        piece = Piece(utterance.told, "chunk", facts, utterance)
        try:
            with piece.working():
                chunk = self._stream.read(steps)
        except BaseException as error:
            self._error = error
            piece.end(error)
            raise
        now = time.perf_counter_ns()
        samples = length(chunk)
        piece.end(facts={"samples": samples, "wait_s": (now - tally.asked_ns) / 1e9})
        tally.work_ns += now - begun
        if samples:
            tally.chunks += 1
            utterance.told.tell("voxstack.chunk.duration", (now - begun) / 1e9)
        self._samples += samples
        self._is_whole = samples < steps
        return chunk

    def close(self) -> None:
        self._stream.close()
        facts = {"samples": self._samples}
        if self._frames_per_sample is not None:
            facts["frames"] = round(self._samples * self._frames_per_sample)
        if self._is_whole and not self._utterance.is_over:
            self._utterance.tally.utterances += 1
            self._utterance.told.tell("voxstack.utterances", 1)
        self._utterance.end(self._error, facts=facts, is_whole=self._is_whole)


def _ragged_input(spec: NetSpec) -> tuple[str, int] | None:
    """Return an input whose size on the ragged axis a net's run is told by, and the axis' place in it."""
    if spec.ragged is None:
        return None
    for name in spec.takes:
        axes = spec.port(name).axes
        if spec.ragged.axis in axes:
            return name, axes.index(spec.ragged.axis)
    return None
