"""A VITS graph of any variant comes apart by its structure, and its parts compute what it computed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="random VITS networks are made with PyTorch")

import onnx
from onnx import helper

from make_random_vits import Options, export_random_vits
from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Edge
from voxstack.importers.padding import check_padding
from voxstack.importers.vits import VitsParts, cut_vits
from voxstack.importers.vits_parity import Chain, check_parity, open_session

pytestmark = pytest.mark.unit

VARIANTS = {
    "medium": Options(),
    "medium, names erased": Options(erase_names=True, seed=1),
    "low, three speakers, deterministic": Options(
        quality="low", speakers=3, stochastic=False, erase_names=True
    ),
    "high, two speakers": Options(quality="high", speakers=2, erase_names=True),
    "as transformers exports": Options(transformers_like=True, erase_names=True),
    "as transformers exports, two speakers": Options(quality="low", speakers=2, transformers_like=True),
}
DYNAMIC = {"NonZero", "ScatterND", "GatherND", "If", "Loop", "RandomNormalLike", "RandomNormal"}


@cache
def cut(variant: str) -> VitsParts:
    return cut_vits(export_random_vits(VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_in_a_chain_give_the_samples_of_the_whole(variant: str) -> None:
    assert check_parity(cut(variant), lengths=(2, 7, 24)) < 5e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_hop_and_contexts_are_those_of_the_architecture(variant: str) -> None:
    parts = cut(variant)
    context = 13 if VARIANTS[variant].quality == "high" else 11

    assert parts.hop == 256
    assert parts.nets["decoder"].spec["ragged"]["context"] == [context, context]
    assert parts.nets["flow"].spec["ragged"]["context"] == [32, 32]
    assert all(parts.nets[name].spec["ragged"]["chunkable"] for name in ("flow", "decoder"))
    assert parts.speakers == VARIANTS[variant].speakers


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_in_the_nets_is_random_or_sized_by_data(variant: str) -> None:
    for net in cut(variant).nets.values():
        assert not DYNAMIC & {node.op_type for node in net.model.graph.node}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_entries_for_the_addon_name_the_nets_own_ports(variant: str) -> None:
    for net in cut(variant).nets.values():
        graph = net.model.graph
        assert [value.name for value in graph.input] == list(net.spec["inputs"])
        assert [value.name for value in graph.output] == list(net.spec["outputs"])


def test_ports_follow_what_a_voice_has() -> None:
    stochastic, deterministic = cut("high, two speakers"), cut("low, three speakers, deterministic")

    assert set(stochastic.nets["encoder"].spec["inputs"]) == {"ids", "lengths", "speaker"}
    assert stochastic.nets["encoder"].spec["outputs"]["conditioning"]["axes"] == ["batch", 16, 1]
    assert stochastic.nets["duration"].spec["inputs"]["duration_noise"]["random"] == "normal"
    assert set(deterministic.nets["duration"].spec["inputs"]) == {"hidden", "phonemes_mask", "conditioning"}
    assert set(cut("medium").nets["decoder"].spec["inputs"]) == {"latent"}


def test_the_dense_splines_round_to_the_same_durations_for_any_noise() -> None:
    parts = cut("medium")
    marks = parts.marks
    scales = {marks.scales or "": np.asarray([0.667, 1, 0.8], np.float32)}
    inputs = {edge.name: edge for edge in parts.whole.inputs}
    inputs[marks.duration_noise or ""] = Edge("noise", "float32", ("b", 2, "t"))
    original = parts.whole.extract(inputs, {marks.durations: Edge("w", "float32", ("b", 1, "t"))})
    session, chain = open_session(original.model()), Chain.open(parts)
    random = np.random.default_rng(0)
    different = total = 0
    for spread in np.linspace(0.1, 12, 60):  # beyond the tails too
        ids = random.integers(0, 40, 50)
        noise = (random.standard_normal((1, 2, 50)) * spread).astype(np.float32)
        feeds = {marks.ids: ids[None], marks.lengths or "": np.asarray([50]), **scales, "noise": noise}
        wanted = {item.name for item in session.get_inputs()}
        whole = np.asarray(session.run(None, {key: feeds[key] for key in wanted})[0])[0, 0]
        dense = chain.durations(chain.encode(ids, 0), noise, 0.8)[0]
        assert np.isfinite(dense).all()
        assert np.abs(dense / whole - 1).max() < 1e-3
        different += int((np.ceil(dense) != np.ceil(whole)).sum())
        total += ids.size
    assert different == 0, f"{different} of {total}"


@pytest.mark.parametrize("variant", ["medium", "high, two speakers"])
def test_windows_with_their_context_join_to_the_whole(variant: str) -> None:
    parts = cut(variant)
    chain = Chain.open(parts)
    random = np.random.default_rng(0)
    frames, hop = 150, parts.hop
    feeds: dict[str, dict[str, np.ndarray]] = {}
    for name in ("flow", "decoder"):
        sizes = {"batch": 1, "frames": frames}
        feeds[name] = {
            key: random.standard_normal([sizes.get(axis, axis) for axis in entry["axes"]]).astype(np.float32)
            for key, entry in parts.nets[name].spec["inputs"].items()
        }
    feeds["flow"]["frames_mask"] = np.ones((1, 1, frames), np.float32)
    for name, steps in (("flow", 1), ("decoder", hop)):
        left, right = parts.nets[name].spec["ragged"]["context"]
        session = chain.sessions[name]
        axes = {key: entry["axes"] for key, entry in parts.nets[name].spec["inputs"].items()}
        whole = np.asarray(session.run(None, feeds[name])[0])
        for start, stop in ((0, 16), (16, 47), (47, 110), (110, 150)):
            low, high = max(0, start - left), min(frames, stop + right)
            window = {
                key: feed[..., low:high] if "frames" in axes[key] else feed
                for key, feed in feeds[name].items()
            }
            got = np.asarray(session.run(None, window)[0])[..., (start - low) * steps : (stop - low) * steps]
            assert np.abs(got - whole[..., start * steps : stop * steps]).max() < 1e-5 * np.abs(whole).max()


def test_padding_behind_a_short_utterance_changes_nothing_in_it() -> None:
    parts = cut("low, three speakers, deterministic")
    sessions = Chain.open(parts).sessions
    random = np.random.default_rng(0)
    ids = random.integers(0, 40, (2, 20))
    ids[1, 9:] = 39
    lengths, speakers = np.asarray([20, 9]), np.asarray([0, 2])
    names = ["hidden", "mean", "log_std", "conditioning"]
    padded = dict(
        zip(
            names,
            sessions["encoder"].run(names, {"ids": ids, "lengths": lengths, "speaker": speakers}),
            strict=True,
        )
    )
    alone = dict(
        zip(
            names,
            sessions["encoder"].run(
                names, {"ids": ids[1:, :9], "lengths": lengths[1:], "speaker": speakers[1:]}
            ),
            strict=True,
        )
    )
    for name in names[:3]:
        assert np.abs(np.asarray(padded[name])[1:, :, :9] - np.asarray(alone[name])).max() < 1e-5
    mask = (np.arange(20) < lengths[:, None]).astype(np.float32)[:, None]
    feeds = {"hidden": padded["hidden"], "conditioning": padded["conditioning"]}
    both = sessions["duration"].run(None, {**feeds, "phonemes_mask": mask})[0]
    feeds = {"hidden": alone["hidden"], "conditioning": alone["conditioning"]}
    one = sessions["duration"].run(None, {**feeds, "phonemes_mask": np.ones((1, 1, 9), np.float32)})[0]
    assert np.abs(np.asarray(both)[1, :9] / np.asarray(one)[0] - 1).max() < 1e-4
    assert not np.asarray(both)[1, 9:].any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_of_anything_changes_no_net_that_is_told_of_it(variant: str) -> None:
    parts = cut(variant)
    changes = check_padding(parts.nets, symbols=parts.symbols)

    assert list(changes) == ["encoder", "duration", "flow"]
    assert max(changes.values()) <= 1e-5


def test_what_flows_into_the_flow_is_zeroed_at_one_place() -> None:
    ops = [node.op_type for node in cut("medium").nets["flow"].model.graph.node]

    assert ops.count("Where") == 1


def test_a_model_of_another_kind_is_refused_by_what_it_lacks() -> None:
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", value[:1], value[1:])
    )

    with pytest.raises(ImporterError) as caught:
        cut_vits(model)

    assert str(caught.value) == "found 0 first upsampling convolutions, want one; is the decoder a HiFi-GAN?"


def test_parts_that_do_not_compute_what_the_whole_does_are_refused() -> None:
    parts = cut("medium")
    broken = onnx.ModelProto()
    broken.CopyFrom(parts.nets["decoder"].model)
    weight = max(broken.graph.initializer, key=lambda item: len(item.raw_data))
    weight.raw_data = (onnx.numpy_helper.to_array(weight) * np.float32(1.01)).tobytes()
    nets = {**parts.nets, "decoder": replace(parts.nets["decoder"], model=broken)}

    with pytest.raises(
        ImporterError, match=r"^the cut nets differ from the model by .*, want at most 0.0001$"
    ):
        check_parity(replace(parts, nets=nets))
