"""Keep the house as its documents describe it: layers, names, sizes, links, generated files."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import make_attention_tone
import make_tone
import make_tone_ab

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "voxstack"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "changes").glob("*.md")),
]
MARKERS = {"unit", "law", "golden", "end_to_end", "slow", "device"}
MOST_LINES = 400

ARCHITECTURES = re.compile(
    r"\b(piper|vits|tacotron|fast[- ]?speech|fastpitch|kokoro|hibari|hifi-?gan|mel-?gan|wave-?net|wave-?glow"
    r"|wave-?rnn|speecht5|style-?tts|glow-?tts|glow|diffwave|xtts|bark|matcha|tortoise|vall-?e|parler|f5-?tts"
    r"|cosyvoice|orpheus|chatterbox|zonos|melotts|openvoice|gpt-?sovits|bigvgan|vocos|istftnet)(?:[-_]?\d+)?\b",
    re.IGNORECASE,
)
ENGINE_LIBRARIES = {
    "onnx",
    "onnxruntime",
    "openvino",
    "torch",
    "torch_neuronx",
    "tensorflow",
    "jax",
    "tensorrt",
}
CONCURRENCY = {"threading", "concurrent", "multiprocessing", "asyncio", "_thread"}
VAGUE = re.compile(r"^_?(utils?|helpers?|common|managers?|data2|misc)$")
MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|tmp|home|Users|mnt|opt)/(?!\.\.)|[A-Z]:\\Users|--(?:extra-)?index-url"
)


def places(modules: list[Path]) -> list[str]:
    return [module.relative_to(SOURCE).as_posix() for module in modules]


each_module = pytest.mark.parametrize("module", MODULES, ids=places(MODULES))
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def imports(module: Path) -> Iterator[str]:
    """Yield the top-level name of every package that a module imports, wherever in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            named = node.args[0]
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield named.value.partition(".")[0]


def folder(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0]


def public(module: Path) -> list[str] | None:
    """Return what `__all__` lists, or None if the module has none."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return ast.literal_eval(node.value)
    return None


def defined(module: Path) -> Iterator[str]:
    """Yield the names that a module's top level makes itself."""
    for node in tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (ast.unparse(target) for target in targets)


