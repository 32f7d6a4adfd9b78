"""Every mistake in a stack is told in one clear line: where, what was got, what is wanted, what to do."""

import json
import shutil
from dataclasses import dataclass

import pytest

from voxstack.core.blocks import Timing
from voxstack.core.errors import VoxstackError
from voxstack.core.registry import Registry
from voxstack.stack.addon import load_addon, seal
from voxstack.stack.standard import STANDARD

pytestmark = pytest.mark.unit

HEAD = Timing()
ENCODERS = {"type": "Encoders"}
UPSAMPLED = {"type": "StreamableStack", "stack": [{"type": "Upsampler"}, {"type": "Decoder"}]}
PIPELINE = {"type": "StreamablePipeline", "sequence_block": ENCODERS, "streamable_block": UPSAMPLED}

MISTAKES = {
    "an unknown type": (
        [{**PIPELINE, "sequence_block": {"type": "Encoder"}}],
        "$.stack[0].sequence_block.type: no block 'Encoder'; did you mean 'Encoders'?",
    ),
    "an unknown version": (
        [{**PIPELINE, "sequence_block": {"type": "Encoders.v7"}}],
        "$.stack[0].sequence_block.type: no block 'Encoders.v7'; did you mean 'Encoders'?",
    ),
    "no type": (
        [{**PIPELINE, "sequence_block": {}}],
        "$.stack[0].sequence_block.type: 'type' is missing; it names the block",
    ),
    "a type that is no name": (
        [{**PIPELINE, "sequence_block": {"type": 3}}],
        "$.stack[0].sequence_block.type: 'type' is missing; it names the block",
    ),
    "an unknown option": (
        [{"type": "Upsampler", "duration": "d"}],
        "$.stack[0].duration: unknown key 'duration'; did you mean 'durations'?",
    ),
    "an unknown option deep inside": (
        [
            {
                **PIPELINE,
                "streamable_block": {"type": "StreamableStack", "stack": [{"type": "Upsampler", "rnd": 1}]},
            }
        ],
        (
            "$.stack[0].streamable_block.stack[0].rnd: unknown key 'rnd'; "
            "known: durations, length_scale, rounding, tensors"
        ),
    ),
    "an option of a block that has none": (
        [{**PIPELINE, "sequence_block": {"type": "Encoders", "nets": []}}],
        "$.stack[0].sequence_block.nets: unknown key 'nets'",
    ),
    "an option of another kind": (
        [{"type": "Upsampler", "length_scale": "2"}],
        "$.stack[0].length_scale: got '2'; input should be a valid number",
    ),
    "a missing net": (
        [{**PIPELINE, "streamable_block": {"type": "Decoder", "net": "decodr"}}],
        "$.stack[0].streamable_block.net: no net 'decodr'; did you mean 'decoder'?",
    ),
    "no net of a role": (
        [PIPELINE, {"type": "Vocoder"}],
        (
            "$.stack[1]: this addon has no net of role 'vocoder' ('text' is encoder, 'durations' is encoder, "
            "'decoder' is decoder); give one of its nets that role"
        ),
    ),
    "two sequence blocks in a list": (
        [{**PIPELINE, "sequence_block": [ENCODERS, ENCODERS]}],
        (
            "$.stack[0].sequence_block: got a list, want exactly one SequenceBlock; "
            'several go into one: {"type": "SequenceBlockContainer", "blocks": […]}'
        ),
    ),
    "two sequence blocks under another key": (
        [{**PIPELINE, "sequence_blocks": [ENCODERS]}],
        "$.stack[0].sequence_blocks: unknown key 'sequence_blocks'; did you mean 'sequence_block'?",
    ),
    "a second sequence block as the streamable one": (
        [{**PIPELINE, "streamable_block": ENCODERS}],
        "$.stack[0].streamable_block.type: 'Encoders' is a SequenceBlock; a StreamableBlock is wanted here",
    ),
    "a streamable block as the sequence block": (
        [{**PIPELINE, "sequence_block": {"type": "Decoder"}}],
        "$.stack[0].sequence_block.type: 'Decoder' is a StreamableBlock; a SequenceBlock is wanted here",
    ),
    "a list of streamable blocks": (
        [{**PIPELINE, "streamable_block": UPSAMPLED["stack"]}],
        (
            "$.stack[0].streamable_block: got a list, want exactly one StreamableBlock; "
            'several go into one: {"type": "StreamableStack", "stack": […]}'
        ),
    ),
    "a name in place of a block": (
        [{**PIPELINE, "streamable_block": "Decoder"}],
        "$.stack[0].streamable_block: got 'Decoder', want exactly one StreamableBlock: {\"type\": …}",
    ),
    "a pipeline without a sequence block": (
        [{"type": "StreamablePipeline", "streamable_block": UPSAMPLED}],
        "$.stack[0].sequence_block: 'sequence_block' is missing",
    ),
    "an encoder at the head of a stack": (
        [ENCODERS, {"type": "Decoder"}],
        "$.stack[0].type: 'Encoders' is a SequenceBlock; a StreamableBlock is wanted here",
    ),
    "a Decoder at the head of a stack": (
        [{"type": "Decoder"}],
        (
            "$.stack[0]: wants 'hidden' from the stream above, but there is none; "
            "put a block that gives it before this one"
        ),
    ),
    "a Decoder at the head of a pipeline": (
        [{**PIPELINE, "streamable_block": {"type": "Decoder"}}],
        (
            "$.stack[0].streamable_block: wants 'hidden' from the stream above, but there is none; "
            "put a block that gives it before this one"
        ),
    ),
    "an Upsampler below a Decoder": (
        [PIPELINE, {"type": "Upsampler"}],
        "$.stack[1].durations: no tensor 'durations' is there; known: ids, seed, speed, utterance",
    ),
    "an Upsampler without encoders": (
        [{"type": "Upsampler"}],
        "$.stack[0].durations: no tensor 'durations' is there; known: ids, seed, speed, utterance",
    ),
    "a block twice": (
        [PIPELINE, {"type": "Decoder"}],
        "$.stack[1]: wants 'hidden' from the stream above, which gives mel",
    ),
    "a container that gives a name twice": (
        [{**PIPELINE, "sequence_block": {"type": "SequenceBlockContainer", "blocks": [ENCODERS, ENCODERS]}}],
        "$.stack[0].sequence_block.blocks[1]: 'hidden' is given twice; rename one of the outputs",
    ),
    "an empty container": (
        [{**PIPELINE, "sequence_block": {"type": "SequenceBlockContainer", "blocks": []}}],
        "$.stack[0].sequence_block.blocks: got an empty list, want at least one SequenceBlock",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_path_and_what_to_do(wire_addon, tone, mistake):
    stack, message = MISTAKES[mistake]
    with pytest.raises(VoxstackError) as caught:
        wire_addon(tone("two"), stack)
    assert str(caught.value) == message
    assert "\n" not in message


def test_the_head_is_blamed_when_a_package_s_block_does_not_check_its_source(wire_addon, tone):
    @dataclass(frozen=True)
    class Careless:
        @dataclass(frozen=True)
        class Options:
            pass

        consumes: dict
        gives: dict
        timing: Timing = HEAD

        @classmethod
        def wire(cls, options, site):
            return cls({"mel": None}, {})

        def open(self, tensors, source):
            raise AssertionError("must not be reached")

    registry = Registry(STANDARD)
    registry.find = lambda name, *, path, find=registry.find: (
        Careless if name == "Careless" else find(name, path=path)
    )
    with pytest.raises(VoxstackError) as caught:
        wire_addon(tone("two"), [{"type": "Careless"}, {"type": "Careless"}], registry=registry)
    assert str(caught.value) == "$.stack[0]: 'Careless' wants a stream above it (mel), but it heads the stack"


def test_a_registered_name_that_is_no_block_is_told(wire_addon, tone):
    registry = Registry({**STANDARD, "Pair.v1": "fractions:Fraction"})
    with pytest.raises(VoxstackError) as caught:
        wire_addon(tone("two"), [{"type": "Pair"}], registry=registry)
    assert str(caught.value) == "$.stack[0].type: 'Pair' is no block: it lacks Options or wire"


@pytest.fixture
def edited(tone, tmp_path):
    """Return what writes the tone addon with its JSON's text changed."""

    def edit(old: str, new: str):
        folder = shutil.copytree(tone("two"), tmp_path / "tone")
        manifest = folder / "addon.json"
        text = json.dumps(json.loads(manifest.read_text()))
        assert text.count(old) == 1
        manifest.write_text(text.replace(old, new))
        return folder

    return edit


def test_a_sequence_block_that_stands_twice_is_told_with_its_path(edited):
    folder = edited(
        '"sequence_block": {"type": "Encoders"}',
        '"sequence_block": {}, "sequence_block": {"type": "Encoders"}',
    )
    with pytest.raises(VoxstackError) as caught:
        load_addon(folder)
    assert str(caught.value) == (
        f"{folder}/addon.json: $.stack[0]: key 'sequence_block' stands twice in this object; keep one"
    )
    with pytest.raises(VoxstackError, match="stands twice in this object"):
        seal(folder)
