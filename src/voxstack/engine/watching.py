"""Watch a voice at work: when each block and net worked, and what flowed to the vocoder.

A Watcher is given to a voice when it is loaded and puts a wrapper around each block and net. The
wrappers only look: what they hand on is what they were given. They note something down only while a
recording runs in the same context; a voice that is loaded without a Watcher has no wrappers at all.
"""

from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

import numpy as np

from voxstack.core.blocks import SequenceBlock, Stream, StreamableBlock
from voxstack.core.nets import Net, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.core.streams import length
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.recording import CHUNKS, UTTERANCE, Lane, Recording, current_recording, recording

__all__ = ["Watcher"]

MEL, SAMPLES = "mel", "samples"

Block: TypeAlias = StreamableBlock | SequenceBlock


class Watcher:
    """Look at one voice's blocks and nets; give it to `load` as `watch`.

    Example:
        watcher = Watcher()
        voice = load("joe", watch=watcher)
        with watcher.recording() as seen:
            for chunk in seen.chunks(voice.chunks("Hello there.")): ...
    """

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[str, Block]] = {}
        self._nets: list[str] = []

    def net(self, name: str, net: Net) -> Net:
        """Return a net that does the same and is seen."""
        self._nets.append(name)  # from several threads, in any order
        return _SeenNet(name, net)

    def block(self, path: str, name: str, block: Block) -> Block:
        """Return a block that does the same and is seen."""
        self._blocks[path] = (name, block)  # inner ones come first, so a container is known as one here
        if hasattr(block, "open"):
            seen = _SeenStreamable(path, self._is_chain(path), cast("StreamableBlock", block))
        else:
            seen = _SeenSequence(path, block)
        return cast("Block", seen)  # ports and timing are handed on as they are

    @property
    def lanes(self) -> list[Lane]:
        """All there is to see: the chunks, the blocks from the last to the first, then the nets."""
        blocks = [
            Lane(path, "block", f"{name} {path}", is_container=self._is_container(path))
            for path, (name, _) in self._blocks.items()
        ]
        nets = [Lane(name, "net", f"net {name}") for name in sorted(self._nets)]
        return [Lane(CHUNKS, "chunks", "chunks for the listener"), *reversed(blocks), *nets]

    @property
    def last(self) -> str:
        """The path of the block whose samples the listener hears."""
        return [
            path
            for path, (_, block) in self._blocks.items()
            if SAMPLES in block.gives and not self._is_chain(path)
        ][-1]

    def recording(self) -> AbstractContextManager[Recording]:
        """Record what is spoken inside this block, by this thread."""
        return recording()

    def _is_chain(self, path: str) -> bool:
        """Return whether what a block gives is just what the last block inside it gives."""
        _, block = self._blocks[path]
        return self._is_container(path) and not getattr(block, "branches", ())

    def _is_container(self, path: str) -> bool:
        return any(known.startswith((f"{path}.", f"{path}[")) for known in self._blocks)


class _SeenNet(NetAround):
    """A net whose runs are noted down."""

    def __init__(self, lane: str, net: Net) -> None:
        super().__init__(net)
        self._lane = lane

    def run(self, tensors: Tensors) -> dict[str, Array]:
        seen = current_recording()
        if seen is None:
            return self.net.run(tensors)
        with seen.span(self._lane, "run", {"takes": _shapes(tensors)}) as span:
            results = self.net.run(tensors)
            span.facts["gives"] = _shapes(results)
        return results

    def begin(self, tensors: Tensors) -> Recurrence:
        seen = current_recording()
        if seen is None:
            return self.net.begin(tensors)
        with seen.span(self._lane, "begin", {"takes": _shapes(tensors)}):
            walk = self.net.begin(tensors)
        return _SeenRecurrence(self._lane, walk, seen)


class _SeenRecurrence(WalkAround):
    """One utterance's walk through a recurrent net, each step noted down."""

    def __init__(self, lane: str, walk: Recurrence, seen: Recording) -> None:
        super().__init__(walk)
        self._lane = lane
        self._seen = seen

    def step(self, tensors: Tensors) -> dict[str, Array]:
        with self._seen.span(self._lane, "step"):
            return self.walk.step(tensors)


class _SeenBlock:
    """What both kinds of watched block share: all that is not watched is the block's own."""

    def __init__(self, path: str, block: Any) -> None:
        self._path = path
        self._block = block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)


class _SeenSequence(_SeenBlock):
    """A SequenceBlock whose runs are noted down."""

    def run(self, tensors: Tensors) -> Tensors:
        seen = current_recording()
        if seen is None:
            return self._block.run(tensors)
        with seen.span(self._path, "run", {UTTERANCE: _utterance(tensors)}) as span:
            results = self._block.run(tensors)
            span.facts["gives"] = _shapes(results)
        return results


class _SeenStreamable(_SeenBlock):
    """A StreamableBlock whose openings and reads are noted down.

    A chain's reads are those of the last block inside it, so they are not noted twice.
    """

    def __init__(self, path: str, is_chain: bool, block: StreamableBlock) -> None:
        super().__init__(path, block)
        self._is_chain = is_chain

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        seen = current_recording()
        if seen is None:
            return self._block.open(tensors, source)
        utterance = _utterance(tensors)
        with seen.span(self._path, "open", {UTTERANCE: utterance}):
            if self._is_chain:
                return self._block.open(tensors, source)
            if source is not None and MEL in (self._block.consumes or {}) and SAMPLES in self._block.gives:
                source = _Tapped(source, seen.mels.setdefault(utterance, []))
            return _SeenStream(self._path, self._block.open(tensors, source), seen, utterance)


class _SeenStream:
    """A stream whose reads are noted down."""

    def __init__(self, path: str, stream: Stream, seen: Recording, utterance: int) -> None:
        self._path = path
        self._stream = stream
        self._seen = seen
        self._utterance = utterance

    def read(self, steps: int) -> Tensors:
        facts = {UTTERANCE: self._utterance, "asked": steps}
        with self._seen.span(self._path, "read", facts) as span:
            chunk = self._stream.read(steps)
            span.facts["steps"] = length(chunk)
        return chunk

    def close(self) -> None:
        self._stream.close()


class _Tapped:
    """A stream whose mel is kept as it flows by."""

    def __init__(self, stream: Stream, kept: list[Array]) -> None:
        self._stream = stream
        self._kept = kept

    def read(self, steps: int) -> Tensors:
        chunk = self._stream.read(steps)
        self._kept.append(np.array(chunk[MEL]))
        return chunk

    def close(self) -> None:
        self._stream.close()


def _utterance(tensors: Tensors) -> int:
    return int(tensors[UTTERANCE]) if UTTERANCE in tensors else 0


def _shapes(tensors: Tensors) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}
