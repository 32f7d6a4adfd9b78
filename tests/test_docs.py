"""Run every example of the documents and of the docstrings, and the command lines that name a toy voice."""

import contextlib
import doctest
import hashlib
import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.document import Document, PythonDocStringDocument
from sybil.example import Example, NotEvaluated
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from voxstack.cli.main import main
from voxstack.engine.library import find_addon
from voxstack.engine.nets import Running, plan_nets, resolve
from voxstack.stack.deployment import load_deployment
from voxstack.stack.front import build_front_end
from voxstack.stack.standard import REGISTRY

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class DocstringsOfModule(PythonDocStringDocument):
    """A module's docstrings, run among the module's own names; it is imported as a user would."""

    def import_document(self, example: Example) -> None:
        name = ".".join(Path(self.path).relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        self.namespace.update(vars(importlib.import_module(name)))
        self.pop_evaluator(self.import_document)
        raise NotEvaluated


def run_console(example: Example) -> str | None:
    """Run a console block's lines that start with "$ voxstack"; compare the lines below with the output."""
    for block in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        line, _, expected = block.partition("\n")
        output = run_line(line)
        pattern = re.escape(expected.rstrip()).replace("…", "(?s:.*)")
        if output is not None and expected.strip() and not re.fullmatch(pattern, output.rstrip()):
            return f"$ {line}\nwrote:\n{output}\nthe page says:\n{expected}"
    return None


def run_shell(example: Example) -> None:
    """Run a shell block's lines that start with "voxstack"."""
    for line in example.parsed.splitlines():
        run_line(line)


def apply_diff(example: Example) -> None:
    """Do to the file that a diff block names what a reader does by hand; drop the module made of it."""
    head, *hunks = re.split(r"^@@\n", example.parsed, flags=re.MULTILINE)
    file = Path(re.fullmatch(r"--- (\S+)\n\+\+\+ \1\n", head)[1])  # pyright: ignore[reportOptionalSubscript]
    text = file.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = [line or " " for line in hunk.splitlines()]
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
        after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
        assert text.count(before) == 1, f"{file} has no such place, or several:\n{before}"
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
    sys.modules.pop(file.stem, None)


def run_line(line: str) -> str | None:
    """Run a command that needs but toy voices or nothing, and return what it wrote; leave others alone."""
    words = shlex.split(line, comments=True)
    is_toy = any("tone" in word or "examples/addons" in word for word in words)
    if words[:1] != ["voxstack"] or not (is_toy or words[1:2] == ["new"]):
        return None
    code, output = run(words[1:])
    assert code == 0, f"{line} ended with {code}:\n{output}"
    return output


def run(words: list[str]) -> tuple[int, str]:
    written = io.StringIO()
    with (
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
        pytest.raises(SystemExit) as ended,
    ):
        main(words)
    return int(ended.value.code or 0), written.getvalue()


IN_PAGES = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=OPTIONS),
        CodeBlockParser("console", run_console),
        CodeBlockParser("sh", run_shell),
        CodeBlockParser("diff", apply_diff),
    ],
    document_types={".md": Document},
)
IN_DOCSTRINGS = Sybil(
    parsers=[DocTestParser(optionflags=OPTIONS)], document_types={".py": DocstringsOfModule}
)


