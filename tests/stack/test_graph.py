"""A stack's picture shows each block in its container, every tensor's way, and never text over text."""

import itertools
import re
from xml.etree import ElementTree as ET

import pytest

from voxstack.core.ports import Port
from voxstack.stack.addon import load_addon
from voxstack.stack.describe import rows
from voxstack.stack.drawn import FONT
from voxstack.stack.faults import END, Faults
from voxstack.stack.graph import NOBODY, OUTPUT, REQUEST, SOURCE, Frame, graph_of, shown
from voxstack.stack.layout import lay_out
from voxstack.stack.mermaid import mermaid
from voxstack.stack.picture import svg

pytestmark = pytest.mark.unit

UPSAMPLED = {"type": "StreamableStack", "stack": [{"type": "Upsampler"}, {"type": "Decoder"}]}
PIPELINE = {
    "type": "StreamablePipeline",
    "sequence_block": {"type": "Encoders"},
    "streamable_block": UPSAMPLED,
}
TEXT, DURATIONS = "$.stack[0].sequence_block/text", "$.stack[0].sequence_block/durations"
STREAM = "$.stack[0].streamable_block"
UPSAMPLER, DECODER = f"{STREAM}.stack[0]", f"{STREAM}.stack[1]"

STACKS = {
    "the design's": [PIPELINE],
    "a pipeline in a stack in a stack": [{"type": "StreamableStack", "stack": [PIPELINE]}],
    "a container of encoders": [
        {
            **PIPELINE,
            "sequence_block": {"type": "SequenceBlockContainer", "blocks": [{"type": "Encoders"}]},
        }
    ],
    "an unmet need": [{**PIPELINE, "streamable_block": {"type": "Decoder"}}],
    "a block too many": [PIPELINE, {"type": "Decoder"}],
    "no encoders": [{**PIPELINE, "sequence_block": {"type": 'Enc<"#|>oders'}}],
    "nothing": [],
    "an unknown option": [{**PIPELINE, "streamable_block": {"type": "Decoder", "nett": "decoder"}}],
    "a head too many": [PIPELINE, PIPELINE],
    "branches": [
        {
            **PIPELINE,
            "streamable_block": {
                "type": "StreamableStack",
                "stack": [
                    {"type": "Upsampler"},
                    {"type": "Compare", "a": {"type": "Decoder"}, "b": {"type": "Decoder"}},
                    {"type": "Tap"},
                ],
            },
        }
    ],
    "branches at both ends": [{"type": "Compare", "a": PIPELINE, "b": PIPELINE}],
    "branches of which one is unknown": [
        {
            **PIPELINE,
            "streamable_block": {
                "type": "StreamableStack",
                "stack": [
                    {"type": "Upsampler"},
                    {"type": "Compare", "a": {"type": "Decoder"}, "b": {"type": "Decodr"}},
                    {"type": "Limiter", "gain_db": "loud"},
                ],
            },
        }
    ],
}


@pytest.fixture
def drawn(wire_addon, tone):
    """Return what wires a stack of a toy addon and returns its graph."""

    def draw(stack, kind="two"):
        addon, seen, faults = load_addon(tone(kind)), [], Faults()
        wire_addon(tone(kind), stack, seen=seen, faults=faults, source=addon.source)
        described = rows(seen, faults=faults)
        return graph_of("toy", seen, described, request=addon.request, source=addon.source, faults=faults)

    return draw


def carried(graph):
    return {(edge.giver, edge.taker): [port.name for port in edge.ports] for edge in graph.edges}


def outline(frame):
    return [(item.title, outline(item)) if isinstance(item, Frame) else item.title for item in frame.inside]


def test_containers_are_frames_and_encoders_stand_inside_theirs(drawn):
    [frame] = drawn([PIPELINE]).frames
    assert frame.title == "toy · StreamableStack · stack"
    assert outline(frame) == [
        (
            "StreamablePipeline · stack[0]",
            [
                ("Encoders · sequence_block", ["text", "durations"]),
                ("StreamableStack · streamable_block", ["Upsampler", "Decoder"]),
            ],
        )
    ]


def test_each_tensor_goes_from_who_gives_it_to_who_takes_it(drawn):
    assert carried(drawn([PIPELINE])) == {
        (REQUEST, TEXT): ["ids"],
        (REQUEST, DURATIONS): ["ids"],
        (TEXT, UPSAMPLER): ["hidden"],
        (DURATIONS, UPSAMPLER): ["durations"],
        (REQUEST, UPSAMPLER): ["speed"],
        (UPSAMPLER, DECODER): ["hidden"],
        (DECODER, OUTPUT): ["mel"],
    }


