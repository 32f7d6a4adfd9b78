"""The files of an addon are trusted in nothing: names, links, sizes, contents."""

import io
import os
import stat
import zipfile

import numpy as np
import pytest

from voxstack.core.errors import AddonError
from voxstack.stack.files import check_listing, checked_name, open_files, read_checked, sha256_of

pytestmark = pytest.mark.unit

KILO = b"\0" * 1024


@pytest.fixture
def write_zip(tmp_path):
    """Return what writes a zip of entries: a name or a ZipInfo, and its bytes."""

    def write(*entries, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "toy.voxaddon"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in entries:
                archive.writestr(name, data)
        return path

    return write


def info(name: str, mode: int = stat.S_IFREG | 0o644, **fields) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry


def fault(action, *arguments) -> str:
    with pytest.raises(AddonError) as caught:
        action(*arguments)
    return str(caught.value)


def read_fault(name: str, data: bytes, write_zip) -> str:
    files = open_files(write_zip((name, data)))
    message = fault(read_checked, files, name, {name: sha256_of(data)})
    return message.removeprefix(f"{files.where}: ")


@pytest.mark.parametrize("name", ["a", "nets/a.onnx", "a b.txt", "ä/ö.txt", ".hidden", "a..b"])
def test_a_plain_name_is_taken(name):
    assert checked_name(name, where="x") == name


NAMES = {
    "../a": "climbs out of the addon",
    "a/../../b": "climbs out of the addon",
    "..": "climbs out of the addon",
    "/etc/passwd": "is absolute; names are relative to the addon",
    "//host/share": "is absolute; names are relative to the addon",
    "C:/windows": "is not a plain relative path",
    "..\\a": "is not a plain relative path",
    "a\0b": "is not a plain relative path",
    "": "is not a plain relative path",
    ".": "is not a plain relative path",
    "a//b": "is not written plainly; want 'a/b'",
    "./a": "is not written plainly; want 'a'",
    "a/./b": "is not written plainly; want 'a/b'",
    "a/": "is not written plainly; want 'a'",
}


@pytest.mark.parametrize("name", NAMES)
def test_any_other_name_is_refused(name):
    assert fault(lambda: checked_name(name, where="x")) == f"x: file name {name!r} {NAMES[name]}"


@pytest.mark.parametrize("name", ["../a", "/a", "a\\b", "C:a", "../folder/"])
def test_a_zip_with_such_a_name_is_refused(write_zip, name):
    assert "file name" in fault(open_files, write_zip((info(name), b"")))


def test_files_are_read_from_a_folder_and_from_a_zip_alike(write_zip, tmp_path):
    (tmp_path / "folder" / "nets").mkdir(parents=True)
    (tmp_path / "folder" / "nets" / "a.txt").write_bytes(b"hello")
    for files in (open_files(tmp_path / "folder"), open_files(write_zip((info("nets/a.txt"), b"hello")))):
        assert files.names() == ["nets/a.txt"]
        assert files.size("nets/a.txt") == 5
        assert files.read("nets/a.txt") == b"hello"
        assert read_checked(files, "nets/a.txt", {"nets/a.txt": sha256_of(b"hello")}) == b"hello"


def test_a_zip_made_by_another_tool_is_read(write_zip):
    # python's writestr leaves the kind of file out, Windows the whole mode; folders are entries too.
    path = write_zip(("a.txt", b"1"), (info("b.txt", mode=0), b"2"), (info("nets/", mode=stat.S_IFDIR), b""))
    assert open_files(path).names() == ["a.txt", "b.txt"]


def test_a_zip_that_lacks_a_file_says_so(write_zip):
    path = write_zip(("a.txt", b""))
    assert fault(open_files(path).read, "b.txt") == f"{path}: file 'b.txt' is missing"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_in_a_zip_is_refused(write_zip, kind):
    path = write_zip((info("nets/a.onnx", mode=kind | 0o777), b"/etc/passwd"))
    assert fault(open_files, path) == (
        f"{path}: 'nets/a.onnx' is a link or a device; an addon holds its own files"
    )


def test_a_link_in_a_folder_is_refused_whatever_it_points_to(tmp_path):
    (tmp_path / "inside.txt").write_text("1")
    for target in ("inside.txt", "/etc/passwd", "/no/where"):
        (tmp_path / "link").symlink_to(target)
        files = open_files(tmp_path)
        assert fault(files.names) == f"{tmp_path}: 'link' is a link; an addon holds its own files"
        assert fault(files.read, "link") == f"{tmp_path}: 'link' is a link; an addon holds its own files"
        (tmp_path / "link").unlink()


def test_a_linked_folder_inside_is_refused(tmp_path):
    (tmp_path / "addon").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("1")
    (tmp_path / "addon" / "nets").symlink_to(tmp_path / "other")
    files = open_files(tmp_path / "addon")
    assert "'nets' is a link" in fault(files.names)
    assert "'nets/a.txt' is a link" in fault(files.read, "nets/a.txt")


def test_a_pipe_in_a_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert fault(open_files(tmp_path).names) == f"{tmp_path}: 'pipe' is not a plain file"


def test_a_folder_s_file_cannot_be_reached_by_climbing(tmp_path):
    assert "climbs out" in fault(open_files(tmp_path).read, "../a")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(write_zip):
    path = write_zip(("a.txt", b"1"), ("a.txt", b"2"))
    assert fault(open_files, path) == f"{path}: 'a.txt' stands twice in the zip"


def test_an_encrypted_file_is_refused(write_zip):
    path = write_zip(("a.txt", b"1"))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert fault(open_files, path) == f"{path}: 'a.txt' is encrypted"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(write_zip):
    path = write_zip(("bomb.bin", KILO * 1024 * 24))
    size = path.stat().st_size
    assert fault(open_files, path) == (
        f"{path}: with 'bomb.bin' it would unpack to 25,165,824 bytes from {size:,}: a zip bomb"
    )


def test_a_bomb_of_many_small_files_is_refused(write_zip):
    path = write_zip(*((f"{number}.bin", KILO * 1024) for number in range(24)))
    assert fault(open_files, path).endswith(": a zip bomb")


def test_a_bomb_whose_files_share_their_bytes_is_refused(write_zip):
    # Twenty entries of the directory point at the same packed megabyte (Fifield 2019, "a better zip bomb").
    path = write_zip(("0.bin", os.urandom(8192) * 128), compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.infolist()[0]
        for number in range(1, 60):
            twin = info(f"{number}.bin", header_offset=first.header_offset, compress_type=first.compress_type)
            twin.file_size, twin.compress_size, twin.CRC = first.file_size, first.compress_size, first.CRC
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    assert fault(open_files, path).endswith(": a zip bomb")


def test_small_files_may_be_packed_tightly(write_zip):
    assert open_files(write_zip(("zeros.bin", KILO * 1024))).read("zeros.bin") == KILO * 1024


def test_a_zip_that_lies_about_a_size_is_refused(write_zip):
    path = write_zip(("a.bin", KILO * 8))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    assert fault(open_files(path).read, "a.bin").startswith(f"{path}: file 'a.bin' ")


def test_too_many_files_are_refused(write_zip, tmp_path):
    path = write_zip(*((f"{number}", b"") for number in range(1001)))
    assert fault(open_files, path) == f"{path}: more than 1000 files"
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(1001):
        (folder / str(number)).touch()
    assert fault(open_files(folder).names) == f"{folder}: more than 1000 files"


def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path):
    path = tmp_path / "toy.voxaddon"
    path.write_text("hello")
    assert (
        fault(open_files, path)
        == f"{path}: not an addon: neither a folder nor a zip (File is not a zip file)"
    )


def test_a_listing_is_exact(write_zip):
    files = open_files(write_zip(("addon.json", b"{}"), ("a", b""), ("b", b"")))
    check_listing(files, {"a": "", "b": ""})
    assert "'b' is not listed" in fault(check_listing, files, {"a": ""})
    assert "'c' is listed but missing" in fault(check_listing, files, {"a": "", "b": "", "c": ""})
    assert "climbs out" in fault(check_listing, files, {"../a": ""})


REFUSED = "can run code when it is read (a pickle, a library, a script), so it never is; remove it"


@pytest.mark.parametrize(
    "name",
    [
        "w.pkl",
        "w.pickle",
        "w.pt",
        "w.pth",
        "w.ckpt",
        "w.PTH",
        "w.joblib",
        "w.npz",
        "ops.so",
        "ops.dll",
        "ops.dylib",
        "run.py",
        "run.sh",
    ],
)
def test_a_pickle_or_code_is_refused_by_its_suffix(write_zip, name):
    assert read_fault(name, b"", write_zip) == f"file '{name}' {REFUSED}"


def npy(array) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


CODE = {
    "pickle 2": b"\x80\x02}q\x00.",
    "pickle 4": b"\x80\x04\x95",
    "pickle 5": b"\x80\x05\x95",
    "ELF": b"\x7fELF\x02\x01",
    "PE": b"MZ\x90\x00",
    "Mach-O": b"\xcf\xfa\xed\xfe",
    "npy of objects": npy(np.array([{}], object)),
    "npy with objects inside": npy(np.zeros(2, [("a", "f4"), ("b", "O")])),
}


@pytest.mark.parametrize("kind", CODE)
def test_a_pickle_or_code_is_refused_by_its_content(write_zip, kind):
    assert read_fault("table.bin", CODE[kind], write_zip) == f"file 'table.bin' {REFUSED}"


def test_an_array_of_numbers_is_read(write_zip):
    data = npy(np.frombuffer(b"|O" * 400, np.float32))
    files = open_files(write_zip(("style.npy", data)))
    assert read_checked(files, "style.npy", {"style.npy": sha256_of(data)}) == data
