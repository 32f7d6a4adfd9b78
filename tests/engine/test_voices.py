"""Voices come and go while others speak."""

import gc
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import make_tone
from voxstack.core.errors import AddonError, BusyError, ConfigError, DeadlineError, NetError, RequestError
from voxstack.engine import voices as voices_module
from voxstack.engine.audio import Audio
from voxstack.engine.voice import Voice
from voxstack.engine.voices import BROKEN_S, Voices

pytestmark = pytest.mark.end_to_end

EXAMPLES = Path(__file__).parents[2] / "examples" / "addons"

PATIENCE_S = 20
TEXT = "Abc def."


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_voices(addons, clock):
    """Return what makes the voices of the folder."""
    opened = []

    def make(**options):
        opened.append(Voices([addons], clock=clock, **options))
        return opened[-1]

    yield make
    for voices in opened:
        voices.close()


@pytest.fixture
def loads(monkeypatch):
    """The names of voices that were loaded, in order."""
    names = []
    real = voices_module.open_voice

    def counted(name, *args, **options):
        names.append(name)
        return real(name, *args, **options)

    monkeypatch.setattr(voices_module, "open_voice", counted)
    return names


@pytest.fixture
def gate(monkeypatch):
    """Hold up the loading of voices: `gate.reached` is set by the first, which waits for `gate.is_open`."""
    return Gate(monkeypatch)


class Gate:
    def __init__(self, monkeypatch):
        self.reached, self.is_open = threading.Event(), threading.Event()
        self.held = None
        real = voices_module.open_voice

        def held_up(name, *args, **options):
            voice = real(name, *args, **options)
            if self.held in (None, name):
                self.reached.set()
                assert self.is_open.wait(PATIENCE_S)
            return voice

        monkeypatch.setattr(voices_module, "open_voice", held_up)


def rows(voices):
    return [(row.name, row.state, row.leases) for row in voices.states()]


def said(voices, name):
    with voices.lease(name) as voice:
        return voice.say(TEXT).samples


def peak(samples):
    return float(np.abs(samples).max())


def nets_of(voice):
    return {name: weakref.ref(net) for name, net in voice.loaded.nets.items()}


def size_of(folder: Path):
    return sum(path.stat().st_size for path in (folder / "nets").iterdir())


# Loading


def test_a_voice_is_loaded_when_it_is_first_wanted_and_then_stays(open_voices, put, loads):
    put("tone")
    voices = open_voices()
    assert voices.states() == []
    assert peak(said(voices, "tone")) > 0
    assert peak(said(voices, "tone")) > 0
    assert loads == ["tone"]
    [row] = voices.states()
    assert (row.name, row.state, row.leases, row.profile) == ("tone", "ready", 0, "cpu")


def test_voices_are_loaded_ahead(open_voices, put, loads):
    put("tone")
    put("other")
    voices = open_voices()
    voices.load("tone", "other")
    assert sorted(loads) == ["other", "tone"]
    said(voices, "tone")
    assert len(loads) == 2


def test_a_voice_is_warm_before_it_is_offered(open_voices, put, monkeypatch):
    put("tone")
    warmed = []
    real = Voice.warm_up
    monkeypatch.setattr(Voice, "warm_up", lambda voice: (warmed.append(voice), real(voice)))
    with open_voices().lease("tone") as voice:
        assert warmed == [voice]


def test_all_who_want_a_voice_at_once_get_the_same_one(open_voices, put, loads):
    put("tone")
    voices = open_voices()
    together = threading.Barrier(8)

    def ask(_):
        together.wait(PATIENCE_S)
        return voices.lease("tone")

    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(ask, range(8)))
    assert len({id(lease.voice) for lease in leases}) == 1
    assert loads == ["tone"]
    assert rows(voices) == [("tone", "ready", 8)]


def test_while_one_voice_is_loaded_another_speaks(open_voices, put, gate):
    put("tone")
    put("slow")
    voices = open_voices()
    gate.held = "slow"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(voices.lease, "slow")
        assert gate.reached.wait(PATIENCE_S)
        assert peak(said(voices, "tone")) > 0
        assert rows(voices) == [("slow", "loading", 0), ("tone", "ready", 0)]
        gate.is_open.set()
        assert slow.result(PATIENCE_S).voice.name == "slow"


