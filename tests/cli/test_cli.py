"""The command line does what its help says, and refuses in one line."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import make_tone
from voxstack.cli import options
from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


def run(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def say(capsys, *words):
    return run(capsys, "say", *words, "--addons", ADDONS)


def test_say_writes_a_file_and_reports_in_one_line_each(capsys, tmp_path):
    out = tmp_path / "tones.wav"
    code, printed, err = say(capsys, "abc def", "--voice", "tone", "--out", out)
    assert (code, err) == (0, "")
    assert [line.split("  ")[0] for line in printed.splitlines()] == [
        "voice",
        "first audio",
        "real-time factor",
        "written",
    ]
    assert soundfile.info(out).samplerate == 16_000


def test_say_json_is_one_object_with_units_in_its_names(capsys, tmp_path):
    out = tmp_path / "tones.flac"
    code, printed, _ = say(capsys, "abc", "--voice", "tone", "--out", out, "--seed", "5", "--json")
    report = json.loads(printed)
    assert code == 0
    assert set(report) == {
        "voice",
        "profile",
        "runtime",
        "text",
        "audio_s",
        "sample_rate",
        "first_audio_ms",
        "wall_s",
        "rtf",
        "chunks",
        "seed",
        "out",
        "marks",
        "events",
    }
    assert (report["voice"], report["text"], report["seed"]) == ("tone", "abc", 5)
    assert report["events"] == []
    assert report["audio_s"] == pytest.approx(soundfile.info(out).duration, abs=0.01)


@pytest.mark.parametrize("effects", ["Limiter,Limiter", '[{"type": "Limiter", "gain_db": -20}]', "file"])
def test_say_changes_the_sound_by_effects(capsys, tmp_path, effects):
    file = tmp_path / "effects.json"
    file.write_text('[{"type": "Limiter", "gain_db": -20}]', encoding="utf-8")
    chosen = str(file) if effects == "file" else effects
    for out, more in (("plain.wav", []), ("changed.wav", ["--effects", chosen])):
        assert say(capsys, "abc", "--voice", "tone", "--out", tmp_path / out, *more)[0] == 0
    plain, changed = (soundfile.read(tmp_path / name)[0] for name in ("plain.wav", "changed.wav"))
    wanted = 1 if effects == "Limiter,Limiter" else 0.1
    assert np.abs(changed).max() / np.abs(plain).max() == pytest.approx(wanted, abs=1e-3)


def test_say_takes_a_path_a_file_and_standard_input(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc")
    sizes = []
    for words, given in (
        (["abc"], None),
        (["--file", str(text)], None),
        ([], b"abc"),
        (["-"], b"abc"),
    ):
        out = tmp_path / "out.wav"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "voxstack",
                "say",
                *words,
                "--voice",
                str(ADDONS / "tone"),
                "--addons",
                str(ADDONS),
                "--out",
                str(out),
            ],
            input=given,
            check=True,
            capture_output=True,
        )
        sizes.append(soundfile.info(out).frames)
    assert len(set(sizes)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["abc", "--voice", "tone"], "nobody would hear it: give --out FILE, --play, --marks FILE or --json"),
        (["abc", "--voice", "tune", "--json"], "RequestError: voice: no voice 'tune'; did you mean 'tone'?"),
        (
            ["abc", "--voice", "tone", "--json", "--speed", "7"],
            "RequestError: controls.speed: got 7, want 0.5 to 2",
        ),
        (["abc", "--voice", "tone", "--json", "--control", "x"], "got 'x', want NAME=VALUE"),
        (["", "--voice", "tone", "--json"], "RequestError: text:"),
        (["abc", "--voice", "tone", "--out", "no/such/folder.wav"], "RequestError: no/such/folder.wav:"),
        (["abc", "--voice", "tone", "--out", "a.xyz"], "RequestError: a.xyz: cannot write '.xyz' files"),
        (["--file", "missing.txt", "--voice", "tone", "--json"], "RequestError: missing.txt:"),
        (["abc", "--voise", "tone"], "No such option '--voise'"),
        (
            ["abc", "--voice", "tone", "--json", "--effects", "Limter"],
            "ConfigError: effects: $.stack[0].type: no block 'Limter'; did you mean 'Limiter'?",
        ),
        (["abc", "--voice", "tone", "--json", "--effects", "[1"], "ConfigError: --effects: not JSON:"),
        (
            ["abc", "--voice", "tone", "--json", "--effects", "[1]"],
            'RequestError: --effects: got no list of blocks, want [{"type": …}, …]',
        ),
        (
            ["abc", "--voice", "tone", "--json", "--effects", "no.json"],
            "RequestError: no.json: cannot be read",
        ),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(capsys, words, message):
    code, printed, err = say(capsys, *words)
    assert code == 2
    assert printed == ""
    assert message in err
    assert len(err.splitlines()) == 1


STALL = "the attention read nothing new for 1.0 s, after 3 of 6 symbols; the utterance was ended"  # a second


def test_say_tells_in_one_line_that_a_voice_lost_its_way(capsys, tmp_path):
    out = tmp_path / "tones.wav"
    stuck = ["abcdef", "--voice", "tone-attention", "--control", "stuck=2", "--out", out]
    code, printed, err = say(capsys, *stuck)
    assert (code, err) == (0, f"voxstack: attention.stall at 1.17 s: {STALL}\n")
    assert printed.startswith("voice             tone-attention")
    assert soundfile.info(out).frames > 0


def test_say_json_lists_what_a_voice_noticed(capsys):
    code, printed, err = say(capsys, "abcdef", "--voice", "tone-attention", "--control", "stuck=2", "--json")
    report = json.loads(printed)
    assert (code, len(err.splitlines())) == (0, 1)
    assert report["events"] == [
        {
            "kind": "attention.stall",
            "net": "step",
            "frame": 117,
            "utterance": 0,
            "audio_s": 1.17,
            "text": STALL,
            "symbol": 2,
            "ended": True,
        }
    ]
    assert report["events"][0]["audio_s"] <= report["audio_s"] < 2


def test_every_command_tells_an_event_in_the_same_words(capsys, tmp_path):
    stuck = ["Abc. Abcdef", "--control", "stuck=4", "--json"]
    _, said, _ = say(capsys, "--voice", "tone-attention", *stuck)
    _, traced, _ = run(
        capsys, "trace", "tone-attention", *stuck, "--out", tmp_path / "t.json", "--addons", ADDONS
    )
    _, compared, _ = run(
        capsys, "compare", "tone-attention", *stuck, "--out", tmp_path / "c.html", "--addons", ADDONS
    )
    [event] = json.loads(said)["events"]
    assert list(event)[:6] == ["kind", "net", "frame", "utterance", "audio_s", "text"]
    assert event["utterance"] == 1
    for other in (json.loads(traced)["events"], json.loads(compared)["voices"][0]["events"]):
        assert [list(row) for row in other] == [list(event)]
        # `say` does not look into the stack: it takes the zeros before an utterance for its pause.
        assert other[0] | {"audio_s": None} == event | {"audio_s": None}
        assert other[0]["audio_s"] == pytest.approx(event["audio_s"], abs=0.01)


def test_no_audio_is_no_reason_to_fail(capsys, tmp_path, monkeypatch):
    from voxstack.engine.voice import Voice

    monkeypatch.setattr(Voice, "answer", lambda *asked, **how: (chunk for chunk in ()))
    code, printed, err = say(capsys, "abc", "--voice", "tone", "--out", tmp_path / "t.wav")
    assert (code, err) == (0, "")
    assert "real-time factor  - (0.0 s of audio in " in printed


def test_a_voice_that_reads_along_says_nothing_on_standard_error(capsys):
    code, printed, err = say(capsys, "abcdef", "--voice", "tone-attention", "--json")
    assert (code, err) == (0, "")
    assert json.loads(printed)["events"] == []


@pytest.fixture
def soft(tmp_path, monkeypatch):
    """Return the path of a vocoder for the tone voices that is half as loud as their own."""
    monkeypatch.setattr(make_tone, "BLUR", make_tone.BLUR / 2)
    return make_tone.make_tone_vocoder(tmp_path / "soft", name="soft")


@pytest.mark.parametrize("voice", ["tone", "tone-attention"])
def test_say_speaks_through_another_vocoder(capsys, tmp_path, soft, voice):
    heard = []
    for words in ([], ["--vocoder", soft], ["--vocoder", "soft", "--addons", tmp_path]):
        out = tmp_path / "out.flac"
        assert say(capsys, "abcdef", "--voice", voice, "--out", out, *words)[0] == 0
        heard.append(soundfile.read(out)[0])
    own, by_path, by_name = heard
    np.testing.assert_allclose(by_path, own / 2, atol=1e-4)
    np.testing.assert_array_equal(by_name, by_path)


def test_check_and_inspect_take_another_vocoder(capsys, soft):
    code, printed, _ = run(capsys, "inspect", "tone", "--addons", ADDONS, "--vocoder", soft)
    assert code == 0
    assert "soft" in printed
    code, printed, _ = run(capsys, "check", "tone", "--addons", ADDONS, "--vocoder", soft)
    assert code == 1
    assert "BAD   golden" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vocoder", "sotf"], "RequestError: vocoder: no vocoder 'sotf', which 'tone' wants; did you mean"),
        (["--vocoder", ""], "RequestError: vocoder: got an empty name, want a vocoder's name or the path"),
        (["--vocoder", "tone"], "WiringError: tone: 'tone' is no vocoder: it does not take mels"),
        (
            ["--pitch", "1.2"],
            "RequestError: controls: voice 'tone' has no control 'pitch'; known: seed, speed",
        ),
        (["--energy", "2"], "RequestError: controls: voice 'tone' has no control 'energy'"),
        (["--speed", "2", "--control", "speed=1"], "'speed' is given twice"),
        (["--pitch", "2", "--control", "pitch=1"], "'pitch' is given twice"),
        (["--pitch", "high"], "'high' is not a valid float"),
    ],
)
def test_a_vocoder_or_control_that_the_voice_cannot_use_is_one_line(capsys, tmp_path, words, message):
    make_tone.make_tone_vocoder(tmp_path / "soft", name="soft")
    code, printed, err = say(capsys, "abc", "--voice", "tone", "--json", *words, "--addons", tmp_path)
    assert (code, printed) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_pitch_and_energy_are_the_controls_of_their_names():
    given = {"pitch": 1.5, "energy": 0.5, "speed": None, "others": ["style=2"]}
    assert options.chosen_controls(given) == {"pitch": 1.5, "energy": 0.5, "style": 2}


def test_voices_lists_good_and_broken_addons(capsys, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "addon.json").write_text("{")
    code, printed, err = run(capsys, "voices", "--addons", ADDONS, "--addons", tmp_path)
    assert code == 0
    assert "tone-vocoder" in printed
    assert err.startswith(f"not used: {broken}")


def test_inspect_shows_every_block_and_draws_it(capsys, tmp_path):
    graph = tmp_path / "tone.svg"
    code, printed, _ = run(capsys, "inspect", "tone", "--addons", ADDONS, "--graph", graph)
    assert code == 0
    for block in ("Encoders", "Upsampler", "Decoder", "Vocoder"):
        assert block in printed
        assert block in graph.read_text()


def test_check_says_of_each_check_how_it_went(capsys):
    code, printed, _ = run(capsys, "check", "tone", "--addons", ADDONS)
    assert [line.split()[:2] for line in printed.splitlines()] == [
        ["good", "files"],
        ["good", "wiring"],
        ["good", "text"],
        ["good", "law"],
        ["good", "golden"],
    ]
    assert code == 0


def test_a_vocoder_alone_is_checked_on_mels_but_does_not_speak(capsys):
    code, printed, _ = run(capsys, "check", "tone-vocoder", "--addons", ADDONS)
    assert code == 0
    assert [line.split()[:2] for line in printed.splitlines()] == [
        ["good", "files"],
        ["good", "wiring"],
        ["good", "law"],
    ]
    code, _, err = say(capsys, "abc", "--voice", "tone-vocoder", "--json")
    assert code == 2
    assert err == "RequestError: tone-vocoder: it is a vocoder, no voice; name a voice that uses it\n"


def test_check_fails_on_a_changed_file(capsys, tmp_path):
    import shutil

    shutil.copytree(ADDONS / "tone", tmp_path / "tone")
    net = tmp_path / "tone" / "nets" / "decoder.onnx"
    net.write_bytes(net.read_bytes() + b"\0")
    code, printed, _ = run(capsys, "check", tmp_path / "tone", "--addons", ADDONS)
    assert code == 1
    assert "BAD   files" in printed


def test_pack_writes_a_file_that_speaks(capsys, tmp_path):
    assert run(capsys, "pack", ADDONS / "tone", "--out", tmp_path)[0] == 0
    packed = tmp_path / "tone-1.0.0.voxaddon"
    code, _, _ = say(capsys, "abc", "--voice", packed, "--json")
    assert code == 0


def test_pack_and_graph_refuse_names_that_promise_another_format(capsys, tmp_path):
    code, _, err = run(capsys, "pack", ADDONS / "tone", "--out", tmp_path / "tone.zip")
    assert code == 2
    assert "ends in .voxaddon" in err
    code, _, err = run(capsys, "inspect", "tone", "--addons", ADDONS, "--graph", tmp_path / "tone.png")
    assert code == 2
    assert "ends in .svg" in err
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_refuses_is_one_line_and_exit_code_1(capsys, tmp_path):
    graph = tmp_path / "no" / "tone.svg"
    code, _, err = run(capsys, "inspect", "tone", "--addons", ADDONS, "--graph", graph)
    assert (code, err) == (1, f"{graph}: No such file or directory\n")


def test_a_terminated_command_takes_its_half_written_file_away(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcdefghijkl " * 50_000)
    command = [sys.executable, "-m", "voxstack", "say", "--file", str(text), "--voice", "tone"]
    command += ["--addons", str(ADDONS), "--out", str(tmp_path / "tones.wav")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".tones*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    # Where the interrupt meets an import, Python ends by the signal itself; a shell shows 130 for both.
    assert process.wait(30) in (130, -signal.SIGINT)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_every_command_has_help(capsys):
    from voxstack.cli.main import COMMANDS

    for name in COMMANDS:
        code, printed, _ = run(capsys, name, "--help")
        assert code == 0
        assert "Usage: voxstack" in printed


def test_check_refuses_a_profile_that_nobody_knows_as_a_wrong_request(capsys):
    code, _, err = run(capsys, "check", "tone", "--addons", ADDONS, "--profile", "fixt")
    assert code == 2
    assert err == "ConfigError: tone: no profile 'fixt'; did you mean 'fixed'?\n"
