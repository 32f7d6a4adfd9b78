"""No number in a block's options breaks it: it is refused in one line, or what comes out is finite."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port
from voxstack.core.streams import ArrayStream
from voxstack.stack.wire import wire_stack
from voxstack.stages.audio.equaliser import Equaliser
from voxstack.stages.audio.fade import Fade
from voxstack.stages.audio.gain import Gain
from voxstack.stages.audio.limiter import Limiter
from voxstack.stages.audio.loudness import Loudness
from voxstack.stages.audio.pitch import Pitch
from voxstack.stages.audio.telephone_band import TelephoneBand
from voxstack.stages.audio.tempo import Tempo
from voxstack.stages.audio.trim_silence import TrimSilence

pytestmark = pytest.mark.unit

RATE = 16_000
SOURCE = {"samples": Port("samples", "float32", ("samples",), Fraction(RATE))}
NUMBERS = (-1e308, -7000.0, -800.0, -1.0, 0.0, 1e-300, 1e-6, 1.0, 800.0, 7000.0, 1e18, 1e308, 10**40)
BLOCKS = (Fade, Gain, Limiter, Loudness, Pitch, TelephoneBand, Tempo, TrimSilence)
NEEDED = {"Gain": {"gain_db": 0.0}, "Pitch": {"semitones": 0.0}, "Tempo": {"rate": 1.0}}
OPTIONS = [
    (block.__name__, field.name)
    for block in BLOCKS
    for field in dataclasses.fields(block.Options)
    if field.type in ("float", float, "int", int)
]


def check(entry):
    """Wire the entry and let it work, unless it is refused."""
    try:
        block = wire_stack([entry], nets={}, tensors={}, source=SOURCE)
    except ConfigError:
        return False
    assert block.timing.left >= 0
    noise = np.random.default_rng(3).normal(0, 0.3, 3000).astype(np.float32)
    stream = block.open({}, ArrayStream.over({"samples": noise}))
    read = [stream.read(1000)["samples"] for _ in range(6)]
    stream.close()
    assert all(np.isfinite(samples).all() for samples in read)
    return True


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_number_of_a_block_is_refused_or_works(name, option):
    works = [check({"type": name, **NEEDED.get(name, {}), option: number}) for number in NUMBERS]
    assert not works[0]
    assert not works[-1]


@pytest.mark.parametrize("key", ["frequency_hz", "gain_db", "q"])
def test_every_number_of_a_section_is_refused_or_works(key):
    section = {"kind": "peak", "frequency_hz": 1000, "gain_db": 3}
    works = [
        check({"type": Equaliser.__name__, "sections": [{**section, key: n}]}) for n in (*NUMBERS, 10**400)
    ]
    assert (works[0], works[-1]) == (False, False)


@pytest.mark.parametrize(("gain_db", "shown"), [(7000, "7000"), (800, "800"), (-61, "-61")])
def test_a_limiter_s_gain_has_the_bounds_of_a_gain(gain_db, shown):
    for name in ("Limiter", "Gain"):
        with pytest.raises(ConfigError) as caught:
            wire_stack([{"type": name, "gain_db": gain_db}], nets={}, tensors={}, source=SOURCE)
        assert str(caught.value) == f"$.stack[0].gain_db: got {shown} dB, want -60 to 60"
