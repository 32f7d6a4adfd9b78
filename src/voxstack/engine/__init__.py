"""Speak: text in, audio out."""
