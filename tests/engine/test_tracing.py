"""A trace is one that a viewer can read: lanes, nested bars, instants, and sums that are right."""

import json

import pytest

from voxstack.core.events import Event
from voxstack.engine.recording import CHUNKS, Lane, Noted, Recording, Span
from voxstack.engine.times import times
from voxstack.engine.tracing import chrome_trace, merged

pytestmark = pytest.mark.unit

MS = 1_000_000

LANES = [
    Lane(CHUNKS, "chunks", "chunks for the listener"),
    Lane("$.stack[1]", "block", "Vocoder $.stack[1]"),
    Lane("$.stack[0]", "block", "Maker $.stack[0]"),
    Lane("idle", "net", "net idle"),
    Lane("step", "net", "net step"),
    Lane("vocoder", "net", "net vocoder"),
]


def recording(steps=3):
    """Two chunks of 10 and 20 ms; in the first a recurrent net makes steps of 1 ms, then a vocoder 2 ms."""
    seen = Recording()
    at = 1000 * MS

    def span(lane, what, start, stop, parent, **facts):
        seen.spans.append(Span(lane, what, at + start * MS, at + stop * MS, parent, facts))
        return len(seen.spans) - 1

    first = span(CHUNKS, "chunk", 0, steps + 7, None, samples=1600, sample_rate=16_000)
    read = span("$.stack[1]", "read", 1, steps + 6, first, steps=1600, utterance=0)
    frames = span("$.stack[0]", "read", 2, steps + 2, read, steps=10, utterance=0)
    for number in range(steps):
        span("step", "step", 2 + number, 3 + number, frames)
    span("vocoder", "run", steps + 3, steps + 5, read)
    second = span(CHUNKS, "chunk", 100, 120, None, samples=800, sample_rate=16_000)
    read = span("$.stack[1]", "read", 101, 119, second, steps=800, utterance=0)
    span("vocoder", "run", 102, 118, read)
    stall = Event("attention.stall", "step", 7, "it stands")
    seen.events.append(Noted(at + 3 * MS, 0, stall))
    seen.events.append(Noted(at + 3 * MS, 0, Event("alignment", "step", 0)))
    return seen


def trace(seen, **options):
    return json.loads(json.dumps(chrome_trace(seen, LANES, title="toy", about={"seed": 1}, **options)))


def bars(made):
    return [event for event in made["traceEvents"] if event["ph"] == "X"]


def test_lanes_are_named_and_stand_in_the_order_of_asking():
    made = trace(recording())
    names = [event for event in made["traceEvents"] if event["name"] == "thread_name"]
    assert [event["args"]["name"] for event in names] == [
        "chunks for the listener",
        "Vocoder $.stack[1]",
        "Maker $.stack[0]",
        "net step",
        "net vocoder",
    ]
    assert [event["tid"] for event in names] == [1, 2, 3, 4, 5]
    assert made["otherData"] == {"seed": 1}


def test_times_begin_at_zero_and_rise():
    events = [event for event in trace(recording())["traceEvents"] if event["ph"] != "M"]
    stamps = [event["ts"] for event in events]
    assert stamps == sorted(stamps)
    assert stamps[0] == 0
    assert bars(trace(recording()))[0]["dur"] == 10_000


def test_a_bar_says_what_it_is_and_who_asked():
    first, read, frames, *_ = bars(trace(recording()))
    assert (first["name"], read["name"], frames["name"]) == ("chunk of 100 ms", "read 1600", "read 10")
    assert frames["args"]["asked_by"] == "$.stack[1]"
    assert "asked_by" not in first["args"]


def test_first_audio_and_events_are_instants():
    instants = [event for event in trace(recording())["traceEvents"] if event["ph"] == "i"]
    assert [(event["name"], event["ts"], event["tid"], event["s"]) for event in instants] == [
        ("attention.stall: it stands", 3_000, 4, "t"),
        ("first audio: after 10.0 ms", 10_000, 1, "t"),
        ("runs dry: 10.0 ms until chunk 2", 110_000, 1, "t"),
    ]


def test_a_chunk_says_when_it_was_needed_and_how_long_before_it_was_ready():
    chunks = [bar["args"] for bar in bars(trace(recording())) if bar["tid"] == 1]
    assert [(args["needed_at_ms"], args["ahead_ms"]) for args in chunks] == [(10, 0), (110, -10)]


def test_audio_ahead_is_a_counter_that_falls_between_chunks():
    points = [event for event in trace(recording())["traceEvents"] if event["ph"] == "C"]
    assert {event["name"] for event in points} == {"audio ahead, ms"}
    curve = [(event["ts"] / 1000, event["args"]["ms"]) for event in points]
    assert curve[0] == (10, 100)
    assert (60, 50) in curve
    assert curve[-2:] == [(119.999_999, 0), (120, 50)] or curve[-2:] == [(120, 0), (120, 50)]
    assert all(set(event["args"]) == {"ms"} for event in points)


