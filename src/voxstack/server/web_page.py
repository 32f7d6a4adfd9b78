"""Show the page at / on which a server's voices can be tried; it needs nothing but this server."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["FILES", "PageFile", "page_routes"]

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SECURITY = {
    # Nothing from elsewhere, nothing written into the page: no text that is spoken can become code.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

CACHE = "no-cache"
"""A browser may keep a file but asks each time whether it is the newest: it is told so in a few bytes."""


@dataclass(frozen=True)
class PageFile:
    """A file of the page, as it is sent."""

    data: bytes
    media_type: str
    etag: str


def _found() -> dict[str, PageFile]:
    """Return the files by the path at which they are."""
    found: dict[str, PageFile] = {}
    for entry in files("voxstack.server").joinpath("page").iterdir():
        media_type = TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is None:
            continue
        data = entry.read_bytes()
        path = "/" if entry.name == "index.html" else f"/page/{entry.name}"
        found[path] = PageFile(data, media_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found


FILES = _found()
"""The page and all that it is made of; none of it needs a key, for the page itself asks for it."""


def page_routes() -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """Return what answers each path of the page."""
    return {path: _answer(file) for path, file in FILES.items()}


def _answer(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    headers = {"etag": file.etag, "cache-control": CACHE, **SECURITY}

    async def page(request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        # What stands between may have made the tag a weak one.
        if file.etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.media_type, headers=headers)

    return page
