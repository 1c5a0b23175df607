"""The sample behaviour in ``infra/sample`` keeps its promises: size, variety, plausible logs, the same on every run."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from infra.sample import generate, sources
from shared.domain import DOMAINS, EVENT_TYPES, Event, Rejection
from shared.preprocess import clean_text, parse_event

FIELDS = {"event_id", "user_id", "event", "timestamp", "item_id", "platform", "domain", "text", "tags", "value"}
NOW = generate.ANCHOR.timestamp()
DIRTY = (sources.FOLDER / "events_dirty.jsonl").read_bytes().split(b"\n")
DIRTY_GOOD = {1, 24, 25, 26, 27, 28, 29, 30}
DIRTY_EITHER = {23}

Row = dict[str, Any]


def at(row: Row) -> datetime:
    return datetime.fromisoformat(row["timestamp"])


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [json.loads(line) for line in (sources.FOLDER / "events.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def by_person(rows: list[Row]) -> dict[str, list[Row]]:
    """Each person's acts in the order of time, lines sent twice counted once."""
    people: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row not in people[row["user_id"]][-15:]:
            people[row["user_id"]].append(row)
    return {user_id: sorted(acts, key=at) for user_id, acts in people.items()}


def acts(by_person: dict[str, list[Row]], user_id: str) -> list[tuple[str, str | None]]:
    return [(row["event"], row.get("item_id")) for row in by_person[user_id]]


def test_there_is_enough_of_everything(rows: list[Row], by_person: dict[str, list[Row]]) -> None:
    assert len(rows) >= 4200
    assert len(by_person) >= 60
    assert set(by_person) == {person["user_id"] for person in sources.people()}
    assert (sources.FOLDER / "events.jsonl").stat().st_size < 1_500_000
    domains = Counter(row["domain"] for row in rows)
    assert set(domains) == set(DOMAINS)
    assert min(domains.values()) >= 500
    assert set(EVENT_TYPES) == {row["event"] for row in rows}
    written = {
        row["text"]
        for row in rows
        if row.get("text") and ("item_id" not in row or row["event"] in ("comment", "consult"))
    }
    assert len(written) >= 150


def test_items_are_many_and_half_of_them_chinese() -> None:
    items = sources.items()
    languages = Counter(item["language"] for item in items)
    assert len(items) >= 200
    assert abs(languages["zh"] - languages["en"]) <= 0.1 * len(items)
    assert {(item["domain"], item["language"]) for item in items} == {
        (d, lang) for d in DOMAINS for lang in ("zh", "en")
    }
    assert len({item["item_id"] for item in items}) == len(items)
    assert all(item["text"] and item["tags"] for item in items)


def test_no_two_items_and_no_two_texts_say_the_same() -> None:
    texts = [text for (kind, _, _), found in sources.texts().items() if kind != "remark" for text in found]
    texts += [item["text"] for item in sources.items()]
    grams = [frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4))) for text in texts]
    close = [
        (texts[i], texts[j])
        for i, j in combinations(range(len(texts)), 2)
        if len(grams[i] & grams[j]) >= 0.6 * max(len(grams[i]), len(grams[j]))
    ]
    assert not close


def test_every_row_has_the_shape_of_an_event(rows: list[Row]) -> None:
    for row in rows:
        assert set(row) <= FIELDS
        assert row["domain"] in DOMAINS
        assert ("value" in row) == (row["event"] == "purchase"), row
        assert "item_id" in row or (row["text"] and row["event"] in ("view", "consult")), row


def test_every_row_is_accepted(rows: list[Row]) -> None:
    for index, row in enumerate(rows):
        event = parse_event(row, now=NOW, index=index)
        assert isinstance(event, Event), (row, event)
        assert event.timestamp == at(row).timestamp()
        assert event.text == row.get("text"), "texts are clean as written"


def test_items_are_known_and_described_when_first_met(by_person: dict[str, list[Row]]) -> None:
    things = sources.things()
    for mine in by_person.values():
        met: set[str] = set()
        for row in mine:
            item_id = row.get("item_id")
            if item_id is not None and item_id not in met:
                met.add(item_id)
                assert row["event"] == "view", "nothing is acted on before it is seen"
                assert row["text"] == things[item_id]["text"]
                assert row["domain"] == things[item_id]["domain"]


def test_the_log_covers_45_days_in_order(rows: list[Row]) -> None:
    times = [at(row) for row in rows]
    assert max(times) <= generate.ANCHOR
    assert generate.ANCHOR - max(times) < timedelta(hours=1)
    assert timedelta(days=44) < max(times) - min(times) <= timedelta(days=generate.DAYS)
    ids = Counter(row.get("event_id") for row in rows)
    once = [row for row in rows if row.get("event_id") is None or ids[row["event_id"]] == 1]
    assert [at(row) for row in once] == sorted(at(row) for row in once)


