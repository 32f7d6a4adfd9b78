"""`voxstack say --marks` writes when what is said, line by line, while it is said."""

import json
import sys
from pathlib import Path

import pytest
import soundfile

import voxstack
from voxstack.cli.main import main
from voxstack.engine.mark_lines import PollyLines

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "  Bád cab, 😀 deaf\tchef. Ill jackal!"


def say(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["say", *map(str, words), "--voice", "tone", "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_sentences_and_words_are_written_with_offsets_in_bytes(capsys, tmp_path):
    path = tmp_path / "out.jsonl"
    code, printed, err = say(capsys, TEXT, "--marks", path)
    assert (code, err) == (0, "")
    assert printed.splitlines()[-1] == f"marks             {path}"
    told = rows(path.read_text(encoding="utf-8"))
    assert [row["type"] for row in told] == ["sentence", *["word"] * 4, "sentence", "word", "word"]
    assert [row["value"] for row in told if row["type"] == "word"] == [
        *("Bád", "cab", "deaf", "chef", "Ill", "jackal")
    ]  # fmt: skip
    for row in told:
        assert list(row) == ["time", "type", "start", "end", "value"]
        assert TEXT.encode()[row["start"] : row["end"]].decode() == row["value"]
    marks = voxstack.load("tone", folders=[ADDONS]).say(TEXT, marks=("sentence", "word")).marks
    assert path.read_text(encoding="utf-8") == "".join(f"{PollyLines(TEXT).line(mark)}\n" for mark in marks)


def test_other_kinds_may_be_asked_for_and_go_beside_the_audio(capsys, tmp_path):
    path, out = tmp_path / "out.jsonl", tmp_path / "out.wav"
    code, printed, _ = say(
        capsys, "abc", "--marks", path, "--marks-of", "phoneme, word", "--out", out, "--json"
    )
    assert code == 0
    assert json.loads(printed)["marks"] == str(path)
    assert soundfile.info(out).frames > 0
    assert [row["type"] for row in rows(path.read_text())] == ["word", *["phoneme"] * 3]


def test_a_dash_writes_to_standard_output_and_the_rest_elsewhere(capsys):
    code, printed, err = say(capsys, "abc def", "--marks", "-")
    assert code == 0
    assert [row["value"] for row in rows(printed)] == ["abc def", "abc", "def"]
    assert err.startswith("voice             tone")


def test_text_that_comes_on_standard_input_counts_from_its_first_byte(capsys, monkeypatch, tmp_path):
    source = tmp_path / "text"
    source.write_text(TEXT, encoding="utf-8")
    written = tmp_path / "out.jsonl"
    with source.open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert say(capsys, "--marks", written)[0] == 0
    assert say(capsys, TEXT, "--marks", tmp_path / "whole.jsonl")[0] == 0
    assert written.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_lines_are_there_while_it_is_still_spoken(tmp_path):
    from voxstack.cli.mark_file import MarkFile

    path = tmp_path / "out.jsonl"
    with MarkFile(path) as file:
        file.feed("Abc.")
        chunks = voxstack.load("tone", folders=[ADDONS]).chunks("Abc.", marks="word")
        file.write(next(chunks))
        assert path.read_text() == '{"time":0,"type":"word","start":0,"end":3,"value":"Abc"}\n'


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["abc", "--marks", "-", "--json"], "--marks - and --json would both write to standard output"),
        (["abc", "--json", "--marks-of", "word"], "got --marks-of, but no --marks FILE to write them to"),
        (["abc", "--marks", "x.jsonl", "--marks-of", "word,"], "marks: no marks of ''"),
        (["abc", "--marks", "no/x.jsonl"], "RequestError: no/x.jsonl: cannot be written: No such file"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(capsys, words, message):
    code, printed, err = say(capsys, *words)
    assert (code, printed) == (2, "")
    assert message in err


def test_a_full_disk_is_one_line_and_exit_code_1(capsys):
    code, _, err = say(capsys, "abc", "--marks", "/dev/full")
    assert code == 1
    assert "OutputError: /dev/full: cannot be written: No space left on device" in err
