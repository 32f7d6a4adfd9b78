"""Make the toy addons `tone` (a known tone per letter, as mels), `tone-vocoder` (mels to samples) and
`tone-nested` (the stacks of both, and a limiter).

Every number in them is chosen, none is trained, so a lost frame, a wrong order or a click at a join
can be measured. Run it to write them to examples/addons:

    python scripts/make_tone.py
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from voxstack.stack.addon import seal

SAMPLE_RATE = 16_000
HOP = 160
LETTERS = "abcdefghijkl"
TONES_HZ = [300 + 100 * place for place in range(len(LETTERS))]
"""Multiples of the frame rate (100 Hz): every frame holds whole periods, so tones join without a step."""

FRAMES = [3] + [6 + place % 3 for place in range(len(LETTERS))]
"""Frames that each id lasts; id 0 is silence."""

LOUDNESS = 0.5
SMOOTH = np.array([1, 2, 3, 2, 1], np.float32) / 9
"""The decoder's kernel: context of two frames each side."""

BLUR = np.array([1, 2, 1], np.float32) / 4
"""The vocoder's kernel: context of one frame each side."""

STACK = [
    {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "Encoders"},
        "streamable_block": {
            "type": "StreamableStack",
            "stack": [{"type": "Upsampler"}, {"type": "Decoder"}],
        },
    }
]
MEL = {"sample_rate": SAMPLE_RATE, "hop": HOP, "bands": len(LETTERS), "fmin": 300, "fmax": 1400}

IDS_OF = {" ": [0], **{letter: [place + 1] for place, letter in enumerate(LETTERS)}}
SPOKEN = {
    "languages": ["x-tone"],
    "mel": MEL,
    "text": {"type": "characters", "phoneme_ids": IDS_OF, "lowercase": True},
    "controls": {"speed": {"default": 1.0, "min": 0.5, "max": 2.0}},
}
"""What the toy voices have in common: mels, text and controls."""

Encoders = Literal["one", "two", "chain"]


def hidden_table() -> np.ndarray:
    """Return what each id means, float32 [ids, bands]: one band at LOUDNESS, none for silence."""
    return np.vstack([np.zeros(len(LETTERS)), np.eye(len(LETTERS)) * LOUDNESS]).astype(np.float32)


