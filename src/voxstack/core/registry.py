"""Find a block's class by the name that stands in an addon's JSON.

Names carry a version ("Upsampler.v2"); a name without one means v1 for ever, so that an old addon
keeps its meaning. Packages add names through the entry point group `voxstack.blocks`.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from voxstack.core.errors import ConfigError, suggest

__all__ = ["GROUP", "Registry", "versioned"]

GROUP = "voxstack.blocks"


def versioned(name: str) -> str:
    """Return the full name of a block.

    Example:
        >>> versioned("Upsampler"), versioned("Upsampler.v2")
        ('Upsampler.v1', 'Upsampler.v2')
    """
    return name if re.search(r"\.v[1-9][0-9]*$", name) else f"{name}.v1"


class Registry:
    """Names of blocks and how to load each one's class; nothing is imported before it is asked for.

    In:       standard  full name → "module:Class"; these names belong to voxstack
              group     entry point group in which installed packages add theirs
    """

    def __init__(self, standard: Mapping[str, str], *, group: str = GROUP) -> None:
        self._loaders: dict[str, Callable[[], Any]] = {
            name: _loader(target) for name, target in standard.items()
        }
        self._group = group
        self._packages_read = False

    def find(self, name: str, *, path: str) -> Any:
        """Return the class registered as `name`; raise ConfigError, at `path`, if there is none."""
        full = versioned(name)
        if full not in self._loaders:
            self._read_packages()
        if full not in self._loaders:
            known = [other.removesuffix(".v1") for other in self._loaders]
            raise ConfigError(f"no block '{name}'{suggest(name, known)}", where=path)
        try:
            return self._loaders[full]()
        except Exception as error:
            raise ConfigError(
                f"block '{name}' is registered but cannot be imported: {error}; mend or remove its package",
                where=path,
            ) from error

    def names(self) -> list[str]:
        """Return the full names of all blocks, sorted."""
        self._read_packages()
        return sorted(self._loaders)

    def _read_packages(self) -> None:
        if self._packages_read:
            return
        found: dict[str, Callable[[], Any]] = {}
        for entry in entry_points(group=self._group):
            name = versioned(entry.name)
            if name in self._loaders or name in found:
                raise ConfigError(
                    f"'{entry.value}' wants the name '{name}', which is taken; rename that block",
                    where=f"entry point {self._group}",
                )
            found[name] = entry.load
        self._loaders |= found
        self._packages_read = True


def _loader(target: str) -> Callable[[], Any]:
    module, _, attribute = target.partition(":")
    return lambda: getattr(importlib.import_module(module), attribute)
