"""`voxstack bench` lets many hear voices or a server at once, and says what they met."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
KEYS = {
    "streams",
    "requests",
    "errors",
    "refused",
    "refused_wait_s",
    "first_audio_mean_ms",
    "first_audio_p50_ms",
    "first_audio_p90_ms",
    "first_audio_p95_ms",
    "first_audio_p99_ms",
    "inter_chunk_p95_ms",
    "whole_mean_ms",
    "audio_s",
    "wall_s",
    "audio_s_per_s",
    "rtf",
    "underruns",
    "underruns_percent",
    "dry_ms",
    "peak_rss_mb",
    "error_texts",
}


def bench(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main(["bench", *map(str, words), "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("abc\nab\n")
    return file


def test_a_voice_is_measured_at_each_number_of_streams(capsys, texts):
    words = ["tone", "--texts", texts, "--streams", "1,3", "--rounds", "2", "--pace", "fast"]
    code, out, err = bench(capsys, *words)
    assert code == 0
    heads, *rows = [re.split(r"\s{2,}", line) for line in out.splitlines()]
    assert heads[:5] == ["STREAMS", "REQUESTS", "FAILED", "REFUSED", "FIRST AUDIO"]
    assert heads[-4:] == ["NEXT CHUNK P95", "AUDIO S/S", "RAN DRY", "PEAK"]
    assert [row[:4] for row in rows] == [["1", "4", "0", "0"], ["3", "12", "0", "0"]]
    assert all(len(row) == len(heads) for row in rows)
    assert err.splitlines() == [
        "voxstack bench: 1 stream, 4 requests",
        "voxstack bench: 3 streams, 12 requests",
    ]


def test_json_is_one_object_with_units_in_its_names(capsys, texts):
    code, out, _ = bench(capsys, "tone", "--texts", texts, "--streams", "2", "--pace", "fast", "--json")
    assert code == 0
    report = json.loads(out)
    assert set(report) == {"voices", "url", "pace", "buffer_ms", "ramp_s", "rounds", "texts", "plot", "loads"}
    assert (report["url"], report["pace"], report["rounds"], report["texts"]) == (None, "fast", 1, 2)
    [voice] = report["voices"]
    assert (voice["voice"], voice["profile"], voice["sample_rate"]) == ("tone", "cpu", 16000)
    assert voice["runtime"].startswith("onnxruntime")
    [load] = report["loads"]
    assert set(load) == KEYS
    assert (load["streams"], load["requests"], load["errors"], load["error_texts"]) == (2, 4, 0, {})
    assert load["peak_rss_mb"] > 10
    assert 0 < load["first_audio_p50_ms"] <= load["first_audio_p99_ms"]


def test_at_real_time_pace_audio_takes_as_long_as_it_lasts(capsys, texts):
    code, out, _ = bench(capsys, "tone", "--texts", texts, "--streams", "1", "--json")
    assert code == 0
    report = json.loads(out)
    [load] = report["loads"]
    assert report["pace"] == "realtime"
    assert load["wall_s"] >= load["audio_s"] > 0.1
    assert load["audio_s_per_s"] <= 1


def test_requests_are_dealt_out_among_voices(capsys, texts):
    words = ["tone", "tone-attention", "--texts", texts, "--streams", "1", "--pace", "fast", "--json"]
    code, out, _ = bench(capsys, *words)
    report = json.loads(out)
    _, alone, _ = bench(capsys, "tone", *words[2:])
    assert code == 0
    assert [voice["voice"] for voice in report["voices"]] == ["tone", "tone-attention"]
    assert report["loads"][0]["requests"] == 2
    assert report["loads"][0]["audio_s"] != json.loads(alone)["loads"][0]["audio_s"]


def test_the_greatest_number_of_streams_is_found(capsys, texts, monkeypatch):
    from voxstack.testing import load

    tried = []

    def run_load(target, texts, how, *, progress):
        tried.append((how.streams, how.pace))
        wait_ms = 20.0 if how.streams <= 5 else 400.0
        return load.LoadReport(how.streams, 1.0, [load.Heard(wait_ms, (), 500.0, 1.0)])

    monkeypatch.setattr(load, "run_load", run_load)
    code, out, err = bench(capsys, "tone", "--texts", texts, "--find", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["streams_carried"], report["within_ms"]) == (5, 250)
    assert tried == [(number, "realtime") for number in (1, 2, 4, 8, 6, 5)]
    assert [one["streams"] for one in report["loads"]] == [1, 2, 4, 5, 6, 8]
    assert "voxstack bench: 6 not carried" in err.splitlines()
    assert "voxstack bench: 5 carried" in err.splitlines()
    _, out, _ = bench(capsys, "tone", "--texts", texts, "--find", "--within-ms", "500")
    assert out.splitlines()[-1].startswith("carried  1024 streams")


def test_the_plot_shows_first_audio_against_streams(capsys, texts, tmp_path):
    plot = tmp_path / "plot.svg"
    words = ["tone", "--texts", texts, "--streams", "1,2", "--pace", "fast", "--plot", plot]
    code, out, _ = bench(capsys, *words)
    assert code == 0
    assert out.splitlines()[-1] == f"written  {plot}"
    assert ET.parse(plot).getroot().tag == "{http://www.w3.org/2000/svg}svg"


# A server


def test_a_server_is_measured_by_the_same_command(capsys, texts, speech_api, monkeypatch):
    monkeypatch.setenv("SPEECH_KEY", "secret")
    words = ["joe", "ann", "--url", speech_api.url, "--api-key-env", "SPEECH_KEY", "--model", "m"]
    words += ["--texts", texts, "--streams", "2", "--pace", "fast", "--json"]
    code, out, _ = bench(capsys, *words)
    report = json.loads(out)
    assert code == 0
    assert report["voices"] == [{"voice": "joe", "model": "m"}, {"voice": "ann", "model": "m"}]
    assert report["url"] == speech_api.url
    [load] = report["loads"]
    assert (load["requests"], load["errors"], load["audio_s"]) == (4, 0, pytest.approx(0.4))
    assert load["peak_rss_mb"] is None
    assert {headers["Authorization"] for _, headers, _ in speech_api.requests} == {"Bearer secret"}
    asked = [body["voice"] for _, _, body in speech_api.requests]
    assert sorted(asked) == 3 * ["ann"] + 3 * ["joe"]  # one each to warm up


def test_failed_requests_are_shown_and_the_exit_code_says_so(capsys, texts, speech_api):
    speech_api.answers = [None, (500, {}, b"broken"), (503, {"Retry-After": "0"}, b"full")]
    words = ["joe", "--url", speech_api.url, "--texts", texts, "--streams", "1", "--pace", "fast", "--json"]
    code, out, err = bench(capsys, *words)
    assert code == 1
    [load] = json.loads(out)["loads"]
    assert (load["requests"], load["errors"], load["refused"]) == (2, 1, 1)
    said = f"VoxstackError: {speech_api.url}: 500 Internal Server Error: broken"
    assert load["error_texts"] == {said: 1}
    assert f"voxstack bench: 1 of 2 requests failed: {said}" in err.splitlines()


def test_a_server_that_cannot_even_warm_up_is_one_line(capsys, texts, speech_api):
    speech_api.answers = [(404, {}, b'{"error": {"message": "no voice jo"}}')]
    code, out, err = bench(capsys, "jo", "--url", speech_api.url, "--texts", texts)
    assert (code, out) == (1, "")
    assert err == f"VoxstackError: {speech_api.url}: 404 Not Found: no voice jo\n"


# Wrong requests


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing argument 'VOICE…'"),
        (["tone"], "tone: speaks x-tone, and the built-in texts are English; give --texts FILE"),
        (["tune"], "no voice 'tune'; did you mean 'tone'?"),
        (["tone-vocoder"], "it is a vocoder, no voice"),
        (["tone", "--streams", "1,0"], "got '1,0', want whole numbers from 1, with commas between"),
        (["tone", "--streams", "1,,2"], "want whole numbers from 1"),
        (["tone", "--ramp-s", "inf"], "got inf, want a finite number"),
        (["tone", "--buffer-ms", "nan"], "got nan, want a finite number"),
        (["tone", "--rounds", "0"], "0 is not in the range x>=1"),
        (["tone", "--find", "--streams", "2"], "--find tries numbers of streams itself"),
        (["tone", "--find", "--pace", "fast"], "--find tries numbers of streams itself"),
        (["tone", "--plot", "plot.png"], "want a name that ends in .svg"),
        (["tone", "--plot", "no/such/plot.svg"], "no/such/plot.svg: cannot be written"),
        (["tone", "--api-key-env", "KEY"], "give --url"),
        (["tone", "--url", "localhost:80"], "url: got 'localhost:80', want http://HOST"),
        (["tone", "--url", "http://localhost", "--profile", "fast"], "with --url they run there"),
        (["tone", "--url", "http://localhost", "--api-key-env", "NO_SUCH_KEY"], "the variable is not set"),
        (["tone", "--texts", "none.txt"], "none.txt: cannot be read"),
    ],
)
def test_a_wrong_request_is_one_line(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_addon_that_speaks_only_ids_cannot_be_measured(capsys, tmp_path, texts):
    folder = tmp_path / "mute"
    shutil.copytree(ADDONS / "tone", folder)
    shutil.copytree(ADDONS / "tone-vocoder", tmp_path / "tone-vocoder")
    manifest = folder / "addon.json"
    config = json.loads(manifest.read_text())
    del config["text"]
    manifest.write_text(json.dumps(config))
    code, out, err = bench(capsys, folder, "--texts", texts)
    assert (code, out) == (2, "")
    assert err == "RequestError: tone: its addon has no 'text', so it speaks ids, not text\n"
