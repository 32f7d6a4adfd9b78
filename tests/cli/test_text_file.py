"""A text file is there whole or not at all."""

import pytest

from voxstack.cli.text_file import TextFile
from voxstack.core.errors import OutputError, RequestError

pytestmark = pytest.mark.unit


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with TextFile(path) as file:
        assert path.read_text() == "old"
        file.write("new \udcff")
    assert path.read_text() == "new ?"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_finished_leaves_nothing(tmp_path):
    path = tmp_path / "page.html"
    with pytest.raises(ValueError, match="boom"), TextFile(path):
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    path = tmp_path / "no" / "page.html"
    with pytest.raises(RequestError) as caught:
        TextFile(path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def full(self, data):
        raise OSError(28, "No space left on device")

    with TextFile(path) as file:
        monkeypatch.setattr(type(path), "write_bytes", full)
        with pytest.raises(OutputError) as caught:
            file.write("new")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
