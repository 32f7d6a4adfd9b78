"""Voices share what memory there is: nets that are equal count once, and idle voices go."""

import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from voxstack.core.errors import BusyError, RequestError
from voxstack.engine.voices import Voices

pytestmark = pytest.mark.end_to_end

EXAMPLES = Path(__file__).parents[2] / "examples" / "addons"

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


def size_of(folder: Path):
    return sum(path.stat().st_size for path in (folder / "nets").iterdir())


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
