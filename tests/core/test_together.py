"""Blocks that may run together: who waits for whom, and in whose way they run."""

from dataclasses import dataclass

import numpy as np
import pytest

from voxstack.core.ports import Port
from voxstack.core.together import in_turn, run_together, running_by, waits

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Sum:
    """Gives the sum of what it takes, plus one."""

    wants: tuple[str, ...]
    name: str

    @property
    def takes(self):
        return {name: Port(name, "int64", ()) for name in self.wants}

    @property
    def gives(self):
        return {self.name: Port(self.name, "int64", ())}

    def run(self, tensors):
        return {self.name: sum(tensors[name] for name in self.wants) + 1}


ONE, TWO, BOTH = Sum(("ids",), "one"), Sum(("ids",), "two"), Sum(("one", "two"), "both")
GIVEN = {"ids": np.array(10), "other": np.array(0)}


def test_a_block_waits_for_those_before_it_whose_results_it_takes():
    assert waits([ONE, TWO, BOTH, Sum(("both", "ids"), "last")]) == [set(), set(), {0, 1}, {2}]


def test_no_block_waits_for_itself_or_for_one_behind_it():
    assert waits([Sum(("x",), "x"), Sum(("y",), "z"), Sum(("ids",), "y")]) == [set(), set(), set()]


def test_in_turn_each_sees_what_those_before_it_gave():
    assert in_turn([ONE, TWO, BOTH], GIVEN) == {**GIVEN, "one": 11, "two": 11, "both": 23}


def test_nothing_to_run_leaves_what_was_known():
    assert in_turn([], GIVEN) == GIVEN


def test_blocks_run_in_turn_where_nobody_says_otherwise():
    assert run_together([ONE, TWO, BOTH], GIVEN) == in_turn([ONE, TWO, BOTH], GIVEN)


def test_whoever_runs_the_stack_says_how():
    seen = []

    def way(blocks, tensors):
        seen.append((blocks, tensors))
        return {"both": 7}

    with running_by(way):
        assert run_together([ONE], GIVEN) == {"both": 7}
    assert seen == [([ONE], GIVEN)]
    assert run_together([ONE], GIVEN)["one"] == 11
