"""Blocks behind a voice's last one change its sound: asked for, or by the deployment file."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import ConfigError, WiringError
from voxstack.engine.library import find_addon
from voxstack.engine.loading import load_stack
from voxstack.engine.nets import Running
from voxstack.stack.deployment import load_deployment
from voxstack.stack.faults import Faults
from voxstack.testing.conformance import check_addon

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TEXT = "bad cab"
QUIET = {"type": "Limiter", "gain_db": -6}
FAINT = {"type": "Limiter", "gain_db": -20}
QUIET_SHARE, FAINT_SHARE = 10 ** (-6 / 20), 10 ** (-20 / 20)


def said(deployment=None, **options) -> np.ndarray:
    return voxstack.load("tone", folders=[ADDONS], deployment=deployment, **options).say(TEXT).samples


def share(samples: np.ndarray) -> float:
    return float(np.abs(samples).max() / np.abs(said()).max())


@pytest.fixture
def deployment(tmp_path: Path):
    def write(config) -> Path:
        path = tmp_path / "deployment.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    return write


def test_effects_stand_behind_the_vocoder():
    assert share(said(effects=[QUIET])) == pytest.approx(QUIET_SHARE)
    assert share(said(effects=[QUIET, FAINT])) == pytest.approx(QUIET_SHARE * FAINT_SHARE)


def test_a_stream_has_them_too():
    voice = voxstack.load("tone", folders=[ADDONS], effects=[QUIET])
    with voice.stream(TEXT) as speech:
        chunks = [chunk.samples for chunk in speech]
    np.testing.assert_array_equal(np.concatenate(chunks), voice.say(TEXT).samples)


def test_the_deployment_file_says_them_for_all_voices_or_for_one(deployment):
    assert share(said(deployment({"effects": [QUIET]}))) == pytest.approx(QUIET_SHARE)
    of_one = {"effects": [QUIET], "addons": {"tone": {"effects": [FAINT]}}}
    assert share(said(deployment(of_one))) == pytest.approx(FAINT_SHARE)
    assert share(said(deployment({"effects": [QUIET], "addons": {"tone": {"effects": []}}}))) == 1
    assert share(said(deployment({"effects": [QUIET], "addons": {"other": {"effects": []}}}))) < 1


def test_who_asks_for_others_or_for_none_gets_those(deployment):
    quiet = deployment({"effects": [QUIET]})
    assert share(said(quiet, effects=[FAINT])) == pytest.approx(FAINT_SHARE)
    assert share(said(quiet, effects=[])) == 1


def test_the_example_speaks_through_a_telephone():
    """Of the tones of the toy voice, 300 Hz stands at the edge of the band and 800 Hz in its midst."""
    pytest.importorskip("scipy", reason="scipy is not installed: pip install voxstack[effects]")
    spec = importlib.util.spec_from_file_location("telephone", ADDONS.parent / "telephone.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    low, middle = (example.on_the_line(letter * 8) for letter in "af")
    plain = voxstack.load("tone", folders=[ADDONS])

    assert low.sample_rate == middle.sample_rate == 8000
    assert low.duration_s == pytest.approx(plain.say("a" * 8).duration_s, abs=1 / 8000)
    lost_db = [
        20 * np.log10(np.std(heard.samples) / np.std(plain.say(letter * 8).samples))
        for letter, heard in (("a", low), ("f", middle))
    ]
    assert lost_db[0] == pytest.approx(-3, abs=0.5)
    assert lost_db[1] == pytest.approx(0, abs=0.2)


def test_an_addon_is_checked_without_them(deployment):
    running = Running(deployment=load_deployment(deployment({"effects": [QUIET]})))
    findings = {found.name: found for found in check_addon("tone", running=running, folders=[ADDONS])}
    assert findings["golden"].is_good


def test_a_wrong_effect_is_refused_with_its_place():
    with pytest.raises(ConfigError) as caught:
        said(effects=[QUIET, {"type": "Limter"}])
    assert str(caught.value) == "effects: $.stack[1].type: no block 'Limter'; did you mean 'Limiter'?"


def test_a_block_that_runs_a_net_is_no_effect():
    with pytest.raises(ConfigError) as caught:
        said(effects=[{"type": "Decoder"}])
    assert str(caught.value) == (
        "effects: $.stack[0]: it runs a net of role 'decoder', and here are none: put it into the stack of "
        "an addon that has one; effects work on samples"
    )


def test_an_effect_of_the_deployment_file_is_refused_by_file_and_key(deployment):
    file = deployment({"effects": [QUIET, {"type": "Gain", "gain": 3}]})
    with pytest.raises(ConfigError) as caught:
        said(file)
    known = "unknown key 'gain'; did you mean 'gain_db'?"
    assert str(caught.value) == f"{file}: $.effects[1].gain: {known}"
    faults = Faults()
    load_stack(find_addon("tone", [ADDONS]), running=Running(None, load_deployment(file)), faults=faults)
    assert [fault.message for fault in faults.found] == [f"{file}: $.effects[1].gain: {known}"]
    deployment({"addons": {"tone": {"effects": [{"type": "Limter"}]}}})
    with pytest.raises(ConfigError) as caught:
        said(file)
    assert str(caught.value).startswith(f"{file}: $.addons.tone.effects[0].type: no block 'Limter'")


def test_what_reads_nothing_of_the_voice_is_no_effect():
    with pytest.raises(WiringError, match=r"^effects: \$\.stack\[0\]"):
        said(effects=[{"type": "Addon", "name": "tone-attention"}])
