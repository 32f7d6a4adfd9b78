"""Serve voices over HTTP until told to end."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import click

from voxstack.core.errors import ConfigError
from voxstack.server.settings import PREFIX, ServerSettings, is_many, load_settings

__all__ = ["command"]

FLAGS = {"voices": "--voice", "aliases": "--alias", "models": "--model", "cors_origins": "--cors-origin"}
"""Flags that are not called like their key, because each gives one of several values."""

METAVARS = {"addons": "DIR", "voices": "NAME", "aliases": "NAME=VOICE", "keys": "FILE"}
PATHS = ("deployment", "tls_cert", "tls_key")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each key of the settings."""
    for key, field in reversed(ServerSettings.model_fields.items()):
        flag = FLAGS.get(key, "--" + key.replace("_", "-"))
        kinds = {field.annotation, *get_args(field.annotation)}
        said: dict[str, Any] = {"help": f"{(field.description or '').replace('`', '')}."}
        if field.annotation is bool:
            flag = f"{flag}/--no-{key.replace('_', '-')}"
            said |= {"default": None}
        elif is_many(key):
            said |= {"multiple": True, "metavar": METAVARS.get(key, "NAME")}
        elif key == "log_level":
            said |= {"type": click.Choice(get_args(field.annotation))}
        elif int in kinds or any(int in get_args(kind) for kind in kinds):
            said |= {"type": int, "metavar": "N"}
        elif float in kinds or any(float in get_args(kind) for kind in kinds):
            said |= {"type": float, "metavar": "X"}
        else:
            said |= {"metavar": METAVARS.get(key, "FILE" if key in PATHS else "TEXT")}
        command = click.option(flag, key, **said)(command)
    return command


@click.command("serve", help="Serve voices over HTTP: OpenAI's speech API, health, metrics.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"TOML file with the keys below; flags say more than ${PREFIX}…, and that more than the file.",
)
@click.option(
    "--new-key",
    metavar="NAME",
    help="Make an API key for a client, add it to --keys FILE, print it, and end.",
)
@_options
def command(config: Path | None, new_key: str | None, **flags: Any) -> None:
    given = {key: _listed(key, value) for key, value in flags.items() if value not in (None, ())}
    settings = load_settings(config, given)
    if new_key is not None:
        _make_key(settings, new_key)
        return
    try:
        from voxstack.engine.lines import LOGGER
        from voxstack.server.desk import Desk
        from voxstack.server.running import Server, bind
    except ImportError as error:
        raise ConfigError(
            f"it needs the package {error.name}; install it with: pip install 'voxstack[server]'",
            where="serve",
        ) from error
    listener = bind(settings)
    with listener:
        # To standard error, as the lines of every command; here they are told without being asked for.
        LOGGER.setLevel(settings.log_level.upper())
        server: Server = Server(Desk.of(settings), listener, lambda: _tell(_ready_line(server)))
        server.run_until_ended()


def _tell(line: str) -> None:
    """Print a line; who reads no more, and a disk that is full, end no server."""
    try:
        click.echo(line)
    except OSError:
        with suppress(OSError):  # what waits to be written would be tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _ready_line(server: Any) -> str:
    names = ", ".join(server.desk.catalogue.offers) or "no voice yet"
    open_to_all = "" if server.desk.keys is not None else "; no key is needed"
    wyoming = "" if server.wyoming is None else f", and Wyoming at {server.wyoming.url}"
    return f"voxstack serves {names} at {server.url}{open_to_all}{wyoming}"


def _make_key(settings: ServerSettings, name: str) -> None:
    from voxstack.server.keys import add_key

    if settings.keys is None:
        raise click.UsageError("--new-key needs --keys FILE")
    click.echo(add_key(Path(settings.keys), name))


def _listed(key: str, value: Any) -> Any:
    """Return what a flag says as the settings have it."""
    if not is_many(key):
        return value
    if key != "aliases":
        return list(value)
    pairs = [pair.partition("=") for pair in value]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"got '{wrong[0]}', want NAME=VOICE", param_hint="--alias")
    return {name: voice for name, _, voice in pairs}
