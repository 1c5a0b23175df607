"""What an English sentence says that its firm offers or is, which copy may quote without who says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.domain import Ad
from shared.generating.facts import facts_of, quotations_of, quoted_title
from shared.policy.english_offers import offers
from shared.policy.english_quotes import offered
from shared.policy.quoting import quotable
from shared.preprocess import parse_ad

HERE = Path(__file__).parent


def ad_of(description: str, title: str = "Northwind") -> Ad:
    return Ad(
        ad_id="a",
        title=title,
        description=description,
        landing_url="https://example.com/",
        language="en",
        domain="ecommerce",
    )


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        (
            "We sell moving boxes in four sizes, from Monday to Friday",
            "moving boxes in four sizes, from Monday to Friday",
        ),
        ("Our company is a law firm in Leeds that works for tenants", "a law firm in Leeds that works for tenants"),
        ("We're one of the oldest bakeries and a family business", "one of the oldest bakeries and a family business"),
        ("Our shop also sells bicycle parts, lamps and more", "bicycle parts, lamps and more"),
        ("Here at our clinic, we provide physiotherapy after an operation", "physiotherapy after an operation"),
        ("Northwind manufactures parts for garages all over Wales", "parts for garages all over Wales"),
        ("Northwind is a planning app for small kitchens", "a planning app for small kitchens"),
        ("Our company provides IT support that lets you sleep", "IT support that lets you sleep"),
    ],
)
def test_who_offers_a_thing_is_left_out_and_all_that_follows_stays(sentence: str, told: str) -> None:
    assert offers(sentence, "Northwind") == told


@pytest.mark.parametrize(
    "sentence",
    [
        "At our London shop we sell moving boxes in four sizes",  # nowhere else
        "Southwind supplies parts to garages in Wales",  # somebody else
        "We no longer sell moving boxes in sizes",
        "We repair phones of all makers",
        "We offer our customers a choice of colours",
        "We provide homeowners with new boilers",
        "We offer homeowners the right boiler",
        "We sell out every single weekend",
        "We offer nothing but plain shirts",
        "We offer to pay half of it",
        "We offer you great coffee in Leeds",
        "We sell boxes: flat, folded, and used",
        "We offer boxes and we fold them",
        "We are a bit late this year",
        "Our company is the largest maker of boxes",
    ],
)
def test_what_is_no_offer_by_itself_is_none(sentence: str) -> None:
    assert offers(sentence, "Northwind") == ""


def test_what_would_mislead_is_not_offered() -> None:
    """Each was written by somebody who looked for what passes and is not so."""
    wrong = []
    for number, line in enumerate((HERE / "offers_misleading.en.jsonl").read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        ad = parse_ad(
            {"ad_id": "a", "landing_url": "https://example.com/", "language": "en", "domain": "ecommerce"} | row,
            index=number,
        )
        assert isinstance(ad, Ad)
        wrong += list(offered(ad).values())
    assert wrong == []


@pytest.mark.parametrize(
    ("copy", "holds"),
    [
        ("Need a hand? Moving boxes in four sizes, from Monday to Friday. Talk to us.", True),
        ("Meet moving boxes in four sizes, from Monday to Friday.", True),
        ("Moving boxes in four sizes.", False),
        ("Moving boxes in four sizes, from Monday.", False),
    ],
)
def test_copy_quotes_it_to_its_end(copy: str, holds: bool) -> None:
    quotations = quotations_of(ad_of("We sell moving boxes in four sizes, from Monday to Friday."), "en")
    assert (quotations.unquoted(copy) == []) is holds


def test_a_prompt_tells_a_long_sentence_by_what_it_offers() -> None:
    ad = ad_of("We provide translation services for hospitals and their patients, at any hour of the day or night.")
    said = "Translation services for hospitals and their patients, at any hour of the day or night"
    assert facts_of(ad, "en", width=110, sentences=True) == [said]
    assert facts_of(ad, "en", width=60, sentences=True) != [said]


def test_a_title_cut_out_of_such_a_sentence_is_what_it_offers() -> None:
    description = "We offer mortgage finance for people who buy a farm or a forest, wherever in Europe."
    assert quoted_title(ad_of(description, title=description[:49])) == "mortgage finance"


@pytest.mark.parametrize(
    ("description", "sentences"),
    [
        ("We run your IT department. Call us.", ["We run your IT department", "Call us"]),
        ("BUY IT NOW. Call us.", ["Call us"]),  # *it* leans on another sentence
        ("We fit kitchens.Our showroom is in Leeds.", ["We fit kitchens", "Our showroom is in Leeds"]),
        ("Taxi rides from St. Pancras. Call us.", ["Taxi rides from St. Pancras", "Call us"]),
        ("Pond filters of all makes excl. Oase.", ["Pond filters of all makes excl. Oase"]),
    ],
)
def test_where_sentences_end_and_which_lean_on_others(description: str, sentences: list[str]) -> None:
    assert quotable(description, "en") == sentences
