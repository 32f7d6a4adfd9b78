"""A service is told of requests, utterances, chunks and nets by spans and metrics, whatever the thread."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import voxstack
from voxstack.core.errors import NetError, RequestError
from voxstack.engine import lookouts, observing, pieces
from voxstack.engine.signals import METRICS, SPANS, attributes
from voxstack.engine.watching import Watcher

metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is not installed")
traces_sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import StatusCode  # noqa: E402

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).parents[2] / "examples" / "addons"
TWO = "Abcdefghijkl abcdefghijkl. Fed cba."
LONG = "abcdefghijkl " * 20
SECRET = "Deafbead"


class Service:
    """A program that collects what it is told, in memory."""

    def __init__(self, folders):
        self.folders = folders
        self.spans = InMemorySpanExporter()
        self.tracers = traces_sdk.TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.meters = metrics_sdk.MeterProvider([self.reader])

    def load(self, name="tone", *, has_texts=False, watch=None):
        telemetry = voxstack.Telemetry(
            has_texts=has_texts, tracer_provider=self.tracers, meter_provider=self.meters
        )
        return voxstack.load(name, folders=self.folders, telemetry=telemetry, watch=watch)

    def named(self, name):
        return [span for span in self.spans.get_finished_spans() if span.name.startswith(f"voxstack.{name}")]

    def children(self, parent, name=""):
        spans = self.named(name)
        return [span for span in spans if span.parent and span.parent.span_id == parent.context.span_id]

    @property
    def request(self):
        [request] = self.named("request")
        return request

    def points(self, metric):
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        found = [one for scope in scopes for one in scope.metrics if one.name == f"voxstack.{metric}"]
        return [point for one in found for point in one.data.data_points]

    def counted(self, metric, **by):
        wanted = attributes(by).items()
        return sum(point.value for point in self.points(metric) if wanted <= dict(point.attributes).items())


@pytest.fixture
def service():
    return Service([ADDONS])


class During:
    """A watch that does something before each run of the nets of one name."""

    def __init__(self, name, action):
        self.name, self.action = name, action

    def net(self, name, net):
        if name != self.name:
            return net
        action = self.action

        class Net:
            def __getattr__(self, name):
                return getattr(net, name)

            def run(self, tensors):
                action()
                return net.run(tensors)

        return Net()

    def block(self, path, name, block):
        return block


# The tree of a request


def test_a_request_holds_its_utterances_and_these_their_chunks_and_nets(service):
    audio = service.load().say(TWO, seed=7)
    request = service.request
    assert request.parent is None
    utterances = service.children(request)
    assert [span.name for span in utterances] == ["voxstack.utterance"] * 2
    assert [span.attributes["voxstack.utterance"] for span in utterances] == [0, 1]
    made = 0
    for utterance in utterances:
        ids = utterance.attributes["voxstack.ids"]
        encoders = service.children(utterance, "net")
        assert [encoder.attributes["voxstack.steps"] for encoder in encoders] == [ids, ids]
        chunks = service.children(utterance, "chunk")
        assert (
            sum(chunk.attributes["voxstack.samples"] for chunk in chunks)
            == (utterance.attributes["voxstack.samples"])
        )
        assert utterance.attributes["voxstack.frames"] * 160 == utterance.attributes["voxstack.samples"]
        assert any(service.children(chunk, "net tone-vocoder/vocoder") for chunk in chunks)
        made += utterance.attributes["voxstack.samples"]
    assert 0 < made < len(audio.samples), "pauses stand between utterances"
    known = {span.context.span_id for span in service.spans.get_finished_spans()}
    assert all(span.parent.span_id in known for span in service.spans.get_finished_spans() if span.parent)
    facts = request.attributes
    assert facts["voxstack.voice"] == "tone"
    assert (facts["voxstack.profile"], facts["voxstack.seed"], facts["voxstack.utterances"]) == ("cpu", 7, 2)
    assert facts["voxstack.characters"] == len(TWO)
    assert facts["voxstack.audio_s"] == pytest.approx(audio.duration_s)
    assert facts["voxstack.outcome"] == "done"
    assert {span.status.status_code for span in service.spans.get_finished_spans()} == {StatusCode.UNSET}


@pytest.mark.parametrize("name", ["tone", "tone-attention"])
def test_a_child_lies_within_its_parent(service, name):
    service.load(name).say(TWO)
    spans = {span.context.span_id: span for span in service.spans.get_finished_spans()}
    inside = [(span, spans[span.parent.span_id]) for span in spans.values() if span.parent]
    assert len(inside) > 8
    for span, parent in inside:
        assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time


def test_steps_of_a_recurrent_net_are_one_span_for_each_chunk(service):
    service.load("tone-attention").say("abc")
    spans = service.named("net step")
    assert sum(span.attributes["voxstack.steps"] for span in spans) == 3 * 8 / 2
    assert len(spans) == 1 + len(service.named("chunk")), "the first is of `begin`"
    assert all(span.attributes["voxstack.work_s"] > 0 for span in spans)


def test_a_stream_made_in_its_own_thread_belongs_to_the_span_of_its_caller(service):
    voice = service.load()
    tracer = service.tracers.get_tracer("service")
    with tracer.start_as_current_span("POST /speech") as asked:
        speech = voice.stream(TWO)
    with speech:
        samples = np.concatenate([chunk.samples for chunk in speech])
    assert service.request.parent.span_id == asked.get_span_context().span_id
    assert len(service.children(service.request, "utterance")) == 2
    assert service.request.attributes["voxstack.first_audio_s"] > 0
    assert samples.tobytes() == voxstack.load("tone", folders=service.folders).say(TWO).samples.tobytes()


def test_between_chunks_the_caller_is_in_its_own_context(service):
    for _ in service.load().chunks(TWO):
        assert not trace.get_current_span().get_span_context().is_valid
        assert pieces.current_piece() is None


def test_an_iterator_of_text_is_counted_as_it_is_read(service):
    with service.load().stream(iter(["Abc d", "ef. ", "Fed."])) as speech:
        list(speech)
    assert service.request.attributes["voxstack.characters"] == len("Abc def. Fed.")


def test_requests_of_many_threads_do_not_mix(service):
    voice = service.load()
    tracer = service.tracers.get_tracer("service")
    together = threading.Barrier(6)
    traces = {}

    def ask(number):
        together.wait()
        with tracer.start_as_current_span("asked") as span:
            traces[span.get_span_context().trace_id] = number
            with voice.stream("Abc def. " * number) as speech:
                list(speech)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traces) == 6
    for request in service.named("request"):
        number = traces[request.context.trace_id]
        assert request.attributes["voxstack.characters"] == 9 * number
        utterances = service.children(request, "utterance")
        assert [span.attributes["voxstack.utterance"] for span in utterances] == list(range(number))
        chunks = [chunk for one in utterances for chunk in service.children(one, "chunk")]
        assert {chunk.context.trace_id for chunk in chunks} == {request.context.trace_id}
        assert request.attributes["voxstack.chunks"] == sum(
            chunk.attributes["voxstack.samples"] > 0 for chunk in chunks
        )
    assert service.counted("requests", outcome="done") == 6
    assert service.counted("active_requests") == 0


# How requests end


@pytest.mark.parametrize("way", ["stream", "chunks"])
def test_a_request_whose_listener_leaves_ends_cancelled_and_is_no_error(service, way):
    speech = getattr(service.load(), way)(LONG)
    next(speech)
    assert service.counted("active_requests") == 1
    speech.close()
    assert service.request.attributes["voxstack.outcome"] == "cancelled"
    assert service.request.status.status_code is StatusCode.UNSET
    assert service.named("utterance")[-1].attributes["voxstack.outcome"] == "cancelled"
    assert service.request.attributes["voxstack.utterances"] == service.counted("utterances") == 0
    assert service.counted("requests", outcome="cancelled") == 1
    assert service.counted("active_requests") == 0
    assert service.points("real_time_factor") == []
    speech.close()
    assert service.counted("requests") == 1


def test_a_net_that_is_stopped_in_flight_is_told_as_cancelled(service):
    """The listener leaves while a net runs; what runs is stopped, and no span stays open."""
    started, left = threading.Event(), threading.Event()

    def wait():
        started.set()
        assert left.wait(10)

    speech = service.load(watch=During("tone-vocoder/vocoder", wait)).stream(TWO)
    assert started.wait(10)
    closing = threading.Thread(target=speech.close)
    closing.start()
    while not speech._work._scope.is_cancelled:
        time.sleep(0.001)
    left.set()
    closing.join()
    assert [span.attributes["voxstack.outcome"] for span in service.named("chunk")] == ["cancelled"]
    assert service.named("net tone-vocoder")[0].attributes["voxstack.outcome"] == "cancelled"
    assert service.request.attributes["voxstack.outcome"] == "cancelled"


def test_an_error_is_told_by_its_type_and_reaches_the_caller_as_it_is(service):
    def fail():
        raise NetError("out of memory", where="net 'vocoder'")

    voice = service.load(watch=During("tone-vocoder/vocoder", fail))
    with pytest.raises(NetError, match=r"^net 'vocoder': out of memory$"):
        voice.say(TWO)
    for name in ("request", "utterance", "chunk"):
        span = service.named(name)[-1]
        assert span.attributes["error.type"] == "NetError"
        assert span.attributes["voxstack.outcome"] == "error"
        assert (span.status.status_code, span.status.description) == (
            StatusCode.ERROR,
            "net 'vocoder': out of memory",
        )
    assert service.counted("requests", outcome="error", error_type="NetError") == 1


def test_a_request_that_is_refused_at_once_is_told_without_what_it_says(service):
    with pytest.raises(RequestError):
        service.load().stream(TWO, volume=SECRET)
    assert service.request.attributes["error.type"] == "RequestError"
    assert (service.request.status.status_code, service.request.status.description) == (
        StatusCode.ERROR,
        None,
    )
    assert service.counted("requests", outcome="error", error_type="RequestError") == 1
    assert service.counted("active_requests") == 0


def test_a_warm_up_is_nobodys_request(service):
    service.load().warm_up()
    assert service.spans.get_finished_spans() == ()
    assert service.points("requests") == []


# What blocks notice


def test_an_attention_that_loses_its_way_is_an_event_of_the_chunk_and_is_counted(service):
    service.load("tone-attention").say("Abc. Abcdef", stuck=4)
    [chunk] = [span for span in service.spans.get_finished_spans() if span.events]
    assert chunk.name == "voxstack.chunk"
    assert chunk.attributes["voxstack.utterance"] == 1
    [event] = chunk.events
    assert event.name == "attention.stall"
    assert dict(event.attributes) == {
        "voxstack.where": "step",
        "voxstack.step": 133,
        "voxstack.value.symbol": 4,
        "voxstack.value.ended": True,
    }
    assert service.counted("events", kind="attention.stall", voice="tone-attention") == 1
    assert service.counted("events") == 1, "alignments are data"


def test_copies_of_what_flows_are_data_and_no_findings(service):
    service.load("tone-ab").say("abc")
    assert service.counted("events", kind="compare") == 1
    assert service.counted("events") == 1, "the taps of its stack are data"


# Running out of audio


class Clock:
    """Time that only passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now_ns = 1_000_000_000
        told = SimpleNamespace(perf_counter_ns=lambda: self.now_ns, time_ns=lambda: self.now_ns)
        for module in (lookouts, observing, pieces):
            monkeypatch.setattr(module, "time", told)

    def pass_s(self, seconds):
        self.now_ns += round(seconds * 1e9)


