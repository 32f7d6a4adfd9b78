"""A real voice under small limits says all words of a long sentence, each at its place."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.core.text import Sentence
from voxstack.engine.fitting import Fitting, Limits
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.voice import Voice
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.wire import wire_stack
from voxstack.testing.nets import open_net

pytestmark = pytest.mark.slow

JOE = Path(__file__).parents[2] / "addons" / "joe"
pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")
if not JOE.exists():
    pytest.skip("the demo voice is not imported; run `make say` once", allow_module_level=True)

SENTENCE = (
    "When the first light of the morning came slowly over the quiet hills and touched the roofs of the "
    "little village where my grandmother had lived for almost eighty years, the people began to open their "
    "windows and talk about the long winter that was over."
)
SIGNS = re.compile(r"[\s,.^$_ˈˌʲ]")
"""What phonemes of parts may have otherwise than those of the whole: framing, stress, pauses, glides."""


@pytest.fixture(scope="module")
def voice():
    return voxstack.load(JOE, threads=2)


def sounds(utterances):
    return SIGNS.sub("", "".join(symbol for phonemes in utterances for symbol in phonemes.symbols))


@pytest.mark.parametrize("most", [256, 128, 64])
def test_the_parts_have_the_phonemes_of_the_whole_and_fit(voice, most):
    parts = Fitting(voice.front, Limits(most_ids=most)).utterances(Sentence(SENTENCE, 7, 120))
    assert sounds(parts) == sounds(voice.front.phonemize(Sentence(SENTENCE)))
    assert all(len(part.ids) <= most for part in parts)
    assert parts[0].spans.min() == 7
    assert parts[-1].spans.max() == 7 + len(SENTENCE)
    stops, starts = [part.spans.max() for part in parts[:-1]], [part.spans.min() for part in parts[1:]]
    assert [stop + 1 for stop in stops] == starts


def test_a_part_that_goes_on_ends_as_a_clause_does(voice):
    parts = Fitting(voice.front, Limits(most_ids=128)).utterances(Sentence(SENTENCE))
    assert len(parts) > 3
    assert all("," in part.symbols[-6:] for part in parts[:-1])


def test_under_a_limit_it_is_the_same_however_it_is_cut(voice):
    addon = voice.loaded.addon
    nets = {}
    for name, spec in addon.specs.items():
        whole = spec.ragged is not None and not spec.ragged.chunkable
        policy = ShapePolicy(Sizes(most=128) if whole else Sizes())
        nets[name] = open_net(OrtRuntime(threads=2), spec, addon.read(spec.file), policy)
    block = wire_stack(addon.config.stack, nets=nets, tensors=addon.request, frame_rate=addon.frame_rate)
    loaded = replace(voice.loaded, block=block, nets=nets)
    whole = Voice(loaded, limits=Limits(most_ids=128)).say(SENTENCE).samples
    for plan in (ChunkPlan(first_ms=30, growth=1, most_ms=100), ChunkPlan(first_ms=500, most_ms=4000)):
        chunks = list(Voice(loaded, plan=plan, limits=Limits(most_ids=128)).chunks(SENTENCE))
        np.testing.assert_allclose(np.concatenate([c.samples for c in chunks]), whole, atol=1e-5)
        assert len({chunk.span for chunk in chunks}) > 3
    # The nets tell themselves what is too long, if nobody has told the voice.
    assert len({chunk.span for chunk in Voice(loaded, limits=Limits()).chunks(SENTENCE)}) > 3