def test_an_encoder_that_takes_another_s_result_stands_below_it(drawn):
    graph = drawn([PIPELINE], "chain")
    paths = [node.path for node in graph.nodes]
    inside = [edge for edge in graph.edges if edge.giver in paths and edge.taker in paths]
    assert all(paths.index(edge.giver) < paths.index(edge.taker) for edge in inside)
    encoders = [path for path in paths if "sequence_block/" in path]
    assert any(edge.giver in encoders and edge.taker in encoders for edge in inside)


def test_tensors_find_their_way_out_of_nested_containers(drawn):
    graph = drawn(STACKS["a container of encoders"])
    within = "$.stack[0].sequence_block.blocks[0]"
    assert carried(graph)[(f"{within}/durations", UPSAMPLER)] == ["durations"]


def test_a_port_says_its_shape_and_its_rate(drawn):
    [edge] = [edge for edge in drawn([PIPELINE]).edges if edge.taker == OUTPUT]
    assert [shown(port) for port in edge.ports] == ["mel [frames, 12] 100 Hz"]
    assert shown(Port("speed", "float32", ())) == "speed"


def test_what_flows_into_a_vocoder_comes_from_above(drawn):
    graph = drawn([{"type": "Vocoder"}], "vocoder")
    assert carried(graph) == {(SOURCE, "$.stack[0]"): ["mel"], ("$.stack[0]", OUTPUT): ["samples"]}


def test_branches_read_the_same_stream_and_only_the_first_goes_on(drawn):
    way = carried(drawn(STACKS["branches"]))
    a, b, end, below = f"{STREAM}.stack[1].a", f"{STREAM}.stack[1].b", f"{STREAM}.stack[1]/end", STREAM
    assert way[(UPSAMPLER, a)] == way[(UPSAMPLER, b)] == ["hidden"]
    assert way[(b, end)] == way[(a, end)] == ["mel"]
    assert way[(a, f"{below}.stack[2]")] == ["mel"]
    assert (a, b) not in way
    assert [taker for giver, taker in way if giver == b] == [end]
    assert [taker for giver, taker in way if giver == end] == []


def test_branches_at_the_head_of_a_vocoder_both_read_what_comes_from_above(drawn):
    vocoder = {"type": "Vocoder"}
    way = carried(drawn([{"type": "Compare", "a": vocoder, "b": vocoder}], "vocoder"))
    assert way[(SOURCE, "$.stack[0].a")] == way[(SOURCE, "$.stack[0].b")] == ["mel"]
    assert way[("$.stack[0].a", OUTPUT)] == ["samples"]
    assert ("$.stack[0].b", OUTPUT) not in way


def test_branches_stay_branches_where_their_block_cannot_be_wired(drawn):
    faster = {"type": "Compare", "a": {"type": "Decoder"}, "b": {"type": "Upsampler"}}
    stack = {"type": "StreamableStack", "stack": [{"type": "Upsampler"}, faster]}
    graph = drawn([{**PIPELINE, "streamable_block": stack}])
    a, b = f"{STREAM}.stack[1].a", f"{STREAM}.stack[1].b"
    way = carried(graph)
    assert (a, b) not in way
    assert way[(a, OUTPUT)] == ["mel"]


@pytest.mark.parametrize("name", STACKS)
def test_an_arrow_s_tip_touches_the_box_that_takes_it(drawn, name):
    layout = lay_out(drawn(STACKS[name]))
    boxes = [box for box in layout.boxes if not box.kind.startswith("frame")]
    for arrow in layout.arrows:
        for x, y in (arrow.points[0], arrow.points[-1]):
            touched = [
                box for box in boxes if box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height
            ]
            assert len(touched) == 1, f"({x}, {y}) of {arrow}"


def test_an_unmet_need_comes_from_nobody(drawn):
    graph = drawn(STACKS["an unmet need"])
    assert carried(graph)[(NOBODY, STREAM)] == ["hidden"]
    [node] = [node for node in graph.nodes if node.faults]
    assert (node.path, node.is_certain) == (STREAM, True)
    picture = svg(graph)
    assert 'stroke="#c62828"' in picture
    words = " ".join(ET.fromstring(picture).itertext())
    assert "wants 'hidden' from the stream above" in " ".join(words.split())
    assert "u_hidden -.-x n2" in mermaid(graph)


def test_a_block_that_may_only_suffer_from_another_is_not_red(drawn):
    graph = drawn(STACKS["no encoders"])
    assert [(node.title, node.is_certain) for node in graph.nodes if node.faults] == [
        ('Enc<"#|>oders', True),
        ("Upsampler", False),
    ]


def test_each_block_with_a_wrong_option_of_its_own_is_red(drawn):
    graph = drawn(STACKS["branches of which one is unknown"])
    assert [(node.title, node.is_certain) for node in graph.nodes if node.faults] == [
        ("Decodr", True),
        ("Limiter", True),
    ]


