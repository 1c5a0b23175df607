"""A personalised answer beside its twin, which knows nothing of the person, with the difference explained.

The twin is what ``personalised: false`` would have answered at that moment. Both are drawn by the same numbers, so that
chance alone makes no difference between them; where an ad is there to be tried, its explanation says so. No explanation
tells of a sensitive interest: it goes by the reasons that the answer itself gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.categories import tells
from shared.domain import Decision, Interest, RankedAd
from shared.reasons import words
from shared.snapshot import Snapshot

Texts = dict[str, str]  # by language

PERSONAL = frozenset({"interest_session", "interest_long", "consented_content", "next_step", "related"})  # reasons
_TEXTS: dict[str, tuple[str, str]] = {
    "because": ("{reason}，所以它在个性化结果中", "Chosen for you: {reason}"),
    "targeted": ("投放对象与您的兴趣或人群相符", "Its advertiser asked for people with your interests"),
    "consent": ("这类内容只在您同意后展示", "Content of this kind is only shown to people who agreed to it"),
    "room": ("补上个性化后空出的位置", "Took a place that personalisation left free"),
    "had": ("您已拥有或正在使用，不再重复推荐", "You have it already"),
    "gave_way": ("让位给与您更相关的内容", "Gave way to what fits you better"),
    "exploring": ("偶尔展示的新内容，与您的兴趣无关", "There to be tried, whoever asks"),
    "rose": ("{reason}，所以排位上升", "Moved up: {reason}"),
    "shifted": ("其他内容的排位变化使它随之移动", "Moved as others did"),
}
_SUMMARIES: dict[str, tuple[str, str]] = {
    "minor": ("未成年人只会看到与页面相关的广告，两者相同", "Minors get contextual ads only: both are the same"),
    "unknown": (
        "没有可以使用的个人信息，两者相同",
        "Nothing is known that may be used, so both are the same",
    ),
    "refused": ("本次未使用个人信息，两者相同", "No personal information was used, so both are the same"),
    "same": ("使用了个人信息，但结果相同", "What is known was used, and changed nothing"),
    "different": (
        "{same} 条相同，{moved} 条位置不同，{own} 条因个性化而出现",
        "{same} the same, {moved} in another place, {own} there by personalisation",
    ),
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two answers. tried: ids of the ads that are there to be tried rather than as the best. allowed: mask
    (n,) over the snapshot's ads."""

    ads: tuple[RankedAd, ...]
    tried: frozenset[str]
    allowed: np.ndarray


@dataclass(frozen=True, slots=True)
class Moved:
    """An ad of both answers in different slots, from 1: `before` in the twin, `after` in the answer."""

    ad_id: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Explained:
    """Why an ad is in one answer alone, or in another slot."""

    ad_id: str
    code: str
    text: Texts


@dataclass(frozen=True, slots=True)
class Difference:
    """same: how many ads stand in the same slot of both. explained: each of the others once."""

    same: int
    only_personalised: tuple[str, ...]
    only_twin: tuple[str, ...]
    moved: tuple[Moved, ...]
    explained: tuple[Explained, ...]
    text: Texts


@dataclass(frozen=True, slots=True)
class Compared:
    """A decision, and the ads of its twin, which was neither stored nor logged and took nothing of any budget."""

    decision: Decision
    twin: tuple[RankedAd, ...]
    difference: Difference


def alike(decision: Decision, why: str) -> Compared:
    """A decision that is its own twin. why: ``minor``, ``refused`` or ``unknown``."""
    return Compared(decision, decision.ads, Difference(len(decision.ads), (), (), (), (), _texts(_SUMMARIES, why)))


def difference(snapshot: Snapshot, own: Side, twin: Side, interests: Sequence[Interest]) -> Difference:
    """How the answer (`own`) differs from its twin. interests: those that the answer went by."""
    slots = {ad.ad_id: slot for slot, ad in enumerate(own.ads, start=1)}
    before = {ad.ad_id: slot for slot, ad in enumerate(twin.ads, start=1)}
    moved = tuple(Moved(ad, before[ad], slots[ad]) for ad in slots if ad in before and before[ad] != slots[ad])
    only_own = tuple(ad for ad in slots if ad not in before)
    only_twin = tuple(ad for ad in before if ad not in slots)
    shown = {ad.ad_id: ad for ad in own.ads}
    explained = [_here(snapshot, shown[ad], own, twin, interests) for ad in only_own]
    explained += [_gone(snapshot, ad, own, twin) for ad in only_twin]
    explained += [_moved(one, shown[one.ad_id], interests) for one in moved]
    same = len(slots) - len(moved) - len(only_own)
    changed = bool(moved or only_own or only_twin)
    summary = "different" if changed else "same" if interests else "unknown"
    text = _texts(_SUMMARIES, summary, same=same, moved=len(moved), own=len(only_own))
    return Difference(same, only_own, only_twin, moved, tuple(explained), text)


def _here(snapshot: Snapshot, ad: RankedAd, own: Side, twin: Side, interests: Sequence[Interest]) -> Explained:
    row = snapshot.places[ad.ad_id]
    if not twin.allowed[row]:
        return _explained(ad.ad_id, "consent" if snapshot.ads[row].domain == "health" else "targeted")
    if ad.ad_id in own.tried:
        return _explained(ad.ad_id, "exploring")
    if ad.reasons[0].code in PERSONAL:
        return _explained(ad.ad_id, "because", words(ad.reasons[0], interests))
    return _explained(ad.ad_id, "room")


def _gone(snapshot: Snapshot, ad_id: str, own: Side, twin: Side) -> Explained:
    row = snapshot.places[ad_id]
    ad, category = snapshot.ads[row], snapshot.categories[snapshot.category[row]]
    if not own.allowed[row] and not tells(ad, category):
        return _explained(ad_id, "had")
    return _explained(ad_id, "exploring" if ad_id in twin.tried else "gave_way")


def _moved(one: Moved, ad: RankedAd, interests: Sequence[Interest]) -> Explained:
    if one.after < one.before and ad.reasons[0].code in PERSONAL:
        return _explained(one.ad_id, "rose", words(ad.reasons[0], interests))
    return _explained(one.ad_id, "shifted")


def _explained(ad_id: str, code: str, reason: Texts | None = None) -> Explained:
    text = _texts(_TEXTS, code)
    if reason is not None:
        text = {language: text[language].format(reason=reason[language]) for language in text}
    return Explained(ad_id, code, text)


def _texts(table: dict[str, tuple[str, str]], code: str, **counts: int) -> Texts:
    zh, en = table[code]
    return {"zh": zh.format(**counts), "en": en.format(**counts)} if counts else {"zh": zh, "en": en}
