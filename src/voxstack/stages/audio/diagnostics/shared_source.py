"""Let two streams read one source, each at its own pace; what one has read is kept until the other has."""

from voxstack.core.blocks import Stream
from voxstack.core.errors import Cancelled
from voxstack.core.ports import Tensors
from voxstack.core.streams import join, length

__all__ = ["SharedSource"]


class SharedSource:
    """One source for two readers.

    Kept is what one reader has had and the other has not: where they are read in turn, a chunk and the
    difference of how far they look ahead. The source is closed with its last reader.
    """

    def __init__(self, source: Stream) -> None:
        self._source = source
        self._kept: list[list[Tensors] | None] = [[], []]

    def readers(self) -> tuple[Stream, Stream]:
        """Return the two readers' streams."""
        return _Reader(self, 0), _Reader(self, 1)

    @property
    def kept_steps(self) -> int:
        """How many steps wait for a reader that is behind."""
        return sum(length(chunk) for kept in self._kept for chunk in kept or [])

    def read(self, reader: int, steps: int) -> Tensors:
        """Return a reader's next steps."""
        mine = self._kept[reader]
        if mine is None:
            raise Cancelled("read after close")
        missing = steps - sum(map(length, mine))
        chunks = list(mine)
        if missing > 0 or not chunks:
            fresh = self._source.read(max(missing, 0))
            if (
                length(fresh) or not chunks
            ):  # an empty chunk may have other shapes; alone, it says the right ones
                chunks.append(fresh)
            other = self._kept[1 - reader]
            if other is not None and length(fresh):
                other.append(fresh)
        joined = join(chunks)
        rest = {name: tensor[steps:] for name, tensor in joined.items()}
        self._kept[reader] = [rest] if length(rest) else []
        return {name: tensor[:steps] for name, tensor in joined.items()}

    def close(self, reader: int) -> None:
        """Let a reader go; what waits for it is dropped."""
        if self._kept[reader] is None:
            return
        self._kept[reader] = None
        if self._kept == [None, None]:
            self._source.close()


class _Reader:
    """One reader's stream."""

    def __init__(self, shared: SharedSource, number: int) -> None:
        self._shared = shared
        self._number = number

    def read(self, steps: int) -> Tensors:
        return self._shared.read(self._number, steps)

    def close(self) -> None:
        self._shared.close(self._number)
