"""Every route of the published contract under right, wrong and malicious requests, over HTTP to the running system."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from infra.answers import ANSWERS
from infra.load.fuzz import fuzz
from tests.integration.conftest import LocalSystem

AT = "2026-11-20T10:00:00Z"
PROBLEM = "application/problem+json"
IDS = {
    "nul": "a\x00b",
    "lone-surrogate": "a\ud800",
    "slash": "a/b",
    "dots": "../../x",
    "escaped": "%2e%2e%00",
    "line-break": "a\r\nX-Evil: 1",
    "zero-width": "a\u200b",
    "blank": " ",
    "empty": "",
    "1024-bytes": "中" * 341 + "x",
    "emoji": "😀" * 200,
    "201": "x" * 201,
}
NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 400, "1e-400", "-0", "true", "null", '"5"', "[]"]
BODIES: dict[str, bytes] = {
    "none": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "two": b"{}{}",
    "mark": b"\xef\xbb\xbf{}",
    "not-utf8": b"\xff\xfe{\x00}\x00",
    "same-key-twice": b'{"texts": ["a"], "texts": 5}',
    "deep-lists": b'{"events": ' + b"[" * 100_000,
    "deep-objects": b'{"events": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}",
    "deep-and-closed": b'{"events": ' + b"[" * 900 + b"]" * 900 + b"}",
}


def routes() -> list[tuple[str, str]]:
    """Method and path of every route that takes a body."""
    named = (route.split(" ") for route in ANSWERS)
    return [(method, path.replace("{user_id}", "nasty")) for method, path in named if method not in ("GET", "DELETE")]


def with_id(value: str) -> Iterator[tuple[str, str, Any]]:
    event = {"user_id": "nasty", "event": "view", "timestamp": AT, "item_id": "i", "text": "a phone"}
    ad = {"ad_id": "n", "title": "t", "landing_url": "https://e.com/", "language": "en", "domain": "ecommerce"}
    names = ("user_id", "event_id", "item_id", "platform", "text", "domain")
    yield "POST", "/v1/events", {"events": [*(event | {name: value} for name in names), event | {"tags": [value]}]}
    yield "PUT", "/v1/ads", {"ads": [ad | {name: value} for name in (*ad, "campaign_id", "description", "brand")]}
    yield "PUT", "/v1/ads", {"ads": [ad | {"attributes": {value: value}}, ad | {"targeting": {"segments": [value]}}]}
    yield "POST", "/v1/recommendations", {"user_id": value, "placement": value, "context": {"platform": value}}
    yield "POST", "/v1/recommendations", {"user_id": "nasty", "placement": value, "context": {"platform": value}}
    item = {"decision_id": value, "ad_id": value, "type": "click", "timestamp": AT}
    yield "POST", "/v1/feedback", {"feedback": [item]}
    yield "PATCH", "/v1/users/nasty/interests", {"disable": [value], "enable": [value]}
    yield "PUT", "/v1/users/nasty/consent", {"personalisation": True, "source": value, "at": AT, "tcf": value}
    yield "POST", "/v1/classify", {"texts": [value]}
    yield "POST", "/v1/classify", {"texts": ["x"], "head": value}
    yield "POST", "/v1/copy", {"ad": {"title": f"A phone {value}", "description": value}, "n": 1}
    yield "POST", "/v1/copy", {"ad": {"title": "A phone"}, "user_id": value, "n": 1}
    yield "POST", "/v1/copy", {"ad_id": value, "segment": value, "channel": value, "adapter": value}
    review = {"ad_id": value, "text": value, "state": "approved", "segment": value, "reviewer": value}
    yield "POST", "/v1/copy/reviews", {"reviews": [review]}


def with_number(number: str) -> Iterator[tuple[str, str, str]]:
    event = f'{{"user_id": "nasty", "event": "view", "timestamp": {number}, "value": {number}, "item_id": {number}}}'
    yield "POST", "/v1/events", f'{{"events": [{event}, {event.replace(number, "1780000000", 1)}]}}'
    fixed = '"ad_id": "n", "title": "t", "landing_url": "https://e.com/", "language": "en", "domain": "ecommerce"'
    cap = f'{{"count": {number}, "hours": {number}}}'
    fields = {"bid_cpm": number, "daily_budget": number, "start": number, "end": number, "frequency_cap": cap}
    ads = [f'{{{fixed}, "{name}": {value}}}' for name, value in fields.items()]
    yield "PUT", "/v1/ads", f'{{"ads": [{", ".join(ads)}, {{{fixed}, "attributes": {{"x": {number}}}}}]}}'
    yield "POST", "/v1/recommendations", f'{{"user_id": "nasty", "n": {number}}}'
    yield "POST", "/v1/classify", f'{{"texts": ["x"], "top": {number}}}'
    yield "POST", "/v1/copy", f'{{"ad": {{"title": "A phone", "attributes": {{"a": {number}}}}}, "n": {number}}}'
    yield "PUT", "/v1/users/nasty/consent", f'{{"personalisation": true, "source": "x", "at": {number}}}'
    item = f'{{"decision_id": "x", "ad_id": "y", "type": "click", "timestamp": {number}}}'
    yield "POST", "/v1/feedback", f'{{"feedback": [{item}]}}'


def checked(answer: httpx2.Response) -> httpx2.Response:
    """Below 500, JSON, and where it is an error a problem document."""
    assert answer.status_code < 500, (answer.request.url, answer.request.content[:300], answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == PROBLEM
        document = answer.json()
        assert (document["status"], bool(document["title"])) == (answer.status_code, True)
    else:
        assert answer.headers["content-type"] == "application/json"
        answer.json()
    return answer


def exchange(system: LocalSystem, request: bytes) -> tuple[int, bytes, bytes]:
    """Sends bytes as they are; the answer's status, head and body."""
    port = httpx2.URL(system.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65536)):
                break
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
    return int(head.split(b" ")[1]), head, body


