"""What stands around the console where the API does not serve it: an issuer of tokens, a gateway before the API as API
Gateway is one, and a static host; each on an origin of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx2
import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.console_site import files, policy
from infra.local.processes import HOST, free_port
from shared.errors import Forbidden
from shared.scopes import authorise
from tests import cloudformation
from tests.data import ROOT

CLIENT = "console"
AUDIENCE = "adtailor"


@contextmanager
def serving(app: ASGIApp, port: int) -> Iterator[str]:
    """The app on a port of this machine; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Issuer:
    """An OpenID provider with one user. It lets a code go for the verifier of its challenge alone (RFC 7636), once.

    scope: granted, whatever is asked for; empty: what is asked for. lasts: seconds of an access token. grants: types of
    the tokens given, in order. refused: why a token was not given.
    """

    url: str
    redirect: str
    scope: str = ""
    lasts: int = 3600
    grants: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _refresh: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/jwks", self._keys),
                Route("/authorize", self._authorize),
                Route("/approve", self._approve, methods=["POST"]),
                Route("/token", self._token, methods=["POST"]),
                Route("/end", self._end),
            ]
        )

    async def _configuration(self, _: Request) -> Response:
        names = {"authorization": "authorize", "token": "token", "end_session": "end"}
        places = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in names.items()}
        return _open({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} | places)

    async def _keys(self, _: Request) -> Response:
        return _open({"keys": [self.jwk()]})

    def jwk(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        parts = {"n": numbers.n.to_bytes(256), "e": numbers.e.to_bytes(3)}
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1"} | {k: _text(v) for k, v in parts.items()}

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        wanted = {"client_id": CLIENT, "redirect_uri": self.redirect, "response_type": "code"}
        wanted |= {"code_challenge_method": "S256"}
        if wrong := [name for name, value in wanted.items() if asked.get(name) != value]:
            self.refused.append(f"authorize: {wrong}")
            return JSONResponse({"error": "invalid_request", "wrong": wrong}, 400)
        hidden = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in asked.items())
        form = f'<form method="post" action="/approve">{hidden}<button>Continue as Ann</button>'
        form += '<button name="no" value="1">No, thanks</button></form>'
        head = '<!doctype html><html lang="en"><title>Issuer</title><link rel="icon" href="data:,">'
        return HTMLResponse(f"{head}<main><h1>Issuer</h1>{form}</main>")

    async def _approve(self, request: Request) -> Response:
        asked = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if "no" in asked:
            back = urlencode({"error": "access_denied", "state": asked["state"]})
            return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303)

    async def _token(self, request: Request) -> Response:
        asked = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        grant = asked.get("grant_type", "")
        if grant == "authorization_code":
            given = self._codes.pop(asked.get("code", ""), None)
            challenge = _text(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
            known = given is not None and given["code_challenge"] == challenge
        else:
            given = self._refresh.pop(asked.get("refresh_token", ""), None)
            known = given is not None and grant == "refresh_token"
        if given is None or not known or asked.get("client_id") != CLIENT:
            self.refused.append(f"token: {grant}")
            return _open({"error": "invalid_grant"}, 400)
        self.grants.append(grant)
        return _open(self._tokens(given))

    def _tokens(self, given: Mapping[str, str]) -> dict[str, Any]:
        now, scope = int(time.time()), self.scope or given["scope"]
        person = {"iss": self.url, "sub": "ann", "iat": now, "exp": now + self.lasts}
        identity = person | {"aud": CLIENT, "email": "ann@example.com", "nonce": given.get("nonce")}
        refresh = secrets.token_urlsafe(16)
        self._refresh[refresh] = given
        return {
            "token_type": "Bearer",
            "expires_in": self.lasts,
            "scope": scope,
            "access_token": self.signed(person | {"aud": AUDIENCE, "scope": scope}),
            "id_token": self.signed({name: value for name, value in identity.items() if value is not None}),
            "refresh_token": refresh,
        }

    def signed(self, claims: Mapping[str, Any]) -> str:
        """A JWT by RS256."""
        head = _text(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "1"}).encode())
        text = f"{head}.{_text(json.dumps(claims).encode())}"
        return f"{text}.{_text(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    async def _end(self, request: Request) -> Response:
        return RedirectResponse(request.query_params["post_logout_redirect_uri"], 303)


def _open(body: object, status: int = 200) -> JSONResponse:
    """For pages of every origin, as issuers answer."""
    return JSONResponse(body, status, headers={"access-control-allow-origin": "*"})


class Unauthorised(Exception):
    """The token is none that the gateway takes."""


