"""Diagnostics in a voice's stack: what is heard stays the same, what they notice reaches who should know."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import make_tone
import make_tone_ab
import voxstack
from voxstack.cli.main import main
from voxstack.core.errors import NetError
from voxstack.core.events import TAP, listening
from voxstack.stack.addon import seal

pytestmark = pytest.mark.end_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"
ADDONS = EXAMPLES / "addons"
TEXT = "Abc def. Ghi jkl."


@pytest.fixture
def addons(tmp_path, monkeypatch):
    """Return a folder with copies of the toy addons, to be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ADDONS, tmp_path / "addons")
    return tmp_path / "addons"


def rewrite(folder, **changes):
    config = json.loads((folder / "addon.json").read_text())
    (folder / "addon.json").write_text(json.dumps(config | changes))
    seal(folder)


def look_everywhere(addons, out):
    """Put every diagnostic into the voice and its vocoder."""
    looking = [
        {"type": "AlignmentPlot", "path": str(out)},
        {"type": "Probe"},
        {"type": "Tap", "name": "hidden", "path": str(out), "ports": ["hidden", "durations"]},
        {"type": "Timer"},
    ]
    below = [{"type": "MelPlot", "path": str(out)}, {"type": "Tap"}, {"type": "Timer", "name": "mels"}]
    stack = [
        {
            "type": "StreamablePipeline",
            "sequence_block": {"type": "Encoders"},
            "streamable_block": {
                "type": "StreamableStack",
                "stack": [{"type": "Upsampler"}, *looking, {"type": "Decoder"}, *below],
            },
        }
    ]
    rewrite(addons / "tone", stack=stack)
    heard = [{"type": "Tap", "name": "heard", "path": str(out)}, {"type": "Probe", "name": "heard"}]
    rewrite(addons / "tone-vocoder", stack=[{"type": "Vocoder"}, *heard])


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0
    return capsys.readouterr()


def test_what_is_heard_stays_the_same_to_the_bit(addons, tmp_path):
    plain = voxstack.load("tone", folders=[ADDONS]).say(TEXT)
    look_everywhere(addons, tmp_path / "out")
    looked = voxstack.load("tone", folders=[addons]).say(TEXT)
    assert looked.samples.tobytes() == plain.samples.tobytes()


def test_each_utterance_leaves_its_files(addons, tmp_path):
    look_everywhere(addons, tmp_path / "out")
    audio = voxstack.load("tone", folders=[addons]).say(TEXT)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        *(f"hidden-000{number}.{port}.npy" for number in (0, 1) for port in ("durations", "hidden")),
        *(f"{name}-000{number}.png" for number in (0, 1) for name in ("alignment", "mel")),
        *(f"heard-000{number}.samples.wav" for number in (0, 1)),
    }
    first, _ = soundfile.read(tmp_path / "out" / "heard-0000.samples.wav", dtype="float32")
    assert first.tobytes() == audio.samples[: len(first)].tobytes()
    hidden = np.load(tmp_path / "out" / "hidden-0000.hidden.npy")
    assert len(hidden) == np.load(tmp_path / "out" / "hidden-0000.durations.npy").sum()


def test_say_tells_findings_and_no_data(addons, tmp_path, capsys):
    look_everywhere(addons, tmp_path / "out")
    printed, err = run(capsys, "say", "abc", "--voice", "tone", "--addons", addons, "--json")
    events = json.loads(printed)["events"]
    assert [event["kind"] for event in events] == ["probe", "timer", "timer", "probe"]
    assert {event["audio_s"] for event in events} == {0.21}
    assert events[0]["ports"]["hidden"]["steps"] == 21
    assert events[3]["ports"]["samples"]["clipped"] == 0
    told = err.splitlines()
    assert told[0] == "voxstack: probe at 0.21 s: hidden 21 × 12, 0 to 0.5, mean 0.0417"
    assert told[3].startswith("voxstack: probe at 0.21 s: heard: samples 3360, -0.5 to 0.5, mean ")
    assert len(told) == 4


def test_trace_and_compare_tell_no_data_either(addons, tmp_path, capsys):
    look_everywhere(addons, tmp_path / "out")
    out = tmp_path / "trace.json"
    printed, _ = run(capsys, "trace", "tone", "abc", "--addons", addons, "--out", out, "--json")
    kinds = [event["kind"] for event in json.loads(printed)["events"]]
    assert kinds == ["probe", "timer", "timer", "probe"]
    assert '"tap' not in out.read_text()


