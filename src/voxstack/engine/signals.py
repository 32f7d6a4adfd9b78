"""Name every span and metric that a service is told of, and tell them through the OpenTelemetry API.

The API alone does nothing; what collects and sends it is the program's choice, and is found through the
providers that are set globally, or given. Attributes of metrics are few and bounded: never a text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

from voxstack import __version__
from voxstack.core.errors import ConfigError

__all__ = ["METRICS", "SPANS", "Facts", "Measure", "Metric", "Signals", "attributes"]

Facts: TypeAlias = Mapping[str, str | int | float | bool]

Measure: TypeAlias = Callable[[str, float, Facts], None]
"""Takes a metric's name, by how much it counts or what was measured, and by what it is told apart."""

SCOPE = "voxstack"

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
NET_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


@dataclass(frozen=True)
class Metric:
    """One instrument: how it counts, its unit as OpenTelemetry writes it, and by what it is told apart.

    by       facts beside voice and profile
    buckets  upper bounds of a histogram's, in `unit`
    """

    name: str
    kind: Literal["counter", "up_down_counter", "histogram"]
    unit: str
    meaning: str
    by: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = {
    metric.name: metric
    for metric in (
        Metric("voxstack.requests", "counter", "{request}", "requests that ended", ("outcome", "error_type")),
        Metric("voxstack.active_requests", "up_down_counter", "{request}", "requests being spoken now"),
        Metric(
            "voxstack.first_audio",
            "histogram",
            "s",
            "from a streamed request's begin to its first audio",
            buckets=SECONDS,
        ),
        Metric(
            "voxstack.real_time_factor",
            "histogram",
            "1",
            "time that the stack worked, for each second of audio of a request that was spoken to its end",
            buckets=FACTORS,
        ),
        Metric("voxstack.chunk.duration", "histogram", "s", "time to make a chunk", buckets=SECONDS),
        Metric("voxstack.utterances", "counter", "{utterance}", "utterances spoken to their end"),
        Metric("voxstack.audio", "counter", "s", "audio given to listeners"),
        Metric("voxstack.underruns", "counter", "{underrun}", "chunks that came when the audio had run out"),
        Metric(
            "voxstack.net.duration",
            "histogram",
            "s",
            "a run of a net; of a recurrent one, all steps for a chunk",
            ("net",),
            NET_SECONDS,
        ),
        Metric("voxstack.events", "counter", "{event}", "what blocks noticed, data aside", ("kind",)),
    )
}

_ENDED = {
    "outcome": "`done`, `cancelled` (nobody listened any more), `error`, or `split` (said in parts)",
    "error_type": "class of the error, if there was one",
}

SPANS: dict[str, dict[str, str]] = {
    "request": {
        "request": "a number by which its lines in the log are found",
        "voice": "name of its addon",
        "profile": "how its nets run",
        "characters": "of its text, as far as it was read",
        "seed": "of its noise",
        "is_stream": "whether chunks are heard as they come, or the whole at its end",
        "utterances": "spoken to their end",
        "chunks": "given",
        "audio_s": "given",
        "first_audio_s": "until the first audio, if it is a stream",
        "work_s": "in which its stack worked",
        "rtf": "`work_s` for each second of audio",
        "underruns": "chunks that came when the audio had run out",
        **_ENDED,
        "text": "what was said, if texts are asked for",
    },
    "utterance": {
        "utterance": "its number in the request, from 0",
        "ids": "symbols that the nets read",
        "samples": "made",
        "frames": "made, if the voice has frames",
        **_ENDED,
    },
    "chunk": {
        "utterance": "number of its utterance",
        "asked": "samples that were asked for",
        "samples": "made; fewer at an utterance's end",
        "wait_s": "since somebody asked for audio",
        **_ENDED,
    },
    "net": {
        "net": "its name",
        "runtime": "engine, version and device that ran it",
        "precision": "what it computed in",
        "steps": "on its ragged axis; of a recurrent net, steps that it made",
        "work_s": "of a recurrent net, inside its steps",
        **_ENDED,
    },
}
"""By span, its facts. One is the attribute `voxstack.FACT`, and in a line of the log the key `FACT`."""

_PLAIN = {"error_type": "error.type"}


def attributes(facts: Facts) -> dict[str, str | int | float | bool]:
    """Return facts under the names that OpenTelemetry sees.

    Example:
        >>> attributes({"voice": "joe", "error_type": "NetError"})
        {'voxstack.voice': 'joe', 'error.type': 'NetError'}
    """
    return {_PLAIN.get(name, f"{SCOPE}.{name}"): value for name, value in facts.items()}


class Signals:
    """Spans and metrics of one voice, through the API of the package opentelemetry-api.

    In:       tracer_provider, meter_provider  None: those that are set globally, now or later
    Raises:   ConfigError if the package is not installed
    """

    def __init__(self, *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        try:
            self._contexts = import_module("opentelemetry.context")
            self._traces = import_module("opentelemetry.trace")
            metrics = import_module("opentelemetry.metrics")
        except ImportError as error:
            raise ConfigError(
                "spans and metrics need the package opentelemetry-api; "
                "install it with: pip install 'voxstack[telemetry]', or ask for 'logs' alone",
                where="telemetry",
            ) from error
        self._tracer = self._traces.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._instruments = {name: _instrument(meter, metric) for name, metric in METRICS.items()}

    def here(self) -> Any:
        """Return the caller's context, in which its own span may be."""
        return self._contexts.get_current()

    def begin(self, name: str, facts: Facts, context: Any, *, start_ns: int | None = None) -> tuple[Any, Any]:
        """Begin a span inside that of a context; return it and the context in which it is the current one."""
        span = self._tracer.start_span(
            f"{SCOPE}.{name}", context, attributes=attributes(facts), start_time=start_ns
        )
        return span, self._traces.set_span_in_context(span, context)

    def attach(self, context: Any) -> Any:
        return self._contexts.attach(context)

    def detach(self, token: Any) -> None:
        self._contexts.detach(token)

    def fail(self, span: Any, message: str) -> None:
        """Say that a span ended in an error; a cancelled one did not."""
        span.set_status(self._traces.StatusCode.ERROR, message or None)

    def tell(self, metric: str, value: float, facts: Facts) -> None:
        """Count or measure; `facts` are those that the metric is told apart by, voice and profile too."""
        self._instruments[metric](value, attributes(facts))


def _instrument(meter: Any, metric: Metric) -> Any:
    keywords = {"unit": metric.unit, "description": metric.meaning}
    if metric.kind == "histogram":
        made = meter.create_histogram(
            metric.name, explicit_bucket_boundaries_advisory=metric.buckets, **keywords
        )
        return made.record
    return getattr(meter, f"create_{metric.kind}")(metric.name, **keywords).add
