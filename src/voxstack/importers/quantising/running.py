"""Run a graph on tensors of real utterances, with the float kernels whatever it holds."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime as ort

from voxstack.importers.graphs.graph import Constant, Graph

__all__ = ["Feeds", "open_float", "outputs_of"]

Feeds: TypeAlias = Mapping[str, Constant]


def open_float(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a session on one thread in which a quantised net rounds, but multiplies in float32.

    So what is measured is the quantisation, not how this processor's integer kernels saturate; and a run is
    as fast as one of the float net.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs_of(graph: Graph, utterances: Sequence[Feeds]) -> list[Constant]:
    """Return a graph's first output in each utterance, flat."""
    session = open_float(graph.model())
    return [np.asarray(session.run(None, dict(feeds))[0]).reshape(-1) for feeds in utterances]
