"""A watched voice says what each block and net did, and sounds as it does unwatched."""

from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.events import ALIGNMENT, Event
from voxstack.engine.audio import Audio
from voxstack.engine.nets import Running
from voxstack.engine.recording import CHUNKS, Noted, Recording, Span
from voxstack.engine.voice import open_voice
from voxstack.engine.watching import Watcher
from voxstack.stack.describe import rows

pytestmark = pytest.mark.unit

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "Abcdefghijkl abcdefghijkl. Fed cba. Abc"


@pytest.fixture(params=["tone", "tone-attention"])
def name(request):
    return request.param


def watched(name):
    watcher = Watcher()
    return watcher, voxstack.load(name, folders=[ADDONS], watch=watcher)


def recorded(name, text=TEXT, **controls):
    watcher, voice = watched(name)
    with watcher.recording() as seen:
        audio = Audio.joined(seen.chunks(voice.chunks(text, **controls)), voice.sample_rate)
    return watcher, seen, audio


def test_watching_changes_no_sample(name):
    alone = voxstack.load(name, folders=[ADDONS]).say(TEXT, seed=3).samples
    watcher, voice = watched(name)
    assert voice.say(TEXT, seed=3).samples.tobytes() == alone.tobytes()
    with watcher.recording() as seen:
        under_watch = Audio.joined(seen.chunks(voice.chunks(TEXT, seed=3)), voice.sample_rate)
    assert under_watch.samples.tobytes() == alone.tobytes()
    assert seen.spans


def test_nothing_is_noted_while_no_recording_runs(name):
    watcher, voice = watched(name)
    with watcher.recording() as seen:
        pass
    voice.say("abc")
    assert (seen.spans, seen.events, seen.mels) == ([], [], {})


def test_a_voice_without_a_watcher_has_no_wrappers(name):
    loaded = voxstack.load(name, folders=[ADDONS]).loaded
    kinds = {type(net).__module__ for net in loaded.nets.values()}
    kinds |= {type(inner).__module__ for inner in loaded.block.blocks}
    assert "voxstack.engine.watching" not in kinds


def test_a_watcher_does_not_wrap_the_nets_that_other_voices_share(name):
    _, voice = watched(name)
    other = voxstack.load(name, folders=[ADDONS]).loaded
    assert not {"_SeenNet"} & {type(net).__name__ for net in other.nets.values()}
    assert {"_SeenNet"} == {type(net).__name__ for net in voice.loaded.nets.values()}


def test_a_watched_stack_is_described_as_it_is(name):
    _, voice = watched(name)
    plain = voxstack.load(name, folders=[ADDONS]).loaded
    assert rows(voice.loaded.wired) == rows(plain.wired)
    assert voice.loaded.block.timing == plain.block.timing
    assert voice.loaded.runtime == plain.runtime


def test_every_block_and_net_has_a_lane_and_works_in_it(name):
    watcher, seen, _ = recorded(name)
    lanes = watcher.lanes
    assert lanes[0].name == CHUNKS
    assert {span.lane for span in seen.spans} == {lane.name for lane in lanes}
    nets = [lane.name for lane in lanes if lane.kind == "net"]
    assert "tone-vocoder/vocoder" in nets
    for lane in lanes:
        done = {span.what for span in seen.spans if span.lane == lane.name}
        if lane.is_container:
            assert done <= {"open", "run"}
        else:
            assert done <= {"chunk", "open", "read", "run", "begin", "step"}


def test_lanes_stand_so_that_who_asks_is_above_who_is_asked():
    watcher, _ = watched("tone")
    titles = [lane.title.split(" ")[0] for lane in watcher.lanes if not lane.is_container]
    assert titles == ["chunks", "Vocoder", "Decoder", "Upsampler", "Encoders", "net", "net", "net", "net"]


def test_each_span_lies_inside_the_one_that_asked_for_it(name):
    _, seen, _ = recorded(name)
    for place, span in enumerate(seen.spans):
        assert span.start_ns <= span.end_ns
        if span.parent is None:
            assert span.lane == CHUNKS
            continue
        assert span.parent < place
        asker = seen.spans[span.parent]
        assert asker.start_ns <= span.start_ns
        assert span.end_ns <= asker.end_ns


def test_the_chunks_are_those_that_the_listener_got(name):
    watcher, seen, audio = recorded(name)
    chunks = [span.facts["samples"] for span in seen.spans if span.lane == CHUNKS and span.facts]
    assert sum(chunks) == len(audio.samples)
    read = [span.facts for span in seen.spans if span.lane == watcher.last and span.what == "read"]
    assert {facts["utterance"] for facts in read} == {0, 1, 2}
    assert sum(facts["steps"] for facts in read) < len(audio.samples), "pauses stand between utterances"


