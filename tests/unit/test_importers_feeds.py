"""Google Merchant feeds as ads, in all three forms; and mappings guessed from headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.importers import Report, TableError, convert, guess, is_merchant_feed, mapped_source, merchant_source
from infra.importers.mapping import parse_mapping

pytestmark = pytest.mark.slow

NOW = 1_795_600_000.0  # 2026-11-25
COLUMNS = "id\ttitle\tdescription\tlink\timage link\tprice\tsale price\tbrand\tavailability\tcondition\tproduct type"
RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>A shop</title>{items}</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>A shop</title>
<entry><title>page</title><g:title>Desk lamp</g:title><g:id>L1</g:id><link href="https://shop.example.com/l1"/>
<summary>LED, 9 W</summary><g:price>EUR 1.299,00</g:price><g:availability>preorder</g:availability></entry></feed>"""


def item(identifier: str, **more: str) -> str:
    fields = {
        "id": identifier,
        "title": "手冲壶",
        "link": f"https://shop.example.com/{identifier}",
        "price": "189.00 CNY",
    }
    return "<item>" + "".join(f"<g:{name}>{text}</g:{name}>" for name, text in (fields | more).items()) + "</item>"


def read(path: Path, **options: Any) -> tuple[Report, list[dict[str, Any]]]:
    import json

    out = path.with_suffix(".jsonl")
    report = convert("ads", merchant_source(path, now=NOW, **options), out, now=NOW)
    return report, [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def test_a_text_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.txt"
    rows = [
        "A\tDesk lamp\tLED\thttps://shop.example.com/a\thttps://shop.example.com/a.jpg\t49.90 EUR\t39.90 EUR\tLumo\t"
        "in stock\tused\tHome > Lamps, Office",
        "B\tChair\t\thttps://shop.example.com/b\t\t99 EUR\t\t\tout of stock\tnew\t",
        "C\tShelf\t\tnot an address\t\t99 EUR\t\t\tin_stock\tnew\t",
        "D\tBroom\t\thttps://shop.example.com/d\t\tcheap\t\t\tin_stock\tnew\t",
    ]
    path.write_text("\n".join([COLUMNS, *rows]) + "\n", encoding="utf-8")
    assert is_merchant_feed(path)
    report, ads = read(path)
    assert ads == [
        {
            "ad_id": "A",
            "title": "Desk lamp",
            "description": "LED",
            "landing_url": "https://shop.example.com/a",
            "image_url": "https://shop.example.com/a.jpg",
            "brand": "Lumo",
            "language": "en",
            "domain": "ecommerce",
            "attributes": {
                "original_price": 49.9,
                "price": 39.9,
                "currency": "EUR",
                "condition": "used",
                "category": "Home > Lamps",
            },
        }
    ]
    assert [(why, one.examples[0][0]) for why, one in report.skipped.items()] == [("out of stock", 3)]
    assert sorted((field, one.examples[0][0]) for (field, _), one in report.rejected.items()) == [
        ("landing_url", 4),
        ("price", 5),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_an_rss_feed_in_the_encoding_it_is_in(tmp_path: Path, encoding: str) -> None:
    items = [
        item("P1", description="细口壶配滤杯与滤纸，不锈钢"),
        item("P2", adult="yes"),
        item("P3", expiration_date="2026-01-01T00:00+08:00"),
        item("P4", sale_price="150.00 CNY", sale_price_effective_date="2026-11-01T00:00Z/2026-12-01T00:00Z"),
        item("P5", sale_price="150.00 CNY", sale_price_effective_date="2026-10-01T00:00Z/2026-11-01T00:00Z"),
    ]
    path = tmp_path / "feed.xml"
    path.write_bytes(RSS.format(encoding=encoding, items="".join(items)).encode(encoding))
    report, ads = read(path, domain="social")
    assert {ad["ad_id"]: ad["attributes"]["price"] for ad in ads} == {"P1": 189, "P4": 150, "P5": 189}
    assert ads[0]["title"] == "手冲壶" and ads[0]["language"] == "zh" and ads[0]["domain"] == "social"
    assert set(report.skipped) == {"for adults", "its expiration_date is over"}


def test_an_atom_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(ATOM, encoding="utf-8")
    _, [ad] = read(path)
    assert ad["title"] == "Desk lamp" and ad["landing_url"] == "https://shop.example.com/l1"
    assert ad["description"] == "LED, 9 W"
    assert ad["attributes"] == {"price": 1299, "currency": "EUR", "availability": "preorder"}


def test_entities_and_document_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><rss><item>&b;</item></rss>'
    path.write_text(bomb, encoding="utf-8")
    with pytest.raises(TableError, match="refused"):
        list(merchant_source(path))


def test_what_comes_before_the_damage_is_read(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    whole = RSS.format(encoding="utf-8", items=item("P1") + item("P2"))
    path.write_text(whole[: whole.rindex("<g:price>")], encoding="utf-8")
    report, ads = read(path)
    assert [ad["ad_id"] for ad in ads] == ["P1"]
    assert report.problem is not None and "behind product 1" in report.problem
    path.write_text("<rss></rss>", encoding="utf-8")
    with pytest.raises(TableError, match="no product"):
        list(merchant_source(path))


def test_a_long_feed_is_not_kept_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "feed.xml"
    path.write_text(RSS.format(encoding="utf-8", items=item("P", description="x" * 2000) * 2000), encoding="utf-8")
    tracemalloc.start()
    assert sum(1 for _ in merchant_source(path)) == 2000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2


# Guessing -----------------------------------------------------------------------------------------------------------

CHINESE = (
    "会员编号,行为,商品编号,时间,金额(分)\nm1,浏览,P1,2026/11/20 10:01:00,\nm1,支付,P1,2026/11/20 10:05:00,12900\n"
)
ENGLISH = (
    "Customer ID;Action;SKU;Created At;Category\nc1;pageview;7;1700000000;shoes/running\nc1;buy;7;1700000100;shoes\n"
)


def guessed(tmp_path: Path, text: str, **options: Any) -> tuple[Any, Report]:
    path = tmp_path / "theirs.csv"
    path.write_text(text, encoding="utf-8")
    found = guess(path, **options)
    mapping = parse_mapping(yaml.safe_load(found.text))
    assert mapping.kind == found.kind
    return found, convert(found.kind, mapped_source(path, mapping), now=NOW)


@pytest.mark.parametrize("text", [CHINESE, ENGLISH])
def test_a_guess_can_be_used_as_it_is(tmp_path: Path, text: str) -> None:
    found, report = guessed(tmp_path, text, domain="ecommerce")
    assert found.kind == "events" and found.doubts == []
    assert report.accepted == report.rows == 2 and dict(report.kinds) == {"view": 1, "purchase": 1}


def test_a_guess_reads_units_zones_and_lists(tmp_path: Path) -> None:
    found, _ = guessed(tmp_path, CHINESE)
    fields = yaml.safe_load(found.text)["fields"]
    assert fields["value"] == {"column": "金额(分)", "scale": 0.01}
    assert fields["timestamp"] == {"column": "时间", "format": "%Y/%m/%d %H:%M:%S", "zone": "Asia/Shanghai"}
    assert found.doubts == ["domain: ecommerce, social, education or health"]
    found, _ = guessed(tmp_path, ENGLISH)
    fields = yaml.safe_load(found.text)["fields"]
    assert fields["timestamp"] == {"column": "Created At", "format": "epoch"}
    assert fields["tags"] == {"column": "Category", "split": "/"}


def test_a_guess_asks_what_only_a_person_knows(tmp_path: Path) -> None:
    text = "user,type,item,date\nu,gift,i,03/04/2026\nv,view,i,05/06/2026\n"
    found, _ = guessed(tmp_path, text, domain="ecommerce")
    assert [doubt.split(":")[0] for doubt in found.doubts] == ["event", "timestamp"]
    assert "gift" in found.doubts[0] and "day or month first" in found.doubts[1]


def test_a_guess_does_not_say_what_happened_where_nothing_does(tmp_path: Path) -> None:
    path = tmp_path / "enrolments.csv"
    path.write_text("user_id,course_id,date\nu,c,2026-04-03\n", encoding="utf-8")
    found = guess(path, "events", domain="education")
    with pytest.raises(TableError, match=r"fields\.event is not decided"):
        convert("events", mapped_source(path, parse_mapping(yaml.safe_load(found.text))), now=NOW)
    assert any(doubt.startswith("event: ") for doubt in found.doubts)


def test_a_guess_of_products_asks_for_their_address(tmp_path: Path) -> None:
    found, report = guessed(tmp_path, "sku,name,price_cents,cost\n7,Desk lamp,4990,1200\n", domain="ecommerce")
    fields = yaml.safe_load(found.text)["fields"]
    assert found.kind == "ads" and report.accepted == 1
    assert fields["attributes.price"] == {"column": "price_cents", "number": True, "scale": 0.01}
    assert not any("cost" in str(rule) for rule in fields.values())  # what is not for people's eyes is left to them
    assert [doubt.split(":")[0] for doubt in found.doubts] == ["landing_url"]


def test_a_file_without_a_header_is_told_its_columns(tmp_path: Path) -> None:
    text = "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"
    with pytest.raises(TableError, match="first row looks like data"):
        guessed(tmp_path, text)
    names = ["user", "item", "category", "action", "time"]
    found, report = guessed(tmp_path, text, domain="ecommerce", names=names)
    assert found.doubts == [] and report.accepted == 2 and dict(report.kinds) == {"view": 1, "purchase": 1}
