"""Hold torch to ONNX Runtime, operator by operator: as modules, traced, and as programs read back."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Toy:
    """A net of a few nodes: `inputs` are what it is fed, `outputs` are names."""

    nodes: list[Any]
    inputs: dict[str, np.ndarray]
    outputs: list[str]
    constants: dict[str, Any] = field(default_factory=dict)
    opset: int = 17

    @property
    def data(self) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "toy",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)
                )
                for name, array in self.inputs.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        return model.SerializeToString()

    def wanted(self) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(self.data, options, providers=["CPUExecutionProvider"])
        return session.run(self.outputs, self.inputs)

    def module(self):
        from voxstack.runtimes.torch_nets import module_of

        return module_of(self.data, list(self.inputs), self.outputs)

    def tensors(self) -> list[Any]:
        import torch

        return [torch.tensor(array) for array in self.inputs.values()]


@pytest.fixture(scope="session")
def toy() -> type[Toy]:
    return Toy


@pytest.fixture(scope="session")
def agrees() -> Callable[..., None]:
    """Return what holds a net of nodes to ONNX Runtime, within 1e-5 of the tensors' scale.

    Three times: as it is, traced at its sizes, and as a program that was written and read. A net with
    `is_fixed` False has sizes that follow from values, and cannot be traced.
    """
    import torch

    from voxstack.runtimes.torch_nets.programs import program_of, read_program

    def traced(module, tensors):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own
            return torch.jit.trace(module, tensors, check_trace=False)

    def check(nodes, inputs, constants=None, *, outputs=("y",), opset=17, is_fixed=True, atol=1e-5):
        net = Toy(
            nodes if isinstance(nodes, list) else [nodes], inputs, list(outputs), constants or {}, opset
        )
        wanted, module, tensors = net.wanted(), net.module(), net.tensors()
        runs = [module]
        if is_fixed:
            runs += [traced(module, tuple(tensors)), read_program(program_of(module, tensors))]
        for run in runs:
            with torch.inference_mode():
                results = run(*tensors)
            for got, want in zip(results, wanted, strict=True):
                assert (str(got.dtype).removeprefix("torch."), list(got.shape)) == (
                    want.dtype.name,
                    list(want.shape),
                )
                scale = max(np.abs(want[np.isfinite(want)]).max(initial=1.0), 1.0) if want.size else 1.0
                np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=atol * scale)

    return check
