"""A text that no net could take whole is said in parts: all of it, in order, without a seam."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import RequestError, TooLongError
from voxstack.core.events import Event, report
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.engine.fitting import Limits, limits_of
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.voice import Voice
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon
from voxstack.stack.containers import StreamableStack
from voxstack.stack.wire import wire_stack
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
RATE, HOP = 16_000, 160
TEXT = "Abcd efgh, ijkl aabb ccdd eeff gghh and iijj kkll abab cdcd."
PIECES = ["Abcd efgh,", "ijkl aabb", "ccdd eeff", "gghh and", "iijj kkll", "abab cdcd."]
FRAMES = pytest.param(
    {"decoder": Sizes(most=130)},
    id="frames",
)


@pytest.fixture(scope="module")
def voice():
    return voxstack.load("tone", folders=[ADDONS])


@pytest.fixture(scope="module")
def sized(voice):
    """Return the voice with its nets made for given sizes: sized(text=Sizes(…), decoder=Sizes(…))."""

    def load(name, sizes, changes):
        addon = load_addon(ADDONS / name)
        nets = {}
        for key, spec in addon.specs.items():
            ragged = replace(spec.ragged, **changes.get(key, {}))
            policy = ShapePolicy(sizes.get(key, Sizes()))
            nets[key] = open_net(
                OrtRuntime(threads=1), replace(spec, ragged=ragged), addon.read(spec.file), policy
            )
        return addon, nets

    def make(*, limits=Limits(), plan=ChunkPlan(), pad=None, **sizes):  # noqa: B008 - frozen
        whole = {"decoder": {"chunkable": False}} if "decoder" in sizes else {}
        addon, nets = load("tone", sizes, {"text": {"pad": pad}, "durations": {"pad": pad}, **whole})
        mels = wire_stack(
            addon.config.stack,
            nets=nets,
            tensors=addon.request,
            frame_rate=addon.frame_rate,
            mel=addon.mel,
        )
        below, vocoders = load("tone-vocoder", {}, {})
        audio = wire_stack(
            below.config.stack, nets=vocoders, tensors=addon.request, source=mels.gives, mel=below.mel
        )
        loaded = replace(voice.loaded, block=StreamableStack((mels, audio)), nets={**nets, **vocoders})
        return Voice(loaded, limits=limits, plan=plan)

    return make


def letters(samples):
    """Return the letters that are heard, one a run of frames with the same tone; space is not heard."""
    time = np.arange(HOP) / RATE
    tones = np.exp(-2j * np.pi * np.outer(300 + 100 * np.arange(12), time))
    frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    loudness = np.abs(frames @ tones.T) / HOP
    heard = [" abcdefghijkl"[1 + row.argmax() if row.max() > 0.15 else 0] for row in loudness]
    return "".join(char for place, char in enumerate(heard) if char != " " and char != ["", *heard][place])


def once(text):
    """Return the letters of a text that a listener can tell apart: of equal neighbours one."""
    known = [char for char in text.lower() if char in "abcdefghijkl "]
    return "".join(c for place, c in enumerate(known) if c != " " and c != ["", *known][place])


def said(voice, text=TEXT, **controls):
    chunks = list(voice.chunks(text, **controls))
    return np.concatenate([chunk.samples for chunk in chunks]), chunks


@pytest.mark.parametrize("known", [True, False], ids=["before", "when the net is met"])
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"text": Sizes((8, 16)), "durations": Sizes((16,)), "pad": 0}, id="buckets"),
        pytest.param({"text": Sizes(most=16)}, id="bounded"),
        FRAMES,
    ],
)
def test_every_tone_is_heard_in_order_whenever_the_limit_is_known(sized, voice, sizes, known):
    nets = sized(**sizes).loaded.nets.values()
    limits = limits_of(nets, golden_ids=12, golden_frames=90.0) if known else Limits()
    small = sized(limits=limits, **sizes)
    samples, chunks = said(small)
    assert letters(samples) == letters(voice.say(TEXT).samples) == once(TEXT)
    spans = sorted({chunk.span for chunk in chunks})
    assert len(spans) > 3
    assert (spans[0][0], spans[-1][1]) == (0, len(TEXT) - 1)
    assert all(not TEXT[a[1] : b[0]].strip(" ,") for a, b in pairwise(spans))


def test_a_joint_is_silent_and_its_parts_sound_as_they_do_alone(sized, voice):
    samples, _ = said(sized(text=Sizes(most=10), limits=Limits(most_ids=10)))
    silence = np.zeros(round(0.03 * RATE), np.float32)
    alone = [part for piece in PIECES for part in (voice.say(piece).samples, silence)]
    np.testing.assert_array_equal(samples, np.concatenate(alone[:-1]))
    assert np.abs(np.diff(samples)).max() <= np.abs(np.diff(voice.say(TEXT).samples)).max() + 1e-6


@pytest.mark.parametrize("sizes", [{"text": Sizes(most=16)}, FRAMES])
def test_however_it_is_cut_or_comes_in_it_is_the_same(sized, sizes):
    text = f"Abc. {TEXT} {TEXT[:30]} Def."
    whole, _ = said(sized(**sizes), text)
    for plan in (
        ChunkPlan(first_ms=10, growth=1, most_ms=10),
        ChunkPlan(first_ms=700, growth=2, most_ms=9000),
    ):
        other = sized(plan=plan, **sizes)
        np.testing.assert_array_equal(said(other, text)[0], whole)
        pieces = (text[start : start + 3] for start in range(0, len(text), 3))
        np.testing.assert_array_equal(said(other, pieces)[0], whole)


@pytest.mark.parametrize("sizes", [{"text": Sizes(most=16)}, FRAMES])
def test_what_cannot_be_cut_fails_after_all_before_it_was_heard(sized, voice, sizes):
    heard = []
    with pytest.raises(RequestError, match=r"'Abcdefghi.*' has 36 ids and \d+ .*cannot be cut") as caught:
        heard.extend(sized(**sizes).chunks(f"Abcd efgh. {'Abcdefghijkl' * 3}. Abc."))
    assert isinstance(caught.value.__cause__, TooLongError)
    np.testing.assert_array_equal(
        np.concatenate([chunk.samples for chunk in heard]), voice.say("Abcd efgh.").samples
    )


class Narrow:
    """A block that sees at its first read whether an utterance fits, and gives noise by its number."""

    def open(self, tensors, source):
        return NarrowStream(len(tensors["ids"]), int(tensors["utterance"]))


class NarrowStream:
    def __init__(self, ids, number):
        self.ids = ids
        self.rest = np.random.default_rng(number).uniform(-1, 1, ids * 900).astype(np.float32)

    def read(self, steps):
        report(Event("toy.read", "toy", self.ids))
        if self.ids > 10:
            raise TooLongError(steps=self.ids * 4, most=40, axis="frames")
        chunk, self.rest = self.rest[:steps], self.rest[steps:]
        return {"samples": chunk}

    def close(self):
        self.rest = self.rest[:0]


def test_noise_and_events_are_those_of_what_is_heard_however_it_is_cut(voice):
    loaded = replace(voice.loaded, block=Narrow())
    text = f"Abc. {TEXT} Abcd. {TEXT[:30]}"
    found = []
    for milliseconds in (20, 300, 5000):
        plan = ChunkPlan(first_ms=milliseconds, growth=1, most_ms=milliseconds)
        samples, chunks = said(Voice(loaded, plan=plan), text)
        assert all(event.step <= 10 for chunk in chunks for event in chunk.events)
        pieces = (text[start : start + 7] for start in range(0, len(text), 7))
        found += [samples, said(Voice(loaded, plan=plan), pieces)[0]]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
