"""State the streaming law once, publicly, and hold any StreamableBlock to it.

However the reads of a stream are cut, the chunks joined equal one whole read. From it follow chunked
speech that sounds like whole speech, and the same audio for the same seed whatever the load.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Never

import numpy as np

from voxstack.core.blocks import Stream, StreamableBlock
from voxstack.core.errors import LawError
from voxstack.core.ports import Array, Tensors
from voxstack.core.streams import EVERYTHING, ArrayStream, length

__all__ = ["check_streamable", "random_cuts"]

MOST_READS = 2_000
"""A cut that would take more reads than this is read to its end in one more."""


def check_streamable(
    block: StreamableBlock,
    *,
    tensors: Tensors,
    source: Tensors | None = None,
    cuts: Iterable[Sequence[int]] | None = None,
    tolerance: float = 0.0,
    expected: Tensors | None = None,
) -> None:
    """Raise LawError, saying what differs and where, unless the block obeys the law.

    In:       tensors    the whole-utterance tensors that it takes
              source     what the stream above gives, whole; None for a head of a stack
              cuts       ways to cut the reads, each a list of sizes that is repeated until the end
                         (default: `random_cuts()`)
              tolerance  greatest difference that counts as equal, for arithmetic that is not exact
              expected   an independent reference for the whole read, if there is one
    Example:
        >>> from voxstack.core.ports import Port
        >>> from voxstack.stages.upsampler.repeat import Upsampler
        >>> hidden = Port("hidden", "float32", ("frames",))
        >>> block = Upsampler(Upsampler.Options(), takes={}, gives={"hidden": hidden})
        >>> phonemes = {"durations": np.array([2, 0, 3]), "hidden": np.array([1, 2, 3], np.float32)}
        >>> check_streamable(block, tensors=phonemes)
    """
    _Law(block, tensors, source, tolerance).check(list(random_cuts() if cuts is None else cuts), expected)


def random_cuts(seed: int = 0, *, count: int = 8, most: int = 64) -> Iterator[list[int]]:
    """Yield ways to cut reads: one by one, a long one first, then at random."""
    yield [1]
    yield [most, 1, 2]
    generator = random.Random(seed)  # noqa: S311 - cuts, not secrets
    for _ in range(count):
        top = generator.choice([3, 17, most, 8 * most])
        yield [generator.randint(1, top) for _ in range(generator.randint(1, 12))]


class _Law:
    def __init__(
        self, block: StreamableBlock, tensors: Tensors, source: Tensors | None, tolerance: float
    ) -> None:
        self.block = block
        self.tensors = {name: _read_only(tensor) for name, tensor in tensors.items()}
        self.source = source
        self.tolerance = tolerance
        self.name = type(block).__name__

    def check(self, cuts: list[Sequence[int]], expected: Tensors | None) -> None:
        self.whole = self.read_whole()
        self.check_ports(self.whole)
        self.check_count(length(self.whole))
        if expected is not None:
            self.compare(expected, self.whole, "the whole read differs from the reference", None)
        self.compare(self.whole, self.read_whole(), "a second whole read differs from the first", None)
        for cut in cuts:
            self.check_cut(cut)
        self.check_two_streams(cuts[-1] if cuts else [7])
        self.check_close()

    def open(self) -> tuple[Stream, "_Watched | None"]:
        watched = None if self.source is None else _Watched(self.source)
        return self.block.open(self.tensors, watched), watched

    def read_whole(self) -> Tensors:
        stream, _ = self.open()
        try:
            whole = stream.read(EVERYTHING)
        except MemoryError:
            self.fail("its stream never ends: one read of everything wants more memory than there is")
        rest = length(stream.read(1))
        stream.close()
        if rest:
            self.fail("one read of everything did not give everything: a second read gave more")
        return whole

    def check_ports(self, chunk: Tensors) -> None:
        gives = self.block.gives
        if set(chunk) != set(gives):
            self.fail(f"it says it gives {sorted(gives)}, its stream gives {sorted(chunk)}")
        sizes = {name: len(tensor) for name, tensor in chunk.items()}
        if len(set(sizes.values())) > 1:
            self.fail(f"its stream gives tensors of different lengths in one read: {sizes}")
        for name, port in gives.items():
            fault = port.fault(chunk[name])
            if fault is not None:
                self.fail(f"its stream does not keep the promise of its port: {fault}")
            if chunk[name].dtype.kind == "f" and not np.isfinite(chunk[name]).all():
                step = int(np.argwhere(~np.isfinite(chunk[name]))[0][0])
                self.fail(f"'{name}' is not finite at step {step}: padding or context leaked into it")

    def check_count(self, steps: int) -> None:
        if self.source is None:
            return
        timing = self.block.timing
        wanted = length(self.source) * timing.steps + timing.tail
        if abs(steps - wanted) > timing.rounding:
            tail = f" and a tail of {timing.tail}" if timing.tail else ""
            self.fail(
                f"{length(self.source)} input steps at {timing.steps} output steps each{tail} make "
                f"{wanted}; the whole read has {steps} ({float(steps - wanted):+g})"
            )

    def check_cut(self, cut: Sequence[int]) -> None:
        stream, watched = self.open()
        chunks: list[Tensors] = []
        starts = [0]
        for size in _repeated(cut):
            chunk = stream.read(size)
            got = length(chunk)
            start = starts[-1]
            if got > size:
                self.fail(f"reads of {_shown(cut)}: read {len(chunks)} asked for {size} steps and got {got}")
            if got:
                self.check_ports(chunk)
            chunks.append(chunk)
            starts.append(start + got)
            self.check_lookahead(watched, starts[-1], cut)
            if got < size:
                break
        for _ in range(2):
            if length(stream.read(3)):
                self.fail(f"reads of {_shown(cut)}: a short read said that it was over, then more came")
        stream.close()
        joined = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self.block.gives}
        self.compare(self.whole, joined, f"reads of {_shown(cut)} differ from one whole read", starts)

    def check_lookahead(self, watched: "_Watched | None", made: int, cut: Sequence[int]) -> None:
        lookahead = self.block.timing.lookahead
        if watched is None or lookahead is None:
            return
        allowed = -(-Fraction(made) // self.block.timing.steps) + lookahead
        if watched.pulled > allowed:
            self.fail(
                f"reads of {_shown(cut)}: after {made} output steps it had pulled {watched.pulled} input "
                f"steps; its timing allows {allowed}"
            )

    def check_two_streams(self, cut: Sequence[int]) -> None:
        one, _ = self.open()
        two, _ = self.open()
        read: tuple[list[Tensors], list[Tensors]] = ([], [])
        for size in _repeated(cut):
            first, second = one.read(size), two.read(size + 1)
            read[0].append(first)
            read[1].append(second)
            if length(first) < size and length(second) < size + 1:
                break
        one.close()
        two.close()
        for chunks in read:
            joined = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self.block.gives}
            self.compare(
                self.whole, joined, "two streams read in turn disturb each other (shared state)", None
            )

    def check_close(self) -> None:
        stream, watched = self.open()
        other, _ = self.open()
        stream.read(1)
        stream.close()
        try:
            stream.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, closing twice must be safe
            self.fail(f"a second close raises {type(error).__name__}: {error}")
        if watched is not None and not watched.is_closed:
            self.fail("close did not close the stream above it")
        survived = other.read(EVERYTHING)
        other.close()
        self.compare(self.whole, survived, "closing one stream disturbs another (shared state)", None)

    def compare(self, want: Tensors, got: Tensors, what: str, starts: list[int] | None) -> None:
        for name in self.block.gives:
            self.compare_one(name, want[name], got[name], what, starts)

    def compare_one(self, name: str, want: Array, got: Array, what: str, starts: list[int] | None) -> None:
        if len(want) != len(got):
            self.fail(f"{what}: '{name}' has {len(got)} steps, not {len(want)} ({len(got) - len(want):+d})")
        if not want.size:
            return
        if want.shape != got.shape:
            self.fail(f"{what}: '{name}' has shape {list(got.shape)}, not {list(want.shape)}")
        distance = np.abs(want.astype(np.float64) - got.astype(np.float64))
        wrong = distance > self.tolerance
        if not wrong.any():
            return
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        where = f"step {place[0]}"
        if starts is not None:
            read = max(number for number, start in enumerate(starts) if start <= place[0])
            where += f" (step {place[0] - starts[read]} of read {read})"
        steps = int(wrong.reshape(len(want), -1).any(axis=1).sum())
        self.fail(
            f"{what}: '{name}' at {where} is {got[place]:.6g}, not {want[place]:.6g}; "
            f"{steps} of {len(want)} steps differ, by up to {distance.max():.3g}, "
            f"tolerance {self.tolerance:g}"
        )

    def fail(self, what: str) -> Never:
        raise LawError(what, where=self.name)


class _Watched:
    """A source that counts what is pulled from it and notices its closing."""

    def __init__(self, tensors: Tensors) -> None:
        # Read-only: who writes into what it reads changes what others read.
        self._stream = ArrayStream.over({name: _read_only(tensor) for name, tensor in tensors.items()})
        self.pulled = 0
        self.is_closed = False

    def read(self, steps: int) -> Mapping[str, Array]:
        chunk = self._stream.read(steps)
        self.pulled += length(chunk)
        return chunk

    def close(self) -> None:
        self.is_closed = True
        self._stream.close()


def _read_only(tensor: Array) -> Array:
    view = tensor.view()
    view.flags.writeable = False
    return view


def _repeated(cut: Sequence[int]) -> Iterator[int]:
    for number in range(MOST_READS):
        yield cut[number % len(cut)]
    yield EVERYTHING


def _shown(cut: Sequence[int]) -> str:
    return f"[{', '.join(map(str, cut[:6]))}{', …' if len(cut) > 6 else ''}]"
