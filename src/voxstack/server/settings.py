"""Read how a server is to run: flags over environment over file, each strictly."""

import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import Field, TypeAdapter, ValidationError

from voxstack.core.errors import ConfigError, RequestError, VoxstackError, suggest
from voxstack.stack.strict import StrictModel, validated

__all__ = ["PREFIX", "ServerSettings", "check_certificate", "is_many", "load_settings"]

PREFIX = "VOXSTACK_SERVE_"
"""What the name of an environment variable begins with; the key in capitals follows."""

MODELS = ("voxstack", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class ServerSettings(StrictModel):
    """All that a server is told; a key's description is what its flag's help and the reference say."""

    host: str = Field("127.0.0.1", description="address to listen at; `0.0.0.0`: all")
    port: int = Field(8000, ge=0, le=65535, description="port to listen at; `0`: any free one")
    wyoming_host: str = Field("127.0.0.1", description="address at which Wyoming is spoken; `0.0.0.0`: all")
    wyoming_port: int | None = Field(
        None, ge=0, le=65535, description="port at which Wyoming is spoken, with no key; none: nowhere"
    )
    addons: tuple[str, ...] = Field((), description="folders of addons; their voices are offered")
    voices: tuple[str, ...] = Field(
        (), description="voices to offer, loaded ahead; none named: all in the folders"
    )
    aliases: dict[str, str] = Field(
        {}, description='other names for voices, such as those that a client insists on: `alloy = "joe"`'
    )
    models: tuple[str, ...] = Field(MODELS, description="names that a request may give as `model`")
    profile: str | None = Field(None, description="how the nets run: `cpu`, `fast` …")
    deployment: str | None = Field(None, description="file with profiles, which says more than addons do")
    artefacts: str | None = Field(None, description="folder of nets that were compiled ahead")
    memory_mb: Count | None = Field(None, description="how much the files of all nets in memory may have")
    streams: Count = Field(64, description="requests at work at a time; more are refused")
    max_connections: Count | None = Field(
        None, description="connections open at a time; none: 1024, or as many as `ulimit -n` leaves"
    )
    queued_characters: Count = Field(
        200_000, description="characters that may wait to be spoken, of all requests"
    )
    max_characters: Count = Field(4096, description="characters of one request's text")
    time_limit_s: Seconds = Field(600.0, description="seconds in which all audio of a request must be made")
    stalled_s: Seconds = Field(
        120.0, description="seconds after which a listener who takes nothing is let go"
    )
    silent_s: Seconds = Field(
        60.0, description="seconds after which a client who writes a text bit by bit, and stopped, is let go"
    )
    drain_s: float = Field(
        10.0, ge=0, description="seconds in which requests may end when the server is told to"
    )
    keys: str | None = Field(
        None, description="file of API keys, lines of `NAME:SHA256`; none: no key is needed"
    )
    key_streams: Count | None = Field(None, description="requests at a time for each key")
    key_characters_per_minute: Count | None = Field(None, description="characters a minute for each key")
    cors_origins: tuple[str, ...] = Field((), description="web pages that may call from elsewhere; `*`: all")
    page: bool = Field(
        True, description="show a page at `/` to try the voices; it shows their stacks, and traces"
    )
    tls_cert: str | None = Field(
        None, description="file of the certificate chain (PEM); with `tls_key`: HTTPS"
    )
    tls_key: str | None = Field(None, description="file of the certificate's private key (PEM)")
    watch: bool = Field(False, description="look every second for addons that changed, and reload them")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="which JSON lines are written to standard error"
    )


def load_settings(
    file: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ServerSettings:
    """Return what flags say, else the environment, else the file at `file`, else the defaults.

    Raises:   RequestError if there is no such file; ConfigError for an unknown key or a wrong value, with
              where it stands
    """
    values = {} if file is None else _of_file(Path(file))
    values |= _of_environment(os.environ if environment is None else environment)
    for key, value in (flags or {}).items():
        values |= _checked({key: value}, where="--" + key.replace("_", "-"))
    settings = validated(ServerSettings, values)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "tls_key" if settings.tls_key is None else "tls_cert"
        raise ConfigError("HTTPS needs both tls_cert and tls_key", where=missing)
    return settings


def check_certificate(settings: ServerSettings) -> None:
    """Raise ConfigError if the files for HTTPS, where some are named, are no certificate and its key."""
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None or key is None:
        return
    for name, file in (("tls_cert", cert), ("tls_key", key)):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(f"'{file}' cannot be read: {error.strerror}", where=name) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
    except ssl.SSLError as error:
        raise ConfigError(
            f"'{cert}' and '{key}' are no PEM certificate chain and its key without a password",
            where="tls_cert",
        ) from error


def is_many(key: str) -> bool:
    """Answer whether a key takes several values."""
    return get_origin(ServerSettings.model_fields[key].annotation) in (tuple, dict)


def _of_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=str(file)) from error
    return _checked(values, where=str(file), has_path=True)


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = {PREFIX + key.upper(): key for key in ServerSettings.model_fields}
    for name, text in environment.items():
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            raise ConfigError(f"unknown variable{suggest(name, known)}", where=f"${name}")
        key = known[name]
        found |= _checked({key: _parsed(key, text, where=f"${name}")}, where=f"${name}")
    return found


def _parsed(key: str, text: str, *, where: str) -> Any:
    """Return what a variable says: several values have commas between, folders the system's separator."""
    field = ServerSettings.model_fields[key]
    if is_many(key):
        parts = [part.strip() for part in text.split(os.pathsep if key == "addons" else ",")]
        parts = [part for part in parts if part]
        if get_origin(field.annotation) is tuple:
            return parts
        pairs = [part.partition("=") for part in parts]
        if wrong := [part for part, (_, equals, _) in zip(parts, pairs, strict=True) if not equals]:
            raise ConfigError(f"got '{wrong[0]}', want NAME=VALUE", where=where)
        return {name: value for name, _, value in pairs}
    try:
        return TypeAdapter[Any](field.rebuild_annotation()).validate_strings(text)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ConfigError(f"got '{text}'; {what[0].lower()}{what[1:]}", where=where) from None


def _checked(values: dict[str, Any], *, where: str, has_path: bool = False) -> dict[str, Any]:
    """Return values that are right by themselves; raise ConfigError that says where they stand."""
    try:
        validated(ServerSettings, values)
    except VoxstackError as error:
        raise ConfigError(error.what, where=f"{where}: {error.where}" if has_path else where) from None
    return values
