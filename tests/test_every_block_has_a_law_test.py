"""A registered StreamableBlock without a law test does not get in.

A law test says in its module what it tests, as a constant: `LAW_TEST_OF = ("Upsampler.v1",)`, and
calls `check_streamable`.
"""

import ast
from pathlib import Path

import pytest

from voxstack.core.registry import Registry
from voxstack.stack.standard import REGISTRY, STANDARD

pytestmark = pytest.mark.unit

TESTS = Path(__file__).parent


def lawful(source: str) -> set[str]:
    """Return the blocks that a test module holds to the law."""
    tree = ast.parse(source)
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if "check_streamable" not in calls:
        return set()
    named: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "LAW_TEST_OF"
        ]:
            named |= set(ast.literal_eval(node.value))
    return named


def without_law_test(registry: Registry, names, modules) -> list[str]:
    """Return which of the blocks are StreamableBlocks that none of the test modules names."""
    tested = set().union(*map(lawful, modules))
    streamable = [name for name in names if hasattr(registry.find(name, path="$"), "open")]
    return sorted(set(streamable) - tested)


@pytest.fixture(scope="module")
def modules() -> list[str]:
    return [path.read_text() for path in sorted(TESTS.rglob("test_*.py"))]


def test_every_standard_streamable_block_has_a_law_test(modules):
    missing = without_law_test(REGISTRY, STANDARD, modules)
    assert not missing, (
        f"{missing} have no law test: put LAW_TEST_OF = (…,) and check_streamable into their test file"
    )


def test_a_block_without_a_law_test_is_found(modules):
    planted = {**STANDARD, "Planted.v1": "voxstack.stages.decoder.decoder:Decoder"}
    assert without_law_test(Registry(planted), planted, modules) == ["Planted.v1"]


def test_a_sequence_block_needs_none(modules):
    planted = {"Other.v1": "voxstack.stages.encoders.encoders:Encoders"}
    assert without_law_test(Registry(planted), planted, modules) == []


def test_naming_a_block_without_checking_it_does_not_count():
    assert lawful('LAW_TEST_OF = ("Decoder.v1",)') == set()
    assert lawful('LAW_TEST_OF = ("Decoder.v1",)\ncheck_streamable(block)') == {"Decoder.v1"}


def test_no_law_test_names_a_block_that_is_not_there(modules):
    assert set().union(*map(lawful, modules)) <= set(REGISTRY.names())
