"""Telemetry costs nothing unless it is asked for, and is asked for by name; the log needs no package."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.events import Event, report
from voxstack.engine.lines import LOGGER

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


def load(name="tone", **options):
    return voxstack.load(name, folders=[ADDONS], **options)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("VOXSTACK_TELEMETRY", raising=False)


@pytest.fixture
def no_package(monkeypatch):
    """An environment without opentelemetry-api."""
    for name in ("context", "trace", "metrics"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.{name}", None)


def kinds_of(voice):
    return {type(net).__name__ for net in voice.loaded.nets.values()} | {type(voice._block).__name__}


def lines(caplog):
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "voxstack"]


# Off


@pytest.mark.parametrize("off", [None, False, "off"])
def test_a_voice_that_nobody_observes_has_nothing_around_it(off):
    voice = load(telemetry=off)
    assert voice._block is voice.loaded.block
    assert not any("Observed" in kind for kind in kinds_of(voice))


def test_nothing_is_imported_when_it_is_off():
    code = (
        "import sys, voxstack; "
        f"voxstack.load('tone', folders=[{str(ADDONS)!r}]).say('abc'); "
        "print([m for m in sys.modules if m.startswith('opentelemetry') or m in "
        "('voxstack.engine.observing', 'voxstack.engine.pieces', 'voxstack.engine.signals')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


# On, and by whom


def test_the_argument_is_over_the_environment_and_that_over_the_deployment_file(
    monkeypatch, tmp_path, no_package
):
    file = tmp_path / "deployment.toml"
    file.write_text('telemetry = "logs"\n')
    assert "ObservedStack" in kinds_of(load(deployment=file))
    monkeypatch.setenv("VOXSTACK_TELEMETRY", "off")
    assert "ObservedStack" not in kinds_of(load(deployment=file))
    assert "ObservedStack" in kinds_of(load(deployment=file, telemetry="logs"))


@pytest.mark.parametrize("asked", ["on", True, voxstack.Telemetry()])
def test_without_the_package_the_error_names_the_extra(asked, no_package):
    with pytest.raises(ConfigError) as caught:
        load(telemetry=asked)
    assert str(caught.value) == (
        "telemetry: spans and metrics need the package opentelemetry-api; "
        "install it with: pip install 'voxstack[telemetry]', or ask for 'logs' alone"
    )


def test_a_word_that_is_none_is_refused_where_it_stands(monkeypatch, tmp_path):
    with pytest.raises(RequestError) as caught:
        load(telemetry="log")
    assert str(caught.value) == "telemetry: got 'log'; did you mean 'logs'?"
    monkeypatch.setenv("VOXSTACK_TELEMETRY", "yes")
    with pytest.raises(RequestError) as caught:
        load()
    assert str(caught.value) == "$VOXSTACK_TELEMETRY: got 'yes'; known: logs, off, on"
    file = tmp_path / "deployment.toml"
    file.write_text("telemetry = true\n")
    with pytest.raises(ConfigError, match=r"\$\.telemetry"):
        load(deployment=file)


# The log


def test_nothing_is_written_until_a_program_configures_logging():
    code = (
        "import voxstack; "
        f"voxstack.load('tone-attention', folders=[{str(ADDONS)!r}], telemetry='logs').say('abc', stuck=1)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in LOGGER.handlers)


def test_a_request_is_one_line_and_a_warning_another(caplog, no_package):
    caplog.set_level(logging.INFO, "voxstack")
    load("tone-attention", telemetry="logs").say("Abc. Abcdef", stuck=4, seed=3)
    warning, request = lines(caplog)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert {key: value for key, value in warning.items() if key not in ("time", "request")} == {
        "level": "WARNING",
        "event": "attention.stall",
        "voice": "tone-attention",
        "profile": "cpu",
        "utterance": 1,
        "where": "step",
        "step": 133,
        "value.symbol": 4,
        "value.ended": True,
    }
    assert request["event"] == "request"
    assert (request["outcome"], request["utterances"], request["seed"]) == ("done", 2, 3)
    assert request["request"] == warning["request"]
    assert request["time"].endswith("+00:00")


def test_a_line_is_json_whatever_a_block_reports(caplog, no_package):
    caplog.set_level(logging.INFO, "voxstack")
    values = {"share": float("nan"), "most": np.float64(2), "who": "text", "many": [1]}

    class Noticing:
        def net(self, name, net):
            return net

        def block(self, path, name, block):
            if name != "Encoders":
                return block
            report_once = Event("odd", "net", np.int64(3), "line", values)

            class Block:
                def __getattr__(self, name):
                    return getattr(block, name)

                def run(self, tensors):
                    report(report_once)
                    return block.run(tensors)

            return Block()

    load(telemetry="logs", watch=Noticing()).say("abc")
    odd = lines(caplog)[0]
    assert (odd["event"], odd["step"], odd["value.most"]) == ("odd", 3, 2.0)
    assert not {"value.share", "value.who", "value.many", "text"} & set(odd)


def test_a_debugger_sees_utterances_chunks_and_nets_of_each_request_apart(caplog, no_package):
    caplog.set_level(logging.DEBUG, "voxstack")
    voice = load(telemetry="logs")
    voice.say("abc")
    voice.say("abc")
    first, second = [line["request"] for line in lines(caplog) if line["event"] == "request"]
    assert first != second
    for request in (first, second):
        events = [line["event"] for line in lines(caplog) if line["request"] == request]
        assert set(events) == {"request", "utterance", "chunk", "net"}


def test_an_error_is_a_line_with_its_message_unless_that_may_quote_the_text(caplog, no_package):
    caplog.set_level(logging.INFO, "voxstack")
    voice = load(telemetry="logs")
    with pytest.raises(RequestError):
        voice.say("abc", volume=1)
    with pytest.raises(RequestError):
        voice.say("...")
    for line in lines(caplog):
        assert (line["level"], line["outcome"], line["error_type"]) == ("WARNING", "error", "RequestError")
        assert "error" not in line
    caplog.clear()
    with pytest.raises(RequestError):
        load(telemetry=voxstack.Telemetry(has_signals=False, has_texts=True)).say("...")
    [line] = lines(caplog)
    assert line["text"] == "..."
    assert line["error"] == "text: nothing to speak: got only '...'; send at least one letter or number"


def test_an_error_of_a_text_that_is_being_written_is_the_callers_and_is_told(caplog, no_package):
    caplog.set_level(logging.INFO, "voxstack")

    def broken():
        yield "Abc. "
        raise OSError("the writer left")

    with pytest.raises(OSError, match=r"^the writer left$"):
        list(load(telemetry="logs").chunks(broken()))
    [line] = lines(caplog)
    assert (line["level"], line["error_type"], line["characters"]) == ("ERROR", "OSError", 5)


@pytest.mark.parametrize("text", [None, 5, b"abc", ["abc", 5], [], ""])
def test_a_text_that_cannot_be_spoken_is_refused_as_without_telemetry(text):
    said = []
    for telemetry in ("off", "logs"):
        with pytest.raises(RequestError) as caught:
            list(load(telemetry=telemetry).chunks(text))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_function_gets_what_the_metrics_count_without_any_package(tone, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    counted = []
    telemetry = voxstack.Telemetry(has_signals=False, measure=lambda *told: counted.append(told))
    list(voxstack.load(tone("one"), telemetry=telemetry).stream("abc"))
    names = [name for name, _, _ in counted]
    assert names.count("voxstack.first_audio") == 1
    assert names.count("voxstack.active_requests") == 2
    [(_, value, facts)] = [told for told in counted if told[0] == "voxstack.requests"]
    assert (value, facts["voice"], facts["outcome"]) == (1, "tone", "done")
