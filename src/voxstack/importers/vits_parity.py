"""Hold the cut nets against the model they came from: same ids, same noise, same samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Constant, Edge
from voxstack.importers.vits import VitsParts

__all__ = ["TOLERANCE", "Chain", "check_parity", "lift_noise", "open_session"]

Floats = NDArray[np.float32]
TOLERANCE = 1e-4
NEAR = 1e-5
LENGTHS = (3, 9, 38, 121)


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a session on one thread that leaves the other cores alone."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Chain:
    """Run the cut nets one after another, plainly: no windows, nothing shared with the engine."""

    sessions: Mapping[str, ort.InferenceSession]

    @classmethod
    def open(cls, parts: VitsParts) -> "Chain":
        return cls({name: open_session(net.model) for name, net in parts.nets.items()})

    def encode(self, ids: NDArray[np.int64], speaker: int) -> dict[str, Floats]:
        feeds = {"ids": ids[None], "lengths": np.asarray([len(ids)]), "speaker": np.asarray([speaker])}
        return self._run("encoder", feeds)

    def durations(self, encoded: Mapping[str, Floats], noise: Floats, noise_w: float) -> Floats:
        mask = np.ones((1, 1, noise.shape[2]), np.float32)
        feeds = {
            "phonemes_mask": mask,
            "duration_noise": noise,
            "noise_w": np.asarray(noise_w, np.float32),
            **encoded,
        }
        return self._run("duration", feeds)["durations"]

    def decode(
        self, encoded: Mapping[str, Floats], frames: NDArray[np.int64], noise: Floats, scale: float
    ) -> Floats:
        """Repeat the prior `frames` times a phoneme and make samples of it."""
        prior = {name: np.repeat(encoded[name], frames, axis=2) for name in ("mean", "log_std")}
        mask = np.ones((1, 1, noise.shape[2]), np.float32)
        feeds = {
            **encoded,
            **prior,
            "frame_noise": noise,
            "noise": np.asarray(scale, np.float32),
            "frames_mask": mask,
        }
        return self._run("decoder", {**encoded, **self._run("flow", feeds)})["samples"]

    def _run(self, name: str, feeds: Mapping[str, object]) -> dict[str, Floats]:
        session = self.sessions[name]
        wanted = [item.name for item in session.get_inputs()]
        names = [item.name for item in session.get_outputs()]
        results = session.run(names, {item: feeds[item] for item in wanted})
        return dict(zip(names, [np.asarray(result) for result in results], strict=True))


def lift_noise(parts: VitsParts) -> onnx.ModelProto:
    """Return the uncut model with its random nodes turned into inputs `duration_noise` and `frame_noise`."""
    whole, marks = parts.whole, parts.marks
    lifted = {marks.duration_noise: "duration_noise", marks.frame_noise: "frame_noise"}
    inputs = {edge.name: edge for edge in whole.inputs}
    inputs |= {old: Edge(new, "float32", ("b", "c", "t")) for old, new in lifted.items() if old}
    return whole.extract(inputs, {edge.name: edge for edge in whole.outputs}).model()


def check_parity(parts: VitsParts, *, lengths: Sequence[int] = LENGTHS, seed: int = 0) -> float:
    """Return the largest difference between the chain's samples and the model's, over several lengths.

    Raises: ImporterError where they differ by more than 1e-4, or in how many samples they make.
    """
    chain, monolith = Chain.open(parts), open_session(lift_noise(parts))
    random = np.random.default_rng(seed)
    marks = parts.marks
    worst = 0.0
    for length in lengths:
        noise, length_scale, noise_w = _scales(parts, random)
        speaker = int(random.integers(0, parts.speakers))
        ids, encoded, duration_noise, frames = _draw(
            parts, chain, random, length, speaker, length_scale, noise_w
        )
        latent = encoded["mean"].shape[1]
        frame_noise = random.standard_normal((1, latent, int(frames.sum()))).astype(np.float32)
        samples = chain.decode(encoded, frames, frame_noise, noise)
        feeds: dict[str | None, Constant] = {
            marks.ids: ids[None],
            marks.lengths: np.asarray([length]),
            marks.scales: np.asarray([noise, length_scale, noise_w], np.float32),
            marks.speaker: np.asarray([speaker]),
            "duration_noise": duration_noise,
            "frame_noise": frame_noise,
        }
        wanted = {item.name for item in monolith.get_inputs()}
        try:
            results = monolith.run(None, {key: feed for key, feed in feeds.items() if key in wanted})
        except Exception as error:  # the runtime's own exceptions have no public common class
            raise ImporterError(
                f"the cut nets and the model disagree on the number of frames: {error}"
            ) from error
        whole = np.asarray(results[0]).reshape(-1)
        if whole.size != samples.size:
            raise ImporterError(
                f"the cut nets make {samples.size} samples where the model makes {whole.size}"
            )
        worst = max(worst, float(np.abs(whole - samples[0]).max()))
    if not worst <= TOLERANCE:
        raise ImporterError(f"the cut nets differ from the model by {worst:.2g}, want at most {TOLERANCE:g}")
    return worst


def _draw(
    parts: VitsParts,
    chain: Chain,
    random: np.random.Generator,
    length: int,
    speaker: int,
    length_scale: float,
    noise_w: float,
) -> tuple[NDArray[np.int64], dict[str, Floats], Floats, NDArray[np.int64]]:
    """Draw ids and noise until no duration is so near a whole number that float rounding could tip it."""
    for _ in range(100):
        ids = random.integers(0, parts.symbols, length)
        noise = random.standard_normal((1, 2, length)).astype(np.float32)
        encoded = chain.encode(ids, speaker)
        durations = chain.durations(encoded, noise, noise_w)[0] * length_scale
        if np.abs(durations - np.round(durations)).min() > NEAR * max(1.0, float(durations.max())):
            return ids, encoded, noise, np.ceil(durations).astype(np.int64)
    raise ImporterError("every duration is a whole number of frames; rounding errors would decide")


def _scales(parts: VitsParts, random: np.random.Generator) -> tuple[float, float, float]:
    """Draw noise, length scale and duration noise; or read the constants of a model without such an input."""
    whole, marks = parts.whole, parts.marks
    if marks.scales is not None:
        noise, length_scale, noise_w = (
            float(scale) for scale in random.uniform(0.5, 1.2, 3).astype(np.float32)
        )
        return noise, length_scale, noise_w

    def number(tensor: str | None) -> float:
        value = whole.scalar(tensor) if tensor else None
        return 1.0 if value is None else value

    return number(marks.frame_noise_scale), 1.0, number(marks.duration_noise_scale)