def test_a_chunk_that_comes_when_the_audio_has_run_out_is_an_underrun(service, monkeypatch):
    clock = Clock(monkeypatch)
    voice = service.load(watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(10)))
    chunks = list(voice.chunks("Abcdefghijkl"))
    assert len(chunks) > 2
    late = len(chunks) - 1
    assert service.counted("underruns") == service.request.attributes["voxstack.underruns"] == late
    events = service.request.events
    assert [event.name for event in events] == ["underrun"] * late
    assert events[0].attributes["voxstack.late_s"] == pytest.approx(10 - chunks[0].duration_s)
    assert service.request.attributes["voxstack.first_audio_s"] == 10
    [point] = service.points("first_audio")
    assert (point.count, point.sum) == (1, 10)


def test_a_chunk_that_comes_in_time_is_none(service, monkeypatch):
    clock = Clock(monkeypatch)
    voice = service.load(watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(0.01)))
    list(voice.chunks(TWO))
    assert service.request.attributes["voxstack.underruns"] == 0


def test_a_listener_who_asks_late_has_no_underrun(service, monkeypatch):
    clock = Clock(monkeypatch)
    voice = service.load(watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(0.01)))
    for _ in voice.chunks(TWO):
        clock.pass_s(60)
    assert service.request.attributes["voxstack.underruns"] == 0


