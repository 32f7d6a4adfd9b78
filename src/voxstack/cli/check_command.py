"""Check an addon as a whole, and say of each check how it went."""

import json
from pathlib import Path

import click

from voxstack.cli import options
from voxstack.testing.conformance import check_addon

__all__ = ["command"]


@click.command(
    "check", help="Check VOICE: hashes, wiring, the streaming law, golden sample, parity of profiles."
)
@options.voice_argument
@options.profile
@options.vocoder
@options.addons
@options.as_json
def command(
    voice: str, profile: str | None, vocoder: str | None, folders: tuple[Path, ...], is_json: bool
) -> int:
    findings = []
    for finding in check_addon(voice, profile=profile, folders=folders, vocoder=vocoder):
        findings.append(finding)
        if not is_json:
            click.echo(f"{'good' if finding.is_good else 'BAD '}  {finding.name:<8}  {finding.detail}")
    is_good = all(finding.is_good for finding in findings)
    if is_json:
        checks = [{"check": f.name, "good": f.is_good, "detail": f.detail} for f in findings]
        facts = {key: value for finding in findings for key, value in finding.facts.items()}
        report = {"voice": voice, **facts, "good": is_good, "checks": checks}
        click.echo(json.dumps(report, ensure_ascii=False))
    return 0 if is_good else 1
