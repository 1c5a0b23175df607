"""What a model wrote is read literally: the ad's words, what means the same, and words that state nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Ad
from shared.policy.claims import trace_claims, unsupported
from shared.policy.literal import literal

SHELF: dict[str, Any] = {
    "title": "Tabbyton cat wall shelf",
    "description": "Pine with a sisal mat. Holds 15 kg. Screws included.",
    "language": "en",
    "attributes": {"price": 38, "currency": "USD", "load_kg": 15, "width_cm": 45},
}
NOTES: dict[str, Any] = {
    "title": "活页手账本 A6",
    "description": "内页 100 张，纸重 100 克，六孔活页，58 元。",
    "language": "zh",
    "attributes": {"封面": "帆布", "颜色": "藏青、姜黄"},
}


def added(text: str, facts: dict[str, Any], audience: tuple[str, ...] = ()) -> list[str]:
    """What the ledger and the literal reading refuse."""
    ad = Ad(**{"ad_id": "a", "landing_url": "https://example.com/", "domain": "ecommerce"} | facts)
    claims = trace_claims(text, ad, audience=audience)
    return [claim.text for claim in (*unsupported(claims), *literal(text, ad, claims, audience=audience))]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A sisal mat and a pine shelf? Order a cat wall shelf.", SHELF),
        ("Tabbyton: the cat shelf that holds 15 kg, for $38.", SHELF),
        ("六孔活页，手账本 A6，58 元", NOTES),
        ("帆布封面的手账本，内页 100 张", NOTES),
        ("选藏青还是姜黄？活页手账本等你来写", NOTES),
        ("活页手账本，封面帆布，颜色是姜黄", NOTES),
    ],
)
def test_the_ads_own_words_pass(text: str, facts: dict[str, Any]) -> None:
    assert added(text, facts) == []


@pytest.mark.parametrize(
    ("text", "facts", "said"),
    [
        ("Painted pine with a sisal mat.", SHELF, "Painted"),
        ("A weatherproof shelf for your cat.", SHELF, "weatherproof"),
        ("Order the cat shelf at the hardware store.", SHELF, "hardware"),
        ("The cat wall shelf is 15 kg.", SHELF, "15 kg"),  # what it holds, not what it weighs
        ("帆布封面的手账本，附赠钢笔", NOTES, "钢笔"),
        ("活页手账本 A6，100 克", NOTES, "100 克"),
        ("活页手账本，封面是藏青", NOTES, "封面"),  # the colour, not the cover
        ("活页手账本，颜色都有", NOTES, "颜色"),
    ],
)
def test_what_a_model_adds_is_found(text: str, facts: dict[str, Any], said: str) -> None:
    refused = added(text, facts)
    assert any(said in piece or piece in said for piece in refused), refused


def test_names_of_the_audience_may_be_said() -> None:
    assert "Photography" in added("Photography: a sisal mat.", SHELF)
    assert added("Photography: a sisal mat.", SHELF, ("Photography",)) == []


@pytest.mark.slow
@given(st.text(alphabet="abc 一二猫.，%1$", max_size=40))
def test_any_text_has_a_literal_reading(text: str) -> None:
    added(text, SHELF)
    added(text, NOTES)
