"""The compose file, the systemd unit and its variables confine the server, and name only what it knows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from voxstack.server.running import CUT_S
from voxstack.server.settings import PREFIX, ServerSettings, load_settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENVIRONMENT = DEPLOY / "voxstack.env.example"
PLACE = re.compile(
    r"(?:[\w-]+\.)+(?:io|com|org|net|dev)\b|https?://|\b(?!127\.0\.0\.1|0\.0\.0\.0)\d+(?:\.\d+){3}\b"
)


def settings_of(lines) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines)


def under(lines, head) -> list[str]:
    """Return the lines of a block, stripped, with its inner blocks."""
    at = next(at for at, line in enumerate(lines) if line.strip() == head)
    indent = len(lines[at]) - len(lines[at].lstrip())
    found = []
    for line in lines[at + 1 :]:
        if len(line) - len(line.lstrip()) <= indent:
            break
        found.append(line.strip())
    return found


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_no_file_names_a_registry_or_an_address(path):
    assert not PLACE.findall(path.read_text(encoding="utf-8"))


def test_the_compose_file_takes_every_privilege_away(compose):
    stripped = [line.strip() for line in compose]
    assert {"read_only: true", 'user: "10001:10001"', "init: true"} <= set(stripped)
    assert "    read_only: true" in compose  # of the service, not only of its volume
    assert under(compose, "cap_drop:") == ["- ALL"]
    assert under(compose, "security_opt:") == ["- no-new-privileges:true"]
    assert not [
        line for line in stripped if re.match(r"(privileged|cap_add|devices|network_mode|pid):", line)
    ]


def test_the_compose_file_writes_in_memory_alone(compose):
    assert [line.split(":")[0] for line in under(compose, "tmpfs:")] == ["- /tmp", "- /files"]
    assert all("size=" in line for line in under(compose, "tmpfs:"))
    volume = under(compose, "volumes:")
    assert {"target: /addons", "read_only: true", "create_host_path: false"} <= set(volume)


def test_the_compose_file_limits_what_the_server_takes(compose):
    for limit in (r"cpus: [\d.]+", r"mem_limit: \d+g", r"pids_limit: \d+"):
        assert any(re.fullmatch(limit, line.strip()) for line in compose), limit


def test_the_compose_file_gives_the_drain_its_time_and_reaches_this_machine_only(compose):
    told = settings_of(line.replace(": ", "=").replace('"', "") for line in under(compose, "environment:"))
    settings = load_settings(environment=told)
    [grace] = [line.split(": ")[1] for line in compose if "stop_grace_period" in line]
    assert int(grace.removesuffix("s")) > settings.drain_s + CUT_S
    assert under(compose, "ports:") == ['- "127.0.0.1:8000:8000"']


def test_the_compose_file_checks_health_as_the_image_does(compose, stages):
    [health] = [text for name, text in stages[-1] if name == "HEALTHCHECK"]
    command = health.split("CMD ")[1].replace("[", '["CMD", ')
    assert f"test: {command}" in under(compose, "healthcheck:")
    for flag, value in re.findall(r"--([\w-]+)=(\w+)", health):
        assert f"{flag.replace('-', '_')}: {value}" in under(compose, "healthcheck:")


def test_the_compose_file_is_yaml():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    told = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = told["services"]["voxstack"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["build"]["args"]["ESPEAK"] in ("yes", "no")


def test_the_unit_confines_the_server(unit):
    wanted = {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "RestrictNamespaces": "yes",
        "SystemCallArchitectures": "native",
        "CPUQuota": "200%",
    }
    assert {key: unit[key][-1] for key in wanted} == wanted
    assert "User" not in unit


def test_the_unit_gives_the_drain_its_time_and_does_not_repeat_a_wrong_setting(unit):
    settings = load_settings(environment=variables(unit))
    assert unit["KillSignal"] == ["SIGTERM"]
    assert settings.drain_s + CUT_S < int(unit["TimeoutStopSec"][0]) <= settings.drain_s + 10
    assert unit["RestartPreventExitStatus"] == ["2"]  # as the README says of exit codes


def test_what_is_killed_is_started_again(unit, compose):
    assert unit["Restart"] == ["on-failure"]  # a signal is a failure
    assert "    restart: unless-stopped" in compose


def variables(unit) -> dict[str, str]:
    return settings_of(word for value in unit["Environment"] for word in value.split())


def test_the_unit_reads_its_variables_and_says_where_addons_may_write(unit):
    assert unit["EnvironmentFile"] == ["-/etc/voxstack/voxstack.env"]
    assert variables(unit)["VOXSTACK_FILES"] == unit["WorkingDirectory"][0] == "%S/voxstack"
    assert unit["StateDirectory"] == ["voxstack"]
    assert variables(unit)["ORT_DISABLE_TELEMETRY"] == "1"
    assert unit["ExecStart"][0].split()[1:] == ["serve"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    text = (DEPLOY / "voxstack.service").read_text(encoding="utf-8")
    program = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)[0]
    copy = tmp_path / "voxstack.service"
    copy.write_text(text.replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_examples_variables_are_those_that_hold_anyway():
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    told = settings_of(line for line in lines if line and not line.startswith("#"))
    assert told
    assert load_settings(environment=told) == ServerSettings()


def test_every_variable_of_the_example_is_understood():
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    told = settings_of(line.removeprefix("#") for line in lines if re.match(rf"#?{PREFIX}", line))
    settings = load_settings(environment=told)
    assert {PREFIX + key.upper() for key in settings.model_fields_set} == set(told)
    assert dict(settings.aliases) == {"alloy": "joe", "nova": "joe"}
    assert (settings.watch, settings.memory_mb, settings.tls_key) == (True, 1024, "/etc/voxstack/tls.key")
