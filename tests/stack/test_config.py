"""addon.json is read strictly: every mistake is one line with its JSON path."""

import json

import pytest

from voxstack.core.errors import ConfigError
from voxstack.stack.config import AddonConfig
from voxstack.stack.strict import validated

pytestmark = pytest.mark.unit


@pytest.fixture
def good(tone) -> dict:
    return json.loads((tone("two") / "addon.json").read_text())


def fault(config) -> str:
    with pytest.raises(ConfigError) as caught:
        validated(AddonConfig, config)
    return str(caught.value)


def changed(config: dict, path: str, value) -> dict:
    """Return the config with one value set; `path` is dotted."""
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return config


def test_the_tone_addon_is_read(good):
    config = validated(AddonConfig, good)
    assert config.name == "tone"
    assert config.nets["decoder"].ragged.context == (2, 2)


def test_empty_objects_stand_for_nothing(good):
    good["nets"]["text"]["ragged"] = {}
    config = validated(AddonConfig, {**good, "golden": {}})
    assert config.golden is None
    assert config.nets["text"].ragged is None


def test_a_golden_sample_is_read(good):
    good["golden"] = {"ids": [1, 2], "controls": {"speed": 1}, "audio": "golden/sample.flac"}
    assert validated(AddonConfig, good).golden.ids == (1, 2)


