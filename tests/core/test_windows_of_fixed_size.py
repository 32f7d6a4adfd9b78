"""Whatever sizes a net has, a stream gives what one run over the whole gives, and filler never shows."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstack.core import padding
from voxstack.core.errors import TooLongError
from voxstack.core.nets import Ragged
from voxstack.core.padding import masked
from voxstack.core.ports import Port
from voxstack.core.shapes import reach, timing, whole_window, window
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.core.streams import ArrayStream, WindowStream

pytestmark = pytest.mark.unit

GIVES = {"y": Port("y", "float64", ("frames",))}


@pytest.fixture(autouse=True)
def _nan_fills_up(monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)


@dataclass
class Convolution:
    """A convolution that knows zeros beyond its input's ends, as an exported one does, held `hop` times."""

    kernel: np.ndarray
    ragged: Ragged
    sizes_seen: Counter[int] = field(default_factory=Counter)

    def __call__(self, inputs, plan):
        steps = inputs["x"]
        assert len(steps) == plan.size
        self.sizes_seen[plan.size] += 1
        mask = masked(np.ones(plan.hi - plan.lo), plan) if self.ragged.mask else None
        return {"y": self.run(steps, mask)}

    def run(self, steps, mask=None):
        left, right = self.ragged.context
        steps = steps if mask is None else np.where(mask > 0, steps, 0.0)
        wide = np.concatenate([np.zeros(left), steps, np.zeros(right)])
        taps = left + right + 1
        found = [float((self.kernel * wide[n : n + taps]).sum()) for n in range(len(steps))]
        return np.repeat(np.array(found), self.ragged.hop)

    def whole(self, steps):
        """Return what one run over the utterance means, by the rules of `Ragged`."""
        ragged, hop = self.ragged, self.ragged.hop
        if not len(steps):
            return np.zeros(0)
        left, right = ragged.context
        if ragged.pad is not None:
            wide = np.concatenate([np.full(left, ragged.pad), steps, np.full(right, ragged.pad)])
            return self.run(wide)[left * hop : (left + len(steps)) * hop]
        longer = np.concatenate([steps, np.full(max(ragged.least - len(steps), 0), steps[-1])])
        return self.run(longer)[: len(steps) * hop]


@st.composite
def cases(draw):
    left, right = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    kind = draw(st.sampled_from(["bare", "pad", "mask"]))
    ragged = Ragged(
        "frames",
        context=(left, right),
        hop=draw(st.integers(1, 3)),
        pad=draw(st.sampled_from([0.0, 7.0])) if kind == "pad" else None,
        mask="mask" if kind == "mask" else None,
        least=max(1, left + right) if kind == "bare" else 1,
    )
    least = left + right + 1
    sizes = draw(
        st.one_of(
            st.sets(st.integers(least, least + 30), min_size=1, max_size=4).map(
                lambda found: Sizes(buckets=tuple(sorted(found)))
            ),
            st.integers(least, least + 30).map(lambda most: Sizes(most=most)),
        )
    )
    kernel = draw(st.lists(st.integers(-5, 5), min_size=least, max_size=least))
    steps = draw(st.lists(st.integers(1, 9), max_size=60))
    cuts = draw(st.lists(st.sampled_from([1, 2, 5, 17, 100, 1 << 40]), min_size=1, max_size=8))
    return (
        Convolution(np.array(kernel, float), ragged),
        sizes,
        np.array(steps, float),
        cuts,
        draw(st.booleans()),
    )


@given(cases())
@settings(max_examples=400)
def test_a_stream_over_windows_of_any_sizes_is_the_whole(case):
    net, sizes, steps, cuts, sequential = case
    source = ArrayStream.over({"x": steps})
    stream = WindowStream(source, net.ragged, GIVES, net, sequential=sequential, sizes=sizes)
    chunks = []
    while not chunks or len(chunks[-1]):
        chunks.append(stream.read(cuts[len(chunks) % len(cuts)])["y"])
    np.testing.assert_array_equal(np.concatenate(chunks), net.whole(steps))
    if sizes.buckets:
        assert set(net.sizes_seen) <= set(sizes.buckets)
    else:
        assert all(size <= sizes.most for size in net.sizes_seen)


def test_a_bucket_is_filled_with_what_comes_next():
    ragged, sizes = Ragged("frames", context=(2, 2)), Sizes(buckets=(16, 32))
    assert reach(ragged, sizes, 0, 3) == 16
    assert window(ragged, 0, 3, None, sizes, seen=16).keep == 14


def test_where_steps_are_made_one_by_one_nobody_waits_for_a_full_bucket():
    ragged, sizes = Ragged("frames", context=(2, 2)), Sizes(buckets=(16, 32))
    assert reach(ragged, sizes, 0, 3, sequential=True) == 5
    plan = window(ragged, 0, 3, None, sizes, seen=5)
    assert (plan.size, plan.keep, plan.pad_right) == (16, 3, 11)


def test_a_window_at_the_end_stops_there_and_looks_back():
    ragged, sizes = Ragged("frames", context=(2, 2)), Sizes(buckets=(16,))
    plan = window(ragged, 14, 20, 20, sizes)
    assert (plan.lo, plan.hi, plan.size, plan.crop, plan.keep) == (4, 20, 16, 10, 6)


def test_a_short_utterance_of_a_net_without_mask_takes_two_windows_one_from_each_end():
    ragged, sizes = Ragged("frames", context=(2, 3)), Sizes(buckets=(16,))
    first = window(ragged, 0, 9, 9, sizes)
    assert (first.pad_left, first.pad_right, first.crop, first.keep) == (0, 7, 0, 6)
    second = window(ragged, 6, 9, 9, sizes)
    assert (second.pad_left, second.pad_right, second.crop, second.keep) == (7, 0, 13, 3)


def test_a_whole_utterance_takes_the_least_size_that_holds_it_or_is_refused():
    ragged, sizes = Ragged("phonemes", chunkable=False, lengths="lengths"), Sizes(buckets=(32, 64))
    assert whole_window(ragged, 33, sizes).size == 64
    with pytest.raises(TooLongError) as caught:
        whole_window(ragged, 65, sizes)
    assert (caught.value.steps, caught.value.most, caught.value.axis) == (65, 64, "phonemes")
    assert str(caught.value) == (
        "an utterance has 65 phonemes, more than the 64 that fit; "
        "shorten the sentence, or declare a larger size in the profile"
    )


def test_a_block_says_how_far_a_bucket_makes_it_look_ahead():
    ragged = Ragged("frames", context=(2, 2))
    assert timing(ragged).lookahead == 10
    assert timing(ragged, ShapePolicy(Sizes(buckets=(16, 64)))).lookahead == 64
