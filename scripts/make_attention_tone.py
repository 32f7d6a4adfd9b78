"""Make the toy addon `tone-attention`: tones made frame by frame by an attention that can fail.

Its step net reads its symbols one after another, eight frames each, two frames a step, each frame half
of the one before. Two controls make it lose its way: `stuck`, the symbol on which it stays, and `loop`,
the symbol from which it goes back to the first. Run it to write the addon to examples/addons:

    python scripts/make_attention_tone.py
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

import make_tone

FRAMES = 8
PER_STEP = 2
KEEPS = 0.5
"""How much of a frame is the one before."""

BANDS = len(make_tone.LETTERS)
FLOAT = "float32"


def make_attention_tone(folder: Path, *, name: str = "tone-attention") -> Path:
    """Write the addon; it wants the vocoder `tone-vocoder`."""
    ids_of = {" ": [0], **{letter: [place + 1] for place, letter in enumerate(make_tone.LETTERS)}}
    nowhere = {"default": -1.0, "min": -1.0, "max": 10_000.0}
    config = {
        "name": name,
        "gives": "mel",
        "languages": ["x-tone"],
        "mel": make_tone.MEL,
        "text": {"type": "characters", "phoneme_ids": ids_of, "lowercase": True},
        "controls": {"speed": {"default": 1.0, "min": 0.5, "max": 2.0}, "stuck": nowhere, "loop": nowhere},
        "stack": [
            {
                "type": "StreamablePipeline",
                "sequence_block": {"type": "Encoders"},
                "streamable_block": {
                    "type": "StreamableStack",
                    "stack": [{"type": "AutoregressiveDecoder"}, {"type": "Decoder"}],
                },
            }
        ],
        "vocoder": "tone-vocoder",
    }
    nets = {"text": _text(), "step": _step(), "postnet": _postnet()}
    return make_tone.write_addon(folder, config, nets, source="make_attention_tone.py")


def _text() -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    described = {
        "role": "encoder",
        "inputs": {"ids": {"dtype": "int64", "axes": ["batch", "phonemes"]}},
        "outputs": {"memory": {"dtype": FLOAT, "axes": ["batch", "phonemes", BANDS]}},
        "ragged": {"axis": "phonemes", "chunkable": False, "pad": 0.0},
    }
    return (
        described,
        [helper.make_node("Gather", ["table", "ids"], ["memory"])],
        {"table": make_tone.hidden_table()},
    )


def _step() -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    scalar = {"dtype": FLOAT, "axes": []}
    frame = {"dtype": FLOAT, "axes": ["batch", BANDS]}
    place = {"dtype": FLOAT, "axes": ["batch"]}
    weights = {"dtype": FLOAT, "axes": ["batch", "phonemes"]}
    described = {
        "role": "step",
        "inputs": {
            "memory": {"dtype": FLOAT, "axes": ["batch", "phonemes", BANDS]},
            "phonemes_mask": weights,
            "speed": scalar,
            "stuck": scalar,
            "loop": scalar,
            "place": place,
            "last": frame,
        },
        "outputs": {
            "coarse": {"dtype": FLOAT, "axes": ["batch", PER_STEP, BANDS]},
            "stop": place,
            "alignment": weights,
            "place_next": place,
            "last_next": frame,
        },
        "ragged": {"axis": "phonemes", "chunkable": False, "mask": "phonemes_mask"},
        "state": {"place": "place_next", "last": "last_next"},
    }
    node = helper.make_node
    nodes = [
        node("ReduceSum", ["phonemes_mask", "last_axis"], ["symbols"], keepdims=0),
        node("CumSum", ["phonemes_mask", "one_axis"], ["numbers"]),
        node("Sub", ["numbers", "one"], ["indices"]),
        node("Floor", ["place"], ["whole"]),
        node("Sub", ["symbols", "one"], ["top"]),
        node("Min", ["whole", "top"], ["at"]),
        node("Unsqueeze", ["at", "last_axis"], ["at_column"]),
        node("Equal", ["indices", "at_column"], ["is_there"]),
        node("Cast", ["is_there"], ["there"], to=TensorProto.FLOAT),
        node("Mul", ["there", "phonemes_mask"], ["alignment"]),
        node("Unsqueeze", ["alignment", "one_axis"], ["row"]),
        # Chosen, not multiplied: nothing that stands in the padding may come through, NaN least of all.
        node("Greater", ["phonemes_mask", "zero"], ["is_symbol"]),
        node("Unsqueeze", ["is_symbol", "two_axis"], ["is_symbol_row"]),
        node("Where", ["is_symbol_row", "memory", "zero"], ["symbol_memory"]),
        node("MatMul", ["row", "symbol_memory"], ["read"]),
        node("Squeeze", ["read", "one_axis"], ["target"]),
        node("Mul", ["target", "rest"], ["fresh"]),
        node("Mul", ["last", "keeps"], ["kept"]),
        node("Add", ["fresh", "kept"], ["first"]),
        node("Mul", ["first", "keeps"], ["kept_again"]),
        node("Add", ["fresh", "kept_again"], ["last_next"]),
        node("Unsqueeze", ["first", "one_axis"], ["first_row"]),
        node("Unsqueeze", ["last_next", "one_axis"], ["second_row"]),
        node("Concat", ["first_row", "second_row"], ["coarse"], axis=1),
        node("Mul", ["speed", "pace"], ["stride"]),
        node("Add", ["place", "stride"], ["onward"]),
        # On the symbol `stuck` it stays; from the symbol `loop` it goes back to the first.
        node("Equal", ["whole", "stuck"], ["is_stuck"]),
        node("Where", ["is_stuck", "place", "onward"], ["moved"]),
        node("Equal", ["whole", "loop"], ["is_looping"]),
        node("Where", ["is_looping", "zero", "moved"], ["place_next"]),
        node("GreaterOrEqual", ["place_next", "symbols"], ["is_over"]),
        node("Cast", ["is_over"], ["stop"], to=TensorProto.FLOAT),
    ]
    constants = {
        "one_axis": np.array([1], np.int64),
        "two_axis": np.array([2], np.int64),
        "last_axis": np.array([1], np.int64),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.float32),
        "keeps": np.array(KEEPS, np.float32),
        "rest": np.array(1 - KEEPS, np.float32),
        "pace": np.array(PER_STEP / FRAMES, np.float32),
    }
    return described, nodes, constants


def _postnet() -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    tensor = {"dtype": FLOAT, "axes": ["batch", BANDS, "frames"]}
    described = {
        "role": "decoder",
        "inputs": {"coarse": tensor},
        "outputs": {"mel": tensor},
        "ragged": {"axis": "frames", "context": [2, 2], "least": 4},
    }
    nodes = [helper.make_node("Conv", ["coarse", "kernel"], ["mel"], pads=[2, 2], group=BANDS)]
    return described, nodes, {"kernel": np.tile(make_tone.SMOOTH, (BANDS, 1, 1))}


def make_example(root: Path) -> Path:
    """Write the addon below `root`, beside its vocoder, and its golden sample; return its folder."""
    from voxstack.engine.golden import write_golden

    made = make_attention_tone(root / "tone-attention")
    write_golden(made, [place + 1 for place in range(BANDS)], {}, folders=[root])
    return made


if __name__ == "__main__":
    examples = Path(__file__).parent.parent / "examples" / "addons"
    print(make_example(Path(sys.argv[1]) if len(sys.argv) > 1 else examples))
