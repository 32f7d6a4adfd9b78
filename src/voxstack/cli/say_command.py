"""Speak a text: to a file, to the loudspeaker, or both, while it is being made."""

import codecs
import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from voxstack.cli import options
from voxstack.cli.event_row import event_row
from voxstack.core.errors import RequestError

if TYPE_CHECKING:
    from voxstack.core.events import Event
    from voxstack.engine.audio import Audio
    from voxstack.engine.marks import MarkKind, WhereKnown
    from voxstack.engine.nets import Running
    from voxstack.stack.config import AddonConfig

__all__ = ["command"]

LONG_TEXT_CHARACTERS = 1_000
PIECE_BYTES = 4_096


@click.command("say", help="Speak TEXT, or a file, or what comes in on standard input while it comes.")
@click.argument("text", required=False)
@click.option(
    "--voice",
    required=True,
    metavar="NAME|PATH",
    help="The voice's name, or the path of its addon (a folder or .voxaddon).",
)
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read the text from a file.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write .wav, .flac, .ogg, .opus or .mp3."
)
@click.option("--play", is_flag=True, help="Play it while it is made.")
@options.marks
@options.running
@options.effects
@options.vocoder
@options.controls
@options.addons
@options.as_json
def command(
    text: str | None,
    voice: str,
    file: Path | None,
    out: Path | None,
    play: bool,
    marks: Path | None,
    kinds: "frozenset[MarkKind | WhereKnown]",
    running: "Running",
    vocoder: str | None,
    folders: tuple[Path, ...],
    is_json: bool,
    **values: Any,
) -> None:
    are_marks_shown = str(marks) == "-"
    _check_hearers(out, marks, play=play, is_json=is_json)
    spoken = _text(text, file)
    from voxstack.cli.mark_file import MarkFile
    from voxstack.cli.player import Player
    from voxstack.engine.audio import AudioFile
    from voxstack.engine.voice import open_voice

    ready = open_voice(voice, running, folders=folders, vocoder=vocoder)
    controls = options.chosen_controls(values)
    ready.tensors(controls)
    chunks = samples = at_full_scale = 0
    first_audio_ms = 0.0
    started = time.perf_counter()
    heard: list[str] = []
    noticed = _Events(ready.sample_rate, ready.loaded.addon.frame_rate)
    with contextlib.ExitStack() as stack:
        sinks: list[Any] = []
        readers = [heard.append]
        if out is not None:
            sinks.append(stack.enter_context(AudioFile(out, ready.sample_rate)))
        if play:
            sinks.append(stack.enter_context(Player(ready.sample_rate)))
        if marks is not None:
            lines = stack.enter_context(MarkFile(marks))
            sinks.append(lines)
            readers.append(lines.feed)
        source = _told(spoken, readers)
        speech = stack.enter_context(ready.stream(source, marks=kinds, **controls))
        bar = stack.enter_context(_progress(spoken))
        for chunk in speech:
            if not samples and len(chunk.samples):
                first_audio_ms = (time.perf_counter() - started) * 1000
            chunks += 1
            noticed.hear(chunk)
            samples += len(chunk.samples)
            at_full_scale += int(np.count_nonzero(np.abs(chunk.samples) >= 1))
            for sink in sinks:
                sink.write(chunk)
            bar.update(max(0, chunk.span[1] - bar.pos))
        wall_s = time.perf_counter() - started
    audio_s = samples / ready.sample_rate
    events = noticed.rows()
    report = {
        "voice": ready.name,
        "profile": ready.loaded.profile,
        "runtime": ready.loaded.runtime,
        "text": "".join(heard),
        "audio_s": round(audio_s, 4),
        "sample_rate": ready.sample_rate,
        "first_audio_ms": round(first_audio_ms, 2) if samples else None,
        "wall_s": round(wall_s, 4),
        "rtf": round(wall_s / audio_s, 4) if audio_s else None,
        "chunks": chunks,
        "seed": controls.get("seed", 0),
        "full_scale_share": round(at_full_scale / samples, 6) if samples else 0.0,
        "out": str(out) if out is not None else None,
        "marks": str(marks) if marks is not None else None,
        "events": events,
    }
    for event in events:
        click.echo(f"voxstack: {event['kind']} at {event['audio_s']} s: {event['text']}", err=True)
    _warn(samples, at_full_scale)
    if is_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _show(report, ready.loaded.addon.config, are_marks_shown=are_marks_shown)


