"""Speaker embeddings are read from the files that people keep them in, or refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstack.core.errors import ImporterError
from voxstack.importers.speecht5_speakers import read_speakers
from voxstack.importers.torch_export import run_net

pytestmark = pytest.mark.unit


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_embeddings_are_read_by_name_and_brought_to_unit_length(tmp_path: Path) -> None:
    table = np.array([[3.0, 4.0], [0.0, 2.0]])

    speakers = read_speakers(save(tmp_path / "some.npz", anna=table[0], men=table), width=2)
    np.save(tmp_path / "ben.npy", table[1])

    assert speakers.names == ("anna", "men-0", "men-1")
    np.testing.assert_allclose(speakers.table, [[0.6, 0.8], [0.6, 0.8], [0, 1]], rtol=1e-6)
    assert read_speakers(tmp_path / "ben.npy", width=2).names == ("ben",)


def test_the_speaker_net_picks_a_row(tmp_path: Path) -> None:
    speakers = read_speakers(save(tmp_path / "some.npz", anna=np.array([3.0, 4.0]), ben=[0, 1]), width=2)

    got = run_net(speakers.net(), {"speaker": np.array([1, 0])})

    np.testing.assert_allclose(got["speaker_embedding"], [[0, 1], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.ones((2, 3)), r"'x' is float64 \[2, 3\]; want \[2\] or \[speakers, 2\]"),
        (np.ones((1, 2, 2)), r"'x' is float64 \[1, 2, 2\]; want"),
        (np.zeros((0, 2)), r"'x' is float64 \[0, 2\]; want"),
        (np.array(["a", "b"]), r"'x' is <U1 \[2\]; want"),
        (np.array([[1, 1], [0, 0]]), "'x' holds an embedding of zeros, or one that is not finite"),
        (np.array([1, np.nan]), "'x' holds an embedding of zeros, or one that is not finite"),
        (np.array([object(), object()]), "is no .npy or .npz of numbers; pickles are never read"),
    ],
    ids=["width", "rank", "none", "words", "zeros", "nan", "pickle"],
)
def test_what_is_no_embedding_is_refused(tmp_path: Path, array: np.ndarray, fault: str) -> None:
    with pytest.raises(ImporterError, match=fault):
        read_speakers(save(tmp_path / "some.npz", x=array), width=2)


def test_a_file_that_holds_no_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.npy").write_bytes(b"speaker")

    with pytest.raises(ImporterError, match=r"no \.npy or \.npz of numbers"):
        read_speakers(tmp_path / "some.npy", width=2)
    with pytest.raises(ImporterError, match=r"other\.npy: cannot be read: No such file"):
        read_speakers(tmp_path / "other.npy", width=2)
    with pytest.raises(ImporterError, match="holds no embeddings"):
        read_speakers(save(tmp_path / "empty.npz"), width=2)


def test_two_speakers_of_one_name_are_refused(tmp_path: Path) -> None:
    twins = save(tmp_path / "some.npz", **{"men": np.eye(2), "men-1": np.ones(2)})

    with pytest.raises(ImporterError) as caught:
        read_speakers(twins, width=2)
    assert str(caught.value) == f"{twins}: 2 embeddings are called 'men-1'"


def test_many_speakers_are_named_in_short(tmp_path: Path) -> None:
    few = read_speakers(save(tmp_path / "few.npz", anna=np.ones(2), ben=np.ones(2)), width=2)
    many = read_speakers(save(tmp_path / "many.npz", men=np.eye(900) + 1), width=900)

    assert few.shown == "anna, ben"
    assert many.shown == "men-0, men-1, men-2, men-3, men-4, men-5, men-6, men-7 … (900 in all)"