@pytest.mark.slow
def test_the_contract_holds_under_fuzzing(local_system: LocalSystem) -> None:
    """The same requests every time; `make fuzz` sends 10,000 of them, and others with another seed."""
    outcome = fuzz(local_system.url, total=2000)
    assert outcome.requests >= 2000
    assert {route for route, _ in outcome.counts} >= set(ANSWERS)
    guessed = {"GET /v1/copy/{job_id}", "GET /v1/heads/{name}", "GET /v1/erasures/{erasure_id}"}  # by nobody
    signed = ("win", "billing", "loss", "click", "visit")
    guessed |= {f"{method} /openrtb2/{notice}" for notice in signed for method in ("GET", "POST")}
    for route in set(ANSWERS) - guessed:
        assert any(outcome.counts[route, status] for status in ANSWERS[route]), f"{route}: nothing was ever taken"
    assert outcome.server_errors == 0
    assert [str(failure) for failure in outcome.failures.values()] == []
    assert local_system.health() == 200


@pytest.mark.parametrize("value", IDS.values(), ids=IDS.keys())
def test_odd_ids_and_texts_are_taken_or_refused_in_words(local_system: LocalSystem, value: str) -> None:
    json_type = {"content-type": "application/json"}
    for method, path, body in with_id(value):
        checked(local_system.http.request(method, path, content=json.dumps(body), headers=json_type))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
def test_numbers_that_are_none_are_refused(local_system: LocalSystem, number: str) -> None:
    json_type = {"content-type": "application/json"}
    for method, path, body in with_number(number):
        answer = checked(local_system.http.request(method, path, content=body, headers=json_type))
        if path in ("/v1/recommendations", "/v1/classify", "/v1/feedback") or "consent" in path:
            assert answer.status_code in (400, 422), body


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bodies_that_are_none_are_refused(local_system: LocalSystem, body: bytes) -> None:
    for method, path in routes():
        answer = checked(
            local_system.http.request(method, path, content=body, headers={"content-type": "application/json"})
        )
        # All fields of an edit and of links are optional, and each event is judged by itself.
        optional = method == "PATCH" or path.endswith("/identities")
        taken = (optional and b"{" in body) or (path == "/v1/events" and body == BODIES["deep-and-closed"])
        assert answer.status_code in ((200, 400, 422) if taken else (400, 422)), (method, path)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ";;"],
)
def test_other_content_types_are_refused(local_system: LocalSystem, kind: str) -> None:
    answer = local_system.http.post("/v1/recommendations", content=b'{"user_id": "a"}', headers={"content-type": kind})
    assert checked(answer).status_code == 422


