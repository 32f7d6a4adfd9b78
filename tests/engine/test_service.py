"""A service speaks to many, and gives back all that a request held, however that ends."""

import contextlib
import gc
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import BusyError, Cancelled, DeadlineError, NetError, RequestError
from voxstack.engine import voices as voices_module
from voxstack.engine.admission import Admission
from voxstack.engine.request import Request
from voxstack.engine.service import Service
from voxstack.engine.session import Session
from voxstack.engine.voices import Voices

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
TEXT = "Abc def."
LONG = "abcdefghijkl " * 200


@pytest.fixture
def open_service(addons, put):
    """Return what makes a service of one voice, "tone"."""
    put("tone")
    opened = []

    def make(streams=4, **options):
        service = Service(Voices([addons]), Admission(streams, **options))
        service.voices.load("tone")
        opened.append(service)
        return service

    yield make
    for service in opened:
        service.close(drain_s=0)


@pytest.fixture
def service(open_service):
    return open_service()


class Unwritten:
    """A text that goes on when a test says so."""

    def __init__(self):
        self.more = threading.Event()

    def __iter__(self):
        yield "Abc. "
        yield "Def"
        assert self.more.wait(PATIENCE_S)
        yield "."


@pytest.fixture
def unwritten():
    text = Unwritten()
    yield text
    text.more.set()


def is_idle(service):
    """Wait until nothing is at work, and check that nothing is held."""
    for request in tuple(service._requests):
        assert request.over.wait(PATIENCE_S)
    held = (service.at_work, service.admission.at_work, service.admission.queued)
    return held == (0, 0, 0) and not any(row.leases for row in service.voices.states())


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


# Speaking


def test_a_service_says_what_a_voice_says(service, addons):
    wanted = voxstack.load("tone", folders=[addons]).say(TEXT, speed=0.5).samples
    np.testing.assert_array_equal(service.say("tone", TEXT, speed=0.5).samples, wanted)
    np.testing.assert_array_equal(joined(service.stream("tone", TEXT, speed=0.5)), wanted)
    np.testing.assert_array_equal(joined(service.stream("tone", iter(["Abc ", "def."]), speed=0.5)), wanted)


def test_a_service_tells_marks_too(service, addons):
    wanted = voxstack.load("tone", folders=[addons]).say(TEXT, marks=("word", "sentence")).marks
    assert len(wanted) == 3
    assert service.say("tone", TEXT, marks=("word", "sentence")).marks == wanted
    chunks = list(service.stream("tone", TEXT, marks=("word", "sentence")))
    assert tuple(mark for chunk in chunks for mark in chunk.marks) == wanted
    with pytest.raises(RequestError, match="no marks of 'viseme'"):
        service.stream("tone", TEXT, marks="viseme")
    assert service.at_work == 0


def test_a_voice_is_loaded_for_the_first_request(addons, put):
    put("tone")
    with Service(Voices([addons])) as service:
        assert service.say("tone", TEXT).duration_s > 0


def test_many_at_once_each_hear_their_own(open_service):
    service = open_service(streams=8)
    texts = [letter * 30 for letter in "abcdefgh"]
    alone = [service.say("tone", text).samples for text in texts]
    together = threading.Barrier(len(texts))

    def listen(text):
        together.wait(PATIENCE_S)
        return joined(service.stream("tone", text))

    with ThreadPoolExecutor(len(texts)) as pool:
        for one, other in zip(alone, pool.map(listen, texts), strict=True):
            np.testing.assert_array_equal(one, other)
    assert is_idle(service)


# What a request holds


def test_while_it_is_at_work_a_request_holds_its_place_and_its_voice(service):
    speech = service.stream("tone", LONG)
    next(speech)
    assert service.at_work == service.admission.at_work == 1
    assert service.admission.queued == len(LONG)
    assert [row.leases for row in service.voices.states()] == [1]
    speech.close()
    assert is_idle(service)


def test_what_is_spoken_waits_no_more(service):
    text = "Abc def. " * 20
    speech = service.stream("tone", text)
    start = 0
    while start < len(text) // 2:
        start = next(speech).span[0]
    assert service.admission.queued <= len(text) - start
    speech.close()
    assert is_idle(service)


