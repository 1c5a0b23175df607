"""The sample ad catalogue in ``infra/sample/ads_*.jsonl`` keeps its promises: size, balance, variety, lawful copy."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from shared.domain import DOMAINS, Ad, FrequencyCap
from shared.preprocess import parse_ad

SAMPLE = Path(__file__).resolve().parents[2] / "infra" / "sample"
DEMO = "policy-demo"
FIELDS = {
    *("ad_id", "title", "description", "landing_url", "language", "domain", "campaign_id", "brand", "attributes"),
    *("bid_cpm", "daily_budget", "frequency_cap", "start", "end", "targeting"),
}
ABSOLUTE_ZH = re.compile(
    r"最(?!新款)|第一|国家级|世界级|顶级|唯一|首选|首家|独家|极致|极品|史上|冠军|领先|绝对|万能|永久|零风险|特效"
    r"|保过|包过|保证|根治|治愈|痊愈|疗效|100 ?[%％]"
)
ABSOLUTE_EN = re.compile(
    r"\b(?:best|no\. ?1|number one|guarante\w+|cures?d?|ultimate|perfect|greatest|finest|fastest|unbeatable"
    r"|unrivalled|miracle|100 ?%)",
    re.IGNORECASE,
)


def read(domain: str) -> list[dict[str, Any]]:
    """Return the rows of one domain's file; a line that is not JSON fails the test that asked."""
    return [json.loads(line) for line in (SAMPLE / f"ads_{domain}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def ads() -> list[dict[str, Any]]:
    return [row for domain in DOMAINS for row in read(domain)]


def grams(text: str, size: int = 5) -> frozenset[str]:
    return frozenset(text[i : i + size] for i in range(len(text) - size + 1))


def containment(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / min(len(one), len(other))


def violations(row: dict[str, Any]) -> list[str]:
    pattern = ABSOLUTE_ZH if row["language"] == "zh" else ABSOLUTE_EN
    return pattern.findall(f"{row['title']} {row['description']}")


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_enough_ads_in_both_languages(domain: str) -> None:
    rows = read(domain)
    languages = Counter(row["language"] for row in rows)
    assert {row["domain"] for row in rows} == {domain}
    assert len(rows) >= 62
    assert set(languages) == {"zh", "en"}
    assert min(languages.values()) >= 0.4 * len(rows)


def test_rows_are_whole_and_ids_unique(ads: list[dict[str, Any]]) -> None:
    assert len(ads) >= 250
    assert [ad_id for ad_id, n in Counter(row["ad_id"] for row in ads).items() if n > 1] == []
    assert [title for title, n in Counter(row["title"] for row in ads).items() if n > 1] == []
    for row in ads:
        assert set(row) <= FIELDS, row["ad_id"]
        assert row["landing_url"].startswith("https://example.com/"), row["ad_id"]
        assert row["description"] and row["brand"], row["ad_id"]
        assert 0.5 <= row["bid_cpm"] <= 20, row["ad_id"]
        assert all(type(value) in (str, int, float) for value in row["attributes"].values()), row["ad_id"]


def test_no_two_descriptions_share_most_of_their_five_grams(ads: list[dict[str, Any]]) -> None:
    pieces = [(row["ad_id"], grams(row["description"])) for row in ads]
    assert min(len(piece) for _, piece in pieces) >= 20
    alike = [(a, b) for (a, one), (b, other) in combinations(pieces, 2) if containment(one, other) >= 0.6]
    assert alike == []


def test_five_gram_containment_sees_a_copy() -> None:
    text = grams("一卷 36 张的胶片怎么拍完，从装片讲起")
    assert containment(text, grams("一卷 36 张的胶片怎么拍完，从装片讲起，再到冲洗")) == 1.0
    assert containment(text, grams("Two line cooks take one technique apart")) == 0.0


@pytest.mark.parametrize(
    ("ad_id", "title"),
    [
        ("ec-zh-phone-a", "最新款智能手机，限时优惠！"),
        ("ec-zh-watch-b", "时尚手表，品质生活必备！"),
        ("he-zh-bp-checkup", "定期体检，预防高血压"),
    ],
)
def test_required_ads(ads: list[dict[str, Any]], ad_id: str, title: str) -> None:
    assert [row["title"] for row in ads if row["ad_id"] == ad_id] == [title]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("product", ["phone", "watch"])
def test_enough_phones_and_watches(ads: list[dict[str, Any]], language: str, product: str) -> None:
    assert sum(row["ad_id"].startswith(f"ec-{language}-{product}-") for row in ads) >= 5


def test_courses_have_a_next_course(ads: list[dict[str, Any]]) -> None:
    levels: dict[tuple[str, str], list[int]] = {}
    for row in ads:
        if "series" in row["attributes"] and "level" in row["attributes"]:
            levels.setdefault((row["language"], row["attributes"]["series"]), []).append(row["attributes"]["level"])
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in levels.values()), levels
    for language in ("zh", "en"):
        assert sum(len(found) == 3 for key, found in levels.items() if key[0] == language) >= 4


def test_prices_agree_with_the_description(ads: list[dict[str, Any]]) -> None:
    for row in ads:
        price = row["attributes"].get("price", 0)
        if price and row["campaign_id"] != DEMO:
            assert row["attributes"]["currency"] == ("CNY" if row["language"] == "zh" else "USD"), row["ad_id"]
            assert f"{price:g}" in row["description"].replace(",", ""), row["ad_id"]


def test_only_the_policy_demo_breaks_the_rules(ads: list[dict[str, Any]]) -> None:
    demo = [row for row in ads if row["campaign_id"] == DEMO]
    assert 5 <= len(demo) <= 8
    assert [row["ad_id"] for row in demo if not violations(row)] == []
    assert {row["ad_id"]: violations(row) for row in ads if row["campaign_id"] != DEMO and violations(row)} == {}


def test_dates_are_rfc3339_and_few_have_ended(ads: list[dict[str, Any]]) -> None:
    instants = {
        (row["ad_id"], name): datetime.fromisoformat(row[name])
        for row in ads
        for name in ("start", "end")
        if name in row
    }
    assert all(instant.tzinfo is not None for instant in instants.values())
    opened = datetime(2025, 7, 1, tzinfo=UTC)
    ended = {ad_id for (ad_id, name), instant in instants.items() if name == "end" and instant < opened}
    assert ended == {"ec-zh-fruit-a", "ec-en-sandals-a", "so-zh-game-farm"}
    assert all(
        instant.year >= 2030 for (ad_id, name), instant in instants.items() if name == "end" and ad_id not in ended
    )


def test_parse_ad_accepts_every_row(ads: list[dict[str, Any]]) -> None:
    for index, row in enumerate(ads):
        ad = parse_ad(row, index=index)
        assert isinstance(ad, Ad), (row["ad_id"], ad)
        assert (ad.ad_id, ad.title, ad.description) == (row["ad_id"], row["title"], row["description"])
        assert ad.attributes == row["attributes"]
        cap = row.get("frequency_cap")
        assert ad.frequency_cap == (FrequencyCap(count=cap["count"], hours=cap["hours"]) if cap else None)
        assert (ad.end is None) == ("end" not in row)
