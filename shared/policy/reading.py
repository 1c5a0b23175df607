"""Weighs what the ledger's rules found against what a reader (`shared.models.reader`) makes of the same text.

Rules know figures and fixed terms, and miss who does what to what; the reader judges that, and is no good at sums. A
logistic regression on labelled lines that neither was made with says what each is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.domain import Claim

VERSION = "3"  # of the readers and their weights; texts that another one judged are looked at again
READING = "reading"  # the support of a claim that rules found none for, and the reader did
JUDGE = "judge"  # the same, where a language model did
STATEMENT = "statement"  # the kind of a claim that the reader found
Doubted = tuple[float, tuple[int, int]]
QUANTITIES = ("number", "price", "percent", "discount", "duration", "measure", "ordinal", "multiple", "age")
FIGURES = frozenset((*QUANTITIES, "date", "time", "rank"))
WORDS = frozenset(("feature", "name", "material"))
# What rules are sure of, and nobody should read otherwise.
FIRM = frozenset(("illegible", "price", "percent", "discount", "rank", "certification"))
SIGNS = ("logit", "any", "several", "figure", "term", "silent")


def signs(logit: float, claims: Sequence[Claim]) -> tuple[float, ...]:
    """What is weighed of a text, in the order of `SIGNS`: the reader's logit, whether rules found anything unsupported,
    several things, a figure, a fixed term, and whether they found no claim at all."""
    false = [claim for claim in claims if claim.support is None]
    kinds = {claim.kind for claim in false}
    return (
        max(-12.0, min(12.0, logit)),
        float(bool(false)),
        float(len(false) > 1),
        float(bool(kinds & FIGURES)),
        float(bool(kinds - FIGURES - WORDS)),
        float(not claims),
    )


def doubt(logit: float, claims: Sequence[Claim], weights: Mapping[str, float]) -> float:
    """Log-odds that the text states what the ad does not say, without end where a firm rule says so; `weights`: of
    `SIGNS`, and ``bias``."""
    if any(claim.support is None and claim.kind in FIRM for claim in claims):
        return math.inf
    return weights["bias"] + sum(weights[name] * sign for name, sign in zip(SIGNS, signs(logit, claims), strict=True))


def weighed(
    claims: Sequence[Claim],
    text: str,
    doubted: Doubted,
    weights: Mapping[str, float],
    *,
    strict: bool = False,
) -> list[Claim]:
    """The claims after both were heard, in the order of the text. doubted: the reader's logit, and the characters that
    it doubts most.

    Where the text is believed, what rules found no support for is supported by reading it. Where it is not, and rules
    found nothing, the words that the reader doubts are a claim without support. strict: of a model's text there is
    another threshold, since it is plainer and there are others to choose from, and nothing is supported by reading it.
    """
    logit, span = doubted
    believed = doubt(logit, claims, weights) <= weights["strict" if strict else "threshold"]
    return _heard(claims, text, None if believed else span, READING, strict=strict)


def judged(claims: Sequence[Claim], text: str, doubted: tuple[int, int] | None, *, strict: bool = False) -> list[Claim]:
    """The claims after a language model was asked about the text, as `weighed`. doubted: the characters that it says
    the ad does not support; None: it says that the ad supports all of it. What rules are sure of it cannot take back.
    """
    firm = any(claim.support is None and claim.kind in FIRM for claim in claims)
    return list(claims) if firm else _heard(claims, text, doubted, JUDGE, strict=strict)


def _heard(
    claims: Sequence[Claim], text: str, doubted: tuple[int, int] | None, support: str, *, strict: bool
) -> list[Claim]:
    if doubted is not None:
        start, end = doubted if doubted[0] < doubted[1] else (0, len(text))
        unsupported = any(claim.support is None for claim in claims)
        found = [] if unsupported else [Claim((start, end), text[start:end], STATEMENT, None)]
        return sorted([*claims, *found], key=lambda claim: claim.span)
    if strict:
        return list(claims)
    return [replace(claim, support=claim.support or support) for claim in claims]