def pages_with_examples() -> list[Path]:
    return [page for page in PAGES if list(IN_PAGES.parse(page))]


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """Work in a copy of what the examples find in the repository's root."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(file: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package be installed that a page has begun with `voxstack new block`."""
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    folder = desk / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir()
    named = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(named)
    entries = project["entry-points"]["voxstack.blocks"]
    lines = ["[voxstack.blocks]", *(f"{name} = {target}" for name, target in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(desk)
    monkeypatch.syspath_prepend(file.parent)
    for module in file.parent.glob("*.py"):
        monkeypatch.setitem(sys.modules, module.stem, None)  # so that it is taken away in the end
        del sys.modules[module.stem]
    monkeypatch.setattr(REGISTRY, "_loaders", dict(REGISTRY._loaders))
    monkeypatch.setattr(REGISTRY, "_packages_read", False)


@pytest.mark.parametrize("page", pages_with_examples(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_run(page, desk, monkeypatch):
    document = IN_PAGES.parse(page)
    document.namespace = vars(ModuleType("example"))
    installed: set[Path] = set()
    for example in document:
        example.evaluate()
        for project in set(desk.glob("*/pyproject.toml")) - installed:
            install(project, desk, monkeypatch)
            installed.add(project)
    assert bool(installed) == ("voxstack new block" in document.text and "```diff" in document.text)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(SOURCE).as_posix())
def test_the_examples_of_a_module_run(module, desk):
    for example in IN_DOCSTRINGS.parse(module):
        example.evaluate()


def test_examples_are_found_at_all():
    """A parser that finds nothing lets everything pass."""
    found = {page.name: len(list(IN_PAGES.parse(page))) for page in PAGES}
    assert found["README.md"] >= 2
    assert found["write-a-block.md"] >= 5
    assert found["decisions.md"] >= 1
    assert found["stream-text.md"] >= 5
    assert len(MODULES) >= 8
    assert all(list(IN_DOCSTRINGS.parse(module)) for module in MODULES)


def test_the_deployment_file_of_the_page_says_what_it_says_of_joe(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    if not (ROOT / "addons" / "joe").is_dir():
        pytest.skip("the demo voice is not imported")
    page = (ROOT / "docs" / "how-to" / "choose-a-profile.md").read_text(encoding="utf-8")
    file = tmp_path / "edge.toml"
    file.write_text(re.findall(r"^```toml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)[0])
    addon = find_addon("joe", [ROOT / "addons"])
    plans = plan_nets(addon, resolve(addon, Running(deployment=load_deployment(file))))
    assert {name: (plan.engine.name, plan.shapes.steps.buckets) for name, plan in plans.items()} == {
        "encoder": ("onnxruntime", ()),
        "duration": ("onnxruntime", ()),
        "decoder": ("openvino", (128, 192, 256)),
        "flow": ("openvino", (192,)),
    }


def test_the_block_that_a_reader_makes_passes_its_test_and_is_little_to_type(desk):
    page = ROOT / "docs" / "how-to" / "write-a-block.md"
    assert run(["new", "block", "FadeIn"])[0] == 0
    folder = desk / "voxstack-fade-in"
    diffs = [example for example in IN_PAGES.parse(page) if str(example.parsed).startswith("--- ")]
    for diff in diffs:
        diff.evaluate()
    lines = [line for diff in diffs for line in diff.parsed.splitlines()]
    typed = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert 500 < sum(len(line) + 1 for line in typed) < 1500
    for command in (
        ["pytest", "-q", "-p", "no:cacheprovider"],
        ["ruff", "check"],
        ["ruff", "format", "--check"],
    ):
        words = [sys.executable, "-m", *command, folder.name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_says_of_a_block_that_is_not_installed_is_what_is_printed(desk):
    folder = desk / "addons" / "tone-vocoder-fading"
    shutil.copytree("examples/addons/tone-vocoder", folder)
    addon = json.loads((folder / "addon.json").read_text(encoding="utf-8"))
    addon |= {"name": "tone-vocoder-fading", "stack": [*addon["stack"], {"type": "FadeIn", "length_ms": 20}]}
    (folder / "addon.json").write_text(json.dumps(addon), encoding="utf-8")
    code, output = run(["check", "tone-vocoder-fading"])
    [told] = [line for line in output.splitlines() if line.startswith("BAD")]
    assert code == 1
    assert told in (ROOT / "docs" / "how-to" / "write-a-block.md").read_text(encoding="utf-8")


def test_the_stack_that_the_readme_shows_is_that_of_the_toy_voice():
    shown = re.search(
        r"^```json\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert shown
    addon = json.loads((ROOT / "examples" / "addons" / "tone" / "addon.json").read_text(encoding="utf-8"))
    assert json.loads(f"{{{shown.group(1)}}}")["stack"] == addon["stack"]


@pytest.mark.parametrize("normalise", ["en", None])
def test_the_agreement_with_piper_that_the_pages_tell_is_what_is_counted(normalise):
    pytest.importorskip("espeakng_loader", reason="the extra 'espeak' is not installed")
    pytest.importorskip("spokenform", reason="the extra 'normalise' is not installed")
    stored = json.loads((ROOT / "tests" / "text" / "piper_ids.json").read_text(encoding="utf-8"))
    front = build_front_end(
        {
            "type": "espeak",
            "voice": "en-us",
            "phoneme_ids": stored["phoneme_ids"],
            "normalise": normalise,
        }
    )

    def ids(text: str) -> list[str]:
        splitter = front.splitter()
        sentences = [*splitter.feed(text), *splitter.finish()]
        spoken = [phonemes for sentence in sentences for phonemes in front.phonemize(sentence)]
        return [hashlib.sha256(",".join(map(str, p.ids)).encode()).hexdigest()[:16] for p in spoken]

    wanted = {text: [digest for _, digest in utterances] for text, utterances in stored["sentences"].items()}
    same = sum(ids(text) == digests for text, digests in wanted.items())
    told = (ROOT / "docs" / "explanation" / "decisions.md").read_text(encoding="utf-8")
    name = "null" if normalise is None else f'"{normalise}"'
    assert re.search(rf"^\| `{name}`.* {same} of {len(wanted)} \|", told, re.MULTILINE), (
        f"{same} of {len(wanted)}"
    )
    assert f" {same}" in (ROOT / "docs" / "how-to" / "import-a-piper-voice.md").read_text(encoding="utf-8")


def test_a_command_that_fails_is_noticed(desk):
    page = desk / "page.md"
    page.write_text("```sh\nvoxstack say Hi --voice tone\n```\n")
    [example] = IN_PAGES.parse(page)
    with pytest.raises(AssertionError, match="ended with 2"):
        example.evaluate()


def test_a_console_block_that_says_something_else_is_noticed(desk):
    page = desk / "page.md"
    page.write_text(
        "```console\n$ voxstack voices --addons examples/addons\nNo voice sounds like tone.\n```\n"
    )
    [example] = IN_PAGES.parse(page)
    with pytest.raises(AssertionError, match="the page says"):
        example.evaluate()
