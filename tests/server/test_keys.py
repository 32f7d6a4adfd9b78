"""Keys are known by their hashes, and may send so much."""

import hashlib

import pytest

from voxstack.core.errors import ConfigError, RequestError
from voxstack.server.keys import Allowance, Keys, add_key
from voxstack.server.refusals import Refusal

pytestmark = pytest.mark.unit


def test_a_key_is_found_by_its_hash_alone(tmp_path):
    file = tmp_path / "keys"
    key = add_key(file, "alice")
    assert file.read_text() == f"alice:{hashlib.sha256(key.encode()).hexdigest()}\n"
    keys = Keys(file)
    assert keys.name_of(key) == "alice"
    assert keys.name_of(key[:-1]) is None
    assert keys.name_of("") is None
    assert keys.name_of("\ud800") is None


def test_two_keys_are_never_the_same(tmp_path):
    file = tmp_path / "keys"
    made = {add_key(file, f"client-{number}") for number in range(20)}
    assert len(made) == 20
    assert all(len(key) > 40 for key in made)


def test_comments_and_empty_lines_are_passed_over(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# clients\n\nbob:" + hashlib.sha256(b"secret").hexdigest() + "\n")
    assert Keys(file).name_of("secret") == "bob"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bob", "line 1: want NAME:HASH, the SHA-256 of the key in 64 small hex digits"),
        ("bob:abc", "line 1: want NAME:HASH, the SHA-256 of the key in 64 small hex digits"),
        (f"bob:{'0' * 64}\nbob:{'1' * 64}", "line 2: 'bob' has a key already"),
    ],
)
def test_a_wrong_line_is_told(tmp_path, text, message):
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Keys(file)
    assert str(caught.value) == f"{file}, {message}"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RequestError, match="cannot be read: No such file or directory"):
        Keys(tmp_path / "keys")


def test_a_file_that_breaks_later_leaves_the_keys_that_held(tmp_path):
    file = tmp_path / "keys"
    key = add_key(file, "alice")
    keys = Keys(file)
    file.write_text("nonsense, and longer than before")
    keys._changed_ns = 0
    with pytest.raises(ConfigError):
        keys.refresh()
    assert keys.name_of(key) == "alice"


def test_a_name_has_one_key_and_is_plain(tmp_path):
    file = tmp_path / "keys"
    add_key(file, "alice")
    with pytest.raises(RequestError, match="'alice' has a key already; remove its line first"):
        add_key(file, "alice")
    with pytest.raises(RequestError, match="want letters, digits and any of"):
        add_key(file, "a:b")


def test_characters_come_back_evenly():
    now = [0.0]
    allowance = Allowance(60, clock=lambda: now[0])
    allowance.take("alice", 60)
    with pytest.raises(Refusal) as caught:
        allowance.take("alice", 30)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 30.0)
    now[0] = 29.9
    with pytest.raises(Refusal):
        allowance.take("alice", 30)
    now[0] = 30.0
    allowance.take("alice", 30)
    allowance.take("bob", 60)
    now[0] = 3000.0
    allowance.take("alice", 60)
    with pytest.raises(Refusal):
        allowance.take("alice", 1)


def test_what_never_fits_is_not_put_off():
    with pytest.raises(Refusal, match="got 61 characters, this key may send 60 a minute") as caught:
        Allowance(60).take("alice", 61)
    assert caught.value.status == 400
