"""A real voice over HTTP says what it says in process, to several listeners at once."""

import threading
import time
from pathlib import Path

import numpy as np
import openai
import pytest

import voxstack

pytestmark = pytest.mark.slow

ADDONS = Path(__file__).parents[2] / "addons"
TEXT = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."

if not (ADDONS / "joe").is_dir():
    pytest.skip("the demo voice is not imported; run `make say` once", allow_module_level=True)


@pytest.fixture(scope="module")
def joe():
    return voxstack.load("joe", folders=[ADDONS])


@pytest.fixture
def client(serve):
    served = serve(ADDONS, voices=("joe",))
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def say(client, **more):
    answer = client.audio.speech.create(
        model="tts-1", voice="joe", input=TEXT, response_format="wav", extra_body={"seed": 5}, **more
    )
    return np.frombuffer(answer.content[44:], "<i2").astype(np.float64)


def test_it_is_the_same_speech(client, joe):
    wanted = np.rint(joe.say(TEXT, seed=5).samples * 32767)
    assert np.abs(say(client) - wanted).max() <= 2


def test_eight_listeners_get_the_same_speech_as_one(client):
    wanted = say(client)
    heard = [None] * 8

    def listen(place):
        heard[place] = say(client)

    threads = [threading.Thread(target=listen, args=(place,)) for place in range(len(heard))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(np.abs(one - wanted).max() <= 2 for one in heard)


def test_speech_begins_long_before_it_is_all_made(client):
    began = time.perf_counter()
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="joe", input=TEXT * 5, response_format="pcm"
    ) as answer:
        parts = answer.iter_bytes()
        next(parts)
        first_s = time.perf_counter() - began
        for _ in parts:
            pass
        whole_s = time.perf_counter() - began
    assert first_s < whole_s / 2


def test_beyond_its_own_range_of_speeds_it_is_stretched(client):
    fastest, slowest = say(client, speed=2.0), say(client, speed=0.5)  # of the voice itself
    assert len(say(client, speed=4.0)) == pytest.approx(len(fastest) / 2, abs=2)
    assert len(say(client, speed=0.25)) == pytest.approx(len(slowest) * 2, abs=2)