def _show(report: Mapping[str, Any], config: "AddonConfig", *, are_marks_shown: bool) -> None:
    """Tell people how it went, on standard error where standard output has the marks."""
    tell = functools.partial(click.echo, err=are_marks_shown)
    tell(f"voice             {report['voice']} ({', '.join(config.languages)}; licence {config.licence})")
    first_ms = report["first_audio_ms"]
    tell(f"first audio       {'none' if first_ms is None else f'{first_ms:.0f} ms'}")
    rtf = f"{report['rtf']:.3f}" if report["audio_s"] else "-"
    tell(f"real-time factor  {rtf} ({report['audio_s']:.1f} s of audio in {report['wall_s']:.2f} s)")
    if report["out"] is not None:
        tell(f"written           {report['out']}")
    if report["marks"] is not None and not are_marks_shown:
        tell(f"marks             {report['marks']}")


def _check_hearers(out: Path | None, marks: Path | None, *, play: bool, is_json: bool) -> None:
    if out is None and marks is None and not (play or is_json):
        raise click.UsageError("nobody would hear it: give --out FILE, --play, --marks FILE or --json")
    if str(marks) == "-" and is_json:
        raise click.UsageError("--marks - and --json would both write to standard output; give --marks FILE")


def _warn(samples: int, at_full_scale: int) -> None:
    """Tell of audio that nobody hears, or that is cut off."""
    if not samples:
        click.echo(
            "voxstack: no audio came out: the text says nothing, or a block let nothing pass", err=True
        )
    elif at_full_scale:
        share = max(at_full_scale / samples, 0.0001)
        click.echo(
            f"voxstack: {share:.2%} of the samples are at full scale, where they are cut off; "
            "lower the gain, or put a Limiter behind it",
            err=True,
        )


class _Events:
    """Collect what blocks noticed, each at its place in the request's audio."""

    def __init__(self, sample_rate: int, frame_rate: Fraction | None) -> None:
        self._sample_rate = sample_rate
        self._frame_rate = frame_rate
        self._span: tuple[int, int] | None = None
        self._places: list[tuple[int, int]] = []
        self._samples = 0
        self._found: list[tuple[Event, int]] = []

    def hear(self, chunk: "Audio") -> None:
        """Take the next chunk; another span is another utterance, and the pause before it is all zeros."""
        is_first = chunk.span != self._span
        if is_first:
            self._span = chunk.span
            sound = np.flatnonzero(chunk.samples)
            pause = int(sound[0]) if self._places and len(sound) else 0
            self._places.append((self._samples + pause, 0))
        self._samples += len(chunk.samples)
        begin, _ = self._places[-1]
        self._places[-1] = (begin, self._samples - begin)
        for event in chunk.events:
            # What has no frame yet while an utterance is under way is of the next one, encoded ahead.
            is_ahead = not is_first and event.step == 0
            self._found.append((event, len(self._places) - 1 + is_ahead))

    def rows(self) -> list[dict[str, Any]]:
        """Return the events as a program reads them; what nobody hears stands at its utterance's end."""
        return [
            event_row(event, utterance=utterance, audio_s=self._audio_s(event, utterance))
            for event, utterance in self._found
        ]

    def _audio_s(self, event: "Event", utterance: int) -> float:
        begin, size = self._places[utterance] if utterance < len(self._places) else (self._samples, 0)
        inside_s = size / self._sample_rate
        if self._frame_rate is not None:
            inside_s = min(inside_s, float(event.step / self._frame_rate))
        return begin / self._sample_rate + inside_s


def _text(text: str | None, file: Path | None) -> str | Iterator[str]:
    if text is not None and file is not None:
        raise click.UsageError("got a text and --file; give one of them")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise RequestError(f"cannot be read: {error.strerror}", where=str(file)) from error
        except UnicodeDecodeError as error:
            raise RequestError(f"is not UTF-8 text: {error}", where=str(file)) from error
    if text is not None and text != "-":
        return text
    if sys.stdin is None or (text is None and sys.stdin.isatty()):
        raise click.UsageError("what shall it say? give TEXT, --file FILE, or text on standard input")
    return _pieces()


def _pieces() -> Iterator[str]:
    """Yield standard input as it comes, however it is cut into bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := os.read(sys.stdin.fileno(), PIECE_BYTES):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RequestError(f"is not UTF-8 text: {error}", where="standard input") from error


def _told(spoken: str | Iterator[str], readers: Iterable[Callable[[str], None]]) -> str | Iterator[str]:
    """Return a text, whole or in pieces, of which each is told to those who want it before it is spoken."""
    readers = tuple(readers)

    def read(piece: str) -> str:
        for reader in readers:
            reader(piece)
        return piece

    return read(spoken) if isinstance(spoken, str) else map(read, spoken)


def _progress(spoken: str | Iterator[str]) -> Any:
    """Return a progress bar over the text's characters; hidden unless the text is long and a person looks."""
    length = len(spoken) if isinstance(spoken, str) else 0
    is_shown = length > LONG_TEXT_CHARACTERS and sys.stderr.isatty()
    return click.progressbar(length=length, label="speaking", file=sys.stderr, hidden=not is_shown)
