"""Turn what was seen of a request into a Chrome trace.

A trace opens in Perfetto and in a browser's own viewer: a lane for the listener's chunks, then one for
each block from the last to the first, then one for each net, so that who asks stands above who is asked.
A curve shows how much audio lies ahead of a listener who plays on from the first audio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from voxstack.engine.playout import Playout, playout
from voxstack.engine.recording import CHUNKS, Lane, Recording, Span

__all__ = ["MOST_STEPS", "chrome_trace"]

MOST_STEPS = 400
"""A recurrent net that makes more steps is drawn one bar for all steps of a read."""

PROCESS = 1

AHEAD = "audio ahead, ms"
"""The curve of how much audio lies ahead of the listener."""


def chrome_trace(
    seen: Recording,
    lanes: Sequence[Lane],
    *,
    title: str,
    about: Mapping[str, Any],
    most_steps: int = MOST_STEPS,
) -> dict[str, Any]:
    """Return what was seen as a Chrome trace: times in µs from the request on, nothing before 0.

    In:       title  what the viewer calls the whole; about  facts to keep with it
    """
    spans = merged(seen.spans, most_steps)
    played = playout(seen.spans)
    begin = min((span.start_ns for span in spans), default=0)
    used = list(dict.fromkeys(span.lane for span in spans))
    shown = [lane for lane in lanes if lane.name in used]
    shown.sort(key=lambda lane: used.index(lane.name) if lane.kind == "net" else -1)
    numbers = {lane.name: number for number, lane in enumerate(shown, 1)}
    events: list[dict[str, Any]] = [
        {"ph": "X", "name": _name(span), "cat": span.what, "ts": _us(span.start_ns - begin)}
        | {"dur": _us(span.end_ns - span.start_ns)}
        | {
            "pid": PROCESS,
            "tid": numbers[span.lane],
            "args": _facts(number, spans) | _waiting(span, played, begin),
        }
        for number, span in enumerate(spans)
    ]
    events += [_instant(event, numbers) | {"ts": _us(at - begin)} for at, event in _instants(seen, played)]
    events += [_ahead(at - begin, ahead_ms) for at, ahead_ms in played.curve()]
    events.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
    return {
        "traceEvents": [*_names(title, shown), *events],
        "displayTimeUnit": "ms",
        "otherData": dict(about),
    }


def merged(spans: Sequence[Span], most_steps: int) -> list[Span]:
    """Return spans where the steps of a net that makes very many are one span for each read.

    A span is never merged with others that have another parent, so what lay inside it still does.
    """
    many = [span.lane for span in spans if span.what == "step"]
    crowded = {lane for lane in set(many) if many.count(lane) > most_steps}
    kept: list[Span] = []
    places: dict[int, int] = {}
    groups: dict[tuple[str, int | None], Span] = {}
    for place, span in enumerate(spans):
        key = (span.lane, span.parent)
        if span.what == "step" and span.lane in crowded and key in groups:
            group = groups[key]
            group.end_ns = span.end_ns
            group.facts["steps"] += 1
            group.facts["net_ms"] = round(group.facts["net_ms"] + span.duration_ms, 4)
            continue
        places[place] = len(kept)
        copy = replace(span, parent=None if span.parent is None else places[span.parent])
        if span.what == "step" and span.lane in crowded:
            copy.what = "steps"
            copy.facts = {"steps": 1, "net_ms": round(span.duration_ms, 4)}
            groups[key] = copy
        kept.append(copy)
    return kept


def _name(span: Span) -> str:
    match span.what:
        case "chunk" if "samples" in span.facts:
            return f"chunk of {span.facts['samples'] * 1000 / span.facts['sample_rate']:.0f} ms"
        case "chunk":
            return "end"
        case "steps":
            return f"{span.facts['steps']} steps"
        case "read":
            return f"read {span.facts.get('steps', 0)}"
        case _:
            return span.what


def _facts(number: int, spans: Sequence[Span]) -> dict[str, Any]:
    """Return what the viewer shows of a bar; `parent` is the `id` of the one that asked for it."""
    span = spans[number]
    facts = {"id": number, **span.facts}
    if span.parent is None:
        return facts
    return {**facts, "asked_by": spans[span.parent].lane, "parent": span.parent}


def _waiting(span: Span, played: Playout, begin: int) -> dict[str, Any]:
    """Return of a chunk when it was needed, and how long before that it was ready."""
    if span.lane != CHUNKS:
        return {}
    for one in played.deliveries:
        if one.ready_ns == span.end_ns:
            deadline_ms = round((one.deadline_ns - begin) / 1e6, 3)
            return {"needed_at_ms": deadline_ms, "ahead_ms": round(one.ahead_ms, 3)}
    return {}


def _ahead(at_ns: int, ahead_ms: float) -> dict[str, Any]:
    args = {"ms": round(ahead_ms, 3)}
    return {
        "ph": "C",
        "name": AHEAD,
        "cat": "playout",
        "ts": _us(at_ns),
        "pid": PROCESS,
        "tid": 0,
        "args": args,
    }


def _instants(seen: Recording, played: Playout) -> list[tuple[int, dict[str, Any]]]:
    """Return when there was first audio, when it ran dry, and when a block reported something."""
    found = [
        (noted.at_ns, {"name": noted.event.kind, "where": noted.event.where, "text": noted.event.text})
        for noted in seen.events
        if not noted.event.is_data
    ]
    heard = [span for span in seen.spans if span.lane == CHUNKS and span.facts.get("samples")]
    if heard:
        text = f"after {heard[0].duration_ms:.1f} ms"
        found.append((heard[0].end_ns, {"name": "first audio", "where": CHUNKS, "text": text}))
    found += [
        (
            one.deadline_ns,
            {"name": "runs dry", "where": CHUNKS, "text": f"{-one.ahead_ms:.1f} ms until chunk {one.number}"},
        )
        for one in played.dry
    ]
    return found


def _instant(event: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    known = numbers.get(event["where"])
    name = f"{event['name']}: {event['text']}" if event["text"] else event["name"]
    return {
        "ph": "i",
        "name": name,
        "cat": "event",
        "s": "t" if known else "p",  # beside the lane that it belongs to, else across all
        "pid": PROCESS,
        "tid": known or numbers.get(CHUNKS, 1),
        "args": {"where": event["where"], "text": event["text"]},
    }


def _names(title: str, lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    facts: list[tuple[str, int, dict[str, Any]]] = [("process_name", 0, {"name": title})]
    for number, lane in enumerate(lanes, 1):
        facts += [("thread_name", number, {"name": lane.title})]
        facts += [("thread_sort_index", number, {"sort_index": number})]
    return [
        {"ph": "M", "name": name, "pid": PROCESS, "tid": number, "args": args} for name, number, args in facts
    ]


def _us(ns: int) -> float:
    return round(ns / 1000, 3)
