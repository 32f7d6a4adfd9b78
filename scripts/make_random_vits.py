"""Export a randomly initialised VITS network to ONNX and JSON, with a Piper voice's signature and operators.

It speaks noise. It exists so that the importer can be tried on every variant (quality, speakers, duration
predictor, erased names) without anybody's weights:

    python scripts/make_random_vits.py out.onnx --quality high --speakers 3 --deterministic --erase-names
    voxstack import piper out.onnx --out addons/random
"""

import argparse
import io
import json
import string
import warnings
from pathlib import Path
from typing import Any

import onnx

try:
    import torch
except ModuleNotFoundError as error:
    raise SystemExit("make_random_vits.py needs PyTorch: pip install 'voxstack[torch]'") from error

from vits_network import GENERATORS, Options, Vits

__all__ = ["Options", "export_random_vits", "random_config"]

SIGNS = "_^$ .,?!;:'-"


def export_random_vits(options: Options) -> onnx.ModelProto:
    """Return an untrained voice as an exporter would write it."""
    torch.manual_seed(options.seed)
    net = Vits(options).eval()
    ids = torch.randint(0, options.symbols, (1, 14))
    inputs = [ids, torch.tensor([14]), torch.tensor([0.667, 1.0, 0.8])]
    names = ["input", "input_lengths", "scales"]
    if options.speakers > 1:
        inputs.append(torch.tensor([0]))
        names.append("sid")
    axes = {
        "input": {0: "batch_size", 1: "phonemes"},
        "input_lengths": {0: "batch_size"},
        "output": {0: "batch_size", 3: "time"},
    }
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every size it follows
        torch.onnx.export(
            net,
            tuple(inputs),
            file,
            input_names=names,
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=15,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    if options.transformers_like:
        _cast_noise(model)
    if options.erase_names:
        _erase_names(model)
    return model


def random_config(options: Options) -> dict[str, Any]:
    """Return the JSON that goes with a voice: letters are its phonemes, large ones sound like small ones."""
    numbers = {symbol: [number] for number, symbol in enumerate(SIGNS + string.ascii_lowercase)}
    large = {letter: numbers[letter.lower()] for letter in string.ascii_uppercase}
    return {
        "audio": {"sample_rate": 22050, "quality": options.quality},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": "text",
        "phoneme_id_map": {**numbers, **large},
        "num_symbols": options.symbols,
        "num_speakers": options.speakers,
        "speaker_id_map": {f"speaker-{n}": n for n in range(options.speakers)}
        if options.speakers > 1
        else {},
    }


def _cast_noise(model: onnx.ModelProto) -> None:
    """Put a Cast behind each noise, as exports of another training library have it."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.append(node)
        if node.op_type.startswith("RandomNormal"):
            last = model.graph.node[-1]
            name = last.output[0]
            last.output[0] = f"{name}_drawn"
            model.graph.node.append(
                onnx.helper.make_node("Cast", [f"{name}_drawn"], [name], to=onnx.TensorProto.FLOAT)
            )


def _erase_names(model: onnx.ModelProto) -> None:
    """Number all tensors and forget what nodes were called."""
    names: dict[str, str] = {"": ""}
    graph = model.graph

    def number(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    for item in (*graph.initializer, *graph.input, *graph.output):
        item.name = number(item.name)
    del graph.value_info[:]
    for node in graph.node:
        node.name = node.doc_string = ""
        node.input[:] = [number(name) for name in node.input]
        node.output[:] = [number(name) for name in node.output]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", choices=sorted(GENERATORS), default="medium")
    parser.add_argument("--speakers", type=int, default=1)
    parser.add_argument("--deterministic", action="store_true", help="predict durations without noise")
    parser.add_argument("--erase-names", action="store_true")
    parser.add_argument("--transformers-like", action="store_true")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    options = Options(
        quality=chosen.quality,
        speakers=chosen.speakers,
        stochastic=not chosen.deterministic,
        erase_names=chosen.erase_names,
        transformers_like=chosen.transformers_like,
        hidden=chosen.hidden,
        seed=chosen.seed,
    )
    onnx.save(export_random_vits(options), str(chosen.out))
    config = json.dumps(random_config(options), indent=1)
    chosen.out.with_name(chosen.out.name + ".json").write_text(config + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
