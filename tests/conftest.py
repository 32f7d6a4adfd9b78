"""Share toys between tests: the tone addons, nets of numpy and of ONNX, and a stack wired from JSON."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import make_attention_tone
import make_tone
from voxstack.core.compiled import CompiledNet
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.recurrence import first_state
from voxstack.core.sizes import DYNAMIC, ShapePolicy
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import Addon, load_addon
from voxstack.stack.wire import wire_stack
from voxstack.testing.nets import open_net

TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "float16": TensorProto.FLOAT16,
}


@pytest.fixture(scope="session")
def tone(tmp_path_factory) -> Callable[[str], Path]:
    """Return the folder of a toy addon: "one", "two", "chain" (its encoders), "attention" or "vocoder"."""
    root = tmp_path_factory.mktemp("addons")
    made = {kind: make_tone.make_tone(root / kind, encoders=kind) for kind in ("one", "two", "chain")}
    made["attention"] = make_attention_tone.make_attention_tone(root / "attention")
    made["vocoder"] = make_tone.make_tone_vocoder(root / "vocoder")
    return made.__getitem__


@pytest.fixture(scope="session")
def load_nets() -> Callable[[Addon], dict[str, CompiledNet]]:
    """Return what makes an addon's nets ready, one thread each."""

    def load(addon: Addon) -> dict[str, CompiledNet]:
        runtime = OrtRuntime(threads=1)
        return {name: open_net(runtime, spec, addon.read(spec.file)) for name, spec in addon.specs.items()}

    return load


@pytest.fixture(scope="session")
def wire_addon(load_nets):
    """Return what wires an addon's stack; `stack` may stand in for its own."""

    def wire(folder: Path, stack: list[Any] | None = None, **options: Any):
        addon = load_addon(folder)
        return wire_stack(
            addon.config.stack if stack is None else stack,
            nets=load_nets(addon),
            tensors=addon.request,
            frame_rate=addon.frame_rate,
            mel=addon.mel,
            **options,
        )

    return wire


@pytest.fixture(scope="session")
def request_tensors():
    """Return what a request brings to the tone addons."""

    def tensors(ids: list[int], *, speed: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
        return {
            "ids": np.array(ids, np.int64),
            "speed": np.array(speed, np.float32),
            "seed": np.array(seed, np.int64),
            "utterance": np.array(0, np.int64),
        }

    return tensors


@dataclass(frozen=True)
class NumpyNet:
    """A net that is a numpy function of its time-first inputs."""

    spec: NetSpec
    function: Callable[..., Mapping[str, np.ndarray]]
    shapes: ShapePolicy = DYNAMIC

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        packed = self.spec.pack(tensors)  # as strict as a real runtime
        assert packed.keys() == self.spec.inputs.keys()
        return dict(self.function(**{name: tensors[name] for name in self.spec.inputs}))

    def begin(self, tensors: Mapping[str, np.ndarray]) -> "NumpyRecurrence":
        return NumpyRecurrence(self, tensors)


class NumpyRecurrence:
    """A walk through a net that is a numpy function of one step."""

    def __init__(self, net: NumpyNet, tensors: Mapping[str, np.ndarray]) -> None:
        spec = net.spec
        self._net = net
        self._tensors = {name: tensors[name] for name in spec.inputs if name in tensors}
        self._tensors |= spec_state(spec, tensors)

    def step(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        result = self._net.run({**self._tensors, **tensors})
        self._tensors |= {name: result[after] for name, after in self._net.spec.state.items()}
        return {name: result[name] for name in self._net.spec.gives}

    def close(self) -> None:
        self._tensors = {}


def spec_state(spec: NetSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state in which a recurrent net begins, as blocks would see it."""
    begun = NetSpec(spec.name, spec.file, spec.role, {}, {name: spec.inputs[name] for name in spec.state})
    return begun.unpack(first_state(spec, tensors))


@pytest.fixture(scope="session")
def numpy_net():
    """Return what makes a net of a function: numpy_net(f, {"x": ("float32", ["frames"])}, {"y": …})."""

    def make(function, inputs, outputs, *, role="decoder", name="toy", state=None, **ragged) -> NumpyNet:
        return NumpyNet(spec_of(name, inputs, outputs, role=role, ragged=ragged, state=state), function)

    return make


@pytest.fixture(scope="session")
def onnx_model():
    """Return what makes an ONNX model of nodes: onnx_model(nodes, inputs, outputs, constants)."""
    return model_of


@pytest.fixture(scope="session")
def onnx_net():
    """Return what makes a net on ONNX Runtime of nodes, for one thread."""

    def make(
        nodes, inputs, outputs, constants=None, *, role="decoder", name="toy", threads=1, state=None, **ragged
    ):
        spec = spec_of(name, inputs, outputs, role=role, ragged=ragged, state=state)
        data = model_of(nodes, inputs, outputs, constants).SerializeToString()
        return open_net(OrtRuntime(threads=threads), spec, data)

    return make


@pytest.fixture(scope="session")
def counting() -> onnx.GraphProto:
    """What a loop repeats that adds up, one operator call a turn: as long as a test wants."""
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "one"], ["sum_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_next", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )


@pytest.fixture(scope="session")
def forever(onnx_net, counting):
    """A net that counts to a number that it will not reach, one operator call a step."""
    return onnx_net(
        [helper.make_node("Loop", ["steps", "yes", "x"], ["y"], body=counting)],
        {"x": ("float32", []), "steps": ("int64", [])},
        {"y": ("float32", [])},
        {"yes": np.array(True)},
    )


class SpeechApi(ThreadingHTTPServer):
    """A server with OpenAI's speech API, as far as it goes; `answers` says what it does next, then speaks.

    An answer is (status, headers, body); `None` in its place speaks 100 ms of silence for each word.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SpeechHandler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = []
        self.content_type = "audio/pcm"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _SpeechHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SpeechApi

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if self.server.answers else None
        if answer is not None:
            status, headers, data = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in body["input"].split():
            for piece in (bytes(1601), bytes(3199)):  # half a sample at a piece's end
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def speech_api() -> Iterator[SpeechApi]:
    """A server with OpenAI's speech API on the loopback."""
    with SpeechApi() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def spec_of(name, inputs, outputs, *, role, ragged, state=None) -> NetSpec:
    return NetSpec(
        name=name,
        file=f"nets/{name}.onnx",
        role=role,
        inputs={key: TensorSpec(item[0], tuple(item[1]), *item[2:]) for key, item in inputs.items()},
        outputs={key: TensorSpec(item[0], tuple(item[1])) for key, item in outputs.items()},
        ragged=Ragged(**ragged) if ragged else None,
        state=state or {},
    )


def model_of(nodes, inputs, outputs, constants=None) -> onnx.ModelProto:
    def infos(tensors):
        return [helper.make_tensor_value_info(key, TYPES[item[0]], item[1]) for key, item in tensors.items()]

    graph = helper.make_graph(
        nodes,
        "toy",
        infos(inputs),
        infos(outputs),
        [numpy_helper.from_array(np.asarray(value), key) for key, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