def test_a_stream_that_is_heard_to_its_end_gives_all_back(service):
    assert joined(service.stream("tone", TEXT)).size
    assert is_idle(service)


def test_a_short_stream_gives_all_back_once_it_is_made_though_nobody_has_read_it(service):
    speech = service.stream("tone", TEXT)
    assert is_idle(service)
    assert joined(speech).size


def test_a_stream_that_is_closed_before_it_is_read_gives_all_back(service):
    service.stream("tone", LONG).close()
    assert is_idle(service)


def test_a_forgotten_stream_gives_all_back(service):
    before = threading.active_count()
    next(service.stream("tone", LONG))
    assert is_idle(service)
    ring = [service.stream("tone", LONG)]
    ring.append(ring)
    del ring
    gc.collect()
    assert is_idle(service)
    until = time.monotonic() + PATIENCE_S
    while threading.active_count() > before:  # its thread is stopped by another, and just ending
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_forgotten_stream_with_a_deadline_does_not_wait_for_it(service):
    next(service.stream("tone", LONG, deadline_s=1e6))
    assert is_idle(service)


def test_a_stream_that_fails_gives_all_back(service, monkeypatch):
    def fail(*unused, **options):
        raise NetError("broke")

    monkeypatch.setattr(Session, "_read", fail)
    with pytest.raises(NetError, match="broke"):
        list(service.stream("tone", TEXT))
    with pytest.raises(NetError, match="broke"):
        service.say("tone", TEXT)
    assert is_idle(service)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"voice": "tonne", "text": TEXT}, "no voice 'tonne'; did you mean 'tone'?"),
        ({"voice": "tone", "text": TEXT, "sped": 2}, "has no control 'sped'; did you mean 'speed'?"),
        ({"voice": "tone", "text": TEXT, "speed": 9}, "controls.speed: got 9, want 0.5 to 2"),
        ({"voice": "tone", "text": 7}, "text: got a int, want a str or an iterable of str"),
        ({"voice": "tone", "text": "…"}, "text: nothing to speak: got only '…'"),
        ({"voice": "tone", "text": TEXT, "deadline_s": 0}, "deadline_s: got 0, want seconds above 0"),
        ({"voice": "tone", "text": TEXT, "deadline_s": float("nan")}, "want seconds above 0"),
    ],
)
def test_a_wrong_request_is_refused_and_holds_nothing(service, asked, message):
    for ask in (service.stream, service.say):
        with pytest.raises(RequestError) as refused:
            list(ask(**asked))
        assert message in str(refused.value)
        assert is_idle(service)


def test_where_no_thread_can_be_had_nothing_is_held(service, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            service.stream("tone", TEXT)
    assert is_idle(service)
    assert service.say("tone", TEXT).duration_s > 0


def test_requests_that_are_over_are_not_kept(service):
    """Whatever is remembered of a request goes with it."""
    for _ in range(20):
        list(service.stream("tone", TEXT, deadline_s=1e6, client=object()))
    assert is_idle(service)
    for thread in threading.enumerate():
        if thread.name == "voxstack-speech":  # it is just ending, and holds its request until it has
            thread.join(5)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Request]


# Too many


def test_beyond_the_bound_a_request_is_refused_at_once_with_a_hint(open_service):
    service = open_service(streams=1)
    speech = service.stream("tone", LONG)
    for ask in (service.stream, service.say):
        with pytest.raises(BusyError) as refused:
            ask("tone", TEXT)
        assert 1 <= refused.value.retry_after_s <= 30
    speech.close()
    assert service.say("tone", TEXT).duration_s > 0


def test_one_client_may_have_so_many(open_service):
    service = open_service(streams=4, per_client=1)
    speech = service.stream("tone", LONG, client="a")
    with pytest.raises(BusyError, match="this client"):
        service.stream("tone", TEXT, client="a")
    assert service.say("tone", TEXT, client="b").duration_s > 0
    speech.close()


