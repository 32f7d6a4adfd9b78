"""A vocoder is an addon of its own: loaded once for all voices, changed by configuration alone."""

import gc
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import make_attention_tone
import make_tone
import voxstack
from voxstack.core.errors import NetError, RequestError, WiringError
from voxstack.stack.addon import seal

pytestmark = pytest.mark.end_to_end

TEXT = "abc fed lkj"
THREADS = 3
"""Of one net run, in this module only, so that no net that other tests have loaded is used here."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """Look nowhere but where a test says."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("VOXSTACK_ADDONS", raising=False)


@pytest.fixture(scope="module")
def addons(tmp_path_factory) -> Path:
    """Return a folder of both voices and of three vocoders: theirs, one half as loud, one of other mels."""
    root = tmp_path_factory.mktemp("addons")
    make_tone.make_tone(root / "tone")
    make_attention_tone.make_attention_tone(root / "tone-attention")
    make_tone.make_tone_vocoder(root / "tone-vocoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_tone, "BLUR", make_tone.BLUR / 2)
        make_tone.make_tone_vocoder(root / "soft", name="soft")
    make_tone.make_tone_vocoder(root / "wide", name="wide", mel={**make_tone.MEL, "fmax": 2000, "log": "10"})
    silent = make_tone.make_tone(root / "no-vocoder", name="no-vocoder")
    rewrite(silent, vocoder=None)
    return root


@pytest.fixture
def load(addons):
    def ready(name, **options):
        return voxstack.load(name, threads=THREADS, folders=[addons], **options)

    return ready


@pytest.fixture
def sessions(monkeypatch) -> list[bytes]:
    """Return a list that every net loaded from now on is put into."""
    gc.collect()  # what earlier tests have left would be used again
    made = []
    real = onnxruntime.InferenceSession

    def session(model, *rest, **more):
        made.append(model)
        return real(model, *rest, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return the tone voice with the vocoder's net among its own: it gives audio, not mels."""
    root = tmp_path_factory.mktemp("whole")
    folder = make_tone.make_tone(root / "whole", name="whole")
    vocoder = make_tone.make_tone_vocoder(root / "tone-vocoder")
    shutil.copy(vocoder / "nets" / "vocoder.onnx", folder / "nets")
    config = json.loads((folder / "addon.json").read_text())
    nets = {**config["nets"], **json.loads((vocoder / "addon.json").read_text())["nets"]}
    rewrite(
        folder,
        gives="audio",
        vocoder=None,
        nets=nets,
        stack=[*config["stack"], {"type": "Vocoder"}],
        mel=make_tone.MEL,
    )
    return folder


def rewrite(folder: Path, **values) -> None:
    config = json.loads((folder / "addon.json").read_text())
    (folder / "addon.json").write_text(json.dumps({**config, **values}))
    seal(folder)


def fault(error, call) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


# One for all


def test_two_voices_of_one_vocoder_share_its_net(load, sessions):
    tone = load("tone")
    assert len(sessions) == 4
    attention = load("tone-attention")
    assert len(sessions) == 7
    assert tone.loaded.nets["tone-vocoder/vocoder"] is attention.loaded.nets["tone-vocoder/vocoder"]
    assert tone.loaded.block is not attention.loaded.block


def test_a_voice_loaded_twice_loads_no_net_twice(load, sessions):
    one, two = load("tone"), load("tone")
    assert len(sessions) == 4
    assert all(one.loaded.nets[name] is net for name, net in two.loaded.nets.items())
    np.testing.assert_array_equal(one.say(TEXT).samples, two.say(TEXT).samples)


def test_a_net_that_runs_otherwise_is_another_net(load, addons, sessions):
    one = load("tone")
    other = voxstack.load("tone", threads=THREADS + 1, folders=[addons])
    assert len(sessions) == 8
    assert {net.threads for net in one.loaded.nets.values()} == {THREADS}
    assert {net.threads for net in other.loaded.nets.values()} == {THREADS + 1}


def test_two_addons_of_the_same_net_share_it_whatever_they_are_called(load, addons, sessions, tmp_path):
    one = load("tone")
    copied = make_tone.make_tone_vocoder(tmp_path / "copied", name="copied")
    other = load("tone", vocoder=copied)
    assert len(sessions) == 4
    assert one.loaded.nets["tone-vocoder/vocoder"] is other.loaded.nets["copied/vocoder"]


def test_a_vocoder_is_freed_with_the_last_voice_that_uses_it(load, sessions):
    tone, attention = load("tone"), load("tone-attention")
    tone.say(TEXT)
    del tone
    gc.collect()
    again = load("tone")
    assert len(sessions) == 7 + 3  # its own nets were gone, the vocoder was not
    del again, attention
    gc.collect()
    load("tone")
    assert len(sessions) == 10 + 4


def test_voices_loaded_at_the_same_time_load_each_net_once(load, sessions):
    with ThreadPoolExecutor(8) as pool:
        voices = list(pool.map(load, ["tone", "tone-attention"] * 4))
    assert len(sessions) == 7
    assert len({id(voice.loaded.nets["tone-vocoder/vocoder"]) for voice in voices}) == 1


def test_a_net_that_could_not_be_loaded_is_loaded_when_it_can_be(load, monkeypatch):
    gc.collect()

    def refuse(*words, **more):
        raise MemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", refuse)
        assert fault(NetError, lambda: load("tone")).endswith("cannot be loaded: out of memory")
    assert load("tone").say(TEXT).duration_s > 0


def test_voices_that_take_turns_sound_as_each_alone(load):
    voices = [load("tone"), load("tone-attention")]
    texts = ["abcdefghijkl" * 6, "lkj ihg fed cba " * 3]
    alone = [
        [chunk.samples for chunk in voice.chunks(text)] for voice, text in zip(voices, texts, strict=True)
    ]
    together = [[], []]
    turns = {place: voices[place].chunks(texts[place]) for place in (0, 1)}
    while turns:
        for place, chunks in list(turns.items()):
            chunk = next(chunks, None)
            if chunk is None:
                del turns[place]
            else:
                together[place].append(chunk.samples)
    for one, other in zip(alone, together, strict=True):
        assert len(one) > 2
        np.testing.assert_array_equal(np.concatenate(other), np.concatenate(one))


def test_voices_that_speak_at_once_sound_as_each_alone(load):
    voices = [load("tone"), load("tone-attention")] * 3
    alone = [voice.say("abcdefghijkl" * 6).samples for voice in voices]
    with ThreadPoolExecutor(len(voices)) as pool:
        together = list(pool.map(lambda voice: voice.say("abcdefghijkl" * 6).samples, voices))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


# Another one


@pytest.mark.parametrize("name", ["tone", "tone-attention"])
def test_a_voice_speaks_through_another_vocoder_that_is_named(load, name):
    own, other = load(name), load(name, vocoder="soft")
    assert (own.loaded.vocoder.name, other.loaded.vocoder.name) == ("tone-vocoder", "soft")
    np.testing.assert_allclose(other.say(TEXT).samples, own.say(TEXT).samples / 2, atol=1e-6)


def test_another_vocoder_may_be_named_by_its_path(load, addons, tmp_path):
    wanted = load("tone", vocoder="soft").say(TEXT).samples
    moved = shutil.copytree(addons / "soft", tmp_path / "elsewhere")
    for path in (moved, str(moved)):
        np.testing.assert_array_equal(load("tone", vocoder=path).say(TEXT).samples, wanted)


def test_the_voice_itself_is_as_it_was_after_another_vocoder(load):
    before = load("tone").say(TEXT).samples
    load("tone", vocoder="soft").say(TEXT)
    np.testing.assert_array_equal(load("tone").say(TEXT).samples, before)


def test_a_voice_that_names_no_vocoder_speaks_through_one_that_is_named(load):
    named, own = load("no-vocoder", vocoder="tone-vocoder"), load("tone")
    np.testing.assert_array_equal(named.say(TEXT).samples, own.say(TEXT).samples)


def test_a_vocoder_beside_a_voice_that_was_named_by_its_path_is_found(addons):
    assert voxstack.load(addons / "tone", vocoder="soft").loaded.vocoder.name == "soft"


def test_a_voice_with_a_vocoder_net_of_its_own_sounds_like_one_with_an_addon(whole, load):
    voice = voxstack.load(whole)
    assert voice.loaded.vocoder is None
    np.testing.assert_allclose(voice.say(TEXT).samples, load("tone").say(TEXT).samples, atol=1e-6)


# None that fits


def test_a_vocoder_of_other_mels_is_refused_with_both_ends(load):
    assert fault(WiringError, lambda: load("tone", vocoder="wide")) == (
        "tone: $.stack[0]: does not fit the vocoder 'wide': mel → mel\n"
        "  fmax: 1400.0 → 2000.0 Hz\n"
        "  log: e → 10\n"
        "  These nets were trained on different mel settings; choose a vocoder trained on the same, "
        "or put a resampling block between."
    )


def test_a_voice_that_makes_audio_itself_takes_no_vocoder(whole, addons):
    for name in ("tone-vocoder", addons / "soft", ""):
        assert fault(
            RequestError, lambda name=name: voxstack.load(whole, vocoder=name, folders=[addons])
        ) == ("whole: it makes audio itself and takes no vocoder")


def test_a_voice_without_a_vocoder_lists_those_that_fit(load):
    assert fault(WiringError, lambda: load("no-vocoder")) == (
        "no-vocoder: it gives mels but names no vocoder; choose one with --vocoder, "
        'or set "vocoder" in addon.json; those that fit: soft, tone-vocoder'
    )


def test_a_voice_without_a_vocoder_says_so_where_none_fits(addons, tmp_path):
    alone = shutil.copytree(addons / "no-vocoder", tmp_path / "no-vocoder")
    shutil.copytree(addons / "wide", tmp_path / "wide")
    assert fault(WiringError, lambda: voxstack.load(alone)) == (
        "no-vocoder: it gives mels but names no vocoder; no installed vocoder takes its mels; "
        'install one, or set "vocoder" in addon.json'
    )


def test_a_vocoder_that_is_not_there_is_refused_with_a_suggestion(load):
    assert fault(RequestError, lambda: load("tone", vocoder="sotf")) == (
        "vocoder: no vocoder 'sotf', which 'tone' wants; did you mean 'soft'?"
    )
    assert fault(RequestError, lambda: load("tone", vocoder="no/where")) == (
        "no/where: there is no addon at this path"
    )


def test_an_empty_name_is_not_taken_for_the_voice_s_own_vocoder(load):
    assert fault(RequestError, lambda: load("tone", vocoder="")) == (
        "vocoder: got an empty name, want a vocoder's name or the path of its addon"
    )


def test_a_voice_is_no_vocoder(load, addons, tmp_path):
    assert fault(WiringError, lambda: load("tone", vocoder="tone-attention")) == (
        "tone: 'tone-attention' is no vocoder: it does not take mels"
    )
    folder = shutil.copytree(addons / "tone", tmp_path / "tone")
    rewrite(folder, vocoder="tone-attention")
    assert fault(WiringError, lambda: load(folder)) == (
        "tone: $.vocoder: 'tone-attention' is no vocoder: it does not take mels"
    )


def test_a_vocoder_speaks_no_text(load):
    assert (
        fault(RequestError, lambda: load("soft"))
        == "soft: it is a vocoder, no voice; name a voice that uses it"
    )
