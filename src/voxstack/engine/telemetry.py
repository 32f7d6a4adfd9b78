"""Say whether a service is told of a voice's requests, and whom: OpenTelemetry, the log, or nobody.

Nothing of it is imported, and nothing stands around a net or a block, unless it is asked for: by `load`,
by $VOXSTACK_TELEMETRY, or by the deployment file; the first that says anything holds.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstack.core.errors import RequestError, suggest
from voxstack.core.nets import Net
from voxstack.stack.deployment import TELEMETRY, Deployment
from voxstack.stack.wire import Block

if TYPE_CHECKING:
    from voxstack.engine.assembly import Watch
    from voxstack.engine.observing import Observer
    from voxstack.engine.signals import Measure

__all__ = ["Telemetry", "Together", "chosen", "open_observer"]

VARIABLE = "VOXSTACK_TELEMETRY"


@dataclass(frozen=True)
class Telemetry:
    """Choose what is told.

    has_signals      spans and metrics, through opentelemetry-api; log lines are written in any case
    has_texts        also what was said, and messages that may quote it
    tracer_provider  where spans go; None: the provider that is set globally
    meter_provider   where metrics go; None: the provider that is set globally
    measure          gets what the metrics count, whether or not there are signals; from any thread, and
                     must be quick
    """

    has_signals: bool = True
    has_texts: bool = False
    tracer_provider: Any = None
    meter_provider: Any = None
    measure: "Measure | None" = None


def open_observer(
    asked: "Telemetry | str | bool | None", deployment: Deployment, *, voice: str, profile: str
) -> "Observer | None":
    """Return what observes a voice as it was asked for; None if nobody is to be told.

    In:       asked  "on" or True, "logs", "off" or False, or a Telemetry; None: as the environment says, or
              else the deployment file
    Raises:   RequestError if that is none of them; ConfigError if opentelemetry-api is missing
    """
    telemetry = chosen(asked, deployment)
    if telemetry is None:
        return None
    from voxstack.engine.observing import Observer
    from voxstack.engine.pieces import Told
    from voxstack.engine.signals import Signals

    signals = None
    if telemetry.has_signals:
        signals = Signals(tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider)
    return Observer(
        Told({"voice": voice, "profile": profile}, signals, telemetry.has_texts, telemetry.measure)
    )


def chosen(asked: "Telemetry | str | bool | None", deployment: Deployment) -> Telemetry | None:
    """Return what is told, None if nothing: as asked for, else as the environment or the file says."""
    if isinstance(asked, Telemetry):
        return asked
    where = "telemetry"
    if isinstance(asked, bool):
        asked = "on" if asked else "off"
    if asked is None and (said := os.environ.get(VARIABLE)):
        asked, where = said, f"${VARIABLE}"
    if asked is None:
        asked = deployment.config.telemetry or "off"
    if asked not in TELEMETRY:
        raise RequestError(f"got {asked!r}{suggest(str(asked), TELEMETRY)}", where=where)
    return None if asked == "off" else Telemetry(has_signals=asked == "on")


@dataclass(frozen=True)
class Together:
    """Let several look into one stack; the first stands innermost."""

    watches: "tuple[Watch, ...]"

    def net(self, name: str, net: Net) -> Net:
        for watch in self.watches:
            net = watch.net(name, net)
        return net

    def block(self, path: str, name: str, block: Block) -> Block:
        for watch in self.watches:
            block = watch.block(path, name, block)
        return block