def test_who_waits_for_a_voice_can_stop_waiting(open_voices, put, gate):
    put("tone")
    voices = open_voices()
    with pytest.raises(DeadlineError) as late:
        voices.lease("tone", timeout_s=0.01)
    assert str(late.value) == "tone: it was not loaded within 0.01 s"
    gate.is_open.set()
    voices.load("tone")
    assert rows(voices) == [("tone", "ready", 0)]


def test_there_is_no_thread_for_a_voice(open_voices, put):
    before = threading.active_count()
    voices = open_voices()
    for name in ("one", "two", "three"):
        put(name)
        voices.load(name)
    for thread in threading.enumerate():
        if thread.name == "voxstack-load-voice":
            thread.join(PATIENCE_S)
    assert threading.active_count() == before


def test_an_unknown_voice_is_refused_with_those_that_are_known(open_voices, put):
    put("tone")
    voices = open_voices()
    with pytest.raises(RequestError) as refused:
        voices.lease("tonne")
    assert str(refused.value) == "voice: no voice 'tonne'; did you mean 'tone'?"
    assert voices.states() == []


def test_a_path_is_not_a_name(open_voices, put, tmp_path):
    put("tone")
    elsewhere = make_tone.make_tone(tmp_path / "elsewhere", name="elsewhere")
    for path in (str(elsewhere), f"{elsewhere}/../elsewhere", "../elsewhere", "./tone"):
        with pytest.raises(RequestError, match="no voice"):
            open_voices().lease(path)


# Broken ones


def test_a_broken_addon_does_not_touch_the_others(open_voices, put):
    put("tone")
    voices = open_voices()
    with voices.lease("tone") as voice:
        before = voice.say(TEXT).samples
        broken = put("broken", 0.25)  # a net that nobody has in memory already
        (broken / "nets" / "text.onnx").write_bytes(b"no net")
        for _ in range(2):
            with pytest.raises(AddonError, match=r"text\.onnx"):
                voices.lease("broken")
        np.testing.assert_array_equal(voice.say(TEXT).samples, before)
    [broken_row, tone_row] = voices.states()
    assert (broken_row.state, tone_row.state) == ("broken", "ready")
    assert "text.onnx" in broken_row.why
    assert broken_row.bytes == 0


def test_a_broken_voice_is_not_tried_for_each_request(open_voices, put, loads, clock):
    broken = put("broken")
    (broken / "addon.json").write_text("{")
    voices = open_voices()
    errors = []
    for _ in range(3):
        with pytest.raises(ConfigError) as error:
            voices.lease("broken")
        errors.append(error.value)
    assert loads == ["broken"]
    assert len({id(error) for error in errors}) == 3  # each may be raised in a thread of its own
    clock.now_s += BROKEN_S
    with pytest.raises(ConfigError):
        voices.lease("broken")
    assert len(loads) == 2


def test_a_broken_voice_that_is_mended_is_tried_at_once_if_asked_by_hand(open_voices, put):
    broken = put("tone")
    (broken / "addon.json").write_text("{")
    voices = open_voices()
    with pytest.raises(ConfigError):
        voices.load("tone")
    put("tone")
    voices.load("tone")
    assert rows(voices) == [("tone", "ready", 0)]
    assert voices.states()[0].why == ""


def test_what_failed_to_load_leaves_no_nets_behind(open_voices, put, monkeypatch):
    put("tone")
    voices = open_voices()
    loaded = []

    def fail(voice):
        loaded.extend(nets_of(voice).values())
        raise NetError("does not run")

    monkeypatch.setattr(Voice, "warm_up", fail)
    with pytest.raises(NetError):
        voices.lease("tone")
    for thread in threading.enumerate():
        if thread.name == "voxstack-load-voice":
            thread.join(PATIENCE_S)
    assert loaded
    assert not [net for net in loaded if net() is not None]
    assert voices.in_use_bytes == 0


# Unloading