def test_all_lines_of_what_is_wrong_with_a_container_are_red(drawn):
    graph = drawn(STACKS["a head too many"])
    [second] = [item for item in graph.frames[0].inside if item.path == "$.stack[1]"]
    [message] = second.inside[1].faults
    red = [words.text for words in lay_out(graph).words if words.kind == "fault"]
    assert len(red) > 1
    assert " ".join(red) == message


def test_what_does_not_follow_is_drawn_at_the_end(wire_addon, tone):
    seen, faults = [], Faults()
    wire_addon(tone("two"), [PIPELINE], seen=seen)
    faults.note(END, ValueError("no vocoder"))
    graph = graph_of("toy", seen, rows(seen), request={}, faults=faults)
    assert graph.nodes[-1].faults == ("no vocoder",)
    assert carried(graph)[(DECODER, END)] == ["mel"]


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", ["one", "two", "chain"])
def test_no_text_lies_over_text_nor_leaves_the_picture(drawn, name, kind):
    layout = lay_out(drawn(STACKS[name], kind))
    for one, other in itertools.combinations(layout.words, 2):
        apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart_x or abs(one.y - other.y) >= FONT, f"'{one.text}' and '{other.text}'"
    for words in layout.words:
        assert words.x >= 0
        assert words.x + words.width <= layout.width
        assert FONT <= words.y <= layout.height


@pytest.mark.parametrize("name", STACKS)
def test_no_line_runs_through_text(drawn, name):
    layout = lay_out(drawn(STACKS[name], "chain"))
    for arrow in layout.arrows:
        for (x, y), (to_x, to_y) in itertools.pairwise(arrow.points):
            for words in layout.words:
                beside = max(x, to_x) <= words.x or words.x + words.width <= min(x, to_x)
                above_or_below = max(y, to_y) <= words.y - FONT + 2 or words.y + 2 <= min(y, to_y)
                assert beside or above_or_below, f"'{words.text}' at {arrow}"


@pytest.mark.parametrize("name", STACKS)
def test_frames_hold_what_is_inside_them_and_boxes_lie_apart(drawn, name):
    layout = lay_out(drawn(STACKS[name]))
    boxes = [box for box in layout.boxes if not box.kind.startswith("frame")]
    frames = [box for box in layout.boxes if box.kind.startswith("frame")]
    for one, other in itertools.combinations(boxes, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y
    for one, other in itertools.combinations(frames, 2):
        small, large = sorted((one, other), key=lambda box: box.height)
        inside = large.y <= small.y and small.y + small.height <= large.y + large.height
        assert inside or small.y + small.height <= large.y or large.y + large.height <= small.y


@pytest.mark.parametrize("name", STACKS)
def test_the_picture_is_xml_with_every_block_s_name(drawn, name):
    graph = drawn(STACKS[name])
    words = list(ET.fromstring(svg(graph)).itertext())
    assert all(node.title in words for node in graph.nodes)


STATEMENT = re.compile(
    r"""flowchart\ TB
    | \s+subgraph\ (?P<frame>\w+)\["[^"]*"\]
    | \s+end
    | \s+(?P<node>\w+)(?:\["[^"]*"\]|\(\["[^"]*"\]\))(?::::\w+)?
    | \s+(?P<giver>\w+)\ (?:-->(?:\|"[^"|]*"\|)?|-\.-x)\ (?P<taker>\w+)
    | \s+classDef\ \w+\ [^;]+
    | \s*class\ (?P<styled>\w+)\ \w+""",
    re.VERBOSE,
)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", ["one", "two", "chain"])
def test_the_flowchart_is_made_of_statements_that_mermaid_knows(drawn, name, kind):
    made = mermaid(drawn(STACKS[name], kind))
    found = [STATEMENT.fullmatch(line) for line in made.splitlines()]
    assert all(found), made
    named = [match["node"] for match in found if match["node"]]
    assert len(set(named)) == len(named)
    for match in found:
        assert {match["giver"], match["taker"], match["styled"]} - {None} <= set(named)
    lines = [line.split()[0] for line in made.splitlines()]
    assert lines.count("subgraph") == lines.count("end")
    depth = 0
    for word in lines:
        depth += (word == "subgraph") - (word == "end")
        assert depth >= 0


def test_letters_that_mermaid_reads_itself_are_escaped(drawn):
    made = mermaid(drawn(STACKS["no encoders"]))
    assert "Enc#lt;#quot;#35;#124;#gt;oders" in made


def test_a_far_tensor_keeps_clear_of_the_block_that_it_passes(drawn):
    graph = drawn([PIPELINE])
    layout = lay_out(graph)
    [arrow] = [arrow for arrow in layout.arrows if len(arrow.points) == 4]
    blocks = [box for box in layout.boxes if box.kind == "block"]
    assert min(x for x, _ in arrow.points[1:3]) > max(box.x + box.width for box in blocks)
