"""Fields of bid requests, each as the specification says it counts: over the real API."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.recommend import handler
from shared.domain import Ad
from shared.openrtb.bidding import Pace
from shared.openrtb.bids import EXPIRES
from shared.openrtb.native import DATA_TYPES, MOST_ASSETS, assets_of, slot_of
from shared.openrtb.requests import parse
from shared.openrtb.shelf import Shelf
from shared.snapshot import Snapshot
from shared.wiring import System
from tests.conftest import TENANT
from tests.fakes import models
from tests.fakes.models import TOPICS
from tests.unit.test_openrtb import PICTURE, bids, native, offered, publish, request, shown
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """A phone without a budget, a wine with a picture and a budget, a watch in Chinese."""
    real = {"phone": "adproduct:1097", "course": "adproduct:1007", "watch": "adproduct:1494"}
    monkeypatch.setattr(models, "TOPICS", TOPICS | real)
    monkeypatch.setattr(handler, "_pace", Pace())
    publish(
        built,
        ad("phone", "phone", bid_cpm=4.0, landing_url="https://phones.example/"),
        ad("wine", "course", bid_cpm=3.0, image_url=PICTURE, daily_budget=100.0),
        ad(
            "watch",
            "watch",
            title="watch 手表 一块",
            language="zh",
            bid_cpm=2.0,
            landing_url="https://www.dotted.example./",
        ),
    )
    return built


ALL = {"phone", "wine", "watch"}

# What may be bid with on the request --------------------------------------------------------------------------------

REQUESTS: list[tuple[dict[str, Any], set[str]]] = [
    # Categories. Without `cattax` they are of Content Taxonomy 1.0; whose ads cannot be said in a taxonomy are not bid.
    ({"bcat": ["IAB8"]}, {"phone", "watch"}),
    ({"bcat": ["IAB8"], "cattax": 1}, {"phone", "watch"}),
    ({"bcat": ["1002"], "cattax": 8}, {"phone", "watch"}),
    ({"bcat": ["1002"]}, ALL),  # no id of the default taxonomy
    *(({"bcat": ["52"], "cattax": taxonomy}, set()) for taxonomy in (2, 3, 5, 6, 7, 9, 500)),
    *(({"bcat": [], "cattax": taxonomy}, ALL) for taxonomy in (2, 7)),
    ({"bcat": ["IAB8"], "cattax": "8"}, {"phone", "watch"}),  # no number: absent
    ({"bcat": "IAB8"}, {"phone", "watch"}),  # a list's only entry
    ({"wlang": "en", "wlangb": ["en-GB", "zh"]}, {"phone", "wine"}),
    ({"wlang": ["fr"], "wlangb": ["en"]}, set()),
    *(
        ({"badv": domain}, {"wine", "watch"})
        for domain in (["phones.example."], "phones.example", ["https://phones.example/a"])
    ),
    ({"badv": ["dotted.example"]}, {"phone", "wine"}),
    # Languages: of two lists, both.
    ({"wlang": ["en"]}, {"phone", "wine"}),
    ({"wlangb": ["zh-Hans-CN"]}, {"watch"}),
    ({"wlangb": ["zh-Hant"]}, set()),
    ({"wlangb": ["zh-TW", "en"]}, {"phone", "wine"}),
    ({"wlangb": ["zh-HK", "zh"]}, {"watch"}),
    ({"wlang": []}, ALL),
    # What narrows nothing.
    ({"device": {"geo": {"country": "DEU", "lat": 52.5, "lon": 13.4, "type": 1}, "ip": "192.0.2.1"}}, ALL),
    ({"device": {"sua": {"browsers": [{"brand": "x", "version": ["1"]}]}, "devicetype": 8}}, ALL),
    ({"bapp": ["com.example.app"], "allimps": 1, "source": {"fd": 1, "schain": {"nodes": []}}}, ALL),
    ({"site": None, "app": {"bundle": "com.example.app", "domain": "app.example"}}, ALL),
    ({"site": None, "dooh": {"id": "15790", "venuetypeid": 30101, "domain": "global.example"}}, ALL),
    ({"user": {"data": [{"segment": [{"id": "1002"}]}], "geo": {"type": 3}, "yob": 1990}}, ALL),
]


def test_fields_of_the_request(shop: System, subtests: pytest.Subtests) -> None:
    for fields, left in REQUESTS:
        with subtests.test(json.dumps(fields)):
            assert offered(**fields) == left


# What may be bid with on the impression ------------------------------------------------------------------------------

IMPRESSIONS: list[tuple[dict[str, Any], set[str]]] = [
    ({"banner": {"format": [{"w": 320, "h": 50}, {"w": 300, "h": 250}]}}, ALL),
    ({"banner": {"format": [{"wratio": 16, "hratio": 9, "wmin": 300}]}}, set()),  # a ratio is no size
    ({"banner": {"format": [{"wratio": 16, "hratio": 9, "wmin": 300}], "w": 300, "h": 250}}, ALL),
    ({"banner": {"format": [{"w": 300.0, "h": 250.0}]}}, ALL),
    ({"banner": {"w": "300", "h": 250}}, set()),
    ({"banner": {"w": 300, "h": 250, "pos": 1, "topframe": 1, "expdir": [1], "api": [3, 5]}, "instl": 1}, ALL),
    ({"banner": {"w": 300, "h": 250, "battr": [12, 13]}}, {"wine"}),
    ({"banner": {"w": 300, "h": 250, "btype": [2]}}, ALL),  # as a text then
    ({"banner": {"w": 300, "h": 250, "btype": [2], "battr": [12]}}, set()),
    ({"banner": {"w": 1e300, "h": 250}}, set()),
    ({"bidfloor": "3.5"}, {"phone"}),
    ({"bidfloor": "3,5"}, ALL),  # no number: absent
    *(({"pmp": {"private_auction": said, "deals": []}}, set()) for said in (1, True, "1", 1.0, "yes")),
    *(({"pmp": {"private_auction": said, "deals": []}}, ALL) for said in (0, False, "0", None)),
    (native({"title": {"len": 90}}, {"img": {}}), {"wine"}),
    (native({"title": {"len": 90}}, {"img": {"mimes": ["image/png"]}}), {"wine"}),
    (native({"title": {"len": 90}}, {"img": {"mimes": ["image/jpeg"]}}), set()),
    (native({"title": {"len": 90}}, {"video": {}, "id": "2"}), set()),  # required, and cannot be named
    (native({"title": {"len": 90}}, {"video": {}, "required": True}), set()),
    (native({"title": {"len": 90}}, {"video": {}, "id": "2", "required": 0}), ALL),
    (native(*[{"title": {"len": 90}}] * MOST_ASSETS), ALL),
    (native(*[{"title": {"len": 90}}] * (MOST_ASSETS + 1)), set()),
    (native({"title": {"len": 90}}, *[{"data": {"type": 2}, "required": 0}] * 2000), ALL),
    ({"exp": 60}, ALL),
    ({"exp": EXPIRES}, ALL),
    ({"exp": EXPIRES + 1}, {"phone", "watch"}),  # a budget's reservation might be gone by then
    ({"qty": {"multiplier": 1.0, "sourcetype": 1}}, ALL),
    ({"qty": {"multiplier": 14.2, "sourcetype": 1}}, set()),  # seen by more than one budget's cost pays for
    ({"secure": 0, "rwdd": 1, "ssai": 0, "clickbrowser": 1, "metric": [{"type": "viewability", "value": 0.4}]}, ALL),
    ({"banner": None, "audio": {"mimes": ["audio/mp4"]}}, set()),
    ({"video": {"mimes": ["video/mp4"]}}, ALL),  # or a banner
    (native({"title": {"len": 90}}) | {"video": {"mimes": ["video/mp4"]}}, ALL),
]


def test_fields_of_the_impression(shop: System, subtests: pytest.Subtests) -> None:
    for imp, left in IMPRESSIONS:
        with subtests.test(json.dumps(imp)):
            assert shown(request(*(imp for _ in range(4)))) == left


def test_what_a_native_slot_blocks(shop: System) -> None:
    slot = native({"title": {"len": 90}}, {"img": {"type": 3}, "required": 0})
    (first, *_) = bids(request(*(slot for _ in range(4))))
    assert first["attr"] == ([] if first["adid"] == "wine" else [12])
    slot["native"]["battr"] = [12]
    assert shown(request(*(slot for _ in range(4)))) == {"wine"}
    slot = native({"title": {"len": 90}})  # no picture is asked for
    slot["native"]["battr"] = [12]
    assert bids(request(slot)) == []


def test_an_impression_of_two_kinds_gets_one_bid_that_says_which(shop: System) -> None:
    both = native({"title": {"len": 90}}) | {"banner": {"w": 300, "h": 250}}
    assert {one["mtype"] for one in bids(request(both, both))} == {1}
    unfit = native({"title": {"len": 90}}) | {"banner": {"w": 300, "h": 250, "battr": [12], "btype": [2]}}
    assert {one["mtype"] for one in bids(request(unfit, unfit))} == {4}


def test_several_impressions_are_bid_on_each_on_its_own_terms(shop: System) -> None:
    found = bids(
        request(
            {"bidfloor": 3.5},
            {"banner": {"w": 728, "h": 90}, "bidfloor": 2.5, "bidfloorcur": "USD"},
            {"video": {"mimes": []}, "banner": None},
            {"bidfloor": 50},
            native({"title": {"len": 90}}),
        )
    )
    assert [(one["impid"], one["adid"], one["mtype"]) for one in found] == [
        ("0", "phone", 1),
        ("1", "wine", 1),
        ("4", "watch", 4),
    ]


asset = st.builds(
    lambda held, own, required: held | {"id": own, "required": required},
    st.one_of(
        st.fixed_dictionaries(
            {"title": st.fixed_dictionaries({}, optional={"len": st.sampled_from([0, 3, 10, 20, 90])})}
        ),
        st.fixed_dictionaries(
            {
                "img": st.fixed_dictionaries(
                    {}, optional={"type": st.sampled_from([1, 3]), "mimes": st.sampled_from([[], ["image/png"], ["x"]])}
                )
            }
        ),
        st.fixed_dictionaries(
            {
                "data": st.fixed_dictionaries(
                    {"type": st.sampled_from([*DATA_TYPES, 3, 500, None])},
                    optional={"len": st.sampled_from([-1, 0, 5, 12, 40, 10**30])},
                )
            }
        ),
        st.just({"video": {}}),
    ),
    st.integers(0, 3),
    st.sampled_from([0, 1]),
)


@given(st.lists(asset, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_the_ads_that_fit_a_native_slot_are_those_that_can_be_put_into_it(
    assets: list[dict[str, Any]], secure: bool, pictured: bool
) -> None:
    battr = {"battr": [12]} if pictured else {}
    slot = slot_of({"request": json.dumps({"assets": assets})} | battr)
    assert slot is not None
    found = Shelf(cast("Snapshot", SimpleNamespace(ads=ADS))).as_native(slot, secure=secure)
    assert found.tolist() == [assets_of(slot, one, [], secure=secure) is not None for one in ADS]


ADS = [
    Ad("a", "A title", "https://a.example/", "en", "ecommerce", description="A description."),
    Ad("b", "A long title", "https://www.b.example/", "en", "social", image_url="http://b.example/b.png", brand="B"),
    Ad(
        "c",
        "手表",
        "https://c.example/",
        "zh",
        "ecommerce",
        image_url=PICTURE,
        attributes={"price": 5, "currency": "USD"},
    ),
    Ad("d", "T", "https://d.example/", "en", "education", image_url="https://d.example/picture"),
]


# Where the page is ---------------------------------------------------------------------------------------------------


def test_site_app_and_dooh_say_where_it_is(shop: System) -> None:
    content = {"language": "zh", "cat": ["IAB5"]}
    for kind in ("site", "app", "dooh"):
        read = parse({"id": "1", "imp": [{"id": "1"}], kind: {"domain": "there.example", "content": content}})
        assert (read.platform, read.language, read.domain) == ("there.example", "zh", "education"), kind
    read = parse({"id": "1", "imp": [{"id": "1"}], "app": {"bundle": "com.example"}, "device": {"language": "en"}})
    assert (read.platform, read.language) == ("com.example", "en")
    read = parse({"id": "1", "imp": [{"id": "1"}], "device": {"langb": "zh-Hans"}})
    assert read.language == "zh"


def test_segments_count_by_their_taxonomy_alone(shop: System) -> None:
    def topics(*data: dict[str, Any], **more: Any) -> tuple[str, ...]:
        return parse({"id": "1", "imp": [{"id": "1"}], "user": {"data": list(data)}} | more).interests

    wine = [{"id": "1007", "name": "Wine", "value": "1"}, {"name": "without an id"}, {"id": 1097}]
    assert topics({"ext": {"segtax": 8}, "segment": wine}) == ("adproduct:1007", "adproduct:1097")
    for taxonomy in (1, 3, 4, 7, 500, "8", None):
        assert topics({"ext": {"segtax": taxonomy}, "segment": wine}) == ()
    assert topics({"segment": wine}) == topics({"ext": {"segtax": 8}, "segment": wine}, regs={"coppa": 1}) == ()
    many = [{"id": str(n)} for n in range(1000)]
    assert len(topics({"ext": {"segtax": 8}, "segment": many})) == 10


def test_a_tcf_string_may_come_in_a_gpp_string(shop: System) -> None:
    row = {"user_id": "ann", "event": "view", "timestamp": shop.clock() - 60, "text": "a phone"}
    assert shop.profiling.post_events(TENANT, [row]).accepted == 1
    from tests.unit.test_consent_tcf import FILE

    allowing = next(one["tcf"] for one in FILE["vectors"] if one["allows"] and one["service_specific"])
    forbidding = next(one["tcf"] for one in FILE["vectors"] if not one["allows"])
    for tcf, known in ((allowing, True), (forbidding, False)):
        regs = {"gpp": f"DBABMA~{tcf}", "gpp_sid": [2]}
        (bid,) = bids(request({}, user={"id": "ann"}, regs=regs))
        decision = shop.stores.delivery.get_decision(TENANT, bid["id"])
        assert decision is not None and (decision.uid is not None) is known