def test_a_voice_that_nobody_uses_is_freed_at_once(open_voices, put):
    put("tone")
    voices = open_voices()
    with voices.lease("tone") as voice:
        nets = nets_of(voice)
    del voice
    voices.unload("tone")
    assert voices.states() == []
    assert voices.in_use_bytes == 0
    assert not [name for name, net in nets.items() if net() is not None]


def test_a_voice_is_never_unloaded_under_a_running_stream(open_voices, put):
    put("tone")
    voices = open_voices()
    whole = said(voices, "tone")
    lease = voices.lease("tone")
    nets = nets_of(lease.voice)
    speech = lease.voice.stream(TEXT)
    first = next(speech)
    voices.unload("tone")
    assert rows(voices) == [("tone", "leaving", 1)]
    assert voices.in_use_bytes > 0
    rest = Audio.joined(speech, first.sample_rate).samples
    np.testing.assert_array_equal(np.concatenate([first.samples, rest]), whole)
    lease.close()
    lease.close()
    assert voices.states() == []
    assert voices.in_use_bytes == 0
    assert not [name for name, net in nets.items() if net() is not None]


def test_who_asks_for_an_unloaded_voice_gets_a_new_one(open_voices, put):
    put("tone", 0.5)
    voices = open_voices()
    old = voices.lease("tone")
    voices.unload("tone")
    put("tone", 0.25)
    assert peak(said(voices, "tone")) < peak(old.voice.say(TEXT).samples)
    assert rows(voices) == [("tone", "ready", 0), ("tone", "leaving", 1)]


def test_a_voice_can_be_unloaded_while_it_is_loaded(open_voices, put, gate):
    put("tone")
    voices = open_voices()
    with ThreadPoolExecutor(1) as pool:
        lease = pool.submit(voices.lease, "tone")
        assert gate.reached.wait(PATIENCE_S)
        voices.unload("tone")
        gate.is_open.set()
        # Who had asked gets it still; it goes with its last lease.
        assert peak(lease.result(PATIENCE_S).voice.say(TEXT).samples) > 0
        assert rows(voices) == [("tone", "leaving", 1)]
        lease.result().close()
    assert voices.states() == []
    assert voices.in_use_bytes == 0


def test_unloading_what_is_not_loaded_is_refused(open_voices, put):
    put("tone")
    voices = open_voices()
    voices.load("tone")
    with pytest.raises(RequestError) as refused:
        voices.unload("tonne")
    assert str(refused.value) == "voice: voice 'tonne' is not loaded; did you mean 'tone'?"


def test_a_lease_that_is_forgotten_ends(open_voices, put):
    put("tone")
    voices = open_voices()
    lease = voices.lease("tone")
    ring = [lease]
    ring.append(ring)
    assert rows(voices) == [("tone", "ready", 1)]
    del lease, ring
    gc.collect()
    assert rows(voices) == [("tone", "ready", 0)]


def test_a_closed_lease_has_no_voice(open_voices, put):
    put("tone")
    lease = open_voices().lease("tone")
    lease.close()
    with pytest.raises(RequestError, match="its lease is closed"):
        _ = lease.voice


def test_closed_voices_refuse_and_free_all(open_voices, put):
    put("tone")
    voices = open_voices()
    lease = voices.lease("tone")
    voices.close()
    voices.close()
    with pytest.raises(BusyError, match="closed"):
        voices.lease("tone")
    assert rows(voices) == [("tone", "leaving", 1)]
    lease.close()
    assert voices.in_use_bytes == 0


# Reloading


def test_a_changed_voice_takes_the_place_of_the_old_one(open_voices, put):
    put("tone", 0.5)
    voices = open_voices()
    loud = said(voices, "tone")
    put("tone", 0.25)
    assert peak(said(voices, "tone")) == peak(loud)
    voices.reload("tone")
    assert peak(said(voices, "tone")) == pytest.approx(peak(loud) / 2, rel=1e-3)
    assert rows(voices) == [("tone", "ready", 0)]


