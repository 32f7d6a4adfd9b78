"""Hold the names of addons in a deployment file to the addons that are installed."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from voxstack.core.errors import ConfigError
from voxstack.engine.library import names
from voxstack.stack.addon import Addon
from voxstack.stack.deployment import Deployment

__all__ = ["check_names"]

LEAST_SHARED = 2
"""Letters that two names share around the one that differs: "a" is no misspelt "b"."""


def check_names(deployment: Deployment, addon: Addon, folders: Sequence[str | Path] = ()) -> None:
    """Refuse a name that is an installed one but for a slip of the pen; others may be other machines'.

    In:       addon    that is being loaded, from wherever
              folders  where others are looked for first
    Raises:   ConfigError with the path in the file
    """
    stated = deployment.config.addons
    if not stated.keys() - {addon.name}:
        return
    known = {addon.name, *names([*folders, Path(addon.files.where).parent])}
    for name in stated.keys() - known:
        # Who states both knows that they are two.
        meant = next((other for other in sorted(known - stated.keys()) if _is_slip(name, other)), None)
        if meant is not None:
            raise ConfigError(
                f"no addon '{name}' is installed; did you mean '{meant}'? "
                f"If '{name}' is installed elsewhere, state an empty addons.{meant}, too",
                where=deployment.where(f"$.addons.{name}"),
            )


def _is_slip(got: str, name: str) -> bool:
    """Answer whether one letter is missing, added or another, two are swapped, or only case and "_" differ.

    A digit is no slip: "joe2" is another than "joe".
    """
    one, two = _plain(got), _plain(name)
    front = _shared(one, two)
    back = _shared(one[front:][::-1], two[front:][::-1])
    a, b = one[front : len(one) - back], two[front : len(two) - back]
    if len(a) == len(b) == 2:
        return a == b[::-1]
    return max(len(a), len(b)) <= 1 and front + back >= LEAST_SHARED and not (a + b).isdigit()


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


def _shared(one: str, two: str) -> int:
    """Return how many letters two words have in common at their front."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
