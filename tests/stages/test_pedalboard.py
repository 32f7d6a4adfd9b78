"""Pedalboard: effects of a library that is there only if asked for, the same in blocks as at once."""

import importlib.util
import sys
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.errors import ConfigError, NetError, WiringError
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.stages.audio.pedalboard_plugins import OTHERS, PLUGINS
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Pedalboard.v1",)

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("pedalboard") is None, reason="pedalboard (GPL-3.0) is not installed"
)

RATE = 24000


def above(rate=RATE):
    return {"samples": Port("samples", "float32", ("samples",), Fraction(rate))}


def wire(*plugins, source=None, **options):
    entry = {"type": "Pedalboard", "plugins": list(plugins), **options}
    return wire_stack([entry], nets={}, tensors={}, source=source or above()).blocks[0]


def fault(*plugins, error=ConfigError, **options) -> str:
    with pytest.raises(error) as caught:
        wire(*plugins, **options)
    return str(caught.value)


def through(block, samples):
    return block.open({}, ArrayStream.over({"samples": samples})).read(EVERYTHING)["samples"]


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32)


REVERB = {"plugin": "Reverb", "room_size": 0.3}


@needs_library
def test_it_gives_as_many_samples_as_it_takes_and_the_tail():
    block = wire(REVERB, {"plugin": "BrickwallLimiter", "lookahead_ms": 5}, tail_ms=100)
    assert block.timing.tail == 2400
    assert block.timing.lookahead == 5 * 24 + 256
    assert through(block, noise(1000)).size == 1000 + 2400
    assert block.gives == above()


@needs_library
@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_every_plugin_keeps_the_law_to_the_bit(plugin):
    block = wire({"plugin": plugin}, tail_ms=20)
    for size in (0, 1, 256, 4000):
        check_streamable(block, tensors={}, source={"samples": noise(size)}, cuts=[[1], [64, 1, 2], [700, 3]])


@needs_library
@pytest.mark.parametrize("plugin", sorted(PLUGINS))
@pytest.mark.parametrize("tail_ms", [0, 50])
def test_every_plugin_is_what_it_is_on_the_whole(plugin, tail_ms):
    import pedalboard

    samples = noise(20_011)
    silence = np.zeros(round(tail_ms * RATE / 1000), np.float32)
    expected = pedalboard.Pedalboard([getattr(pedalboard, plugin)()]).process(
        np.concatenate([samples, silence]), RATE
    )
    np.testing.assert_allclose(
        through(wire({"plugin": plugin}, tail_ms=tail_ms), samples), expected, rtol=0, atol=1e-4
    )


