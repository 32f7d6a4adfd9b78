"""Compare: what is heard is branch a, to the bit; how b differs is reported."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from voxstack.core.blocks import Timing
from voxstack.core.errors import Cancelled, NetError, WiringError
from voxstack.core.events import listening
from voxstack.core.ports import Port
from voxstack.core.streams import EVERYTHING, ArrayStream, length
from voxstack.stack.wire import wire_stack
from voxstack.stages.audio.diagnostics.shared_source import SharedSource
from voxstack.stages.decoder.decoder import Decoder
from voxstack.testing import check_streamable

pytestmark = pytest.mark.law

LAW_TEST_OF = ("Compare.v1",)

SOURCE = {"hidden": Port("hidden", "float32", ("frames", 3), Fraction(100))}


@pytest.fixture
def nets(numpy_net):
    """Return decoders: one, the same, one that looks further, is wrong from frame 20 on, one that fails."""
    made = ({"hidden": ("float32", ["frames", 3])}, {"mel": ("float32", ["frames", 3])})

    def wide(hidden):
        padded = np.pad(hidden, [(4, 4), (0, 0)])
        return {"mel": padded[:-8] * 0 + hidden + (padded[8:] + padded[:-8]) * np.float32(0.01)}

    def failing(hidden):
        raise NetError("it is broken", where="net 'failing'")

    return {
        "one": numpy_net(lambda hidden: {"mel": hidden * 2}, *made, name="one", axis="frames"),
        "wide": numpy_net(wide, *made, name="wide", axis="frames", context=(4, 4), pad=0.0),
        "broken": numpy_net(
            lambda hidden: {"mel": np.where(hidden > 0, np.nan, hidden * 2)},
            *made,
            name="broken",
            axis="frames",
        ),
        "failing": numpy_net(failing, *made, name="failing", axis="frames"),
        "long": numpy_net(
            lambda hidden: {"mel": np.repeat(hidden, 2, axis=0)}, *made, name="long", axis="frames", hop=2
        ),
        "other": numpy_net(
            lambda hidden: {"lem": hidden}, made[0], {"lem": made[1]["mel"]}, name="other", axis="frames"
        ),
    }


def wire(nets, a, b, source=SOURCE, tensors=None, **options):
    entries = [{"type": "Decoder", "net": name} if isinstance(name, str) else name for name in (a, b)]
    entry = {"type": "Compare", "a": entries[0], "b": entries[1], **options}
    return wire_stack([entry], nets=nets, tensors=tensors or {}, source=source).blocks[0]


def fault(*words, **options) -> str:
    with pytest.raises(WiringError) as caught:
        wire(*words, **options)
    return str(caught.value)


def hidden(steps=50):
    return {"hidden": np.random.default_rng(1).uniform(-1, 0, (steps, 3)).astype(np.float32)}


def read(block, chunks, cut=8):
    heard, got = [], []
    stream = block.open({}, ArrayStream.over(chunks))
    with listening(heard.append):
        while not got or length(got[-1]) == cut:
            got.append(stream.read(cut))
        stream.read(cut)
    stream.close()
    return np.concatenate([chunk["mel"] for chunk in got]), heard


def test_it_is_branch_a_that_looks_as_far_ahead_as_either(nets):
    block = wire(nets, "one", "wide")
    assert block.gives == block.a.gives
    assert block.consumes == block.a.consumes
    assert (block.timing.left, block.timing.right) == (0, 0)
    assert block.timing.lookahead == block.b.timing.lookahead > block.a.timing.lookahead
    assert wire(nets, "wide", "one").timing == block.b.timing


@pytest.mark.parametrize(("a", "b"), [("one", "one"), ("one", "wide"), ("wide", "one"), ("one", "failing")])
def test_it_keeps_the_law_and_gives_what_a_gives(nets, a, b):
    alone = wire_stack([{"type": "Decoder", "net": a}], nets=nets, tensors={}, source=SOURCE)
    expected = alone.open({}, ArrayStream.over(hidden())).read(EVERYTHING)
    check_streamable(wire(nets, a, b), tensors={}, source=hidden(), expected=expected)


@pytest.mark.parametrize("cut", [1, 8, 50, 1000])
def test_how_b_differs_agrees_with_numpy_over_the_whole(nets, cut):
    _, (event,) = read(wire(nets, "one", "wide", name="x"), hidden(), cut)
    a = hidden()["hidden"] * 2
    b = nets["wide"].function(hidden()["hidden"])["mel"]
    snr_db = 10 * math.log10(np.square(a.astype(float)).sum() / np.square(a.astype(float) - b).sum())
    assert (event.kind, event.where, event.step) == ("compare", "x", 50)
    assert (event.values["steps"], event.values["steps_of_b"]) == (50, 50)
    assert event.values["ports"]["mel"] == {
        "is_equal": False,
        "differing_steps": 50,
        "first_step": 0,
        "most": pytest.approx(float(np.abs(a - b).max()), rel=1e-6),
        "snr_db": pytest.approx(snr_db, rel=1e-6),
        "not_finite": 0,
    }
    most, shown = float(np.abs(a - b).max()), f"SNR {snr_db:.1f} dB"
    assert event.text == f"x: mel differs in 50 of 50 steps, from step 0 on, by at most {most:.4g}, {shown}"


def test_equal_branches_are_called_equal(nets):
    _, (event,) = read(wire(nets, "one", "one"), hidden())
    assert event.text == "mel equal in all 50 steps"
    assert event.values["ports"]["mel"]["is_equal"] is True
    assert event.values["ports"]["mel"]["snr_db"] is None


def test_what_is_finite_in_one_only_is_counted(nets):
    chunks = hidden()
    chunks["hidden"][20] = 1
    _, (event,) = read(wire(nets, "one", "broken"), chunks)
    assert event.text == (
        "mel differs in 1 of 50 steps, from step 20 on, by at most 0, 3 not finite in one only"
    )
    _, (event,) = read(wire(nets, "broken", "broken"), chunks)
    assert event.text == "mel equal in all 50 steps"


def test_a_branch_b_that_fails_is_told_and_a_goes_on(nets):
    mel, (event,) = read(wire(nets, "one", "failing"), hidden())
    np.testing.assert_array_equal(mel, hidden()["hidden"] * 2)
    assert event.kind == "compare.failed"
    assert event.text == "b failed at step 0 and is compared no more: net 'failing': it is broken"


def test_a_branch_b_that_cannot_be_opened_lets_go_of_the_source(nets):
    class Unopened(Decoder):
        def open(self, tensors, source):
            raise NetError("it does not begin", where="net 'wide'")

    block = wire(nets, "one", "wide")
    block = replace(block, b=Unopened(**vars(block.b)))
    closed = []
    source = ArrayStream.over(hidden())
    source.close = lambda: closed.append(True)
    heard = []
    with listening(heard.append):
        stream = block.open({}, source)
    (event,) = heard
    assert event.text == "b failed at step 0 and is compared no more: net 'wide': it does not begin"
    np.testing.assert_array_equal(stream.read(100)["mel"], hidden()["hidden"] * 2)
    stream.close()
    assert closed == [True]
    with pytest.raises(NetError, match="it does not begin"):
        replace(block, a=block.b).open({}, source)
    assert closed == [True, True]


def test_a_branch_a_that_fails_fails(nets):
    with pytest.raises(NetError, match="it is broken"):
        read(wire(nets, "failing", "one"), hidden())


@pytest.mark.parametrize(("more", "text"), [(3, "b has 3 steps more"), (-3, "b has 3 steps fewer")])
def test_heads_may_differ_in_length(nets, more, text):
    tensors = {
        "durations": Port("durations", "int64", ("phonemes",)),
        "longer": Port("longer", "int64", ("phonemes",)),
        "mel": Port("mel", "float32", ("phonemes", 3)),
    }
    heads = [{"type": "Upsampler", "durations": name, "tensors": ["mel"]} for name in ("durations", "longer")]
    block = wire(nets, *heads, source=None, tensors=tensors)
    assert block.consumes is None
    values = {"durations": np.array([4, 8]), "longer": np.array([4, 8 + more]), "mel": hidden(2)["hidden"]}
    check_streamable(block, tensors=values)
    heard = []
    with listening(heard.append):
        stream = block.open(values, None)
        assert length(stream.read(100)) == 12
    events = [event for event in heard if event.kind == "compare"]
    assert [event.text for event in events] == [f"mel equal in all {12 + min(more, 0)} steps; {text}"]


def test_utterances_read_in_turn_are_compared_apart_and_one_closed_early_is_not_told(nets):
    block, heard = wire(nets, "one", "wide"), []
    streams = [block.open({}, ArrayStream.over(hidden(steps))) for steps in (30, 40, 50)]
    with listening(heard.append):
        streams[2].read(8)
        streams[2].close()
        for _ in range(6):
            for stream in streams[:2]:
                stream.read(8)
    assert [event.values["steps"] for event in heard] == [30, 40]
    with pytest.raises(Cancelled, match="read after close"):
        streams[2].read(1)


def test_what_waits_for_the_branch_behind_is_no_more_than_it_looks_ahead(nets):
    shared = SharedSource(ArrayStream.over(hidden(2000)))
    block = wire(nets, "one", "wide")
    readers = shared.readers()
    streams = [branch.open({}, reader) for branch, reader in zip(block.blocks, readers, strict=True)]
    most = 0
    for _ in range(200):
        for stream in streams:
            stream.read(10)
            most = max(most, shared.kept_steps)
    assert 0 < most <= 10 + block.timing.lookahead


def test_two_readers_get_the_same_steps_at_any_pace_and_the_last_closes_the_source():
    closed = []

    class Source(ArrayStream):
        def close(self):
            closed.append(True)
            super().close()

    one, two = SharedSource(Source.over(hidden(20))).readers()
    first = [one.read(steps)["hidden"] for steps in (3, 0, 9, 100, 2)]
    second = [two.read(steps)["hidden"] for steps in (15, 1, 100)]
    np.testing.assert_array_equal(np.concatenate(first), hidden(20)["hidden"])
    np.testing.assert_array_equal(np.concatenate(second), hidden(20)["hidden"])
    assert [len(chunk) for chunk in first] == [3, 0, 9, 8, 0]
    one.close()
    one.close()
    assert closed == []
    with pytest.raises(Cancelled, match="read after close"):
        one.read(1)
    two.close()
    assert closed == [True]


def test_it_may_be_a_part_of_a_stack_and_hold_stacks(nets):
    inner = {"type": "StreamableStack", "stack": [{"type": "Decoder", "net": "one"}, {"type": "Probe"}]}
    block = wire(nets, inner, "one")
    check_streamable(block, tensors={}, source=hidden(), expected={"mel": hidden()["hidden"] * 2})
    assert block.timing == Timing(lookahead=block.a.timing.lookahead)


# Errors


def test_branches_that_give_other_things_are_refused(nets):
    assert fault(nets, "one", "other") == "$.stack[0]: wants 'mel' from branch b, which gives lem"


def test_branches_of_other_rates_are_refused(nets):
    flat = {"hidden": Port("hidden", "float32", ("frames", 3))}
    assert fault(nets, "one", "long", source=flat) == (
        "$.stack[0]: a gives 1 steps for one of the source, b 2; "
        "want the same of both, to be compared place by place"
    )


def test_branches_stand_where_compare_stands(nets):
    assert fault(nets, "one", "one", source=None) == (
        "$.stack[0].a: wants 'hidden' from the stream above, but there is none; "
        "put a block that gives it before this one"
    )
    tensors = {
        "durations": Port("durations", "int64", ("phonemes",)),
        "mel": Port("mel", "float32", ("phonemes", 3)),
    }
    head = {"type": "Upsampler", "tensors": ["mel"]}
    assert fault(nets, "one", head, tensors=tensors) == (
        "$.stack[0].b: it reads no stream, so what stands above would be lost; put Compare at the head"
    )
