"""`voxstack compile` writes nets ahead of time; the other commands run them, or say in one line why not."""

import json
from pathlib import Path

import pytest

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"


def run(capsys, *words):
    """Return exit code, standard output and standard error of a call."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), "--addons", str(ADDONS)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_it_writes_a_folder_for_the_voice_and_one_for_its_vocoder_and_says_how_to_use_them(capsys, tmp_path):
    code, printed, err = run(capsys, "compile", "tone", "--profile", "fixed", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    first, second, size, use = printed.splitlines()
    assert first == f"tone  3 compiled files in {tmp_path}/out/tone"
    assert second == f"tone-vocoder  1 compiled files in {tmp_path}/out/tone-vocoder"
    assert " MB in " in size
    assert use == f"to use them: --profile fixed --artefacts {tmp_path}/out"
    words = ("say", "abc", "--voice", "tone", "--json", *use.split()[3:])
    code, printed, _ = run(capsys, *words)
    assert (code, json.loads(printed)["profile"]) == (0, "fixed")


def test_json_tells_what_was_written(capsys, tmp_path):
    code, printed, _ = run(capsys, "compile", "tone", "--profile", "buckets", "--out", tmp_path, "--json")
    report = json.loads(printed)
    assert code == 0
    assert report["addons"] == ["tone", "tone-vocoder"]
    assert report["bytes"] == sum(Path(file).stat().st_size for file in report["files"])
    assert {Path(file).name for file in report["files"]} >= {"manifest.json", "decoder.bin"}


def test_nets_of_another_profile_are_refused(capsys, tmp_path):
    run(capsys, "compile", "tone", "--profile", "fixed", "--out", tmp_path)
    words = ("say", "abc", "--voice", "tone", "--json", "--profile", "buckets", "--artefacts", tmp_path)
    code, printed, err = run(capsys, *words)
    assert (code, printed) == (2, "")
    assert err.count("\n") == 1
    assert err == (
        f"AddonError: {tmp_path}/tone: net 'text': is stale: it was compiled for profile 'fixed', with "
        f"locks_sizes true, want false; compile its nets: voxstack compile {ADDONS}/tone "
        "--profile buckets --out DIR\n"
    )


def test_the_command_that_an_error_names_works_as_printed(capsys, tmp_path):
    file = tmp_path / "deployment.toml"
    file.write_text('profile = "mine"\n[profiles.mine.nets."*"]\nshapes = "fixed"\n')
    said = ("say", "abc", "--voice", "tone", "--json", "--deployment", file, "--artefacts", tmp_path)
    _, _, err = run(capsys, *said)
    command = err.split("voxstack ")[1].replace("DIR", str(tmp_path))
    assert command == f"compile {ADDONS}/tone --profile mine --deployment {file} --out {tmp_path}\n"
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 0
    assert run(capsys, *said)[0] == 0


def test_a_folder_that_holds_something_else_is_left_alone(capsys, tmp_path):
    (tmp_path / "tone").mkdir()
    (tmp_path / "tone" / "addon.json").write_text("{}")
    code, _, err = run(capsys, "compile", "tone", "--profile", "fixed", "--out", tmp_path)
    assert code == 2
    assert err == (
        f"RequestError: {tmp_path}/tone: holds 'addon.json', which `voxstack compile` did not write; "
        "name another --out, or remove it\n"
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["tone", "addon.json"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--profile", "fixd"), "ConfigError: tone: no profile 'fixd'; did you mean 'fixed'?\n"),
        (
            ("--deployment", "none.toml"),
            "RequestError: none.toml: cannot be read: No such file or directory\n",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(capsys, words, told):
    code, printed, err = run(capsys, "say", "abc", "--voice", "tone", "--json", *words)
    assert (code, printed, err) == (2, "", told)


def test_a_deployment_file_chooses_for_every_command(capsys, tmp_path):
    file = tmp_path / "deployment.toml"
    file.write_text('profile = "mine"\n[profiles.mine.nets."*"]\nshapes = "fixed"\nthreads = 1\n')
    code, printed, _ = run(capsys, "check", "tone", "--deployment", file, "--json")
    report = json.loads(printed)
    assert (code, report["profile"], report["good"]) == (0, "mine", True)
    assert [check["check"] for check in report["checks"]][-2:] == ["nets", "audio"]


def test_check_compares_a_profile_net_by_net_and_as_audio(capsys):
    code, printed, _ = run(capsys, "check", "tone", "--profile", "fixed")
    nets, audio = printed.splitlines()[-2:]
    assert code == 0
    assert nets.startswith("good  nets      ")
    assert {part.split()[0] for part in nets.removeprefix("good  nets      ").split(", ")} == {
        "text",
        "durations",
        "decoder",
        "tone-vocoder/vocoder",
    }
    assert audio.startswith("good  audio     greatest difference ")
    assert audio.endswith(" dB against 'cpu'")
