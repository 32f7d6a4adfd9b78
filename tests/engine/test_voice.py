"""A voice speaks texts, whole or in chunks, under its controls."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import AddonError, ConfigError, NetError, RequestError
from voxstack.core.events import Event, report
from voxstack.core.streams import ArrayStream
from voxstack.engine.audio import Audio
from voxstack.engine.plan import ChunkPlan
from voxstack.engine.sentences import WrittenText
from voxstack.engine.session import Session

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
RATE = 16_000


@pytest.fixture(scope="module")
def voice():
    return voxstack.load("tone", folders=[ADDONS])


def loudest_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / RATE)[spectrum.argmax()]


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


def test_each_letter_is_heard_as_its_own_tone_in_order(voice):
    samples = voice.say("aaa lll eee").samples
    # Letters last 6, 8 and 7 frames of 10 ms, a space 3.
    assert loudest_hz(samples[800:2400]) == pytest.approx(300, abs=15)
    assert loudest_hz(samples[18 * 160 + 3 * 160 + 800 :][:2400]) == pytest.approx(1400, abs=15)
    assert loudest_hz(samples[-2800:-800]) == pytest.approx(700, abs=15)


def test_chunks_joined_are_the_whole(voice):
    text = "Abcdef ghijkl abc. Fed cba."
    np.testing.assert_array_equal(joined(voice.stream(text)), voice.say(text).samples)


def test_text_in_pieces_sounds_like_the_text_at_once(voice):
    text = "Abc def. Ghi jkl! Abc"
    for size in (1, 2, 5):
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        np.testing.assert_array_equal(joined(voice.stream(pieces)), voice.say(text).samples)


def test_speech_starts_before_the_text_has_ended(voice):
    more = threading.Event()

    def pieces():
        yield "Abc. "
        yield "Def"
        assert more.wait(10)
        yield "ghi."

    speech = voice.stream(pieces())
    assert len(next(speech).samples)
    more.set()
    assert joined(speech).size


def test_a_flush_is_spoken_before_its_sentence_has_ended(voice):
    more = threading.Event()

    def pieces():
        yield from ("Abc", voxstack.FLUSH)
        assert more.wait(10)
        yield " def."

    speech = voice.stream(pieces())
    assert next(speech).span == (0, 3)
    more.set()
    assert [chunk.span for chunk in speech][-1] == (4, 7)


def test_half_the_speed_lasts_twice_as_long(voice):
    normal, slow = voice.say("abcdef"), voice.say("abcdef", speed=0.5)
    assert slow.duration_s == pytest.approx(2 * normal.duration_s, rel=0.01)


def test_sentences_are_joined_with_their_pause_and_nothing_else(voice):
    parts = [voice.say("Abc.").samples, voice.say("Def.").samples]
    both = voice.say("Abc. Def.").samples
    gap = len(both) - len(parts[0]) - len(parts[1])
    assert 0 < gap < RATE
    np.testing.assert_array_equal(both[: len(parts[0])], parts[0])
    assert not both[len(parts[0]) :][:gap].any()


def test_no_join_has_a_step_that_the_whole_has_not(voice):
    text = "abcdefghijkl" * 5
    whole = voice.say(text).samples
    chunks = [chunk.samples for chunk in voice.stream(text)]
    ends = np.cumsum([len(chunk) for chunk in chunks])[:-1]
    joined_samples = np.concatenate(chunks)
    for end in ends:
        assert abs(joined_samples[end] - joined_samples[end - 1]) <= abs(whole[end] - whole[end - 1]) + 1e-6


def test_many_requests_at_once_do_not_disturb_each_other(voice):
    texts = [letter * 30 for letter in "abcdefghijkl"]
    alone = [voice.say(text).samples for text in texts]
    speeches = [voice.stream(text) for text in texts]
    together: list = [None] * len(texts)

    def collect(place):
        together[place] = joined(speeches[place])

    threads = [threading.Thread(target=collect, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_closing_a_stream_ends_its_thread_and_its_iterator(voice):
    before = threading.active_count()
    speech = voice.stream("abcdefghijkl " * 200)
    next(speech)
    speech.close()
    speech.close()
    assert list(speech) == []
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() <= before


def test_a_forgotten_stream_stops_its_work(voice):
    before = threading.active_count()
    next(voice.stream("abcdefghijkl " * 200))
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() <= before


def test_a_failing_text_iterator_is_the_listeners_error(voice):
    def pieces():
        yield "Abc. "
        raise OSError("the writer died")

    with pytest.raises(OSError, match="the writer died"):
        list(voice.stream(pieces()))


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"pitch": 2}, "controls: voice 'tone' has no control 'pitch'; known: seed, speed"),
        ({"sped": 2}, "controls: voice 'tone' has no control 'sped'; did you mean 'speed'?"),
        ({"speed": 9}, "controls.speed: got 9, want 0.5 to 2"),
        ({"speed": float("nan")}, "controls.speed: got nan, want 0.5 to 2"),
        ({"seed": -1}, "controls.seed: got -1, want a whole number from 0 to 2^63 - 1"),
        ({"seed": 10**400}, f"controls.seed: got {10**400}, want a whole number from 0 to 2^63 - 1"),
        ({"speed": 10**400}, f"controls.speed: got {10**400}, want a number from 0.5 to 2"),
        ({"seed": 0.5}, "controls.seed: got 0.5, want a whole number from 0 to 2^63 - 1"),
    ],
)
def test_a_control_that_the_voice_lacks_or_cannot_do_is_refused_by_name(voice, controls, message):
    with pytest.raises(RequestError) as caught:
        voice.stream("abc", **controls)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", " ", "\n\n", "!?", "🙂", "\0\0"])
def test_a_text_with_nothing_to_speak_is_refused_not_silent(voice, text):
    with pytest.raises(RequestError):
        voice.say(text)
    with pytest.raises(RequestError):
        list(voice.stream(text))


def test_an_unknown_voice_is_refused_with_a_suggestion():
    with pytest.raises(RequestError, match=r"no voice 'tune'; did you mean 'tone'\?"):
        voxstack.load("tune", folders=[ADDONS])


def test_an_unknown_profile_is_refused():
    with pytest.raises(ConfigError, match="no profile 'gpuu'"):
        voxstack.load("tone", "gpuu", folders=[ADDONS])


def test_a_path_that_is_no_addon_is_refused(tmp_path):
    with pytest.raises(AddonError, match=r"no addon\.json"):
        voxstack.load(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_audio_is_saved_in_every_format(voice, tmp_path, suffix):
    import soundfile

    audio = voice.say("abcdefghijkl")
    path = tmp_path / f"tones{suffix}"
    audio.save(path)
    read, rate = soundfile.read(path)
    assert len(read) / rate == pytest.approx(audio.duration_s, abs=0.1)
    assert np.abs(read).max() == pytest.approx(0.5, abs=0.1)


def test_audio_of_another_format_is_refused_and_leaves_nothing_behind(voice, tmp_path):
    with pytest.raises(RequestError, match=r"cannot write '\.xyz' files; known: \.wav"):
        voice.say("a").save(tmp_path / "tones.xyz")
    assert list(tmp_path.iterdir()) == []


def test_closing_wakes_a_stream_that_waits_for_text(voice):
    never = threading.Event()

    def pieces():
        yield "Abc. Def"
        never.wait(30)

    speech = voice.stream(pieces())
    next(speech)
    started = time.monotonic()
    speech.close()
    assert time.monotonic() - started < 2
    assert list(speech) == []
    never.set()


def test_a_program_may_end_in_the_middle_of_speech():
    code = (
        f"import voxstack; voice = voxstack.load('tone', folders=[{str(ADDONS)!r}]); "
        "speech = voice.stream('abcdefghijkl ' * 2000); next(speech)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("text", [None, 3, b"abc"])
def test_what_is_no_text_is_refused(voice, text):
    with pytest.raises(RequestError, match="want a str or an iterable of str"):
        voice.say(text)


def test_a_piece_that_is_no_text_is_refused(voice):
    with pytest.raises(RequestError, match="got a int among its pieces, want str"):
        list(voice.stream(["abc ", 3]))


@pytest.mark.parametrize("value", [None, "fast", float("inf"), True])
def test_a_control_that_is_no_number_is_refused(voice, value):
    with pytest.raises(RequestError, match=r"controls\.speed: got "):
        voice.say("abc", speed=value)
    with pytest.raises(RequestError, match=r"controls\.seed: got "):
        voice.say("abc", seed=value)


def test_many_writers_of_one_file_leave_one_whole_file(voice, tmp_path):
    import soundfile

    path = tmp_path / "tones.wav"
    audio = voice.say("abcdefghijkl" * 10)
    writers = [threading.Thread(target=audio.save, args=(path,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert soundfile.info(path).frames == len(audio.samples)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tones.wav"]


def test_samples_that_are_not_finite_are_never_heard(voice):
    class Broken:
        def open(self, tensors, source):
            return ArrayStream.over({"samples": np.full(9_000, np.nan, np.float32)})

    session = Session(
        Broken(), WrittenText("abc", voice.front), {}, sample_rate=RATE, frame_samples=160, plan=ChunkPlan()
    )
    with pytest.raises(NetError, match="not finite"):
        list(session.chunks())


class Telling:
    """A block whose stream gives half a second of samples, and reports events when it is over."""

    def __init__(self, events):
        self.events = events

    def open(self, tensors, source):
        self.rest = RATE // 2
        return self

    def read(self, steps):
        steps, self.rest = min(steps, self.rest), self.rest - min(steps, self.rest)
        for event in self.events if not steps else ():
            report(event)
        return {"samples": np.zeros(steps, np.float32)}

    def close(self):
        pass


def told(voice, block, plan):
    utterances = WrittenText("abc", voice.front)
    session = Session(block, utterances, {}, sample_rate=RATE, frame_samples=160, plan=plan)
    return [(len(chunk.samples), [event.kind for event in chunk.events]) for chunk in session.chunks()]


def test_what_is_noticed_when_nothing_is_left_to_say_is_told_with_an_empty_chunk(voice):
    halves = ChunkPlan(first_ms=250, growth=1, most_ms=250)
    assert told(voice, Telling([Event("toy.over", "toy", 50)]), halves) == [
        (4000, []),
        (4000, []),
        (0, ["toy.over"]),
    ]


def test_an_utterance_that_ends_with_its_chunk_and_notices_nothing_has_no_empty_one(voice):
    halves = ChunkPlan(first_ms=250, growth=1, most_ms=250)
    assert told(voice, Telling(()), halves) == [(4000, []), (4000, [])]


def test_audio_joined_has_the_events_of_all_its_chunks():
    one, two = Event("one", "toy", 0), Event("two", "toy", 9)
    chunks = [Audio(np.ones(3, np.float32), RATE, events=(event,)) for event in (one, two)]
    audio = Audio.joined(chunks, RATE)
    assert (len(audio.samples), audio.events) == (6, (one, two))


def test_a_voice_without_numbers_may_be_warmed_too(voice):
    voice.warm_up()


def test_a_sentence_that_cannot_be_spoken_does_not_cut_the_one_before_it(voice):
    whole = voice.say("Abcdefghijkl" * 10 + ".").samples
    heard = []
    with pytest.raises(RequestError, match="text"):
        heard.extend(voice.chunks("Abcdefghijkl" * 10 + ". Xyz. Abc."))
    np.testing.assert_array_equal(joined(heard), whole)