def test_a_stream_that_runs_ends_with_the_old_version(open_voices, put):
    put("tone", 0.5)
    voices = open_voices()
    loud = said(voices, "tone")
    lease = voices.lease("tone")
    speech = lease.voice.stream(TEXT)
    first = next(speech)
    put("tone", 0.25)
    voices.reload("tone")
    assert rows(voices) == [("tone", "ready", 0), ("tone", "leaving", 1)]
    soft = said(voices, "tone")
    rest = Audio.joined(speech, first.sample_rate).samples
    np.testing.assert_array_equal(np.concatenate([first.samples, rest]), loud)
    assert peak(soft) < peak(loud)
    lease.close()
    assert rows(voices) == [("tone", "ready", 0)]


def test_a_reload_that_fails_keeps_the_old_version_and_says_why(open_voices, put):
    folder = put("tone")
    voices = open_voices()
    before = said(voices, "tone")
    held = voices.in_use_bytes
    put("tone", 0.25)
    (folder / "nets" / "text.onnx").write_bytes(b"no net")
    with pytest.raises(AddonError, match=r"text\.onnx"):
        voices.reload("tone")
    [row] = voices.states()
    assert (row.state, row.bytes) == ("ready", held)
    assert "text.onnx" in row.why
    np.testing.assert_array_equal(said(voices, "tone"), before)
    assert voices.in_use_bytes == held


def test_the_old_version_speaks_while_the_new_one_is_loaded(open_voices, put, gate):
    put("tone", 0.5)
    voices = open_voices()
    gate.is_open.set()
    loud = said(voices, "tone")
    gate.is_open.clear()
    gate.reached.clear()
    put("tone", 0.25)
    with ThreadPoolExecutor(1) as pool:
        reload = pool.submit(voices.reload, "tone")
        assert gate.reached.wait(PATIENCE_S)
        np.testing.assert_array_equal(said(voices, "tone"), loud)
        gate.is_open.set()
        reload.result(PATIENCE_S)
    assert peak(said(voices, "tone")) < peak(loud)


def test_no_request_fails_and_none_is_mixed_while_a_voice_is_reloaded(open_voices, put):
    """Each stream is to the bit one of the two versions, as they come and go."""
    put("tone", 0.25)
    voices = open_voices()
    versions = {0.25: said(voices, "tone")}
    put("tone", 0.5)
    voices.reload("tone")
    versions[0.5] = said(voices, "tone")
    stop, ended = threading.Event(), threading.Semaphore(0)
    heard = []

    def listen():
        while not stop.is_set():
            with voices.lease("tone") as voice:
                heard.append(np.concatenate([chunk.samples for chunk in voice.stream(TEXT)]))
                ended.release()

    with ThreadPoolExecutor(4) as pool:
        listeners = [pool.submit(listen) for _ in range(4)]
        for loudness in [0.25, 0.5] * 2:
            put("tone", loudness)
            voices.reload("tone")
            for _ in range(6):  # more than the four that may have begun before
                assert ended.acquire(timeout=PATIENCE_S)
        stop.set()
        for one in listeners:
            one.result(PATIENCE_S)
    found = [[key for key, whole in versions.items() if np.array_equal(one, whole)] for one in heard]
    assert {tuple(keys) for keys in found} == {(0.25,), (0.5,)}
    assert rows(voices) == [("tone", "ready", 0)]


def test_only_what_changed_is_reloaded(open_voices, put, loads):
    put("tone")
    put("other")
    voices = open_voices()
    voices.load("tone", "other")
    loads.clear()
    assert voices.reload_changed().names == ()
    put("other", 0.25)
    done = voices.reload_changed()
    assert (done.names, done.faults) == (("other",), {})
    assert loads == ["other"]
    assert voices.reload_changed().names == ()


def test_a_changed_vocoder_reloads_the_voices_that_use_it(open_voices, put, addons, loads):
    put("tone")
    voices = open_voices()
    voices.load("tone")
    loud = said(voices, "tone")
    make_tone.make_tone_vocoder(addons / "tone-vocoder")  # the same again: newer files
    assert voices.reload_changed().names == ("tone",)
    np.testing.assert_array_equal(said(voices, "tone"), loud)


