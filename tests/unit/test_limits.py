"""What a request, an upload or a text can ask for: sizes, depths, numbers, ids, and the time of our own patterns."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.domain import Ad, Rejection
from shared.generating.constraint import constraint_of
from shared.generating.facts import facts_of, quoted
from shared.generating.form import form_problems, tidy
from shared.generating.trimming import trimmed
from shared.limits import MAX_ADDRESS, MAX_DEPTH, MAX_HEADERS, is_utf8, too_deep
from shared.policy.claims import trace_claims, unsupported
from shared.policy.legible import LONGEST_COPY, MOST_IN_COPY, illegible
from shared.policy.literal import literal
from shared.policy.rules import check, editorial
from shared.preprocess import clean_text, match_key, parse_ad, parse_event
from shared.stores import frequency, spend
from shared.stores.catalogue import Catalogue
from shared.stores.copies import ANYONE, Copies
from shared.stores.table import Key
from shared.telemetry import logger
from shared.uploads import StreamProblem, lines, read_rows
from shared.uploads.lines import LARGEST_RATIO
from shared.wiring import System
from tests.fakes.generation import PHONE, PHONE_EN
from tests.unit.test_api import AT, event, post

pytestmark = pytest.mark.slow

assert isinstance(PHONE_EN, Ad)
OURS: Ad = PHONE_EN
PROBLEM = "application/problem+json"
ROUTES: dict[str, tuple[Any, str, str, Callable[[Any], Any]]] = {
    "events": (profile.app, "POST", "/v1/events", lambda x: {"events": [event(text=x), event(tags=x), x]}),
    "interests": (profile.app, "PATCH", "/v1/users/ann/interests", lambda x: {"disable": x}),
    "consent": (
        profile.app,
        "PUT",
        "/v1/users/ann/consent",
        lambda x: {"personalisation": True, "source": x, "at": AT, "tcf": x},
    ),
    "identities": (profile.app, "PUT", "/v1/users/ann/identities", lambda x: {"link": [{"id": x, "platform": x}]}),
    "classify": (classify.app, "POST", "/v1/classify", lambda x: {"texts": [x], "head": x, "top": x}),
    "ads": (
        classify.app,
        "PUT",
        "/v1/ads",
        lambda x: {"ads": [PHONE | {"attributes": {"a": x}}, PHONE | {"targeting": {"segments": x}}, x]},
    ),
    "copy": (generate.app, "POST", "/v1/copy", lambda x: {"ad": {"title": "A phone", "description": x}, "n": 1}),
    "reviews": (generate.app, "POST", "/v1/copy/reviews", lambda x: {"reviews": [{"ad_id": "a", "text": x}]}),
    "recommendations": (
        recommend.app,
        "POST",
        "/v1/recommendations",
        lambda x: {"user_id": x, "context": {"platform": x}, "floor_cpm": x},
    ),
    "feedback": (recommend.app, "POST", "/v1/feedback", lambda x: {"feedback": [{"decision_id": x, "ad_id": x}]}),
}


def nested(depth: int, kind: str = "list") -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


# Requests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", [pytest.param(route, marks=() if route in ("events", "copy") else pytest.mark.slow) for route in ROUTES]
)
def test_every_route_answers_what_is_too_deep_or_too_large_with_a_problem(built: System, route: str) -> None:
    app, method, path, body = ROUTES[route]
    raw = {
        "deep-lists": "[" * 100_000,
        "deep-closed": "[" * 50_000 + "]" * 50_000,
        "deep-objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "within": json.dumps(body("HERE")).replace('"HERE"', "[" * 5_000 + "]" * 5_000),
        "huge-integer": json.dumps(body("HERE")).replace('"HERE"', "9" * 50_000),
        "no-utf-8": b'{"text": "\xff\xfe"}',
        "no-number": json.dumps(body("HERE")).replace('"HERE"', "NaN"),
        "beyond": json.dumps(body("HERE")).replace('"HERE"', "1e999"),
        "below": json.dumps(body("HERE")).replace('"HERE"', "-1e999"),
        "long": json.dumps(body("x" * 1_000_000)),
        "many": json.dumps(body(["x"] * 100_000)),
        "keys": json.dumps(body({f"k{n}": n for n in range(50_000)})),
        "surrogates": json.dumps(body("\ud800\udfff\udc00")),
        "controls": json.dumps(body("a\x00b\r\nX-Evil: 1\x1b[31m\u2028\u202e")),
        "the-deepest": json.dumps(body(nested(MAX_DEPTH - 4))),
        "twice": json.dumps(body(1))[:-1] + "," + json.dumps(body(nested(3)))[1:],
    }
    for name, sent in raw.items():
        answer = post(app, path, sent, method)
        assert answer.status_code < 500, (name, answer.text[:200])
        if name.startswith("deep") or name == "within":
            assert answer.status_code == 400, (name, answer.text[:200])
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == PROBLEM, name
            assert answer.json()["detail"], name
            assert answer.json()["status"] == answer.status_code
            assert len(answer.content) < 20_000, name  # what was sent does not come back at length
            assert "Traceback" not in answer.text
        assert not any("evil" in key.lower() for key in answer.headers), name


JSON = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\'), inner),
)


@settings(deadline=None)
@given(JSON)
def test_the_depth_is_that_of_the_parser(value: Any) -> None:
    def depth(one: Any) -> int:
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    body = json.dumps(value).encode()
    for most in (0, 1, 2, 5):
        assert too_deep(body, most) == (depth(value) > most)


def test_depth_is_told_in_time_and_of_what_is_no_json_too() -> None:
    assert not too_deep(json.dumps(nested(MAX_DEPTH)).encode())
    for deep in (json.dumps(nested(MAX_DEPTH + 1)).encode(), b"[" * (MAX_DEPTH + 1), b'{"a":' * 2_000_000):
        assert too_deep(deep)
    for flat in (
        b'{"events": [{"a": "[[[[[[' + b"[" * 99 + b'"}]',
        b'{"a":[{' + b'"b":{},' * 99,
        b"]" * 999,
        b'"\\"' * 99,
    ):
        assert not too_deep(flat)


def test_a_body_is_utf_8_or_refused(built: System) -> None:
    """What hides brackets from the count of levels, and a name from whoever looks for it, the application reads."""
    text = '{"\u2200": 1, "user_id": %s, "b": "\u2200"}' % ("[" * 40 + "]" * 40)
    for kind in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1"):
        raw = text.encode(kind, "replace") if kind != "latin-1" else b'{"user_id": "M\xfcller"}'
        answer = post(recommend.app, "/v1/recommendations", raw)
        assert (answer.status_code, answer.json()["detail"]) == (400, "the body is not UTF-8"), kind
    assert is_utf8("手机 😀".encode()) and is_utf8(b"\xef\xbb\xbf{}") and not is_utf8(b"\xed\xa0\x80")


def test_an_address_and_headers_have_a_length(built: System) -> None:
    long = post(profile.app, f"/v1/users/{'x' * MAX_ADDRESS}/profile", b"", "GET")
    query = post(profile.app, "/v1/users/a/profile?" + "x=1&" * (MAX_ADDRESS // 4), b"", "GET")
    for answer in (long, query):
        assert (answer.status_code, answer.json()["field"]) == (413, "path")
    from fastapi.testclient import TestClient

    with TestClient(profile.app) as client:
        answer = client.get(
            "/v1/users/a/profile", headers={f"x-{n}": "y" * 1000 for n in range(MAX_HEADERS // 1000 + 2)}
        )
    assert (answer.status_code, answer.json()["field"]) == (413, "headers")
    assert post(profile.app, f"/v1/users/{'x' * 201}/profile", b"", "GET").status_code == 422


AD_FIELDS = {
    "ad_id": "x" * 201,
    "title": "x" * 201,
    "description": "x" * 5001,
    "brand": "x" * 101,
    "campaign_id": "x" * 201,
    "landing_url": "https://a.com/" + "x" * 2000,
    "image_url": "https://a.com/" + "x" * 2000,
    "attributes": {f"k{n}": n for n in range(51)},
    "attributes.a": {"a": "x" * 501},
    "attributes.b": {"a": [1]},
    "attributes.c": {"a": 10**400},
    "attributes.d": {"a": float("nan")},
    "attributes.e": {"k" * 81: 1},
    "targeting": {"anything": ["x"]},
    "targeting.segments": {"segments": ["x"] * 101},
    "targeting.platforms": {"platforms": ["x" * 201]},
    "targeting.interests": {"interests": "x"},
    "exclusion_labels": ["x"] * 21,
    "bid_cpm": 10**400,
    "daily_budget": float("inf"),
    "frequency_cap": {"count": 1e308, "hours": 1},
    "frequency_cap.hours": {"count": 1, "hours": float("nan")},
    "start": 10**400,
    "end": "9" * 400,
    "domain": "x" * 5000,
    "language": "x" * 5000,
}
EVENT_FIELDS = {
    "user_id": "x" * 201,
    "event": "x" * 100_000,
    "event_id": "x" * 201,
    "item_id": "x" * 201,
    "platform": "x" * 81,
    "domain": "x" * 100_000,
    "tags": ["x"] * 21,
    "tags.0": ["x" * 81],
    "value": 10**400,
    "value.nan": float("nan"),
    "timestamp": 10**400,
    "timestamp.inf": float("inf"),
}


def test_every_field_of_a_row_has_its_limit() -> None:
    for name, value in AD_FIELDS.items():
        field = name.split(".")[0]
        outcome = parse_ad(PHONE | {field: value}, index=0)
        assert isinstance(outcome, Rejection), name
        assert outcome.field.split(".")[0] == field and len(outcome.reason) < 300
    for name, value in EVENT_FIELDS.items():
        field = name.split(".")[0]
        outcome_of_event = parse_event(event(**{field: value}), now=1.8e9, index=0)
        assert isinstance(outcome_of_event, Rejection), name
        assert outcome_of_event.field == field and len(outcome_of_event.reason) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["NaN", "1e999", "\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(sorted({name.split(".")[0] for name in AD_FIELDS})), ANYTHING)
def test_no_value_of_any_field_raises(field: str, value: Any) -> None:
    for outcome in (
        parse_ad(PHONE | {field: value}, index=0),
        parse_event(event(**{field: value}), now=1.8e9, index=0),
    ):
        if not isinstance(outcome, Rejection):
            orjson.dumps(outcome)  # and what is taken can be kept


# Uploads --------------------------------------------------------------------------------------------------------------


def test_a_gzip_that_inflates_beyond_measure_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "RATIO_FROM", 1 << 20)
    for byte, name in ((b"0", "x.jsonl.gz"), (b"\n", "x.jsonl.gz"), (b",", "x.csv.gz")):
        packed = gzip.compress(byte * (2 << 20), 9)
        *_, last = read_rows(io.BytesIO(packed), name)
        assert isinstance(last, StreamProblem) and f"{LARGEST_RATIO} times" in last.reason, last


@pytest.mark.slow
def test_rows_that_pack_well_are_read_to_their_end() -> None:
    rows = b"".join(orjson.dumps(event(event_id=f"e{n}")) + b"\n" for n in range(200_000))
    assert len(rows) > lines.RATIO_FROM
    assert (
        sum(not isinstance(row, StreamProblem) for row in read_rows(io.BytesIO(gzip.compress(rows, 1)), "x.jsonl.gz"))
        == 200_000
    )


@pytest.mark.parametrize(
    "inner", [b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"9" * 5_000, b"1e999"]
)
def test_an_uploaded_row_that_is_too_deep_or_no_number_costs_itself(inner: bytes) -> None:
    good = orjson.dumps(event())
    stream = io.BytesIO(good + b'\n{"user_id": "a", "event": "view", "timestamp": 1, "tags": ' + inner + b"}\n" + good)
    outcomes = list(read_rows(stream, "x.jsonl"))
    taken = [one for one in outcomes if not isinstance(one, Rejection | StreamProblem)]
    parsed = [parse_event(row.value, now=1.8e9, index=row.line) for row in taken]
    assert [row.line for row in taken if row.line != 2] == [1, 3]
    assert sum(not isinstance(one, Rejection) for one in parsed) == 2


def test_a_csv_field_and_a_quote_that_never_ends_are_bounded() -> None:
    header = b"user_id,event,timestamp,text\n"
    row = b"ann,view,1780000000,a phone\n"
    for bad in (
        b'ann,view,1780000000,"' + b"x" * 2_000_000 + b'"\n',
        b'ann,view,1780000000,"never\n',
        b"x," * 500_000 + b"\n",
    ):
        outcomes = list(read_rows(io.BytesIO(header + row + bad + row * 3), "x.csv"))
        assert sum(not isinstance(one, Rejection | StreamProblem) for one in outcomes) == 4
        assert any(isinstance(one, Rejection) and one.index == 3 for one in outcomes)


# Time -----------------------------------------------------------------------------------------------------------------

LONG = 10_000  # characters
ATOMS = [
    "1", "1-", "1/", "1,", "1.", "1:", "12:00 ", "2026-", "零", "三百", "第一", "十", "100元", "满100减", "最", "不",
    "的", "和与及", "手机", "a", "a.", "a-", "a@b.", "a@", "<a", "<a ", "<!--", "&", "&amp;", "&#", "'", '"', "(", "`",
    "#", "- ", "*", "…", " ", "\n", "\t", "１", "five ", "twenty-", "hundred and ", "no ", "up to ", "ignore ", "you ",
    "system ", "A", "http://", "[", "{", "<|", "+86", "%", "x",
]  # fmt: skip
# A pattern that is tried from every place on to the end takes this text 4 s and more; what is linear takes a tenth.
PATIENCE = 1.5
FUNCTIONS: dict[str, Callable[[str], object]] = {
    "clean": lambda text: clean_text(text, LONG),
    "match_key": match_key,
    "event": lambda text: parse_event(event(text=text, tags=[text], domain=text, event=text), now=1.8e9, index=0),
    "ad": lambda text: parse_ad(PHONE | {"description": text[:5000], "landing_url": "https://" + text[:1900]}, index=0),
    "law": lambda text: [check(text, "health", one) for one in ("CN", "EU", "US")],
    "channel": lambda text: editorial(text[:500], "feed"),
    "claims": lambda text: trace_claims(text, OURS),
    "claims-short": lambda text: trace_claims(text[:LONGEST_COPY], OURS),
    "facts": lambda text: trace_claims("5000 mAh", hostile(text)),
    "literal": lambda text: literal(text[:500], OURS, []),
    "quoted": lambda text: quoted(text, LONG),
    "prompt": lambda text: (facts_of(hostile(text), "zh"), constraint_of(hostile(text), "zh")),
    "form": lambda text: (tidy(text, OURS, "zh"), form_problems(text[:500], "zh"), form_problems(text[:500], "en")),
    "trimmed": lambda text: trimmed(text[:500], [(3, 5)], "en", room=200),
}


def hostile(text: str) -> Ad:
    """An ad whose every text is that one, as long as the field may be."""
    attributes: dict[str, str | float] = {f"k{n}": text[:500] for n in range(8)}
    return Ad("-", text[:200], "https://a.com", "zh", "ecommerce", description=text[:5000], attributes=attributes)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_text_takes_our_patterns_long(function: str) -> None:
    FUNCTIONS[function]("5 mAh 手机 一")
    for atom in ATOMS:
        text = (atom * LONG)[:LONG]
        started = time.process_time()
        FUNCTIONS[function](text)
        FUNCTIONS[function](text[:-1] + "\x01")
        assert time.process_time() - started < 2 * PATIENCE, repr(atom)


@pytest.mark.parametrize("atom", ["1-", "零", "5 ", "1,", "five ", "a", "手机", "2026-", "1/"])
def test_what_nobody_could_read_is_refused_and_proves_nothing(atom: str) -> None:
    """Before there was a limit the first of these ran out of the stack, and the second out of an integer's digits."""
    copy = (atom * LONG)[:400]
    assert unsupported(trace_claims(copy, OURS)) and literal(copy, OURS, [])
    claims = trace_claims("Charge it fast, at 67 W.", hostile((atom * LONG)[:LONG]))
    assert unsupported(claims)


