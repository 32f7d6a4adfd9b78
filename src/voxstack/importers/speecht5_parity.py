"""Hold the nets of a SpeechT5 model against the library: the same noise, step by step, to the same end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstack.importers.cut_net import CutNet
from voxstack.importers.speecht5_nets import guided_heads
from voxstack.importers.torch_export import check_close
from voxstack.importers.vits_parity import open_session

__all__ = ["STOP_THRESHOLD", "NetLoop", "Spoken", "check_steps", "speak"]

Array = NDArray[Any]

STOP_THRESHOLD = 0.5
"""What generate_speech takes where it is not told otherwise."""

STEPS = 24
LENGTHS = (2, 9, 40)


@dataclass(frozen=True)
class Spoken:
    """What became of some ids: mel [frames, bands], and what each step read, [steps, ids]."""

    mel: Array
    alignment: Array


@dataclass(frozen=True)
class NetLoop:
    """Run the cut nets one after another, plainly: nothing shared with the engine."""

    sessions: Mapping[str, Any]
    nets: Mapping[str, CutNet]

    @classmethod
    def open(cls, nets: Mapping[str, CutNet]) -> "NetLoop":
        names = ("encoder", "step", "postnet")
        return cls({name: open_session(nets[name].model) for name in names}, nets)

    def speak(self, ids: Array, speaker: Array, noise: Array, *, threshold: float, most_steps: int) -> Spoken:
        """Speak ids [phonemes] with noise [steps, layers, units], until it stops or has made most_steps."""
        mask = np.ones((1, len(ids)), np.float32)
        text = self._run("encoder", {"ids": ids[None], "phonemes_mask": mask})
        constant = {**text, "phonemes_mask": mask, "speaker_embedding": speaker}
        state = self._nothing()
        frames: list[Array] = []
        alignment: list[Array] = []
        for number in range(most_steps):
            new = {"position": np.asarray(number), "dropout": noise[number][:, None]}
            made = self._run("step", {**constant, **state, **new})
            state = {name: made[f"{name}_next"] for name in state}
            frames.append(made["mel_before"][0])
            alignment.append(made["alignment"][0])
            if made["stop"][0] >= threshold:
                break
        before = np.concatenate(frames).T[None]
        mel = self._run("postnet", {"mel_before": np.ascontiguousarray(before)})["mel"][0].T
        return Spoken(mel, np.stack(alignment))

    def _nothing(self) -> dict[str, Array]:
        """Return the state before the first step: a silent frame, empty caches."""
        step = self.nets["step"].spec
        shapes = {name: step["inputs"][name]["axes"] for name in step["state"]}
        empty: Mapping[str | int, int] = {"batch": 1, "past": 0}
        return {
            name: np.zeros([empty[axis] if axis in empty else int(axis) for axis in axes], np.float32)
            for name, axes in shapes.items()
        }

    def _run(self, name: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        session = self.sessions[name]
        names = [item.name for item in session.get_outputs()]
        results = session.run(names, {item.name: feeds[item.name] for item in session.get_inputs()})
        return dict(zip(names, results, strict=True))


def speak(
    model: Any, ids: Array, speaker: Array, noise: Array, *, threshold: float, most_steps: int
) -> Spoken:
    """Let the library speak, with the same noise: its prenet draws a mask a layer and step, for all frames.

    It does so anew for frames of earlier steps too, but what it makes of those it throws away.
    """
    import torch  # pyright: ignore[reportMissingImports]

    prenet = model.speecht5.decoder.prenet
    drawn = iter(torch.from_numpy(noise.reshape(-1, noise.shape[-1])).to(model.dtype))

    def dropout(hidden: Any, keep: float) -> Any:
        return torch.where(next(drawn) < keep, hidden, 0) * 1 / (1 - keep)

    prenet.__dict__["_consistent_dropout"] = dropout
    try:
        with torch.no_grad():
            mel, weights = model.generate_speech(
                torch.from_numpy(ids)[None],
                torch.from_numpy(speaker).to(model.dtype),
                threshold=threshold,
                # The library turns the ratio back into steps and drops what is left of a whole one.
                maxlenratio=(most_steps + 0.5) * model.config.reduction_factor / len(ids),
                output_cross_attentions=True,
            )
    finally:
        del prenet.__dict__["_consistent_dropout"]
    return Spoken(mel.numpy(), weights[:, : guided_heads(model.config)].mean((0, 1)).numpy())


def check_steps(model: Any, nets: NetLoop, speaker: Array) -> dict[str, float]:
    """Return the largest differences between the nets' loop and the library's own, with the same noise.

    Raises:   ImporterError where they differ by more than 1e-4, or stop at different frames
    """
    random = np.random.default_rng(0)
    config = model.config
    shape = (STEPS, config.speech_decoder_prenet_layers, config.speech_decoder_prenet_units)
    mel, alignment = 0.0, 0.0
    for length in LENGTHS:
        ids = random.integers(0, config.vocab_size, length)
        noise = random.random(shape, np.float32)
        for threshold in (STOP_THRESHOLD, config.reduction_factor + 1.0):  # the second never stops
            got = nets.speak(ids, speaker, noise, threshold=threshold, most_steps=STEPS)
            want = speak(model, ids, speaker, noise, threshold=threshold, most_steps=STEPS)
            mel = max(mel, check_close("mel", got.mel, want.mel))
            alignment = max(alignment, check_close("alignment", got.alignment, want.alignment))
    return {"mel": mel, "alignment": alignment}