def test_a_changed_addon_inside_another_is_noticed(open_voices, addons, put):
    make_tone.make_examples(addons)
    voices = open_voices()
    whole = said(voices, "tone-nested")
    put("tone", 0.25)
    assert voices.reload_changed().names == ("tone-nested",)
    assert peak(said(voices, "tone-nested")) < peak(whole)


def test_an_addon_that_hides_another_is_noticed(put, addons, tmp_path):
    put("tone", 0.5)
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    with Voices([earlier, addons]) as voices:
        loud = said(voices, "tone")
        put("tone", 0.25)
        shutil.move(addons / "tone", earlier / "tone")
        assert voices.reload_changed().names == ("tone",)
        assert peak(said(voices, "tone")) < peak(loud)


def test_a_change_that_does_not_load_is_told_once_and_tried_again_when_it_changes(open_voices, put, loads):
    folder = put("tone")
    voices = open_voices()
    voices.load("tone")
    loads.clear()
    (folder / "addon.json").write_text("{")
    changed = voices.reload_changed()
    assert changed.names == ()
    assert isinstance(changed.faults["tone"], ConfigError)
    assert voices.reload_changed().faults == {}
    assert len(loads) == 1
    assert rows(voices) == [("tone", "ready", 0)]
    put("tone")
    assert voices.reload_changed().names == ("tone",)
    assert voices.states()[0].why == ""


def test_a_broken_voice_is_tried_again_when_what_it_lacked_has_come(open_voices, put, addons, tmp_path):
    put("tone")
    shutil.move(addons / "tone-vocoder", tmp_path / "away")
    voices = open_voices()
    with pytest.raises(RequestError, match="no vocoder"):
        voices.load("tone")
    assert rows(voices) == [("tone", "broken", 0)]
    assert voices.reload_changed().faults == {}
    shutil.move(tmp_path / "away", addons / "tone-vocoder")
    assert voices.reload_changed().names == ("tone",)
    assert rows(voices) == [("tone", "ready", 0)]


def test_an_addon_that_is_gone_leaves_its_voice_speaking(open_voices, put):
    folder = put("tone")
    voices = open_voices()
    voices.load("tone")
    shutil.rmtree(folder)
    assert "tone" in voices.reload_changed().faults
    assert voices.reload_changed().faults == {}
    assert peak(said(voices, "tone")) > 0


# Memory


def test_bytes_are_those_of_the_nets_files(open_voices, put, addons):
    folder = put("tone")
    voices = open_voices()
    voices.load("tone")
    [row] = voices.states()
    assert row.bytes == row.own_bytes == size_of(folder) + size_of(addons / "tone-vocoder")
    assert voices.in_use_bytes == row.bytes


def test_nets_that_siblings_share_are_counted_once_and_outlive_one_of_them(open_voices, put, addons):
    """Fine-tuned voices of one family: another net for the text, all else is equal."""
    one, two = put("one", 0.5), put("two", 0.25)
    voices = open_voices()
    with voices.lease("one") as voice:
        nets = nets_of(voice)
    del voice
    with voices.lease("two") as voice:
        assert voice.loaded.nets["decoder"] is nets["decoder"]()
        assert voice.loaded.nets["text"] is not nets["text"]()
        text_bytes = (two / "nets" / "text.onnx").stat().st_size
        assert voices.in_use_bytes == size_of(one) + size_of(addons / "tone-vocoder") + text_bytes
        assert [row.own_bytes for row in voices.states()] == [text_bytes, text_bytes]
        voices.unload("one")
        assert {name for name, net in nets.items() if net() is None} == {"text"}
        assert voices.in_use_bytes == size_of(two) + size_of(addons / "tone-vocoder")
        assert peak(voice.say(TEXT).samples) > 0


