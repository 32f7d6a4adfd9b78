"""Find in the graph of an attention-based mel model what it takes, and which of its outputs is heard."""

from collections.abc import Mapping

import numpy as np

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Constant, Graph

__all__ = ["inputs_of", "model_inputs", "refined_output", "symbols_of"]


def inputs_of(whole: Graph) -> dict[str, str]:
    """Tell apart ids [1, phonemes], their number [1], and a speaker's number [1], a place in a table."""
    inputs: dict[str, str] = {}
    for edge in whole.inputs:
        picks = any(
            node.op_type == "Gather" and node.input[1] == edge.name and node.input[0] in whole.constants
            for node in whole.users(edge.name)
        )
        rank = len(edge.axes or ())
        if not edge.dtype.startswith("int") or rank not in (1, 2):
            raise ImporterError(
                f"takes {edge.dtype} '{edge.name}', which no attention model of this kind does"
            )
        if not whole.users(edge.name):
            continue
        name = "ids" if rank == 2 else "speaker" if picks else "lengths"
        if name in inputs:
            raise ImporterError(f"takes '{inputs[name]}' and '{edge.name}', both look like {name}")
        inputs[name] = edge.name
    if "ids" not in inputs:
        raise ImporterError("takes no ids [1, phonemes]")
    if "speaker" in inputs:
        raise ImporterError("speaks with several voices, which is not understood yet")
    return inputs


def symbols_of(whole: Graph, inputs: Mapping[str, str]) -> int:
    """Return how many symbols the model knows: the rows of the table that its ids pick from."""
    for node in whole.users(inputs["ids"]):
        table = whole.value(node.input[0])
        if node.op_type == "Gather" and table is not None:
            return table.shape[0]
    raise ImporterError("its ids do not pick rows of one table")


def model_inputs(whole: Graph, inputs: Mapping[str, str], ids: Constant) -> dict[str, Constant]:
    """Return what the model takes for one utterance."""
    feeds: dict[str, Constant] = {}
    for edge in whole.inputs:
        if edge.name == inputs["ids"]:
            feeds[edge.name] = ids[None].astype(edge.dtype)
        elif edge.name == inputs.get("lengths"):
            feeds[edge.name] = np.asarray([len(ids)], edge.dtype)
        else:
            feeds[edge.name] = np.zeros(1, edge.dtype)
    return feeds


def refined_output(whole: Graph) -> str:
    """Return the model's output with the most convolutions behind the Loop: the mels to be heard."""
    best, most = "", -1
    for edge in whole.outputs:
        loops = [node for node in whole.ancestors(edge.name) if node.op_type == "Loop"]
        behind = whole.ancestors(edge.name, stop=[name for node in loops for name in node.output])
        convolutions = sum(node.op_type == "Conv" for node in behind)
        if edge.dtype == "float32" and loops and convolutions > most:
            best, most = edge.name, convolutions
    if not best:
        raise ImporterError("no float output hangs on a Loop")
    return best
