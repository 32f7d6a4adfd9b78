"""`voxstack inspect` shows a wired stack as a table, as JSON and as a picture, what is wrong with it too."""

import json
import re
import shutil
from pathlib import Path

import pytest

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


def inspect(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["inspect", *map(str, words), "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.fixture
def edited(tmp_path):
    """Return what copies the tone addon, its JSON changed."""

    def edit(change):
        folder = shutil.copytree(ADDONS / "tone", tmp_path / "tone")
        manifest = folder / "addon.json"
        config = json.loads(manifest.read_text(encoding="utf-8"))
        change(config)
        manifest.write_text(json.dumps(config), encoding="utf-8")
        return folder

    return edit


def without_upsampler(config):
    config["stack"][0]["streamable_block"] = {"type": "Decoder"}


def test_one_table_has_a_row_for_each_block_and_each_encoder(capsys):
    code, printed, err = inspect(capsys, "tone")
    assert (code, err) == (0, "")
    table, _, notes = printed.partition("\n\n")
    heads, *lines = table.splitlines()
    assert heads.split() == [
        *("BLOCK", "NET", "RUNTIME", "TAKES", "GIVES", "RATE", "CONTEXT", "LATENCY", "MEMORY")
    ]
    named = [line[: heads.index("NET")].rstrip() for line in lines]
    assert [name for name in named if name] == [
        "StreamableStack",
        "  StreamablePipeline",
        "    Encoders",
        "      text",
        "      durations",
        "    StreamableStack",
        "      Upsampler",
        "      Decoder",
        "StreamableStack",
        "  Vocoder",
    ]
    [decoder] = [line for line in lines if line.strip().startswith("Decoder")]
    cells = re.split(r"\s{2,}", decoder.strip())
    assert cells[:2] == ["Decoder", "decoder"]
    assert cells[3:] == [
        "hidden [frames, 12]",
        "mel [frames, 12]",
        "100 Hz",
        "2 | 2",
        "30 ms (3 frames)",
        "0.00 MB",
    ]
    assert notes.splitlines()[-1] == "the whole: context 3 | 3 steps of its head"


def test_json_keeps_its_keys_and_says_more(capsys):
    code, printed, _ = inspect(capsys, "tone", "--json")
    report = json.loads(printed)
    assert code == 0
    assert list(report) == ["voice", "profile", "blocks", "nets", "resident_growth_bytes", "faults"]
    rows = {row["type"]: row for row in report["blocks"]}
    assert list(rows["Encoders"])[:10] == [
        *("path", "type", "nets", "takes", "gives", "steps", "context", "ahead_ms", "needs_all"),
        "is_container",
    ]
    assert rows["Encoders"]["nets"] == ["text", "durations"]
    assert [inner["type"] for inner in rows["Encoders"]["inside"]] == ["text", "durations"]
    vocoder = rows["Vocoder"]
    assert (vocoder["rate_hz"], vocoder["waits_for"], vocoder["latency_ms"]) == (16000, "2 frames", 20)
    assert vocoder["file_bytes"] == (ADDONS / "tone-vocoder" / "nets" / "vocoder.onnx").stat().st_size
    encoders = (ADDONS / "tone" / "nets" / name for name in ("text.onnx", "durations.onnx"))
    assert rows["Encoders"]["file_bytes"] == sum(path.stat().st_size for path in encoders)
    assert rows["Upsampler"]["file_bytes"] is None
    assert rows["Decoder"]["runtime"].startswith("onnxruntime ")


def test_nets_of_nested_addons_have_their_size_and_their_stack_its_name(capsys):
    _, printed, _ = inspect(capsys, "tone-nested", "--json")
    rows = {row["path"]: row for row in json.loads(printed)["blocks"]}
    [decoder] = [row for path, row in rows.items() if row["type"] == "Decoder"]
    assert decoder["file_bytes"] == (ADDONS / "tone" / "nets" / "decoder.onnx").stat().st_size
    _, drawn, _ = inspect(capsys, "tone-nested", "--graph", "-")
    assert "StreamableStack · tone.stack" in drawn
    assert "StreamableStack · tone-vocoder.stack" in drawn


def test_a_bucket_is_waited_for_as_a_whole(capsys):
    _, printed, _ = inspect(capsys, "tone", "--json", "--profile", "fixed")
    report = json.loads(printed)
    [size] = report["nets"]["decoder"]["sizes"]
    [decoder] = [row for row in report["blocks"] if row["type"] == "Decoder"]
    assert decoder["waits_for"] == f"{size} frames"
    assert decoder["latency_ms"] == size * 10


def test_branches_are_called_by_their_keys(capsys):
    _, printed, _ = inspect(capsys, "tone-ab")
    blocks = [line.strip().split("  ")[0] for line in printed.splitlines()]
    begin = blocks.index("Compare")
    assert blocks[begin + 1] == "a: StreamableStack"
    assert "b: StreamableStack" in blocks[begin + 2 :]


def test_a_block_that_adds_no_delay_says_so(capsys):
    _, printed, _ = inspect(capsys, "tone-ab", "--json")
    tap = next(row for row in json.loads(printed)["blocks"] if row["type"] == "Tap")
    assert (tap["waits_for"], tap["latency_ms"]) == (None, 0)
    _, table, _ = inspect(capsys, "tone-ab")
    [line, *_] = [line for line in table.splitlines() if line.strip().startswith("Tap")]
    assert line.endswith("100 Hz             0 ms")
    _, drawn, _ = inspect(capsys, "tone-ab", "--graph", "-")
    assert '["Tap<br/>1 → 1"]' in drawn


def test_a_picture_that_cannot_be_written_costs_one_line(capsys, tmp_path):
    code, table, err = inspect(capsys, "tone", "--graph", tmp_path / "none" / "a.svg")
    assert code == 2
    assert table.startswith("BLOCK")
    assert "cannot be written" in err
    assert len(err.splitlines()) == 1


def test_the_flowchart_goes_to_standard_output_alone_or_to_a_file(capsys, tmp_path):
    code, printed, err = inspect(capsys, "tone", "--graph", "-")
    assert (code, err) == (0, "")
    assert printed.startswith("flowchart TB\n")
    out = tmp_path / "tone.mmd"
    code, table, _ = inspect(capsys, "tone", "--graph", out)
    assert code == 0
    assert out.read_text(encoding="utf-8") == printed
    assert table.splitlines()[-1] == f"drawn in {out}"


def test_a_need_that_nobody_meets_is_shown_and_drawn_in_red(capsys, edited, tmp_path):
    graph = tmp_path / "broken.svg"
    code, printed, err = inspect(capsys, edited(without_upsampler), "--graph", graph)
    message = (
        "$.stack[0].streamable_block: wants 'hidden' from the stream above, but there is none; "
        "put a block that gives it before this one"
    )
    assert (code, err) == (1, f"wrong: {message}\n")
    assert "Decoder (wrong)" in printed
    assert "Vocoder" in printed
    assert "#c62828" in graph.read_text(encoding="utf-8")


def test_json_says_what_is_wrong_and_where(capsys, edited):
    code, printed, _ = inspect(capsys, edited(without_upsampler), "--json")
    report = json.loads(printed)
    assert code == 1
    [fault] = report["faults"]
    assert (fault["path"], fault["port"], fault["follows"]) == (
        "$.stack[0].streamable_block",
        "hidden",
        False,
    )
    [row] = [row for row in report["blocks"] if row["faults"]]
    assert (row["type"], row["faults"]) == ("Decoder", [fault["message"]])


def test_what_may_only_follow_from_another_fault_is_marked_as_that(capsys, edited):
    def change(config):
        config["stack"][0]["sequence_block"]["type"] = "Encodrs"

    _, printed, _ = inspect(capsys, edited(change))
    names = [line.strip().partition("  ")[0] for line in printed.splitlines()]
    assert "Encodrs (wrong)" in names
    assert "Upsampler (perhaps wrong)" in names


def test_a_block_that_finds_nothing_to_work_on_is_the_one_that_is_marked(capsys, edited):
    def change(config):
        config["nets"]["text"]["role"] = "other"

    code, printed, err = inspect(capsys, edited(change), "--graph", "-")
    path = "$.stack[0].streamable_block.stack[0]"
    assert (code, err) == (1, f"wrong: {path}: nothing with axis 'phonemes' is there to be repeated\n")
    styled = [line.split()[1:] for line in printed.splitlines() if line.split()[0] == "class"]
    assert styled == [["n1", "fault"]]


def test_a_vocoder_that_is_not_there_is_drawn_as_what_is_missing(capsys, edited):
    def change(config):
        config["vocoder"] = "nobody"

    code, printed, err = inspect(capsys, edited(change), "--graph", "-")
    assert code == 1
    assert err.startswith("wrong: ")
    assert "no vocoder 'nobody'" in err
    assert "no vocoder 'nobody'" in printed


def test_a_vocoder_for_other_mels_is_drawn_with_what_does_not_fit(capsys, edited):
    def change(config):
        config["mel"]["fmax"] = config["mel"]["fmax"] - 1000

    code, printed, err = inspect(capsys, edited(change))
    assert code == 1
    assert err == (
        "wrong: tone-vocoder: $.stack[0]: 'mel' of the stream above does not fit (given → wanted): "
        "fmax: 400.0 → 1400.0 Hz; use nets that were made for each other, or put a block that converts "
        "between them\n"
    )
    assert "Vocoder (wrong)" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tone", "--graph", "-", "--json"], "- and --json both write to standard output; choose one"),
        (["tone", "--graph", "tone.png"], "got 'tone.png', want a name that ends in .svg or .mmd, or -"),
        (["tone", "--vocoder", "nobody"], "no vocoder 'nobody'"),
        (["tune"], "no voice 'tune'; did you mean 'tone'?"),
    ],
)
def test_a_wrong_request_is_one_line(capsys, words, message):
    code, printed, err = inspect(capsys, *words)
    assert (code, printed) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