# The flow


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_the_folders_of_stages_are_the_flow_that_the_page_draws(page):
    drawn = re.search(r"^text → .*$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert drawn, f"{page} draws no line 'text → …'"
    folders = {
        path.name for path in (SOURCE / "stages").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert set(drawn.group().split(" → ")) == folders


def test_the_stages_that_must_not_know_each_other_are_all_of_them():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [contract] = [contract for contract in settings["contracts"] if contract["name"].startswith("Stages ")]
    assert {module.removeprefix("voxstack.stages.") for module in contract["modules"]} == stages()


def test_the_layers_contract_sees_every_folder():
    """import-linter knows regular packages only: it passes over a folder without __init__.py, or stops."""
    folders = {module.parent for module in MODULES}
    assert not sorted(
        path.relative_to(SOURCE).as_posix() for path in folders if not (path / "__init__.py").exists()
    )


def stages() -> set[str]:
    return {
        path.name for path in (SOURCE / "stages").iterdir() if path.is_dir() and path.name != "__pycache__"
    }


# What may stand where


def spoken_of(module: Path) -> Iterator[str]:
    """Yield a module's lines, but for those of docstrings that cite a source."""
    is_citation, indent = False, 0
    for line in module.read_text(encoding="utf-8").splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip().startswith("Source:"):
            is_citation, indent = True, depth
        elif is_citation and (not line.strip() or depth <= indent):
            is_citation = False
        if not is_citation:
            yield line


@each_module
def test_no_architecture_is_named_outside_the_importers(module):
    if folder(module) == "importers":
        return
    named = [line.strip() for line in spoken_of(module) if ARCHITECTURES.search(line)]
    assert not named


@each_module
def test_engine_libraries_are_imported_by_runtimes_and_importers_only(module):
    if folder(module) not in {"runtimes", "importers"}:
        assert not ENGINE_LIBRARIES & set(imports(module))


@each_module
def test_threads_live_in_the_engine(module):
    allowed = {
        SOURCE / "core" / "cancel.py",  # cancel comes from another thread than the work
        SOURCE
        / "stages"
        / "phonemes"
        / "library.py",  # a C library with one voice at a time is kept behind a lock
        SOURCE / "testing" / "load" / "closed_loop.py",  # listeners stand outside the engine, each on its own
        SOURCE / "server" / "connection.py",  # the same loop's timers
        SOURCE / "server" / "hearing.py",  # an event loop, which has no threads, is woken from them
        SOURCE / "server" / "wyoming.py",  # a connection is a task of the same loop
        SOURCE / "server" / "wyoming_frames.py",  # it reads the same loop's streams
        SOURCE / "server" / "running.py",  # what a server does beside answering are tasks of its loop
    }
    if folder(module) != "engine" and module not in allowed:
        assert not CONCURRENCY & set(imports(module))


@each_module
def test_nothing_is_printed(module):
    """The command line writes through click, which knows about pipes and encodings; all else raises.

    A module that is run as a program (`if __name__ == "__main__"`) may print what it was run for.
    """
    imported = [
        node
        for node in tree(module).body
        if not (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))
    ]
    calls = [call for node in imported for call in ast.walk(node) if isinstance(call, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


# How a module looks


@each_module
def test_a_module_is_short_enough_to_be_read(module):
    lines = len(module.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES


@each_module
def test_the_first_line_says_in_one_sentence_what_a_module_is_for(module):
    text = module.read_text(encoding="utf-8")
    if not text.strip():
        return
    docstring = ast.get_docstring(tree(module))
    assert docstring, "no docstring"
    first = docstring.splitlines()[0]
    assert first.endswith("."), f"not one whole sentence: {first!r}"
    assert not re.search(r"[.!?] [A-Z]", first.replace("e.g. ", "")), f"more than one sentence: {first!r}"


@each_module
def test_a_module_lists_what_is_public_and_defines_it(module):
    if module.name == "__main__.py" or len(tree(module).body) == 1:  # a docstring and nothing else
        return
    names = public(module)
    assert names is not None, "no __all__"
    assert not [name for name in names if name.startswith("_")]
    if module.name != "__init__.py":
        assert not set(names) - set(defined(module)), "listed, but not there"


@each_module
def test_what_is_public_has_a_docstring(module):
    names = set(public(module) or ())
    bare = [
        node.name
        for node in tree(module).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name in names
        and not ast.get_docstring(node)
        and not any("help=" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    assert not bare


def test_no_file_or_folder_has_a_name_that_says_nothing():
    looked = [path for top in ("src", "tests", "scripts", "benchmarks") for path in (ROOT / top).rglob("*")]
    assert looked
    assert not [path for path in looked if VAGUE.match(path.stem)]


# Tests


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("module", TESTS, ids=[path.relative_to(ROOT).as_posix() for path in TESTS])
def test_a_test_module_has_exactly_one_marker(module):
    found = [
        node.attr
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
        and node.attr in MARKERS
        and ast.unparse(node.value).endswith("pytest.mark")
    ]
    assert len(found) == 1, f"markers {found}"
    top = [node for node in tree(module).body if isinstance(node, ast.Assign)]
    assert any(
        ast.unparse(node.targets[0]) == "pytestmark" and found[0] in ast.unparse(node.value) for node in top
    )


# Generated files and documents


SAMPLE = "golden/sample.flac"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder of toy addons made anew."""
    root = tmp_path_factory.mktemp("examples")
    make_tone.make_examples(root)
    make_attention_tone.make_example(root)
    make_tone_ab.make_example(root)
    return root


@pytest.mark.parametrize("name", ["tone", "tone-vocoder", "tone-nested", "tone-attention", "tone-ab"])
def test_the_toy_addons_are_what_their_scripts_make(name, made):
    assert contents(made / name) == contents(ROOT / "examples" / "addons" / name), (
        "run: python scripts/make_tone.py, make_attention_tone.py and make_tone_ab.py"
    )


@pytest.mark.parametrize("name", ["tone", "tone-nested", "tone-attention", "tone-ab"])
def test_the_toy_voices_still_sound_as_they_did(name, made):
    """Not byte by byte: another processor rounds the last bit otherwise."""
    new, _ = soundfile.read(made / name / SAMPLE)
    kept, _ = soundfile.read(ROOT / "examples" / "addons" / name / SAMPLE)
    assert np.allclose(new, kept, rtol=0, atol=1e-5)


def contents(folder: Path) -> dict[str, bytes]:
    """Return a folder's files without its golden sample."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    found.pop(SAMPLE, None)
    found["addon.json"] = re.sub(rb'"golden/sample.flac": "sha256:\w+"', b"", found["addon.json"])
    return found


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and (not anchor or target.suffix != ".md" or anchor in headings(target))
        if not is_there:
            lost.append(link)
    assert not lost


def test_every_paragraph_of_the_architecture_shows_its_evidence():
    """A claim without a file or a test to look at is an opinion."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        assert re.search(r"\]\([^)]+\)", body), f"section '{title}' links to nothing"


COMMITTED = [
    path
    for top in (
        "src",
        "docs",
        "examples",
        "scripts",
        "benchmarks",
        "changes",
        "deploy",
        "requirements",
        ".ci",
    )
    for path in sorted((ROOT / top).rglob("*"))
    if path.suffix in {".py", ".md", ".json", ".txt", ".toml", ".sh", ""}
    and path.is_file()
    and "__pycache__" not in path.parts
]
COMMITTED += [ROOT / "Makefile", ROOT / "pyproject.toml", *sorted(ROOT.glob("*.md"))]


def test_nothing_committed_names_a_path_of_somebodys_machine():
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in COMMITTED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert not named


def test_requirements_are_pinned_with_hashes_and_name_no_address():
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert files
    for path in files:
        assert "://" not in path.read_text(encoding="utf-8"), path.name
