"""Import a TensorFlowTTS export, TFLite or ONNX: a mel voice by attention or by durations, or a vocoder.

Which of them a file holds is told by its graph: a Loop makes frames one after another, mels go into a
vocoder, and all else is a parallel model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from voxstack.core.errors import ImporterError, suggest
from voxstack.core.ports import MelFormat
from voxstack.importers import fastspeech2, mb_melgan, tacotron2
from voxstack.importers.graphs.graph import Graph
from voxstack.importers.mel_addon import Source
from voxstack.importers.tflite import convert, is_tflite
from voxstack.importers.writing import AddonReport

__all__ = ["import_sources", "read_mapper", "text_config"]

Json = dict[str, Any]
FAMILY = "tensorflowtts"


@dataclass(frozen=True)
class Corpus:
    """What no export says of itself, but the corpus it was trained on does.

    golden   symbols of a short sentence
    """

    mel: MelFormat
    languages: tuple[str, ...]
    licence: str
    golden: str


BAKER = MelFormat(sample_rate=24000, hop=300, bands=80, fmin=80, fmax=7600, log="10", normalisation="baker")
"""Each band has mean 0 and variance 1 over the corpus: such mels fit nets of the same normalisation only."""

CORPORA = {
    "baker": Corpus(
        mel=BAKER,
        languages=("zh-CN",),
        licence="unknown; the Baker corpus it was trained on is for non-commercial use",
        golden="sil n i2 #0 h ao3 #0 sh iii4 #0 j ie4 sil eos",
    )
}


@dataclass(frozen=True)
class Mapper:
    """What the JSON beside an export says: the id of each symbol, and the corpus."""

    symbols: Mapping[str, int]
    corpus: str


def import_sources(sources: Sequence[Path], out: Path) -> AddonReport:
    """Write the addon of what stands on the command line: a model, and the JSON that maps its symbols.

    A voice's JSON is looked for beside the model where it is not named.

    Raises:   ImporterError saying what is missing, not understood, or different from the model
    """
    if len(sources) > 2:
        raise ImporterError(f"got {len(sources)} files, want MODEL [MAPPER]", where=str(sources[-1]))
    path = sources[0]
    source = _read(path)
    try:
        return _import(source, sources[1] if len(sources) == 2 else None, out)
    except ImporterError as error:
        if error.where:
            raise
        raise ImporterError(error.what, where=str(path)) from error


def _import(source: Source, mapper: Path | None, out: Path) -> AddonReport:
    graph = source.model.graph
    loops = any(node.op_type == "Loop" for node in graph.node)
    if not loops and _takes_mels(source.model):
        if mapper is not None:
            raise ImporterError("a vocoder has no symbols; leave MAPPER out", where=str(mapper))
        # Its mels are taken for those of the only known corpus, so its terms are too.
        return mb_melgan.import_model(replace(source, licence=CORPORA["baker"].licence), out)
    source = _voiced(source, mapper or _mapper_beside(source.path))
    return tacotron2.import_model(source, out) if loops else fastspeech2.import_model(source, out)


def _takes_mels(model: onnx.ModelProto) -> bool:
    try:
        mb_melgan.mel_input(Graph.read(model))
    except ImporterError:
        return False
    return True


def _voiced(source: Source, path: Path) -> Source:
    """Add what the mapper tells: symbols, languages, mels, licence."""
    mapper = read_mapper(path)
    corpus = CORPORA[mapper.corpus]
    golden = [mapper.symbols.get(symbol) for symbol in corpus.golden.split()]
    return replace(
        source,
        mel=corpus.mel,
        languages=corpus.languages,
        licence=corpus.licence,
        text=text_config(mapper),
        golden_ids=() if None in golden else tuple(number for number in golden if number is not None),
    )


def text_config(mapper: Mapper) -> Json:
    """Return the front end of a voice that reads initials and finals of pinyin."""
    return {
        "type": "pinyin",
        "phoneme_ids": {symbol: [number] for symbol, number in mapper.symbols.items()},
        "start": ["sil"],
        "end": ["sil", "eos"],
        "separator": "#0",
        "zero_initial": "^",
        "apical_vowels": {"z": "ii", "c": "ii", "s": "ii", **dict.fromkeys(("zh", "ch", "sh", "r"), "iii")},
        "syllables": {"n": ["^", "en"], "ng": ["^", "en"], "yo": ["^", "iou"]},
        "pauses": {},
        "tone_sandhi": False,
        "normalise": "zh",
        "clause_ends": "、，：；",
        "max_characters": 60,
    }


def read_mapper(path: Path) -> Mapper:
    """Read a mapper's JSON.

    Raises:   ImporterError if it is none, or of a corpus that is not known here
    """
    try:
        value: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ImporterError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ImporterError(f"not JSON: {error}", where=str(path)) from error
    symbols: Any = value.get("symbol_to_id") if isinstance(value, dict) else None
    if not isinstance(symbols, dict) or not symbols or not all(map(_is_id, symbols.values())):
        raise ImporterError("'symbol_to_id' is missing, or no object of symbols and ids", where=str(path))
    speakers: Any = value.get("speakers_map")
    named = next(iter(speakers), None) if isinstance(speakers, dict) else None
    if named not in CORPORA:
        raise ImporterError(
            f"speakers_map names the corpus {named!r}, whose mels and text are not known here"
            f"{suggest(str(named), CORPORA)}",
            where=str(path),
        )
    return Mapper({str(symbol): int(number) for symbol, number in symbols.items()}, str(named))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _mapper_beside(model: Path) -> Path:
    found = [path for path in sorted(model.parent.glob("*.json")) if _is_mapper(path)]
    if len(found) != 1:
        seen = "several of them lie" if found else "none lies"
        raise ImporterError(
            f"the JSON with its 'symbol_to_id' is wanted, and {seen} beside it; name one: MODEL MAPPER",
            where=str(model),
        )
    return found[0]


def _is_mapper(path: Path) -> bool:
    try:
        return b'"symbol_to_id"' in path.read_bytes()
    except OSError:
        return False


def _read(path: Path) -> Source:
    if path.is_dir():
        raise ImporterError("is a folder; want the .tflite or .onnx file", where=str(path))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImporterError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise ImporterError(f"cannot be read: {error.strerror}", where=str(path)) from error
    facts: tuple[tuple[str, str], ...] = ()
    if is_tflite(data):
        conversion = convert(path)
        model, facts = conversion.model, (("converted", conversion.story),)
    else:
        model = _parse(data, where=str(path))
    return Source(model, path, Source.digest(path), FAMILY, BAKER, facts=facts)


def _parse(data: bytes, *, where: str) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # whatever the parser of the day raises
        raise ImporterError("neither a TFLite nor an ONNX model", where=where) from error
    if not model.graph.node:
        raise ImporterError("neither a TFLite nor an ONNX model: it holds no operators", where=where)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ImporterError(
            "its weights lie in another file; want one .onnx file that holds them", where=where
        )
    return model
