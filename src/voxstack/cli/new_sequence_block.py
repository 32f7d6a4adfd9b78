"""Hold what a new block that takes and gives tensors of a whole utterance begins as."""

__all__ = ["CODE", "ENTRY", "HEARD", "TEST"]

HEARD = """
It changes what the encoders give, so it is heard only where it stands behind them, in the stack of an
   addon: make a copy of one that you have.
"""

ENTRY = """
{"type": "StreamablePipeline",
    "sequence_block": {"type": "SequenceBlockContainer",
                       "blocks": [{"type": "Encoders"}, {"type": "$Name", "factor": 1.5}]},
    "streamable_block": {"type": "StreamableStack",
                         "stack": [{"type": "Upsampler", "durations": "stretched"}, {"type": "Decoder"}]}}
"""

CODE = '''
"""Stretch every phoneme by a factor."""

from dataclasses import dataclass

import numpy as np
from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Site


@dataclass(frozen=True)
class $Name:
    """Stretch every phoneme by a factor; it stands behind the encoders.

    In:       durations  int64 or float32 [phonemes], frames
    Out:      stretched  the same, times factor; int64 is rounded
    Raises:   ConfigError if factor is out of range, WiringError if nothing gives durations
    """

    @dataclass(frozen=True)
    class Options:
        """`factor` is what each duration is multiplied by."""

        factor: float = 1.0

    factor: float
    takes: Ports  # tensors that it needs
    gives: Ports  # tensors that it adds

    @classmethod
    def wire(cls, options: Options, site: Site) -> "$Name":
        if not 0 < options.factor <= 10:
            raise ConfigError(
                f"got {options.factor}, want more than 0, at most 10", where=f"{site.path}.factor"
            )
        durations = site.tensors.get("durations")
        if durations is None:
            raise WiringError("nothing gives 'durations'; put it behind the encoders", where=site.path)
        stretched = durations.renamed("stretched")
        return cls(options.factor, takes={"durations": durations}, gives={"stretched": stretched})

    def run(self, tensors: Tensors) -> Tensors:
        durations = tensors["durations"]
        stretched = durations * self.factor
        if durations.dtype.kind == "i":
            stretched = np.rint(stretched)
        return {"stretched": stretched.astype(durations.dtype)}
'''

TEST = '''
"""$Name stretches durations, in a pipeline that keeps the law."""

import numpy as np
import pytest
from voxstack.core.errors import ConfigError, WiringError
from voxstack.core.ports import Port
from voxstack.core.registry import Registry
from voxstack.stack.standard import STANDARD
from voxstack.stack.wire import wire_stack
from voxstack.testing import check_streamable

REGISTRY = Registry({**STANDARD, "$Name.v1": "$module:$Name"})
HIDDEN = Port("hidden", "float32", ("phonemes",))


def wired(dtype="int64", **options):
    pipeline = {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "$Name", **options},
        "streamable_block": {"type": "Upsampler", "tensors": ["hidden"], "durations": "stretched"},
    }
    given = {"hidden": HIDDEN, "durations": Port("durations", dtype, ("phonemes",))}
    return wire_stack([pipeline], nets={}, tensors=given, registry=REGISTRY)


@pytest.mark.parametrize("dtype", ["int64", "float32"])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_each_phoneme_lasts_longer_by_the_factor(dtype, size):
    hidden = np.array([1, 2, 3], np.float32)[:size]
    tensors = {"hidden": hidden, "durations": np.array([4, 0, 2], dtype)[:size]}
    expected = {"hidden": np.repeat(hidden, [6, 0, 3][:size])}
    check_streamable(wired(dtype, factor=1.5), tensors=tensors, expected=expected)


def test_without_options_it_changes_nothing():
    tensors = {"hidden": np.array([1, 2], np.float32), "durations": np.array([1, 3])}
    check_streamable(wired(), tensors=tensors, expected={"hidden": np.array([1, 2, 2, 2], np.float32)})


@pytest.mark.parametrize("factor", [0.0, -1.0, 11.0])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(ConfigError) as caught:
        wired(factor=factor)
    assert str(caught.value) == (
        f"$$.stack[0].sequence_block.factor: got {factor}, want more than 0, at most 10"
    )


def test_without_durations_it_is_refused():
    pipeline = {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "$Name"},
        "streamable_block": {"type": "Upsampler"},
    }
    with pytest.raises(WiringError) as caught:
        wire_stack([pipeline], nets={}, tensors={"hidden": HIDDEN}, registry=REGISTRY)
    assert str(caught.value) == (
        "$$.stack[0].sequence_block: nothing gives 'durations'; put it behind the encoders"
    )
'''
