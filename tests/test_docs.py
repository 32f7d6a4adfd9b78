"""Run every example of the documents and of the docstrings, and the command lines that name a toy voice."""

import contextlib
import doctest
import importlib
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.document import Document, PythonDocStringDocument
from sybil.example import Example, NotEvaluated
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from voxstack.cli.main import main

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
AS_MODULE = re.compile(r"<!-- examples: run as the module (\w+) -->")


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


def run_line(line: str) -> str | None:
    """Run a command that speaks with a toy voice and return what it wrote; leave any other alone."""
    words = shlex.split(line, comments=True)
    if words[:1] != ["voxstack"] or not any("tone" in word or "examples/addons" in word for word in words):
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


@pytest.mark.parametrize("page", pages_with_examples(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_run(page, desk, monkeypatch):
    document = IN_PAGES.parse(page)
    module = ModuleType("example")
    if named := AS_MODULE.search(document.text):
        module = ModuleType(named.group(1))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    document.namespace = vars(module)
    for example in document:
        example.evaluate()


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
    assert len(MODULES) >= 8
    assert all(list(IN_DOCSTRINGS.parse(module)) for module in MODULES)


def test_the_stack_that_the_readme_shows_is_that_of_the_toy_voice():
    shown = re.search(
        r"^```json\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert shown
    addon = json.loads((ROOT / "examples" / "addons" / "tone" / "addon.json").read_text(encoding="utf-8"))
    assert json.loads(f"{{{shown.group(1)}}}")["stack"] == addon["stack"]


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
