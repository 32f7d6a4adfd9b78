"""Make small models that decode frames in an ONNX Loop, in the ways in which exporters write such loops."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["BANDS", "PER_STEP", "SYMBOLS", "Toy", "make_toy"]

BANDS, PER_STEP, HIDDEN, MEMORY, KEYS, SYMBOLS = 3, 2, 5, 4, 6, 11
MOST = 12
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class Toy:
    """What a toy is to be like.

    collects   how frames are gathered: "scan", "concat", "scatter", "where" or "sequence"
    draws      whether a prenet drops at random, in training mode and by a uniform draw
    idle       whether there is a Dropout that does nothing
    stops      "all" or "any" of the two probabilities, "logit", "flipped" (they say "go on"), "never", or
               "late" (not before the fourth step)
    begins     whether the hidden state begins with the mean of the memory
    reads_last whether what stands behind the loop reads the last hidden state
    counts     whether the step reads its own number
    """

    collects: str = "scan"
    draws: bool = False
    idle: bool = False
    stops: str = "all"
    begins: bool = False
    reads_last: bool = False
    counts: bool = False


class _Maker:
    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weights(self, name: str, *shape: int) -> str:
        values = self.random.standard_normal(shape) * 1.2 / np.sqrt(shape[0])
        return self.value(name, values.astype(np.float32))

    def value(self, name: str, array: object, dtype: type = np.float32) -> str:
        made = array if isinstance(array, np.ndarray) else np.asarray(array, dtype)
        self.constants.append(numpy_helper.from_array(made, name))
        return name

    def __call__(self, op: str, inputs: str, output: str, **options: object) -> str:
        self.nodes.append(helper.make_node(op, inputs.split(), [output], **options))
        return output


def make_toy(toy: Toy = Toy()) -> onnx.ModelProto:
    """Return a model: ids [1, T], lengths [1] → mel [1, frames, 3], and the stop logits.

    The memory and its mask are read by the body from outside; keys are made of it at every step.
    """
    main = _Maker()
    table = main.weights("table", SYMBOLS, MEMORY)
    main("Gather", f"{table} ids", "memory")
    main("Shape", "ids", "size")
    main("Gather", f"size {main.value('at1', 1, np.int64)}", "T", axis=0)
    main("Range", f"{main.value('i0', 0, np.int64)} T {main.value('i1', 1, np.int64)}", "places")
    main("Less", "places lengths", "inside")
    main(
        "Concat",
        f"{main.value('one', [1], np.int64)} {main.value('wide', [HIDDEN], np.int64)}",
        "hshape",
        axis=0,
    )
    main("ConstantOfShape", "hshape", "zeros")
    main("ReduceMean", "memory", "centre", axes=[1], keepdims=0)
    main("MatMul", f"centre {main.weights('Wc', MEMORY, HIDDEN)}", "begin")
    main("Expand", f"{main.value('f0', 0.0)} size", "sum0")
    main("Expand", f"{main.value('false', False, np.bool_)} {main.value('single', [1], np.int64)}", "open0")
    main.value("frame0", np.zeros((1, BANDS), np.float32))
    main.value("go", True, np.bool_)
    main.value("most", MOST if toy.stops == "never" else 2**62, np.int64)
    body = _body(toy)
    first = ["i0", "begin" if toy.begins else "zeros", "sum0", "frame0", "open0", "i0"]
    last = ["i_end", "h_end", "sum_end", "frame_end", "open_end", "unread_end"]
    whole = {"scan": "all"}.get(toy.collects, "buffer_end")
    if toy.collects != "scan":
        first.append("buffer0")
        last.append("buffer_end")
    if toy.collects == "concat":
        main.value("buffer0", np.zeros((1, 0, BANDS), np.float32))
    elif toy.collects in ("scatter", "where"):
        main.value("buffer0", np.zeros((MOST, BANDS * PER_STEP), np.float32))
    elif toy.collects == "sequence":
        main.nodes.append(helper.make_node("SequenceEmpty", [], ["buffer0"]))
    scans = ["all", "logits"] if toy.collects == "scan" else ["logits"]
    loop = helper.make_node("Loop", ["most", "go", *first], [*last, *scans], body=body)
    main.nodes.append(loop)
    if toy.collects == "sequence":
        main("ConcatFromSequence", "buffer_end", "joined", axis=0, new_axis=1)
        whole = "joined"
    if toy.collects in ("scatter", "where"):
        main("Unsqueeze", f"i_end {main.value('at0', [0], np.int64)}", "count")
        main("Slice", f"{whole} {main.value('s0', [0], np.int64)} count", "used")
        whole = "used"
    frames = main("Reshape", f"{whole} {main.value('layout', [1, -1, BANDS], np.int64)}", "coarse")
    if toy.reads_last:
        main("ReduceMean", "h_end", "level", axes=[1], keepdims=1)
        frames = main("Add", f"{frames} level", "lifted")
    main("Transpose", frames, "channels", perm=[0, 2, 1])
    main("Conv", f"channels {main.weights('K', BANDS, BANDS, 3)}", "refined", pads=[1, 1])
    main("Transpose", "refined", "mel", perm=[0, 2, 1])
    graph = helper.make_graph(
        main.nodes,
        "toy",
        [
            helper.make_tensor_value_info("ids", INT, [1, "T"]),
            helper.make_tensor_value_info("lengths", INT, [1]),
        ],
        [
            helper.make_tensor_value_info("mel", FLOAT, [1, "frames", BANDS]),
            helper.make_tensor_value_info("logits", FLOAT, ["steps", PER_STEP]),
        ],
        main.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def _body(toy: Toy) -> onnx.GraphProto:
    do = _Maker()
    frame = do("MatMul", f"frame {do.weights('P', BANDS, HIDDEN)}", "pre")
    if toy.draws:
        do("RandomUniform", "", "rolled", shape=[1, HIDDEN], low=-1.0, high=1.0)
        do("Add", f"{frame} rolled", "shaken")
        do.value("ratio", 0.25)
        do.value("training", True, np.bool_)
        frame = do("Dropout", "shaken ratio training", "kept")
    if toy.idle:
        frame = do("Dropout", frame, "idle")
    if toy.counts:
        do("Cast", "i", "number", to=FLOAT)
        do("Mul", f"number {do.value('tenth', 0.1)}", "slope")
        frame = do("Add", f"{frame} slope", "risen")
    do("MatMul", f"h {do.weights('U', HIDDEN, HIDDEN)}", "hU")
    do("Add", f"{frame} hU", "both")
    do("Tanh", "both", "query")
    do("MatMul", f"memory {do.weights('Wk', MEMORY, KEYS)}", "keys")
    do("MatMul", f"query {do.weights('Wq', HIDDEN, KEYS)}", "asked")
    do("Unsqueeze", f"asked {do.value('a1', [1], np.int64)}", "asked3")
    do("Add", "keys asked3", "summed")
    do("Tanh", "summed", "bent")
    do("MatMul", f"bent {do.weights('v', KEYS, 1)}", "scored")
    do("Squeeze", f"scored {do.value('a2', [2], np.int64)}", "energy")
    do("Where", f"inside energy {do.value('low', -1e9)}", "masked")
    do("Softmax", "masked", "weights", axis=-1)
    do("Add", "sum weights", "sum_next")
    do("Unsqueeze", "weights a1", "weights3")
    do("MatMul", "weights3 memory", "context3")
    do("Squeeze", "context3 a1", "context")
    do("Concat", "query context", "joined_", axis=-1)
    do("MatMul", f"joined_ {do.weights('Wh', HIDDEN + MEMORY, HIDDEN)}", "h_raw")
    do("Tanh", "h_raw", "h_next")
    do("MatMul", f"h_next {do.weights('Wf', HIDDEN, BANDS * PER_STEP)}", "frames")
    do(
        "Slice",
        f"frames {do.value('from', [BANDS], np.int64)} {do.value('to', [99], np.int64)} a1",
        "frame_next",
    )
    do("ReduceSum", f"sum_next {do.value('a01', [0, 1], np.int64)}", "age", keepdims=0)
    do("Sub", f"age {do.value('late', 6.5 if toy.stops != 'late' else 1.5)}", "old")
    do("Mul", f"h_next {do.value('small', 0.9)}", "h_small")
    do(
        "Slice",
        f"h_small {do.value('z', [0], np.int64)} {do.value('two', [PER_STEP], np.int64)} a1",
        "wobble",
    )
    do("Add", "old wobble", "logit")
    do("Identity", "logit", "logits_row")
    do("Reshape", f"logits_row {do.value('flat', [-1], np.int64)}", "logits_out")
    do("Add", f"i {do.value('i_1', 1, np.int64)}", "i_next")
    _stop(do, toy)
    do("Add", f"unread {do.value('i_2', 2, np.int64)}", "unread_next")
    inputs = [
        ("step", INT, []),
        ("go_in", BOOL, []),
        ("i", INT, []),
        ("h", FLOAT, ["b", HIDDEN]),
        ("sum", FLOAT, ["c", "t"]),
        ("frame", FLOAT, ["d", BANDS]),
        ("open", BOOL, [1]),
        ("unread", INT, []),
    ]
    outputs = [
        ("go_out", BOOL, []),
        ("i_next", INT, []),
        ("h_next", FLOAT, ["b", HIDDEN]),
        ("sum_next", FLOAT, ["c", "t"]),
        ("frame_next", FLOAT, ["d", BANDS]),
        ("open_next", BOOL, [1]),
        ("unread_next", INT, []),
    ]
    taken = [helper.make_tensor_value_info(*item) for item in inputs]
    given = [helper.make_tensor_value_info(*item) for item in outputs]
    _collect(do, toy, taken, given)
    given.append(helper.make_tensor_value_info("logits_out", FLOAT, [PER_STEP]))
    return helper.make_graph(do.nodes, "body", taken, given, do.constants)


def _stop(do: _Maker, toy: Toy) -> None:
    """Write when the loop ends, as exporters do: rounded probabilities, a flag, a most."""
    if toy.stops == "never":
        do("Identity", "open", "open_next")
        do("Identity", "go_in", "go_out")
        return
    logit = do("Neg", "logit", "minus") if toy.stops == "flipped" else "logit"
    if toy.stops == "logit":
        do("Greater", f"{logit} {do.value('cut', 1.0)}", "says")
    else:
        do("Sigmoid", logit, "chance")
        do("Round", "chance", "rounded")
        do("Cast", "rounded", "says", to=BOOL)
    if toy.stops == "flipped":
        do("Not", "says", "ends")
    else:
        do("Identity", "says", "ends")
    do("Cast", "ends", "ends_i", to=INT)
    do("ReduceMax" if toy.stops == "any" else "ReduceMin", "ends_i", "over_i", axes=[0, 1], keepdims=0)
    do("Cast", "over_i", "over", to=BOOL)
    if toy.stops == "late":
        do("GreaterOrEqual", f"step {do.value('fourth', 3, np.int64)}", "may")
        do("And", "over may", "now")
    else:
        do("Identity", "over", "now")
    do("Or", "now open", "open_next")
    do("Not", "open_next", "still")
    do("Reshape", f"still {do.value('none', np.zeros(0, np.int64))}", "alive")
    do("Less", f"i_next {do.value('top', MOST, np.int64)}", "below")
    do("And", "alive below", "go_out")


def _collect(
    do: _Maker, toy: Toy, taken: list[onnx.ValueInfoProto], given: list[onnx.ValueInfoProto]
) -> None:
    flat = BANDS * PER_STEP
    if toy.collects == "scan":
        do("Reshape", "frames flat", "row")
        given.append(helper.make_tensor_value_info("row", FLOAT, [flat]))
        return
    if toy.collects == "sequence":
        do("Reshape", "frames flat", "row")
        do("SequenceInsert", "buffer row", "buffer_next")
        kind = helper.make_tensor_type_proto(FLOAT, [flat])
        sequence = helper.make_sequence_type_proto(kind)
        taken.append(helper.make_value_info("buffer", sequence))
        given.append(helper.make_value_info("buffer_next", sequence))
        return
    shape: list[str | int] = ["m", flat]
    if toy.collects == "concat":
        do("Reshape", f"frames {do.value('rows', [1, PER_STEP, BANDS], np.int64)}", "row")
        do("Concat", "buffer row", "buffer_next", axis=1)
        shape = [1, "m", BANDS]
    elif toy.collects == "scatter":
        do("Reshape", f"i {do.value('place', [1, 1], np.int64)}", "where")
        do("ScatterND", "buffer where frames", "buffer_next")
    else:
        do.value("rows_of", np.arange(MOST, dtype=np.int64)[:, None])
        do("Equal", "rows_of i", "here")
        do("Where", "here frames buffer", "buffer_next")
    taken.append(helper.make_tensor_value_info("buffer", FLOAT, shape))
    given.append(helper.make_tensor_value_info("buffer_next", FLOAT, shape))
