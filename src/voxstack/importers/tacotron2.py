"""Write the addon of an attention-based mel model that makes frames in a Loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from voxstack.core.errors import ImporterError
from voxstack.importers.batching import batch_fact, freed
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.mel_addon import Source, write_voice
from voxstack.importers.padding import check_padding, padding_fact
from voxstack.importers.tacotron2_landmarks import symbols_of
from voxstack.importers.tacotron2_nets import AttentionParts, cut_attention, encoder_of
from voxstack.importers.tacotron2_parity import check_attention
from voxstack.importers.writing import AddonReport

__all__ = ["import_model"]

Json = dict[str, Any]

NOISE: Json = {"default": 0.0, "min": 0.0, "max": 1.0}
"""At 1 a prenet drops half of what it knows, as it did in training; at 0 nothing is drawn by chance."""

EMBEDDED = {"runtime": "onnxruntime"}
PROFILES: Json = {name: {"nets": {"encoder": EMBEDDED, "step": EMBEDDED}} for name in ("openvino", "torch")}
"""The loop feeds on its own output: what another engine rounds otherwise, 5e-6 of its memory, is 6e-3 of
full scale after twenty syllables. So where only the engine is another, it stays with the first."""


def import_model(source: Source, out: Path) -> AddonReport:
    """Write the addon of an attention-based mel model.

    The frames of the step that says "stop" are not kept: such models learn to stop on padding.

    Raises:   ImporterError if a part of such a model is missing, or the cut nets differ from the model or
              change what they say when they are padded
    """
    parts = cut_attention(source.model)
    symbols = symbols_of(Graph.read(source.model), parts.inputs)
    parts = replace(parts, nets=freed(parts.nets, symbols=symbols))
    try:
        steps, difference = check_attention(source, parts)
    except ImporterError:
        # On some machines the LSTM operator rounds otherwise, and the loop makes much of it.
        slow = encoder_of(parts.loop, parts.inputs, symbols, fast=False)
        parts = replace(parts, nets={**parts.nets, "encoder": slow})
        steps, difference = check_attention(source, parts)
    controls = {"noise": NOISE} if parts.loop.noise else {}
    facts = [
        ("frames a step", str(parts.framing.per_step)),
        ("loop vs. model", f"{difference:.1e} greatest difference, same frames in {steps} steps"),
        padding_fact(check_padding(parts.nets, symbols=symbols)),
        batch_fact(parts.nets, symbols=symbols),
    ]
    return write_voice(
        source,
        out,
        nets=parts.nets,
        stack=_stack(parts),
        controls=controls,
        profiles=PROFILES,
        facts=facts,
    )


def _stack(parts: AttentionParts) -> list[Json]:
    decoder = {
        "type": "AutoregressiveDecoder",
        "net": "step",
        "stop_threshold": parts.loop.stop.threshold,
        "keeps_stop_step": False,
    }
    chain = [decoder, {"type": "Decoder", "net": "postnet"}]
    return [
        {
            "type": "StreamablePipeline",
            "sequence_block": {"type": "Encoders"},
            "streamable_block": {"type": "StreamableStack", "stack": chain},
        }
    ]
