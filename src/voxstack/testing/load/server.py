"""Speak through a server with OpenAI's speech API, streaming raw samples."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from voxstack.core.errors import RequestError, VoxstackError

__all__ = ["Refused", "SpeechServer"]

SAMPLE_RATE = 24_000
"""Hz of the API's `pcm`, which is 16-bit mono; a server that gives another says so in Content-Type."""

SAMPLE_BYTES = 2
PIECE_BYTES = 4_096
TIMEOUT_S = 60.0
REFUSED = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
WAIT_S = 1.0
"""How long to wait where a refusal does not say."""

RAW_TYPES = ("audio/pcm", "audio/l16", "audio/x-pcm", "audio/raw", "application/octet-stream")


class Refused(VoxstackError):  # noqa: N818 - an answer, not a fault
    """The server is there, but cannot take a request now; `retry_after_s` says when it may be tried again."""

    def __init__(self, what: str, *, retry_after_s: float, where: str = "") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(what, where=where)


@dataclass(frozen=True)
class SpeechServer:
    """POST /v1/audio/speech, one connection a request, as a client does that was just started.

    In:       url          of the server, of its /v1, or of the whole path
              voice        the name that the request sends, as `model` does
              api_key      sent as a bearer token
              sample_rate  Hz (default: as Content-Type says, `audio/pcm; rate=22050`, else 24000)
    Raises:   RequestError if the URL is none
    """

    url: str
    voice: str
    model: str = "tts-1"
    api_key: str | None = None
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good:
            raise RequestError(f"got '{self.url}', want http://HOST[:PORT] or https://…", where="url")

    @property
    def path(self) -> str:
        """Where requests go."""
        path = urlsplit(self.url).path.rstrip("/")
        if path.endswith("/audio/speech"):
            return path
        return f"{path}/audio/speech" if path.endswith("/v1") else f"{path}/v1/audio/speech"

    def stream(self, text: str) -> Iterator[float]:
        """Yield the seconds of audio of each piece that arrives.

        Raises:   Refused for 429 and 503; VoxstackError for any other answer that is not whole audio
        """
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        asked = {"model": self.model, "voice": self.voice, "input": text, "response_format": "pcm"}
        headers = {"Content-Type": "application/json", "Accept": "audio/*"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        try:
            with closing(kind(str(parts.hostname), parts.port, timeout=TIMEOUT_S)) as connection:
                connection.request("POST", self.path, json.dumps(asked).encode(), headers)
                with closing(connection.getresponse()) as response:
                    yield from self._pieces(response)
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise VoxstackError(said, where=self.url) from error

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[float]:
        if response.status in REFUSED:
            wait_s = _retry_after_s(response.headers)
            raise Refused(self._said(response), retry_after_s=wait_s, where=self.url)
        if response.status != http.client.OK:
            raise VoxstackError(self._said(response), where=self.url)
        kind = response.headers.get_content_type()
        if kind not in RAW_TYPES:
            raise VoxstackError(f"got {kind}, want raw samples (response_format pcm)", where=self.url)
        rate = self.sample_rate or _rate(response.headers) or SAMPLE_RATE
        given = came = 0
        while piece := response.read1(PIECE_BYTES):
            came += len(piece)
            samples = came // SAMPLE_BYTES - given  # a piece may end within a sample
            given += samples
            yield samples / rate
        if response.length:
            raise VoxstackError(f"the answer broke off {response.length} bytes early", where=self.url)

    def _said(self, response: http.client.HTTPResponse) -> str:
        """Return the status and what the server says of it, on one line."""
        body = response.read(PIECE_BYTES).decode("utf-8", "replace")
        with suppress(ValueError, KeyError, TypeError):
            body = json.loads(body)["error"]["message"]
        return " ".join(f"{response.status} {response.reason}: {body}".split()).rstrip(": ")


def _rate(headers: Message) -> int | None:
    """Return the sample rate that Content-Type says."""
    for name in ("rate", "sample_rate"):
        rate = headers.get_param(name)
        if isinstance(rate, str) and rate.isdigit() and int(rate):
            return int(rate)
    return None


def _retry_after_s(headers: Message) -> float:
    """Return the seconds that Retry-After says, as a number or a date."""
    said = str(headers.get("Retry-After", ""))
    if said.strip().isdigit():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except ValueError:
        return WAIT_S
