"""Hold a profile against the reference profile: net by net on the same tensors, and the audio as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from voxstack.core.closeness import log_spectral_distance_db, snr_db
from voxstack.core.errors import LawError
from voxstack.core.feeds import SEED, UTTERANCE, Feeds
from voxstack.core.nets import Net, Recurrence
from voxstack.core.ports import Array, Tensors
from voxstack.core.streams import EVERYTHING
from voxstack.core.whole import plan_whole, run_whole, steps_of
from voxstack.engine.loading import Loaded, load_stack
from voxstack.engine.net_around import NetAround, WalkAround
from voxstack.engine.nets import Running
from voxstack.stack.addon import Addon
from voxstack.stack.profiles import DEFAULT
from voxstack.stack.wire import Block

__all__ = ["AUDIO_TOLERANCE", "LEAST_SNR_DB", "MOST_SPECTRAL_DB", "Parity", "compare"]

AUDIO_TOLERANCE = 1e-3
"""Profiles may compute in another order or shape; where all is float32, more than this is a fault."""

LEAST_SNR_DB = 60.0

MOST_SPECTRAL_DB = 6.0
"""Log-spectral distance at lower precision. Where a decoder computes in bfloat16 or some convolutions in
8 bits, it measured 0.2 to 3 dB; with all of them in 8 bits, which hisses, 12 dB."""

MOST_STEPS = 60
"""Steps of a recurrent net that are compared: each feeds on the last, so that differences grow."""


@dataclass(frozen=True)
class NetParity:
    """How far a net of the profile is from the reference: the greatest difference, and the greatest value."""

    worst: float
    scale: float
    precision: str


@dataclass(frozen=True)
class Parity:
    """What a comparison of two profiles found.

    worst      greatest difference of a sample
    snr_db     of the reference against the difference
    spectral_db  mean log-spectral distance
    """

    profile: str
    nets: Mapping[str, NetParity]
    worst: float
    snr_db: float
    spectral_db: float
    sizes: tuple[int, int]

    @property
    def is_exact(self) -> bool:
        """Whether every net computes in float32, so that only rounding may differ."""
        return all(net.precision == "f32" for net in self.nets.values())

    @property
    def reference(self) -> str:
        """What the profile is held against, in words."""
        return f"the built-in '{DEFAULT}'" if self.profile == DEFAULT else f"'{DEFAULT}'"

    def nets_line(self) -> str:
        """Return the worst difference of each net, and the range in which it lies."""
        return ", ".join(
            f"{name} {net.worst:.1e} of {net.scale:.2g}"
            + ("" if net.precision == "f32" else f" ({net.precision})")
            for name, net in self.nets.items()
        )

    def audio_line(self) -> str:
        """Return how far the audio is from the reference's."""
        found = f"greatest difference {self.worst:.1e}, SNR {self.snr_db:.1f} dB against {self.reference}"
        return found if self.is_exact else f"{found}, log-spectral distance {self.spectral_db:.2f} dB"

    def check(self) -> None:
        """Raise LawError if the audio is not that of the reference, as far as the precision allows.

        Float32 nets are held to AUDIO_TOLERANCE and LEAST_SNR_DB, others to MOST_SPECTRAL_DB: a moved
        phase costs SNR, and nobody hears it.
        """
        where = f"profile {self.profile}"
        if self.sizes[0] != self.sizes[1]:
            raise LawError(f"{self.sizes[0]} samples became {self.sizes[1]}", where=where)
        if self.is_exact and not (self.worst <= AUDIO_TOLERANCE and self.snr_db >= LEAST_SNR_DB):
            raise LawError(
                f"differs from {self.reference} by {self.worst:.2g} (SNR {self.snr_db:.1f} dB), "
                f"want at most {AUDIO_TOLERANCE:g} and {LEAST_SNR_DB:g} dB",
                where=where,
            )
        if not self.is_exact and not self.spectral_db <= MOST_SPECTRAL_DB:  # NaN is no agreement
            raise LawError(
                f"differs from {self.reference} by a log-spectral distance of {self.spectral_db:.2f} dB, "
                f"want at most {MOST_SPECTRAL_DB:g} dB; let more nets compute in f32",
                where=where,
            )


