"""A voice that changed on disk takes the place of the old one, and no stream notices."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import make_tone
from voxstack.core.errors import AddonError, ConfigError, RequestError
from voxstack.engine.audio import Audio
from voxstack.engine.voices import Voices

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
