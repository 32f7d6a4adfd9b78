"""Spell English IPA, as espeak-ng writes it, in ARPAbet with stress digits: the alphabet of CMUdict."""

import unicodedata
from collections.abc import Iterator

__all__ = ["SYMBOLS", "arpabet"]

PRIMARY, SECONDARY = "ˈ", "ˌ"
_VOWELS = {
    "ɑː": "AA", "ɑ": "AA", "a": "AA", "aː": "AA", "ɒ": "AA",
    "æ": "AE",
    "ə": "AH", "ɐ": "AH", "ʌ": "AH",
    "ɔː": "AO", "ɔ": "AO", "oː": "AO", "o": "OW",
    "aʊ": "AW",
    "aɪ": "AY",
    "ɛ": "EH", "ɛː": "EH",
    "ɚ": "ER", "ɚɹ": "ER", "ɜː": "ER", "ɜːɹ": "ER", "ɜ": "ER", "ɝ": "ER",
    "eɪ": "EY", "e": "EY", "eː": "EY",
    "ɪ": "IH", "ᵻ": "IH", "ɨ": "IH",
    "iː": "IY", "i": "IY", "ɪʲ": "IY",
    "oʊ": "OW", "əʊ": "OW",
    "ɔɪ": "OY",
    "ʊ": "UH",
    "uː": "UW", "u": "UW", "ʉ": "UW", "y": "UW",
}  # fmt: skip
_CONSONANTS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G", "g": "G", "ɾ": "T", "ʔ": "T",
    "tʃ": "CH", "dʒ": "JH",
    "f": "F", "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH",
    "h": "HH", "ç": "HH", "x": "K",
    "m": "M", "n": "N", "ŋ": "NG", "l": "L", "ɫ": "L", "ɬ": "L", "ɹ": "R", "r": "R",
    "j": "Y", "w": "W", "ʍ": "W",
}  # fmt: skip
_SYLLABIC = {"n̩": "N", "l̩": "L", "m̩": "M"}
_REDUCED = frozenset(("ə", "ɐ", "ɚ", "ɚɹ", "ᵻ", "ɨ", "i"))
"""Vowels that bear no stress in a word spoken alone."""

_TABLE = {unicodedata.normalize("NFD", sign): sign for sign in (*_VOWELS, *_CONSONANTS, *_SYLLABIC)}
_LONGEST = max(map(len, _TABLE))
SYMBOLS = frozenset(
    [vowel + digit for vowel in _VOWELS.values() for digit in "012"] + list(_CONSONANTS.values())
)
"""Every symbol that can come out."""


def arpabet(word: str) -> tuple[str, ...]:
    """Return the ARPAbet symbols of a word in IPA, each vowel with 1, 2 or 0 for its stress.

    As in CMUdict every word has a primary stress: where espeak-ng marks none, because the word is weak in
    its sentence, its first full vowel bears it. Signs of no English sound are left out.

    Source:   CMUdict's phone set (Carnegie Mellon University); the IPA of espeak-ng's voice en-us
    Example:
        >>> arpabet("wˈɔːɾɚ")
        ('W', 'AO1', 'T', 'ER0')
        >>> arpabet("ɪt"), arpabet("ðə")
        (('IH1', 'T'), ('DH', 'AH0'))
    """
    sounds = list(_sounds(unicodedata.normalize("NFD", word)))
    marks = [mark for _, mark in sounds]
    if PRIMARY not in marks:
        strongest = _first(sounds, SECONDARY)
        if strongest is not None:
            sounds[strongest] = (sounds[strongest][0], PRIMARY)
    return tuple(symbol for sound, mark in sounds for symbol in _symbols(sound, mark))


def _first(sounds: list[tuple[str, str]], mark: str) -> int | None:
    """Return the place of the first vowel with a mark; without one, of the first that is not reduced."""
    vowels = [place for place, (sound, _) in enumerate(sounds) if sound in _VOWELS]
    marked = [place for place in vowels if sounds[place][1] == mark]
    full = [place for place in vowels if sounds[place][0] not in _REDUCED]
    return next(iter([*marked, *full]), None)


def _sounds(word: str) -> Iterator[tuple[str, str]]:
    """Yield the sounds of a word, each vowel with the stress mark that stands before it."""
    place, mark = 0, ""
    while place < len(word):
        if word[place] in (PRIMARY, SECONDARY):
            mark = word[place]
            place += 1
            continue
        for size in range(min(_LONGEST, len(word) - place), 0, -1):
            sound = _TABLE.get(word[place : place + size])
            if sound is not None:
                takes_mark = sound not in _CONSONANTS
                yield sound, mark if takes_mark else ""
                mark = "" if takes_mark else mark
                place += size
                break
        else:
            place += 1


def _symbols(sound: str, mark: str) -> tuple[str, ...]:
    digit = {PRIMARY: "1", SECONDARY: "2"}.get(mark, "0")
    if sound in _SYLLABIC:
        return f"AH{digit}", _SYLLABIC[sound]
    return (_VOWELS[sound] + digit,) if sound in _VOWELS else (_CONSONANTS[sound],)
