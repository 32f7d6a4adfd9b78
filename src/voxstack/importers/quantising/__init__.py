"""Quantise nets at import: which convolutions may compute in 8 bits is measured, not stated."""