def test_the_mel_that_flowed_is_kept_for_each_utterance(name):
    watcher, seen, _ = recorded(name)
    assert set(seen.mels) == {0, 1, 2}
    for utterance in seen.mels:
        steps = sum(
            span.facts["steps"]
            for span in seen.spans
            if span.lane == watcher.last and span.what == "read" and span.facts["utterance"] == utterance
        )
        mel = seen.mel(utterance)
        assert mel.shape == (steps // 160, 12)
    assert seen.mel(9) is None
    # Its first letter is an "a": the lowest of twelve tones.
    assert seen.mel(0)[4].argmax() == 0


def test_each_step_of_a_recurrent_net_is_seen():
    _, seen, _ = recorded("tone-attention", "abc")
    steps = [span for span in seen.spans if span.lane == "step" and span.what == "step"]
    assert len(steps) == 3 * 8 / 2
    begun = [span for span in seen.spans if span.lane == "step" and span.what == "begin"]
    assert [span.facts["takes"]["memory"] for span in begun] == [[3, 12]]


def test_an_event_is_noted_with_its_utterance():
    _, seen, _ = recorded("tone-attention", "Abc. Abcdef", stuck=4)
    stalls = [noted for noted in seen.events if noted.event.kind == "attention.stall"]
    assert [noted.utterance for noted in stalls] == [1]
    positions = [
        noted.event.values["positions"]
        for noted in seen.events
        if noted.event.kind == ALIGNMENT and noted.utterance == 0
    ]
    # The second utterance is opened while the first is spoken: its frames must not be taken for these.
    np.testing.assert_array_equal(np.concatenate(positions), np.repeat([0, 1, 2], 8))


def test_a_request_of_another_context_is_not_recorded():
    import threading

    watcher, voice = watched("tone")
    with watcher.recording() as seen:
        other = threading.Thread(target=voice.say, args=("abc",))
        other.start()
        other.join()
    assert seen.spans == []


def test_an_empty_utterance_does_not_shift_the_places_of_the_others():
    seen = Recording()
    for samples, reads in ((100, [(0, 100)]), (90, [(0, 0), (1, 0), (2, 70)]), (0, [(2, 0), (3, 0)])):
        chunk = len(seen.spans)
        seen.spans.append(Span(CHUNKS, "chunk", 0, 0, None, {"samples": samples} if samples else {}))
        for utterance, steps in reads:
            facts = {"utterance": utterance, "steps": steps}
            seen.spans.append(Span("last", "read", 0, 0, chunk, facts))
    assert seen.places("last") == {0: (0, 100), 1: (100, 0), 2: (120, 70), 3: (190, 0)}


def test_an_event_stands_at_its_frame_but_not_behind_its_utterance():
    places = {0: (0, 100), 1: (150, 50)}

    def at(utterance, frame, frame_rate=10.0):
        noted = Noted(0, utterance, Event("x", "net", frame))
        return noted.audio_s(places, sample_rate=100, frame_rate=frame_rate)

    assert (at(0, 3), at(1, 3), at(1, 99)) == (0.3, 1.8, 2.0)
    assert at(1, 3, None) == 2.0, "without a frame rate: the end"
    assert at(2, 0) == 2.0, "an utterance that nobody heard"


def test_what_is_noticed_in_a_text_is_of_the_utterance_that_comes():
    seen = Recording()
    for utterance in (0, 1):
        with seen.span(CHUNKS, "chunk"):
            seen.hear(Event("text.x", "text", 0))
            with seen.span("$", "open", {"utterance": utterance}):
                seen.hear(Event("x", "net", 0))
    assert [noted.utterance for noted in seen.events] == [0, 0, 1, 1]


def test_where_branches_end_the_block_around_them_is_what_the_listener_hears():
    gain = {"type": "Gain", "gain_db": 1}
    watcher = Watcher()
    effects = ({"type": "Compare", "a": gain, "b": gain},)
    voice = open_voice("tone", Running(effects=effects), folders=[ADDONS], watch=watcher)
    with watcher.recording() as seen:
        samples = sum(len(chunk.samples) for chunk in seen.chunks(voice.chunks("abc")))
    assert watcher.last == "effects: $.stack[0]"
    assert seen.places(watcher.last) == {0: (0, samples)}
