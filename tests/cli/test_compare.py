"""`voxstack compare` writes one page that shows and plays every voice, and needs nothing but itself."""

import base64
import io
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile

import voxstack
from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "Abc def. Ghi"
VOID = {"meta", "img", "br", "link", "input"}


def compare(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["compare", *map(str, words), "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


class Page(HTMLParser):
    """A page as its elements: name and attributes, and the words in it; it must be well nested."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.words = []
        self.open = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Return a page of two voices, of which one lost its way, and the report beside it."""
    folder = tmp_path_factory.mktemp("compare")
    out = folder / "report.html"
    with pytest.raises(SystemExit) as end:
        main(["compare", "tone", "tone-attention", TEXT, "--out", str(out), "--addons", str(ADDONS)])
    assert end.value.code == 0
    return out


@pytest.fixture(scope="module")
def page(page_file):
    return Page(page_file)


def test_the_page_needs_no_network(page):
    addresses = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not page.all("script")
    assert not page.all("link")
    [policy] = [meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'; ")


def test_nothing_in_its_styles_or_pictures_points_outside(page_file):
    text = page_file.read_text(encoding="utf-8")
    pictures = [unquote(found) for found in re.findall(r'src="data:image/svg\+xml,([^"]*)"', text)]
    assert len(pictures) == 2
    for source in (text, *pictures):
        found = re.findall(r"(?:url\(|@import|href=|src=)[\"']?\s*(?:https?:)?//", source)
        assert not found
    addresses = set(re.findall(r"https?://[^\"'\s<>%]+", " ".join((text, *pictures))))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names, not places"


def test_the_page_says_what_it_is(page):
    assert page.all("html") == [{"lang": "en"}]
    assert "Voices compared: tone, tone-attention" in page.text
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert page.elements[2][0] == "meta"
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_picture_has_words_for_those_who_cannot_see_it(page):
    assert len(page.all("img")) == 2
    assert all(image["alt"].strip() for image in page.all("img"))
    drawings = page.all("svg")
    assert len(drawings) == 8
    assert all(svg["role"] == "img" and svg["aria-label"].strip() for svg in drawings)
    labels = [svg["aria-label"] for svg in drawings]
    assert "Durations of tone: which of 10 symbols is spoken when" in labels
    assert "Attention of tone-attention: which of 10 symbols is spoken when" in labels


def test_every_reference_leads_to_something_on_the_page(page):
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for _, attributes in page.elements:
        for key in ("href", "xlink:href"):
            if attributes.get(key, "").startswith("#"):
                assert attributes[key][1:] in ids
        assert set(re.findall(r"url\(#([^)]+)\)", " ".join(map(str, attributes.values())))) <= ids
        assert set(attributes.get("aria-labelledby", "").split()) <= ids


def test_what_scrolls_can_be_reached_by_keyboard(page):
    scrolling = [attributes for attributes in page.all("div") if "wide" in attributes["class"].split()]
    assert len(scrolling) == 1 + 8
    assert all(attributes["tabindex"] == "0" and attributes["role"] == "region" for attributes in scrolling)


def test_each_voice_is_heard_as_it_speaks(page):
    players = page.all("audio")
    assert [player["aria-label"] for player in players] == ["tone speaks", "tone-attention speaks"]
    for player, name in zip(players, ("tone", "tone-attention"), strict=True):
        kind, data = player["src"].split(",", 1)
        assert kind == "data:audio/flac;base64"
        assert base64.b64decode(data).startswith(b"fLaC")
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
        wanted = voxstack.load(name, folders=[ADDONS]).say(TEXT)
        assert rate == wanted.sample_rate
        assert len(samples) == len(wanted.samples)
        np.testing.assert_allclose(samples, wanted.samples, atol=2**-15)


def test_the_wired_stack_is_drawn(page):
    drawn = [unquote(image["src"].split(",", 1)[1]) for image in page.all("img")]
    for picture, head in zip(drawn, ("Upsampler", "AutoregressiveDecoder"), strict=True):
        words = " ".join(ET.fromstring(picture).itertext())
        assert head in words
        assert "Vocoder" in words


def test_the_voices_stand_in_one_table(page):
    assert "At a glance" in page.text
    for word in ("Languages", "Licence", "First audio", "Real-time factor", "Events"):
        assert word in page.text
    assert "x-tone" in page.text
    assert "Apache-2.0" in page.text
    assert "warmed up, then spoke the text 3 times" in page.text


def test_an_attention_that_lost_its_way_is_a_red_line_with_its_words(capsys, tmp_path):
    out = tmp_path / "report.html"
    words = ["tone-attention", "Abc. Abcdef", "--control", "stuck=4", "--out", out, "--json"]
    code, printed, _ = compare(capsys, *words)
    assert code == 0
    [voice] = json.loads(printed)["voices"]
    [event] = voice["events"]
    assert event["kind"] == "attention.stall"
    # The second utterance was ended there, so it is where the audio ends.
    assert voice["audio_s"] - 0.1 < event["audio_s"] <= voice["audio_s"]
    text = out.read_text(encoding="utf-8")
    assert event["text"] in Page(out).text
    assert "1 attention.stall" in Page(out).text
    assert text.count("stroke: #e0352b") >= 3, "a line in waveform, mel and attention"


def test_without_events_nothing_is_red(page_file):
    text = page_file.read_text(encoding="utf-8")
    assert "#e0352b" not in text
    assert "nothing went wrong" in text


def test_json_is_one_object_with_a_row_for_each_voice(capsys, tmp_path):
    out = tmp_path / "report.html"
    code, printed, err = compare(capsys, "tone", "tone-attention", TEXT, "--out", out, "--seed", 7, "--json")
    assert (code, err) == (0, "")
    report = json.loads(printed)
    assert (report["text"], report["seed"], report["out"]) == (TEXT, 7, str(out))
    for row, name in zip(report["voices"], ("tone", "tone-attention"), strict=True):
        assert (row["voice"], row["licence"], row["languages"]) == (name, "Apache-2.0", ["x-tone"])
        assert row["chunks"] == len(row["chunks_ms"])
        assert sum(row["chunks_ms"]) == pytest.approx(row["audio_s"] * 1000, abs=0.5)
        assert (row["vocoder"], row["vocoder_licence"]) == ("tone-vocoder", "Apache-2.0")
        assert 0 < row["first_audio_ms"] <= row["wall_s"] * 1000 + 5


def test_a_voice_that_fails_is_shown_and_the_others_are_compared(capsys, tmp_path):
    out = tmp_path / "report.html"
    code, printed, err = compare(capsys, "nobody", "tone", "123 <b>", "--say", "tone=abc", "--out", out)
    assert code == 1
    assert "RequestError: voice: no voice 'nobody'" in err
    page = Page(out)
    assert "It failed: RequestError: voice: no voice 'nobody'" in page.text
    assert "123 <b>" in page.text
    assert [player["aria-label"] for player in page.all("audio")] == ["tone speaks"]
    rows = [line.split() for line in printed.splitlines()[1:3]]
    assert rows[0] == ["nobody", "failed"]
    assert (rows[1][0], rows[1][2]) == ("tone", "ms")


def test_a_page_of_failures_only_is_still_a_page(capsys, tmp_path):
    out = tmp_path / "report.html"
    code, printed, _ = compare(capsys, "nobody", "abc", "--out", out, "--json")
    assert code == 2, "the request was wrong"
    [row] = json.loads(printed)["voices"]
    assert set(row) == {"voice", "text", "error"}
    assert not Page(out).all("audio")


def test_each_voice_may_say_its_own_text(capsys, tmp_path):
    out = tmp_path / "report.html"
    words = ["tone", "tone-attention", "abc", "--say", "tone=abc=def", "--out", out, "--json"]
    code, printed, _ = compare(capsys, *words)
    assert code == 0
    assert [row["text"] for row in json.loads(printed)["voices"]] == ["abc=def", "abc"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tone", "abc", "--out", "report.pdf"], "want a name that ends in .html"),
        (["tone", "abc", "--out", "r.html", "--say", "tone"], "got 'tone', want VOICE=TEXT"),
        (
            ["tone", "abc", "--out", "r.html", "--say", "joe=Hi"],
            "'joe' is not compared; compared: tone",
        ),
        (["tone", "abc"], "Missing option '--out'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, printed, err = compare(capsys, *words)
    assert (code, printed) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = compare(capsys, "tone", "abc", "--out", tmp_path / "report.html")
    assert code == 2
    assert err == (
        "RequestError: compare: matplotlib, which draws the report, is not installed; "
        'pip install "voxstack[report]"\n'
    )


def test_other_commands_do_not_import_matplotlib(tmp_path):
    import subprocess

    code = (
        "import sys, voxstack.cli.main, voxstack.cli.say_command, voxstack.cli.trace_command, "
        "voxstack.cli.compare_command; sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_page_that_cannot_be_written_is_refused_before_anybody_speaks(capsys, tmp_path):
    out = tmp_path / "no" / "r.html"
    code, printed, err = compare(capsys, "nobody", "abc", "--out", out)
    assert (code, printed) == (2, "")
    assert err == f"RequestError: {out}: cannot be written: No such file or directory\n"


def test_half_a_character_does_not_cost_the_page(capsys, tmp_path):
    out = tmp_path / "r.html"
    code, _, _ = compare(capsys, "tone", "abc \udcff", "--out", out)
    assert code == 0
    assert "abc ?" in Page(out).text
    assert list(tmp_path.iterdir()) == [out]


def test_voices_of_one_name_are_told_apart_by_their_paths(capsys, tmp_path):
    other = tmp_path / "copy" / "tone"
    shutil.copytree(ADDONS / "tone", other)
    out = tmp_path / "r.html"
    code, _, _ = compare(capsys, "tone", other, "abc", "--out", out)
    assert code == 0
    assert f"tone ({ADDONS / 'tone'})" in Page(out).text
    assert f"tone ({other})" in Page(out).text


def test_a_voice_without_audio_is_a_page_too(capsys, tmp_path, monkeypatch):
    from voxstack.engine.voice import Voice

    monkeypatch.setattr(Voice, "answer", lambda *text, **choices: (chunk for chunk in ()))
    out = tmp_path / "r.html"
    code, printed, err = compare(capsys, "tone", "abc", "--out", out)
    assert (code, err) == (0, "")
    assert printed.splitlines()[1].split()[:3] == ["tone", "-", "-"]
    assert len(Page(out).all("audio")) == 1
