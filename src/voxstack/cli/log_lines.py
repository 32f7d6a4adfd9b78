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
    level = logger.level
    set_up = [*logger.handlers, *logging.getLogger().handlers]
    handler = None
    if all(isinstance(one, logging.NullHandler) for one in set_up):
        handler = logging.StreamHandler()  # one JSON line each, as it is
        logger.addHandler(handler)
        if level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        if handler is not None:
            logger.removeHandler(handler)
        logger.setLevel(level)