def test_truth_values_and_numbers_are_not_guessed(local_system: LocalSystem) -> None:
    consent = {"personalisation": True, "source": "x", "at": AT}
    for wrong in ({"personalisation": 0}, {"personalisation": "no"}, {"sensitive": 1}, {"at": "tomorrow"}, {"at": 7}):
        assert local_system.http.put("/v1/users/nasty/consent", json=consent | wrong).status_code == 422, wrong
    for other in ({"n": "5"}, {"n": True}, {"personalised": 0}, {"user_id": "a\u200b"}):
        assert local_system.http.post("/v1/recommendations", json={"user_id": "a"} | other).status_code == 422, other


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59.9999999Z"])
def test_a_time_that_no_answer_could_write_is_refused(local_system: LocalSystem, end: str) -> None:
    ad = {"title": "t", "landing_url": "https://e.com/", "language": "en", "domain": "ecommerce", "end": end}
    answer = local_system.http.put("/v1/ads", json={"ads": [ad | {"ad_id": "nasty-late"}]})
    assert checked(answer).json()["ads"][0]["rejected"]["field"] == "end"
    assert checked(local_system.http.get("/v1/ads/nasty-late")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/v1/users/%00/profile", 422),
        (b"/v1/users/%ff/profile", 404),
        (b"/v1/users/%ed%a0%80/profile", 404),
        (b"/v1/users/../profile", 422),
        (b"/v1/users/a%2Fb/c/profile", 404),
        (b"/v1/users//profile", 422),
        (b"/v1/users/%0d%0aX-Evil:%201/profile", 404),
        (b"/v1/users/%zz/profile", 404),
        (b"/v1/users/" + b"%E4%B8%AD" * 341 + b"/profile", 422),
        (b"/v1/ads/..%2f..%2fadmin", 404),
        (b"/v1/ads/%E2%80%8B?x=%00", 404),
        (b"/v1/copy/" + b"0" * 32 + b"%0a", 422),
        (b"/v1//events", 404),
        (b"http://elsewhere/v1/events", 404),
        (b"/" + b"a" * 70_000, 413),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else None,
)
def test_odd_paths(local_system: LocalSystem, path: bytes, status: int) -> None:
    found, head, body = exchange(local_system, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found == status
    assert PROBLEM.encode() in head
    assert b"x-evil" not in head.lower()
    assert json.loads(body)["status"] == status


def test_only_whole_people_are_erased(local_system: LocalSystem) -> None:
    """Whoever asks to erase a part of a person is told so, and does not get the receipt of nobody."""
    status, head, _ = exchange(local_system, b"DELETE /v1/users/nasty/profile HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 405 and b"allow: get\r\n" in head.lower() + b"\r\n"
    status, _, body = exchange(local_system, b"DELETE /v1/users/nobody%2Fprofile HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 202 and json.loads(body)["kind"] == "erasure"


def test_chunked_bodies_and_broken_framing(local_system: LocalSystem) -> None:
    start = b"POST /v1/events HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\n"
    chunked = start + b"transfer-encoding: chunked\r\n\r\n"
    status, _, body = exchange(local_system, chunked + b'5\r\n{"eve\r\na\r\nnts": []}\x20\r\n0\r\n\r\n')
    assert (status, json.loads(body)["accepted"]) == (200, 0)
    endless = chunked + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 90 + b"0\r\n\r\n"
    status, _, body = exchange(local_system, endless)
    assert (status, json.loads(body)["status"]) == (413, 413)
    for broken in (
        chunked + b"zz\r\n",
        start + b"content-length: -5\r\n\r\n",
        start + b"content-length: x\r\n\r\n",
        start + b"X: a\x00b\r\n\r\n",
        start + b"X: a\rb\r\n\r\n",
        start + b"Host: y\r\n\r\n",
    ):
        assert exchange(local_system, broken)[0] == 400
    assert local_system.health() == 200
