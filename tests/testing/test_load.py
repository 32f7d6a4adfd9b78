"""What is said of a target under load is what its listeners met, to the millisecond, failures and all."""

import threading

import numpy as np
import pytest

from voxstack.core.errors import RequestError, VoxstackError
from voxstack.testing.load import (
    ENGLISH,
    Heard,
    InTurn,
    Load,
    LoadReport,
    most_streams,
    read_texts,
    run_load,
    warm_up,
)
from voxstack.testing.load import hear as hear_by

pytestmark = pytest.mark.unit


class Clock:
    """A clock that only moves when somebody sleeps or works."""

    def __init__(self):
        self.at = 100.0
        self.slept = []

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.slept.append(round(seconds, 6))
        self.at += seconds


def speaking(clock, *chunks):
    """Yield chunks, given as (seconds of work since it was asked for, seconds of audio)."""
    for work_s, audio_s in chunks:
        clock.at += work_s
        yield audio_s


def hear(*chunks, **how):
    clock = Clock()
    heard = hear_by(speaking(clock, *chunks), begun_s=clock.now(), clock=clock, **how)
    return heard, clock


def near(values):
    return pytest.approx(values, abs=1e-6)


# One listener


def test_a_listener_asks_again_when_no_more_than_its_buffer_is_left():
    heard, clock = hear((0.05, 0.1), (0.01, 1.0), (0.02, 0.5), pace="realtime", buffer_ms=200)
    # 0.1 s is less than the buffer: asked at once. Then 1.09 s are held, then 0.18 + 0.5 s.
    assert clock.slept == [0.89, 0.48, 0.2]
    assert heard.first_audio_ms == near(50)
    assert heard.inter_chunk_ms == near((10, 20))
    assert heard.whole_ms == near(50 + 10 + 890 + 20)
    assert heard.audio_s == near(1.6)
    assert (heard.underruns, heard.dry_ms) == (0, 0)


def test_a_request_at_real_time_pace_is_over_when_all_is_played():
    heard, clock = hear((0.05, 0.1), (0.01, 1.0))
    assert clock.at - 100 == near(0.05 + 1.1)
    assert heard.whole_ms == near(60)


def test_playback_that_runs_dry_is_counted_and_goes_on_when_the_next_chunk_comes():
    heard, clock = hear((0.05, 0.1), (0.3, 0.2), (0.3, 0.4), buffer_ms=0)
    # Held until 0.15; asked then, came 0.3 later. Held until 0.65; asked then, came 0.3 later.
    assert heard.underruns == 2
    assert heard.dry_ms == near(600)
    assert clock.at - 100 == near(0.05 + 0.1 + 0.3 + 0.2 + 0.3 + 0.4)


def test_a_buffer_covers_as_much_delay_as_it_holds():
    late, _ = hear((0, 1.0), (0.201, 1.0), buffer_ms=200)
    in_time, _ = hear((0, 1.0), (0.199, 1.0), buffer_ms=200)
    assert (late.underruns, in_time.underruns) == (1, 0)
    assert late.dry_ms == near(1)


def test_as_fast_as_possible_nobody_sleeps_but_playback_is_reckoned():
    heard, clock = hear((0.05, 0.1), (0.3, 1.0), (0.3, 1.0), pace="fast")
    assert clock.slept == []
    assert (heard.underruns, heard.dry_ms) == (1, near(200))
    assert heard.inter_chunk_ms == near((300, 300))


def test_chunks_without_audio_are_no_first_audio():
    heard, _ = hear((0.05, 0.0), (0.05, 0.5), pace="fast")
    assert heard.first_audio_ms == near(100)
    assert heard.inter_chunk_ms == ()


def test_no_audio_at_all_is_not_heard():
    assert hear()[0] is None
    assert hear((0.1, 0.0))[0] is None


# Many listeners


class Toy:
    """A target that notes what it was asked, and does what `answer` says of the n-th request."""

    def __init__(self, answer=lambda number, text: [0.5]):
        self.asked = []
        self._answer = answer

    def stream(self, text):
        self.asked.append(text)
        yield from self._answer(len(self.asked), text)


def test_all_streams_are_open_at_once_and_each_goes_on_when_its_last_is_over():
    together = threading.Barrier(4, timeout=5)

    class Meeting:
        def stream(self, text):
            together.wait()  # nobody gets by unless four requests are open
            yield 0.1

    report = run_load(Meeting(), ["a", "b", "c"], Load(4, rounds=2, pace="fast"))
    assert report.requests == len(report.heard) == 4 * 2 * 3
    assert report.streams == 4


def test_listeners_come_evenly_over_the_ramp():
    lock, came = threading.Lock(), {}

    class Waits(Clock):
        def sleep(self, seconds):
            with lock:
                came[threading.current_thread().name[-1]] = seconds

    run_load(Toy(), ["a"], Load(4, pace="fast", ramp_s=8), clock=Waits())
    assert came == {"1": 2, "2": 4, "3": 6}


