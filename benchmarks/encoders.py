"""Measure encoders that run at the same time against the same encoders one after the other, in one run.

python benchmarks/encoders.py [--rounds 21]

The toy has two nets that take the ids alone, each as heavy as joe's text encoder; joe's own two wait for each other, so
that there is nothing to gain and the row shows what is lost. One thread a net, interleaved; the least counts
where other programs work on the machine too.
"""

import argparse
import statistics
import time

import numpy as np
import onnx
import texts
from onnx import TensorProto, helper, numpy_helper

import voxstack
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.together import running_by
from voxstack.engine.threads import at_once
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stages.encoders.customized import CustomizedEncoders
from voxstack.stages.encoders.encoders import Encoders, NetEncoder
from voxstack.testing.nets import open_net

WIDTH, LAYERS, IDS = 192, 12, 200


def heavy(name: str) -> NetEncoder:
    """Return an encoder of twelve convolutions over the ids' vectors."""
    generator = np.random.default_rng(0)
    weights = {"table": generator.standard_normal((64, WIDTH))}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["h0"], perm=[0, 2, 1]),
    ]
    for layer in range(LAYERS):
        weights[f"w{layer}"] = generator.standard_normal((WIDTH, WIDTH, 5)) / WIDTH
        given = name if layer == LAYERS - 1 else f"h{layer + 1}"
        nodes += [
            helper.make_node("Conv", [f"h{layer}", f"w{layer}"], [f"c{layer}"], pads=[2, 2]),
            helper.make_node("Relu", [f"c{layer}"], [given]),
        ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "phonemes"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH, "phonemes"])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    spec = NetSpec(
        name=name,
        file=f"nets/{name}.onnx",
        role="encoder",
        inputs={"ids": TensorSpec("int64", ("batch", "phonemes"))},
        outputs={name: TensorSpec("float32", ("batch", WIDTH, "phonemes"))},
        ragged=Ragged("phonemes", chunkable=False),
    )
    return NetEncoder(open_net(OrtRuntime(threads=1), spec, model.SerializeToString()))


def toy():
    blocks = (heavy("text"), heavy("pitch"))
    gives = {name: port for block in blocks for name, port in block.gives.items()}
    return Encoders(blocks, blocks[0].takes, gives), {"ids": np.arange(IDS) % 64}


def joe():
    voice = voxstack.load("joe", threads=1)
    first = voice.utterances(texts.FORTY_FIVE_WORDS).next(wait=True)
    pipeline = voice.loaded.block.blocks[0]
    tensors = {**voice.tensors({}), "ids": first.ids, "utterance": np.array(0, np.int64)}
    return pipeline.sequence_block, tensors


def measure(encoders, tensors, rounds: int) -> tuple[list[float], list[float]]:
    """Return the times in ms: one after the other, at the same time."""
    custom = CustomizedEncoders(encoders.blocks, encoders.takes, encoders.gives)
    blocks = (encoders, custom)
    spent = ([], [])
    results = [{}, {}]
    with running_by(at_once):
        for _ in range(rounds + 2):
            for place, block in enumerate(blocks):
                started = time.perf_counter()
                results[place] = block.run(tensors)
                spent[place].append((time.perf_counter() - started) * 1000)
    assert all((results[0][name] == results[1][name]).all() for name in encoders.gives), "not the same bits"
    return spent[0][2:], spent[1][2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    print("| encoders | of rounds | Encoders | CustomizedEncoders | ratio |\n| --- | --- | --- | --- | --- |")
    for name, make in (("two heavy, independent", toy), ("joe: a chain of two", joe)):
        one, two = measure(*make(), options.rounds)
        for what, of in (("median", statistics.median), ("least", min)):
            print(f"| {name} | {what} | {of(one):.1f} ms | {of(two):.1f} ms | {of(two) / of(one):.2f} |")


if __name__ == "__main__":
    main()
