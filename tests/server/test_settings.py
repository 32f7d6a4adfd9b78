"""Flags say more than the environment, and that more than the file; what is wrong is told with its place."""

import pytest

from voxstack.core.errors import ConfigError, RequestError
from voxstack.server.settings import ServerSettings, check_certificate, load_settings

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text('port = 1\nhost = "a"\nvoices = ["joe"]\nwatch = true\n[aliases]\nalloy = "joe"\n')
    return path


def test_nothing_said_is_the_defaults():
    assert load_settings(environment={}) == ServerSettings()
    assert ServerSettings().host == "127.0.0.1"


def test_flags_are_over_the_environment_and_that_is_over_the_file(file):
    environment = {"VOXSTACK_SERVE_PORT": "2", "VOXSTACK_SERVE_HOST": "b", "OTHER": "x"}
    found = load_settings(file, {"port": 3}, environment)
    assert (found.port, found.host, found.voices, found.watch) == (3, "b", ("joe",), True)
    assert found.aliases == {"alloy": "joe"}


def test_the_environment_holds_numbers_lists_names_and_nothing():
    found = load_settings(
        environment={
            "VOXSTACK_SERVE_VOICES": "joe, ann",
            "VOXSTACK_SERVE_ADDONS": "x:y",
            "VOXSTACK_SERVE_ALIASES": "alloy=joe,echo=ann",
            "VOXSTACK_SERVE_WATCH": "true",
            "VOXSTACK_SERVE_DRAIN_S": "2.5",
            "VOXSTACK_SERVE_MEMORY_MB": "12",
        }
    )
    assert found.voices == ("joe", "ann")
    assert found.addons == ("x", "y")
    assert found.aliases == {"alloy": "joe", "echo": "ann"}
    assert (found.watch, found.drain_s, found.memory_mb) == (True, 2.5, 12)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"VOXSTACK_SERVE_PROT": "1"},
            "$VOXSTACK_SERVE_PROT: unknown variable; did you mean 'VOXSTACK_SERVE_PORT'?",
        ),
        (
            {"VOXSTACK_SERVE_WATCH": "so"},
            "$VOXSTACK_SERVE_WATCH: got 'so'; input should be a valid boolean, unable to interpret input",
        ),
        (
            {"VOXSTACK_SERVE_STREAMS": "0"},
            "$VOXSTACK_SERVE_STREAMS: got '0'; input should be greater than or equal to 1",
        ),
        ({"VOXSTACK_SERVE_ALIASES": "alloy"}, "$VOXSTACK_SERVE_ALIASES: got 'alloy', want NAME=VALUE"),
    ],
)
def test_a_wrong_variable_is_told(environment, message):
    with pytest.raises(ConfigError) as caught:
        load_settings(environment=environment)
    assert str(caught.value) == message


def test_a_wrong_file_is_told(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text("prot = 1")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment={})
    assert str(caught.value) == f"{path}: $.prot: unknown key 'prot'; did you mean 'port'?"
    path.write_text("port = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load_settings(path, environment={})
    with pytest.raises(RequestError, match="cannot be read: No such file or directory"):
        load_settings(tmp_path / "none.toml", environment={})


def test_a_wrong_flag_is_told():
    with pytest.raises(ConfigError) as caught:
        load_settings(flags={"time_limit_s": -1.0}, environment={})
    assert str(caught.value) == "--time-limit-s: got -1.0; input should be greater than 0"


def test_half_of_what_https_needs_is_told():
    with pytest.raises(ConfigError, match="tls_key: HTTPS needs both tls_cert and tls_key"):
        load_settings(flags={"tls_cert": "x"}, environment={})


def test_files_that_are_no_certificate_are_told_before_anything_starts(tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(ConfigError, match=r"^tls_key: '/nowhere' cannot be read: No such file"):
        check_certificate(ServerSettings(tls_cert=str(junk), tls_key="/nowhere"))
    with pytest.raises(ConfigError, match=r"^tls_cert: .* are no PEM certificate chain and its key"):
        check_certificate(ServerSettings(tls_cert=str(junk), tls_key=str(junk)))
