"""Write what a request does as JSON lines, through the standard logger "voxstack"."""

import json
import logging
from datetime import UTC, datetime

from voxstack.engine.signals import Facts

__all__ = ["LOGGER", "write_line"]

LOGGER = logging.getLogger("voxstack")
LOGGER.addHandler(logging.NullHandler())  # silent, warnings too, until the program configures logging


def write_line(level: int, event: str, facts: Facts) -> None:
    """Write one line, if anybody wants that level: what, when, and its facts."""
    if LOGGER.isEnabledFor(level):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": logging.getLevelName(level), "event": event, **facts}
        LOGGER.log(level, "%s", json.dumps(line, ensure_ascii=False))
