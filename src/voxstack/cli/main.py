"""Start the command line: find the command, run it, and end in one clear line if it cannot be done."""

import contextlib
import importlib
import io
import os
import signal
import sys
from typing import Any, Never

import click

import voxstack
from voxstack.cli.log_lines import log_lines
from voxstack.core.errors import AddonError, ConfigError, RequestError, VoxstackError, WiringError

__all__ = ["main"]

COMMANDS = {
    "bench": "Measure voices, or a server, under load.",
    "check": "Check an addon: hashes, wiring, the streaming law, its golden sample.",
    "compare": "Let several voices speak, and write one page that shows and plays them.",
    "compile": "Compile a voice's nets for a profile, ahead of time.",
    "import": "Turn a public checkpoint into an addon.",
    "inspect": "Show the wired stack of a voice.",
    "new": "Begin a package of your own, with a block that works.",
    "pack": "Write an addon folder as one .voxaddon file.",
    "say": "Speak a text.",
    "serve": "Serve voices over HTTP.",
    "trace": "Show where the time of a voice goes, per block and net.",
    "voices": "List what is installed.",
}

DONE, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


class _Commands(click.Group):
    """Commands by name, each imported only when it is called: a voice should not wait for the importers."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"voxstack.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(voxstack.__version__, prog_name="voxstack")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Any text-to-speech model, one stack, speaking as early as it can."""


def main(arguments: list[str] | None = None) -> Never:
    """Run the command line; exit 0 done, 1 failed, 2 the request was wrong."""
    words = sys.argv[1:] if arguments is None else arguments
    is_debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    with contextlib.suppress(ValueError):  # called from another thread than the first, who sets none
        for signal_number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(signal_number) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(signal_number, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with log_lines():
        code = _run(words, is_debug=is_debug)
    sys.exit(code)


def _end(signal_number: int, frame: object) -> Never:
    """End as after Ctrl-C: half-written files are taken away on the way out."""
    raise KeyboardInterrupt


def _run(words: list[str], *, is_debug: bool) -> int:
    try:
        result: Any = cli.main(words, prog_name="voxstack", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        if is_debug and not isinstance(error, click.ClickException):
            raise
        line, code = _answer(error)
        click.echo(line, err=True)
        return code


def _answer(error: Exception) -> tuple[str, int]:
    """Return what a person is told of an error, and the exit code."""
    kind = type(error).__name__
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message(), error.exit_code
        case click.ClickException():
            command = getattr(getattr(error, "ctx", None), "command_path", "voxstack")
            return f"{command}: {error.format_message()} ({command} --help shows how)", error.exit_code
        case ConfigError() | AddonError() | WiringError() | RequestError():
            return f"{kind}: {error}", WRONG_REQUEST
        case VoxstackError():
            return f"{kind}: {error}", FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}", FAILED
        case _:
            return f"{kind}: {error} (a fault of voxstack's; --debug shows where)", FAILED
