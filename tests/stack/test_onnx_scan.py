"""A net that needs more than itself is refused before a runtime sees it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from voxstack.core.errors import AddonError
from voxstack.stack.onnx_scan import scan_net

pytestmark = pytest.mark.unit


def outside(tensor: onnx.TensorProto, location: str) -> onnx.TensorProto:
    """Return the tensor with its data said to lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def tensor(name="w") -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(4, np.float32), name)


def graph(nodes=(), initializers=(), name="g"):
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["w"], ["y"])], name, [], [value], list(initializers)
    )


def model(inner, **more) -> bytes:
    return helper.make_model(inner, **more).SerializeToString()


def scan(data: bytes) -> None:
    scan_net(data, name="nets/toy.onnx", where="addon")


def fault(data: bytes) -> str:
    with pytest.raises(AddonError) as caught:
        scan(data)
    return str(caught.value)


KEPT = "addon: net 'nets/toy.onnx' keeps data in another file, 'w.bin'; save it with its data inside"


def test_a_net_that_holds_its_data_passes():
    scan(model(graph(initializers=[tensor()])))


def test_the_tone_nets_pass(tone):
    for kind in ("one", "two", "chain", "vocoder"):
        for path in (tone(kind) / "nets").iterdir():
            scan(path.read_bytes())


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "w.bin", ""])
def test_data_in_another_file_is_refused_wherever_it_lies(location):
    assert repr(location) in fault(model(graph(initializers=[outside(tensor(), location)])))


def constant(attribute):
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.append(attribute)
    return node


def sparse() -> onnx.GraphProto:
    indices = numpy_helper.from_array(np.array([0, 1, 2, 3]), "i")
    made = graph()
    made.sparse_initializer.append(helper.make_sparse_tensor(outside(tensor(), "w.bin"), indices, [4]))
    return made


PLACES = {
    "an initializer": lambda: model(graph(initializers=[outside(tensor(), "w.bin")])),
    "a sparse initializer": lambda: model(sparse()),
    "a constant": lambda: model(
        graph([constant(helper.make_attribute("value", outside(tensor(), "w.bin")))])
    ),
    "a list of constants": lambda: model(
        graph([constant(helper.make_attribute("values", [tensor(), outside(tensor(), "w.bin")]))])
    ),
    "a branch": lambda: model(
        graph(
            [
                helper.make_node(
                    "If", ["c"], ["y"], then_branch=graph(initializers=[outside(tensor(), "w.bin")])
                )
            ]
        )
    ),
    "a branch in a loop": lambda: model(
        graph(
            [
                helper.make_node(
                    "Loop",
                    ["n"],
                    ["y"],
                    body=graph(
                        [
                            helper.make_node(
                                "If",
                                ["c"],
                                ["y"],
                                else_branch=graph(initializers=[outside(tensor(), "w.bin")]),
                            )
                        ]
                    ),
                )
            ]
        )
    ),
    "a function": lambda: model(
        graph(),
        functions=[
            helper.make_function(
                "own",
                "f",
                [],
                ["y"],
                [constant(helper.make_attribute("value", outside(tensor(), "w.bin")))],
                [helper.make_opsetid("", 17)],
            )
        ],
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_data_in_another_file_is_found_in(place):
    assert fault(PLACES[place]()) == KEPT


def test_the_word_location_alone_does_no_harm():
    scan(model(graph([helper.make_node("Identity", ["location"], ["y"], name="location")])))


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_operators_that_the_runtime_has_pass(domain):
    scan(model(graph(), opset_imports=[helper.make_opsetid(domain, 1)]))


def test_operators_of_a_library_are_refused():
    data = model(graph(), opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("evil.ops", 1)])
    assert fault(data) == (
        "addon: net 'nets/toy.onnx' needs operators of 'evil.ops', that is a custom-op library; "
        "none is ever loaded"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it holds no graph"),
        (b"hello world, this is text", "field with wire type 4"),
        (b"\x80\x04\x95 a pickle", "it ends too early"),
        (b"\x00\x01", "field with number 0"),
        (b"\x3a", "it ends too early"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number is too long"),
        (b"\x09\x01", "it ends too early"),
        (b"\x0b", "field with wire type 3"),
    ],
)
def test_garbage_is_refused(data, reason):
    assert fault(data) == f"addon: net 'nets/toy.onnx' is not an ONNX file: {reason}"


def test_a_truncated_net_is_refused(tone):
    data = (tone("two") / "nets" / "text.onnx").read_bytes()
    for size in (1, 10, len(data) // 2, len(data) - 1):
        assert "is not an ONNX file" in fault(data[:size])


def test_onnx_runtime_s_own_format_is_refused():
    assert fault(b"\x1a\x06\0\0ORTM\0\0") == (
        "addon: net 'nets/toy.onnx' is in ONNX Runtime's own format; want plain ONNX"
    )


def test_graphs_nested_without_end_are_refused():
    def field(number: int, value: bytes) -> bytes:
        size = len(value)
        return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + value

    node, attribute, inner = 1, 5, 6
    nested = b""
    for _ in range(40):
        nested = field(node, field(attribute, field(inner, nested)))
    assert fault(field(7, nested) + field(2, b"location")).endswith(
        "is not an ONNX file: graphs nest more than 30 deep"
    )
