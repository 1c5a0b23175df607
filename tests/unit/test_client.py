"""The Python client: what it sends, what it makes of answers and problems, and how it signs."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from botocore.credentials import Credentials

import infra.client
from infra.client import ApiError, Client
from infra.openapi import contract
from infra.signing import BearerToken, SigningError, SigV4, TokenError, authentication

pytestmark = pytest.mark.slow

URL = "https://abc.execute-api.eu-central-1.amazonaws.com"
Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def client(handler: Handler, **options: Any) -> Client:
    return Client("http://127.0.0.1:8080", transport=httpx2.MockTransport(handler), **options)


def problem(status: int, **more: Any) -> httpx2.Response:
    body = {"type": "about:blank", "title": "Not found", "status": status, **more}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})


def test_lists_are_sent_in_the_pieces_that_the_api_takes() -> None:
    sizes: list[int] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        events = json.loads(request.content)["events"]
        sizes.append(len(events))
        rejected = [{"index": 3, "field": "user_id", "reason": "missing"}] if len(events) == 200 else []
        taken = len(events) - len(rejected)
        return httpx2.Response(200, json={"accepted": taken, "duplicates": 0, "rejected": rejected, "versions": {}})

    answer = client(handler).send_events({"event": "view"} for _ in range(1200))
    assert sizes == [500, 500, 200]
    assert answer["accepted"] == 1199
    assert answer["rejected"] == [{"index": 1003, "field": "user_id", "reason": "missing"}]


def test_ids_are_one_part_of_the_path() -> None:
    seen: list[bytes] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.raw_path)
        return httpx2.Response(200, json={})

    client(handler).profile("wechat/o?1 用#户")
    assert seen == [b"/v1/users/wechat%2Fo%3F1%20%E7%94%A8%23%E6%88%B7/profile"]


def test_a_problem_names_the_field() -> None:
    with pytest.raises(ApiError) as caught:
        client(lambda _: problem(404, detail="nobody is known as 'x'", field="user_id")).profile("x")
    assert str(caught.value) == "Not found: user_id: nobody is known as 'x'"
    assert (caught.value.status, caught.value.field) == (404, "user_id")


def test_an_answer_that_is_no_json_is_told_as_it_is() -> None:
    with pytest.raises(ApiError, match="502 Bad Gateway: <html>"):
        client(lambda _: httpx2.Response(502, text="<html>oops")).profile("x")


def test_a_busy_server_is_asked_again_with_the_same_key(no_waiting: list[float]) -> None:
    keys: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return httpx2.Response(503, json={"title": "down"}, headers={"Retry-After": "7"})
        if len(keys) == 2:
            raise httpx2.ReadTimeout("slow")
        return httpx2.Response(200, json={"results": []})

    assert client(handler).feedback([])["results"] == []
    assert len(keys) == 3 and len(set(keys)) == 1
    assert no_waiting == [7.0, 1.0]


def test_it_gives_up_and_says_so() -> None:
    with pytest.raises(ApiError, match="down") as caught:
        client(lambda _: problem(503, title="down")).ranker()
    assert caught.value.status == 503

    def refused(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("Connection refused")

    with pytest.raises(ApiError, match=r"nothing answers at http://127\.0\.0\.1:8080: Connection refused") as gone:
        client(refused).ranker()
    assert gone.value.status == 0


def test_every_call_is_of_the_published_contract() -> None:
    """Each method sends what the contract's routes take; between them they send to every route."""
    sent: set[str] = set()
    paths = contract()["paths"]
    schemas = contract()["components"]["schemas"]

    def handler(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        known = [
            one
            for one in paths
            if len(one.split("/")) == len(path.split("/"))
            and all(a == b or a.startswith("{") for a, b in zip(one.split("/"), path.split("/"), strict=True))
        ]
        [route] = sorted(known, key=lambda one: one.count("{"))[:1]
        operation = paths[route][request.method.lower()]
        if request.content:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert json.loads(request.content).keys() <= schemas[name]["properties"].keys()
        sent.add(f"{request.method} {route}")
        body = {"accepted": 0, "duplicates": 0, "rejected": [], "ads": [], "versions": {}}
        return httpx2.Response(200, json=body)

    with client(handler) as one:
        one.send_events([{"user_id": "u"}])
        one.profile("u")
        one.edit_interests("u", disable=["a"])
        one.set_consent("u", personalisation=True, source="form", version="1", minor=False, tcf="x")
        one.link("u", link=[{"id": "v"}])
        one.export("u")
        one.erase("u")
        one.erasure("0" * 24)
        one.put_ads([{"ad_id": "a"}])
        one.ad("a")
        one.ads(after="a b", limit=5, campaign_id="c", domain="social")
        one.variants("a")
        one.campaigns(after="a", limit=5)
        one.ahead("u", seconds=60, n=2, domain="social", language="en")
        one.upload_address("ads", "a.csv")
        one.uploaded("ads", "a.csv")
        one.classify(["text"], head="mine")
        one.copy("a", user_id="u", channel="feed", language="en", tone="warm", fresh=True)
        one.copy_job("0" * 32)
        one.review([{"ad_id": "a"}])
        one.recommend("u", placement="top", context={"domain": "social"}, compare=True, minor=True)
        one.feedback([{"ad_id": "a"}])
        one.heads()
        one.head("mine")
        one.ranker()
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {route for route in routes if route.split()[1].startswith("/v1/")} - sent <= {"GET /v1/copy/reviews"}


def test_a_file_goes_to_its_address_without_the_token_and_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"x" * 600_000)
    seen: list[httpx2.Request] = []
    gone: list[int] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        if request.method == "POST":
            url = "https://bucket.s3.example.com/k?X-Amz-Signature=s"
            return httpx2.Response(201, json={"key": "k", "url": url, "headers": {}, "most_bytes": 10**6})
        return (
            httpx2.Response(200) if len(seen) == 2 else httpx2.Response(403, text="<Message>Request expired</Message>")
        )

    with Client(URL, token="t", transport=httpx2.MockTransport(handler)) as one:
        assert one.upload(path, "events", progress=gone.append) == "k"
        assert seen[1].content == path.read_bytes() and seen[1].headers["content-length"] == "600000"
        assert "transfer-encoding" not in seen[1].headers and "authorization" not in seen[1].headers  # S3 takes neither
        assert sum(gone) == 600_000 and len(gone) > 1
        with pytest.raises(ApiError, match="the bucket refuses the file: Request expired"):
            one.upload(path, "events")