def test_a_refused_request_loads_no_voice(open_service, put):
    service = open_service(streams=1)
    put("other", 0.25)
    speech = service.stream("tone", LONG)
    with pytest.raises(BusyError):
        service.stream("other", TEXT)
    assert [row.name for row in service.voices.states()] == ["tone"]
    speech.close()


# Deadlines


def test_a_deadline_in_the_middle_of_a_stream_is_the_listeners_error(service, unwritten):
    """The listener waits in the iterator, the work waits for text in another thread."""
    begun = time.monotonic()
    speech = service.stream("tone", unwritten, deadline_s=0.4)
    heard = [next(speech)]
    with pytest.raises(DeadlineError) as late:
        heard.extend(speech)
    assert 0.4 <= time.monotonic() - begun < PATIENCE_S / 2
    made_s = late.value.made_s
    assert made_s == pytest.approx(sum(chunk.duration_s for chunk in heard))
    assert str(late.value) == (
        f"tone: its 0.4 s are over; made by then: {made_s:.2f} s of audio, "
        "the first 0 characters and part of the next sentence"
    )
    assert list(speech) == []
    assert is_idle(service)


def test_a_deadline_stops_work_whose_listener_does_not_read(service):
    speech = service.stream("tone", LONG, deadline_s=0.05)
    assert is_idle(service)
    with pytest.raises(DeadlineError, match=f"of {len(LONG)} characters"):
        next(speech)
    assert list(speech) == []


def test_a_deadline_stops_a_net_in_flight(service, forever, monkeypatch):
    """A run of years; the engine stops it, nothing else could."""
    running = threading.Event()

    def read(*unused, **options):
        running.set()
        forever.run({"x": np.array(0, np.float32), "steps": np.array(2**62, np.int64)})

    monkeypatch.setattr(Session, "_read", read)
    with pytest.raises(DeadlineError) as late:
        list(service.stream("tone", TEXT, deadline_s=0.1))
    assert running.is_set()
    assert late.value.made_s == 0
    with pytest.raises(DeadlineError):
        service.say("tone", TEXT, deadline_s=0.1)
    assert is_idle(service)


def test_a_deadline_holds_while_a_voice_is_loaded(open_service, put, monkeypatch):
    service = open_service()
    put("slow", 0.25)
    is_open = threading.Event()
    real = voices_module.open_voice

    def slow(*args, **options):
        assert is_open.wait(PATIENCE_S)
        return real(*args, **options)

    monkeypatch.setattr(voices_module, "open_voice", slow)
    with pytest.raises(DeadlineError) as late:
        service.stream("slow", TEXT, deadline_s=0.05)
    assert str(late.value).startswith("slow: its 0.05 s are over; made by then: 0.00 s of audio")
    is_open.set()
    assert service.say("slow", TEXT).duration_s > 0
    assert is_idle(service)


def test_who_makes_it_in_time_hears_all(service):
    whole = service.say("tone", TEXT).samples
    np.testing.assert_array_equal(joined(service.stream("tone", TEXT, deadline_s=60)), whole)
    np.testing.assert_array_equal(service.say("tone", TEXT, deadline_s=60).samples, whole)


def test_a_deadline_is_for_the_work_not_for_the_listener(service):
    """What is made in time may be heard later."""
    speech = service.stream("tone", TEXT, deadline_s=30)
    assert is_idle(service)
    assert joined(speech).size


# Closing


def test_closing_waits_for_those_who_listen(service):
    whole = service.say("tone", LONG).samples
    speech = service.stream("tone", LONG)
    first = next(speech)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(service.close, drain_s=PATIENCE_S)
        rest = joined(speech)
        assert closing.result(PATIENCE_S) == 0
    np.testing.assert_array_equal(np.concatenate([first.samples, rest]), whole)
    assert service.voices.states() == []
    assert service.voices.in_use_bytes == 0


