"""Who a request is from: AWS Signature Version 4, a bearer token, or nobody (the local system)."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2

Method = Literal["auto", "iam", "token", "none"]
_SERVICE = "execute-api"
_REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


class SigningError(Exception):
    """There is nothing to sign with, or it would be sent in the open; the message says what helps."""


class TokenError(SigningError):
    """The token is none; the message does not repeat it."""


def is_local(url: str) -> bool:
    """Whether the URL leads to this machine."""
    return urlsplit(url).hostname in _HERE


def authentication(url: str, method: Method = "auto", *, token: str | None = None) -> httpx2.Auth | None:
    """What signs requests to `url`. ``auto``: a token where there is one, nothing on this machine, else AWS credentials
    as boto3 finds them.

    Raises:
        SigningError: there are no credentials, or the connection is not encrypted.
        TokenError: the token has characters that no token has.
    """
    token = (token or "").strip()  # what a file or a pipe leaves at its end
    if method == "auto":
        method = "token" if token else "none" if is_local(url) else "iam"
    if method == "none":
        return None
    if urlsplit(url).scheme != "https" and not is_local(url):
        raise SigningError(f"{url} is not https: credentials are not sent in the open")
    if method == "token":
        if not token:
            raise SigningError("there is no token: give --token or set ADTAILOR_TOKEN")
        if _TOKEN.fullmatch(token) is None:
            raise TokenError("the token (--token, ADTAILOR_TOKEN) has characters that no token has, such as a space")
        return BearerToken(token)
    return SigV4(url)


class BearerToken(httpx2.Auth):
    """A JWT of the issuer that the deployment trusts."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class SigV4(httpx2.Auth):
    """AWS Signature Version 4 for API Gateway, by botocore. The region is that of the URL, else of the configuration.

    Raises:
        SigningError: botocore finds no credentials or region.
    """

    requires_request_body = True

    def __init__(self, url: str, credentials: Any = None, region: str | None = None) -> None:
        from botocore.session import Session

        session = Session()
        found = _REGION.search(urlsplit(url).hostname or "")
        self._region = region or (found[1] if found else session.get_config_variable("region"))
        self._credentials = credentials or session.get_credentials()
        if self._credentials is None:
            raise SigningError("no AWS credentials: run `aws configure sso` or set AWS_PROFILE, or give --token")
        if not self._region:
            raise SigningError("no AWS region: set AWS_DEFAULT_REGION")

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        kept = {name: request.headers[name] for name in ("content-type",) if name in request.headers}
        signed = AWSRequest(request.method, str(request.url), kept, request.content or b"")
        SigV4Auth(self._credentials.get_frozen_credentials(), _SERVICE, self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request
