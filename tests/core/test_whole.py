"""A net over a whole utterance gives the same at every size it may have, and padding never shows."""

from dataclasses import replace

import numpy as np
import pytest

from voxstack.core import padding
from voxstack.core.errors import TooLongError
from voxstack.core.sizes import ShapePolicy, Sizes
from voxstack.core.whole import run_whole

pytestmark = pytest.mark.unit

ROWS = {"x": ("float32", ["batch", "phonemes", 2])}
POLICIES = [
    ShapePolicy(),
    ShapePolicy(Sizes(most=12)),
    ShapePolicy(Sizes(buckets=(16,))),
    ShapePolicy(Sizes(buckets=(8, 12, 40))),
]


@pytest.fixture(autouse=True)
def _nan_fills_up(monkeypatch):
    monkeypatch.setattr(padding, "FILLER", np.nan)


@pytest.fixture
def mean(numpy_net):
    """A net that takes the mean of all steps from each: it must know which steps there are."""

    def centred(x, mask):
        own = np.where(mask > 0, x, 0)
        return {"y": own - own.sum(axis=0) / mask.sum(), "total": own.sum(axis=0)}

    return numpy_net(
        centred,
        {**ROWS, "mask": ("float32", ["batch", "phonemes", 1])},
        {"y": ROWS["x"], "total": ("float32", ["batch", 2])},
        axis="phonemes",
        chunkable=False,
        mask="mask",
    )


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_net_that_must_see_the_whole_is_padded_and_cropped(mean, policy):
    mean = replace(mean, shapes=policy)
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    got = run_whole(mean, {"x": x, "more": x})
    np.testing.assert_allclose(got["y"], x - x.mean(axis=0))
    np.testing.assert_array_equal(got["total"], x.sum(axis=0))


def test_an_utterance_that_no_size_holds_is_refused_by_the_net_s_name(mean):
    mean = replace(mean, shapes=ShapePolicy(Sizes(buckets=(8,))))
    with pytest.raises(
        TooLongError, match=r"^net 'toy': an utterance has 10 phonemes, more than the 8 that fit"
    ):
        run_whole(mean, {"x": np.zeros((10, 2), np.float32)})


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_net_that_may_be_cut_runs_window_after_window(numpy_net, policy):
    def smooth(x):
        wide = np.pad(x, [(1, 1), (0, 0)])
        return {"y": wide[:-2] + wide[1:-1] + wide[2:]}

    net = numpy_net(smooth, ROWS, {"y": ROWS["x"]}, axis="phonemes", context=(1, 1), least=2)
    net = replace(net, shapes=policy)
    x = np.arange(60, dtype=np.float32).reshape(30, 2)
    np.testing.assert_array_equal(run_whole(net, {"x": x})["y"], smooth(x)["y"])


def test_no_steps_are_none_at_any_size(mean):
    for policy in POLICIES[1:]:
        mean = replace(mean, shapes=policy)
        with np.errstate(invalid="ignore"):
            assert run_whole(mean, {"x": np.zeros((0, 2), np.float32)})["y"].shape == (0, 2)