def test_a_text_that_is_written_late_is_no_underrun(service, monkeypatch):
    clock = Clock(monkeypatch)

    def written():
        yield "Abc. "
        clock.pass_s(60)
        yield "Def. "

    voice = service.load(watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(0.01)))
    chunks = voice.chunks(written())
    assert list(chunks)
    assert service.request.attributes["voxstack.utterances"] == 2
    assert service.request.attributes["voxstack.underruns"] == 0


def test_who_waits_for_the_whole_has_neither_first_audio_nor_underruns(service, monkeypatch):
    clock = Clock(monkeypatch)
    service.load(watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(10))).say(TWO)
    assert service.points("first_audio") == []
    assert service.counted("underruns") == 0


# What is promised of all of it


def all_that_can_happen(service, **options):
    voice = service.load("tone-attention", **options)
    list(voice.chunks(f"{SECRET}. Abc def.", stuck=2))
    voice.say(f"{SECRET} Ωx. abc")
    with pytest.raises(RequestError):
        voice.say(SECRET, volume=SECRET)
    speech = voice.chunks(f"{SECRET}. " * 9)
    next(speech)
    speech.close()


def test_spans_have_the_facts_that_the_reference_lists_and_no_others(service):
    all_that_can_happen(service)
    for kind, facts in SPANS.items():
        seen = {name for span in service.named(kind) for name in span.attributes}
        assert seen
        assert seen <= set(attributes(dict.fromkeys(facts, ""))), kind


