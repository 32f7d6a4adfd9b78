"""Ask for samples whose rate is known, as every effect does."""

from fractions import Fraction

from voxstack.core.errors import WiringError
from voxstack.core.ports import Port, Ports
from voxstack.core.site import Site

__all__ = ["SAMPLES", "samples_above"]

SAMPLES: Ports = {"samples": Port("samples", "float32", ("samples",))}
"""What an effect reads from the stream above it."""


def samples_above(site: Site) -> tuple[Port, Fraction]:
    """Return the port of the samples that flow to `site`, and how many come per second.

    Raises:   WiringError if there are none, or nobody says how many
    """
    source = site.source or {}
    site.need(SAMPLES, source, of="the stream above")
    port = source["samples"]
    if port.rate is None:
        raise WiringError(
            "the stream above does not say how many samples per second it gives", where=site.path
        )
    return port, port.rate
