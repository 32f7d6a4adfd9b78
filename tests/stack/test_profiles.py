"""A profile says net by net how nets run: the operator over the addon, a net over its role."""

import pytest

from voxstack.core.errors import ConfigError
from voxstack.core.executables import Choice
from voxstack.core.nets import NetSpec, Ragged
from voxstack.core.sizes import DYNAMIC, ShapePolicy, Sizes
from voxstack.stack.profiles import (
    STANDARD,
    ChunksConfig,
    NetProfile,
    Profile,
    ProfileConfig,
    ShapesConfig,
    check_selectors,
    shape_policy,
)
from voxstack.stack.strict import validated

pytestmark = pytest.mark.unit

SPECS = {
    name: NetSpec(name, f"nets/{name}.onnx", role, {}, {}, ragged)
    for name, role, ragged in (
        ("text", "encoder", Ragged("phonemes", chunkable=False, pad=0.0)),
        ("flow", "decoder", Ragged("frames", context=(4, 4))),
        ("decoder", "decoder", Ragged("frames", context=(11, 11))),
        ("table", "encoder", None),
    )
}


def profile(*layers, **options) -> Profile:
    return Profile("p", tuple(validated(ProfileConfig, {"nets": layer}).nets for layer in layers), **options)


def chosen(made: Profile, name: str) -> NetProfile:
    return made.of(SPECS[name])


def test_a_net_s_name_is_over_its_role_and_that_over_all():
    made = profile({"flow": {"threads": 3}, "encoder": {"threads": 2}, "*": {"threads": 1}})
    assert [chosen(made, name).threads for name in SPECS] == [2, 3, 1, 2]


def test_a_selector_that_is_a_role_and_a_name_means_both():
    made = profile({"decoder": {"precision": "bf16"}, "flow": {"precision": "f32"}})
    assert [chosen(made, name).precision for name in SPECS] == ["f32", "f32", "bf16", "f32"]
    alone = profile({"decoder": {"precision": "bf16"}})
    assert [chosen(alone, name).precision for name in SPECS] == ["f32", "bf16", "bf16", "f32"]


def test_chunks_are_as_the_last_layer_that_speaks_of_them_says():
    layers = [ChunksConfig(growth=8, first_ms=50), ChunksConfig(growth=2)]
    assert Profile("p", (), tuple(layers)).chunk_settings() == {"growth": 2, "first_ms": 50}


def test_a_later_layer_says_more_and_says_otherwise():
    made = profile({"*": {"runtime": "openvino", "device": "npu"}}, {"text": {"device": "cpu"}})
    assert [(chosen(made, name).runtime, chosen(made, name).device) for name in ("text", "flow")] == [
        ("openvino", "cpu"),
        ("openvino", "npu"),
    ]


def test_options_of_one_engine_are_not_given_to_another():
    made = profile(
        {"*": {"options": {"graphs": True}, "runtime": "torch"}}, {"flow": {"runtime": "onnxruntime"}}
    )
    assert chosen(made, "flow").options == {}
    assert chosen(made, "text").options == {"graphs": True}


def test_what_nobody_says_is_the_embedded_default_on_all_cores():
    made = profile(cores=4)
    assert made.choice(chosen(made, "flow")) == Choice("cpu", "f32", 4, ())
    assert made.choice(chosen(profile(cores=4, threads=1), "flow")).threads == 1


@pytest.mark.parametrize(
    ("stated", "policy"),
    [
        (None, DYNAMIC),
        (ShapesConfig(), DYNAMIC),
        (ShapesConfig(most=90), ShapePolicy(Sizes(most=90))),
        (ShapesConfig(buckets=(64, 90)), ShapePolicy(Sizes(buckets=(64, 90)))),
        (ShapesConfig(buckets=(64,), batch=(1, 4)), ShapePolicy(Sizes((64,)), Sizes((1, 4)))),
    ],
)
def test_shapes_are_as_stated(stated, policy):
    assert shape_policy(SPECS["decoder"], stated) == policy


def test_two_words_have_the_sizes_worked_out():
    assert shape_policy(SPECS["decoder"], ShapesConfig(automatic="fixed")).steps == Sizes(buckets=(72,))
    assert shape_policy(SPECS["decoder"], ShapesConfig(automatic="buckets")).steps.buckets[0] == 24
    assert shape_policy(SPECS["table"], ShapesConfig(automatic="fixed")) == DYNAMIC


@pytest.mark.parametrize(
    ("net", "fault"),
    [
        ({"runtim": "torch"}, "$.nets.*.runtim: unknown key 'runtim'; did you mean 'runtime'?"),
        ({"threads": -1}, "$.nets.*.threads: got -1; input should be greater than or equal to 0"),
        (
            {"precision": "fp8"},
            "$.nets.*.precision: got 'fp8'; input should be 'f32', 'bf16', 'f16' or 'int8'",
        ),
        (
            {"shapes": {"buckets": [64], "most": 9}},
            ("$.nets.*.shapes: got buckets and most; the largest bucket is the most: give one of them"),
        ),
        ({"shapes": "fixd"}, "$.nets.*.shapes: got 'fixd'; did you mean 'fixed'?"),
        (
            {"shapes": {"buckets": [64], "automatic": "fixed"}},
            "$.nets.*.shapes: got automatic 'fixed' and sizes; give one of them",
        ),
        (
            {"shapes": {"buckets": [64, 32]}},
            "$.nets.*.shapes: got buckets [64, 32], want each once, the smallest first",
        ),
        (
            {"shapes": {"buckets": [64], "batch": [2, 2]}},
            "$.nets.*.shapes: got batch [2, 2], want each once, the smallest first",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(net, fault):
    with pytest.raises(ConfigError) as caught:
        validated(ProfileConfig, {"nets": {"*": net}})
    assert str(caught.value) == fault


def test_an_addon_s_profile_that_names_no_net_of_its_own_is_refused():
    config = validated(ProfileConfig, {"nets": {"decoders": {}}})
    with pytest.raises(ConfigError) as caught:
        check_selectors(config, SPECS, path="$.profiles.npu")
    assert str(caught.value) == (
        "$.profiles.npu.nets.decoders: 'decoders' is no net and no role of this addon; "
        "did you mean 'decoder'?"
    )


def test_the_standard_profiles_are_there():
    assert set(STANDARD) >= {"cpu", "fixed", "buckets", "openvino", "torch", "gpu", "npu", "neuron"}