def test_never_more_requests_are_open_than_there_are_streams():
    lock, is_open, most = threading.Lock(), [], []

    class Counting:
        def stream(self, text):
            with lock:
                is_open.append(text)
                most.append(len(is_open))
            yield 0.1
            with lock:
                is_open.pop()

    run_load(Counting(), ["a", "b"], Load(3, rounds=20, pace="fast"))
    assert max(most) <= 3


def test_one_stream_goes_through_the_texts_round_by_round():
    toy = Toy()
    run_load(toy, ["a", "b", "c"], Load(1, rounds=2), clock=Clock())
    assert toy.asked == ["a", "b", "c", "a", "b", "c"]


def test_each_stream_begins_at_a_place_of_its_own():
    firsts, seen = [], set()

    class First:
        def stream(self, text):
            if threading.current_thread() not in seen:
                seen.add(threading.current_thread())
                firsts.append(text)
            yield 0.1

    run_load(First(), list("abcdefghij"), Load(5, pace="fast"))
    assert sorted(firsts) == ["a", "c", "e", "g", "i"]


def test_requests_are_dealt_out_in_turn():
    toys = [Toy(), Toy(), Toy()]
    run_load(InTurn(toys), list("abcde"), Load(1), clock=Clock())
    assert [toy.asked for toy in toys] == [["a", "d"], ["b", "e"], ["c"]]


def test_failures_are_counted_by_what_they_say_and_the_others_go_on():
    def answer(number, text):
        if number % 3 == 1:
            raise ValueError("broke")
        if number % 3 == 2:
            yield 0.25  # it breaks off after some audio
            raise OSError("gone")
        yield 0.5

    report = run_load(Toy(answer), list("abcdef"), Load(1), clock=Clock())
    assert report.errors == {"ValueError: broke": 2, "OSError: gone": 2}
    assert (report.requests, report.failed, len(report.heard)) == (6, 4, 2)
    assert report.audio_s == near(1.0)


def test_an_answer_without_audio_is_a_failure():
    report = run_load(Toy(lambda number, text: []), ["a", "b"], Load(1), clock=Clock())
    assert report.errors == {"it ended without any audio": 2}


class LaterError(Exception):
    def __init__(self, retry_after_s):
        self.retry_after_s = retry_after_s
        super().__init__("later")


def test_a_refusal_is_waited_for_and_counted_apart():
    clock = Clock()

    def answer(number, text):
        if number in (2, 3):
            raise LaterError(1.5)
        clock.at += 0.04
        yield 0.5

    toy = Toy(answer)
    report = run_load(toy, ["a", "b"], Load(1, pace="fast"), clock=clock)
    assert toy.asked == ["a", "b", "b", "b"]
    assert clock.slept == [1.5, 1.5]
    assert (report.requests, report.failed, report.refused, report.refused_wait_s) == (2, 0, 2, 3.0)
    assert [one.first_audio_ms for one in report.heard] == near([40, 40])


def test_a_refusal_in_the_call_itself_is_one_too():
    class Full:
        is_full = True

        def stream(self, text):
            if self.is_full:
                self.is_full = False
                raise LaterError(0)
            return iter([0.5])

    report = run_load(Full(), ["a"], Load(1), clock=Clock())
    assert (report.refused, report.failed, len(report.heard)) == (1, 0, 1)


@pytest.mark.parametrize("hint", [3600, float("inf"), float("nan"), -1])
def test_a_hint_that_nobody_would_follow_is_a_failure(hint):
    clock = Clock()

    def answer(number, text):
        raise LaterError(hint)
        yield

    report = run_load(Toy(answer), ["a"], Load(1), clock=clock)
    assert report.errors == {"LaterError: later": 1}
    assert (report.refused, clock.slept) == (1, [])


def test_who_is_always_refused_fails_in_the_end():
    def answer(number, text):
        raise LaterError(0.1)
        yield

    report = run_load(Toy(answer), ["a"], Load(1), clock=Clock())
    assert report.errors == {"VoxstackError: request: refused 100 times in a row": 1}
    assert report.refused == 100


def test_streams_are_closed_also_those_that_fail():
    closed = []

    class Speech:
        def __init__(self):
            self.chunks = iter([0.1])

        def __iter__(self):
            return self

        def __next__(self):
            if len(closed) == 1:
                raise ValueError
            return next(self.chunks)

        def close(self):
            closed.append(self)

    class Closing:
        def stream(self, text):
            return Speech()

    report = run_load(Closing(), ["a", "b", "c"], Load(1), clock=Clock())
    assert len(closed) == 3
    assert report.failed == 1


def test_an_interrupt_stops_every_listener_and_leaves_no_thread():
    before = threading.active_count()

    def progress(over, of):
        raise KeyboardInterrupt  # from within a listener, the others sleep for hours

    long = Toy(lambda number, text: [3600.0] if number > 1 else [0.0001])
    with pytest.raises(KeyboardInterrupt):
        run_load(long, ["a"], Load(3), progress=progress)
    assert threading.active_count() == before


