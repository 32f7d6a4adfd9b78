"""Encode a whole utterance."""
