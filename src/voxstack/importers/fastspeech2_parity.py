"""Hold the nets cut from a parallel mel model against it: same ids and controls, same durations, same mel."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.fastspeech2_landmarks import Landmarks
from voxstack.importers.graphs.dropouts import lift_dropouts
from voxstack.importers.graphs.graph import Edge, Graph
from voxstack.importers.vits_parity import NEAR, TOLERANCE, open_session

__all__ = ["check_parallel"]

Floats = NDArray[np.float32]
Feeds = dict[str, NDArray[np.generic]]
LENGTHS = (4, 17, 60)


def check_parallel(
    whole: Graph, marks: Landmarks, nets: Mapping[str, onnx.ModelProto], *, seed: int = 0
) -> float:
    """Return the largest difference between the chain's mel and the model's, over lengths and controls.

    Durations are stretched and rounded as the Upsampler does it.

    Raises:   ImporterError where mels differ by more than 1e-4, or durations at all
    """
    sessions = {name: open_session(model) for name, model in nets.items()}
    monolith = open_session(_lifted(whole, marks).model())
    random = np.random.default_rng(seed)
    worst = 0.0
    for length in LENGTHS:
        controls, feeds, encoded, stretched = _draw(marks, sessions, random, length)
        rounded = np.ceil(stretched) if marks.rounding == "ceil" else np.rint(stretched)
        frames = np.maximum(rounded, 0).astype(np.int64)
        if not frames.sum():
            raise ImporterError("random ids make no frames, so nothing can be compared")
        mel = _decode(sessions, encoded, frames)
        feeds |= _whole_feeds(whole, marks, controls, feeds["ids"])
        results = _run(monolith, {item.name: feeds[item.name] for item in monolith.get_inputs()})
        if "rounded" in results and not np.array_equal(results["rounded"][0], frames):
            raise ImporterError("the cut nets' durations differ from the model's")
        if results["mel"].shape != mel.shape:
            raise ImporterError(
                f"the cut nets make {mel.shape[1]} frames where the model makes {results['mel'].shape[1]}"
            )
        worst = max(worst, float(np.abs(results["mel"] - mel).max()))
    if not worst <= TOLERANCE:
        raise ImporterError(f"the cut nets differ from the model by {worst:.2g}, want at most {TOLERANCE:g}")
    return worst


def _draw(
    marks: Landmarks, sessions: Mapping[str, ort.InferenceSession], random: np.random.Generator, length: int
) -> tuple[dict[str, np.float32], Feeds, Feeds, Floats]:
    """Draw until no duration is so near the rounding's edge that it could tip over, and all frames fit."""
    for _ in range(100):
        controls = {
            name: np.float32(value)
            for name, value in zip(("speed", "pitch", "energy"), random.uniform(0.7, 1.4, 3), strict=True)
        }
        ids = random.integers(1, marks.symbols, (1, length))
        feeds: Feeds = {"ids": ids, "phonemes_mask": np.ones((1, length), bool)}
        feeds["noise"] = np.asarray(random.uniform(), np.float32)
        feeds |= {name: np.asarray(value) for name, value in controls.items()}
        feeds |= {
            item.name: random.random((1, length, marks.channels), np.float32)
            for item in sessions["duration"].get_inputs()
            if item.name.startswith("dropout_")
        }
        encoded = _part(sessions["encoder"], feeds)
        encoded |= _part(sessions["duration"], {**feeds, **encoded})
        ratio = np.float32(1) / controls["speed"] if marks.ratio is not None else np.float32(1)
        stretched = encoded["durations"][0].astype(np.float32) * ratio
        edge = 0.0 if marks.rounding == "ceil" else 0.5
        gap = np.abs(stretched - edge - np.round(stretched - edge))
        fits = stretched.sum() + length < (marks.most_frames or np.inf)
        if fits and gap.min() > NEAR * max(1.0, float(stretched.max())):
            return controls, feeds, encoded, stretched
    raise ImporterError("random ids last too long, or for times at the rounding's edge, to be compared")


def _decode(
    sessions: Mapping[str, ort.InferenceSession], encoded: Feeds, frames: NDArray[np.int64]
) -> NDArray[np.generic]:
    """Repeat and decode, as the blocks do; return the mel [1, frames, bands]."""
    feeds: Feeds = {
        name: np.repeat(tensor, frames, axis=1) for name, tensor in encoded.items() if tensor.ndim == 3
    }
    feeds["frames_mask"] = np.ones((1, int(frames.sum())), bool)
    mel = _part(sessions["decoder"], feeds)
    if "postnet" not in sessions:
        return mel["mel"]
    before = np.ascontiguousarray(mel["mel_before"].transpose(0, 2, 1))
    return _part(sessions["postnet"], {"mel_before": before})["mel"].transpose(0, 2, 1)


def _lifted(whole: Graph, marks: Landmarks) -> Graph:
    """Return the uncut model, its dropout drawn from outside as the cut net's is."""
    wanted = {marks.refined or marks.mel: Edge("mel", "float32", ("batch", "frames", "bands"))}
    if marks.rounded is not None:
        wanted[marks.rounded] = Edge("rounded", "int32", ("batch", "phonemes"))
    sources = {name for tensor in wanted for name in whole.sources(tensor)}
    graph = whole.extract({edge.name: edge for edge in whole.inputs if edge.name in sources}, wanted)
    lift_dropouts(graph, marks.channels)
    return graph


def _whole_feeds(
    whole: Graph, marks: Landmarks, controls: Mapping[str, np.float32], ids: NDArray[np.generic]
) -> Feeds:
    dtype = next(edge.dtype for edge in whole.inputs if edge.name == marks.ids)
    ranks = {edge.name: len(edge.axes or ()) for edge in whole.inputs}
    named = {marks.inputs[name]: controls[name] for name in marks.inputs}
    if marks.ratio is not None:
        named[marks.ratio] = np.float32(1) / controls["speed"]
    ratios = {name: np.full((1,) * ranks[name], value, np.float32) for name, value in named.items()}
    return {marks.ids: ids.astype(dtype), **ratios}


def _part(session: ort.InferenceSession, feeds: Feeds) -> Feeds:
    return _run(session, {item.name: feeds[item.name] for item in session.get_inputs()})


def _run(session: ort.InferenceSession, feeds: Mapping[str, object]) -> Feeds:
    names = [item.name for item in session.get_outputs()]
    try:
        results = session.run(names, dict(feeds))
    except Exception as error:  # the runtime's own exceptions have no public common class
        raise ImporterError(f"cannot be run: {str(error).strip().partition(chr(10))[0]}") from error
    return dict(zip(names, [np.asarray(result) for result in results], strict=True))
