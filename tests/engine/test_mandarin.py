"""Real voices of three architectures in one process: interleaved, one vocoder, and guarded."""

import gc
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.events import ALIGNMENT, listening
from voxstack.core.streams import EVERYTHING
from voxstack.stack.addon import seal

pytestmark = pytest.mark.slow

pytest.importorskip("pypinyin", reason="the readings of Chinese characters are not installed")

ADDONS = Path(__file__).parents[2] / "addons"
VOICES = {
    "joe": "The library opens at nine every morning, and it closes late.",
    "baker-fastspeech2": "春天来了，院子里的花都开了。",
    "baker-tacotron2": "请问最近的地铁站怎么走？",
}


@pytest.fixture(scope="module")
def voices():
    for name in VOICES:
        if not (ADDONS / name).is_dir():
            pytest.skip(f"there is no addon {name}: make mandarin addons/joe/addon.json")
    return {name: voxstack.load(ADDONS / name, threads=1) for name in VOICES}


def alone(voice, text, **controls):
    return np.concatenate([chunk.samples for chunk in voice.chunks(text, **controls)])


def frames_of(voice, ids, seed=0):
    """Return the stream of a voice's mels, above its vocoder."""
    tensors = {**voice.tensors({"seed": seed}), "ids": ids, "utterance": np.array(0, np.int64)}
    return voice.loaded.block.blocks[0].open(tensors, None)


def ids_of(voice, text):
    splitter = voice.front.splitter()
    return voice.front.phonemize([*splitter.feed(text), *splitter.finish()][0])[0].ids


def test_voices_that_speak_in_turn_sound_as_each_does_alone(voices):
    wanted = {name: alone(voice, VOICES[name], seed=5) for name, voice in voices.items()}
    speaking = {name: voice.chunks(VOICES[name], seed=5) for name, voice in voices.items()}
    heard = {name: [] for name in voices}
    while speaking:
        for name in list(speaking):
            chunk = next(speaking[name], None)
            if chunk is None:
                del speaking[name]
            else:
                heard[name].append(chunk.samples)
    for name, chunks in heard.items():
        assert len(chunks) > 2
        np.testing.assert_array_equal(np.concatenate(chunks), wanted[name], err_msg=name)


def test_voices_that_speak_at_once_sound_as_each_does_alone(voices):
    wanted = {name: alone(voice, VOICES[name], seed=5) for name, voice in voices.items()}
    heard = {}

    def speak(name, number):
        heard[name, number] = alone(voices[name], VOICES[name], seed=5)

    threads = [threading.Thread(target=speak, args=(name, number)) for name in voices for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (name, _), samples in heard.items():
        np.testing.assert_array_equal(samples, wanted[name], err_msg=name)


def test_both_voices_have_the_same_vocoder_in_memory(voices):
    one, two = (voices[name].loaded.nets for name in ("baker-fastspeech2", "baker-tacotron2"))
    assert one["baker-mb-melgan/vocoder"] is two["baker-mb-melgan/vocoder"]
    gc.collect()
    sessions = [thing for thing in gc.get_objects() if type(thing).__name__ == "CompiledNet"]
    assert sum(net.spec.role == "vocoder" for net in sessions) == 1


@pytest.mark.parametrize("name", ["baker-fastspeech2", "baker-tacotron2"])
def test_streamed_audio_is_the_whole_audio(voices, name):
    voice = voices[name]
    tensors = {**voice.tensors({}), "ids": ids_of(voice, VOICES[name]), "utterance": np.array(0, np.int64)}
    stream = voice.loaded.block.open(tensors, None)
    whole = stream.read(EVERYTHING)["samples"]
    stream.close()
    for sizes in ([2400], [2400, 7200, 28800], [1, 9999, 333]):
        stream, chunks = voice.loaded.block.open(tensors, None), []
        for number in range(10_000):
            chunks.append(stream.read(sizes[number % len(sizes)])["samples"])
            if len(chunks[-1]) < sizes[number % len(sizes)]:
                break
        stream.close()
        np.testing.assert_allclose(np.concatenate(chunks), whole, rtol=0, atol=1e-5)


def test_the_first_chunk_leaves_before_most_frames_are_made(voices):
    frames = []
    with listening(lambda event: frames.append(event) if event.kind == ALIGNMENT else None):
        speaking = voices["baker-tacotron2"].chunks(VOICES["baker-tacotron2"])
        next(speaking)
        before = len(frames)
        for _ in speaking:
            pass
    assert before < 0.35 * len(frames)


def test_a_closed_stream_stops_the_loop(voices):
    voice = voices["baker-tacotron2"]
    stream = frames_of(voice, ids_of(voice, VOICES["baker-tacotron2"]))
    stream.read(4)
    stream.close()
    with voice.stream("春天来了，院子里的花都开了。" * 20) as speech:
        next(speech)
    assert not any(thread.name == "voxstack-speech" for thread in threading.enumerate())


def test_a_voice_that_babbles_is_ended_within_its_bound_and_flagged(voices):
    voice = voices["baker-tacotron2"]
    pause = voice.loaded.addon.config.text["phoneme_ids"]["sil"]
    ids = np.array(pause * 40, np.int64)  # forty pauses: the uncut model goes on to its 2,000 frames
    events = []
    with listening(events.append):
        stream = frames_of(voice, ids)
        frames = len(stream.read(EVERYTHING)["mel"])
        stream.close()
    found = [event for event in events if event.kind != ALIGNMENT]
    assert frames <= 30 * len(ids)
    assert found[-1].values["ended"]
    assert found[-1].kind in ("attention.stall", "attention.repeat", "decoder.too_long")


def test_a_voice_whose_stop_is_forced_off_is_ended_within_its_bound_and_flagged(voices, tmp_path):
    for name in ("baker-tacotron2", "baker-mb-melgan"):
        shutil.copytree(ADDONS / name, tmp_path / name)
    manifest = tmp_path / "baker-tacotron2" / "addon.json"
    config = json.loads(manifest.read_text(encoding="utf-8"))
    decoder = config["stack"][0]["streamable_block"]["stack"][0]
    decoder["stop_threshold"] = 99.0
    manifest.write_text(json.dumps(config), encoding="utf-8")
    seal(manifest.parent)
    text = VOICES["baker-tacotron2"]
    healthy = voices["baker-tacotron2"].say(text)
    endless = voxstack.load(manifest.parent, threads=1).say(text)
    (event,) = endless.events
    assert (event.kind, event.values["ended"]) == ("attention.stall", True)
    assert endless.duration_s < healthy.duration_s + 1.5
    assert healthy.events == ()


def test_ordinary_sentences_are_not_flagged(voices):
    voice = voices["baker-tacotron2"]
    for text in (
        "今天的天气非常好。",
        "他在图书馆里安静地看了一个下午的书。",
        "医生建议他多喝水，早点休息。",
        "谢谢。",
    ):
        assert voice.say(text).events == (), text