def test_the_bucket_is_reached_as_the_api_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the certificates of AWS_CA_BUNDLE, and under .localhost on this machine."""
    context = ssl.create_default_context()
    monkeypatch.setattr(infra.client, "trusted", lambda: context)
    asked: list[str] = []
    given: list[Any] = []

    class Transport(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(request.url.host)
            return httpx2.Response(200)

    def transport_to(url: httpx2.URL) -> httpx2.BaseTransport | None:
        return Transport() if url.host.endswith(".localhost") else None

    real = httpx2.Client

    def made(**options: Any) -> httpx2.Client:
        given.append(options["verify"])
        return real(**options)

    monkeypatch.setattr(infra.client, "transport_to", transport_to)
    monkeypatch.setattr(httpx2, "Client", made)
    path = tmp_path / "a.csv"
    path.write_text("x", encoding="utf-8")
    address = {"key": "k", "url": "https://bucket.s3.localhost/k", "headers": {}, "most_bytes": 10}
    with Client(URL, token="t") as one:
        monkeypatch.setattr(one, "upload_address", lambda kind, name: address)
        assert one.upload(path, "events") == "k"
    assert asked == ["bucket.s3.localhost"]
    assert given == [context, context]


def test_what_lies_at_an_address_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert "authorization" not in request.headers
        return httpx2.Response(200, content=b"whole") if request.url.path == "/there" else httpx2.Response(403)

    target = tmp_path / "export.json"
    with Client(URL, token="t", transport=httpx2.MockTransport(handler)) as one:
        assert one.download("https://bucket.s3.example.com/there", target) == 5
        with pytest.raises(ApiError, match="the bucket refuses the file"):
            one.download("https://bucket.s3.example.com/gone", target)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("export.json", b"whole")]


# Signing ------------------------------------------------------------------------------------------------------------


def signature_of(request: httpx2.Request, secret: str, region: str) -> str:
    """The signature that AWS would compute (Signature Version 4), from the request alone."""
    fields = dict(
        part.strip().split("=", 1)
        for part in request.headers["authorization"].removeprefix("AWS4-HMAC-SHA256").split(",")
    )
    at, names = request.headers["x-amz-date"], fields["SignedHeaders"]
    url = urlsplit(str(request.url))
    path = "".join(f"%{byte:02X}" if chr(byte) == "%" else chr(byte) for byte in url.path.encode())  # encoded twice
    headers = "".join(
        f"{name}:{url.netloc if name == 'host' else request.headers[name]}\n" for name in names.split(";")
    )
    body = hashlib.sha256(request.content).hexdigest()
    canonical = f"{request.method}\n{path}\n\n{headers}\n{names}\n{body}"
    scope = f"{at[:8]}/{region}/execute-api/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert fields["Credential"].endswith(scope)
    assert fields["Signature"]
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {"user_id": "用户"})])
def test_a_signature_is_the_one_that_aws_computes(method: str, body: Any) -> None:
    request = httpx2.Request(method, f"{URL}/v1/users/a%2Fb%20c/profile", json=body)
    secret = "wJalrXUtnFEMI"  # pragma: allowlist secret
    signed = next(SigV4(URL, Credentials("AKID", secret, "session")).auth_flow(request))
    assert signed.headers["x-amz-security-token"] == "session"
    found = signed.headers["authorization"].rpartition("Signature=")[2]
    assert found == signature_of(signed, secret, "eu-central-1")


def test_who_signs_what(monkeypatch: pytest.MonkeyPatch) -> None:
    assert authentication("http://127.0.0.1:8080") is None
    assert isinstance(authentication(URL, token="t"), BearerToken)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert isinstance(authentication(URL), SigV4)
    with pytest.raises(SigningError, match="not https"):
        authentication("http://api.example.com", token="t")
    with pytest.raises(SigningError, match="no token"):
        authentication(URL, "token")


def test_without_credentials_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SigningError, match="aws configure"):
        authentication(URL)


@pytest.mark.parametrize("token", ["eyJ.secret\nx", "eyJ secret", "Bearer eyJ", "密", "eyJ\x00"])
def test_what_is_no_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(TokenError) as refused:
        Client("https://api.example.com", token=token)
    assert token not in str(refused.value) and "secret" not in str(refused.value)


def test_a_token_is_what_is_left_without_the_end_of_its_line() -> None:
    sent: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["authorization"])
        return httpx2.Response(200, json={})

    with Client("https://api.example.com", token="eyJ.a\r\n", transport=httpx2.MockTransport(handler)) as one:
        one.ranker()
    assert sent == ["Bearer eyJ.a"]


def test_a_header_that_cannot_be_sent_is_not_repeated() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.LocalProtocolError("Illegal header value b'secret'")

    with Client(URL, token="t", transport=httpx2.MockTransport(handler)) as one, pytest.raises(ApiError) as refused:
        one.ranker()
    assert "secret" not in str(refused.value)


def test_a_token_goes_into_the_header() -> None:
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200, json={})

    Client(URL, token="abc", transport=httpx2.MockTransport(handler)).ranker()
    assert seen == ["Bearer abc"]
