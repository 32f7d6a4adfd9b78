"""Stretch encodings to frames."""
