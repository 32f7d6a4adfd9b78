"""Check an addon as a whole, and say of each check how it went."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxstack.cli import options
from voxstack.testing.conformance import check_addon

if TYPE_CHECKING:
    from voxstack.engine.nets import Running

__all__ = ["command"]


@click.command(
    "check", help="Check VOICE: hashes, wiring, the streaming law, golden sample, parity of profiles."
)
@options.voice_argument
@options.running
@options.vocoder
@options.addons
@options.as_json
def command(
    voice: str, running: "Running", vocoder: str | None, folders: tuple[Path, ...], is_json: bool
) -> int:
    findings = []
    for finding in check_addon(voice, running=running, folders=folders, vocoder=vocoder):
        findings.append(finding)
        if not is_json:
            mark = "BAD " if not finding.is_good else "good" if finding.is_tried else "skip"
            click.echo(f"{mark}  {finding.name:<8}  {finding.detail}")
    is_good = all(finding.is_good for finding in findings)
    if is_json:
        checks = [
            {"check": f.name, "good": f.is_good, "tried": f.is_tried, "detail": f.detail} for f in findings
        ]
        facts = {key: value for finding in findings for key, value in finding.facts.items()}
        report = {"voice": voice, **facts, "good": is_good, "checks": checks}
        click.echo(json.dumps(report, ensure_ascii=False))
    return 0 if is_good else 1