@dataclass
class Gateway:
    """Before the API as API Gateway is: it lets the pages of one origin in as the template says, wants a token of the
    issuer (by its published key), and gives a refused scope the answer of the functions, which are in stage ``local``
    here and would let everybody in."""

    api: str
    issuer: Issuer
    origin: str
    client: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(timeout=120, trust_env=False))

    def app(self) -> Starlette:
        @asynccontextmanager
        async def closing(_: Starlette) -> AsyncIterator[None]:
            yield
            await self.client.aclose()

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return Starlette(routes=[Route("/{path:path}", self._any, methods=methods)], lifespan=closing)

    async def _any(self, request: Request) -> Response:
        answer = self._preflight(request) if request.method == "OPTIONS" else await self._passed(request)
        if request.headers.get("origin") == self.origin:
            answer.headers["access-control-allow-origin"] = self.origin
        return answer

    def _preflight(self, request: Request) -> Response:
        said = cors()
        asked = request.headers.get("access-control-request-headers", "").split(",")
        allowed = (
            request.headers.get("origin") == self.origin
            and request.headers.get("access-control-request-method") in said["AllowMethods"]
            and {one.strip().lower() for one in asked} - {""} <= set(said["AllowHeaders"])
        )
        names = {"methods": ",".join(said["AllowMethods"]), "headers": ",".join(said["AllowHeaders"])}
        return Response(
            status_code=204, headers={f"access-control-allow-{k}": v for k, v in names.items()} if allowed else {}
        )

    async def _passed(self, request: Request) -> Response:
        try:
            claims = self._claims(request.headers.get("authorization", ""))
            authorise(claims, request.method, request.url.path)
        except Unauthorised:
            return JSONResponse({"message": "Unauthorized"}, 401)
        except Forbidden as error:
            return JSONResponse(error.problem(), error.status, media_type="application/problem+json")
        path = request.scope["raw_path"].decode()
        answer = await self.client.request(
            request.method,
            f"{self.api}{path}" + (f"?{request.url.query}" if request.url.query else ""),
            content=await request.body(),
            headers={name: value for name, value in request.headers.items() if name == "content-type"},
        )
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    def _claims(self, header: str) -> dict[str, Any]:
        try:
            scheme, _, token = header.partition(" ")
            text, _, signature = token.rpartition(".")
            key = rsa.RSAPublicNumbers(*(int.from_bytes(_bytes(self.issuer.jwk()[one])) for one in "en")).public_key()
            key.verify(_bytes(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
            claims: dict[str, Any] = json.loads(_bytes(text.split(".")[1]))
        except (ValueError, IndexError, InvalidSignature):
            raise Unauthorised from None
        if scheme != "Bearer" or claims["aud"] != AUDIENCE or claims["exp"] < time.time():
            raise Unauthorised
        return claims


def cors() -> dict[str, list[str]]:
    """What the template's API says to pages of its ``CorsOrigin``."""
    api = cloudformation.load(ROOT / "template.yaml")["Resources"]["Api"]["Properties"]
    said: dict[str, list[str]] = api["CorsConfiguration"]["If"][1]
    return said


def host(config: Mapping[str, str], connects: list[str]) -> Starlette:
    """A static host of the page, with the headers of ``infra/console_site/template.yaml``."""
    found = {name: (body, kind) for name, body, kind in files(config)}

    async def one(request: Request) -> Response:
        body = found.get(request.path_params["path"] or "index.html")
        if body is None:
            return Response(status_code=404)
        return Response(body[0], media_type=body[1], headers={"content-security-policy": policy(connects)})

    return Starlette(routes=[Route("/{path:path}", one)])


@dataclass(frozen=True)
class Elsewhere:
    """The page at `page`, told of `issuer` and `api`."""

    page: str
    api: str
    issuer: Issuer


@contextmanager
def elsewhere(api: str, uploads: str) -> Iterator[Elsewhere]:
    """The three around a running API. uploads: origin that presigned URLs lead to."""
    at = {name: f"http://{HOST}:{port}" for name, port in zip(("page", "api", "issuer"), _ports(3), strict=True)}
    issuer = Issuer(at["issuer"], f"{at['page']}/")
    config = {"api": at["api"], "issuer": at["issuer"], "client_id": CLIENT}
    config["scope"] = "openid adtailor/serve adtailor/read adtailor/write adtailor/people"
    apps = {
        "page": host(config, [at["api"], at["issuer"], uploads]),
        "api": Gateway(api, issuer, at["page"]).app(),
        "issuer": issuer.app(),
    }
    with (
        serving(apps["page"], _port(at["page"])),
        serving(apps["api"], _port(at["api"])),
        serving(apps["issuer"], _port(at["issuer"])),
    ):
        yield Elsewhere(at["page"], at["api"], issuer)


def _ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])
