"""A deployment file is TOML or JSON, strict, and says of all addons or of one how nets run."""

import json

import pytest

from voxstack.core.errors import ConfigError, RequestError
from voxstack.stack.deployment import NO_DEPLOYMENT, load_deployment

pytestmark = pytest.mark.unit

TOML = """
profile = "small"

[profiles.small]
artefacts = "compiled"

[profiles.small.nets."*"]
threads = 1
shapes = {buckets = [64, 128]}

[addons.joe.profiles.small]
artefacts = "/elsewhere"

[addons.joe.profiles.small.nets.decoder]
shapes = "dynamic"
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="deployment.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_it_says_of_all_addons_and_then_of_one(written):
    deployment = load_deployment(written(TOML))
    everyone, one = deployment.profiles("joe")
    assert everyone["small"].nets["*"].threads == 1
    assert one["small"].nets["decoder"].shapes.automatic == "dynamic"
    assert deployment.profiles("other")[1] == {}
    assert deployment.config.profile == "small"


def test_paths_count_from_the_file(written, tmp_path):
    deployment = load_deployment(written(TOML))
    assert deployment.artefacts("small", "other") == tmp_path / "compiled"
    assert str(deployment.artefacts("small", "joe")) == "/elsewhere"
    assert deployment.artefacts("cpu", "joe") is None


def test_json_says_the_same(written):
    said = {"profile": "small", "profiles": {"small": {"nets": {"*": {"threads": 1}}}}}
    deployment = load_deployment(written(json.dumps(said), "deployment.json"))
    assert deployment.profiles("joe")[0]["small"].nets["*"].threads == 1


def test_without_a_file_it_says_nothing_and_the_variable_names_one(written, monkeypatch):
    monkeypatch.delenv("VOXSTACK_DEPLOYMENT", raising=False)
    assert load_deployment(None) is NO_DEPLOYMENT
    monkeypatch.setenv("VOXSTACK_DEPLOYMENT", str(written(TOML)))
    assert load_deployment(None).config.profile == "small"


@pytest.mark.parametrize(
    ("text", "name", "fault"),
    [
        ("profil = 1", "d.toml", "$.profil: unknown key 'profil'; did you mean 'profile'?"),
        (
            "{",
            "d.json",
            "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            "[profiles.p.nets.x]\nruntime = 1",
            "d.toml",
            "$.profiles.p.nets.x.runtime: got 1; input should be a valid string",
        ),
        (
            '[profiles.p.nets.x]\nruntime = "onnxruntim"',
            "d.toml",
            "$.profiles.p.nets.x.runtime: no runtime 'onnxruntim'; did you mean 'onnxruntime'?",
        ),
        (
            '[addons.joe.profiles.p.nets.x]\nruntime = ""',
            "d.toml",
            (
                "$.addons.joe.profiles.p.nets.x.runtime: no runtime ''; "
                "known: neuron, onnxruntime, openvino, torch"
            ),
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_path(written, text, name, fault):
    path = written(text, name)
    with pytest.raises(ConfigError) as caught:
        load_deployment(path)
    assert str(caught.value) == f"{path}: {fault}"


def test_broken_toml_is_told_in_one_line(written):
    path = written("profile = ")
    with pytest.raises(ConfigError, match=rf"^{path}: not TOML: [^\n]+$"):
        load_deployment(path)


def test_a_file_that_is_not_there_or_of_another_kind_is_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match=r"none\.toml: cannot be read: No such file or directory$"):
        load_deployment(tmp_path / "none.toml")
    with pytest.raises(
        RequestError, match=r"d\.yaml: got a deployment file of type '\.yaml', want \.toml or "
    ):
        load_deployment(tmp_path / "d.yaml")
