"""Every profile makes the same audio of every voice, at whatever sizes; filler of NaN never shows."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from voxstack.core import padding
from voxstack.core.closeness import snr_db
from voxstack.core.errors import RequestError
from voxstack.core.streams import EVERYTHING
from voxstack.engine.compiling import compile_addon
from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running
from voxstack.engine.voice import Voice
from voxstack.stack.deployment import Deployment, DeploymentConfig
from voxstack.stack.strict import validated
from voxstack.testing.parity import AUDIO_TOLERANCE, LEAST_SNR_DB

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "addons", ROOT / "examples" / "addons"]
VOICES = ["tone", "tone-attention", "joe", "baker-fastspeech2", "baker-tacotron2"]
ENGLISH = (
    "When the first light of the morning came slowly over the quiet hills and touched the roofs of the "
    "little village where my grandmother had lived for almost eighty years the people began to open their "
    "windows and talk about the long winter that was over"
)
MANDARIN = "今天的天气非常好我们一起去公园散步吧请问最近的地铁站怎么走他在图书馆里安静地看了一个下午的书"
LETTERS = "abc def ghi jkl bad cab feed a bee dig a hole"

STAND_IN = {"runtime": "neuron", "options": {"backend": "stand-in"}}
LOOP = {"nets": {"encoder": {"runtime": "onnxruntime"}, "step": {"runtime": "onnxruntime"}}}
"""A loop that feeds on what it gave makes much of another engine's rounding; its importer says so, too."""

DEPLOYMENT = Deployment(
    validated(
        DeploymentConfig,
        {
            "profiles": {
                "stand-in": {"nets": {"*": {**STAND_IN, "shapes": "buckets"}}},
                "one-size": {"nets": {"*": {**STAND_IN, "shapes": "fixed"}}},
                "all-stand-in": {"nets": {"*": {**STAND_IN, "shapes": "fixed"}}},
                "static": {"nets": {"*": {"runtime": "openvino", "shapes": "fixed"}}},
            },
            "addons": {
                "baker-tacotron2": {"profiles": {"stand-in": LOOP, "one-size": LOOP, "static": LOOP}},
            },
        },
    )
)
PROFILES = ["fixed", "buckets", "openvino", "static", "torch", "stand-in", "one-size"]
NEEDS = {
    "openvino": "openvino",
    "static": "openvino",
    "torch": "torch",
    "stand-in": "torch",
    "one-size": "torch",
}


class Sizes:
    """A Watch that counts the sizes that reach each net along its ragged axis."""

    def __init__(self):
        self.seen = defaultdict(set)

    def net(self, name, net):
        return Counted(net, self.seen[name])

    def block(self, path, name, block):
        return block


class Counted:
    """A net that notes the sizes that it is given."""

    def __init__(self, net, seen):
        self.net, self.seen = net, seen

    def __getattr__(self, name):
        return getattr(self.net, name)

    def run(self, tensors):
        self._note(tensors)
        return self.net.run(tensors)

    def begin(self, tensors):
        self._note(tensors)
        return self.net.begin(tensors)

    def _note(self, tensors):
        spec = self.net.spec
        if spec.ragged is not None:
            axis = spec.ragged.axis
            ports = (spec.port(name) for name in spec.inputs if name in tensors)
            sizes = {tensors[port.name].shape[port.axes.index(axis)] for port in ports if axis in port.axes}
            assert len(sizes) == 1
            self.seen |= sizes


def texts(voice) -> dict[int, str]:
    """Return texts of so many words, or characters where a script has no words."""
    if "zh" in "".join(voice.loaded.addon.config.languages):
        return {
            n: "。".join((MANDARIN * 5)[:n][k : k + 40] for k in range(0, n, 40)) + "。"
            for n in (1, 5, 20, 45, 200)
        }
    words = (ENGLISH if voice.name == "joe" else LETTERS).split() * 50
    return {
        n: ". ".join(" ".join(words[k : min(k + 45, n)]) for k in range(0, n, 45)) + "."
        for n in (1, 5, 20, 45, 200)
    }


@pytest.fixture(scope="module")
def reference():
    known = {}

    def load(name):
        if name not in known:
            try:
                addon = find_addon(name, FOLDERS)
            except RequestError:
                pytest.skip(f"no addon '{name}' is imported here: make mandarin")
            known[name] = load_stack(addon, running=Running(threads=1), folders=FOLDERS)
        return known[name]

    return load


@pytest.fixture(
    params=[(voice, profile) for voice in VOICES for profile in PROFILES], ids="-".join, scope="module"
)
def pair(request, reference, tmp_path_factory):
    """Return a voice under the reference profile, the same under another, and the sizes it was seen with."""
    name, profile = request.param
    if profile in NEEDS:
        pytest.importorskip(NEEDS[profile])
    plain, other, sizes = loaded(reference, name, profile, tmp_path_factory)
    return Voice(plain, limits=other.limits), Voice(other), sizes


