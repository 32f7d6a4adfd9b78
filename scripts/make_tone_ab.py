"""Make the toy addon `tone-ab`: the voice `tone` with a second decoder that is held against the first.

Run it to write it to examples/addons, beside its vocoder:

    python scripts/make_tone_ab.py
"""

import json
import sys
from pathlib import Path

import numpy as np
from onnx import helper

import make_tone
from voxstack.stack.addon import seal

COARSE = np.round(make_tone.SMOOTH * 16) / 16
"""The first decoder's kernel, rounded as if it were kept in few bits."""

STACK = [
    {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "Encoders"},
        "streamable_block": {
            "type": "StreamableStack",
            "stack": [
                {"type": "Upsampler"},
                {
                    "type": "Compare",
                    "name": "coarse",
                    "a": {
                        "type": "StreamableStack",
                        "stack": [{"type": "Decoder", "net": "decoder"}, {"type": "Tap", "name": "decoder"}],
                    },
                    "b": {
                        "type": "StreamableStack",
                        "stack": [{"type": "Decoder", "net": "coarse"}, {"type": "Tap", "name": "coarse"}],
                    },
                },
            ],
        },
    }
]


def make_tone_ab(folder: Path, *, name: str = "tone-ab") -> Path:
    """Write the addon."""
    make_tone.make_tone(folder, name=name)
    config = json.loads((folder / "addon.json").read_text())
    described = {key: value for key, value in config["nets"]["decoder"].items() if key != "file"}
    bands = len(make_tone.LETTERS)
    model = make_tone.net_model(
        "coarse",
        described,
        [helper.make_node("Conv", ["hidden", "kernel"], ["mel"], pads=[2, 2], group=bands)],
        {"kernel": np.tile(COARSE, (bands, 1, 1))},
    )
    (folder / "nets" / "coarse.onnx").write_bytes(model.SerializeToString(deterministic=True))
    config["nets"]["coarse"] = {"file": "nets/coarse.onnx", **described}
    config |= {"origin": {"source": "scripts/make_tone_ab.py"}, "stack": STACK}
    (folder / "addon.json").write_text(json.dumps(config, indent=1) + "\n")
    seal(folder)
    return folder


def make_example(root: Path) -> Path:
    """Write the addon below `root`, beside its vocoder, and its golden sample; return its folder."""
    from voxstack.engine.golden import write_golden

    made = make_tone_ab(root / "tone-ab")
    write_golden(made, [place + 1 for place in range(len(make_tone.LETTERS))], {}, folders=[root])
    return made


if __name__ == "__main__":
    examples = Path(__file__).parent.parent / "examples" / "addons"
    print(make_example(Path(sys.argv[1]) if len(sys.argv) > 1 else examples))
