"""Call the espeak-ng library: text in, clauses of phonemes out, one call at a time.

The library (GPL) comes with the optional extra `espeak` and is loaded at the first clause.
"""

import ctypes
import re
import threading
from importlib import import_module
from typing import NamedTuple

from voxstack.core.errors import ConfigError

__all__ = ["Clause", "read_clauses"]

_RETRIEVAL, _UTF8, _IPA, _DO_NOT_EXIT = 2, 1, 2, 0x8000
_LOCK = threading.Lock()
# Phonemes come apart by this sign, so that one which espeak-ng 1.52 leaves out of its IPA shows as a gap.
_APART = "\x1f"
# One gap behind an i is the glide to the next vowel ("the end"), two are a pause; later versions
# write the glide.
_VOWELS = "aeiouyæøœɐɑɒɔəɚɛɜɝɪɨʉʊʌʏᵻ"
_GLIDE = re.compile(f"(?<=[iɪ])(ː?){_APART}(?= [ˈˌ]?[{_VOWELS}]|{_APART}[^{_APART} ])")


class Clause(NamedTuple):
    """What espeak-ng read in one step: text[start:stop], and the phonemes that it made of it."""

    start: int
    stop: int
    phonemes: str


class _Library:
    """The loaded library and the voice it is set to; use it only under the lock."""

    def __init__(self) -> None:
        try:
            loader = import_module("espeakng_loader")
        except ImportError as error:
            raise ConfigError(
                "the addon asks for espeak-ng phonemes, which need the package espeakng-loader; "
                "install it with: pip install 'voxstack[espeak]'",
                where="$.text.type",
            ) from error
        self._calls = ctypes.CDLL(loader.get_library_path())
        self._calls.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._calls.espeak_TextToPhonemes.argtypes = [
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_int,
            ctypes.c_int,
        ]
        data = str(loader.get_data_path()).encode()
        if self._calls.espeak_Initialize(_RETRIEVAL, 0, data, _DO_NOT_EXIT) < 0:
            raise ConfigError(f"espeak-ng cannot read its data in {data!r}; reinstall voxstack[espeak]")
        self._voice = ""

    def set_voice(self, voice: str) -> None:
        if voice == self._voice:
            return
        self._voice = ""
        if self._calls.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ConfigError(
                f"espeak-ng has no voice {voice!r}; use a language such as 'en-us', 'de' or 'fr-fr'",
                where="$.text.voice",
            )
        self._voice = voice

    def read(self, text: str) -> list[Clause]:
        encoded = text.encode("utf-8", "ignore").replace(b"\0", b" ")
        buffer = ctypes.create_string_buffer(encoded)
        base = ctypes.addressof(buffer)
        pointer = ctypes.c_void_p(base)
        clauses: list[Clause] = []
        start = done = 0
        while pointer.value:
            phonemes = self._calls.espeak_TextToPhonemes(
                ctypes.byref(pointer), _UTF8, _IPA | ord(_APART) << 8
            )
            read = pointer.value - base if pointer.value else len(encoded)
            stop = start + len(encoded[done:read].decode("utf-8", "ignore"))
            clauses.append(Clause(start, stop, _ipa(phonemes)))
            start, done = stop, read
        return clauses


def _ipa(phonemes: bytes | None) -> str:
    apart = (phonemes or b"").decode("utf-8", "replace")
    return _GLIDE.sub(r"\1ʲ", apart).replace(_APART, "")


_loaded: list[_Library] = []


def read_clauses(texts: list[str], *, voice: str) -> list[list[Clause]]:
    """Return the clauses of every text, read by the espeak-ng voice of that name.

    The library reads one character ahead: a clause's `stop` may lie behind the first letter of
    the next clause.

    Raises: ConfigError if the extra is not installed or the voice is unknown.
    """
    with _LOCK:
        if not _loaded:
            _loaded.append(_Library())
        library = _loaded[0]
        library.set_voice(voice)
        return [library.read(text) for text in texts]
