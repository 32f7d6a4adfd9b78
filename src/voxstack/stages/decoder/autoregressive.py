"""Make frames one step after another, each from the last: attention-based, teacher-forced decoders."""

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import Cancelled, ConfigError, NetError, WiringError
from voxstack.core.events import ALIGNMENT, Event, report
from voxstack.core.feeds import Feeds, needs
from voxstack.core.nets import Net, NetSpec, Recurrence
from voxstack.core.ports import Array, Axis, Port, Ports, Tensors
from voxstack.core.site import Site
from voxstack.core.streams import empty, join, length
from voxstack.core.whole import plan_whole, steps_of
from voxstack.stages.decoder.attention import AttentionLimits, AttentionWatch, Finding

__all__ = ["AutoregressiveDecoder"]

POSITION, STOP, ALIGNED = "position", "stop", "alignment"
"""Names that a step net uses for its counter, its end, and what it attended to."""

COUNTER = Port(POSITION, "int64", ())
HEAD = Timing()

NOISE_STEPS = 64
"""Steps for which noise is drawn at once."""

MOST_S = 300
"""Seconds that one utterance may last, whatever the options say."""

USUAL_FRAME_RATE = Fraction(80)
"""Frames per second where the addon does not say; only limits in ms depend on it."""


@dataclass(frozen=True)
class AutoregressiveDecoder:
    """The head of a stream of frames that a recurrent net makes step by step, only when it is pulled.

    The net's state (last frame, attention, LSTM cells, a cache of keys and values) stays with the
    runtime. A step may give several frames (a reduction factor): its outputs are [r, …] then.

    In:       what the net takes beside state and noise, and `position`, which counts its steps
    Out:      the net's outputs, [frames, …], but for two that it may have:
              stop       float32 [] or [r], probability that the utterance is over
              alignment  float32 [phonemes] or [phonemes, r], what the step attended to
    Source:   the decoder loop of Tacotron 2 (Shen et al. 2018, §2.2)
    Reports:  attention.stall, .back, .repeat, .skip, .unread; decoder.too_long, .empty; alignment
    """

    @dataclass(frozen=True)
    class Options:
        """When an utterance is over, and what counts as having lost the way.

        stop_threshold          `stop` from which the utterance is over
        keeps_stop_step         whether the frames of the step that says so belong to it
        least_frames_per_symbol before which `stop` is not listened to
        most_frames_per_symbol  after which the utterance is ended and reported
        attention               limits of the attention, where the net gives `alignment`
        """

        net: str | None = None
        stop_threshold: float = 0.5
        keeps_stop_step: bool = True
        least_frames_per_symbol: float = 0.0
        most_frames_per_symbol: float = 30.0
        attention: AttentionLimits = field(default_factory=AttentionLimits)

    options: Options
    net: Net
    takes: Ports
    gives: Ports
    frames_per_step: int
    frame_rate: Fraction = USUAL_FRAME_RATE
    consumes: Ports | None = None
    timing: Timing = HEAD

    @classmethod
    def wire(cls, options: Options, site: Site) -> "AutoregressiveDecoder":
        net = site.net(options.net, role="step")
        spec = net.spec
        _check_options(options, site.path)
        if not spec.state:
            raise ConfigError(
                f"net '{spec.name}' has no state, so no step of it follows from the last; "
                'state "state" for it in addon.json, or choose a block for such nets',
                where=site.path,
            )
        if spec.ragged is None or not any(spec.ragged.axis in port.axes for port in spec.takes.values()):
            raise ConfigError(
                f"net '{spec.name}' does not say along which axis its symbols lie, so nothing bounds the "
                'utterance; state "ragged": {"axis": …} for it in addon.json',
                where=site.path,
            )
        takes = {name: port for name, port in needs(spec).items() if name != POSITION}
        site.need(takes, site.tensors, of="the utterance")
        if POSITION in spec.takes:
            site.need({POSITION: spec.takes[POSITION]}, {POSITION: COUNTER}, of="the decoder")
        begins = {name: site.tensors[name] for name in spec.state if name in site.tensors}
        frames, per_step = _frame_ports(spec, site)
        _check_alignment(spec, per_step, site.path)
        return cls(options, net, {**takes, **begins}, frames, per_step, site.frame_rate or USUAL_FRAME_RATE)

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        return _Frames(self, tensors)


