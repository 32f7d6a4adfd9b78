"""Describe a wired stack for people: one row a block, and one for each net that a block holds inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from voxstack.core.blocks import Timing
from voxstack.core.nets import Net
from voxstack.core.ports import Port, Ports
from voxstack.core.shapes import reach
from voxstack.stack.faults import Faults
from voxstack.stack.wire import Wired

__all__ = ["Row", "branches_of", "inner_nets", "rows"]

RIGHT_NOW = 1
"""Output steps that a block is asked for when its latency is worked out."""


@dataclass(frozen=True)
class Row:
    """What there is to know of one block: where it stands, what it takes and gives, and its timing.

    context     in input steps
    ahead_ms    how much audio of what comes after it needs; None where that is everything
                (`needs_all`), or where there is no rate
    rate_hz     steps of what it gives per second, None where they have no fixed duration
    waits_for   what of its input must be known before its first output: "12 frames", "all phonemes";
                None where a step in is at once a step out
    latency_ms  the same in ms of audio, None where it is all of the utterance
    file_bytes  size of its nets' files in the addon; None: it has no net
    runtime     what runs its net, and in which precision
    inside      a row for each net of a block that holds several
    branch      its key in a block whose blocks all read the same stream, else ""
    faults      what is wrong with it; it is not certain where that may only follow from what is wrong above
    """

    path: str
    type: str
    nets: tuple[str, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    steps: Fraction | None = None
    context: tuple[int, int] | None = None
    ahead_ms: float | None = None
    needs_all: bool = False
    is_container: bool = False
    rate_hz: float | None = None
    waits_for: str | None = None
    latency_ms: float | None = None
    file_bytes: int | None = None
    runtime: str | None = None
    inside: tuple["Row", ...] = ()
    faults: tuple[str, ...] = ()
    branch: str = ""
    is_certain: bool = True


def rows(
    wired: Sequence[Wired],
    *,
    file_bytes: Callable[[Net], int | None] = lambda net: None,
    faults: Faults | None = None,
) -> list[Row]:
    """Return a row for each block, in the order in which data reaches them.

    In:       file_bytes  size of a net's file, if it is known
              faults      what was found wrong while it was wired
    """
    branches = {f"{item.path}.{key}": key for item in wired for key in branches_of(item)}
    faults = faults or Faults()
    return [
        replace(
            _row(item, file_bytes, faults),
            branch=branches.get(item.path, ""),
            is_certain=faults.is_certain(item.path),
        )
        for item in wired
    ]


def branches_of(item: Wired) -> tuple[str, ...]:
    """Return the keys of a block's branches: blocks that read the same stream, of which the first goes on."""
    return getattr(item.block, "branches", ())


def inner_nets(item: Wired) -> list[tuple[str, Any]]:
    """Return the blocks around one net each that a block holds without the JSON naming them."""
    if item.is_container:
        return []
    inside = [block for block in getattr(item.block, "blocks", ()) if hasattr(block, "net")]
    return [(f"{item.path}/{block.net.spec.name}", block) for block in inside]


def _row(item: Wired, file_bytes: Callable[[Net], int | None], faults: Faults) -> Row:
    inside = tuple(
        _of(Wired(path, block.net.spec.name, block), file_bytes, ()) for path, block in inner_nets(item)
    )
    return _of(item, file_bytes, inside, tuple(fault.message for fault in faults.at(item.path)))


def _of(
    item: Wired,
    file_bytes: Callable[[Net], int | None],
    inside: tuple[Row, ...],
    faults: tuple[str, ...] = (),
) -> Row:
    block = item.block
    timing: Timing | None = getattr(block, "timing", None)
    consumes: Ports = getattr(block, "consumes", None) or {}
    rate = next((port.rate for port in block.gives.values() if port.rate is not None), None)
    ahead_ms = None
    if timing is not None and timing.lookahead is not None and rate is not None and consumes:
        ahead_ms = float(timing.right * timing.steps / rate * 1000)
    net: Net | None = getattr(block, "net", None)
    nets = (net.spec.name,) if net is not None else tuple(name for row in inside for name in row.nets)
    sizes = [file_bytes(net)] if net is not None else [row.file_bytes for row in inside]
    known = [size for size in sizes if size is not None]
    waits_for, latency_ms = _wait(item, timing, consumes, net, rate)
    return Row(
        path=item.path,
        type=item.type,
        nets=nets,
        takes=tuple(str(port) for port in {**block.takes, **consumes}.values()),
        gives=tuple(str(port) for port in block.gives.values()),
        steps=timing.steps if timing is not None and consumes else None,
        context=(timing.left, timing.right) if timing is not None and consumes else None,
        ahead_ms=ahead_ms,
        needs_all=timing is not None and timing.lookahead is None,
        is_container=item.is_container,
        rate_hz=None if rate is None else float(rate),
        waits_for=waits_for,
        latency_ms=latency_ms,
        file_bytes=sum(known) if known else None,
        runtime=None if net is None else f"{net.runtime} {net.precision}",
        inside=inside,
        faults=faults,
    )


def _wait(
    item: Wired, timing: Timing | None, consumes: Ports, net: Net | None, rate: Fraction | None
) -> tuple[str | None, float | None]:
    """Return how much input must be known before the first output, in words and in ms of audio."""
    if not consumes or timing is None:
        axis = _axis(item.block.takes)
        return (f"all {axis}" if axis else None), None
    axis = _axis(consumes) or "steps"
    if timing.lookahead is None:
        return f"all {axis}", None
    steps = timing.right + RIGHT_NOW
    if net is not None and net.spec.ragged is not None:
        sequential = bool(getattr(item.block, "sequential", False))
        sizes = net.shapes.steps
        steps = max(steps, reach(net.spec.ragged, sizes, 0, RIGHT_NOW, sequential=sequential))
    if steps == timing.steps == 1:
        return None, 0.0
    latency_ms = None if rate is None else float(steps * timing.steps / rate * 1000)
    return f"{steps} {axis if steps > 1 else axis.removesuffix('s')}", latency_ms


def _axis(ports: Ports) -> str | None:
    """Return the axis along which what flows in grows with the utterance."""
    return next((axis for port in ports.values() if (axis := _first(port)) is not None), None)


def _first(port: Port) -> str | None:
    axis = port.axes[0] if port.axes else None
    return axis if isinstance(axis, str) else None
