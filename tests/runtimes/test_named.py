"""A runtime is imported only when it is named; one that is not there is one error that lists the others."""

import sys

import onnxruntime
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
        (
            Choice(device="tpu"),
            "runtime onnxruntime: got device 'tpu', want one of cpu, cuda, tensorrt, openvino, coreml",
        ),
        (
            Choice(device="gpu"),
            (
                "runtime onnxruntime: got device 'gpu', want one of cpu, cuda, tensorrt, openvino, coreml; "
                "did you mean 'cuda'?"
            ),
        ),
        (
            Choice(options=(("foo", 1),)),
            "runtime onnxruntime: device 'cpu' has no option 'foo'; known: lock_sizes",
        ),
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
    assert fault("onnxruntime", choice) == f"joe: profile 'p', net 'flow': {told}"


def test_a_device_that_onnx_runtime_lacks_is_told_with_those_that_are_there(monkeypatch):
    there = ["AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert fault("onnxruntime", Choice(device="cuda")) == (
        "joe: profile 'p', net 'flow': runtime onnxruntime: got device 'cuda', which onnxruntime "
        f"{onnxruntime.__version__} as it is installed lacks; install a build that has it, "
        "or choose one that is here: cpu"
    )


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch", "neuron"])
def test_devices_are_named_in_small_letters_whatever_the_runtime(name):
    if name != "onnxruntime":
        pytest.importorskip("torch" if name == "neuron" else name)
    start = f"joe: profile 'p', net 'flow': runtime {name}: got "
    assert fault(name, Choice(device="CUDA")) == (
        f"{start}device 'CUDA', want small letters; did you mean 'cuda'?"
    )
    assert fault(name, Choice(device="")) == (
        f"{start}an empty device; name one, such as 'cpu', or leave it out"
    )


def test_onnx_runtime_hands_a_provider_its_own_options(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    choice = Choice(device="tensorrt", options=(("trt_engine_cache_enable", True), ("lock_sizes", False)))
    assert OrtRuntime.choose(choice) == OrtRuntime(
        provider="TensorrtExecutionProvider",
        provider_options=(("trt_engine_cache_enable", "True"),),
        locks_sizes=False,
    )
