"""The timing of a chain follows from the timings of its blocks."""

from fractions import Fraction

import pytest

from voxstack.core.blocks import Timing

pytestmark = pytest.mark.unit


def test_rates_multiply_and_contexts_add_in_the_first_block_s_steps():
    flow = Timing(left=32, right=32, lookahead=96)
    decoder = Timing(Fraction(256), left=11, right=11, lookahead=33)
    assert flow.then(decoder) == Timing(Fraction(256), left=43, right=43, lookahead=129)


def test_context_after_an_upsampling_block_costs_fewer_of_its_input_steps():
    vocoder = Timing(Fraction(160), left=1, right=1, lookahead=3)
    limiter = Timing(left=336, right=336, lookahead=1008)
    assert vocoder.then(limiter) == Timing(Fraction(160), left=1 + 3, right=1 + 3, lookahead=3 + 7)


def test_a_block_that_needs_everything_makes_the_chain_need_everything():
    assert Timing().then(Timing(lookahead=None)).lookahead is None
    assert Timing(lookahead=None).then(Timing()).lookahead is None


def test_a_tail_is_changed_by_what_stands_below_and_roundings_add_up():
    echo = Timing(tail=Fraction(300))
    halved = Timing(Fraction(1, 2), tail=Fraction(10), rounding=Fraction(1, 2))
    assert echo.then(halved) == Timing(Fraction(1, 2), tail=Fraction(160), rounding=Fraction(1, 2))
    assert halved.then(halved).rounding == Fraction(3, 4)
