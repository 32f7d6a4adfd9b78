"""Count what a server does, for Prometheus: what the engine tells of each voice, and what clients see."""

from collections.abc import Callable, Iterable, Sequence

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from voxstack.engine.places import VoiceState
from voxstack.engine.scheduler import lane_of
from voxstack.engine.service import Service
from voxstack.engine.signals import METRICS, SECONDS, Facts, Metric

__all__ = ["OWN", "Metrics"]

GAPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

OWN = {
    "voxstack_http_requests": "answers, by route, method and status",
    "voxstack_http_first_audio_seconds": "from a request's arrival until its connection took its first audio",
    "voxstack_http_chunk_gap_seconds": "between two chunks of a connection, a slow listener's time included",
    "voxstack_http_audio_bytes": "encoded audio given to connections",
    "voxstack_refusals": "requests that were refused, by reason",
    "voxstack_cancellations": "streams that ended early: the client left, stalled, or its audio broke off",
    "voxstack_failed_recordings": "utterances of which a file that blocks write could not be written",
    "voxstack_connections": "connections that are open, by protocol; WebSockets are of `http`",
    "voxstack_closed_connections": "connections closed for want of room: `idle`, or new ones, `full`",
    "voxstack_streams": "requests at work",
    "voxstack_queued_characters": "characters of admitted texts that are not spoken yet",
    "voxstack_lane_running": "runs of nets at work",
    "voxstack_lane_waiting": "runs of nets that wait for their turn",
    "voxstack_voice_state": "1 for the state that a voice is in",
    "voxstack_addon_fault": "1 for each addon that cannot be used, or not as it is on disk now",
    "voxstack_nets_bytes": "bytes of the files of all nets in memory",
    "voxstack_draining": "1 when the server takes no new requests",
}
"""What a server counts beside the engine's metrics."""


class Metrics:
    """The instruments of one server.

    In:       service, is_draining, faults  what gauges are read from when somebody asks
    """

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._engine = {name: _instrument(metric, self.registry) for name, metric in METRICS.items()}
        here = self.registry
        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        self.requests = counter(*_own("voxstack_http_requests"), ["route", "method", "status"], registry=here)
        self.first_audio = histogram(
            *_own("voxstack_http_first_audio_seconds"), ["voice", "format"], buckets=SECONDS, registry=here
        )
        self.chunk_gap = histogram(
            *_own("voxstack_http_chunk_gap_seconds"), ["voice", "format"], buckets=GAPS, registry=here
        )
        self.audio_bytes = counter(*_own("voxstack_http_audio_bytes"), ["voice", "format"], registry=here)
        self.refusals = counter(*_own("voxstack_refusals"), ["reason"], registry=here)
        self.cancellations = counter(*_own("voxstack_cancellations"), ["voice", "reason"], registry=here)
        self.failed_recordings = counter(*_own("voxstack_failed_recordings"), ["voice"], registry=here)
        self.closed_connections = counter(
            *_own("voxstack_closed_connections"), ["protocol", "reason"], registry=here
        )
        self.connections = prometheus_client.Gauge(*_own("voxstack_connections"), ["protocol"], registry=here)

    def measure(self, metric: str, value: float, facts: Facts) -> None:
        """Take what the engine tells of a voice's requests."""
        by = METRICS[metric].by
        labels = [str(facts.get(name, "")) for name in ("voice", "profile", *by)]
        instrument = self._engine[metric].labels(*labels)
        if isinstance(instrument, prometheus_client.Histogram):
            instrument.observe(value)
        else:
            instrument.inc(value)

    def watch(
        self, service: Service, is_draining: Callable[[], bool], faults: Callable[[], Iterable[str]]
    ) -> None:
        """Read the gauges from a service, from now on, and the names of addons with faults."""
        self.registry.register(_Gauges(service, is_draining, faults))

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)


def _own(name: str) -> tuple[str, str]:
    return name, OWN[name]


def _instrument(
    metric: Metric, registry: prometheus_client.CollectorRegistry
) -> prometheus_client.Counter | prometheus_client.Gauge | prometheus_client.Histogram:
    name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
    labels = ["voice", "profile", *metric.by]
    if metric.kind == "histogram":
        return prometheus_client.Histogram(
            name, metric.meaning, labels, buckets=metric.buckets, registry=registry
        )
    kind = prometheus_client.Counter if metric.kind == "counter" else prometheus_client.Gauge
    return kind(name, metric.meaning, labels, registry=registry)


class _Gauges(Collector):
    """What is so at the moment, asked for when it is wanted."""

    def __init__(
        self, service: Service, is_draining: Callable[[], bool], faults: Callable[[], Iterable[str]]
    ) -> None:
        self._service = service
        self._is_draining = is_draining
        self._faults = faults

    def collect(self) -> Sequence[GaugeMetricFamily]:
        service, lane = self._service, lane_of("cpu").state
        values = {
            "voxstack_streams": service.at_work,
            "voxstack_queued_characters": service.admission.queued,
            "voxstack_lane_running": lane.running,
            "voxstack_lane_waiting": lane.waiting,
            "voxstack_nets_bytes": service.voices.in_use_bytes,
            "voxstack_draining": int(self._is_draining()),
        }
        plain = [GaugeMetricFamily(*_own(name), value=value) for name, value in values.items()]
        faults = GaugeMetricFamily(*_own("voxstack_addon_fault"), labels=["addon"])
        for name in self._faults():
            faults.add_metric([name], 1)
        return [*plain, faults, _states(service.voices.states())]


def _states(states: Sequence[VoiceState]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(*_own("voxstack_voice_state"), labels=["voice", "state"])
    for row in {(state.name, state.state): state for state in states}:
        family.add_metric(row, 1)
    return family
