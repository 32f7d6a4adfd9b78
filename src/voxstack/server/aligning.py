"""Say when each character of a text is spoken, message by message, as ElevenLabs does."""

from typing import Any

from voxstack.engine.mark_lines import character_times
from voxstack.server.dictating import Piece

__all__ = ["Aligner"]


class Aligner:
    """Of one request, whose words are marked; each message has the characters up to its last word's end."""

    def __init__(self) -> None:
        self._told = 0
        self._has_words = False

    def take(self, piece: Piece, text: str) -> dict[str, Any] | None:
        """Return what a piece's message says; None if no character begins in it.

        Its times count from where the piece's audio begins.

        In:       text  the request's, as far as it is written
        """
        words = [mark for mark in piece.marks if mark.kind == "word"]
        self._has_words = self._has_words or bool(words)
        if words:
            end = max(mark.end for mark in words)
        elif piece.audio is None and self._has_words:
            end = len(text)
        else:
            return None
        start, self._told = self._told, max(self._told, end)
        if self._told == start:
            return None
        begin_s, end_s = piece.begin_s, piece.made_s
        times = character_times(text, words, start=start, end=self._told, begin_s=begin_s, end_s=end_s)
        return times.as_websocket()