def test_what_people_write_is_legible() -> None:
    for text in (
        "7×24 小时，周一至周五 9:00-12:00、14:00-18:00，电话 400-123-4567 转 12，2026-11-20 起",
        "Sizes 36, 37, 38, 39, 40, 41, 42, 43: from $29.90 to $59.90 until 30/11/2026",
        "手机" * 40,
        OURS.description,
    ):
        assert illegible(text) == [], text
    assert illegible(" and ".join(["5 m"] * (MOST_IN_COPY + 1))) and illegible("a word " * LONGEST_COPY)


# Ids ------------------------------------------------------------------------------------------------------------------

ODD = [
    "a", "a/b", "a/b/c", "/a", "a/", "...", "..a", "a..b/c", "a#b", "a？b", "a%2Fb", "a%3Fb", "a%00b", "a b",
    "a\\b", "-",
    "x/log",
    "meta", "rejected", "-/zh", "a/zh", "latest", "ad/a", "e/a", "f/a", "f/", "d/1", "id", "item", "t/victim/ads",
    "2026-11-26/a", "impression/a", "中文/名", "😀" * 100, "ａ", "A", "a\u0301", "á", "{}", "${jndi:x}", "' OR 1=1 --",
    "x" * 200, "<script>alert(1)</script>", "$(id)", "`id`", "con", "a:b", ":pk", "#sk", "*",
]  # fmt: skip
BAD = [
    "",
    " ",
    ".",
    "..",
    "a/..",
    "../../t/other/ads",
    "./a",
    "a\x00b",
    "a\nb",
    "a\r\nX: 1",
    "a\u200bb",
    "a\u202eb",
    "\ud800",
    "x" * 201,
    "\x1b[0m",
]
ids = st.text(st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from("//..#-"), min_size=1, max_size=200)


