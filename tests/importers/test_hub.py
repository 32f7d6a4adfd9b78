"""A checkpoint comes from the hub when a source says so; here the hub is a small server of our own."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers.hub import is_hub, local_folder, origin_of

pytestmark = pytest.mark.end_to_end

pytest.importorskip("huggingface_hub", reason="the hub's client is not installed")

MAIN, OLD = "a" * 40, "b" * 40
TOKEN = "a-token"
WEIGHTS = bytes(range(256)) * 4096
VOICE = {
    "config.json": b'{"model_type": "vits"}',
    "vocab.json": b'{"a": 1}',
    "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "[odd].json": b"{}",
    "onnx/model.onnx": b"another export",
    "training.log": b"lines",
}
REPOSITORIES = {
    "tests/voice": {"main": VOICE, "v1": {"config.json": b"{}", "model.safetensors": b"old weights"}},
    "tests/pickles": {"main": {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}},
    "tests/empty": {"main": {"README.md": b""}},
    "tests/gated": {"main": VOICE},
}
COMMITS = {"main": MAIN, "v1": OLD, "refs/pr/1": "c" * 40}


class Hub(ThreadingHTTPServer):
    """A small hub; `break_after` bytes of the weights it hangs up, `breaks` times."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks = 0
        self.break_after = len(WEIGHTS) // 2
        self.asked: list[tuple[str, str, str]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if is_api else parts[:2])
        if repository not in REPOSITORIES:
            self.refuse(404, "RepoNotFound")
        elif repository == "tests/gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(401, "GatedRepo")
        elif is_api:
            self.list(REPOSITORIES[repository], parts[4], "/".join(parts[5:]), repository)
        else:
            self.serve(REPOSITORIES[repository], "/".join(parts[3:]))

    def list(self, revisions: dict, kind: str, revision: str, repository: str) -> None:
        name = next((name for name in revisions if revision in (name, COMMITS[name])), None)
        if name is None:
            self.refuse(404, "RevisionNotFound")
            return
        files = revisions[name]
        if kind == "revision":
            siblings = [{"rfilename": file} for file in files]
            self.send(json.dumps({"id": repository, "sha": COMMITS[name], "siblings": siblings}).encode())
        else:
            tree = [
                {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for file, data in files.items()
            ]
            self.send(json.dumps(tree).encode())

    def serve(self, revisions: dict, rest: str) -> None:
        name, file = next(
            (name, rest.removeprefix(key + "/"))
            for name in revisions
            for key in (name, COMMITS[name])
            if rest.startswith(key + "/")
        )
        data = revisions[name][file]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMITS[name]}
        wanted = self.headers.get("Range")
        if wanted:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send(data[start:], headers, status=206)
        else:
            self.send(data, headers)

    def refuse(self, status: int, code: str) -> None:
        self.send(b"{}", {"X-Error-Code": code, "X-Error-Message": "no"}, status=status)

    def send(self, data: bytes, headers: dict[str, str] | None = None, *, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.breaks and len(data) > self.server.break_after:
            self.server.breaks -= 1
            self.wfile.write(data[: self.server.break_after])
            self.close_connection = True
        else:
            self.wfile.write(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits before it tries again
        yield server
        server.shutdown()
        thread.join()


def fetch(source: Path | str) -> Path:
    with local_folder(source) as folder:
        return folder


def refusal(source: str) -> str:
    with pytest.raises(ImporterError) as caught:
        fetch(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_only_the_prefix_asks_for_a_download(tmp_path):
    assert is_hub("hub:tests/voice")
    assert is_hub(Path("hub:tests/voice"))
    assert not is_hub("tests/voice")
    assert fetch(tmp_path) == tmp_path


def test_configuration_weights_vocabulary_and_card_are_fetched_and_pickles_are_not(server):
    folder = fetch(Path("hub:tests/voice"))

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: VOICE[name]
        for name in ("config.json", "vocab.json", "README.md", "model.safetensors", "[odd].json")
    }
    assert not [path for _, path, _ in server.asked if path.endswith((".bin", ".log", ".onnx"))]


def test_the_origin_names_repository_and_commit(server, tmp_path):
    assert origin_of(fetch("hub:tests/voice")) == {"source": "tests/voice", "commit": MAIN}
    assert origin_of(tmp_path / "my-voice") == {"source": "my-voice"}


def test_a_revision_is_a_branch_a_tag_or_a_commit(server):
    by_name, by_commit = fetch("hub:tests/voice@v1"), fetch(f"hub:tests/voice@{OLD}")

    assert by_name == by_commit
    assert origin_of(by_name)["commit"] == OLD
    assert (by_name / "model.safetensors").read_bytes() == b"old weights"


def test_a_second_import_downloads_nothing_again(server):
    first = fetch("hub:tests/voice")
    before = len(server.asked)

    assert fetch("hub:tests/voice") == first
    assert not [path for method, path, _ in server.asked[before:] if method == "GET" and "/resolve/" in path]


def test_offline_the_cache_answers_and_says_what_it_lacks(server, monkeypatch):
    folder = fetch("hub:tests/voice")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(server.asked)

    assert fetch("hub:tests/voice") == folder
    assert "hub:tests/pickles: HF_HUB_OFFLINE is set and it is not in the cache: " in refusal(
        "hub:tests/pickles"
    )
    assert len(server.asked) == before


def test_a_token_opens_what_is_gated(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    assert (fetch("hub:tests/gated") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    server.breaks = 1

    assert (fetch("hub:tests/voice") / "model.safetensors").read_bytes() == WEIGHTS
    assert f"bytes={server.break_after}-" in {wanted for _, _, wanted in server.asked}


def test_a_server_that_dies_leaves_no_half_file_behind(server, tmp_path):
    server.breaks, server.break_after = 1000, 1000

    said = refusal("hub:tests/voice")

    assert said.startswith("hub:tests/voice: the download broke off: ")
    assert said.endswith("; try again, or give a checkpoint's folder")
    assert not list(tmp_path.rglob("snapshots/*/model.safetensors"))


def test_what_cannot_be_had_is_said_in_a_line(server, monkeypatch):
    endpoint = f"http://127.0.0.1:{server.server_port}"

    assert refusal("hub:tests/nothing") == (
        f"hub:tests/nothing: there is no such repository at {endpoint}, or it is private: then set HF_TOKEN"
    )
    assert refusal("hub:tests/voice@v2") == (
        f"hub:tests/voice@v2: there is no revision 'v2' of tests/voice at {endpoint}"
    )
    assert refusal("hub:tests/gated") == (
        f"hub:tests/gated: gated: accept its conditions at {endpoint}/tests/gated, "
        "then set HF_TOKEN to a token of your account"
    )
    assert refusal("hub:tests/pickles") == (
        "hub:tests/pickles: its weights are pickles only (pytorch_model.bin), which can run code and are "
        "never read; name a revision with .safetensors (the hub's converter offers one as @refs/pr/N), "
        "or save the model with save_pretrained and give that folder"
    )
    assert refusal("hub:tests/empty") == "hub:tests/empty: holds no .safetensors weights"


def test_without_a_network_the_hub_is_named(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    assert refusal("hub:tests/voice").startswith("hub:tests/voice: cannot reach http://127.0.0.1:9: ")


def test_without_the_hubs_client_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    assert refusal("hub:tests/voice@v1") == (
        'hub:tests/voice@v1: downloads need huggingface_hub: pip install "voxstack[transformers]"'
    )


@pytest.mark.parametrize("source", ["hub:", "hub:voice", "hub:a/b/c", "hub:a/b@", "hub:../x", "hub:a/b@x y"])
def test_a_source_of_another_form_is_refused(source):
    assert refusal(source) == f"{source}: want hub:owner/name or hub:owner/name@revision"