def test_sessions_are_plausible(by_person: dict[str, list[Row]]) -> None:
    gaps = [(at(b) - at(a)).total_seconds() for mine in by_person.values() for a, b in pairwise(mine)]
    within = [gap for gap in gaps if gap < 1800]
    assert min(gaps) >= 0
    assert 10 <= median(within) <= 120
    assert len(within) > 0.7 * len(gaps), "most acts follow another one of the same session"
    hours = Counter(at(row).hour for mine in by_person.values() for row in mine)
    assert sum(hours[h] for h in range(2, 5)) < 0.05 * sum(hours.values()), "people sleep, by their own clock"
    weekdays = Counter(at(row).weekday() for mine in by_person.values() for row in mine)
    assert len(weekdays) == 7
    sizes = sorted((len(mine) for mine in by_person.values()), reverse=True)
    assert sum(sizes[: len(sizes) // 5]) > 0.4 * sum(sizes), "a few people do much of it"


def test_shopping_goes_down_its_funnel(by_person: dict[str, list[Row]]) -> None:
    counts = Counter(row["event"] for mine in by_person.values() for row in mine if row["domain"] == "ecommerce")
    assert counts["view"] > counts["click"] > counts["cart"] > counts["purchase"] > 20
    for mine in by_person.values():
        carted: set[str] = set()
        for row in mine:
            if row["event"] == "cart":
                carted.add(row["item_id"])
            assert row["event"] != "purchase" or row["item_id"] in carted


def test_lessons_are_done_in_order(by_person: dict[str, list[Row]]) -> None:
    finished = 0
    for mine in by_person.values():
        for course, lessons in sources.lessons().items():
            order = [lesson["item_id"] for lesson in lessons]
            if ("enrol", course) in [(row["event"], row.get("item_id")) for row in mine]:
                done = [row["item_id"] for row in mine if row["event"] == "complete" and row.get("item_id") in order]
                assert done == order[: len(done)]
                finished += len(done) == len(order)
    assert finished >= 4


def test_repeated_lines_are_exact_and_keep_their_id(rows: list[Row]) -> None:
    times = Counter(json.dumps(row, sort_keys=True) for row in rows)
    twice = [json.loads(line) for line, count in times.items() if count > 1]
    assert set(times.values()) == {1, 2}
    assert 0.005 * len(rows) < len(twice) < 0.02 * len(rows)
    assert all("event_id" in row for row in twice)
    without = sum("event_id" not in row for row in rows)
    assert 0.07 * len(rows) < without < 0.13 * len(rows)


def test_the_named_people_did_what_the_readme_says(by_person: dict[str, list[Row]]) -> None:
    shopper = acts(by_person, "u-shopper-phone")
    assert len({item for event, item in shopper if event == "view" and item and item.startswith("shop-zh-phone")}) >= 4
    assert ("favourite", "shop-zh-watch-01") in shopper
    assert {("purchase", "shop-zh-case-01"), ("purchase", "shop-zh-earbuds-01")} <= set(shopper)
    reader = acts(by_person, "u-reader-en")
    assert {("like", "read-en-trail-01"), ("like", "read-en-photo-01")} <= set(reader)
    for learner, course in (("u-learner-zh", "ed-zh-python-1"), ("u-learner-en", "ed-en-spanish-1")):
        whole = {("complete", lesson["item_id"]) for lesson in sources.lessons()[course]}
        assert whole | {("enrol", course), ("complete", course)} <= set(acts(by_person, learner))
    assert acts(by_person, "u-health-yes") == acts(by_person, "u-health-no")
    assert any(event == "consult" for event, _ in acts(by_person, "u-health-yes"))
    assert len(by_person["u-new"]) == 1
    consent = {person["user_id"]: person["consent"] for person in sources.people()}
    assert consent["u-health-yes"]["sensitive"]
    assert not consent["u-health-no"]["sensitive"]
    assert consent["u-health-no"]["personalisation"]
    assert not consent["u-opt-out"]["personalisation"]
    assert all({"personalisation", "sensitive", "source"} == set(given) for given in consent.values())


def test_the_committed_file_is_what_the_generator_writes(rows: list[Row], tmp_path: Path) -> None:
    generate.main(["--out", str(tmp_path / "again.jsonl")])
    assert (tmp_path / "again.jsonl").read_bytes() == (sources.FOLDER / "events.jsonl").read_bytes()


def test_the_log_moves_as_a_whole_and_keeps_its_ids(rows: list[Row]) -> None:
    until = NOW + 86400 * 200 + 12345.6
    moved = list(generate.events(until))
    assert len(moved) == len(rows)
    assert all("event_id" in row for row in moved)
    for before, after in zip(rows, moved, strict=True):
        assert at(after) - at(before) == timedelta(seconds=86400 * 200 + 12345)
        assert before.get("event_id", after["event_id"]) == after["event_id"]
        assert {k: v for k, v in before.items() if k not in ("event_id", "timestamp")} == {
            k: v for k, v in after.items() if k not in ("event_id", "timestamp")
        }
    assert max(at(row) for row in moved) <= datetime.fromtimestamp(until, UTC)
    unique = {(row["user_id"], row["event_id"]): row for row in moved}
    assert all(unique[row["user_id"], row["event_id"]] == row for row in moved), "one id, one act"


@pytest.mark.parametrize("line", range(1, len(DIRTY) + 1))
def test_dirty_lines_are_refused_or_cleaned(line: int) -> None:
    try:
        value = json.loads(DIRTY[line - 1].decode("utf-8"))
    except ValueError:
        assert line not in DIRTY_GOOD | DIRTY_EITHER
        return
    outcome = parse_event(value, now=NOW, index=line)
    if line in DIRTY_EITHER:
        assert isinstance(outcome, Rejection) or (outcome.text or "").encode("utf-8")
    elif line in DIRTY_GOOD:
        assert isinstance(outcome, Event), outcome
        assert outcome.event == "view"
        assert outcome.text is None or (outcome.text == clean_text(outcome.text) and "<" not in outcome.text)
    else:
        assert isinstance(outcome, Rejection), outcome
        assert outcome.reason
