"""Whatever a stranger sends, loading it ends in an addon or in a VoxstackError, never in another error."""

import contextlib
import json
import warnings
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxstack.core.errors import VoxstackError
from voxstack.core.streams import EVERYTHING
from voxstack.stack.addon import load_addon, pack
from voxstack.stack.config import AddonConfig
from voxstack.stack.onnx_scan import scan_net
from voxstack.stack.strict import parse_json, validated
from voxstack.stack.wire import wire_stack

pytestmark = pytest.mark.unit

EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "drop", "add", "flip"]), st.integers(0, 255)),
    max_size=8,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["Decoder", "../x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.just("type"), inner, max_size=3)
    ),
    max_leaves=8,
)


def edited(data: bytes, edits) -> bytes:
    """Return bytes changed at some places, each given as a part of the whole."""
    changed = bytearray(data)
    for part, kind, value in edits:
        at = int(part * (len(changed) - 1)) if changed else 0
        if kind == "add" or not changed:
            changed.insert(at, value)
        elif kind == "drop":
            del changed[at]
        else:
            changed[at] = value if kind == "set" else changed[at] ^ (1 << value % 8)
    return bytes(changed)


@pytest.fixture(scope="module")
def net(tone) -> bytes:
    return (tone("chain") / "nets" / "durations.onnx").read_bytes()


@pytest.fixture(scope="module")
def packed(tone, tmp_path_factory):
    return pack(tone("two"), tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def loaded(tone, load_nets):
    addon = load_addon(tone("two"))
    return addon, load_nets(addon)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_random_bytes_as_a_net(data):
    with contextlib.suppress(VoxstackError):
        scan_net(data, name="nets/a.onnx", where="addon")


@settings(max_examples=300)
@given(EDITS)
def test_a_net_with_random_edits(net, edits):
    with contextlib.suppress(VoxstackError):
        scan_net(edited(net, edits) + b"location", name="nets/a.onnx", where="addon")


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_a_zip_with_random_edits(packed, tmp_path_factory, edits):
    path = tmp_path_factory.getbasetemp() / "edited.voxaddon"
    path.write_bytes(edited(packed.read_bytes(), edits))
    with contextlib.suppress(VoxstackError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_addon(path).verify()


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_json_with_random_edits(packed, edits):
    with zipfile.ZipFile(packed) as archive:
        text = archive.read("addon.json")
    with contextlib.suppress(VoxstackError):
        validated(AddonConfig, parse_json(edited(text, edits), where="addon.json"))


@st.composite
def replacements(draw):
    """Some keys of addon.json, each replaced by anything."""
    keys = [
        "format",
        "name",
        "audio",
        "mel",
        "controls",
        "nets",
        "stack",
        "golden",
        "files",
        "ragged",
        "axes",
        "ids",
    ]
    return draw(st.dictionaries(st.sampled_from(keys), VALUES, min_size=1, max_size=3))


def replaced(node, values):
    if isinstance(node, dict):
        return {key: values[key] if key in values else replaced(child, values) for key, child in node.items()}
    return [replaced(child, values) for child in node] if isinstance(node, list) else node


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=replacements())
def test_json_with_values_of_any_kind(packed, tmp_path_factory, values):
    with zipfile.ZipFile(packed) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["addon.json"] = json.dumps(replaced(json.loads(contents["addon.json"]), values)).encode()
    path = tmp_path_factory.getbasetemp() / "replaced.voxaddon"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    with contextlib.suppress(VoxstackError):
        load_addon(path).verify()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stack=st.lists(VALUES, max_size=3), option=VALUES)
def test_a_stack_of_any_kind(loaded, request_tensors, stack, option):
    addon, nets = loaded
    pipeline = {
        "type": "StreamablePipeline",
        "sequence_block": {"type": "Encoders"},
        "streamable_block": option,
    }
    for tried in (stack, [pipeline], [{"type": "Upsampler", "tensors": option}], [{"type": option}]):
        with contextlib.suppress(VoxstackError):
            block = wire_stack(
                tried, nets=nets, tensors=addon.request, frame_rate=addon.frame_rate, mel=addon.mel
            )
            block.open(request_tensors([1]), None).read(EVERYTHING)
