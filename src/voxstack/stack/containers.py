"""Compose blocks: sequence blocks one after another, streams in a chain, and one of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from voxstack.core.blocks import SequenceBlock, Stream, StreamableBlock, Timing
from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Entry, Site

__all__ = ["SequenceBlockContainer", "StreamablePipeline", "StreamableStack"]


@dataclass(frozen=True)
class SequenceBlockContainer:
    """A SequenceBlock made of others, run in the order in which they stand; each sees what came before.

    In:       what its blocks take and none before gives
    Out:      what all its blocks give
    """

    @dataclass(frozen=True)
    class Options:
        """`blocks` are entries of SequenceBlocks, in the order in which they run."""

        blocks: list[Any]

    blocks: tuple[SequenceBlock, ...]
    takes: Ports
    gives: Ports

    @classmethod
    def wire(cls, options: Options, site: Site) -> "SequenceBlockContainer":
        if not options.blocks:
            raise ConfigError(
                "got an empty list, want at least one SequenceBlock", where=f"{site.path}.blocks"
            )
        blocks: list[SequenceBlock] = []
        takes: Ports = {}
        gives: Ports = {}
        for place, entry in enumerate(options.blocks):
            key = f"blocks[{place}]"
            block = site.sequence(entry, key, tensors={**site.tensors, **gives})
            for name in block.gives:
                if name in gives:
                    raise WiringError(
                        f"'{name}' is given twice; rename one of the outputs", where=f"{site.path}.{key}"
                    )
            takes = {**takes, **_without(block.takes, gives)}
            gives = {**gives, **block.gives}
            blocks.append(block)
        return cls(tuple(blocks), takes, gives)

    def run(self, tensors: Tensors) -> Tensors:
        known = dict(tensors)
        for block in self.blocks:
            known |= block.run(known)
        return {name: known[name] for name in self.gives}


@dataclass(frozen=True)
class StreamableStack:
    """A StreamableBlock made of a chain: each block's stream is the source of the next one's.

    Timing:   the chain's
    """

    @dataclass(frozen=True)
    class Options:
        """`stack` are entries of StreamableBlocks, from the head down."""

        stack: list[Any]

    blocks: tuple[StreamableBlock, ...]

    @classmethod
    def wire(cls, options: Options, site: Site) -> "StreamableStack":
        if not options.stack:
            raise ConfigError(
                "got an empty list, want at least one StreamableBlock", where=f"{site.path}.stack"
            )
        blocks: list[StreamableBlock] = []
        source = site.source
        for place, entry in enumerate(options.stack):
            block = site.streamable(entry, f"stack[{place}]", tensors=site.tensors, source=source)
            if source is not None and block.consumes is None:
                raise WiringError(
                    "it reads no stream, so what stands above it would be lost; "
                    "put it at the head of the stack",
                    where=f"{site.path}.stack[{place}]",
                )
            blocks.append(block)
            source = block.gives
        return cls(tuple(blocks))

    @property
    def takes(self) -> Ports:
        return {name: port for block in self.blocks for name, port in block.takes.items()}

    @property
    def gives(self) -> Ports:
        return self.blocks[-1].gives

    @property
    def consumes(self) -> Ports | None:
        return self.blocks[0].consumes

    @property
    def timing(self) -> Timing:
        return reduce(Timing.then, (block.timing for block in self.blocks))

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        stream = source
        try:
            for block in self.blocks:
                stream = block.open(tensors, stream)
        except BaseException:
            if stream is not None:
                stream.close()
            raise
        assert stream is not None
        return stream


@dataclass(frozen=True)
class StreamablePipeline:
    """A StreamableBlock made of exactly one SequenceBlock and exactly one StreamableBlock.

    `open` runs the first on the whole utterance; the second streams from its result.
    """

    @dataclass(frozen=True)
    class Options:
        """One entry each; whether it is one is checked when it is wired."""

        sequence_block: Any
        streamable_block: Any

    sequence_block: SequenceBlock
    streamable_block: StreamableBlock

    @classmethod
    def wire(cls, options: Options, site: Site) -> "StreamablePipeline":
        sequence = site.sequence(options.sequence_block, "sequence_block", tensors=site.tensors)
        streamable = site.streamable(
            options.streamable_block,
            "streamable_block",
            tensors={**site.tensors, **sequence.gives},
            source=site.source,
        )
        return cls(sequence, streamable)

    @property
    def takes(self) -> Ports:
        return {
            **_without(self.streamable_block.takes, self.sequence_block.gives),
            **self.sequence_block.takes,
        }

    @property
    def gives(self) -> Ports:
        return self.streamable_block.gives

    @property
    def consumes(self) -> Ports | None:
        return self.streamable_block.consumes

    @property
    def timing(self) -> Timing:
        return self.streamable_block.timing

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        try:
            encoded = self.sequence_block.run(tensors)
        except BaseException:
            if source is not None:
                source.close()
            raise
        return self.streamable_block.open({**tensors, **encoded}, source)


def _without(ports: Ports, known: Mapping[str, object] | Entry) -> Ports:
    return {name: port for name, port in ports.items() if name not in known}
