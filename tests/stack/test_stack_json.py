"""The stack attribute, byte for byte, makes mels with any number of encoders; a custom block is one word."""

import importlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import make_tone
from voxstack.core.registry import GROUP, Registry
from voxstack.core.streams import EVERYTHING
from voxstack.stack.addon import load_addon
from voxstack.stack.standard import STANDARD
from voxstack.stack.wire import Wired
from voxstack.testing import check_streamable

pytestmark = pytest.mark.end_to_end

DESIGN = """
[
  {"type": "StreamablePipeline",
   "sequence_block": {"type": "Encoders"},
   "streamable_block":
     {"type": "StreamableStack",
      "stack": [{"type": "Upsampler"}, {"type": "Decoder"}]}}
]
"""
IDS = [0, 1, 5, 12, 0, 2, 2, 11, 0]
EXAMPLES = Path(make_tone.__file__).parent.parent / "examples" / "addons"
PACKAGE = Path(__file__).parent.parent / "packages" / "voxstack-slow-encoders"


def mels(ids: list[int], *, stretch: int = 1) -> np.ndarray:
    """The tone by hand: letter n is band n at 0.5 for so many frames, then smoothed over five."""
    lasts = {letter + 1: 6 + letter % 3 for letter in range(12)}
    rows = []
    for number in ids:
        row = np.zeros(12)
        if number:
            row[number - 1] = 0.5
        rows += [row] * (stretch * (lasts[number] if number else 3))
    padded = np.pad(np.array(rows), [(2, 2), (0, 0)])
    return sum(weight * padded[shift : shift + len(rows)] for shift, weight in enumerate([1, 2, 3, 2, 1])) / 9


def frames(block, tensors) -> np.ndarray:
    stream = block.open(tensors, None)
    try:
        return stream.read(EVERYTHING)["mel"]
    finally:
        stream.close()


@pytest.mark.parametrize("encoders", ["one", "two", "chain"])
def test_the_json_of_the_design_gives_the_known_tones(wire_addon, tone, request_tensors, encoders):
    block = wire_addon(tone(encoders), json.loads(DESIGN))
    np.testing.assert_allclose(frames(block, request_tensors(IDS)), mels(IDS), atol=1e-6)


def test_the_json_of_the_design_is_the_tone_addon_s_own():
    assert json.loads(DESIGN) == make_tone.STACK


@pytest.mark.parametrize("encoders", ["one", "two", "chain"])
def test_the_voice_keeps_the_law(wire_addon, tone, request_tensors, encoders):
    block = wire_addon(tone(encoders), json.loads(DESIGN))
    check_streamable(block, tensors=request_tensors(IDS), expected={"mel": mels(IDS)}, tolerance=1e-6)


def test_speed_stretches_the_tones(wire_addon, tone, request_tensors):
    block = wire_addon(tone("two"), json.loads(DESIGN))
    np.testing.assert_allclose(
        frames(block, request_tensors(IDS, speed=0.5)), mels(IDS, stretch=2), atol=1e-6
    )


def test_what_was_wired_is_seen_from_the_inside_out(wire_addon, tone):
    seen: list[Wired] = []
    wire_addon(tone("two"), json.loads(DESIGN), seen=seen)
    assert [(wired.path, wired.type) for wired in seen] == [
        ("$.stack[0].sequence_block", "Encoders"),
        ("$.stack[0].streamable_block.stack[0]", "Upsampler"),
        ("$.stack[0].streamable_block.stack[1]", "Decoder"),
        ("$.stack[0].streamable_block", "StreamableStack"),
        ("$.stack[0]", "StreamablePipeline"),
        ("$.stack", "StreamableStack"),
    ]


@pytest.mark.parametrize(("name", "kind"), [("tone", "two"), ("tone-vocoder", "vocoder")])
def test_the_shipped_addon_is_what_its_script_makes(tone, name, kind):
    shipped, made = load_addon(EXAMPLES / name), load_addon(tone(kind))
    shipped.verify()
    assert shipped.config.nets == made.config.nets
    assert shipped.config.stack == made.config.stack
    assert made.config.files.items() <= shipped.config.files.items()


def one_word_changed() -> list:
    assert DESIGN.count("Encoders") == 1
    return json.loads(DESIGN.replace("Encoders", "SlowEncoders"))


def test_a_block_of_an_installed_package_is_a_one_word_change(
    wire_addon, tone, request_tensors, tmp_path, monkeypatch
):
    # What pip leaves behind, made by hand: the package's code on the path, its entry points beside it.
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "voxstack_slow_encoders-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"{name} = {target}" for name, target in project["entry-points"][GROUP].items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    block = wire_addon(tone("two"), one_word_changed(), registry=Registry(STANDARD))
    np.testing.assert_allclose(frames(block, request_tensors(IDS)), mels(IDS, stretch=2), atol=1e-6)
