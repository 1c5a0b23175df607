"""From their rows to ours by a mapping: values, times, units, what is left out, and the report."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from infra.importers import MappingError, Report, TableError, convert, load_mapping, mapped_source
from infra.importers.mapping import parse_mapping

pytestmark = pytest.mark.slow

NOW = 1_795_600_000.0  # 2026-11-25
EVENTS: dict[str, Any] = {"user_id": "user", "event": "act", "timestamp": "at", "item_id": "item"}
ADS: dict[str, Any] = {
    "ad_id": "sku",
    "title": "name",
    "landing_url": {"template": "https://shop.example.com/p/{sku}"},
    "language": {"column": "name", "detect": True},
    "domain": {"value": "ecommerce"},
}


def run(
    tmp_path: Path, csv: str, fields: dict[str, Any], kind: str = "events", **more: Any
) -> tuple[Report, list[dict[str, Any]]]:
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text(csv, encoding="utf-8")
    mapping = parse_mapping({"kind": kind, "fields": fields, **more})
    report = convert(mapping.kind, mapped_source(path, mapping), out, now=NOW)
    assert report.rows == report.accepted + report.skipped_count + report.rejected_count
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(rows) == report.accepted
    return report, rows


def one(tmp_path: Path, cell: str, rule: dict[str, Any], field: str = "timestamp") -> Any:
    """The value of a field for one cell, or the reason why it is refused."""
    report, rows = run(
        tmp_path,
        f"user,act,at,item,x\nu,view,1700000000,i,{cell}\n",
        EVENTS | {field: {"column": "x", **rule}},
    )
    return rows[0].get(field) if rows else next(iter(report.rejected.values())).examples[0][1]


@pytest.mark.parametrize(
    ("cell", "rule", "seconds"),
    [
        ("2026/11/20 10:00:00", {"format": "%Y/%m/%d %H:%M:%S", "zone": "Asia/Shanghai"}, 1795140000),
        ("20/11/2026", {"format": "%d/%m/%Y"}, 1795132800),
        ("2026-11-20T10:00:00", {"zone": "America/New_York"}, 1795186800),
        ("2026-11-20T10:00:00+08:00", {"zone": "America/New_York"}, 1795140000),  # its own offset holds
        ("1795140000", {"format": "epoch"}, 1795140000),
        ("1795140000500", {"format": "epoch_ms"}, 1795140000.5),
        ("2026年11月20日 10:00", {"format": "%Y年%m月%d日 %H:%M", "zone": "Asia/Shanghai"}, 1795140000),
        ("20261120", {"zone": "UTC"}, 1795132800),
    ],
)
def test_times_of_every_kind(tmp_path: Path, cell: str, rule: dict[str, Any], seconds: float) -> None:
    assert one(tmp_path, cell, rule) == seconds


@pytest.mark.parametrize(
    ("cell", "rule", "value"),
    [
        ("12900", {"scale": 0.01}, 129),
        ("1999", {"scale": 0.01}, 19.99),
        ('"1,299.50"', {}, 1299.5),
        ('"1.299,50 €"', {"decimal": ","}, 1299.5),
        ("¥88", {}, 88),
        ("-5", {}, -5),
        ("", {}, None),
        ("", {"default": 3}, 3),
        ("12 or so 3", {}, 'value must be a number, not "12 or so 3".'),
    ],
)
def test_numbers_and_units(tmp_path: Path, cell: str, rule: dict[str, Any], value: Any) -> None:
    assert one(tmp_path, cell, rule, "value") == value


def test_values_are_translated_kept_left_out_or_refused(tmp_path: Path) -> None:
    csv = "user,act,at,item\nu,pv,1700000000,i\nu,购买,1700000001,i\nu,odd,1700000002,i\n"
    rule = {"column": "act", "values": {"pv": "view"}}
    kept, rows = run(tmp_path, csv, EVENTS | {"event": rule})
    assert [row["event"] for row in rows] == ["view", "purchase"]
    [((field, _), reason)] = kept.rejected.items()
    assert (field, reason.examples[0][0]) == ("event", 4)
    skipping, rows = run(tmp_path, csv, EVENTS | {"event": rule | {"otherwise": "skip"}})
    assert [row["event"] for row in rows] == ["view"] and skipping.skipped_count == 2
    refusing, _ = run(tmp_path, csv, EVENTS | {"event": rule | {"otherwise": "reject"}})
    assert refusing.rejected_count == 2


def test_rows_are_chosen_by_their_cells(tmp_path: Path) -> None:
    csv = "user,act,at,item,state\n" + "".join(f"u,view,170000000{n},i,{state}\n" for n, state in enumerate("011x"))
    report, rows = run(tmp_path, csv, EVENTS, only={"state": [0, 1]}, skip={"state": "0"})
    assert len(rows) == 2
    assert {why: one.count for why, one in report.skipped.items()} == {"state is not 0 or 1": 1, "state is 0": 1}


def test_an_overlapping_export_counts_each_event_once(tmp_path: Path) -> None:
    """Ids come from what the events say, not from where they stand; equal ones of one person stay apart."""
    lines = ["u,view,1700000000,i", "u,view,1700000000,i", "v,view,1700000000,i", "u,buy,1700000009,j"]
    _, first = run(tmp_path, "user,act,at,item\n" + "\n".join(lines) + "\n", EVENTS)
    earlier = ["w,view,1690000000,k", *lines[:3], "u,view,1700000005,i", lines[3]]
    _, later = run(tmp_path, "user,act,at,item\n" + "\n".join(earlier) + "\n", EVENTS)
    ids = {(row["user_id"], row["event_id"]) for row in first}
    assert len(ids) == 4
    assert ids < {(row["user_id"], row["event_id"]) for row in later}


def test_an_event_id_says_nothing_of_the_person(tmp_path: Path) -> None:
    _, rows = run(tmp_path, "user,act,at,item\nu,view,1700000000,i\nv,view,1700000000,i\n", EVENTS)
    assert rows[0]["event_id"] == rows[1]["event_id"]


def test_the_report_tells_what_is_in_it_and_what_would_be_masked(tmp_path: Path) -> None:
    csv = (
        "user,act,at,item,q\nann@example.com,view,1700000000,i,call 13812345678 now\nu,view,1700000100,,\n"
        "u,click,1700000050,j,\n,view,1700000000,i,\nu,view,never,i,\nu,view,1999999999,i,\n"
    )
    report, rows = run(tmp_path, csv, EVENTS | {"text": "q"})
    body = report.body()
    assert (report.users, report.items, report.named_users, report.unresolved) == (2, 2, 1, 1)
    assert body["masked"] == {"[phone]": 1} and "13812345678" not in json.dumps(rows)
    assert (body["first"], body["last"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:15:00Z")
    assert body["kinds"] == {"view": 2, "click": 1}
    assert sorted((one["field"], one["examples"][0]["line"]) for one in body["rejected"]) == [
        ("timestamp", 6),
        ("timestamp", 7),
        ("user_id", 5),
    ]


def test_ads_have_facts_addresses_and_languages(tmp_path: Path) -> None:
    csv = "sku,name,price,tags\nA/1,云栖保温杯,12900,a|b\nB 2,Phone,19900,\nA/1,云栖保温杯二,12900,\n"
    fields = ADS | {
        "attributes.price": {"column": "price", "scale": 0.01},
        "attributes.currency": {"value": "CNY"},
        "exclusion_labels": {"column": "tags", "split": "|"},
        "frequency_cap.count": {"value": 3},
        "frequency_cap.hours": {"value": 24},
    }
    report, rows = run(tmp_path, csv, fields, "ads")
    assert rows[0] == {
        "ad_id": "A/1",
        "title": "云栖保温杯",
        "landing_url": "https://shop.example.com/p/A%2F1",
        "language": "zh",
        "domain": "ecommerce",
        "attributes": {"price": 129, "currency": "CNY"},
        "exclusion_labels": ["a", "b"],
        "frequency_cap": {"count": 3, "hours": 24},
    }
    assert rows[1]["language"] == "en" and rows[1]["landing_url"].endswith("/B%202")
    assert (report.items, report.repeats, dict(report.kinds)) == (2, 1, {"zh": 2, "en": 1})


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ([], "must hold kind and fields"),
        ({"kind": "people", "fields": {}}, "kind"),
        ({"kind": "events", "fields": EVENTS | {"usr_id": "x"}}, "do you mean user_id"),
        ({"kind": "events", "fields": {"event": "a"}}, "need user_id, timestamp"),
        ({"kind": "events", "fields": EVENTS | {"value": {"column": "a", "value": 3}}}, "fields.value: give one of"),
        ({"kind": "events", "fields": EVENTS | {"value": {"colum": "a"}}}, "fields.value"),
        ({"kind": "events", "fields": EVENTS | {"timestamp": {"column": "a", "zone": "Mars"}}}, "no such time zone"),
        ({"kind": "events", "fields": EVENTS, "file": {"delimiter": ",,"}}, "file.delimiter"),
    ],
)
def test_a_mapping_that_cannot_be_used_names_the_field(sent: Any, why: str) -> None:
    with pytest.raises(MappingError, match=why):
        parse_mapping(sent)


def test_mappings_are_yaml_or_json(tmp_path: Path) -> None:
    wanted = parse_mapping({"kind": "events", "fields": EVENTS})
    (tmp_path / "m.json").write_text(json.dumps({"kind": "events", "fields": EVENTS}), encoding="utf-8")
    text = "kind: events\nfields: {user_id: user, event: act, timestamp: at, item_id: item}\n"
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    assert load_mapping(tmp_path / "m.json") == load_mapping(tmp_path / "m.yaml") == wanted
    (tmp_path / "bad.yaml").write_text("kind: [", encoding="utf-8")
    with pytest.raises(MappingError, match=r"bad\.yaml is no YAML"):
        load_mapping(tmp_path / "bad.yaml")
    with pytest.raises(MappingError, match="No such file"):
        load_mapping(tmp_path / "none.yaml")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,act,at\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"no column 'item' \(fields\.item_id\).* it has user, act, at"):
        mapped_source(path, parse_mapping({"kind": "events", "fields": EVENTS}))


def test_what_is_written_is_whole_and_the_same_every_time(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,act,at,item\nu,view,1700000000,i\n", encoding="utf-8")
    mapping = parse_mapping({"kind": "events", "fields": EVENTS})
    outs = [tmp_path / "new" / f"{name}.jsonl.gz" for name in "ab"]
    for out in outs:
        convert("events", mapped_source(path, mapping), out, now=NOW)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert len(gzip.decompress(outs[0].read_bytes()).splitlines()) == 1
    before = outs[0].read_bytes()

    def broken() -> Any:
        yield from mapped_source(path, mapping)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        convert("events", broken(), outs[0], now=NOW)
    assert outs[0].read_bytes() == before
    assert sorted(one.name for one in outs[0].parent.iterdir()) == ["a.jsonl.gz", "b.jsonl.gz"]


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"sku": "a", "name": "ok"}\n{"sku": "b", "name": "x", "note": "\\ud83d"}\n', encoding="utf-8")
    mapping = parse_mapping({"kind": "ads", "fields": ADS | {"attributes.note": "note"}})
    report = convert("ads", mapped_source(path, mapping), tmp_path / "out.jsonl", now=NOW)
    assert report.accepted + report.rejected_count == 2
    for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines():
        json.loads(line)


def test_parquet_with_times_decimals_and_lists_of_its_own(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from datetime import datetime
    from decimal import Decimal

    table = pyarrow.table(
        {
            "user": [7.0, 8.0],  # ids that a data frame has made floats of
            "act": ["view", "buy"],
            "at": [datetime(2026, 11, 20, 10), datetime(2026, 11, 20, 11)],  # noqa: DTZ001 - without a zone
            "item": [1, None],
            "paid": [None, Decimal("12.90")],
            "tags": [["a", "b"], None],
        }
    )
    path, out = tmp_path / "in.parquet", tmp_path / "out.jsonl"
    parquet.write_table(table, path)
    rule = {"column": "at", "zone": "Asia/Shanghai"}
    mapping = parse_mapping({"kind": "events", "fields": EVENTS | {"timestamp": rule, "value": "paid", "tags": "tags"}})
    report = convert("events", mapped_source(path, mapping), out, now=NOW)
    first, second = (json.loads(line) for line in out.read_text("utf-8").splitlines())
    assert (report.accepted, report.unresolved) == (2, 1)
    assert (first["user_id"], first["timestamp"], first["item_id"], first["tags"]) == ("7", 1795140000, "1", ["a", "b"])
    assert (second["user_id"], second["value"]) == ("8", 12.9)
