"""Measure what leaving and waiting cost: when the core of a closed stream is free, what who does not read takes, memory.

    python benchmarks/cancelling.py [--moments 100] [--streams 8] [--requests 2000]

The first two take about a minute. With --requests: also what is resident over so many requests of eight listeners, of
whom some leave early; minutes for 2,000.
"""

import argparse
import itertools
import random
import threading
import time

import numpy as np
import texts
from memory import resident_mb

import voxstack
from voxstack.core.cancel import CancelScope
from voxstack.engine.ahead import AHEAD_S
from voxstack.engine.scheduler import lane_of

AIM_MS = 60
IDLE_S = 5.0
LISTENERS = 8
LEAVE_SHARE = 0.2


class Watched:
    """A lane's runs by the stream for which they are, so that it shows when a closed one is out of it."""

    def __init__(self, lane):
        self._lane = lane

    def has(self, scope: CancelScope) -> bool:
        with self._lane._lock:
            runs = [*self._lane._turns.running, *self._lane._turns.waiting]
            return any(run.scope is not None and run.scope.outermost is scope for run in runs)


def cancel_at_random(service, moments: int, streams: int) -> list[tuple[bool, float, float]]:
    """Close a stream at random moments, while others are at work that are read as fast as possible.

    Return for each moment whether it had a run in the lane, ms until it had none, and ms until close returned.
    """
    chance, stop, lane = random.Random(6), threading.Event(), Watched(lane_of("cpu"))
    found: list[tuple[bool, float, float]] = []

    def read():
        while not stop.is_set():
            with service.stream("joe", texts.SIX_SENTENCES) as speech:
                for _ in speech:
                    if stop.is_set():
                        break

    others = [threading.Thread(target=read) for _ in range(streams - 1)]
    for other in others:
        other.start()
    for _ in range(moments):
        speech = service.stream("joe", texts.SIX_SENTENCES)
        ends = time.monotonic() + chance.random() * 1.5
        reader = threading.Thread(target=lambda speech=speech: [None for _ in speech])
        reader.start()
        while time.monotonic() < ends:
            time.sleep(0.001)
        scope = speech._work._scope
        was_at_work = lane.has(scope)
        closing = threading.Thread(target=speech.close)
        begun = time.perf_counter()
        closing.start()
        while not scope.is_cancelled or lane.has(scope):
            time.sleep(0.0002)
        free_ms = (time.perf_counter() - begun) * 1000
        closing.join()
        found.append((was_at_work, free_ms, (time.perf_counter() - begun) * 1000))
        reader.join()
    stop.set()
    for other in others:
        other.join()
    return found


def not_read(service) -> tuple[float, float]:
    """Return the share of a core that the process takes with a stream open that nobody reads, and with none."""

    def share() -> float:
        begun, spent = time.perf_counter(), time.process_time()
        time.sleep(IDLE_S)
        return (time.process_time() - spent) / (time.perf_counter() - begun)

    with service.stream("joe", texts.SIX_SENTENCES) as speech:
        next(speech)
        while speech._work._ready_s < AHEAD_S:
            time.sleep(0.01)
        time.sleep(0.5)
        while_open = share()
    return while_open, share()


def resident(service, requests: int) -> list[tuple[int, float]]:
    """Return what is resident after each twentieth of the requests, in MB."""
    numbers, rows = itertools.count(), []
    everything = [*texts.SENTENCES, *texts.varied(20), texts.SIX_SENTENCES]

    def live(place: int) -> None:
        chance = random.Random(place)
        while (number := next(numbers)) < requests:
            with service.stream("joe", chance.choice(everything)) as speech:
                for _ in speech:
                    if chance.random() < LEAVE_SHARE / 4:
                        break
            if number % max(1, requests // 20) == 0:
                rows.append((number, resident_mb()))

    listeners = [threading.Thread(target=live, args=(place,)) for place in range(LISTENERS)]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--requests", type=int, default=0)
    options = parser.parse_args()
    with voxstack.Service(voxstack.Voices(["addons"]), voxstack.Admission(64)) as service:
        service.voices.load("joe")
        found = cancel_at_random(service, options.moments, options.streams)
        at_work = [(free, closed) for was_at_work, free, closed in found if was_at_work]
        print(f"{options.moments} streams closed at random moments, {options.streams} at work; ", end="")
        print(f"{len(at_work)} had a net run in line or in flight\n")
        print("| of those | p50 | p95 | max |\n| --- | --- | --- | --- |")
        for name, place in (("core free after", 0), ("close returned after", 1)):
            times = np.array([row[place] for row in at_work])
            cells = [*np.percentile(times, (50, 95)), times.max()]
            print(f"| {name} | {' | '.join(f'{cell:.1f} ms' for cell in cells)} |")
        print(f"\naim: below {AIM_MS} ms")
        while_open, closed = not_read(service)
        print(
            f"\na stream open, {AHEAD_S:g} s ahead and not read takes {while_open:.2%} of a core; none takes {closed:.2%}"
        )
        if options.requests:
            rows = resident(service, options.requests)
            print("\n| requests | resident |\n| --- | --- |")
            for number, mb in sorted(rows):
                print(f"| {number} | {mb:.0f} MB |")
            late = [mb for number, mb in rows if number >= options.requests / 3]
            middle = (max(late) + min(late)) / 2
            print(f"\nfrom a third of them on: {middle:.0f} MB ± {max(late) - middle:.1f} MB")


if __name__ == "__main__":
    main()
