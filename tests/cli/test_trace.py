"""`voxstack trace` writes a trace that a viewer can open, and says on one screen where the time went."""

import json
import re
from pathlib import Path

import pytest

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"

NOTHING_LEFT = [{"type": "Gain", "gain_db": -60}, {"type": "TrimSilence", "keep_ms": 0, "most_ms": 10_000}]


def trace(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["trace", *map(str, words), "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.mark.parametrize("voice", ["tone", "tone-attention"])
def test_the_trace_is_nested_and_complete(capsys, tmp_path, voice):
    out = tmp_path / "trace.json"
    code, printed, err = trace(capsys, voice, "Abc def. Ghi", "--out", out, "--json")
    assert (code, err) == (0, "")
    report = json.loads(printed)
    made = json.loads(out.read_text(encoding="utf-8"))
    lanes = {
        event["tid"]: event["args"]["name"] for event in made["traceEvents"] if event["name"] == "thread_name"
    }
    assert lanes[1] == "chunks for the listener"
    assert any(name.startswith("Vocoder tone-vocoder: $.stack[0]") for name in lanes.values())
    bars = [event for event in made["traceEvents"] if event["ph"] == "X"]
    by_lane = {lane: [bar for bar in bars if bar["tid"] == lane] for lane in lanes}
    assert all(by_lane.values()), "every lane has something in it"
    for lane in lanes:
        for before, after in zip(by_lane[lane], by_lane[lane][1:], strict=False):
            nested = after["ts"] + after["dur"] <= before["ts"] + before["dur"] + 1e-6
            assert nested or after["ts"] >= before["ts"] + before["dur"] - 1e-6
    for bar in bars:
        if bar["tid"] != 1:
            end = bar["ts"] + bar["dur"]
            around = [
                chunk
                for chunk in by_lane[1]
                if chunk["ts"] <= bar["ts"] and end <= chunk["ts"] + chunk["dur"] + 1e-6
            ]
            assert len(around) == 1
    assert [bar["name"] for bar in by_lane[1]].count("end") == 1
    assert len(by_lane[1]) - 1 == report["chunks"]


def test_json_is_one_object_with_each_nets_share(capsys, tmp_path):
    code, printed, _ = trace(
        capsys, "tone", "abc def", "--out", tmp_path / "t.json", "--json", "--seed", "4", "--speed", "0.5"
    )
    report = json.loads(printed)
    assert code == 0
    assert (report["voice"], report["text"], report["seed"]) == ("tone", "abc def", 4)
    assert {net["net"] for net in report["nets"]} == {"text", "durations", "decoder", "tone-vocoder/vocoder"}
    inside = sum(net["total_ms"] for net in report["nets"])
    assert inside + report["outside_nets_ms"] == pytest.approx(report["wall_s"] * 1000, abs=0.1)
    assert sum(net["share"] for net in report["nets"]) < 1
    before = sum(net["before_audio_ms"] for net in report["nets"])
    assert before + report["outside_nets_before_audio_ms"] == pytest.approx(report["first_audio_ms"], abs=0.1)
    assert all(net["runs_before_audio"] >= 1 for net in report["nets"])
    assert report["events"] == []


def test_json_says_of_each_chunk_whether_it_was_in_time(capsys, tmp_path):
    _, printed, _ = trace(capsys, "tone", "abc def. ghi", "--out", tmp_path / "t.json", "--json")
    report = json.loads(printed)
    chunks = report["playout"]
    assert [one["chunk"] for one in chunks] == list(range(1, report["chunks"] + 1))
    assert chunks[0]["ready_ms"] == chunks[0]["needed_at_ms"]
    assert sum(one["audio_ms"] for one in chunks) == pytest.approx(report["audio_s"] * 1000, abs=0.1)
    for one in chunks:
        assert one["needed_at_ms"] - one["ready_ms"] == pytest.approx(one["ahead_ms"], abs=0.002)
    assert report["least_ahead_ms"] == min(one["ahead_ms"] for one in chunks[1:])
    assert report["dry_ms"] == pytest.approx(sum(max(-one["ahead_ms"], 0) for one in chunks), abs=0.01)


def test_json_ranks_what_could_be_saved(capsys, tmp_path):
    _, printed, _ = trace(capsys, "tone", "abc def", "--out", tmp_path / "t.json", "--json")
    report = json.loads(printed)
    shares = [gain["share"] for gain in report["gains"]]
    assert shares == sorted(shares, reverse=True)
    whole = {"first audio": report["first_audio_ms"], "all work": report["wall_s"] * 1000}
    for gain in report["gains"]:
        assert 0 < gain["saves_ms"] <= gain["of_ms"]
        assert gain["of_ms"] == pytest.approx(whole[gain["of"]], abs=0.1)
        assert gain["share"] == pytest.approx(gain["saves_ms"] / gain["of_ms"], abs=0.001)
    assert {"net", "outside", "overlap"} <= {gain["kind"] for gain in report["gains"]}


def test_the_trace_is_of_the_format_that_perfetto_reads(capsys, tmp_path):
    out = tmp_path / "t.json"
    trace(capsys, "tone", "abc def. ghi", "--out", out)
    wanted = {
        "M": {"name", "pid", "tid", "args"},
        "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
        "i": {"name", "cat", "s", "ts", "pid", "tid", "args"},
        "C": {"name", "cat", "ts", "pid", "tid", "args"},
    }
    events = json.loads(out.read_bytes())["traceEvents"]
    for event in events:
        assert set(event) == {"ph", *wanted[event["ph"]]}
        assert event.get("dur", 0) >= 0
        assert event["ph"] != "C" or all(isinstance(value, float | int) for value in event["args"].values())
    assert {event["ph"] for event in events} == set(wanted)
    stamps = [event["ts"] for event in events if event["ph"] != "M"]
    assert stamps == sorted(stamps)
    assert stamps[0] == 0


def test_one_screen_says_where_the_time_went(capsys, tmp_path):
    out = tmp_path / "t.json"
    code, printed, _ = trace(capsys, "tone", "abc def", "--out", out)
    assert code == 0
    lines = printed.splitlines()
    heads = re.split(r"\s{2,}", lines[0])
    assert heads == ["NET OR BLOCK", "RUNS", "TOTAL MS", "SHARE", "RUNS BEFORE AUDIO", "MS BEFORE AUDIO"]
    assert {line.split("  ")[0] for line in lines[1 : lines.index("")] if line[0] != " "} == {
        "text",
        "durations",
        "decoder",
        "tone-vocoder/vocoder",
        "(outside nets)",
        "all",
    }
    for begin in ("first audio  ", "audio ahead  ", "real-time factor  ", "next gain         at most "):
        assert sum(line.startswith(begin) for line in lines) == 1
    assert lines[-1] == f"written           {out}"
    assert len(lines) < 25


def test_a_block_that_costs_much_has_a_row_and_is_named_among_the_gains(capsys, tmp_path):
    words = ["tone", "abc def " * 20, "--out", tmp_path / "t.json"]
    effects = ["--effects", '[{"type": "Gain", "gain_db": 1}, {"type": "Pitch", "semitones": 3}]']
    _, printed, _ = trace(capsys, *words, *effects)
    begin = printed.index("(outside nets)")
    assert "\n  Pitch effects: $.stack[1]  " in printed[begin : printed.index("\nall ")]
    _, printed, _ = trace(capsys, *words, *effects, "--json")
    report = json.loads(printed)
    assert report["blocks"][0]["block"] == "Pitch effects: $.stack[1]"
    own = sum(block["own_ms"] for block in report["blocks"])
    assert report["blocks"][0]["own_ms"] < own < report["outside_nets_ms"]
    [gain] = [gain for gain in report["gains"] if (gain["kind"], gain["of"]) == ("block", "all work")]
    assert gain["how"].startswith("block Pitch effects: $.stack[1] takes ")


def test_audio_that_came_out_empty_is_none_and_not_at_once(capsys, tmp_path):
    words = ["tone", "abc", "--out", tmp_path / "t.json", "--effects", json.dumps(NOTHING_LEFT)]
    code, printed, _ = trace(capsys, *words)
    assert code == 0
    assert "first audio       none\naudio ahead       none\n" in printed
    _, printed, _ = trace(capsys, *words, "--json")
    assert json.loads(printed)["first_audio_ms"] is None


def test_an_attention_that_lost_its_way_is_in_the_trace(capsys, tmp_path):
    out = tmp_path / "t.json"
    words = ["tone-attention", "abcdef", "--control", "stuck=2", "--out", out]
    code, printed, _ = trace(capsys, *words)
    assert code == 0
    [line] = [line for line in printed.splitlines() if line.startswith("attention.stall")]
    made = json.loads(out.read_text(encoding="utf-8"))
    [event] = [event for event in made["traceEvents"] if event["name"].startswith("attention.stall: ")]
    assert event["ph"] == "i"
    assert event["args"]["text"] in line
    assert event["args"]["text"].startswith("the attention read nothing new")


def test_the_first_request_of_all_can_be_traced_too(capsys, tmp_path):
    code, printed, _ = trace(capsys, "tone", "abc", "--out", tmp_path / "t.json", "--cold", "--json")
    assert code == 0
    assert json.loads(printed)["chunks"] >= 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["tone", "abc", "--out", "trace.txt"], 2, "want a name that ends in .json"),
        (["tone", "abc"], 2, "Missing option '--out'"),
        (["tune", "abc", "--out", "t.json"], 2, "no voice 'tune'; did you mean 'tone'?"),
        (["tone", "", "--out", "t.json"], 2, "RequestError: text:"),
        (
            ["tone", "abc", "--out", "no/such/folder/t.json"],
            2,
            "RequestError: no/such/folder/t.json: cannot be written",
        ),
    ],
)
def test_a_wrong_request_is_one_line(capsys, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    got, printed, err = trace(capsys, *words)
    assert (got, printed) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_voice_is_not_loaded_for_a_trace_that_cannot_be_written(capsys, tmp_path):
    code, _, err = trace(capsys, "nobody", "abc", "--out", tmp_path / "no" / "t.json")
    assert code == 2
    assert (
        err == f"RequestError: {tmp_path / 'no' / 't.json'}: cannot be written: No such file or directory\n"
    )


def test_a_failure_leaves_the_old_trace(capsys, tmp_path):
    out = tmp_path / "t.json"
    out.write_text("old")
    code, _, _ = trace(capsys, "nobody", "abc", "--out", out)
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    assert out.read_text() == "old"


def test_half_a_character_is_written_as_its_escape(capsys, tmp_path):
    out = tmp_path / "t.json"
    code, _, err = trace(capsys, "tone", "abc \udcff", "--out", out)
    assert (code, err) == (0, "")
    assert json.loads(out.read_bytes())["otherData"]["text"] == "abc \udcff"


def test_every_parent_is_the_id_of_a_bar_around(capsys, tmp_path):
    out = tmp_path / "t.json"
    trace(capsys, "tone-attention", "Abc def. Ghi", "--out", out)
    bars = [event for event in json.loads(out.read_bytes())["traceEvents"] if event["ph"] == "X"]
    by_id = {bar["args"]["id"]: bar for bar in bars}
    assert len(by_id) == len(bars)
    for bar in bars:
        assert (bar["ts"], bar["dur"]) == (round(bar["ts"], 3), round(bar["dur"], 3))
        if "parent" in bar["args"]:
            around = by_id[bar["args"]["parent"]]
            assert around["ts"] <= bar["ts"]
            assert bar["ts"] + bar["dur"] <= around["ts"] + around["dur"] + 1e-6
