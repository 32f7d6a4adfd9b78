"""Check the names of the controls that a request has chosen."""

from collections.abc import Iterable

from voxstack.core.errors import RequestError, suggest

__all__ = ["SEED", "check_names"]

SEED = "seed"
"""What every voice takes beside its own controls."""


def check_names(voice: str, known: Iterable[str], given: Iterable[str]) -> None:
    """Raise RequestError for the first control that a voice does not have."""
    names = [*known, SEED]
    for name in given:
        if name not in names:
            raise RequestError(
                f"voice '{voice}' has no control '{name}'{suggest(name, names)}", where="controls"
            )