def test_the_voice_that_was_used_least_recently_goes_first(open_voices, put, addons, clock):
    vocoder = size_of(addons / "tone-vocoder")
    # All they share is the vocoder: each kind has other encoders, and all but one another loudness.
    each = {name: size_of(put(name, loudness)) for name, loudness in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    shared = size_of(addons / "a") - (addons / "a" / "nets" / "text.onnx").stat().st_size
    texts = each["a"] - shared
    voices = open_voices(budget_bytes=vocoder + shared + 2 * texts)
    for name in ("a", "b"):
        clock.now_s += 1
        voices.load(name)
    clock.now_s += 1
    said(voices, "a")
    clock.now_s += 1
    voices.load("c")
    assert [row.name for row in voices.states()] == ["a", "c"]
    assert voices.in_use_bytes == vocoder + shared + 2 * texts


def test_a_voice_that_speaks_does_not_go_however_long_ago_it_was_asked(open_voices, put, addons, clock):
    budget = size_of(put("a", 0.1)) + size_of(addons / "tone-vocoder") + 821
    put("b", 0.2)
    put("c", 0.3)
    voices = open_voices(budget_bytes=budget)
    lease = voices.lease("a")
    clock.now_s += 1
    voices.load("b")
    clock.now_s += 1
    voices.load("c")
    assert [row.name for row in voices.states()] == ["a", "c"]
    lease.close()


def test_where_all_speak_there_is_no_room_and_the_error_says_who_has_it(open_voices, put, addons):
    budget = size_of(put("a", 0.1)) + size_of(addons / "tone-vocoder")
    put("b", 0.2)
    voices = open_voices(budget_bytes=budget)
    lease = voices.lease("a")
    before = said(voices, "a")
    with pytest.raises(BusyError) as refused:
        voices.lease("b")
    assert str(refused.value) == (
        "b: it needs 0.8 kB more, but 9.7 kB of 9.7 kB are in use: a 9.7 kB (1 lease); "
        "unload one, or raise the budget; try again in 5 s"
    )
    assert refused.value.retry_after_s == 5
    assert rows(voices) == [("a", "ready", 1)]
    np.testing.assert_array_equal(said(voices, "a"), before)
    lease.close()
    assert peak(said(voices, "b")) > 0
    assert [row.name for row in voices.states()] == ["b"]


def test_a_voice_larger_than_the_budget_is_refused_for_good(open_voices, put):
    put("tone")
    voices = open_voices(budget_bytes=2_000)
    with pytest.raises(RequestError) as refused:
        voices.lease("tone")
    assert str(refused.value) == "tone: its nets have 9.7 kB, more than the budget of 2.0 kB; raise it"
    assert voices.in_use_bytes == 0


def test_for_a_voice_that_never_fits_nobody_has_to_go(open_voices, put, addons):
    budget = size_of(put("tone")) + size_of(addons / "tone-vocoder") + 100
    shutil.copytree(EXAMPLES / "tone-attention", addons / "tone-attention")
    voices = open_voices(budget_bytes=budget)
    said(voices, "tone")
    with pytest.raises(RequestError, match="more than the budget"):
        voices.lease("tone-attention")
    assert [row.name for row in voices.states() if row.state == "ready"] == ["tone"]


def test_a_reload_without_room_for_both_keeps_the_old_one(open_voices, put, addons):
    budget = size_of(put("tone", 0.5)) + size_of(addons / "tone-vocoder")
    voices = open_voices(budget_bytes=budget)
    loud = said(voices, "tone")
    put("tone", 0.25)
    with pytest.raises(BusyError, match="are in use: tone"):
        voices.reload("tone")
    np.testing.assert_array_equal(said(voices, "tone"), loud)
    assert voices.in_use_bytes == budget


def test_voices_that_push_each_other_out_all_speak(open_voices, put, addons):
    """Room for one voice, two that are wanted all the time: who waited for a load has its voice."""
    budget = size_of(put("a", 0.1)) + size_of(addons / "tone-vocoder")
    put("b", 0.2)
    voices = open_voices(budget_bytes=budget)
    heard = {"a": 0, "b": 0}

    def listen(name):
        while heard[name] < 5:
            try:
                said(voices, name)
            except BusyError:
                continue
            heard[name] += 1

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(listen, name) for name in heard]:
            one.result(PATIENCE_S)
    assert voices.in_use_bytes <= budget


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_one_byte_at_least(budget):
    with pytest.raises(RequestError, match=f"budget_bytes: got {budget}, want 1 or more"):
        Voices(budget_bytes=budget)