class Recorder:
    """A table that only notes the keys it is asked for."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def get(self, pk: str, sk: str, **_: Any) -> None:
        self.keys.append((pk, sk))

    def get_many(self, keys: Any, **_: Any) -> dict[Key, Any]:
        self.keys += list(keys)
        return {}


def keys_of(tenant: str, one: str) -> Iterator[Key]:
    """Every row whose key is made of an id that a caller chooses, by the stores' own code."""
    table: Any = Recorder()
    catalogue, copies = Catalogue(table), Copies(table)
    catalogue.get_ad(tenant, one)
    catalogue.known_items(tenant, [one])
    copies.bank_read(tenant, one, [ANYONE], "zh")
    yield from table.keys
    yield spend.Spend(table)._key(tenant, one, 1.79e9)
    yield frequency._key(tenant, "0" * 24, one)


@settings(deadline=None)
@given(st.lists(ids | st.sampled_from(ODD), min_size=2, max_size=4, unique=True))
def test_two_ids_never_share_a_row_nor_leave_their_tenant(some: list[str]) -> None:
    held: dict[Key, tuple[str, str]] = {}
    for tenant in ("acme", "acme-2"):
        for one in some:
            for key in set(keys_of(tenant, one)):
                assert held.setdefault(key, (tenant, one)) == (tenant, one), key
                assert key[0].startswith(f"t/{tenant}/"), key
                assert len(key[0].encode()) <= 2048 and len(key[1].encode()) <= 1024  # what DynamoDB takes


