"""Put the whole stack of another addon in the place of one StreamableBlock."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from voxstack.core.blocks import Stream, StreamableBlock, Timing
from voxstack.core.ports import Ports, Tensors
from voxstack.core.site import Site

__all__ = ["NestedAddon", "nested_names"]


@dataclass(frozen=True)
class NestedAddon:
    """The stack of another installed addon, with its own nets, mel format and profile.

    Of that addon's controls, those that the voice around it has too are set by the request; the others
    are as that addon has them by default.

    In:       what the other stack takes; ids only if both addons make them by the same front end
    Out:      what the other stack gives: mel or samples
    Timing:   the other stack's
    Raises:   RequestError if there is no such addon, ConfigError if it stands inside itself, WiringError
              if it does not fit here
    """

    @dataclass(frozen=True)
    class Options:
        """`name` is the other addon's name."""

        name: str

    block: StreamableBlock
    defaults: Tensors

    @classmethod
    def wire(cls, options: Options, site: Site) -> StreamableBlock:
        return site.addon(options.name)

    @property
    def takes(self) -> Ports:
        return {name: port for name, port in self.block.takes.items() if name not in self.defaults}

    @property
    def gives(self) -> Ports:
        return self.block.gives

    @property
    def consumes(self) -> Ports | None:
        return self.block.consumes

    @property
    def timing(self) -> Timing:
        return self.block.timing

    def open(self, tensors: Tensors, source: Stream | None) -> Stream:
        return self.block.open({**tensors, **self.defaults}, source)


def nested_names(entry: Any) -> Iterator[str]:
    """Yield the names of the addons that stand in a stack's JSON, at any depth."""
    if isinstance(entry, list):
        for inner in cast("list[Any]", entry):
            yield from nested_names(inner)
    elif isinstance(entry, dict):
        keys = cast("dict[str, Any]", entry)
        if keys.get("type") in ("Addon", "Addon.v1") and isinstance(keys.get("name"), str):
            yield keys["name"]
        for inner in keys.values():
            yield from nested_names(inner)
