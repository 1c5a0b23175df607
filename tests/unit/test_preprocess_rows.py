"""parse_event, parse_ad and deduplicate_events."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import DOMAINS, EVENT_TYPES, Ad, Event, FrequencyCap, Rejection
from shared.preprocess import deduplicate_events, parse_ad, parse_event

NOW = 1_790_000_000.0
EVENT: dict[str, Any] = {"user_id": "u1", "event": "view", "timestamp": 1_780_000_000}
AD: dict[str, Any] = {
    "ad_id": "a1",
    "title": "最新款智能手机，限时优惠！",
    "landing_url": "https://example.com/a1",
    "language": "zh",
    "domain": "ecommerce",
}


def event(**changes: object) -> Event:
    parsed = parse_event(EVENT | changes, now=NOW, index=0)
    assert isinstance(parsed, Event), parsed
    return parsed


def refused(**changes: object) -> Rejection:
    parsed = parse_event(EVENT | changes, now=NOW, index=7)
    assert isinstance(parsed, Rejection), parsed
    assert parsed.index == 7
    return parsed


def ad(**changes: object) -> Ad:
    parsed = parse_ad(AD | changes, index=0)
    assert isinstance(parsed, Ad), parsed
    return parsed


def ad_refused(**changes: object) -> Rejection:
    parsed = parse_ad(AD | changes, index=3)
    assert isinstance(parsed, Rejection), parsed
    assert parsed.index == 3
    return parsed


def test_an_event_with_everything() -> None:
    assert event(
        event_id="e1",
        item_id=42,
        platform="app",
        domain="Health",
        text=" <b>高血压</b>预防 ",
        tags=["健康", " 健康 ", "", "血压"],
        value="3.5",
    ) == Event(
        user_id="u1",
        event="view",
        timestamp=1_780_000_000.0,
        event_id="e1",
        item_id="42",
        platform="app",
        domain="health",
        text="高血压预防",
        tags=("健康", "血压"),
        value=3.5,
    )


def test_absent_null_and_empty_are_the_same() -> None:
    bare = event()
    names = ("event_id", "item_id", "platform", "domain", "text", "tags", "value")
    assert event(**dict.fromkeys(names)) == event(**dict.fromkeys(names, "")) == bare
    assert (bare.item_id, bare.text, bare.tags, bare.value) == (None, None, (), None)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("VIEW", "view"),
        ("Favorite", "favourite"),
        ("add_to_cart", "cart"),
        ("Add to Cart", "cart"),
        ("enroll", "enrol"),
        ("购买", "purchase"),
        ("收藏", "favourite"),
        *((name, name) for name in EVENT_TYPES),
    ],
)
def test_event_names(name: str, meaning: str) -> None:
    assert event(event=name).event == meaning


@pytest.mark.parametrize("name", ["impression", "ad_impression", "ad_click", "Ad-Click", "adclick", "conversion"])
def test_what_belongs_to_feedback_is_pointed_there(name: str) -> None:
    rejection = refused(event=name)
    assert rejection.field == "event"
    assert "/v1/feedback" in rejection.reason


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (1_780_000_000, 1_780_000_000.0),
        (1_780_000_000.25, 1_780_000_000.25),
        (1_780_000_000_250, 1_780_000_000.25),
        ("1780000000", 1_780_000_000.0),
        ("1780000000250", 1_780_000_000.25),
        ("2026-05-28T20:26:40Z", 1_780_000_000.0),
        ("2026-05-29T04:26:40+08:00", 1_780_000_000.0),
        ("2026-05-28t20:26:40.250z", 1_780_000_000.25),
        ("2026-05-28 20:26:40", 1_780_000_000.0),
        ("2016-12-31T23:59:60Z", 1_483_228_800.0),
        ("2000-01-01T00:00:00Z", 946_684_800.0),
        (NOW + 86_400, NOW + 86_400),
    ],
)
def test_timestamps(sent: object, seconds: float) -> None:
    assert event(timestamp=sent).timestamp == seconds


@pytest.mark.parametrize(
    "sent",
    [
        *(0, 1, -5, 946_684_799, "1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"),
        *(NOW + 86_401, "2999-01-01T00:00:00Z", 1e300, 10**400, float("nan"), float("inf"), "nan", "1e400"),
        *(
            "2026-02-30T00:00:00Z",
            "2026-05-28T25:00:00Z",
            "12:00",
            "yesterday",
            "1_780_000_000",
            "１７８０００００００",
        ),
        *(True, [], {}, "", None, "\ud800"),
    ],
)
def test_impossible_timestamps(sent: object) -> None:
    rejection = refused(timestamp=sent)
    assert rejection.field == "timestamp"
    assert "timestamp" in rejection.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", None),
        ("user_id", ""),
        ("user_id", "   "),
        ("user_id", 5),
        ("user_id", "x" * 201),
        ("user_id", "a\x00b"),
        ("user_id", "a\n"),
        ("user_id", "a\u200bb"),
        ("user_id", "a\ud800"),
        ("event", None),
        ("event", 1),
        ("event", "teleport"),
        ("event", "\ud800\x00"),
        ("event_id", 1.5),
        ("item_id", True),
        ("item_id", 1.5),
        ("item_id", 10**200),
        ("platform", ["app"]),
        ("domain", "sports"),
        ("domain", 1),
        ("text", 3),
        ("tags", "a|b"),
        ("tags", [1]),
        ("tags", ["x"] * 21),
        ("tags", ["x" * 81]),
        ("value", True),
        ("value", float("nan")),
        ("value", float("-inf")),
        ("value", "much"),
        ("value", 10**400),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    rejection = refused(**{field: value})
    assert rejection.field == field
    assert field in rejection.reason and rejection.reason.endswith(".")
    rejection.reason.encode()  # can be written into a report, whatever was sent
    assert "\x00" not in rejection.reason


@pytest.mark.parametrize("row", [None, 1, "view", [], [EVENT], True])
def test_a_row_must_be_an_object(row: object) -> None:
    for parsed in (parse_event(row, now=NOW, index=1), parse_ad(row, index=1)):
        assert isinstance(parsed, Rejection)
        assert parsed.field == "row"


def test_long_text_is_cut() -> None:
    assert event(text="字" * 5000).text == "字" * 2000


def test_the_default_domain_fills_a_gap_only() -> None:
    parsed = parse_event(EVENT, now=NOW, index=0, default_domain="social")
    named = parse_event(EVENT | {"domain": "health"}, now=NOW, index=0, default_domain="social")
    assert isinstance(parsed, Event) and isinstance(named, Event)
    assert (parsed.domain, named.domain) == ("social", "health")
    assert parsed.event_id == event().event_id


def test_a_derived_id_depends_on_what_was_done_and_on_the_place() -> None:
    sent: list[dict[str, object]] = [
        {},
        {"event": "click"},
        {"timestamp": 1_780_000_001},
        {"item_id": "1"},
        {"platform": "1"},
        {"domain": "health"},
        {"text": "1"},
        {"tags": ["1"]},
        {"value": 1},
    ]
    ids = [event(**changes).event_id for changes in sent]
    elsewhere = parse_event(EVENT, now=NOW, index=1)
    assert isinstance(elsewhere, Event)
    ids.append(elsewhere.event_id)
    assert len(set(ids)) == len(sent) + 1
    assert all(len(event_id) == 32 and set(event_id) <= set("0123456789abcdef") for event_id in ids)
    # Equal however the same thing was written, and on every machine.
    assert (
        event(timestamp="2026-05-28T20:26:40Z", event="View").event_id == ids[0] == "0e582bd062f7ce794b87523b5c612439"
    )


def test_a_derived_id_gives_nobody_away() -> None:
    """Neither who it was nor what was masked can be found by trying."""
    assert event(user_id="u2").event_id == event().event_id
    assert (
        event(text="电话 13817264590").event_id
        == event(text="电话 13817264591").event_id
        != event(text="电话").event_id
    )
    assert event(tags=["ann@example.com"]).event_id == event(tags=["bob@example.com"]).event_id


def test_deduplicate_events_keeps_the_first_of_a_persons_id() -> None:
    one, again, two = event(event_id="1", value=1), event(event_id="1", value=2), event(event_id="2")
    other = event(user_id="v", event_id="1")
    assert deduplicate_events(iter([one, again, two, other])) == ([one, two, other], 1)
    assert deduplicate_events([]) == ([], 0)


def test_an_ad_with_everything() -> None:
    assert ad(
        ad_id=7,
        language="zh-Hant",
        domain="ECOMMERCE",
        campaign_id="c",
        description="6.7 英寸<br>屏幕",
        brand=" 星 ",
        attributes={"storage": 256, "weight": 0.2, "colour": "黑色", "none": None, "empty": ""},
        image_url="http://cdn.example.com:8080/x.png?a=1",
        bid_cpm="12.5",
        daily_budget=100,
        frequency_cap={"count": "3", "hours": 24},
        start="2026-11-01",
        end="2026-11-02T00:00:00+08:00",
        targeting={"platforms": ["app"], "languages": ["zh-CN", "zh"], "segments": [], "interests": ["adproduct:1551"]},
    ) == Ad(
        ad_id="7",
        title=AD["title"],
        landing_url="https://example.com/a1",
        language="zh",
        domain="ecommerce",
        campaign_id="c",
        description="6.7 英寸 屏幕",
        brand="星",
        attributes={"storage": 256, "weight": 0.2, "colour": "黑色"},
        image_url="http://cdn.example.com:8080/x.png?a=1",
        bid_cpm=12.5,
        daily_budget=100.0,
        frequency_cap=FrequencyCap(3, 24.0),
        start=1_793_491_200.0,
        end=1_793_548_800.0,
        targeting={"platforms": ["app"], "languages": ["zh"], "interests": ["adproduct:1551"]},
    )


def test_a_whole_number_stays_whole() -> None:
    storage = ad(attributes={"storage": 256}).attributes["storage"]
    assert isinstance(storage, int)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("ad_id", None, "ad_id"),
        ("ad_id", "x" * 201, "ad_id"),
        ("title", None, "title"),
        ("title", "<b></b>\u200b", "title"),
        ("title", "x" * 201, "title"),
        ("title", 5, "title"),
        ("description", "x" * 5001, "description"),
        ("brand", "x" * 101, "brand"),
        ("landing_url", None, "landing_url"),
        ("landing_url", "ftp://example.com", "landing_url"),
        ("landing_url", "javascript:alert(1)", "landing_url"),
        ("landing_url", "https://", "landing_url"),
        ("landing_url", "https:///path", "landing_url"),
        ("landing_url", "example.com/x", "landing_url"),
        ("landing_url", "https://exa mple.com", "landing_url"),
        ("landing_url", "https://example.com:99999/", "landing_url"),
        ("landing_url", "https://[::1", "landing_url"),
        ("landing_url", "https://bank.com@evil.com/", "landing_url"),
        ("landing_url", "https://bank.com\\@evil.com/", "landing_url"),
        ("landing_url", "https://example.com/" + "x" * 2000, "landing_url"),
        ("landing_url", "https://example.com/\x00", "landing_url"),
        ("image_url", "data:image/png;base64,AA", "image_url"),
        ("language", "fr", "language"),
        ("language", None, "language"),
        ("domain", None, "domain"),
        ("bid_cpm", -0.01, "bid_cpm"),
        ("bid_cpm", float("inf"), "bid_cpm"),
        ("bid_cpm", True, "bid_cpm"),
        ("daily_budget", -1, "daily_budget"),
        ("attributes", ["a"], "attributes"),
        ("attributes", {str(n): n for n in range(51)}, "attributes"),
        ("attributes", {"nfc": True}, "attributes.nfc"),
        ("attributes", {"sizes": [1]}, "attributes.sizes"),
        ("attributes", {"ratio": float("nan")}, "attributes.ratio"),
        ("attributes", {"big": 10**30}, "attributes.big"),
        ("attributes", {"\x00": "x"}, "attributes"),
        ("frequency_cap", 3, "frequency_cap"),
        ("frequency_cap", {"count": 0, "hours": 1}, "frequency_cap.count"),
        ("frequency_cap", {"count": 1.5, "hours": 1}, "frequency_cap.count"),
        ("frequency_cap", {"count": 1}, "frequency_cap.hours"),
        ("frequency_cap", {"count": 1, "hours": 0}, "frequency_cap.hours"),
        ("start", "soon", "start"),
        ("end", 5, "end"),
        ("targeting", {"age": ["18"]}, "targeting"),
        ("targeting", {"platforms": "app"}, "targeting.platforms"),
        ("targeting", {"languages": ["fr"]}, "targeting.languages"),
    ],
)
def test_a_wrong_field_of_an_ad_is_named(field: str, value: object, named: str) -> None:
    rejection = ad_refused(**{field: value})
    assert rejection.field == named
    assert rejection.reason.endswith(".")


def test_an_ad_ends_after_it_starts() -> None:
    assert ad_refused(start="2026-11-02", end="2026-11-02").field == "end"
    assert ad(start=None, end="2026-11-02").start is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([field.name for field in (*dataclasses.fields(Event), *dataclasses.fields(Ad))])


@pytest.mark.slow
@given(JSON | st.dictionaries(FIELDS, JSON).map(lambda changes: EVENT | AD | changes))
def test_no_json_makes_parsing_raise(row: object) -> None:
    for parsed in (parse_event(row, now=NOW, index=5), parse_ad(row, index=5)):
        if isinstance(parsed, Rejection):
            assert parsed.index == 5
            assert parsed.field
            parsed.reason.encode()
        else:
            orjson.dumps(dataclasses.asdict(parsed))  # nothing is left that cannot be stored


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {
            "user_id": st.from_regex(r"[\w:-]{1,20}", fullmatch=True),
            "event": st.sampled_from(EVENT_TYPES),
            "timestamp": st.floats(946_684_800, NOW) | st.integers(946_684_800, int(NOW)),
        },
        optional={
            "item_id": st.integers(0, 10**12),
            "domain": st.sampled_from(DOMAINS),
            "text": st.text(max_size=60),
            "tags": st.lists(st.text(max_size=12), max_size=20),
            "value": st.floats(-1e9, 1e9),
        },
    )
)
def test_an_accepted_event_is_accepted_again_unchanged(row: dict[str, Any]) -> None:
    once = parse_event(row, now=NOW, index=0)
    if isinstance(once, Rejection):  # of what \w allows, only characters that nobody sees
        assert once.field == "user_id"
        return
    assert parse_event(dataclasses.asdict(once), now=NOW, index=99) == once


@given(st.integers(946_780_000, int(NOW)), st.integers(0, 999_999), st.integers(-14 * 60, 14 * 60))
def test_every_rfc3339_time_is_read(seconds: int, micros: int, minutes: int) -> None:
    when = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes))).replace(microsecond=micros)
    assert event(timestamp=when.isoformat()).timestamp == pytest.approx(when.timestamp(), abs=1e-5)
    utc_without_offset = when.astimezone(UTC).replace(tzinfo=None).isoformat()
    assert event(timestamp=utc_without_offset).timestamp == pytest.approx(when.timestamp(), abs=1e-5)