def make_tone(folder: Path, *, encoders: Encoders = "two", name: str = "tone") -> Path:
    """Write the acoustic addon, with its encoders as one net, two, or two of which one needs the other."""
    ids = {"ids": {"dtype": "int64", "axes": ["batch", "phonemes"]}}
    hidden = {"hidden": {"dtype": "float32", "axes": ["batch", len(LETTERS), "phonemes"]}}
    durations = {"durations": {"dtype": "int64", "axes": ["batch", "phonemes"]}}
    # What stands behind the last id changes no other: each is looked up by itself.
    ragged = {"axis": "phonemes", "chunkable": False, "pad": 0.0}
    gather_hidden = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["hidden"], perm=[0, 2, 1]),
    ]
    gather_frames = [helper.make_node("Gather", ["frames", "ids"], ["durations"])]
    table, frames = {"table": hidden_table()}, {"frames": np.array(FRAMES, np.int64)}
    band_frames = np.array(FRAMES[1:], np.float32) - FRAMES[0]
    from_hidden = [
        helper.make_node("Transpose", ["hidden"], ["rows"], perm=[0, 2, 1]),
        # A column, not a vector: ONNX Runtime 1.31 computes Transpose, MatMul with a vector wrongly.
        helper.make_node("MatMul", ["rows", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["more"]),
        helper.make_node("Add", ["more", "least"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["durations"], to=TensorProto.INT64),
    ]
    weights = {
        "weights": (band_frames / LOUDNESS)[:, None],
        "last": np.array([2], np.int64),
        "least": np.array(FRAMES[0] + 0.5, np.float32),
    }
    nets: dict[str, tuple[dict[str, Any], list[onnx.NodeProto], dict[str, np.ndarray]]] = {
        "one": {
            "encoder": (
                {"role": "encoder", "inputs": ids, "outputs": {**hidden, **durations}, "ragged": ragged},
                gather_hidden + gather_frames,
                {**table, **frames},
            )
        },
        "two": {
            "text": (
                {"role": "encoder", "inputs": ids, "outputs": hidden, "ragged": ragged},
                gather_hidden,
                table,
            ),
            "durations": (
                {"role": "encoder", "inputs": ids, "outputs": durations, "ragged": ragged},
                gather_frames,
                frames,
            ),
        },
        "chain": {
            # Out of order on purpose: Encoders finds the order in which they need each other.
            "durations": (
                {"role": "encoder", "inputs": hidden, "outputs": durations, "ragged": ragged},
                from_hidden,
                weights,
            ),
            "text": (
                {"role": "encoder", "inputs": ids, "outputs": hidden, "ragged": ragged},
                gather_hidden,
                table,
            ),
        },
    }[encoders]
    bands = len(LETTERS)
    nets["decoder"] = (
        {
            "role": "decoder",
            "inputs": {"hidden": {"dtype": "float32", "axes": ["batch", bands, "frames"]}},
            "outputs": {"mel": {"dtype": "float32", "axes": ["batch", bands, "frames"]}},
            "ragged": {"axis": "frames", "context": [2, 2], "least": 4},
        },
        [helper.make_node("Conv", ["hidden", "kernel"], ["mel"], pads=[2, 2], group=bands)],
        {"kernel": np.tile(SMOOTH, (bands, 1, 1))},
    )
    config = {
        "name": name,
        "gives": "mel",
        **SPOKEN,
        "stack": STACK,
        "vocoder": "tone-vocoder",
    }
    return write_addon(folder, config, nets)


def make_tone_vocoder(folder: Path, *, name: str = "tone-vocoder", mel: dict[str, Any] = MEL) -> Path:
    """Write the vocoder addon: a sine per band."""
    bands = len(LETTERS)
    time = np.arange(HOP) / SAMPLE_RATE
    sines = np.stack([np.sin(2 * np.pi * hz * time) for hz in TONES_HZ]).astype(np.float32)
    net = (
        {
            "role": "vocoder",
            "inputs": {"mel": {"dtype": "float32", "axes": ["batch", bands, "frames"]}},
            "outputs": {"samples": {"dtype": "float32", "axes": ["batch", "samples"]}},
            "ragged": {"axis": "frames", "context": [1, 1], "hop": HOP, "pad": 0.0},
        },
        [
            helper.make_node("Conv", ["mel", "kernel"], ["soft"], pads=[1, 1], group=bands),
            helper.make_node("ConvTranspose", ["soft", "sines"], ["sum"], strides=[HOP]),
            helper.make_node("Squeeze", ["sum", "channel"], ["samples"]),
        ],
        {
            "kernel": np.tile(BLUR, (bands, 1, 1)),
            "sines": sines[:, None, :],
            "channel": np.array([1], np.int64),
        },
    )
    config = {"name": name, "gives": "audio", "takes": "mel", "mel": mel, "stack": [{"type": "Vocoder"}]}
    return write_addon(folder, config, {"vocoder": net})


def write_addon(
    folder: Path, config: dict[str, Any], nets: dict[str, Any], *, source: str = "make_tone.py"
) -> Path:
    (folder / "nets").mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {}
    for name, (described_net, nodes, constants) in nets.items():
        model = net_model(name, described_net, nodes, constants)
        (folder / "nets" / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        described[name] = {"file": f"nets/{name}.onnx", **described_net}
    whole = {
        "format": 1,
        "version": "1.0.0",
        "licence": "Apache-2.0",
        "origin": {"source": f"scripts/{source}"},
        "audio": {"sample_rate": SAMPLE_RATE},
        **config,
        "nets": described,
    }
    (folder / "addon.json").write_text(json.dumps(whole, indent=1) + "\n")
    seal(folder)
    return folder


def net_model(
    name: str, net: dict[str, Any], nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}

    def infos(tensors: dict[str, Any]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(key, types[t["dtype"]], t["axes"]) for key, t in tensors.items()
        ]

    graph = helper.make_graph(
        nodes,
        name,
        infos(net["inputs"]),
        infos(net["outputs"]),
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="voxstack")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def make_nested(folder: Path, *, name: str = "tone-nested") -> Path:
    """Write a voice without nets: the whole stack of `tone`, its vocoder's, and a sound of its own."""
    config = {
        "name": name,
        "gives": "audio",
        **SPOKEN,
        "stack": [
            {"type": "Addon", "name": "tone"},
            {"type": "Addon", "name": "tone-vocoder"},
            {"type": "Limiter", "gain_db": -6},
        ],
    }
    return write_addon(folder, config, {})


def make_examples(root: Path) -> list[Path]:
    """Write the addons below `root`, and the golden samples of the voices; return their folders."""
    from voxstack.engine.golden import write_golden

    vocoder = make_tone_vocoder(root / "tone-vocoder")
    tone = make_tone(root / "tone")
    nested = make_nested(root / "tone-nested")
    for voice in (tone, nested):
        write_golden(voice, [place + 1 for place in range(len(LETTERS))], {}, folders=[root])
    return [tone, vocoder, nested]


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "examples" / "addons"
    for folder in make_examples(chosen):
        print(folder)
