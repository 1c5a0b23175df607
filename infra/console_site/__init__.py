"""The console as a static page: its files, its configuration, and the headers that it wants wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

FILES = Path(__file__).resolve().parents[1] / "console"
SCOPES = "openid adtailor/serve adtailor/read adtailor/write adtailor/people"
# Asked for anew each time and answered by ETag: the files' names do not change with what they hold.
CACHE_CONTROL = "no-cache"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
# Where sign-in talks to besides the issuer itself: with Amazon Cognito these lie at another origin than the issuer.
_ENDPOINTS = ("token_endpoint", "revocation_endpoint", "jwks_uri")


@dataclass(frozen=True)
class Site:
    """What the page is told. issuer: of the tokens that the API takes; without it a token is pasted into the page.
    uploads: origins that presigned URLs lead to."""

    api: str
    issuer: str = ""
    client_id: str = ""
    scope: str = SCOPES
    uploads: tuple[str, ...] = ()

    def config(self) -> dict[str, str]:
        """``config.json``."""
        named = {"issuer": self.issuer, "client_id": self.client_id, "scope": self.scope} if self.issuer else {}
        return {"api": self.api} | named

    def connects(self, discovered: Mapping[str, object] | None = None) -> list[str]:
        """Origins for ``connect-src``, each once. discovered: the issuer's configuration."""
        found = [str((discovered or {}).get(name) or "") for name in _ENDPOINTS]
        urls = (self.api, *self.uploads, self.issuer, *found)
        return list(dict.fromkeys(origin(url) for url in urls if url))


def origin(url: str) -> str:
    """``https://a.example`` of ``https://a.example/b``.

    Raises:
        ValueError: it is no http(s) URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise ValueError(f"{url!r} is no URL of a web address")
    return f"{parts.scheme}://{parts.netloc}"


def policy(connects: Iterable[str] = ()) -> str:
    """The page's Content-Security-Policy. connects: origins that it may speak to besides its own."""
    spoken_to = " ".join(("'self'", *connects))
    return (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src {spoken_to}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    )


def files(config: Mapping[str, str], folder: Path = FILES) -> Iterator[tuple[str, bytes, str]]:
    """Path, body and content type of everything that the page consists of; the configuration last, so that it never
    names what is not there yet. ``people.json`` is the local sample's and empty elsewhere: nobody's id is published."""
    written = {"people.json": b"[]\n", "config.json": json.dumps(config, indent=2).encode() + b"\n"}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in written:
            yield name, path.read_bytes(), _TYPES.get(path.suffix, "text/plain; charset=utf-8")
    for name, body in written.items():
        yield name, body, _TYPES[".json"]
