"""Measure engines in turn under load, each in a process of its own: what load.py and serving.py have in common.

A benchmark is started once by a person, and starts itself again for each engine and load, with the same options and
`--engine`, `--folder`, `--pace` and `--at` behind them; that process prints one row as JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator

from voxstack.testing.load import ENGLISH, Load, Target, run_load, warm_up

QUICK_TEXTS = 3


def parser_of(doc: str, *, counted: str, counts: str, engines: Iterable[str]) -> argparse.ArgumentParser:
    """Return the options that both take; `counted` names that of how many listeners there are at a time."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(counted, dest="counts", default=counts, metavar="N,N", type=numbers)
    parser.add_argument("--rounds", type=int, default=1, help="of all texts, for each listener")
    parser.add_argument(
        "--ramp-s", type=float, default=5.0, help="over which the listeners come; 0: all at once"
    )
    parser.add_argument("--quick", action="store_true", help="three texts only")
    parser.add_argument("--engines", default=",".join(engines))
    parser.add_argument("--json", action="store_true")
    for inner in ("--engine", "--folder", "--pace"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    parser.add_argument("--at", type=int, help=argparse.SUPPRESS)
    return parser


def numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def run(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], dict],
    measure_all: Callable[[argparse.Namespace, str], None],
) -> None:
    """Measure one engine and print its row, if the options name one; else all, with a folder for what they need."""
    if options.engine:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure_all(options, folder)


def chosen(options, known: Iterable[str]) -> list[str]:
    """Return the engines that are asked for."""
    engines = [name.strip() for name in options.engines.split(",")]
    if unknown := [name for name in engines if name not in known]:
        sys.exit(f"--engines: got '{unknown[0]}', want some of {', '.join(known)}")
    return engines


def warmed(options, target: Target) -> list[str]:
    """Let a target speak each text once, unmeasured; return the texts."""
    texts = list(ENGLISH[:QUICK_TEXTS] if options.quick else ENGLISH)
    for text in texts:
        warm_up(target, text)
    return texts


def measured(options, target: Target) -> dict:
    """Put a target under the load that the options say; return its row."""
    texts = warmed(options, target)
    ramp_s = options.ramp_s if options.pace == "realtime" else 0.0
    return run_load(target, texts, Load(options.at, options.rounds, options.pace, ramp_s=ramp_s)).row()


def ask(engine: str, folder: str, *words: str) -> dict | None:
    """Measure an engine in a process of its own; say why if it cannot be done."""
    print(f"{engine}: {' '.join(words)}", file=sys.stderr)
    command = [sys.executable, *sys.argv, "--engine", engine, "--folder", folder, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None, text=True, check=False)
    if done.returncode:
        print(f"{engine}: left out, see above", file=sys.stderr)
        return None
    row = json.loads(done.stdout.splitlines()[-1])
    for text, times in row.get("error_texts", {}).items():
        print(f"{engine}: {times} × {text}", file=sys.stderr)
    return row


def in_turn(
    engines: list[str], folder: str, loads: Iterable[tuple[str, int]], *, is_backwards: bool = False
) -> Iterator[tuple[tuple[str, int, str], dict]]:
    """Yield a row for each pace, number of listeners and engine; drop engines that cannot run from `engines`."""
    for pace, count in loads:
        for engine in engines[::-1] if is_backwards else list(engines):
            row = ask(engine, folder, "--pace", pace, "--at", str(count))
            if row is None:
                engines.remove(engine)
            else:
                yield (pace, count, engine), row


def shown(value: float | None, unit: str) -> str:
    """Return a cell of a table."""
    return "-" if value is None else f"{value:.0f} {unit}"


def aims_table(title: str, rows: Iterable[tuple[str, str, str, bool | None]]) -> None:
    """Print what was measured beside its aim: its name, what was measured, the aim, whether it is reached; None: no aim."""
    print(f"\n| {title} | measured | aim | |\n| --- | --- | --- | --- |")
    for name, value, aim, is_good in rows:
        print(f"| {name} | {value} | {aim} | {'' if is_good is None else 'yes' if is_good else '**no**'} |")