def compare(
    addon: Addon,
    loaded: Loaded,
    tensors: Mapping[str, Array],
    *,
    folders: Sequence[str | Path] = (),
    vocoder: str | Path | None = None,
) -> Parity:
    """Say one utterance under the reference profile and under that of `loaded`, and compare.

    The reference is "cpu" as it is without a deployment file.
    """
    seen = _Seen()
    reference = load_stack(addon, running=Running(DEFAULT), folders=folders, vocoder=vocoder, watch=seen)
    wanted = _whole(reference, tensors)
    nets: dict[str, NetParity] = {}
    for name, witness in seen.nets.items():
        if not witness.is_seen:
            continue
        expected, got = witness.replayed(witness.net), witness.replayed(loaded.nets[name])
        worst = max(float(np.abs(expected[key] - got[key]).max(initial=0)) for key in expected)
        scale = max(float(np.abs(tensor).max(initial=0)) for tensor in expected.values())
        nets[name] = NetParity(worst, scale, loaded.nets[name].precision)
    got = _whole(loaded, tensors)
    shared = min(len(wanted), len(got))
    return Parity(
        profile=loaded.profile,
        nets=nets,
        worst=float(np.abs(wanted[:shared] - got[:shared]).max(initial=0)),
        snr_db=snr_db(wanted[:shared], got[:shared]),
        spectral_db=log_spectral_distance_db(wanted[:shared], got[:shared]),
        sizes=(len(wanted), len(got)),
    )


def _whole(loaded: Loaded, tensors: Mapping[str, Array]) -> Array:
    stream = loaded.block.open(tensors, None)
    try:
        return stream.read(EVERYTHING)["samples"]
    finally:
        stream.close()


@dataclass
class _Seen:
    """A Watch that keeps what each net of the reference was given."""

    nets: dict[str, "_Witness"] = field(default_factory=dict[str, "_Witness"])

    def net(self, name: str, net: Net) -> Net:
        self.nets[name] = _Witness(net)
        return self.nets[name]

    def block(self, path: str, name: str, block: Block) -> Block:
        return block


class _Witness(NetAround):
    """A net that keeps the tensors of its longest run, or of the first steps of its first walk."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self._tensors: Tensors = {}
        self._steps: list[Tensors] = []

    @property
    def is_seen(self) -> bool:
        return bool(self._tensors)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        if _elements(tensors) > _elements(self._tensors):
            self._tensors = dict(tensors)
        return self.net.run(tensors)

    def begin(self, tensors: Tensors) -> Recurrence:
        if not self._tensors:
            self._tensors = dict(tensors)
            return _WitnessedWalk(self.net.begin(tensors), self._steps)
        return self.net.begin(tensors)

    def replayed(self, net: Net) -> dict[str, Array]:
        """Return what a net, at the sizes that it has, makes of what was seen."""
        key = {port.name: np.array(0, np.int64) for port in (SEED, UTTERANCE)}
        if not net.spec.state:
            return run_whole(net, {**self._tensors, **key})
        return self._walked(net, {**self._tensors, **key})

    def _walked(self, net: Net, tensors: Tensors) -> dict[str, Array]:
        spec = net.spec
        steps = steps_of(spec, tensors)
        plan = plan_whole(net, steps)
        later = {name: port for name, port in spec.takes.items() if name not in tensors}
        feeds = Feeds(spec, tensors, consumed=later)
        begins = {name: tensors[name] for name in spec.state if name in tensors}
        walk = net.begin({**feeds.constant(plan), **feeds.stretch(begins, plan)})
        made = [walk.step(step) for step in self._steps]
        walk.close()
        axes = {name: port.axes[:1] for name, port in spec.gives.items()}
        along = (spec.ragged.axis,) if spec.ragged else ()
        return {
            name: np.stack([one[name][:steps] if axes[name] == along else one[name] for one in made])
            for name in spec.gives
        }


class _WitnessedWalk(WalkAround):
    """A walk that keeps what its first steps were given."""

    def __init__(self, walk: Recurrence, kept: list[Tensors]) -> None:
        super().__init__(walk)
        self._kept = kept

    def step(self, tensors: Tensors) -> dict[str, Array]:
        if len(self._kept) < MOST_STEPS:
            self._kept.append(dict(tensors))
        return self.walk.step(tensors)


def _elements(tensors: Tensors) -> int:
    return sum(tensor.size for tensor in tensors.values())
