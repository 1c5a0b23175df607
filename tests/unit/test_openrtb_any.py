"""Any request at all: an answer that others can read, never a fault of ours, and no bid against the request's word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from functions.recommend import handler
from infra.bids import BidResponse
from shared.openrtb.bidding import Pace
from shared.wiring import System
from tests.fakes import models
from tests.fakes.models import TOPICS
from tests.unit.test_openrtb import PICTURE, publish
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow

# By ad: language, advertiser, price, deals, whether it has a picture, and its category in both taxonomies.
SHELF: dict[str, tuple[str, str, float, set[str], bool, dict[int, set[str]]]] = {
    "phone": ("en", "phones.example", 4.5, {"open"}, False, {1: {"IAB19"}, 8: {"1094", "1097"}}),
    "wine": ("en", "wine.example", 3.1, {"open", "D-1"}, True, {1: {"IAB8", "IAB8-18"}, 8: {"1002", "1007"}}),
    "watch": ("zh", "cars.ford.example", 2.0, {"D-1", "D-2"}, False, {}),
}
CATEGORIES = {"phone": "adproduct:1097", "course": "adproduct:1007", "watch": "adproduct:1494"}


@pytest.fixture
def client(built: System, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(models, "TOPICS", TOPICS | CATEGORIES)
    monkeypatch.setattr(handler, "_pace", Pace())
    publish(
        built,
        ad("phone", "phone", bid_cpm=4.5, landing_url="https://www.phones.example/"),
        ad("wine", "course", bid_cpm=3.1, image_url=PICTURE, landing_url="https://wine.example/")
        | {"targeting": {"deals": ["D-1", "open"]}},
        ad("watch", "watch", bid_cpm=2.0, landing_url="https://cars.ford.example/", title="watch 手表 一块")
        | {"language": "zh", "targeting": {"deals": ["D-1", "D-2"]}},
    )
    return TestClient(handler.app, raise_server_exceptions=False)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70) | st.sampled_from([10**400, -(10**400)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["", "1", "USD", "\ud800", "a\ud800", "${AUCTION_PRICE}", "x" * 5000, "IAB8", "zh"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def mostly(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def pick(number: int) -> st.SearchStrategy[Any]:
        return anything if number == 0 else one

    return st.integers(0, 9).flatmap(pick)


def maybe(_most: int = 4, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these fields, one in ten of which holds anything at all."""
    mixed = {name: mostly(one) for name, one in fields.items()}
    chosen = st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=_most)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: mixed[name] for name in names}))


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), max_size=3)


flag = st.sampled_from([0, 1])
money = st.sampled_from([0, 0.03, 2.0, 2.0000001, 3.1, 3.10000001, 4.5, 5, 1e300, -1])
currency = st.sampled_from(["USD", "usd", "EUR"])
domains = some("ford.example", "FORD.example", "www.wine.example", "phones.example", "example", "rd.example")
side = st.sampled_from([1, 49, 50, 90, 250, 300, 728])
size = maybe(w=side, h=side, wratio=flag, hratio=flag)
banner = maybe(format=st.lists(size, max_size=3), w=side, h=side, btype=some(1, 2, 3, 4), battr=some(12, 13))
asset = maybe(
    id=st.integers(0, 4),
    required=flag,
    title=maybe(len=st.sampled_from([3, 20, 90])),
    img=maybe(type=st.sampled_from([1, 3])),
    data=maybe(type=st.sampled_from([1, 2, 3, 12, 500]), len=st.sampled_from([3, 20, 140])),
    video=maybe(mimes=some("video/mp4")),
)
asked = maybe(
    ver=st.sampled_from(["1.0", "1.1", "1.2", "9"]),
    assets=st.lists(asset, max_size=4),
    eventtrackers=st.lists(maybe(event=flag, methods=some(1, 2)), max_size=2),
)
native = maybe(request=asked.map(json.dumps) | asked.map(lambda one: json.dumps({"native": one})), battr=some(12))
deal = maybe(
    id=st.sampled_from(["D-1", "D-2", "D-3", "open"]),
    bidfloor=money,
    bidfloorcur=currency,
    at=st.sampled_from([1, 2, 3]),
    wseat=some("adtailor", "other"),
    wadomain=domains,
)
imp = maybe(
    3,
    banner=banner,
    native=native,
    video=maybe(mimes=some("video/mp4")),
    bidfloor=money,
    bidfloorcur=currency,
    secure=flag,
    exp=st.sampled_from([0, 60, 10**6]),
    qty=maybe(multiplier=st.sampled_from([1, 0.5, 14])),
    pmp=maybe(private_auction=flag, deals=st.lists(deal, max_size=3)),
    tagid=st.text(max_size=5),
)
requests = maybe(
    bcat=some("IAB8", "IAB8-18", "IAB19", "1002", "1097", "52"),
    acat=some("IAB8", "IAB19", "1007"),
    cattax=st.sampled_from([1, 2, 7, 8]),
    badv=domains,
    wlang=some("en", "zh", "fr"),
    wlangb=some("en-GB", "zh-Hant", "zh-Hans", "fr"),
    cur=some("USD", "EUR"),
    wseat=some("adtailor", "other"),
    bseat=some("other"),
    test=flag,
    at=flag,
    tmax=st.sampled_from([0, 1, 60_000]),
    site=maybe(domain=st.text(max_size=5), content=maybe(language=st.sampled_from(["en", "zh"]), cat=some("IAB7"))),
    regs=maybe(coppa=flag, gdpr=flag, gpp=st.text(max_size=12), gpp_sid=some(2, 7, 8), us_privacy=st.text(max_size=4)),
    user=maybe(
        id=st.text(max_size=5), data=st.lists(maybe(ext=maybe(segtax=st.just(8)), segment=anything), max_size=2)
    ),
    device=maybe(lmt=flag, language=st.sampled_from(["en", "zh"]), geo=anything),
)
PLAIN = {"banner": {"w": 300, "h": 250}}
whole_requests = st.builds(
    lambda fields, imps: fields | {"id": "r", "imp": [PLAIN | one | {"id": str(n)} for n, one in enumerate(imps)]},
    requests,
    st.lists(imp, min_size=1, max_size=3),
)