def test_an_event_of_somebody_without_a_lane_goes_across_all():
    seen = recording()
    seen.events.append(Noted(seen.spans[0].start_ns, 0, Event("x", "nobody", 0, "hm")))
    [event] = [event for event in trace(seen)["traceEvents"] if event["name"] == "x: hm"]
    assert (event["s"], event["tid"]) == ("p", 1)


def test_very_many_steps_are_one_bar_for_each_read():
    seen = recording(steps=50)
    drawn = bars(trace(seen, most_steps=49))
    [steps] = [event for event in drawn if event["name"] == "50 steps"]
    assert (steps["ts"], steps["dur"]) == (2_000, 50_000)
    assert steps["args"] == {"id": 3, "steps": 50, "net_ms": 50.0, "asked_by": "$.stack[0]", "parent": 2}
    assert len(drawn) == len(seen.spans) - 49
    assert len(bars(trace(seen, most_steps=50))) == len(seen.spans)


def test_merging_keeps_parents_right_and_the_recording_as_it_was():
    seen = recording(steps=50)
    kept = merged(seen.spans, 10)
    for span in kept:
        if span.parent is not None:
            asker = kept[span.parent]
            assert asker.start_ns <= span.start_ns
            assert span.end_ns <= asker.end_ns
            assert asker.lane != span.lane
    assert len([span for span in seen.spans if span.what == "step"]) == 50
    assert seen.spans[3].duration_ms == 1


def test_times_add_up_net_by_net():
    spent = times(recording(), LANES)
    assert (spent.wall_ms, spent.first_audio_ms, spent.chunks) == (30, 10, 2)
    vocoder, step, idle = spent.nets
    assert (vocoder.net, vocoder.runs, vocoder.total_ms, vocoder.share) == ("vocoder", 2, 18, 0.6)
    assert (vocoder.runs_before_audio, vocoder.before_audio_ms) == (1, 2)
    assert (step.net, step.runs, step.total_ms, step.runs_before_audio) == ("step", 3, 3, 3)
    assert (idle.runs, idle.total_ms) == (0, 0)
    assert (spent.outside_ms, spent.outside_before_audio_ms) == (9, 5)


def test_a_block_s_own_time_is_without_the_blocks_and_nets_that_it_asks():
    vocoder, maker = times(recording(), LANES).blocks
    assert (vocoder.block, vocoder.runs, vocoder.own_ms) == ("Vocoder $.stack[1]", 2, 3 + 2)
    assert (vocoder.runs_before_audio, vocoder.own_before_audio_ms) == (1, 3)
    assert vocoder.share == pytest.approx(5 / 30)
    assert (maker.block, maker.runs, maker.own_ms) == ("Maker $.stack[0]", 1, 0)


def test_work_done_at_the_same_time_inside_a_block_is_taken_off_once():
    seen = Recording()
    seen.spans.append(Span(CHUNKS, "chunk", 0, 10 * MS, None, {"samples": 1600, "sample_rate": 16_000}))
    seen.spans.append(Span("$.stack[0]", "run", 0, 9 * MS, 0, {}))
    for lane, start, stop in [("step", 1, 5), ("vocoder", 2, 6)]:
        seen.spans.append(Span(lane, "run", start * MS, stop * MS, 1, {}))
    assert times(seen, LANES).blocks[0].own_ms == 4


def test_a_chunk_without_samples_is_no_first_audio():
    seen = recording()
    seen.spans[0].facts["samples"] = 0
    spent = times(seen, LANES)
    assert (spent.chunks, spent.first_audio_ms) == (1, 20)


def test_a_request_that_never_spoke_is_empty():
    spent = times(Recording(), LANES)
    assert (spent.wall_ms, spent.first_audio_ms, spent.chunks) == (0, 0, 0)
    assert trace(Recording())["traceEvents"][0]["args"] == {"name": "toy"}


def test_nets_that_run_at_the_same_time_count_once_in_what_is_outside_nets():
    seen = Recording()
    seen.spans.append(Span(CHUNKS, "chunk", 0, 10 * MS, None, {"samples": 1600, "sample_rate": 16_000}))
    for lane, start, stop in [("step", 1, 4), ("vocoder", 2, 6), ("step", 3, 5), ("vocoder", 7, 8)]:
        seen.spans.append(Span(lane, "run", start * MS, stop * MS, 0, {}))
    found = times(seen, LANES)
    assert sum(net.total_ms for net in found.nets) == 10
    assert (found.nets_ms, found.outside_ms) == (6, 4)
    assert (found.nets_before_audio_ms, found.outside_before_audio_ms) == (6, 4)
