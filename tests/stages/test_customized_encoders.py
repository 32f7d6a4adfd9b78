"""CustomizedEncoders: what Encoders gives, to the bit, of nets that run at the same time."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import WiringError
from voxstack.core.ports import Port
from voxstack.core.together import running_by
from voxstack.engine.threads import at_once
from voxstack.engine.watching import Watcher
from voxstack.stack.addon import seal
from voxstack.stack.describe import rows
from voxstack.stack.wire import wire_stack
from voxstack.stages.encoders.customized import CustomizedEncoders

pytestmark = pytest.mark.unit

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
IDS = ("int64", ["batch", "phonemes"])
ROW = ("float32", ["batch", "phonemes"])
WAIT_S = 60


def in_place(stack, name="CustomizedEncoders"):
    """Return a stack in which one word has changed."""
    text = json.dumps(stack)
    assert text.count('"Encoders"') == 1
    return json.loads(text.replace('"Encoders"', f'"{name}"'))


def wired(nets):
    """Return CustomizedEncoders of these nets."""
    pipeline = {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "CustomizedEncoders"},
        "streamable_block": {"type": "Upsampler"},
    }
    request = {"ids": Port("ids", "int64", ("phonemes",))}
    named = {net.spec.name: net for net in nets}
    return wire_stack([pipeline], nets=named, tensors=request).blocks[0].sequence_block


@pytest.fixture
def encoders(wire_addon, tone):
    """Return the SequenceBlock of a toy addon under either name."""

    def make(kind, name):
        stack = json.loads((tone(kind) / "addon.json").read_text())["stack"]
        stack = stack if name == "Encoders" else in_place(stack, name)
        return wire_addon(tone(kind), stack).blocks[0].sequence_block

    return make


@pytest.fixture
def voices(tmp_path):
    """Return the toy voice as it is, and with the one word changed."""
    shutil.copytree(ADDONS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tone" / "addon.json"
    addon = json.loads(path.read_text())
    path.write_text(json.dumps({**addon, "stack": in_place(addon["stack"])}))
    seal(tmp_path / "tone")
    return ADDONS, tmp_path


@pytest.mark.parametrize("kind", ["one", "two", "chain"])
def test_it_takes_and_gives_what_encoders_does(encoders, kind):
    usual, custom = encoders(kind, "Encoders"), encoders(kind, "CustomizedEncoders")
    assert isinstance(custom, CustomizedEncoders)
    assert list(custom.takes.items()) == list(usual.takes.items())
    assert list(custom.gives.items()) == list(usual.gives.items())
    assert [block.net.spec.name for block in custom.blocks] == [block.net.spec.name for block in usual.blocks]


@pytest.mark.parametrize("kind", ["one", "two", "chain"])
@pytest.mark.parametrize("ids", [[3], [], [0, 1, 5, 12, 0, 2]])
def test_it_gives_the_same_bits_in_threads_and_without(encoders, request_tensors, kind, ids):
    tensors = request_tensors(ids)
    usual, custom = encoders(kind, "Encoders").run(tensors), encoders(kind, "CustomizedEncoders")
    with running_by(at_once):
        threaded = custom.run(tensors)
    for result in (threaded, custom.run(tensors)):
        assert list(result) == list(usual)
        assert all(result[name].tobytes() == usual[name].tobytes() for name in usual)
        assert all(result[name].dtype == usual[name].dtype for name in usual)


def test_nets_that_do_not_wait_for_each_other_run_at_the_same_time(numpy_net):
    both = threading.Barrier(2, timeout=WAIT_S)  # nobody passes before both are there

    def meeting(name):
        def run(ids):
            both.wait()
            return {name: ids if name == "durations" else ids.astype(np.float32)}

        return run

    def net(name, takes, gives, function):
        return numpy_net(function, takes, {name: gives}, name=name, role="encoder")

    nets = [
        net(
            "sum",
            {"x": ROW, "durations": IDS},
            ROW,
            lambda x, durations: {"sum": x + np.float32(1) * durations},
        ),
        net("x", {"ids": IDS}, ROW, meeting("x")),
        net("durations", {"ids": IDS}, IDS, meeting("durations")),
    ]
    block = wired(nets)
    with running_by(at_once):
        result = block.run({"ids": np.array([1, 2])})
    np.testing.assert_array_equal(result["sum"], np.array([2, 4], np.float32))


def test_a_voice_is_a_one_word_change_and_sounds_the_same_to_the_bit(voices):
    usual, custom = (voxstack.load("tone", folders=[folder]) for folder in voices)
    text = "Abc def ghi. Jkl abc."
    assert custom.say(text, seed=3).samples.tobytes() == usual.say(text, seed=3).samples.tobytes()
    streamed = np.concatenate([chunk.samples for chunk in custom.stream(text, seed=3)])
    assert streamed.tobytes() == usual.say(text, seed=3).samples.tobytes()


def test_a_voice_runs_its_encoders_in_threads_of_their_own(voices, monkeypatch):
    custom = voxstack.load("tone", folders=[voices[1]])
    seen, both = {}, threading.Barrier(2, timeout=WAIT_S)

    class Met:
        def __init__(self, net):
            self.net = net

        def __getattr__(self, name):
            return getattr(self.net, name)

        def run(self, tensors):
            seen[self.spec.name] = threading.current_thread()
            both.wait()
            return self.net.run(tensors)

    for block in custom.loaded.block.blocks[0].blocks[0].sequence_block.blocks:
        monkeypatch.setitem(block.__dict__, "net", Met(block.net))
    custom.say("Abc.")
    assert set(seen) == {"text", "durations"}
    assert len({*seen.values(), threading.current_thread()}) == 3


def test_its_nets_are_shown_where_a_stack_is_described(voices):
    usual, custom = (voxstack.load("tone", folders=[folder]).loaded for folder in voices)
    assert [row.nets for row in rows(custom.wired)] == [row.nets for row in rows(usual.wired)]


def test_a_watcher_sees_each_net_inside_the_run_of_the_block(voices):
    watcher = Watcher()
    voice = voxstack.load("tone", folders=[voices[1]], watch=watcher)
    with watcher.recording() as seen:
        for _ in seen.chunks(voice.chunks("Abc def. Ghi.")):
            pass
    spans = [span for span in seen.spans if span.lane in ("text", "durations")]
    assert len(spans) == 4
    for span in spans:
        around = seen.spans[span.parent]
        assert (around.lane, around.what) == ("$.stack[0].sequence_block", "run")
        assert around.start_ns <= span.start_ns <= span.end_ns <= around.end_ns


def test_encoders_in_a_ring_are_refused_as_by_encoders(numpy_net):
    one = numpy_net(None, {"b": ROW}, {"a": ROW}, name="one", role="encoder")
    two = numpy_net(None, {"a": ROW}, {"b": ROW}, name="two", role="encoder")
    with pytest.raises(WiringError) as caught:
        wired([one, two])
    assert str(caught.value) == (
        "$.stack[0].sequence_block: encoders 'one', 'two' wait for each other's outputs; break the ring"
    )