def listed(holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else [value]


def texts(holder: Any, name: str) -> list[str]:
    found = [one for one in listed(holder, name) if isinstance(one, str) and "\ud800" not in one]
    return [one.strip() for one in found if one.strip()]


def inner(holder: Any, name: str) -> dict[str, Any]:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def check(bid: dict[str, Any], body: dict[str, Any]) -> None:
    """Holds a bid against the request, by rules written anew from the specification."""
    language, advertiser, price, deals, pictured, categories = SHELF[bid["adid"]]
    (slot,) = [one for one in body["imp"] if one["id"] == bid["impid"]]
    taxonomy: int = body["cattax"] if body.get("cattax") in (1, 2, 7, 8) else 1
    blocked, allowed = set(texts(body, "bcat")), set(texts(body, "acat"))
    if blocked or allowed:
        own = categories[taxonomy]  # a KeyError where it cannot be said
        assert not own & blocked and (not allowed or own & allowed)
    for domain in texts(body, "badv"):
        own_domain = domain.lower().removeprefix("www.").rstrip(".")
        assert "." not in own_domain or not f".{advertiser}".endswith(f".{own_domain}")
    for spoken in (texts(body, "wlang"), texts(body, "wlangb")):
        assert not spoken or any(tag.startswith(language) and "Hant" not in tag for tag in spoken)
    assert not (named := texts(body, "cur")) or "USD" in [one.upper() for one in named]
    assert not (seats := texts(body, "wseat")) or "adtailor" in seats
    pmp = inner(slot, "pmp")
    if (deal_id := bid.get("dealid")) is None:
        assert pmp.get("private_auction") in (None, 0, "", "0") and "open" in deals
        terms = slot
    else:
        terms = next(one for one in pmp["deals"] if isinstance(one, dict) and one.get("id") == deal_id)
        assert deal_id in deals and deal_id != "open"
        assert not (seats := texts(terms, "wseat")) or "adtailor" in seats
        if partners := [one.lower().removeprefix("www.") for one in texts(terms, "wadomain")]:
            assert any(advertiser == one or advertiser.endswith(f".{one}") for one in partners)
    floor = 1 if terms.get("bidfloor") == "1" else terms.get("bidfloor")
    if isinstance(floor, bool) or not isinstance(floor, int | float):
        terms, floor = slot, 1 if slot.get("bidfloor") == "1" else slot.get("bidfloor")
    if isinstance(floor, int | float) and not isinstance(floor, bool) and floor > 0:
        assert price >= floor and bid["price"] >= floor
        said = terms.get("bidfloorcur")
        assert not isinstance(said, str) or not said.strip() or said.strip().upper() == "USD"
    assert 0 < bid["price"] <= price
    markup(bid, slot, pictured)


def markup(bid: dict[str, Any], slot: dict[str, Any], pictured: bool) -> None:
    if bid["mtype"] == 1:
        wanted = inner(slot, "banner")
        assert any(
            isinstance(one, dict) and (one.get("w"), one.get("h")) == (bid["w"], bid["h"])
            for one in [*listed(wanted, "format"), wanted]
        )
        text_only = 12 in bid["attr"]
        assert (1 if text_only else 2) not in listed(wanted, "btype")
    else:
        wanted = inner(slot, "native")
        sent = json.loads(wanted["request"])
        document = json.loads(bid["adm"])
        sent, document = inner(sent, "native") or sent, document.get("native", document)
        answered = {one["id"]: one for one in document["assets"]}
        for one in sent["assets"]:
            if isinstance(one, dict) and one.get("required") not in (None, 0, "", "0"):
                assert one["id"] in answered and int(one["id"]) == one["id"]
            title = inner(one, "title")
            if isinstance(title.get("len"), int) and not isinstance(title["len"], bool) and title["len"] > 0:
                answer = answered.get(one.get("id"), {}).get("title", {}).get("text", "")
                same = [
                    other for other in sent["assets"] if isinstance(other, dict) and other.get("id") == one.get("id")
                ]
                assert len(same) > 1 or len(answer) <= title["len"]
        text_only = not any("img" in one for one in document["assets"])
    assert (bid.get("attr") == [12]) is text_only
    assert not any(one in listed(wanted, "battr") for one in bid["attr"])
    assert text_only or pictured


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=whole_requests)
def test_no_bid_is_against_the_requests_word(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/openrtb2/auction", content=json.dumps(body), headers={"content-type": "application/json"})
    event(f"{answer.status_code} {bool(answer.content) and bool(answer.json().get('seatbid'))}")
    if answer.status_code == 204:
        assert answer.content == b""
        return
    assert answer.status_code == 200, answer.text
    document = answer.json()
    TypeAdapter(BidResponse).validate_python(document, strict=True)
    assert document["id"] == "r"
    for seat in document["seatbid"]:
        for bid in seat["bid"]:
            check(bid, body)


BIG, HALF = "1" + "0" * 400, r"a\ud800"
HOSTILE = [
    *(
        f'{{"id": "r", "tmax": {big}, "imp": [{{"id": "1", "banner": {{"w": 300, "h": 250}}}}]}}'
        for big in (BIG, "1e999")
    ),
    f'{{"id": "r", "imp": [{{"id": "1", "bidfloor": {BIG}, "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "r", "imp": [{{"id": "1", "tagid": {BIG}, "banner": {{"w": {BIG}, "h": 250}}}}]}}',
    f'{{"id": "r", "imp": [{{"id": "1", "qty": {{"multiplier": {BIG}}}, "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "r", "user": {{"data": [{{"ext": {{"segtax": {BIG}}}}}]}}, "imp": [{{"id": "1", "secure": {BIG}}}]}}',
    f'{{"id": "r", "regs": {{"gpp_sid": [{BIG}], "gpp": "{HALF}"}}, "imp": [{{"id": "1"}}]}}',
    f'{{"id": "r", "imp": [{{"id": "1", "tagid": "{HALF}", "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "r", "imp": [{{"id": "{HALF}", "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "{HALF}", "imp": [{{"id": "1", "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "r", "site": {{"domain": "{HALF}"}}, "imp": [{{"id": "1", "banner": {{"w": 300, "h": 250}}}}]}}',
    f'{{"id": "r", "user": {{"id": "{HALF}"}}, "badv": ["{HALF}"], "bcat": "{HALF}", "imp": [{{"id": "1"}}]}}',
    json.dumps(
        {
            "id": "r",
            "imp": [{"id": "1", "native": {"request": f'{{"assets": [{{"id": 1, "title": {{"len": {BIG}}}}}]}}'}}],
        }
    ),
]


def test_numbers_without_end_and_halves_of_letters_are_no_fault_of_ours(client: TestClient) -> None:
    for text in HOSTILE:
        for kind in ("application/json", "text/plain"):
            answer = client.post("/openrtb2/auction", content=text, headers={"content-type": kind})
            assert answer.status_code in (200, 204, 400), (text[:200], answer.text)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=anything
    | st.fixed_dictionaries(
        {}, optional={"id": anything, "imp": anything | st.lists(imp, max_size=2), "tmax": anything}
    )
)
def test_nothing_that_is_sent_is_a_fault_of_ours(client: TestClient, body: Any) -> None:
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    answer = client.post("/openrtb2/auction", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 204) or 400 <= answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert (
            answer.headers["content-type"] == "application/problem+json"
            and answer.json()["status"] == answer.status_code
        )