def test_progress_is_told_of_every_request():
    told = []
    run_load(Toy(), ["a", "b"], Load(1, rounds=2), clock=Clock(), progress=lambda *one: told.append(one))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(("texts", "load"), [([], Load(1)), (["a"], Load(0)), (["a"], Load(1, rounds=0))])
def test_a_load_of_nothing_is_refused(texts, load):
    with pytest.raises(RequestError, match=r"^load: got .* want 1 or more of each$"):
        run_load(Toy(), texts, load)


def test_a_warm_up_speaks_once_and_raises_what_fails():
    toy = Toy()
    warm_up(toy, "a")
    assert toy.asked == ["a"]

    def broken(number, text):
        raise ValueError("broke")
        yield

    with pytest.raises(ValueError, match="broke"):
        warm_up(Toy(broken), "a")
    with pytest.raises(VoxstackError, match="warm-up: it ended without any audio"):
        warm_up(Toy(lambda number, text: []), "a")


# The sum


def heard(first_audio_ms, *, audio_s=2.0, gaps=(), underruns=0, dry_ms=0.0):
    return Heard(first_audio_ms, gaps, 500.0, audio_s, underruns, dry_ms)


def test_the_report_sums_up_what_was_heard():
    firsts = [10.0 * number for number in range(1, 101)]
    all_heard = [heard(first, gaps=(first, 2 * first)) for first in firsts]
    all_heard[3] = heard(firsts[3], gaps=(40.0, 80.0), underruns=2, dry_ms=30.0)
    all_heard[5] = heard(firsts[5], gaps=(60.0, 120.0), underruns=1, dry_ms=1.5)
    report = LoadReport(8, 50.0, all_heard, {"ValueError: broke": 3}, 4, 6.0, 123.0)
    row = report.row()
    gaps = [times * first for first in firsts for times in (1, 2)]
    assert row == {
        "streams": 8,
        "requests": 103,
        "errors": 3,
        "refused": 4,
        "refused_wait_s": 6.0,
        "first_audio_mean_ms": 505.0,
        "first_audio_p50_ms": 505.0,
        "first_audio_p90_ms": 901.0,
        "first_audio_p95_ms": 950.5,
        "first_audio_p99_ms": 990.1,
        "inter_chunk_p95_ms": near(float(np.percentile(gaps, 95))),
        "whole_mean_ms": 500.0,
        "audio_s": 200.0,
        "wall_s": 50.0,
        "audio_s_per_s": 4.0,
        "rtf": 0.25,
        "underruns": 3,
        "underruns_percent": 2.0,
        "dry_ms": 31.5,
        "peak_rss_mb": 123.0,
        "error_texts": {"ValueError: broke": 3},
    }


def test_a_report_of_nothing_but_failures_has_no_times():
    row = LoadReport(1, 2.0, (), {"OSError: gone": 1}).row()
    assert row["requests"] == row["errors"] == 1
    assert row["audio_s_per_s"] == 0
    for name in (
        "first_audio_mean_ms",
        "first_audio_p95_ms",
        "inter_chunk_p95_ms",
        "rtf",
        "underruns_percent",
    ):
        assert row[name] is None


def test_memory_is_told_in_megabytes():
    peak = run_load(Toy(), ["a"], Load(1), clock=Clock()).peak_rss_mb
    assert 10 < peak < 100_000


@pytest.mark.parametrize(
    ("report", "is_carried"),
    [
        (LoadReport(1, 1.0, [heard(200.0)]), True),
        (LoadReport(1, 1.0, [heard(250.0)]), False),
        (LoadReport(1, 1.0, [heard(200.0, underruns=1)]), False),
        (LoadReport(1, 1.0, [heard(200.0)], {"broke": 1}), False),
        (LoadReport(1, 1.0, [heard(200.0)], refused=1), False),
        (LoadReport(1, 1.0, []), False),
    ],
)
def test_streams_are_carried_if_nobody_waits_long_or_runs_dry_or_is_sent_away(report, is_carried):
    assert report.is_carried(within_ms=250) is is_carried


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 63, 64, 65, 100])
def test_the_greatest_number_of_streams_is_found(limit):
    asked = []

    def carries(streams):
        asked.append(streams)
        return streams <= limit

    assert most_streams(carries, most=64) == min(limit, 64)
    assert len(asked) == len(set(asked)) <= 13
    assert max(asked) <= 64


# Texts


def test_the_built_in_texts_are_short_and_long_mixed():
    words = [len(text.split()) for text in ENGLISH]
    assert len(words) == 10
    assert min(words) <= 4
    assert 55 <= max(words) <= 65
    assert any(text.count(". ") >= 3 for text in ENGLISH)


def test_texts_are_read_one_a_line(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffeins\r\n\n  zwei \n".encode())
    assert read_texts(file) == ("eins", "zwei")


@pytest.mark.parametrize(
    ("data", "said"), [(None, "cannot be read"), (b" \n", "holds no text"), (b"\xff\n", "is not UTF-8")]
)
def test_a_file_without_texts_is_refused(tmp_path, data, said):
    file = tmp_path / "texts.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(RequestError, match=said):
        read_texts(file)
