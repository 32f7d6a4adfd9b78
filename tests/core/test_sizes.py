"""A size is chosen that holds what is wanted, and nothing else ever reaches a net."""

import pytest

from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sizes", "fitted"),
    [
        (Sizes(), {1: 1, 70: 70, 900: 900}),
        (Sizes(most=100), {1: 1, 70: 70, 900: 100}),
        (Sizes(buckets=(64, 128)), {1: 64, 64: 64, 65: 128, 900: 128}),
    ],
)
def test_the_least_size_that_holds_it_or_the_largest(sizes, fitted):
    assert {wanted: sizes.fit(wanted) for wanted in fitted} == fitted


def test_sizes_say_what_they_are():
    shown = [str(sizes) for sizes in (Sizes(), Sizes(most=9), Sizes(buckets=(3, 5)))]
    assert shown == ["any", "up to 9", "3, 5"]
    assert [sizes.largest for sizes in (Sizes(), Sizes(most=9), Sizes(buckets=(3, 5)))] == [None, 9, 5]


def test_only_buckets_fix_every_tensor():
    assert not DYNAMIC.is_fixed
    assert not ShapePolicy(Sizes(most=9)).is_fixed
    assert ShapePolicy(Sizes(buckets=(9,))).is_fixed
