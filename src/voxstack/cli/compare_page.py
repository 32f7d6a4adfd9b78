"""Write a comparison as one HTML page that needs nothing but itself."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from urllib.parse import quote

import soundfile

import voxstack
from voxstack.cli.compare_plots import Plots
from voxstack.cli.compare_scores import Scores
from voxstack.cli.compare_voice import REPEATS, Spoken

__all__ = ["Failed", "comparison_page"]

STYLE = """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#59616b;--line:#d5d9de;--page:#fff;--card:#f6f7f9;
--link:#1f5fa8;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#a3abb5;--line:#3a4149;--page:#15181c;
--card:#1e2227;--link:#8ab8ee;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.25rem;margin:0 0 .5rem}
h3{font-size:1rem;margin:1.25rem 0 .25rem}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
.wide{overflow-x:auto}table{border-collapse:collapse;min-width:100%}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
thead th{white-space:normal;vertical-align:bottom;overflow-wrap:normal}
td:last-child:not(.number){white-space:normal;min-width:10rem}
td.number{text-align:right;font-variant-numeric:tabular-nums}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1.5rem 0}
audio{width:100%;margin:.5rem 0}
.plot svg{display:block;width:100%;min-width:38rem;height:auto}
.stack{background:#fff;max-width:100%;width:34rem;height:auto;border-radius:.25rem}
blockquote{margin:.5rem 0;padding-left:.75rem;border-left:3px solid var(--line)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.5rem 0}
dt,.soft{color:var(--soft)}dd{margin:0}.bad{color:var(--bad);font-weight:600}
summary{cursor:pointer;font-weight:600;margin-top:1rem}
"""

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Failed:
    """A voice that did not speak, and why."""

    voice: str
    text: str
    error: str


def comparison_page(
    results: Sequence[Spoken | Failed], *, told: Sequence[tuple[str, str]], scores: Scores | None = None
) -> str:
    """Return the page.

    In:       results  a voice each, in the order in which they shall stand
              told     facts about the whole: what was asked for, on which machine
              scores   what judged the voices elsewhere
    Raises:   RequestError if matplotlib is not installed
    """
    results = _told_apart(results)
    spoken = [result for result in results if isinstance(result, Spoken)]
    plots = Plots(max((one.audio.duration_s for one in spoken), default=1.0), spoken)
    names = ", ".join(dict.fromkeys(result.voice for result in results))
    title = escape(f"Voices compared: {names}")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#voice-1">Skip to the first voice</a>',
        f"<header><h1>{title}</h1>",
        _facts(told),
        "</header>",
        "<main>",
        _overview(results),
        *([] if scores is None else [scores.html()]),
        *(
            _told(result, plots, number) if isinstance(result, Spoken) else _failure(result, number)
            for number, result in enumerate(results, 1)
        ),
        "</main>",
        f'<footer class="soft"><p>voxstack {escape(voxstack.__version__)}</p></footer>',
        "</body>",
        "</html>\n",
    ]
    return "\n".join(parts)


def _told_apart(results: Sequence[Spoken | Failed]) -> list[Spoken | Failed]:
    """Return the results, with the path beside each name that several have."""
    many = Counter(result.voice for result in results)
    return [
        replace(result, voice=f"{result.voice} ({result.path})")
        if isinstance(result, Spoken) and many[result.voice] > 1
        else result
        for result in results
    ]


def _overview(results: Sequence[Spoken | Failed]) -> str:
    heads = ["Voice", "First audio", "Real-time factor", "Time", "Audio", "Chunks", "Events"]
    heads += ["Led by", "Languages", "Family", "Licence"]
    rows: list[str] = []
    for number, result in enumerate(results, 1):
        name = f'<th scope="row"><a href="#voice-{number}">{escape(result.voice)}</a></th>'
        if isinstance(result, Failed):
            rows.append(f'<tr>{name}<td class="bad" colspan="{len(heads) - 1}">failed</td></tr>')
            continue
        words = [_led_by(result), ", ".join(result.languages) or "-"]
        words += [result.facts["family"], result.facts["licence"]]
        numbers = [
            "-" if result.first_audio_ms is None else f"{result.first_audio_ms:.0f} ms",
            "-" if result.rtf is None else f"{result.rtf:.3f}",
            _duration(result.wall_s),
            f"{result.audio.duration_s:.2f} s",
            str(len(result.arrivals)),
        ]
        events = f'<td class="number{" bad" if result.notices else ""}">{len(result.notices)}</td>'
        rows.append(
            f"<tr>{name}"
            + "".join(f'<td class="number">{escape(value)}</td>' for value in numbers)
            + events
            + "".join(f"<td>{escape(word)}</td>" for word in words)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        '<h2 id="overview">At a glance</h2>'
        '<div class="wide" role="region" aria-labelledby="overview" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="soft">Each voice was warmed up, then spoke the text {REPEATS} times: first audio '
        "and time are medians. First audio is the time from the request to the first chunk. "
        "The real-time factor is computing time by length of audio; below 1 is faster than real time.</p>"
    )


def _told(spoken: Spoken, plots: Plots, number: int) -> str:
    """Return the section of one voice."""
    chunks = ", ".join(f"{arrival.audio_ms:.0f}" for arrival in spoken.arrivals)
    facts = [
        ("Languages", ", ".join(spoken.languages) or "-"),
        ("Licence", spoken.facts["licence"]),
        ("Family", spoken.facts["family"]),
        ("Version", spoken.facts["version"]),
        ("Vocoder", spoken.facts["vocoder"]),
        *(("Vocoder's licence", spoken.facts[key]) for key in ("vocoder_licence",) if key in spoken.facts),
        ("Led by", _led_by(spoken)),
        ("Sample rate", f"{spoken.audio.sample_rate} Hz"),
        ("Profile", f"{spoken.profile} ({spoken.runtime})"),
        ("Chunks", f"{chunks} ms" if chunks else "-"),
    ]
    drawn = quote(spoken.stack_svg, safe=" =:/'(),;", errors="replace")
    name = escape(spoken.voice)
    has_mel = any(utterance.mel is not None for utterance in spoken.utterances)
    mel = "Mel, as it flowed to the vocoder" if has_mel else "Mel, computed from the audio for the eye"
    alignment = plots.alignment(spoken)
    return "\n".join(
        [
            _section(number, name),
            _quoted(spoken.text, spoken.languages),
            _audio(spoken),
            _noticed(spoken),
            _facts(facts),
            _plot("Waveform", plots.waveform(spoken)),
            _plot(mel, plots.mel(spoken)),
            "<p>This voice reports neither attention nor durations.</p>"
            if alignment is None
            else _plot(_led_by(spoken).capitalize() + " over time", alignment),
            _plot("Chunks, as they were delivered", plots.chunks(spoken)),
            "<details><summary>The wired stack</summary>",
            f'<img class="stack" alt="{escape(_stack_words(spoken))}" src="data:image/svg+xml,{drawn}">',
            "</details>",
            "</section>",
        ]
    )


def _failure(failed: Failed, number: int) -> str:
    return (
        f"{_section(number, escape(failed.voice))}\n{_quoted(failed.text, ())}\n"
        f'<p class="bad">It failed: {escape(failed.error)}</p>\n</section>'
    )


def _section(number: int, name: str) -> str:
    return f'<section aria-labelledby="voice-{number}"><h2 id="voice-{number}">{name}</h2>'


def _quoted(text: str, languages: Sequence[str]) -> str:
    language = f' lang="{escape(languages[0])}"' if len(languages) == 1 else ""
    return f"<blockquote{language}>{escape(text)}</blockquote>"


def _noticed(spoken: Spoken) -> str:
    if not spoken.notices:
        return '<p class="soft">No events: nothing went wrong that a block would notice.</p>'
    items = [
        f'<li class="bad">{notice.at_s:.2f} s: {escape(notice.event.kind)} in {escape(notice.event.where)}: '
        f"{escape(notice.event.text)}</li>"
        for notice in spoken.notices
    ]
    return f"<h3>Events, red lines in the drawings</h3><ol>{''.join(items)}</ol>"


def _plot(heading: str, drawn: str) -> str:
    return (
        f'<h3>{escape(heading)}</h3><div class="wide plot" role="region" '
        f'aria-label="{escape(heading)}" tabindex="0">{drawn}</div>'
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return (
        "<dl>" + "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts) + "</dl>"
    )


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _led_by(spoken: Spoken) -> str:
    if spoken.is_attending:
        return "attention"
    return "durations" if any(len(utterance.positions) for utterance in spoken.utterances) else "not reported"


def _stack_words(spoken: Spoken) -> str:
    return f"The stack of {spoken.voice}: {' → '.join(spoken.stack_words)}"


def _audio(spoken: Spoken) -> str:
    """Return a player; without loss, so that what is judged is the voice and not a codec."""
    file: Any = io.BytesIO()
    soundfile.write(file, spoken.audio.samples, spoken.audio.sample_rate, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    what = f'aria-label="{escape(spoken.voice)} speaks" src="data:audio/flac;base64,{data}"'
    return f'<audio controls preload="metadata" {what}></audio>'
