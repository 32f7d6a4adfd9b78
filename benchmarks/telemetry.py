"""Measure what telemetry costs a request: off, the log alone, and spans and metrics kept in memory.

The voices take turns, text by text, in an order that changes; each figure is the median of ratios within a
round. What counts is the processor's time, which other programs disturb least. "off again" is a second voice
without telemetry: what it differs by is noise.

python benchmarks/telemetry.py [--rounds 25]
"""

import argparse
import random
import statistics
import time

import texts
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import voxstack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    on = voxstack.Telemetry(tracer_provider=tracers, meter_provider=MeterProvider([InMemoryMetricReader()]))
    asked = {"off": "off", "off again": "off", "logs": "logs", "on": on}
    voices = {name: voxstack.load("joe", threads=1, telemetry=choice) for name, choice in asked.items()}
    for voice in voices.values():
        voice.warm_up()
    taken = {name: [] for name in voices}
    first = {name: [] for name in voices}
    order = list(voices)
    for number in range(options.rounds):
        random.Random(number).shuffle(order)
        for name in order:
            first_s, wall_s = _timed(voices[name], number)
            first[name].append(first_s)
            taken[name].append(wall_s)
        exporter.clear()
    wall_ms = statistics.median(taken["off"]) * 1000
    print(
        f"joe, one thread, 45 words: {wall_ms:.0f} ms of the processor without telemetry, median of {options.rounds}"
    )
    for name in list(voices)[1:]:
        whole, early = (_ratio(kind[name], kind["off"]) for kind in (taken, first))
        print(f"{name:10s} {whole:+.2%} of the whole, {early:+.2%} of first audio")


def _timed(voice, seed):
    started = time.thread_time()
    first_s = None
    for _ in voice.chunks(texts.FORTY_FIVE_WORDS, seed=seed):
        first_s = first_s or time.thread_time() - started
    return first_s, time.thread_time() - started


def _ratio(taken, without):
    return statistics.median(one / other for one, other in zip(taken, without, strict=True)) - 1


if __name__ == "__main__":
    main()
