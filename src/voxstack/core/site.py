"""Tell a block where it stands when it is wired: its path, its nets, and what flows to it."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

from voxstack.core.blocks import SequenceBlock, StreamableBlock
from voxstack.core.nets import Net, Nets
from voxstack.core.ports import MelFormat, Ports

__all__ = ["Entry", "Site"]

Entry: TypeAlias = Mapping[str, Any]
"""A block as it stands in JSON: `type` and the block's own options."""


class Site(Protocol):
    """A place in the stack; `Block.wire(options, site)` builds the block that stands there.

    path        where the entry stands in the JSON ("$.stack[0].sequence_block")
    nets        the addon's nets, ready to run, by name
    tensors     ports that whole-utterance tensors fill here: the request's and those of encoders above
    source      ports that the stream above gives, None at the head of a stack
    frame_rate  exact frames per second of the addon, if it has frames
    mel         how the addon's mels are made, if it has any
    """

    @property
    def path(self) -> str: ...
    @property
    def nets(self) -> Nets: ...
    @property
    def tensors(self) -> Ports: ...
    @property
    def source(self) -> Ports | None: ...
    @property
    def frame_rate(self) -> Fraction | None: ...
    @property
    def mel(self) -> MelFormat | None: ...

    def net(self, name: str | None, *, role: str) -> Net:
        """Return the net called `name`, or the addon's only net of `role`; raise ConfigError."""
        ...

    def sequence(self, entry: Entry, key: str, *, tensors: Ports) -> SequenceBlock:
        """Wire the SequenceBlock that stands at `key` of this entry."""
        ...

    def streamable(self, entry: Entry, key: str, *, tensors: Ports, source: Ports | None) -> StreamableBlock:
        """Wire the StreamableBlock that stands at `key` of this entry."""
        ...

    def addon(self, name: str) -> StreamableBlock:
        """Wire the whole stack of another addon here, with that addon's own nets."""
        ...

    def need(self, wanted: Ports, given: Ports, *, of: str) -> None:
        """Raise WiringError unless `given` fills every port of `wanted`."""
        ...
