"""The stack of another addon stands in the place of one block, at any depth."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import make_tone
import voxstack
from voxstack.core.errors import ConfigError, RequestError, VoxstackError, WiringError
from voxstack.engine.compiling import compile_addon
from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running
from voxstack.stack.nested import nested_names
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Addon.v1",)
EXAMPLES = Path(__file__).parents[2] / "examples" / "addons"
IDS = np.arange(1, 13)
TEXT = "bad cab feed a hole"


@pytest.fixture
def addons(tmp_path: Path) -> Path:
    """Return a folder of toy addons that a test may change."""
    root = tmp_path / "addons"
    for name in ("tone", "tone-vocoder", "tone-nested"):
        shutil.copytree(EXAMPLES / name, root / name)
    return root


def changed(folder: Path, change) -> str:
    """Change an addon's JSON and return its name."""
    path = folder / "addon.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    change(said)
    path.write_text(json.dumps(said), encoding="utf-8")
    return folder.name


def a_copy(addons: Path, of: str, name: str, change=lambda said: None) -> str:
    shutil.copytree(addons / of, addons / name)
    return changed(addons / name, lambda said: (said.update(name=name), change(said)))


def fault(kind: type[VoxstackError], name: str, addons: Path) -> str:
    with pytest.raises(kind) as caught:
        voxstack.load(name, folders=[addons])
    return str(caught.value)


def test_a_nested_voice_says_what_it_says_alone(addons):
    alone = voxstack.load("tone", folders=[addons], effects=[{"type": "Limiter", "gain_db": -6}])
    nested = voxstack.load("tone-nested", folders=[addons])

    np.testing.assert_array_equal(nested.say(TEXT).samples, alone.say(TEXT).samples)
    np.testing.assert_array_equal(nested.say(TEXT, speed=1.5).samples, alone.say(TEXT, speed=1.5).samples)


def test_it_obeys_the_law(addons):
    loaded = load_stack(find_addon("tone-nested", [addons]), folders=[addons])
    tensors = {**voxstack.load("tone-nested", folders=[addons]).tensors({}), "ids": IDS}

    check_streamable(
        loaded.block, tensors={**tensors, "utterance": np.array(0)}, cuts=[[1], [7, 400], [1000]]
    )


def test_a_whole_stack_takes_the_place_of_one_decoder(addons):
    """Two levels deep: a voice whose decoder is another addon, which holds the stack of a third."""
    inner = [{"type": "Decoder"}]
    a_copy(addons, "tone", "only-decoder", lambda said: said.update(stack=inner, text=None, controls={}))

    def nests(said):
        said["stack"][0]["streamable_block"]["stack"][1] = {"type": "Addon", "name": "wrapped"}
        del said["nets"]["decoder"]

    a_copy(
        addons,
        "only-decoder",
        "wrapped",
        lambda said: said.update(stack=[{"type": "Addon", "name": "only-decoder"}], nets={}),
    )
    a_copy(addons, "tone", "outer", nests)

    said = voxstack.load("outer", folders=[addons]).say(TEXT).samples

    np.testing.assert_array_equal(said, voxstack.load("tone", folders=[addons]).say(TEXT).samples)


def test_a_control_that_only_the_inner_addon_has_is_as_it_has_it_by_default(addons):
    changed(addons / "tone", lambda said: said["controls"]["speed"].update(default=2.0))
    changed(addons / "tone-nested", lambda said: said.update(controls={}))

    nested = voxstack.load("tone-nested", folders=[addons])

    fast = voxstack.load("tone", folders=[addons]).say(TEXT, speed=2.0)
    assert len(nested.say(TEXT).samples) == len(fast.samples)
    with pytest.raises(RequestError, match=r"^controls: voice 'tone-nested' has no control 'speed'"):
        nested.say(TEXT, speed=1.0)