@needs_library
def test_plugins_work_one_after_another():
    gain = {"plugin": "Gain", "gain_db": 20}
    clipping = {"plugin": "Clipping", "threshold_db": -20}
    samples = np.full(1000, 0.5, np.float32)
    np.testing.assert_allclose(through(wire(gain, clipping), samples), 0.1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(through(wire(clipping, gain), samples), 1.0, rtol=0, atol=1e-5)


@needs_library
def test_a_tail_lets_an_echo_be_heard():
    echo = {"plugin": "Delay", "delay_seconds": 0.1, "mix": 0.5}
    click = np.zeros(100, np.float32)
    click[0] = 1
    assert np.flatnonzero(through(wire(echo), click)).tolist() == [0]
    assert np.flatnonzero(through(wire(echo, tail_ms=150), click)).tolist() == [0, 2400]


@needs_library
def test_a_choice_is_made_by_name():
    samples = noise(4000)
    low = through(wire({"plugin": "LadderFilter", "mode": "LPF24", "cutoff_hz": 200}), samples)
    high = through(wire({"plugin": "LadderFilter", "mode": "HPF24", "cutoff_hz": 200}), samples)
    assert np.abs(np.diff(low)).max() < 0.2 * np.abs(np.diff(high)).max()


@needs_library
def test_an_unknown_plugin_is_refused():
    assert fault({"plugin": "Reverbs"}) == (
        "$.stack[0].plugins[0].plugin: no plugin 'Reverbs'; did you mean 'Reverb'?"
    )


@needs_library
@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_plugin_that_reads_files_or_breaks_the_law_is_refused(name):
    assert fault(REVERB, {"plugin": name}) == (
        f"$.stack[0].plugins[1].plugin: '{name}' cannot be used: {OTHERS[name]}"
    )


@needs_library
def test_what_may_be_named_is_all_that_the_library_has_but_what_is_refused_and_boxes():
    import pedalboard

    kinds = {
        name
        for name, kind in vars(pedalboard).items()
        if isinstance(kind, type) and issubclass(kind, pedalboard.Plugin) and not name.startswith("_")
    }
    boxes = {"Plugin", "PluginContainer", "Chain", "Mix", "Pedalboard", "IIRFilter"}
    assert kinds - boxes - {*OTHERS} == PLUGINS


@needs_library
@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"room_size": 1}, "[0].plugin: 'plugin' is missing; it names the plugin"),
        (
            {"plugin": "Reverb", "colour": 1},
            (
                "[0].colour: 'Reverb' has no parameter 'colour'; known: damping, dry_level, freeze_mode, "
                "room_size, wet_level, width"
            ),
        ),
        (
            {"plugin": "Reverb", "room_sise": 1},
            "[0].room_sise: 'Reverb' has no parameter 'room_sise'; did you mean 'room_size'?",
        ),
        ({"plugin": "Invert", "x": 1}, "[0].x: 'Invert' has no parameter 'x'; it has none"),
        ({"plugin": "Reverb", "room_size": "big"}, "[0].room_size: got 'big', want a number"),
        ({"plugin": "Gain", "gain_db": True}, "[0].gain_db: got True, want a number"),
        (
            {"plugin": "BrickwallLimiter", "true_peak": 1},
            "[0].true_peak: got 1, want true or false",
        ),
        (
            {"plugin": "LadderFilter", "mode": "LPF"},
            "[0].mode: got 'LPF', want one of LPF12, HPF12, BPF12, LPF24, HPF24, BPF24",
        ),
        (
            {"plugin": "Reverb", "room_size": 3},
            "[0]: 'Reverb' refuses this: Room Size value must be between 0.0 and 1.0.",
        ),
        (
            {"plugin": "LadderFilter", "cutoff_hz": 12000},
            "[0].cutoff_hz: got 12000 Hz, want more than 0 and less than 12000, half the sample rate",
        ),
        ({"plugin": "Gain", "gain_db": 7000}, "[0].gain_db: got 7000, want -60 to 60"),
        ({"plugin": "Phaser", "feedback": -7.5}, "[0].feedback: got -7.5, want -0.99 to 0.99"),
        (
            {"plugin": "Resample", "target_sample_rate": 1e-9},
            "[0].target_sample_rate: got 1e-09, want 1000 to 384000",
        ),
        (
            {"plugin": "Compressor", "ratio": 10**40},
            f"[0].ratio: got {str(10**40)[:40]}, want -1e+06 to 1e+06",
        ),
    ],
)
def test_a_wrong_entry_is_refused(entry, text):
    assert fault(entry) == f"$.stack[0].plugins{text}"


@needs_library
def test_no_plugins_are_refused():
    assert fault() == "$.stack[0].plugins: got an empty list, want at least one plugin"


class Choosy:
    def process(self, samples, rate, *, buffer_size, reset):
        raise ValueError(f"not at {rate:g} Hz.")


@needs_library
def test_what_a_plugin_says_only_about_samples_is_said_when_wired(monkeypatch):
    monkeypatch.setattr("voxstack.stages.audio.pedalboard.chain", lambda plugins: Choosy())
    assert fault(REVERB) == "$.stack[0].plugins: refused by pedalboard: not at 24000 Hz."


@needs_library
def test_a_plugin_that_keeps_samples_for_itself_is_named_when_it_is_over(monkeypatch):
    block = wire({"plugin": "Gain"})
    monkeypatch.setattr("voxstack.stages.audio.pedalboard.chain", lambda plugins: Greedy())
    with pytest.raises(NetError) as caught:
        through(block, noise(300))
    assert str(caught.value) == (
        "pedalboard: gave 300 samples less than it took; leave out plugins one by one"
    )


class Greedy:
    def process(self, samples, rate, *, buffer_size, reset):
        return samples[:0]


def test_without_the_library_the_block_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pedalboard", None)
    assert fault(REVERB) == (
        "$.stack[0]: needs the package pedalboard (GPL-3.0); "
        "install it with: pip install 'voxstack[pedalboard]'"
    )


@pytest.mark.parametrize("tail_ms", [-1.0, 30_001.0])
def test_a_tail_out_of_range_is_refused(tail_ms):
    assert fault(REVERB, tail_ms=tail_ms) == f"$.stack[0].tail_ms: got {tail_ms} ms, want 0 to 30000"


def test_samples_without_a_rate_are_refused():
    source = {"samples": Port("samples", "float32", ("samples",))}
    assert fault(REVERB, error=WiringError, source=source) == (
        "$.stack[0]: the stream above does not say how many samples per second it gives"
    )
