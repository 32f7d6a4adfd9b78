"""A recurrent net begins with what the utterance gives it, and with zeros of the utterance's sizes."""

import numpy as np
import pytest

from voxstack.core.errors import NetError
from voxstack.core.nets import NetSpec, Ragged, TensorSpec
from voxstack.core.recurrence import first_state

pytestmark = pytest.mark.unit

F = "float32"


def spec(inputs, state, **more) -> NetSpec:
    tensors = {name: TensorSpec(dtype, tuple(axes)) for name, (dtype, axes) in inputs.items()}
    outputs = {after: tensors[name] for name, after in state.items()}
    return NetSpec("step", "nets/step.onnx", "step", tensors, outputs, state=state, **more)


ATTENTIVE = spec(
    {
        "memory": (F, ["batch", "phonemes", 4]),
        "mask": (F, ["batch", "phonemes"]),
        "last": (F, ["batch", 3]),
        "weights": (F, ["batch", "phonemes"]),
        "keys": (F, ["batch", 2, "past", 5]),
        "count": ("int64", []),
    },
    {"last": "last_next", "weights": "weights_next", "keys": "keys_next", "count": "count_next"},
    ragged=Ragged("phonemes", chunkable=False, mask="mask"),
)
MEMORY = {"memory": np.ones((7, 4), np.float32)}


def fault(net: NetSpec, tensors) -> str:
    with pytest.raises(NetError) as caught:
        first_state(net, tensors)
    return str(caught.value)


def test_a_net_without_state_begins_with_nothing():
    assert first_state(spec({"x": (F, ["batch", 3])}, {}), {"x": np.zeros(3, np.float32)}) == {}


def test_state_begins_with_zeros_in_the_net_s_own_layout():
    state = first_state(ATTENTIVE, MEMORY)
    assert {name: (str(value.dtype), value.shape) for name, value in state.items()} == {
        "last": (F, (1, 3)),
        "weights": (F, (1, 7)),
        "keys": (F, (1, 2, 0, 5)),
        "count": ("int64", ()),
    }
    assert not any(value.any() for value in state.values())


def test_a_named_axis_is_as_long_as_the_utterance_has_it_wherever_it_stands():
    turned = spec(
        {"memory": (F, ["batch", 4, "phonemes"]), "weights": (F, ["phonemes"])}, {"weights": "after"}
    )
    assert first_state(turned, MEMORY)["weights"].shape == (7,)


def test_an_axis_that_no_tensor_of_the_utterance_has_begins_empty():
    assert first_state(ATTENTIVE, {})["weights"].shape == (1, 0)
    assert first_state(ATTENTIVE, {**MEMORY, "past": np.zeros((9, 9), np.float32)})["keys"].shape[2] == 0


def test_state_begins_with_the_utterance_s_tensor_of_its_name():
    keys = np.arange(3 * 2 * 5, dtype=np.float32).reshape(3, 2, 5)  # time first, as blocks see it
    state = first_state(ATTENTIVE, {**MEMORY, "keys": keys})
    assert state["keys"].shape == (1, 2, 3, 5)
    np.testing.assert_array_equal(state["keys"][0].transpose(1, 0, 2), keys)
    assert state["keys"].flags.c_contiguous
    assert state["weights"].shape == (1, 7)


def test_a_state_that_is_given_tells_the_sizes_of_one_that_is_not():
    keys = np.ones((3, 2, 5), np.float32)
    both = spec(
        {name: (F, ["batch", 2, "past", 5]) for name in ("keys", "values")}, {"keys": "k", "values": "v"}
    )
    assert first_state(both, {"keys": keys})["values"].shape == (1, 2, 3, 5)


def test_beginning_changes_nothing_of_what_the_utterance_gave():
    tensors = {**MEMORY, "last": np.ones(3, np.float32)}
    first_state(ATTENTIVE, tensors)
    assert set(tensors) == {"memory", "last"}
    assert (tensors["last"] == 1).all()


def test_inputs_that_disagree_on_an_axis_are_refused():
    assert fault(ATTENTIVE, {**MEMORY, "mask": np.ones(8, np.float32)}) == (
        "net 'step': 'phonemes' is 8 steps long in 'mask' but 7 in another input"
    )
    assert fault(ATTENTIVE, {**MEMORY, "weights": np.ones(6, np.float32)}) == (
        "net 'step': 'phonemes' is 6 steps long in 'weights' but 7 in another input"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((1, 3), np.float32), "net 'step': last: got shape [1, 3], want [3]"),
        (np.ones(4, np.float32), "net 'step': last: got shape [4], want [3]"),
        (np.ones(3), "net 'step': last: got dtype float64, want float32"),
    ],
)
def test_a_state_of_another_shape_than_the_net_takes_is_refused(given, message):
    assert fault(ATTENTIVE, {**MEMORY, "last": given}) == message