def through_the_gateway(front: Any, method: str, before: str, one: str, behind: str = "") -> dict[str, Any]:
    """The answer to a request whose path holds an id, as an HTTP API hands it on: the path decoded, and cut at the
    first question mark that it then has."""
    sent = f"{before}{quote(one, safe='')}{behind}"
    path = unquote(sent).partition("?")[0]
    http = {"method": method, "path": path, "sourceIp": "1.1.1.1"}
    event_of_api = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": {"http": http, "stage": "$default"},
    }
    answer = front.lambda_handler(event_of_api, None)
    body: dict[str, Any] = json.loads(answer["body"])
    return body | {"status": answer["statusCode"]}


@pytest.mark.slow
def test_odd_ids_are_different_people_and_ads_all_the_way(built: System) -> None:
    rows = [event(user_id=odd, event_id=odd, item_id=odd) for odd in ODD]
    assert post(profile.app, "/v1/events", {"events": rows}).json()["accepted"] == len(ODD)
    ads = [PHONE | {"ad_id": odd, "title": f"phone {place}"} for place, odd in enumerate(ODD)]
    assert all(one["accepted"] for one in post(classify.app, "/v1/ads", {"ads": ads}, "PUT").json()["ads"])
    assert len({built.stores.people.uid("demo", odd) for odd in ODD}) == len(ODD)
    for place, odd in enumerate(ODD):
        shown = through_the_gateway(profile, "GET", "/v1/users/", odd, "/profile")
        assert (shown["status"], shown.get("user_id"), shown.get("events")) == (200, odd, 1), odd
        kept = through_the_gateway(classify, "GET", "/v1/ads/", odd)
        assert (kept.get("ad_id"), kept.get("title")) == (odd, f"phone {place}")


