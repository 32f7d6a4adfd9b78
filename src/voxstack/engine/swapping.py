"""Put a folder that is whole in the place of another one, whoever else does the same at the same time."""

from pathlib import Path

__all__ = ["swap"]

TRIES = 100
"""Each that fails means that somebody else has put a folder there just now."""


def swap(new: Path, place: Path, old: Path) -> None:
    """Put `new` at `place`; what stood there goes below `old`, and comes back if the renaming fails.

    In:       new, old  on the disk of `place`; `old` is a folder that nobody else uses, or is not there yet
    Raises:   OSError if it cannot be done
    """
    old.mkdir(exist_ok=True)
    for turn in range(TRIES):
        moved = old / str(turn)
        try:
            place.replace(moved)
        except FileNotFoundError:
            moved = None
        try:
            new.replace(place)
        except OSError:
            if turn + 1 < TRIES and place.exists():
                continue  # somebody was faster
            if moved is not None:
                moved.replace(place)
            raise
        return