def test_metrics_are_those_that_the_reference_lists_by_what_it_lists(service, monkeypatch):
    clock = Clock(monkeypatch)
    all_that_can_happen(service, watch=During("tone-vocoder/vocoder", lambda: clock.pass_s(10)))
    data = service.reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    assert data.scope.name == "voxstack"
    assert {metric.name for metric in data.metrics} == set(METRICS)
    for metric in data.metrics:
        told = METRICS[metric.name]
        assert (metric.unit, metric.description) == (told.unit, told.meaning)
        seen = {name for point in metric.data.data_points for name in point.attributes}
        assert seen == set(attributes(dict.fromkeys(("voice", "profile", *told.by), "")))
        if told.buckets:
            assert metric.data.data_points[0].explicit_bounds == told.buckets


def test_no_text_is_told_unless_it_is_asked_for(service):
    all_that_can_happen(service)
    assert SECRET not in "".join(span.to_json() for span in service.spans.get_finished_spans())
    service.spans.clear()
    all_that_can_happen(service, has_texts=True)
    assert service.named("request")[0].attributes["voxstack.text"] == f"{SECRET}. Abc def."


def test_a_watcher_sees_what_it_always_sees_beside_telemetry(service):
    watcher = Watcher()
    voice = service.load(watch=watcher)
    with watcher.recording() as seen:
        list(seen.chunks(voice.chunks(TWO)))
    nets = [span for span in seen.spans if span.lane == "tone-vocoder/vocoder"]
    assert len(nets) == len(service.named("net tone-vocoder/vocoder")) > 2
