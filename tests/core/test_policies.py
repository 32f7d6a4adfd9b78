"""A policy that would change what a net means is refused; sizes that suit a net follow from its axis."""

import pytest

from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.policies import automatic_sizes, check_policy
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes

pytestmark = pytest.mark.unit


def spec(ragged, *axes) -> NetSpec:
    return NetSpec("toy", "f", "decoder", {"x": TensorSpec("float32", ("batch", *axes))}, {}, ragged)


def buckets(*sizes) -> ShapePolicy:
    return ShapePolicy(Sizes(buckets=sizes))


def test_any_net_runs_at_any_size_and_one_without_a_free_axis_at_its_own():
    assert check_policy(spec(Ragged("frames", chunkable=False), "frames"), DYNAMIC) is None
    assert check_policy(spec(None, 4), buckets(8)) is None


def test_a_size_must_hold_a_step_and_its_context():
    ragged = Ragged("frames", context=(11, 11))
    assert check_policy(spec(ragged, "frames"), buckets(16, 23)) is None
    assert check_policy(spec(ragged, "frames"), buckets(16)) == (
        "16 steps of 'frames' are too few: 11 + 1 + 11 are the least that give one; "
        "declare a size of 23 or more"
    )


@pytest.mark.parametrize("told", [{"mask": "m"}, {"lengths": "l"}, {"pad": 0.0}])
def test_a_net_that_must_see_the_whole_must_be_told_what_is_padding(told):
    bare = spec(Ragged("phonemes", chunkable=False), "phonemes")
    assert check_policy(bare, buckets(64)) == (
        "it is neither told what is padding nor may it be cut into windows, so no bucket gives the same; "
        'state "mask", "lengths" or "pad" under "ragged", or import the model again'
    )
    assert check_policy(bare, ShapePolicy(Sizes(most=64))) is None
    assert check_policy(spec(Ragged("phonemes", chunkable=False, **told), "phonemes"), buckets(64)) is None


def test_an_axis_that_grows_by_itself_cannot_be_fixed():
    net = spec(Ragged("phonemes", chunkable=False, mask="m"), "phonemes", "past")
    assert check_policy(net, buckets(64)) == (
        "its inputs have more axes without a size (past), and only 'phonemes' can be fitted; "
        "let it run at any size"
    )


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize(
    "ragged",
    [
        Ragged("frames", context=(11, 11), hop=256),
        Ragged("frames", context=(42, 42), least=84),
        Ragged("frames", context=(0, 0)),
        Ragged("phonemes", chunkable=False, lengths="l"),
        Ragged("frames", chunkable=False, mask="m"),
    ],
)
def test_automatic_sizes_are_such_that_the_net_runs(ragged, one):
    sizes = automatic_sizes(ragged, one=one)
    assert check_policy(spec(ragged, ragged.axis), ShapePolicy(sizes)) is None
    assert list(sizes.buckets) == sorted(set(sizes.buckets))
    assert (len(sizes.buckets) == 1) == one


def test_the_first_of_several_buckets_holds_what_a_listener_waits_for_and_little_more():
    assert automatic_sizes(Ragged("frames", context=(11, 11)), one=False).buckets[0] == 24