class _Frames:
    """One utterance's frames."""

    def __init__(self, block: AutoregressiveDecoder, tensors: Tensors) -> None:
        spec, options = block.net.spec, block.options
        symbols = steps_of(spec, tensors)
        plan = plan_whole(block.net, symbols)
        self._block = block
        self._symbols = symbols
        self._feeds = Feeds(spec, tensors, consumed={POSITION: COUNTER})
        begins = {name: tensors[name] for name in spec.state if name in tensors}
        told = {**self._feeds.constant(plan), **self._feeds.stretch(begins, plan)}
        self._walk: Recurrence | None = block.net.begin(told)
        self._counts = POSITION in spec.inputs
        self._watch = AttentionWatch(options.attention, symbols=symbols, frame_rate=block.frame_rate)
        self._least = options.least_frames_per_symbol * symbols
        longest = MOST_S * float(block.frame_rate)
        self._most = math.ceil(min(options.most_frames_per_symbol * symbols, longest))
        self._noise: Tensors = {}
        self._steps = 0
        self._is_over = False
        self._ready: list[Tensors] = []

    def read(self, steps: int) -> Tensors:
        if self._walk is None:
            raise Cancelled("read after close")
        waiting = sum(map(length, self._ready))
        while waiting < steps and not self._is_over:
            frames = self._step(self._walk)
            self._ready.append(frames)
            waiting += length(frames)
        if not self._ready:
            return empty(self._block.gives)
        joined = join(self._ready)
        self._ready = [{name: tensor[steps:] for name, tensor in joined.items()}] if waiting > steps else []
        return {name: tensor[:steps] for name, tensor in joined.items()}

    def close(self) -> None:
        if self._walk is not None:
            self._walk.close()
        self._walk = None
        self._ready = []

    def _step(self, walk: Recurrence) -> Tensors:
        """Make the next step's frames, and see whether they are the last."""
        per_step = self._block.frames_per_step
        result = walk.step(self._inputs())
        self._steps += 1
        keep = self._judge(result)
        return {
            name: result[name].reshape(per_step, *result[name].shape[-1:])[:keep]
            for name in self._block.gives
        }

    def _inputs(self) -> dict[str, Array]:
        """Return what this step takes beside what stays the same."""
        place = self._steps % NOISE_STEPS
        if place == 0:
            self._noise = self._feeds.noise(self._steps, NOISE_STEPS)
        inputs = {name: values[place] for name, values in self._noise.items()}
        if self._counts:
            inputs[POSITION] = np.array(self._steps, np.int64)
        return inputs

    def _judge(self, result: Tensors) -> int:
        """Say how many of this step's frames belong to the utterance; report what went wrong."""
        options, per_step = self._block.options, self._block.frames_per_step
        made = self._steps * per_step
        stop = float(np.max(result[STOP])) if STOP in result else 0.0
        if math.isnan(stop):
            raise NetError(f"'{STOP}' is no number after {made} frames", where=f"net '{self._name}'")
        stops = stop >= options.stop_threshold and made >= self._least
        found = self._attended(result[ALIGNED][: self._symbols]) if ALIGNED in result else []
        if stops and ALIGNED in result:
            found += self._watch.end()
        ending = [finding for finding in found if finding.kind in options.attention.ends_on and not stops]
        for finding in found:
            ended = finding in ending
            text = f"{finding.text}; the utterance was ended" if ended else finding.text
            values = {"symbol": finding.symbol, "ended": ended}
            report(Event(f"attention.{finding.kind}", self._name, finding.frame, text, values))
        self._is_over = stops or bool(ending) or made >= self._most
        if made >= self._most and not (stops or ending):
            text = (
                f"no end after {made} frames, {options.most_frames_per_symbol:g} for each symbol; "
                "the utterance was ended"
            )
            report(Event("decoder.too_long", self._name, made, text, {"ended": True}))
        if not stops or options.keeps_stop_step:
            return per_step
        if self._steps == 1:
            report(Event("decoder.empty", self._name, 0, "it ended before its first frame", {"ended": True}))
        return 0

    def _attended(self, weights: Array) -> list[Finding]:
        """Follow the attention of one step's frames."""
        per_step = self._block.frames_per_step
        rows = weights[None] if weights.ndim == 1 else weights.T
        rows = np.repeat(rows, per_step // len(rows), axis=0)
        positions, found = self._watch.follow(rows)
        values = {"positions": positions, "weights": rows}
        report(Event(ALIGNMENT, self._name, (self._steps - 1) * per_step, values=values))
        return found

    @property
    def _name(self) -> str:
        return self._block.net.spec.name


def _frame_ports(spec: NetSpec, site: Site) -> tuple[Ports, int]:
    """Return the ports of a net's frames, and how many frames it gives in a step."""
    gives: dict[str, Port] = {}
    sizes: dict[str, Axis] = {}
    for name, port in spec.gives.items():
        if name in (STOP, ALIGNED):
            continue
        sizes[name] = port.axes[0] if len(port.axes) == 2 else 1
        mel = site.mel if name == "mel" else None
        axes = ("frames", *port.axes[-1:])
        gives[name] = replace(port, axes=axes, rate=site.frame_rate, mel=mel, sequential=True)
        if len(port.axes) not in (1, 2):
            raise WiringError(f"net '{spec.name}' gives {port}, want [bands] or [r, bands]", where=site.path)
    if not gives:
        raise WiringError(f"net '{spec.name}' gives no frames, only {sorted(spec.gives)}", where=site.path)
    per_step = next(iter(sizes.values()))
    if not isinstance(per_step, int) or {*sizes.values()} != {per_step}:
        raise WiringError(
            f"net '{spec.name}' gives {sizes} frames a step, want the same fixed number of each",
            where=site.path,
        )
    return gives, per_step


def _check_alignment(spec: NetSpec, per_step: int, path: str) -> None:
    """Refuse an alignment that is not one of each step, or of each frame or so many frames of it."""
    assert spec.ragged is not None
    port = spec.gives.get(ALIGNED)
    if port is None:
        return
    rows = port.axes[1] if len(port.axes) == 2 else 1
    fits = len(port.axes) in (1, 2) and port.axes[0] == spec.ragged.axis
    if not fits or not isinstance(rows, int) or per_step % rows:
        raise WiringError(
            f"net '{spec.name}' gives {port}, want [{spec.ragged.axis}] or [{spec.ragged.axis}, {per_step}]",
            where=path,
        )


def _check_options(options: AutoregressiveDecoder.Options, path: str) -> None:
    if options.stop_threshold <= 0:
        raise ConfigError(f"got {options.stop_threshold:g}, want more than 0", where=f"{path}.stop_threshold")
    least, most = options.least_frames_per_symbol, options.most_frames_per_symbol
    if least < 0:
        raise ConfigError(f"got {least:g}, want 0 or more", where=f"{path}.least_frames_per_symbol")
    if most <= least:
        raise ConfigError(
            f"got {most:g}, want more than least_frames_per_symbol, which is {least:g}",
            where=f"{path}.most_frames_per_symbol",
        )
    options.attention.check(path=f"{path}.attention")
