"""Decode frames."""