def test_no_person_and_no_ad_has_an_id_that_a_path_would_cut_short(built: System) -> None:
    rows = [event(user_id=one, event_id="e") for one in ("ann", "ann?2")]
    report = post(profile.app, "/v1/events", {"events": rows}).json()
    assert report["accepted"] == 1 and "question mark" in report["rejected"][0]["reason"]
    assert through_the_gateway(profile, "GET", "/v1/users/", "ann?2", "")["status"] != 200
    link = {"link": [{"id": "ann?2"}]}
    for path, body in (("/v1/users/ann/identities", link), ("/v1/users/ann%3F2/identities", {"link": []})):
        assert post(profile.app, path, body, "PUT").status_code == 422
    assert post(recommend.app, "/v1/recommendations", {"user_id": "ann?2"}).status_code == 422
    item = post(profile.app, "/v1/events", {"events": [event(item_id="https://a.com/?p=1", event_id="?")]}).json()
    assert item["accepted"] == 1  # things may be named by addresses
    ads = post(classify.app, "/v1/ads", {"ads": [PHONE | {"ad_id": "phone?2"}, PHONE]}, "PUT").json()["ads"]
    assert ads[0]["rejected"]["field"] == "ad_id" and "question mark" in ads[0]["rejected"]["reason"]
    assert ads[1]["accepted"]


