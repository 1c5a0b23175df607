"""Why each shown ad is shown: the part of what is known whose absence would lower its score the most.

A reason is found by ablation: the ad is scored again without one part (an interest, the last items, the page, the step
that comes next in a series, the ads' click rates), and the part that costs the most is named; the next step of a series
before any other, since it says the most. Where nothing lowers it, the ad stands there by default, and the reason says
so. A sensitive interest is never named, and no reason is there for it alone: an ad of the health domain that it brings
is shown by consent, any other is close to what the person looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.categories import tells
from shared.domain import Ad, Interest, Language, Reason
from shared.eligibility import Context
from shared.scoring import Scoring
from shared.snapshot import Snapshot

LEAST = 0.02  # nats of log-odds that a part has to be worth
NAMED = 3  # interests that are tried for one ad, the nearest

_TEXTS: dict[str, tuple[str, str]] = {
    "interest_session": ("因为您刚刚在看“{name}”", "Because you are looking at {name}"),
    "interest_long": ("因为您对“{name}”感兴趣", "Because you are interested in {name}"),
    "consented_content": ("根据您同意的个性化设置推荐", "Based on what you consented to"),
    "next_step": ("您已学内容的下一阶段", "The next step after what you have taken"),
    "related": ("与您近期的浏览相近", "Close to what you have been looking at"),
    "context": ("与您正在浏览的内容相关", "Fits the page you are on"),
    "popular": ("比多数内容更常被点击", "Clicked on more often than most"),
    "general": ("通用推荐，未根据您的兴趣", "A general choice, not based on your interests"),
    "exploring": ("偶尔为您展示新的内容", "Something new now and then"),
}


@dataclass(frozen=True, slots=True)
class Named:
    """A reason and what it is worth: nats of log-odds that the ad would lose without it."""

    reason: Reason
    effect: float


def reasons(
    snapshot: Snapshot,
    scoring: Scoring,
    rows: np.ndarray,
    interests: Sequence[Interest],
    queries: np.ndarray,
    context: Context,
    *,
    explored: Sequence[bool],
) -> list[Named]:
    """One reason for each shown ad (rows). explored: whether the ad is there to be tried rather than as the best."""
    if not len(rows):
        return []
    full = _odds(scoring.without(rows))
    worth: list[dict[str, float]] = [{} for _ in rows]

    def ablate(part: str, odds: np.ndarray) -> None:
        for place, value in enumerate((full - odds).tolist()):
            worth[place][part] = value

    if context.language is not None or context.domain is not None:
        ablate("context", _odds(scoring.without(rows, context=True)))
    ablate("popular", _odds(scoring.without(rows, prior=True)))
    if scoring.knows:
        ablate("next_step", _odds(scoring.without(rows, sequel=True)))
        ablate("related", _odds(scoring.without(rows, history=True)))
    by_interest = _interests_worth(snapshot, scoring, rows, interests, queries, full)
    found = []
    for place, row in enumerate(rows.tolist()):
        ad = snapshot.ads[row]
        parts = dict(worth[place])
        if tells(ad, snapshot.categories[snapshot.category[row]]):
            parts.pop("next_step", None)  # the next step of a treatment says what the first one was
        interest, effect = max(by_interest[place], key=lambda one: one[1], default=(None, 0.0))
        code = max(parts, key=lambda part: parts[part], default="general")
        if parts.get("next_step", 0.0) >= LEAST:
            found.append(Named(_reason("next_step", ad.language), parts["next_step"]))
        elif interest is not None and effect >= max(parts.get(code, 0.0), LEAST):
            found.append(Named(_of_interest(interest, ad), effect))
        elif parts.get(code, 0.0) >= LEAST:
            found.append(Named(_reason(code, ad.language), parts[code]))
        else:
            found.append(
                Named(_reason("exploring" if explored[place] and scoring.knows else "general", ad.language), 0.0)
            )
    return found


def _interests_worth(
    snapshot: Snapshot,
    scoring: Scoring,
    rows: np.ndarray,
    interests: Sequence[Interest],
    queries: np.ndarray,
    full: np.ndarray,
) -> list[list[tuple[Interest, float]]]:
    """For each ad the interests that may have brought it, with what each is worth to it.

    An interest and its session's are two in the list, but one to a person: they are taken away together, and the one
    that is nearer gives the name.
    """
    worth: list[list[tuple[Interest, float]]] = [[] for _ in rows]
    if not interests:
        return worth
    cosines = snapshot.vectors[rows] @ queries.T
    categories = [snapshot.categories[category] for category in snapshot.category[rows].tolist()]
    wanted: dict[str, list[int]] = {}
    for place, category in enumerate(categories):
        near = np.argsort(-cosines[place], kind="stable")[:NAMED].tolist()
        near += [number for number, one in enumerate(interests) if one.id == category]
        for interest_id in {interests[number].id for number in near}:
            wanted.setdefault(interest_id, []).append(place)
    for interest_id, places in sorted(wanted.items()):
        numbers = [number for number, one in enumerate(interests) if one.id == interest_id]
        loss = full[places] - _odds(scoring.without(rows[places], interests=numbers))
        for place, value in zip(places, loss.tolist(), strict=True):
            best = max(numbers, key=lambda number: (cosines[place, number], interests[number].term == "session"))
            worth[place].append((interests[best], value))
    return worth


def _of_interest(interest: Interest, ad: Ad) -> Reason:
    if interest.sensitive:
        return _reason("consented_content" if ad.domain == "health" else "related", ad.language)
    code = f"interest_{interest.term}"
    return Reason(code, _text(code, ad.language).format(name=interest.name[ad.language]), interest.id)


def words(reason: Reason, interests: Sequence[Interest]) -> dict[str, str]:
    """A reason's text in both languages. interests: among which its own is, where it names one."""
    zh, en = _TEXTS[reason.code]
    names = next((one.name for one in interests if one.id == reason.interest_id and not one.sensitive), {})
    return {"zh": zh.format(name=names.get("zh", "")), "en": en.format(name=names.get("en", ""))}


def _reason(code: str, language: Language) -> Reason:
    return Reason(code, _text(code, language))


def _text(code: str, language: Language) -> str:
    return _TEXTS[code][0 if language == "zh" else 1]


def _odds(probabilities: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p / (1 - p)))
