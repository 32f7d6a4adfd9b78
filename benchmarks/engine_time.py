"""Add up the time that nets spend inside their engines."""

import time

from voxstack.engine.net_around import NetAround


def time_engine(net, add) -> None:
    """Call `add` with the seconds of each run that a net's engine makes from now on."""
    while isinstance(net, NetAround):
        net = net.net
    for executable in set(net._executables.values()):
        for name in ("run", "run_values"):
            setattr(executable, name, _timed(getattr(executable, name), add))


def _timed(run, add):
    def timed(*arguments):
        started = time.perf_counter()
        try:
            return run(*arguments)
        finally:
            add(time.perf_counter() - started)

    return timed