def test_a_voice_that_is_closed_early_leaves_no_picture(addons, tmp_path):
    look_everywhere(addons, tmp_path / "out")
    chunks = voxstack.load("tone", folders=[addons]).chunks("abcdef" * 20)
    first = next(chunks)
    chunks.close()
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"hidden-0000.durations.npy", "hidden-0000.hidden.npy", "heard-0000.samples.wav"}
    copied, _ = soundfile.read(tmp_path / "out" / "heard-0000.samples.wav", dtype="float32")
    assert copied.tobytes() == first.samples.tobytes()


def test_what_a_probe_saw_stands_in_the_error_that_nobody_shall_hear_it(addons):
    stack = make_tone.STACK.copy()
    inner = stack[0] | {
        "streamable_block": {
            "type": "StreamableStack",
            "stack": [{"type": "Upsampler"}, {"type": "Decoder"}, {"type": "Probe", "name": "mels"}],
        }
    }
    rewrite(addons / "tone", stack=[inner])
    voice = voxstack.load("tone", folders=[addons])
    (decoder,) = (net for name, net in voice.loaded.nets.items() if name == "decoder")
    assert decoder.run({"hidden": np.full((9, 12), np.nan, np.float32)})["mel"].shape == (9, 12)
    with pytest.MonkeyPatch.context() as patch:
        plain = type(decoder).run
        patch.setattr(
            type(decoder),
            "run",
            lambda net, tensors: {
                name: np.full_like(values, np.nan) if name == "mel" else values
                for name, values in plain(net, tensors).items()
            },
        )
        with pytest.raises(NetError) as caught:
            voice.say("abc")
    assert str(caught.value) == (
        "the stack gave samples that are not finite; nobody should hear them; mels: mel is nan from step 0 on"
    )


# Two decoders in one stack


def example():
    spec = importlib.util.spec_from_file_location("ab_decoders", EXAMPLES / "ab_decoders.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def smoothed(text, kernel):
    """The decoders by hand: letter n is band n at 0.5 for so many frames, smoothed over five."""
    rows = [
        np.eye(12)[ord(letter) - ord("a")] * 0.5 for letter in text for _ in range(6 + (ord(letter) - 97) % 3)
    ]
    padded = np.pad(np.array(rows), [(2, 2), (0, 0)])
    return sum(weight * padded[shift : shift + len(rows)] for shift, weight in enumerate(kernel))


def test_the_voice_with_two_decoders_speaks_with_the_first():
    plain = voxstack.load("tone", folders=[ADDONS]).say(TEXT)
    both = voxstack.load("tone-ab", folders=[ADDONS]).say(TEXT)
    assert both.samples.tobytes() == plain.samples.tobytes()


def test_both_taps_hand_out_the_mels_of_their_decoders():
    heard = []
    voice = voxstack.load("tone-ab", folders=[ADDONS])
    with listening(heard.append):
        audio = voice.say("abcab")
    mels = {
        name: np.concatenate([e.values["tensors"]["mel"] for e in heard if e.kind == TAP and e.where == name])
        for name in ("decoder", "coarse")
    }
    np.testing.assert_allclose(mels["decoder"], smoothed("abcab", make_tone.SMOOTH), atol=1e-6)
    np.testing.assert_allclose(mels["coarse"], smoothed("abcab", make_tone_ab.COARSE), atol=1e-6)
    (event,) = audio.events
    most = np.abs(mels["decoder"].astype(float) - mels["coarse"]).max()
    assert event.values["ports"]["mel"]["most"] == pytest.approx(most, abs=1e-12)


def test_the_program_reports_how_near_two_decoders_are():
    assert example().compared("Abc. Ab").splitlines() == [
        "0.46 s of audio, spoken with 'decoder'",
        "utterance 0: coarse: mel differs in 21 of 21 steps, from step 0 on, by at most 0.03125, SNR 24.5 dB",
        "  most in frame 2, band 0: 0.5000 and 0.5312",
        "utterance 1: coarse: mel differs in 13 of 13 steps, from step 0 on, by at most 0.03125, SNR 24.7 dB",
        "  most in frame 2, band 0: 0.5000 and 0.5312",
    ]
