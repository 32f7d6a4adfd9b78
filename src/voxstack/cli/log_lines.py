"""Write what a voice tells its log to standard error, for as long as a command runs."""

import contextlib
import logging
from collections.abc import Generator

__all__ = ["log_lines"]


@contextlib.contextmanager
def log_lines() -> Generator[None, None, None]:
    """Give the logger `voxstack` a handler, unless who started us has set one up.

    Nothing is written unless $VOXSTACK_TELEMETRY or the deployment file asks for it.
    """
    logger = logging.getLogger("voxstack")
    set_up = [*logger.handlers, *logging.getLogger().handlers]
    if any(not isinstance(handler, logging.NullHandler) for handler in set_up):
        yield
        return
    handler, level = logging.StreamHandler(), logger.level  # one JSON line each, as it is
    logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
