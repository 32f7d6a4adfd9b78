"""Measure how many runs of a net are worth running together, where it runs, in a fraction of a second.

The net is run alone and together on a typical utterance. What is slower together, fails together (a net whose
file says a batch of one, whatever its axes are called), or gives something else together, always runs alone.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from voxstack.core.batching import BatchedNet, BatchedRecurrence
from voxstack.core.errors import VoxstackError
from voxstack.core.layouts import BATCH
from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.engine.net_around import NetAround

__all__ = ["most_together", "typical_steps", "typical_tensors", "typical_walk"]

PHONEMES, FRAMES = 60, 64
"""Steps of a typical utterance, and of a typical window of frames."""

COUNTS = (8, 4, 2)
"""How many runs are tried together, the most first."""

PAYS = 0.9
"""Share of the time alone, for each utterance, at which running together is worth the waiting."""

BUDGET_S = 0.15
"""What measuring one net may take on a CPU, but for the three runs without which nothing is known."""

ROUNDS = 3
"""Of each count, if the budget lasts; the quickest counts, for others work on the machine too."""

CLOSE = {"f32": 1e-4}
ROUGH = 3e-2
"""How far results may be apart, as a share of a tensor's greatest value, in f32 and in less."""

LEAST_SCALE = 0.01
"""Of a tensor: a probability near 0 has as few digits in f32 as one near 1."""

_measured: "weakref.WeakKeyDictionary[Net, int]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def most_together(net: Net) -> int:
    """Return how many runs of a net are worth running together at most; 1: none.

    Each net is measured once, however many voices use it, and one at a time.
    """
    while isinstance(net, NetAround):
        net = net.net
    if not isinstance(net, BatchedNet):
        return 1
    with _lock:
        if net not in _measured:
            _measured[net] = _measure(net)
        return _measured[net]


def typical_steps(net: Net) -> int:
    """Return the steps of a typical run, as the net's sizes and context allow; 0 without a ragged axis."""
    ragged = net.spec.ragged
    if ragged is None:
        return 0
    wanted = PHONEMES if ragged.axis == "phonemes" else FRAMES
    return net.shapes.steps.fit(max(wanted, sum(ragged.context) + 1, ragged.least))


def typical_tensors(spec: NetSpec, steps: int, seed: int = 0) -> dict[str, Array]:
    """Return tensors that fill a net's inputs but for its state: ids, masks and what all share are ones."""
    ragged, random = spec.ragged, np.random.default_rng(seed)
    tensors: dict[str, Array] = {}
    for name, tensor in spec.inputs.items():
        if name in spec.state:
            continue
        port = spec.port(name)
        shape = [axis if isinstance(axis, int) else steps or 1 for axis in port.axes]
        if ragged is not None and name == ragged.lengths:
            value = np.full(shape, steps)
        elif (ragged is not None and name == ragged.mask) or BATCH not in tensor.axes:
            value = np.ones(shape)
        elif np.issubdtype(np.dtype(port.dtype), np.floating):
            value = random.random(shape) if tensor.random == "uniform" else random.normal(0, 0.5, shape)
        else:
            value = np.ones(shape)
        tensors[name] = value.astype(port.dtype)
    return tensors


def typical_walk(net: Net, tensors: Tensors) -> tuple[Recurrence, dict[str, Array]]:
    """Begin a walk with what lies along the utterance or is shared; return it, and what each step takes."""
    spec = net.spec
    axis = spec.ragged.axis if spec.ragged else None
    begins = {name: tensor for name, tensor in tensors.items() if _begins(spec, name, axis)}
    return net.begin(begins), {name: tensor for name, tensor in tensors.items() if name not in begins}


def _begins(spec: NetSpec, name: str, axis: str | None) -> bool:
    tensor = spec.inputs[name]
    return tensor.random is None and (axis in tensor.axes or BATCH not in tensor.axes)


def _measure(net: BatchedNet) -> int:
    try:
        return _walks(net) if net.spec.state else _runs(net)
    except (VoxstackError, ValueError, IndexError, KeyError):
        return 1


def _runs(net: BatchedNet) -> int:
    steps = typical_steps(net)
    fixed = bool(net.shapes.steps.buckets)
    lengths = (steps, steps if fixed else steps - steps // 20)
    first, second = (typical_tensors(net.spec, length, seed) for seed, length in enumerate(lengths))
    keys = net.batch_key(first), net.batch_key(second)
    if keys[0] is None:
        return 1
    if keys[0] != keys[1]:  # it wants one length
        second = typical_tensors(net.spec, steps, 1)

    def alone() -> list[dict[str, Array]]:
        return [net.run(first), net.run(second)]

    def together(count: int) -> list[dict[str, Array]]:
        return net.run_many(([first, second] * count)[:count])

    return _compared(net, alone, together)


def _walks(net: BatchedNet) -> int:
    """Measure walks; half of the joint steps measured join their walks first, so that joining counts too."""
    steps = typical_steps(net)
    given = [typical_tensors(net.spec, steps, seed) for seed in range(2)]
    begun: list[Recurrence] = []

    def begin(count: int) -> tuple[Sequence[Recurrence], Sequence[Tensors]]:
        pairs = [typical_walk(net, given[place % 2]) for place in range(count)]
        begun.extend(walk for walk, _ in pairs)
        return [walk for walk, _ in pairs], [new for _, new in pairs]

    try:
        walks, news = apart = begin(2)
        if not isinstance(walks[0], BatchedRecurrence) or walks[0].batch_key(news[0]) is None:
            return 1
        sets = {count: begin(count) for count in COUNTS}
        return _compared(
            net,
            lambda: [walk.step(new) for walk, new in zip(*apart, strict=True)],
            lambda count: net.step_many(*sets[count]),
        )
    finally:
        for walk in begun:
            walk.close()


def _compared(
    net: Net,
    alone: Callable[[], list[dict[str, Array]]],
    together: Callable[[int], list[dict[str, Array]]],
) -> int:
    """Return the greatest count at which time for each falls enough; 1 if two give something else together.

    In:       alone  runs two utterances one after the other
    """
    ends = time.perf_counter() + BUDGET_S
    apart = alone()
    if not _is_close(net, together(2), apart):
        return 1
    one_s = _quickest(alone, 1) / 2
    if one_s < BUDGET_S / 20:
        one_s = min(one_s, _quickest(alone, ROUNDS - 1) / 2)
    for count in COUNTS:
        rounds = min(int((ends - time.perf_counter()) / (count * one_s)) - 1, ROUNDS)
        if rounds < 1:
            continue
        together(count)
        if _quickest(lambda count=count: together(count), rounds) <= PAYS * count * one_s:
            return count
    return 1


def _quickest(run: Callable[[], object], rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    return min(spent)


def _is_close(net: Net, got: Sequence[Tensors], want: Sequence[Tensors]) -> bool:
    share = CLOSE.get(net.precision, ROUGH)
    return all(
        one[name].shape == tensor.shape
        and np.allclose(
            one[name],
            tensor,
            rtol=0,
            atol=share * max(float(np.abs(tensor, dtype=np.float64).max(initial=0)), LEAST_SCALE)
            if np.issubdtype(tensor.dtype, np.floating)
            else share,
            equal_nan=True,
        )
        for one, wanted in zip(got, want, strict=True)
        for name, tensor in wanted.items()
    )
