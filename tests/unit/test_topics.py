"""What English copy may ask after: things that a firm says one can have of it, by its own names for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Ad
from shared.generating.facts import facts_of, quotations_of
from shared.generating.prompts import build_prompt
from shared.policy.english_called import with_article
from shared.policy.english_topics import topics
from shared.policy.quoting import topics_of
from shared.preprocess import clean_text

HERE = Path(__file__).parent
LONG = (
    "Our company provides freight factoring services to help carriers of every size grow, which means that your"
    " invoices may be paid sooner than those of others, whatever the season."
)


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ("Our company provides freight factoring services to help carriers grow.", ["freight factoring services"]),
        ("We offer a wide range of garden furniture, made by hand in Kent.", ["garden furniture"]),
        ("Northwind is a leading supplier of vacuum gauges and controllers.", ["vacuum gauges and controllers"]),
        ("Our London clinic also offers sports massage, nationwide.", ["sports massage"]),
        ("We're a law firm helping people in need.", ["law firm"]),
        ("We provide cutting edge tax software.", ["tax software"]),
        ("Specialists in roof repairs.", ["roof repairs"]),
        ("Business cards", ["Business cards"]),
        ("We sell sports shoes.", ["sports shoes"]),
        (
            "Our firm specialises in managed IT services, providing network security and disaster recovery in Wales.",
            ["managed IT services", "network security and disaster recovery"],
        ),
        ("Our workshop designs and installs commercial solar systems.", ["commercial solar systems"]),
        ("We are a full service insurance agency offering cover in Ohio.", ["full service insurance agency"]),
        ("Since 1954, our company has been the trusted source for car lifts.", ["car lifts"]),
        ("Month-to-month storage services for small businesses.", ["Month-to-month storage services"]),
        ("We sell car covers, boat covers and motorcycle covers.", ["car covers", "boat covers", "motorcycle covers"]),
        ("We provide interpreting services to companies of all sizes.", ["interpreting services"]),
        (
            "We provide vehicle tracking software for independent couriers and taxi firms.",
            ["vehicle tracking software for independent couriers"],
        ),
        ("Our company, a creative agency based in Leeds.", ["creative agency"]),
        ("Our company is proudly providing courier services in Kent.", ["courier services"]),
        ("We are the largest insurance agency in Ohio.", ["insurance agency"]),
        ("We offer the best practice guides for nurses.", []),
        ("We provide smart and affordable heating controls.", ["heating controls"]),
        (
            "We provide school supplies for public and private schools.",
            ["school supplies for public and private schools"],
        ),
        ("We provide payroll services in the oil and gas industry.", ["payroll services in the oil and gas industry"]),
        ("Our company provides estate planning services.", ["estate planning services"]),
        ("We are planning to sell garden furniture.", []),
        ("We sell New Zealand wines.", ["New Zealand wines"]),  # what looks like praise is a name
    ],
)
def test_what_a_firm_is_or_offers_is_named(description: str, named: list[str]) -> None:
    assert topics(description, "Northwind") == named


@pytest.mark.parametrize(
    "description", ["We offer professional services.", "We're a global firm.", "Ask if we sell tea pots."]
)
def test_what_says_nothing_of_a_thing_is_not_named(description: str) -> None:
    assert topics(description) == []


def test_what_would_mislead_is_not_named() -> None:
    """Each was written by somebody who looked for what passes and is not so; where a topic is given, another may be.
    Whoever is named is the firm, unless another is given."""
    wrong = []
    for line in (HERE / "topics_misleading.en.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        named = topics(row["description"], row.get("firm", row["description"]))
        wrong += [(row["description"], one) for one in named if one == row.get("topic", one)]
    assert wrong == []


@pytest.mark.parametrize(
    "follows",
    [
        "by referral",
        "on joining",
        "with a minimum age",
        "from September",
        "at Oxford University",
        "to the trade",
        "for people with a referral",
        "while stocks last",
        "that need a deposit",
        ", on prescription",
        "(members)",
        "only",
    ],
)
def test_a_condition_that_follows_is_never_left_out(follows: str) -> None:
    assert topics("We provide garden furniture.") == ["garden furniture"]
    assert topics(f"We provide garden furniture {follows}.") == []
    if follows[0].isalpha() and follows != "that need a deposit":
        assert topics(f"We provide garden furniture, {follows}.") == []


@pytest.mark.parametrize("other", ["Members only.", "We are closed.", "All sold out.", "It was discontinued."])
def test_nothing_is_named_that_another_sentence_takes_back(other: str) -> None:
    assert topics(f"We provide garden furniture. {other}") == topics(f"{other} We provide garden furniture.") == []


def described(description: str) -> Ad:
    return Ad(
        ad_id="1",
        title=description[:60].rsplit(" ", 1)[0],
        description=description,
        landing_url="https://example.com/",
        language="en",
        domain="ecommerce",
    )


@pytest.mark.parametrize(
    "text",
    [
        "Looking for freight factoring services? Talk to us.",
        "Need freight factoring services?",
        "Interested in freight factoring services? Find out more.",
    ],
)
def test_a_question_may_ask_after_it(text: str) -> None:
    assert quotations_of(described(LONG), "en").unquoted(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Freight factoring services. Talk to us.",  # it may be had under a condition
        "Meet freight factoring services.",
        "We offer freight factoring services.",
        "Looking for factoring services with freight factoring services?",
        "Looking for freight factoring?",
        "Looking for freight services?",
        "Here are freight factoring services, sound good?",
        "Enjoy freight factoring services today, why wait?",
        "Our freight factoring services, interested?",
    ],
)
def test_nothing_else_may_say_it(text: str) -> None:
    assert quotations_of(described(LONG), "en").unquoted(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"description": LONG + " Freight factoring services are not currently available."},
        {"title": "Northwind (closed)"},
        {"attributes": {"availability": "out of stock"}},
        {"attributes": {"freight factoring": "no"}},
    ],
)
def test_what_the_ad_takes_back_elsewhere_is_not_asked_after(changes: dict[str, Any]) -> None:
    assert topics_of(described(LONG), "en")
    assert topics_of(replace(described(LONG), **changes), "en") == []


def test_a_prompt_names_it_where_there_is_little_to_quote() -> None:
    said: dict[str, Any] = {"sentences": True, "width": 110}
    assert facts_of(described(LONG), "en", **said) == ["freight factoring services"]
    assert "freight factoring services" in build_prompt(described(LONG), "en", style="tuned").messages[-1]["content"]
    much = described("We sell tea. We bake bread. We provide garden furniture to help you rest, whatever may come.")
    assert "garden furniture" in topics(much.description)
    assert "garden furniture" not in facts_of(much, "en", **said)


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ("We are a law firm in Kent.", "a law firm"),
        ("We are a leading property development company.", "a property development company"),
        ("We are a unique interior design agency.", "an interior design agency"),
        ("We are a leading European law firm.", "European law firm"),
        ("We are a trusted used book dealer.", "used book dealer"),
        ("We offer a range of garden furniture.", "garden furniture"),
        ("A leading once-a-week tax advice firm.", "once-a-week tax advice firm"),
        ("Law firm in Kent, not a bad law firm.", "a law firm"),
        ("Staffing agency for schools.", "a staffing agency for schools"),
        ("The Denver fence company", "a Denver fence company"),
        ("The Ohio insurance agency", "an Ohio insurance agency"),
        ("Leeds's own law firm", "Leeds's own law firm"),
        ("SEO agency in Kent", "SEO agency"),  # how it is said its letters do not tell
        ("Law firms in Kent, and a bar.", "law firms in Kent"),
    ],
)
def test_a_question_names_it_with_its_article(description: str, named: str) -> None:
    assert with_article(named.removeprefix("a ").removeprefix("an "), description) == named


def test_it_is_of_english_alone() -> None:
    assert topics_of(described("We provide garden furniture."), "en") == ["garden furniture"]
    assert topics_of(described("我们供应园艺家具。"), "zh") == []


WORDS = [
    "we",
    "offer",
    "Our company",
    "is a",
    "supplier of",
    "garden",
    "chairs",
    "and",
    ",",
    "for",
    "the",
    ".",
    "(",
    "x",
]


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=200))
def test_any_text_is_read_and_every_name_stands_in_it(text: str) -> None:
    description = clean_text(text)
    assert all(one in description and len(one.split()) > 1 for one in topics(description))


@pytest.mark.parametrize("atom", ["we offer ", "garden chairs, ", "Our ", "is one of ", "for all "])
def test_of_a_long_text_nothing_is_named_by_halves(atom: str) -> None:
    long = f"We provide {atom * 5000}"
    assert topics(long) == []
    assert topics(f"{long}. We provide garden chairs. {long}") == ["garden chairs"]