def test_ids_that_nobody_can_see_or_type_are_refused_everywhere(built: System) -> None:
    for bad in BAD:
        rows = [
            event(user_id=bad),
            event(item_id=bad or " \x00"),
            event(event_id=bad or " \x00"),
            event(platform=bad or "\x00"),
        ]
        report = post(profile.app, "/v1/events", {"events": rows}).json()
        fields = {one["field"] for one in report["rejected"]}
        assert "user_id" in fields, bad
        wanted = {"user_id": bad, "n": 1}
        assert post(recommend.app, "/v1/recommendations", wanted).status_code == 422, bad
        assert post(profile.app, "/v1/users/ann/identities", {"link": [{"id": bad}]}, "PUT").status_code == 422, bad
        ad = post(classify.app, "/v1/ads", {"ads": [PHONE | {"ad_id": bad}]}, "PUT").json()["ads"][0]
        assert ad["rejected"]["field"] == "ad_id", bad


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a%2Fb", " ", "x" * 65, "a\x00", "中/文", "latest/../x", "ａ/"])
def test_names_of_heads_adapters_segments_and_jobs_are_of_our_own_making(built: System, name: str) -> None:
    for body in ({"texts": ["x"], "head": name},):
        assert post(classify.app, "/v1/classify", body).status_code in (404, 422), name
    assert post(classify.app, f"/v1/heads/{quote(name, safe='')}", b"", "GET").status_code in (
        200 if not name.strip() else 404,
        404,
        422,
    )
    assert post(generate.app, f"/v1/copy/{quote(name or 'x', safe='')}", b"", "GET").status_code in (404, 422), name
    for field in ("segment", "adapter", "channel"):
        answer = post(generate.app, "/v1/copy", {"ad": {"title": "A phone"}, field: name})
        assert answer.status_code == 422, (field, name)
    said = {"decision_id": name, "ad_id": name, "type": "click", "timestamp": AT}
    answer = post(recommend.app, "/v1/feedback", {"feedback": [said]})
    assert answer.status_code == 422 or answer.json()["results"][0]["result"] == "refused", name


def test_a_line_of_the_log_stays_one_line(built: System, caplog: pytest.LogCaptureFixture) -> None:
    key = 'events/x.jsonl\n{"level":"ERROR","message":"forged"}\r\n\u2028'
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": quote(key), "eTag": "e"}}}
    answer = profile.lambda_handler({"Records": [record]}, None)["uploads"][0]
    assert "upload to" in answer["error"]["detail"]
    (said,) = caplog.records
    line = logger.handlers[0].format(said)
    assert "\n" not in line and "\r" not in line
    assert json.loads(line)["message"] == "upload refused"
