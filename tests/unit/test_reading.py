"""Rules and reader weighed against each other: what is refused, what is let through, and what never changes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import Claim
from shared.policy.claims import unsupported
from shared.policy.reading import FIRM, READING, SIGNS, STATEMENT, VERSION, doubt, signs, weighed
from shared.policy.versions import claims_version

TEXT = "A bright phone that charges at 67 W for $299."
KINDS = ("number", "price", "date", "feature", "name", "superlative", "offer", "illegible")
SPANS = st.tuples(st.integers(0, len(TEXT)), st.integers(0, len(TEXT))).map(lambda ends: (min(ends), max(ends)))
LOGITS = st.floats(-40, 40) | st.sampled_from([-math.inf, math.inf])
AMOUNTS = st.floats(-5, 5)


def claim(span: tuple[int, int], kind: str, support: str | None) -> Claim:
    return Claim(span, TEXT[slice(*span)], kind, support)


def found(kinds: tuple[str, ...] = KINDS) -> st.SearchStrategy[list[Claim]]:
    """What rules find in the text, in its order."""
    one = st.builds(claim, SPANS, st.sampled_from(kinds), st.sampled_from([None, "title", "description"]))
    return st.lists(one, max_size=5).map(lambda claims: sorted(claims, key=lambda each: each.span))


CLAIMS, NOT_FIRM = found(), found(tuple(kind for kind in KINDS if kind not in FIRM))
DOUBTED = st.tuples(LOGITS, SPANS)
WEIGHTS = st.fixed_dictionaries(dict.fromkeys((*SIGNS, "bias", "threshold", "strict"), AMOUNTS))
few = settings(max_examples=60)
EVEN = dict.fromkeys(SIGNS, 0.0) | {"logit": 1.0, "bias": 0.0, "threshold": 0.0, "strict": -1.0}


@few
@given(CLAIMS, DOUBTED, WEIGHTS, st.booleans())
def test_what_rules_found_keeps_its_place_and_what_is_supported_its_support(
    claims: list[Claim], doubted: tuple[float, tuple[int, int]], weights: dict[str, float], strict: bool
) -> None:
    after = weighed(claims, TEXT, doubted, weights, strict=strict)
    assert [one.span for one in after] == sorted(one.span for one in after)
    assert all(one in after for one in claims if one.support is not None)
    assert len(after) - len(claims) in (0, 1)


@few
@given(CLAIMS, DOUBTED, WEIGHTS)
def test_strictly_nothing_is_let_through_that_rules_refuse(
    claims: list[Claim], doubted: tuple[float, tuple[int, int]], weights: dict[str, float]
) -> None:
    after = weighed(claims, TEXT, doubted, weights, strict=True)
    assert all(one in after for one in claims)
    assert all(one.support != READING for one in after)


@few
@given(found(), DOUBTED, WEIGHTS, st.booleans(), SPANS)
def test_what_rules_are_sure_of_stays_refused(
    claims: list[Claim], doubted: tuple[float, tuple[int, int]], weights: dict[str, float], strict: bool, span: tuple
) -> None:
    broken = claim(span, sorted(FIRM)[span[0] % len(FIRM)], None)
    assert broken in weighed([*claims, broken], TEXT, doubted, weights, strict=strict)


@few
@given(NOT_FIRM, DOUBTED, WEIGHTS)
def test_a_text_is_refused_where_it_is_doubted_and_nowhere_else(
    claims: list[Claim], doubted: tuple[float, tuple[int, int]], weights: dict[str, float]
) -> None:
    refused = doubt(doubted[0], claims, weights) > weights["threshold"]
    assert bool(unsupported(weighed(claims, TEXT, doubted, weights))) is refused


@few
@given(NOT_FIRM, DOUBTED, WEIGHTS)
def test_strictly_a_text_is_refused_where_either_refuses_it(
    claims: list[Claim], doubted: tuple[float, tuple[int, int]], weights: dict[str, float]
) -> None:
    refused = doubt(doubted[0], claims, weights) > weights["strict"] or bool(unsupported(claims))
    assert bool(unsupported(weighed(claims, TEXT, doubted, weights, strict=True))) is refused


@few
@given(CLAIMS, LOGITS, LOGITS, WEIGHTS)
def test_doubt_grows_with_the_logit(claims: list[Claim], one: float, other: float, weights: dict[str, float]) -> None:
    weights = weights | {"logit": abs(weights["logit"])}
    low, high = sorted((one, other))
    assert doubt(low, claims, weights) <= doubt(high, claims, weights)


@few
@given(CLAIMS, LOGITS)
def test_every_sign_has_a_name_and_is_finite(claims: list[Claim], logit: float) -> None:
    found = signs(logit, claims)
    assert len(found) == len(SIGNS)
    assert all(math.isfinite(one) for one in found)
    assert set(found[1:]) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ([], {"silent"}),
        ([("price", "title")], set()),
        ([("price", None)], {"any", "figure"}),
        ([("date", None), ("offer", "title")], {"any", "figure"}),
        ([("feature", None)], {"any"}),
        ([("offer", None)], {"any", "term"}),
        ([("offer", None), ("age", None)], {"any", "several", "figure", "term"}),
    ],
)
def test_signs_tell_what_rules_found_no_support_for(claims: list[tuple[str, str | None]], told: set[str]) -> None:
    given = [claim((0, 1), kind, support) for kind, support in claims]
    assert {name for name, sign in zip(SIGNS[1:], signs(0.0, given)[1:], strict=True) if sign} == told


def test_strictly_a_smaller_doubt_is_enough() -> None:
    known = claim((40, 44), "price", "attributes.price")
    assert weighed([known], TEXT, (-0.5, (2, 14)), EVEN) == [known]
    assert weighed([known], TEXT, (-0.5, (2, 14)), EVEN, strict=True) == [claim((2, 14), STATEMENT, None), known]
    assert weighed([known], TEXT, (-1.5, (2, 14)), EVEN, strict=True) == [known]


def test_doubted_words_are_a_statement_unless_rules_refuse_the_text_already() -> None:
    known, false = claim((40, 44), "price", "attributes.price"), claim((31, 35), "measure", None)
    assert weighed([known], TEXT, (2.0, (2, 14)), EVEN) == [claim((2, 14), STATEMENT, None), known]
    assert weighed([false, known], TEXT, (2.0, (2, 14)), EVEN) == [false, known]
    assert [one.support for one in weighed([false, known], TEXT, (-2.0, (2, 14)), EVEN)] == [READING, known.support]


def test_what_is_no_number_is_doubted() -> None:
    assert unsupported(weighed([], TEXT, (math.nan, (2, 14)), EVEN))


def test_texts_are_looked_at_again_after_another_reader() -> None:
    assert f"reading-{VERSION}" in claims_version().split("+")