def test_a_profile_of_the_deployment_file_holds_for_nested_nets_too(addons):
    loaded = voxstack.load("tone-nested", "fixed", folders=[addons]).loaded

    assert {name: str(net.shapes.steps) for name, net in loaded.nets.items()} == {
        "tone/text": "640",
        "tone/durations": "640",
        "tone/decoder": "64",
        "tone-vocoder/vocoder": "64",
    }
    assert [addon.name for addon in loaded.nested] == ["tone", "tone-vocoder"]


def test_nets_of_nested_addons_are_compiled_ahead_of_time(addons, tmp_path):
    written = compile_addon("tone-nested", tmp_path / "out", Running("fixed"), folders=[addons])

    nets = {name: len(files) - 1 for name, files in written.items()}  # one is the manifest
    assert nets == {"tone-nested": 0, "tone": 3, "tone-vocoder": 1}
    voice = voxstack.load("tone-nested", "fixed", artefacts=tmp_path / "out", folders=[addons])
    assert len(voice.say(TEXT).samples)


def test_names_of_nested_addons_are_found_at_any_depth():
    stack = [
        {"type": "A", "x": {"stack": [{"type": "Addon", "name": "one"}]}},
        {"type": "Addon.v1", "name": "two"},
    ]
    assert list(nested_names([*stack, {"type": "Addon"}, {"type": "Adder", "name": "no"}])) == ["one", "two"]


def test_an_addon_that_is_not_there_is_named_with_its_place(addons):
    changed(addons / "tone-nested", lambda said: said["stack"][0].update(name="tona"))
    assert fault(RequestError, "tone-nested", addons) == (
        "tone-nested: $.stack[0].name: no addon 'tona', which 'tone-nested' wants; did you mean 'tone'?"
    )


def test_an_addon_that_stands_inside_itself_is_refused(addons):
    changed(addons / "tone", lambda said: said.update(stack=[{"type": "Addon", "name": "tone-nested"}]))
    assert fault(ConfigError, "tone-nested", addons) == (
        "tone-nested: $.stack[0].tone.stack[0].name: addon 'tone-nested' stands inside itself: "
        "tone-nested → tone → tone-nested; break the ring"
    )


def test_a_vocoder_needs_mels_of_its_kind_above_it(addons):
    changed(addons / "tone-nested", lambda said: said.update(stack=said["stack"][1:]))
    assert fault(WiringError, "tone-nested", addons) == (
        "tone-nested: $.stack[0]: wants 'mel' from the stream above, but there is none; "
        "put a block that gives it before this one"
    )


def test_mels_of_another_kind_are_refused(addons):
    make_tone.make_tone_vocoder(addons / "other", name="other", mel={**make_tone.MEL, "fmax": 1500})
    changed(addons / "tone-nested", lambda said: said["stack"][1].update(name="other"))
    assert "fmax: 1400" in fault(WiringError, "tone-nested", addons)


def test_ids_of_another_front_end_are_refused(addons):
    changed(addons / "tone-nested", lambda said: said["text"]["phoneme_ids"].update(a=[2], b=[1]))
    assert fault(WiringError, "tone-nested", addons) == (
        "tone-nested: $.stack[0]: 'tone' reads ids of another front end than 'tone-nested' makes "
        "(text differs in: phoneme_ids); copy 'text' from 'tone'"
    )


def test_a_control_may_not_ask_more_than_the_inner_addon_can(addons):
    changed(addons / "tone-nested", lambda said: said["controls"]["speed"].update(max=9))
    assert fault(WiringError, "tone-nested", addons) == (
        "tone-nested: $.stack[0]: control 'speed' is 0.5 to 9 in 'tone-nested' but 0.5 to 2 in 'tone'; "
        "state it as there"
    )


def test_a_fault_inside_a_nested_stack_says_where_it_is(addons):
    changed(addons / "tone", lambda said: said["stack"][0].update(type="StreamablePipelin"))
    assert fault(ConfigError, "tone-nested", addons) == (
        "tone-nested: $.stack[0].tone.stack[0].type: no block 'StreamablePipelin'; "
        "did you mean 'StreamablePipeline'?"
    )
