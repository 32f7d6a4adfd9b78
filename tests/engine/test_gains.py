"""What could be saved is worked out of the recording, by hand here and by the code."""

import pytest

from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.engine.gains import gains
from voxstack.engine.recording import CHUNKS, Lane, Recording, Span
from voxstack.engine.times import times

pytestmark = pytest.mark.unit

MS = 1_000_000
BLOCK, STACK = "$.stack[0]", "$.stack"
LANES = [
    Lane(CHUNKS, "chunks", ""),
    Lane(STACK, "block", ""),
    Lane(BLOCK, "block", ""),
    Lane("net", "net", ""),
]


def net(*, chunkable=True, hop=2):
    return NetSpec(
        "net",
        "net.onnx",
        "decoder",
        {"mel": TensorSpec("float32", ("batch", 4, "frames"))},
        {"samples": TensorSpec("float32", ("batch", "samples"))},
        ragged=Ragged("frames", context=(1, 1), hop=hop, chunkable=chunkable),
    )


def recording(*runs, opened=((0, 2),)):
    """One chunk a run: 1 ms of blocks, then the net; a run is (ms, frames computed, steps given)."""
    seen, at = Recording(), 0

    def span(lane, what, start, stop, parent, **facts):
        seen.spans.append(Span(lane, what, round(start * MS), round(stop * MS), parent, facts))
        return len(seen.spans) - 1

    for number, (ms, frames, steps) in enumerate(runs):
        before = sum(took for _, took in opened) if number == 0 else 0
        chunk = span(CHUNKS, "chunk", at, at + before + 1 + ms, None, samples=160, sample_rate=16_000)
        if number == 0:
            for utterance, took in opened:
                span(STACK, "open", at, at + took, chunk, utterance=utterance)
                at += took
        read = span(BLOCK, "read", at + 1, at + 1 + ms, chunk, steps=steps, utterance=opened[-1][0])
        span("net", "run", at + 1, at + 1 + ms, read, takes={"mel": [frames, 4]})
        at += 1 + ms
    return seen


def found(seen, spec=None):
    return {(gain.kind, gain.of): gain for gain in gains(seen, times(seen, LANES), {"net": spec or net()})}


def test_needed_work_counts_by_half_and_context_computed_again_wholly():
    got = found(recording((7, 10, 12), (8, 10, 12)))
    assert {key: gain.saves_ms for key, gain in got.items()} == pytest.approx(
        {
            ("net", "first audio"): 3.5,
            ("block", "first audio"): 1,
            ("block", "all work"): 1,
            ("outside", "first audio"): 0.5,
            ("outside", "all work"): 1,
            ("overlap", "all work"): 15 * 8 / 20,
        }
    )
    assert got["net", "first audio"].of_ms == 10
    assert got["overlap", "all work"].how == (
        "net net computed 20 frames and 12 were kept, so 40% of its 15.0 ms went into context and filling; "
        "larger chunks would save at most that: set `chunks` of the profile in a deployment file, first_ms "
        "or growth"
    )
    assert got["net", "first audio"].how == (
        "net net takes 7.0 ms before first audio; twice as fast would save half of that"
    )


def test_the_largest_share_of_its_whole_comes_first():
    seen = recording((7, 10, 12), (8, 10, 12))
    ranked = gains(seen, times(seen, LANES), {"net": net()})
    assert [(gain.kind, round(gain.share, 3)) for gain in ranked] == [
        ("net", 0.35),
        ("overlap", 0.316),
        ("block", 0.1),
        ("block", 0.053),
        ("outside", 0.053),
        ("outside", 0.05),
    ]


def test_the_block_that_takes_most_itself_is_named_and_all_else_outside_nets_is_apart():
    got = found(recording((7, 10, 12), (8, 10, 12)))
    assert got["block", "first audio"].how == (
        "block $.stack takes 2.0 ms before first audio; twice as fast would save half of that"
    )
    assert got["outside", "all work"].how == (
        "text, other blocks and the engine take 2.0 ms in all; twice as fast would save half of that"
    )


def test_a_net_that_keeps_all_it_computes_has_no_overlap():
    assert ("overlap", "all work") not in found(recording((7, 6, 12), (8, 6, 12)))


def test_a_net_that_sees_everything_at_once_has_no_overlap():
    assert ("overlap", "all work") not in found(recording((7, 10, 12)), net(chunkable=False))


def test_a_first_run_is_compared_with_later_ones_of_as_many_steps():
    got = found(recording((30, 10, 20), (2, 4, 8), (9, 10, 20), (11, 20, 40)))
    gain = got["first use", "first audio"]
    assert gain.saves_ms == 20
    assert gain.how == (
        "the first run of net net took 30.0 ms, later ones of as many steps or more 10.0 ms; "
        "warming up would save the rest"
    )


@pytest.mark.parametrize("runs", [((30, 10, 20),), ((30, 10, 20), (2, 4, 8)), ((3, 10, 20), (9, 10, 20))])
def test_a_first_run_that_nothing_shows_to_be_slow_is_no_gain(runs):
    assert ("first use", "first audio") not in found(recording(*runs))


def test_an_utterance_that_gave_no_audio_before_the_first_one_counts():
    got = found(recording((7, 6, 12), opened=((0, 3), (1, 2))))
    assert got["early", "first audio"].saves_ms == 3
    assert got["early", "first audio"].how == (
        "2 utterances were encoded before first audio; all but the one that gave it took 3.0 ms"
    )
    assert ("early", "first audio") not in found(recording((7, 6, 12)))


def test_nothing_recorded_gives_nothing():
    assert gains(Recording(), times(Recording(), LANES), {"net": net()}) == []
