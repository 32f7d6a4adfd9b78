"""What is wrong with a stack is kept where it stands, and all else is wired as far as it is known."""

import pytest

from voxstack.core.errors import WiringError
from voxstack.stack.faults import END, Fault, Faults, Unwired
from voxstack.stack.wire import Wired

pytestmark = pytest.mark.unit

ENCODERS = {"type": "Encoders"}
UPSAMPLED = {"type": "StreamableStack", "stack": [{"type": "Upsampler"}, {"type": "Decoder"}]}
PIPELINE = {"type": "StreamablePipeline", "sequence_block": ENCODERS, "streamable_block": UPSAMPLED}


def wired_with_faults(wire_addon, folder, stack):
    seen: list[Wired] = []
    faults = Faults()
    block = wire_addon(folder, stack, seen=seen, faults=faults)
    return block, {wired.path: wired for wired in seen}, faults


def test_a_good_stack_has_none(wire_addon, tone):
    block, _, faults = wired_with_faults(wire_addon, tone("two"), [PIPELINE])
    assert (faults.found, faults.unwired) == ([], [])
    assert list(block.gives) == ["mel"]


def test_an_unmet_need_is_taken_as_met_so_the_block_stands(wire_addon, tone):
    stack = [{**PIPELINE, "streamable_block": {"type": "Decoder"}}]
    block, seen, faults = wired_with_faults(wire_addon, tone("two"), stack)
    path = "$.stack[0].streamable_block"
    message = (
        f"{path}: wants 'hidden' from the stream above, but there is none; "
        "put a block that gives it before this one"
    )
    assert faults.found == [Fault(path, message, "hidden")]
    assert list(seen[path].block.gives) == ["mel"]
    assert block.gives["mel"].rate == 100


def test_a_need_taken_as_met_is_met_for_that_block_alone(wire_addon, tone):
    pipeline = {**PIPELINE, "streamable_block": {"type": "Decoder"}}
    _, _, faults = wired_with_faults(wire_addon, tone("two"), [pipeline, {"type": "Decoder"}])
    assert [(fault.path, fault.port) for fault in faults.found] == [
        ("$.stack[0].streamable_block", "hidden"),
        ("$.stack[1]", "hidden"),
    ]


def test_what_cannot_be_wired_is_replaced_and_what_stands_below_is_wired(wire_addon, tone):
    upsampler = {"type": "Upsampler", "duration": "d"}
    stack = [{**PIPELINE, "streamable_block": {**UPSAMPLED, "stack": [upsampler, {"type": "Decoder"}]}}]
    block, seen, faults = wired_with_faults(wire_addon, tone("two"), stack)
    path = "$.stack[0].streamable_block.stack[0]"
    assert [fault.message for fault in faults.found] == [
        f"{path}.duration: unknown key 'duration'; did you mean 'durations'?"
    ]
    assert isinstance(seen[path].block, Unwired)
    assert seen[path].type == "Upsampler"
    assert list(block.gives) == ["mel"]


def test_what_may_follow_from_the_first_fault_says_so(wire_addon, tone):
    stack = [{**PIPELINE, "sequence_block": {"type": "Encoder"}}]
    _, _, faults = wired_with_faults(wire_addon, tone("two"), stack)
    assert [(fault.path, fault.follows) for fault in faults.found] == [
        ("$.stack[0].sequence_block", False),
        ("$.stack[0].streamable_block.stack[0]", True),
    ]


@pytest.mark.parametrize(
    ("stack", "path", "named"),
    [
        ([], "$.stack", "StreamableStack"),
        ([[PIPELINE]], "$.stack[0]", "?"),
        (["Decoder"], "$.stack[0]", "?"),
        ([{}], "$.stack[0]", "?"),
        ([{"type": 3}], "$.stack[0]", "?"),
        ([ENCODERS], "$.stack[0]", "Encoders"),
        ([{"type": "Nothing"}], "$.stack[0]", "Nothing"),
        ([PIPELINE, {"type": "Upsampler"}], "$.stack[1]", "Upsampler"),
        ([PIPELINE, PIPELINE], "$.stack[1].streamable_block", "StreamableStack"),
    ],
)
def test_every_kind_of_wrong_entry_has_its_place(wire_addon, tone, stack, path, named):
    _, seen, faults = wired_with_faults(wire_addon, tone("two"), stack)
    assert faults.found[0].path == path
    assert faults.unwired[0] == path
    assert seen[path].type == named


def test_a_block_that_stands_in_the_wrong_place_has_one_fault_not_two(wire_addon, tone):
    stack = [{"type": "Upsampler"}, {"type": "Gain", "gain_db": 3}, {"type": "Decoder"}]
    pipeline = {**PIPELINE, "streamable_block": {"type": "StreamableStack", "stack": stack}}
    _, _, faults = wired_with_faults(wire_addon, tone("two"), [pipeline])
    path = "$.stack[0].streamable_block.stack[1]"
    assert [fault.message for fault in faults.found] == [
        f"{path}: wants 'samples' from the stream above, which gives hidden"
    ]
    assert faults.unwired == [path]


def test_wrong_options_of_two_blocks_do_not_follow_from_each_other(wire_addon, tone):
    stack = [{"type": "Upsampler"}, {"type": "Decoder", "nett": "x"}, {"type": "Decoder", "net": 3}]
    pipeline = {**PIPELINE, "streamable_block": {"type": "StreamableStack", "stack": stack}}
    _, _, faults = wired_with_faults(wire_addon, tone("two"), [pipeline])
    assert [fault.follows for fault in faults.found] == [False, False]


def test_what_stands_for_a_block_does_nothing():
    for attempt in (lambda: Unwired().run({}), lambda: Unwired().open({}, None)):
        with pytest.raises(WiringError) as caught:
            attempt()
        assert str(caught.value) == "it could not be wired, so it cannot run"


def test_without_faults_to_fill_everything_is_raised(wire_addon, tone):
    with pytest.raises(WiringError):
        wire_addon(tone("two"), [PIPELINE, {"type": "Decoder"}])


def test_a_fault_of_what_follows_belongs_to_no_block():
    faults = Faults()
    faults.note(END, WiringError("nothing follows"))
    assert faults.at(END) == [Fault(END, "nothing follows")]
    assert faults.at("$.stack") == []
