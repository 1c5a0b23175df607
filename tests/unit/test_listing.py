"""The catalogue and its campaigns by pages, and an ad's variants, as the API answers them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from functions.classify import handler as classify
from functions.recommend import handler as recommend
from infra.answers import ANSWERS
from shared.domain import Ad, CatalogueAd, Classification, Copy, Decision, RankedAd
from shared.stores.catalogue import Catalogue, Stamp
from shared.stores.copies import ANYONE
from shared.stores.delivery import Terms, new_decision_id
from shared.wiring import System
from tests.conftest import TENANT, Aws, stores_on
from tests.fakes.two_tenants import Answer, ad, call, jwt

pytestmark = pytest.mark.slow


def get(front: Any, path: str, tenant: str = TENANT, **query: Any) -> Answer:
    return call(front, "GET", path, query=urlencode(query), authorizer=jwt(tenant))


def put(*ads: dict[str, Any], tenant: str = TENANT) -> None:
    answer = call(classify, "PUT", "/v1/ads", {"ads": list(ads)}, authorizer=jwt(tenant))
    assert answer.status == 200 and all(one["accepted"] for one in answer.body["ads"]), answer.body


def paged(front: Any, path: str, key: str = "ads", **query: Any) -> list[list[dict[str, Any]]]:
    """All pages, each as its contract has it."""
    contract = TypeAdapter(ANSWERS[f"GET {path}"][200])
    pages: list[list[dict[str, Any]]] = []
    after: dict[str, Any] = {}
    while True:
        answer = get(front, path, **query, **after)
        assert answer.status == 200, answer.body
        contract.validate_python(answer.body)
        pages.append(answer.body[key])
        if answer.body["next"] is None:
            return pages
        after = {"after": answer.body["next"]}


LISTS = [(classify, "/v1/ads"), (recommend, "/v1/campaigns")]


@pytest.mark.parametrize(("front", "path"), LISTS, ids=["ads", "campaigns"])
def test_pages_hold_every_ad_once_in_the_order_of_ids(built: System, front: Any, path: str) -> None:
    ids = ["a", "a b", "a/b", "a/b/variants", "Z", "z!1", "手表", "x" * 200, "-", "a\u00a0c"]
    put(*(ad(one, "A phone", campaign_id="c") for one in ids))
    for limit in (1, 3, len(ids), len(ids) + 1, 500):
        pages = paged(front, path, limit=limit)
        assert [one["ad_id"] for page in pages for one in page] == sorted(ids)
        assert all(len(page) <= limit for page in pages) and pages[-1]  # no page more, to find that there is none


@pytest.mark.parametrize(("front", "path"), LISTS, ids=["ads", "campaigns"])
def test_an_empty_catalogue_is_an_empty_page_and_another_s_ads_are_in_none(
    built: System, front: Any, path: str
) -> None:
    assert paged(front, path) == [[]]
    put(ad("theirs", "A phone", campaign_id="c"), tenant="other")
    assert paged(front, path) == [[]]
    assert get(front, path, after="a").body["ads"] == []
    assert [one["ad_id"] for one in get(front, path, "other").body["ads"]] == ["theirs"]


@pytest.mark.parametrize(("front", "path"), LISTS, ids=["ads", "campaigns"])
@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 501}, {"limit": "many"}, {"after": "x" * 201}], ids=lambda one: str(one)[:20]
)
def test_what_no_page_can_be_is_refused_by_name(built: System, front: Any, path: str, query: dict[str, Any]) -> None:
    answer = get(front, path, **query)
    assert (answer.status, answer.body["field"]) == (422, next(iter(query)))


@pytest.mark.parametrize(("front", "path"), LISTS, ids=["ads", "campaigns"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=%ff", "after"),
        ("after=%ED%A0%80", "after"),  # half of a surrogate pair
        ("after=a&after=b", "after"),
        ("limit=1&limit=1", "limit"),
        ("limit=1&aft%65r=a&after=", "after"),
    ],
)
def test_a_parameter_that_could_be_read_two_ways_is_refused(
    built: System, front: Any, path: str, query: str, field: str
) -> None:
    put(ad("a", "A phone"))
    answer = call(front, "GET", path, query=query, authorizer=jwt(TENANT))
    assert (answer.status, answer.body["field"]) == (422, field)
    assert call(front, "GET", path, query="after=%EF%BF%BD&other", authorizer=jwt(TENANT)).status == 200


def test_an_ad_in_short(built: System) -> None:
    put(ad("p1", "A phone", campaign_id="c"), ad("p2", "A watch", domain="social"))
    [one, two] = get(classify, "/v1/ads").body["ads"]
    assert (one["title"], one["campaign_id"], one["active"], one["findings"]) == ("A phone", "c", True, 0)
    assert two["campaign_id"] is None and two["domain"] == "social"
    assert one["category"]["name"]["en"] and one["category"]["id"].startswith("adproduct:")
    assert not {"vector", "vec", "landing_url"} & one.keys()


def test_filters_leave_out_and_never_end_early(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.classifying.MAX_LOOKED_THROUGH", 10)
    put(*(ad(f"a{n:02}", "A phone", campaign_id="rare" if n in (1, 38, 39) else "usual") for n in range(40)))
    pages = paged(classify, "/v1/ads", campaign_id="rare", limit=2)
    assert [one["ad_id"] for page in pages for one in page] == ["a01", "a38", "a39"]
    assert len(pages) >= 4  # pages without any come between
    assert paged(classify, "/v1/ads", domain="health") == [[], [], [], [], []]
    assert sum(map(len, paged(classify, "/v1/ads", domain="ecommerce", limit=7))) == 40
    assert get(classify, "/v1/ads", domain="weather").status == 422


EXAMPLES = count()
IDS = st.sets(st.text("ab/é手", min_size=1, max_size=3), max_size=8)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=IDS,
    writes=st.lists(IDS, max_size=4),  # between two pages: of ads that are there, and of new ones
    limit=st.integers(1, 5),
)
def test_no_ad_is_missed_or_doubled_while_ads_are_written(
    aws: Aws, before: set[str], writes: list[set[str]], limit: int
) -> None:
    catalogue = Catalogue(stores_on(aws).table)
    tenant = f"t{next(EXAMPLES)}"

    def write(ids: Iterable[str], title: str) -> None:
        ads = [Ad(ad_id, title, "https://e.com", "en", "social") for ad_id in ids]
        kept = [CatalogueAd(one, Classification((), True), True, None) for one in ads]
        catalogue.put_ads(tenant, kept, {one.ad_id: Stamp.of_request(1.0) for one in ads})

    write(before, "first")
    seen: list[str] = []
    after, turn = "", 0
    while page := catalogue.page(tenant, after, limit):
        seen += [one.ad.ad_id for one in page]
        after = seen[-1]
        write(writes[turn] if turn < len(writes) else [], f"later {turn}")
        turn += 1
    assert seen == sorted(set(seen)) and before <= set(seen)


# Campaigns and variants -----------------------------------------------------------------------------------------------


def test_a_campaign_s_figures_are_the_stores(built: System) -> None:
    stores = built.stores
    put(ad("kettle/1", "A quiet kettle", campaign_id="kitchen", bid_cpm=10.0, daily_budget=24.0), ad("p", "A phone"))
    [before, other] = get(recommend, "/v1/campaigns").body["ads"]
    assert (before["spent"], before["impressions"], before["daily_budget"]) == (0.0, 0, 24.0)
    assert 0 < before["allowed"] <= 24.0
    assert (other["spent"], other["allowed"], other["daily_budget"], other["cap"]) == (None, None, None, None)
    now = built.clock()
    shown = RankedAd("kettle/1", "A quiet kettle", 0.1, (), copy_served_by="advertiser", variant="v", propensity=1.0)
    decision = Decision(new_decision_id(now), None, now, (shown,), False, {})
    terms = {"kettle/1": Terms(cost=0.01, daily_limit=24.0)}
    assert not stores.delivery.put_decision(TENANT, decision, terms, (), now)
    stores.delivery.record(TENANT, decision, "kettle/1", "click", now)
    [after, _] = get(recommend, "/v1/campaigns").body["ads"]
    assert (after["impressions"], after["clicks"], after["conversions"]) == (1, 1, 0)
    assert after["campaign_id"] == "kitchen"


def variants(ad_id: str, tenant: str = TENANT) -> Answer:
    return get(recommend, f"/v1/ads/{ad_id}/variants", tenant)


def test_variants_have_chances_and_what_was_approved_competes_alone(built: System) -> None:
    put(ad("kettle/1", "A quiet kettle"))
    texts = ("Quiet at 52 dB", "A kettle for mornings", "Boils in silence")
    copies = [Copy(text, "en", "llm", provenance={"generator": "llm"}) for text in texts]
    built.stores.copies.bank_put(TENANT, "kettle/1", ANYONE, "en", copies)
    answer = variants("kettle/1")
    TypeAdapter(ANSWERS["GET /v1/ads/{ad_id}/variants"][200]).validate_python(answer.body)
    [rung] = answer.body["rungs"]
    assert (rung["segment"], [one["text"] for one in rung["copies"]]) == (ANYONE, list(texts))
    assert sum(one["chance"] for one in rung["copies"]) == pytest.approx(1, abs=1e-3)
    copies[1] = Copy(texts[1], "en", "llm", provenance={"generator": "llm", "human_review": "approved"})
    built.stores.copies.bank_put(TENANT, "kettle/1", ANYONE, "en", copies)
    [rung] = variants("kettle/1").body["rungs"]
    assert [one["chance"] for one in rung["copies"]] == [0, 1, 0]
    assert [one["review"] for one in rung["copies"]] == [None, "approved", None]
    assert variants("kettle/1", "other").body == variants("nothing", "other").body | {
        "detail": "no ad 'kettle/1'"
    }  # as of an ad that nobody has
    assert variants("nothing").status == 404


def test_nothing_of_a_person_is_among_variants(built: System) -> None:
    """The bank is asked for segments; a row that is none, as that of refused texts, is no rung."""
    put(ad("p", "A phone"))
    built.stores.copies.reject(TENANT, "p", "0" * 16)
    assert variants("p").body["rungs"] == []


@pytest.mark.parametrize("ad_id", ["a/b", "a b", "手表", "x/variants"])
def test_ids_may_hold_anything_that_a_path_carries(built: System, ad_id: str) -> None:
    put(ad(ad_id, "A phone"))
    assert variants(ad_id).body["ad_id"] == ad_id
    assert get(classify, f"/v1/ads/{ad_id}").body["ad_id"] == ad_id
