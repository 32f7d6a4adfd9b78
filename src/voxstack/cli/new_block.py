"""Hold what a package with one new block begins as: its files, by kind of block."""

import re
from string import Template
from typing import Literal

__all__ = ["KINDS", "Kind", "package_name", "skeleton"]

Kind = Literal["streamable", "sequence"]

KINDS = ("streamable", "sequence")


def package_name(block: str) -> str:
    """Return the name of the package that holds a block.

    Example:
        >>> package_name("FadeIn"), package_name("LPCFilter2")
        ('voxstack-fade-in', 'voxstack-lpc-filter2')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", block)
    return f"voxstack-{words.lower()}"


def skeleton(block: str, kind: Kind) -> dict[str, str]:
    """Return the texts of a package's files, by name."""
    package = package_name(block)
    module = package.replace("-", "_")
    code, test, entry, heard = {
        "streamable": (STREAMABLE, STREAMABLE_TEST, STREAMABLE_ENTRY, STREAMABLE_HEARD),
        "sequence": (SEQUENCE, SEQUENCE_TEST, SEQUENCE_ENTRY, SEQUENCE_HEARD),
    }[kind]
    names = {"Name": block, "module": module, "package": package}
    names["entry"] = Template(entry).substitute(names).strip()
    names["heard"] = Template(heard).substitute(names).strip()
    files = {
        "README.md": README,
        "pyproject.toml": PROJECT,
        f"test_{module}.py": test,
        f"{module}.py": code,
    }
    return {name: Template(text).substitute(names).lstrip("\n") for name, text in files.items()}


PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$package"
version = "1.0.0"
description = "The block $Name for voxstack"
requires-python = ">=3.11"
dependencies = ["numpy", "voxstack"]

[project.entry-points."voxstack.blocks"]
$Name = "$module:$Name"

[tool.setuptools]
py-modules = ["$module"]

[tool.pytest.ini_options]
pythonpath = ["."]

[tool.ruff]
line-length = 110
"""

README = """
# $package

The block `$Name` for voxstack. Four steps from here:

1. Install it into the environment that has voxstack, and run its test:

   ```sh
   pip install --no-deps -e .
   python -m pytest
   ```

2. Make it yours: options, ports and arithmetic stand in `$module.py`, what they must do in
   `test_$module.py`. Change the test with the block.

3. $heard

4. Put it into the `stack` of an addon, and hold the addon to its contract with `voxstack check`:

   ```json
   $entry
   ```
"""

STREAMABLE_HEARD = """
Hear it behind any voice, without an addon of your own:

   ```sh
   voxstack say "Hello there." --voice VOICE --out hello.wav --effects '[{"type": "$Name", "gain": 0.5}]'
   ```
"""

SEQUENCE_HEARD = """
It changes what the encoders give, so it is heard only where it stands behind them, in the stack of an
   addon: make a copy of one that you have.
"""

STREAMABLE_ENTRY = '{"type": "$Name", "gain": 0.5}'

STREAMABLE = '''
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

STREAMABLE_TEST = '''
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

SEQUENCE_ENTRY = """
{"type": "StreamablePipeline",
    "sequence_block": {"type": "SequenceBlockContainer",
                       "blocks": [{"type": "Encoders"}, {"type": "$Name", "factor": 1.5}]},
    "streamable_block": {"type": "StreamableStack",
                         "stack": [{"type": "Upsampler", "durations": "stretched"}, {"type": "Decoder"}]}}
"""

SEQUENCE = '''
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

SEQUENCE_TEST = '''
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