MISTAKES = [
    ("nmae", "x", "$.nmae: unknown key 'nmae'; did you mean 'name'?"),
    ("audio", {"sample_rte": 1}, "$.audio.sample_rte: unknown key 'sample_rte'; did you mean 'sample_rate'?"),
    ("audio", {}, "$.audio.sample_rate: 'sample_rate' is missing"),
    ("audio.sample_rate", "16000", "$.audio.sample_rate: got '16000'; input should be a valid integer"),
    ("audio.sample_rate", 0, "$.audio.sample_rate: got 0; input should be greater than 0"),
    ("nets.decoder.ragged.hpo", 1, "$.nets.decoder.ragged.hpo: unknown key 'hpo'; did you mean 'hop'?"),
    (
        "nets.decoder.ragged.hop",
        0,
        "$.nets.decoder.ragged.hop: got 0; input should be greater than or equal to 1",
    ),
    (
        "nets.decoder.ragged.chunkable",
        "yes",
        "$.nets.decoder.ragged.chunkable: got 'yes'; input should be a valid boolean",
    ),
    (
        "nets.decoder.ragged.context",
        [1, -1],
        "$.nets.decoder.ragged.context[1]: got -1; input should be greater than or equal to 0",
    ),
    (
        "nets.text.inputs.ids.dtype",
        "int8",
        (
            "$.nets.text.inputs.ids.dtype: got 'int8'; "
            "input should be 'float32', 'float16', 'int64', 'int32' or 'bool'"
        ),
    ),
    ("stack", [], "$.stack: got []; list should have at least 1 item after validation, not 0"),
    ("stack", ["Decoder"], "$.stack[0]: got 'Decoder'; input should be an object"),
    ("name", "../joe", "$.name: got '../joe'; string should match pattern '^[a-z0-9][a-z0-9._-]*$'"),
    ("gives", "sound", "$.gives: got 'sound'; input should be 'mel' or 'audio'"),
    ("files", {"a": "md5:0"}, "$.files.a: got 'md5:0'; string should match pattern '^sha256:[0-9a-f]{64}$'"),
    (
        "format",
        2,
        "$.format: got format 2; this voxstack reads format 1; update voxstack, or import the model again",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES)
def test_a_mistake_is_told_with_its_path(good, path, value, message):
    assert fault(changed(good, path, value)) == message


def test_another_format_is_told_before_the_keys_it_brings(good):
    assert fault({**good, "format": 2, "something_new": 1}).startswith("$.format: got format 2; ")


@pytest.mark.parametrize("kind", ["two", "vocoder"])
def test_who_gives_or_takes_mels_says_how_they_are_made(tone, kind):
    config = json.loads((tone(kind) / "addon.json").read_text())
    assert fault({**config, "mel": None}) == (
        "$: 'mel' is missing: an addon that gives or takes mels says how they are made"
    )


def test_infinity_is_no_number(good):
    assert (
        fault(changed(good, "mel.fmax", float("inf")))
        == "$.mel.fmax: got inf; input should be a finite number"
    )


NETS = [
    ("state", {"hidden": "mel"}, "decoder", None),
    ("state", {"h": "mel"}, "decoder", "state names 'h', which is no input; known: hidden"),
    (
        "state",
        {"hidden": "mle"},
        "decoder",
        "state.hidden names 'mle', which is no output; did you mean 'mel'?",
    ),
    ("ragged.mask", "maks", "decoder", "ragged.mask names 'maks', which is no input; known: hidden"),
    ("ragged.lengths", "n", "decoder", "ragged.lengths names 'n', which is no input; known: hidden"),
    (
        "ragged.axis",
        "frame",
        "decoder",
        "ragged.axis is 'frame', but no input sent to the net has this axis",
    ),
    (
        "inputs.eps",
        {"dtype": "float32", "axes": ["frames", "bins"], "random": "normal"},
        "decoder",
        "'eps' is made along 'frames', so this must be its only named axis; got ['frames', 'bins']",
    ),
    (
        "inputs.eps",
        {"dtype": "float16", "axes": ["frames"], "random": "normal"},
        "decoder",
        "'eps' is random, so it must be float32; got float16",
    ),
]


@pytest.mark.parametrize(("path", "value", "net", "message"), NETS)
def test_a_net_must_agree_with_itself(good, path, value, net, message):
    changed(good, f"nets.{net}.{path}", value)
    if message is None:
        good["nets"][net]["ragged"] = None
        assert validated(AddonConfig, good).nets[net].state == value
    else:
        assert fault(good) == f"$.nets.{net}: {message}"


def test_a_random_input_needs_an_axis_to_be_drawn_along(good):
    good["nets"]["text"]["ragged"] = None
    good["nets"]["text"]["inputs"]["eps"] = {"dtype": "float32", "axes": ["phonemes"], "random": "normal"}
    assert fault(good) == ("$.nets.text: 'eps' is random, so \"ragged\" must name the axis it is drawn along")


def test_lengths_cannot_tell_padding_in_front(good):
    decoder = good["nets"]["decoder"]
    decoder["inputs"]["lengths"] = {"dtype": "int64", "axes": ["batch"]}
    decoder["ragged"] |= {"lengths": "lengths", "pad": 0}
    assert fault(good) == (
        "$.nets.decoder: ragged has lengths and pad: a length cannot tell padding in front; use a mask"
    )


# Nets with state


@pytest.fixture
def step(tone) -> dict:
    """The description of a step net: the attention tone's, without its addon."""
    return json.loads((tone("attention") / "addon.json").read_text())


def step_fault(config: dict, path: str, value) -> str:
    return fault(changed(config, f"nets.step.{path}", value)).removeprefix("$.nets.step: ")


def test_a_net_with_state_is_read(step):
    net = validated(AddonConfig, step).nets["step"]
    assert net.state == {"place": "place_next", "last": "last_next"}
    assert net.ragged.mask == "phonemes_mask"


def test_a_state_may_grow_along_an_axis_with_a_name(step):
    net = step["nets"]["step"]
    net["inputs"]["keys"] = {"dtype": "float32", "axes": ["batch", 8, "past", 64]}
    net["outputs"]["keys_next"] = {"dtype": "float32", "axes": ["batch", 8, "now", 64]}
    net["state"]["keys"] = "keys_next"
    validated(AddonConfig, step)


def test_noise_of_a_net_with_state_is_drawn_each_step_and_needs_no_axis(step):
    net = step["nets"]["step"]
    net["inputs"]["dropout"] = {"dtype": "float32", "axes": [2, "batch", 256], "random": "uniform"}
    net["inputs"]["dice"] = {"dtype": "float32", "axes": [], "random": "normal"}
    validated(AddonConfig, step)
    validated(AddonConfig, changed(step, "nets.step.ragged", None))


STATES = [
    (
        {"dtype": "float16", "axes": ["batch"]},
        "state 'place' is float32 ['batch'], but 'place_next', which it becomes, is float16 ['batch']",
    ),
    (
        {"dtype": "float32", "axes": ["batch", 1]},
        "state 'place' is float32 ['batch'], but 'place_next', which it becomes, is float32 ['batch', 1]",
    ),
    (
        {"dtype": "float32", "axes": []},
        "state 'place' is float32 ['batch'], but 'place_next', which it becomes, is float32 []",
    ),
    (
        {"dtype": "float32", "axes": ["phonemes"]},
        "state 'place' is float32 ['batch'], but 'place_next', which it becomes, is float32 ['phonemes']",
    ),
]


@pytest.mark.parametrize(("after", "message"), STATES)
def test_a_state_must_be_what_it_becomes(step, after, message):
    assert step_fault(step, "outputs.place_next", after) == message


def test_a_state_must_have_the_sizes_of_what_it_becomes(step):
    after = {"dtype": "float32", "axes": ["batch", 13]}
    assert step_fault(step, "outputs.last_next", after) == (
        "state 'last' is float32 ['batch', 12], but 'last_next', which it becomes, is float32 ['batch', 13]"
    )


def test_a_state_is_not_random(step):
    place = {"dtype": "float32", "axes": ["batch"], "random": "normal"}
    assert step_fault(step, "inputs.place", place) == (
        "'place' is state, which the net makes itself, so it cannot be random"
    )


@pytest.mark.parametrize(
    ("dtype", "axes"),
    [("float32", ["batch", "phonemes"]), ("float32", ["past", 4]), ("float16", ["batch", 4]), ("int64", [])],
)
def test_noise_of_a_net_with_state_is_float32_of_fixed_size(step, dtype, axes):
    assert step_fault(step, "inputs.dice", {"dtype": dtype, "axes": axes, "random": "uniform"}) == (
        "'dice' is random in a net with state, so it is drawn anew each step: want float32 "
        f"and axes of fixed size; got {dtype} {axes}"
    )


def test_state_that_names_no_tensor_is_refused_with_those_there_are(step):
    assert step_fault(step, "state", {"plaec": "place_next"}) == (
        "state names 'plaec', which is no input; did you mean 'place'?"
    )
    assert step_fault(step, "state", {"place": "plaec_next"}) == (
        "state.place names 'plaec_next', which is no output; did you mean 'place_next'?"
    )
