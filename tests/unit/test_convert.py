"""infra.convert: the data pack's behaviour format becomes uploads that are accepted whole."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from infra.convert import app, convert_behaviour
from shared.domain import Ad, Event
from shared.preprocess import deduplicate_events, parse_ad, parse_event
from shared.uploads import Row, read_rows
from tests.data import shared_data

pytestmark = pytest.mark.slow

START = 1_788_220_800.0  # 2026-09-01
ITEMS: list[dict[str, Any]] = [
    {"item_id": "i/1", "title": "Red &amp; <b>blue</b> polish", "categories": ["Beauty", "Nails", "Nails"]},
    {"item_id": "2", "title": "x" * 300, "categories": []},
    {"item_id": "3", "title": "", "categories": ["Beauty"]},
]
EVENTS: list[dict[str, Any]] = [
    {"user_id": user, "item_id": item, "event": "purchase", "position": position}
    for user, items in (("a", ["2", "i/1", "2"]), ("b", ["3", "2"]))
    for position, item in enumerate(items)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = b"\n".join(map(orjson.dumps, rows))
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(path: Path) -> list[Row]:
    with path.open("rb") as stream:
        rows = [row for row in read_rows(stream, path.name) if isinstance(row, Row)]
    assert len(rows) == gzip.decompress(path.read_bytes()).count(b"\n")
    return rows


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "items.jsonl.gz", ITEMS), write(tmp_path / "events.jsonl", EVENTS)


def test_events_and_ads(files: tuple[Path, Path], tmp_path: Path) -> None:
    made = convert_behaviour(*files, tmp_path / "out", "shop", START)
    events = [parse_event(row.value, now=START + 70 * 86_400, index=row.line) for row in rows_of(events_path(tmp_path))]
    assert all(isinstance(event, Event) for event in events)
    told = [(event.item_id, event.text, event.tags) for event in events if isinstance(event, Event)]
    assert told == [
        ("2", "x" * 300, ()),
        ("i/1", "Red & blue polish", ("Beauty", "Nails")),
        ("2", None, ()),
        ("3", None, ()),
        ("2", None, ()),
    ]
    ads = [parse_ad(row.value, index=row.line) for row in rows_of(tmp_path / "out/ads/shop/items.jsonl.gz")]
    assert [ad.ad_id for ad in ads if isinstance(ad, Ad)] == ["2", "i/1"]  # by popularity; nothing to show for item 3
    assert isinstance(ads[1], Ad)
    assert (ads[1].title, ads[1].description) == ("Red & blue polish", "Beauty, Nails")
    assert ads[1].landing_url == "https://example.com/items/i%2F1"
    assert (made.events, made.users, made.items, made.items_without_title, made.ads) == (5, 2, 3, 1, 2)


def events_path(tmp_path: Path) -> Path:
    return tmp_path / "out/events/shop/behaviour.jsonl.gz"


def test_the_same_input_gives_the_same_bytes(files: tuple[Path, Path], tmp_path: Path) -> None:
    one = convert_behaviour(*files, tmp_path / "one", "t", START)
    other = convert_behaviour(*files, tmp_path / "other", "t", START)
    assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in other.files]


def test_ads_can_be_few_or_none(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert convert_behaviour(*files, tmp_path / "one", "t", START, ads=1).ads == 1
    assert list(convert_behaviour(*files, tmp_path / "none", "t", START, ads=0).files) == [
        tmp_path / "none/events/t/behaviour.jsonl.gz"
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"position": -1}, "position"), ({"item_id": 5}, "item_id"), ({"event": ""}, "event"), ({"position": 1}, "twice")],
)
def test_a_wrong_row_is_named(files: tuple[Path, Path], tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    write(files[1], [*EVENTS[:2], EVENTS[2] | change])
    with pytest.raises(ValueError, match=rf"events\.jsonl, line 3: .*{reason}"):
        convert_behaviour(*files, tmp_path / "out", "t", START)


def test_the_command_prints_what_it_made(files: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["behaviour", "--items", str(files[0]), "--events", str(files[1]), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--tenant", "shop", "--start", "2026-09-01", "--ads", "1"])
    assert result.exit_code == 0, result.output
    assert "5 events of 2 people" in result.output
    assert "3 items (1 without a title), 1 ads" in result.output
    assert rows_of(events_path(tmp_path))[0].value["timestamp"] >= START
    files[1].write_bytes(b"")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "The file is empty." in result.output


def test_real_behaviour_is_accepted_whole_and_in_order(tmp_path: Path) -> None:
    items, source = shared_data("behaviour/beauty/items.jsonl.gz"), tmp_path / "events.jsonl"
    with gzip.open(shared_data("behaviour/beauty/events.jsonl.gz"), "rb") as stream:
        sent = [orjson.loads(line) for line in itertools.islice(stream, 20_000)]
    write(source, sent)
    made = convert_behaviour(items, source, tmp_path / "out", "shop", START)
    parsed = [parse_event(row.value, now=START + 61 * 86_400, index=row.line) for row in rows_of(events_path(tmp_path))]
    events = [event for event in parsed if isinstance(event, Event)]
    assert len(events) == len(parsed) == made.events == 20_000
    assert deduplicate_events(events)[1] == 0
    by_user = sorted(events, key=lambda event: (event.user_id, event.timestamp))
    sent.sort(key=lambda row: (row["user_id"], row["position"]))
    assert [(event.user_id, event.item_id) for event in by_user] == [(row["user_id"], row["item_id"]) for row in sent]
    for _, group in itertools.groupby(by_user, key=lambda event: event.user_id):
        times = [event.timestamp for event in group]
        assert len(set(times)) == len(times)
    known = {event.item_id for event in events}
    assert sorted(filter(None, (event.item_id for event in events if event.text))) == sorted(filter(None, known))
