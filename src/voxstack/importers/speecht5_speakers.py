"""Read the speaker embeddings that give a SpeechT5 model its voices, and make a net of their table."""

import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstack.core.errors import ImporterError
from voxstack.importers.cut_net import CutNet, net_of
from voxstack.importers.graphs.graph import Edge, Graph

__all__ = ["Speakers", "read_speakers"]

Array = NDArray[Any]
SHOWN = 8


@dataclass(frozen=True)
class Speakers:
    """The voices that the model can take: names, and a table [speakers, width] of unit length."""

    names: tuple[str, ...]
    table: Array

    @property
    def shown(self) -> str:
        """The names in a line; of many the first."""
        more = f" … ({len(self.names)} in all)" if len(self.names) > SHOWN else ""
        return ", ".join(self.names[:SHOWN]) + more

    def net(self) -> CutNet:
        """Return the encoder that gives the embedding of the speaker that a request names by number."""
        out = Edge("speaker_embedding", "float32", ("batch", self.table.shape[1]))
        graph = Graph([], {"table": self.table}, [Edge("speaker", "int64", ("batch",))], [out], opset=18)
        graph.rename(graph.add("Gather", ["table", "speaker"]), out.name)
        return net_of(graph, role="encoder", ragged=None)


def read_speakers(path: Path, *, width: int) -> Speakers:
    """Read speaker embeddings: [width] or [speakers, width], in a .npy, or by their names in a .npz."""
    where = str(path)
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = dict(found) if hasattr(found, "files") else {path.stem: found}
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror or error}", where=where) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ImporterError("is no .npy or .npz of numbers; pickles are never read", where=where) from error
    names: list[str] = []
    rows: list[Array] = []
    for name, array in arrays.items():
        table = np.atleast_2d(array)
        if table.ndim != 2 or table.shape[1] != width or table.dtype.kind not in "fiu" or not len(table):
            raise ImporterError(
                f"'{name}' is {array.dtype} {list(array.shape)}; want [{width}] or [speakers, {width}]",
                where=where,
            )
        lengths = np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths) & (lengths > 0)):
            raise ImporterError(
                f"'{name}' holds an embedding of zeros, or one that is not finite", where=where
            )
        rows.append(table / lengths)
        names += [name] if len(table) == 1 else [f"{name}-{number}" for number in range(len(table))]
    if not rows:
        raise ImporterError("holds no embeddings", where=where)
    ((twin, times),) = Counter(names).most_common(1)
    if times > 1:
        raise ImporterError(f"{times} embeddings are called '{twin}'", where=where)
    return Speakers(tuple(names), np.concatenate(rows).astype(np.float32))
