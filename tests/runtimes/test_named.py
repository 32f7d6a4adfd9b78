"""A runtime is imported only when it is named; one that is not there is one error that lists the others."""

import sys

import pytest

from voxstack.core.errors import ConfigError
from voxstack.core.executables import Choice
from voxstack.runtimes import named
from voxstack.runtimes.ort import OrtRuntime

pytestmark = pytest.mark.unit


def fault(name, choice=None) -> str:
    with pytest.raises(ConfigError) as caught:
        named.choose_engine(name, choice or Choice(), where="joe: profile 'p', net 'flow'")
    return str(caught.value)


def test_the_embedded_default_is_always_there():
    assert named.choose_engine("onnxruntime", Choice(threads=3), where="") == OrtRuntime(threads=3)
    assert "onnxruntime" in named.usable()


def test_an_unknown_one_is_refused_with_a_suggestion():
    assert fault("onnxruntim") == (
        "joe: profile 'p', net 'flow': no runtime 'onnxruntim'; did you mean 'onnxruntime'?"
    )


def test_one_whose_library_is_missing_lists_those_that_can_be_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "voxstack.runtimes.openvino", None)
    monkeypatch.setattr(named, "usable", lambda: ["onnxruntime", "torch"])
    assert fault("openvino") == (
        "joe: profile 'p', net 'flow': runtime 'openvino' cannot be used: import of "
        "voxstack.runtimes.openvino halted; None in sys.modules; install the extra 'openvino', "
        "or choose one that is here: onnxruntime, torch"
    )


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (Choice(device="tpu"), "runtime onnxruntime: got device 'tpu'; did you mean 'cpu'?"),
        (
            Choice(precision="bf16"),
            (
                "runtime onnxruntime: got precision 'bf16', but its kernels compute in what the net's file "
                "says; want f32, or int8 for a net that has such a file"
            ),
        ),
        (
            Choice(options=(("lock_sizes", "yes"),)),
            "runtime onnxruntime: got option lock_sizes 'yes', want true or false",
        ),
    ],
)
def test_what_onnx_runtime_cannot_do_is_refused(choice, told):
    assert fault("onnxruntime", choice).startswith(told)


def test_onnx_runtime_hands_a_provider_its_own_options():
    choice = Choice(device="tensorrt", options=(("trt_engine_cache_enable", True), ("lock_sizes", False)))
    assert OrtRuntime.choose(choice) == OrtRuntime(
        provider="TensorrtExecutionProvider",
        provider_options=(("trt_engine_cache_enable", "True"),),
        locks_sizes=False,
    )
