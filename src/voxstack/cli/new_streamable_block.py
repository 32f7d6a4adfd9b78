"""Hold what a new block that makes data on demand begins as."""

__all__ = ["CODE", "ENTRY", "HEARD", "TEST"]

HEARD = """
Hear it behind any voice, without an addon of your own:

   ```sh
   voxstack say "Hello there." --voice VOICE --out hello.wav --effects '[{"type": "$Name", "gain": 0.5}]'
   ```
"""

ENTRY = '{"type": "$Name", "gain": 0.5}'

CODE = '''
"""Scale samples by a gain."""

from dataclasses import dataclass

import numpy as np
from voxstack.core.blocks import Stream, Timing
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port, Ports, Tensors
from voxstack.core.site import Site


@dataclass(frozen=True)
class $Name:
    """Scale samples by a gain.

    In:       samples  float32 [n]
    Out:      samples  float32 [n]
    Timing:   1 → 1, no context
    Raises:   ConfigError if gain is out of range
    """

    @dataclass(frozen=True)
    class Options:
        """`gain` is what each sample is multiplied by."""

        gain: float = 1.0

    gain: float
    takes: Ports  # tensors of the whole utterance that it needs
    consumes: Ports | None  # what it reads from the stream above
    gives: Ports  # what its own stream gives
    timing: Timing  # how steps that it gives follow from steps that it reads

    @classmethod
    def wire(cls, options: Options, site: Site) -> "$Name":
        if not 0 < options.gain <= 100:
            raise ConfigError(f"got {options.gain}, want more than 0, at most 100", where=f"{site.path}.gain")
        wanted = {"samples": Port("samples", "float32", ("samples",))}
        source = site.source or {}
        site.need(wanted, source, of="the stream above")
        return cls(
            gain=options.gain,
            takes={},
            consumes=wanted,
            gives={"samples": source["samples"]},
            timing=Timing(),
        )

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        assert source is not None
        return _Scaled(source, self.gain)


class _Scaled:
    """One utterance's stream; what changes while speaking is kept here, never in the block."""

    def __init__(self, source: Stream, gain: float) -> None:
        self._source = source
        self._gain = np.float32(gain)

    def read(self, steps: int) -> Tensors:
        return {"samples": self._source.read(steps)["samples"] * self._gain}

    def close(self) -> None:
        self._source.close()
'''

TEST = '''
"""$Name keeps the law, and scales."""

from fractions import Fraction

import numpy as np
import pytest
from voxstack.core.errors import ConfigError
from voxstack.core.ports import Port
from voxstack.core.registry import Registry
from voxstack.stack.standard import STANDARD
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

REGISTRY = Registry({**STANDARD, "$Name.v1": "$module:$Name"})
ABOVE = {"samples": Port("samples", "float32", ("samples",), rate=Fraction(16000))}
SAMPLES = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)


def wired(**options):
    entry = {"type": "$Name", **options}
    return wire_stack([entry], nets={}, tensors={}, source=ABOVE, registry=REGISTRY)


def test_it_gives_what_it_is_given():
    assert wired().gives == ABOVE


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_it_keeps_the_law_and_scales(size):
    samples = SAMPLES[:size]
    expected = {"samples": samples * np.float32(0.5)}
    check_streamable(wired(gain=0.5), tensors={}, source={"samples": samples}, expected=expected)


def test_without_options_it_changes_nothing():
    source = {"samples": SAMPLES}
    check_streamable(wired(), tensors={}, source=source, expected=source)


@pytest.mark.parametrize("gain", [0.0, -1.0, 101.0])
def test_a_gain_out_of_range_is_refused(gain):
    with pytest.raises(ConfigError) as caught:
        wired(gain=gain)
    assert str(caught.value) == f"$$.stack[0].gain: got {gain}, want more than 0, at most 100"
'''