def loaded(reference, name, profile, tmp_path_factory):
    plain = reference(name)
    running = Running(profile, DEPLOYMENT, threads=1)
    if profile.endswith(("stand-in", "one-size")):
        out = tmp_path_factory.mktemp("artefacts")
        compile_addon(name, out, running, folders=FOLDERS)
        running = Running(profile, DEPLOYMENT, out, threads=1)
    sizes = Sizes()
    return plain, load_stack(plain.addon, running=running, folders=FOLDERS, watch=sizes), sizes


@pytest.fixture(scope="module")
def said():
    """Keep what the reference said of ids: it says the same for each of the other profiles."""
    return {}


@pytest.fixture(autouse=True)
def _nan_fills_up(monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)


def check_same(wanted, got, what):
    assert len(wanted) == len(got), what
    assert np.abs(wanted - got).max(initial=0) <= AUDIO_TOLERANCE, what
    assert snr_db(wanted, got) >= LEAST_SNR_DB, what


def test_texts_of_all_lengths_sound_the_same(pair):
    plain, other, _ = pair
    for words, text in texts(plain).items():
        check_same(plain.say(text).samples, other.say(text).samples, f"{words} words")


def test_ids_of_many_lengths_sound_the_same(pair, said):
    plain, other, _ = pair
    count = 20 if other.loaded.profile in ("static", "one-size") else 100
    random = np.random.default_rng(0)
    known = ids_of(plain)
    for number in range(count):
        length = int(random.integers(1, 30 if has_steps(plain) else 120))
        ids = np.resize(known, length)
        key = (plain.name, tuple(ids))
        if key not in said:
            said[key] = spoken(plain, ids)
        check_same(said[key], spoken(other, ids), f"{length} ids, number {number}")


@pytest.mark.parametrize(
    ("name", "text"), [("tone-attention", "bad cab"), ("baker-tacotron2", "今天天气很好。")]
)
def test_a_net_with_state_runs_at_a_fixed_size_on_the_stand_in_too(reference, tmp_path_factory, name, text):
    """In a longer text its rounding grows from step to step: 6e-3 of full scale after twenty syllables."""
    pytest.importorskip("torch")
    plain, other, sizes = loaded(reference, name, "all-stand-in", tmp_path_factory)
    check_same(Voice(plain).say(text).samples, Voice(other).say(text).samples, text)
    assert "stand-in" in other.nets["step"].runtime
    assert len(sizes.seen["step"]) == 1


def test_no_size_reaches_a_net_but_those_it_was_compiled_for(pair):
    _, other, sizes = pair
    other.say(texts(other)[5])
    for name, net in other.loaded.nets.items():
        declared = set(net.shapes.steps.buckets)
        if declared:
            assert sizes.seen[name] <= declared, name
            assert sizes.seen[name], name
        if other.loaded.profile in ("fixed", "static", "one-size"):
            assert len(sizes.seen[name]) == len(declared) == 1, name


@pytest.mark.parametrize("name", ["tone", "joe"])
def test_the_sizes_that_reach_a_net_are_its_buckets(reference, name):
    """Utterances as long as each bucket, read in chunks that grow."""
    sizes = Sizes()
    running = Running("buckets", threads=1)
    voice = Voice(load_stack(reference(name).addon, running=running, folders=FOLDERS, watch=sizes))
    buckets = {name: net.shapes.steps.buckets for name, net in voice.loaded.nets.items()}
    known = ids_of(voice)
    for length in sorted({size for own in buckets.values() for size in own}):
        for _ in chunks(voice, np.resize(known, length), first=600, growth=1.25):
            pass
    assert {name: sorted(seen) for name, seen in sizes.seen.items()} == {
        name: list(own) for name, own in buckets.items()
    }


def has_steps(voice):
    return any(net.spec.state for net in voice.loaded.nets.values())


def ids_of(voice):
    """Return the ids of a text that a voice speaks well."""
    first = voice.utterances(texts(voice)[45]).next(wait=True)
    assert first is not None
    return first.ids


def spoken(voice, ids):
    return np.concatenate(list(chunks(voice, ids)))


def chunks(voice, ids, *, first=EVERYTHING, growth=1):
    """Yield the samples of ids in chunks, each larger than the one before by a factor."""
    tensors = {**voice.tensors({}), "ids": ids, "utterance": np.array(0)}
    stream, wanted = voice.loaded.block.open(tensors, None), first
    try:
        while True:
            samples = stream.read(wanted)["samples"]
            yield samples
            if len(samples) < wanted:
                return
            wanted = int(wanted * growth)
    finally:
        stream.close()
