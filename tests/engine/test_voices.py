"""Voices come and go while others speak."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import make_tone
from voxstack.core.errors import AddonError, BusyError, ConfigError, DeadlineError, NetError, RequestError
from voxstack.engine.audio import Audio
from voxstack.engine.voice import Voice
from voxstack.engine.voices import BROKEN_S

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20
TEXT = "Abc def."


def rows(voices):
    return [(row.name, row.state, row.leases) for row in voices.states()]


def said(voices, name):
    with voices.lease(name) as voice:
        return voice.say(TEXT).samples


def peak(samples):
    return float(np.abs(samples).max())


def nets_of(voice):
    return {name: weakref.ref(net) for name, net in voice.loaded.nets.items()}


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