def test_who_has_not_ended_by_then_is_told_so(service, unwritten):
    before = threading.active_count()
    speech = service.stream("tone", unwritten)
    next(speech)
    assert service.close(drain_s=0.01) == 1
    with pytest.raises(Cancelled) as stopped:
        list(speech)
    assert str(stopped.value) == "tone: the service was closed before it had spoken"
    unwritten.more.set()
    assert is_idle(service)
    for thread in threading.enumerate():
        if thread.name == "voxstack-text":
            thread.join(PATIENCE_S)
    assert threading.active_count() == before


def test_a_closed_service_takes_nothing(service):
    service.close()
    assert service.close() == 0
    for ask in (service.stream, service.say):
        with pytest.raises(BusyError) as refused:
            ask("tone", TEXT)
        assert str(refused.value) == ("service: it is closing and takes no new requests; try again in 1 s")


def test_a_service_leaves_no_thread(addons, put):
    put("tone")
    before = threading.active_count()
    with Service(Voices([addons])) as service:
        list(service.stream("tone", TEXT, deadline_s=60))
    assert threading.active_count() == before


# Everything at once


def test_reload_under_load_drops_no_request_and_mixes_none(open_service, put):
    service = open_service(streams=4)
    versions = {}
    for loudness in (0.25, 0.5):
        put("tone", loudness)
        service.voices.reload("tone")
        versions[loudness] = service.say("tone", TEXT).samples
    stop, ended = threading.Event(), threading.Semaphore(0)
    heard = []

    def listen(place):
        while not stop.is_set():
            heard.append(joined(service.stream("tone", TEXT, deadline_s=60, client=place)))
            ended.release()

    with ThreadPoolExecutor(4) as pool:
        listeners = [pool.submit(listen, place) for place in range(4)]
        for loudness in [0.25, 0.5] * 2:
            put("tone", loudness)
            assert service.voices.reload_changed().names == ("tone",)
            for _ in range(6):
                assert ended.acquire(timeout=PATIENCE_S)
        stop.set()
        for one in listeners:
            one.result(PATIENCE_S)
    found = {tuple(key for key, whole in versions.items() if np.array_equal(one, whole)) for one in heard}
    assert found == {(0.25,), (0.5,)}
    assert is_idle(service)
    assert len(service.voices.states()) == 1


def doings(service, name, client, wanted):
    """Return what may be done with a voice."""

    def leave():
        service.stream(name, LONG, client=client).close()

    def forget():
        next(service.stream(name, LONG, client=client))

    def be_late():
        list(service.stream(name, LONG, deadline_s=0.001, client=client))

    def listen():
        heard = joined(service.stream(name, TEXT, deadline_s=PATIENCE_S, client=client))
        np.testing.assert_array_equal(heard, wanted)

    def unload():
        with contextlib.suppress(RequestError):  # it is not loaded
            service.voices.unload(name)

    return leave, forget, be_late, listen, listen, unload, lambda: service.voices.reload(name)


def test_whatever_happens_in_whatever_order_nothing_is_held_at_the_end(open_service, put):
    """Listeners who leave, forget or are late, while voices are pushed out, unloaded and reloaded."""
    for name, loudness in (("soft", 0.1), ("loud", 0.9)):
        put(name, loudness)
    service = open_service(streams=6, per_client=2)
    whole = {name: service.say(name, TEXT).samples for name in ("tone", "soft", "loud")}
    own = max(row.own_bytes for row in service.voices.states())
    service.voices._shelf.budget_bytes = service.voices.in_use_bytes - own  # room for two of the three
    refused = []

    def live(place):
        chance = random.Random(place)
        for _ in range(25):
            name = chance.choice(list(whole))
            try:
                chance.choice(doings(service, name, place, whole[name]))()
            except (BusyError, DeadlineError) as error:
                refused.append(error)

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(live, place) for place in range(4)]:
            one.result(PATIENCE_S)
    assert refused
    assert is_idle(service)
    states = service.voices.states()
    assert {row.state for row in states} <= {"ready"}
    assert service.voices.in_use_bytes <= service.voices._shelf.budget_bytes
    for row in states:
        service.voices.unload(row.name)
    assert service.voices.in_use_bytes == 0
    assert service.voices._shelf.places == {}
