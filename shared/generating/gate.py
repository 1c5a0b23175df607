"""The gate: what a written text must pass before anybody sees it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.domain import Ad, Claim, Classification, Finding, Language, RejectedCopy
from shared.generating.prompts import repeats_example
from shared.generating.width import display_width
from shared.models.taxonomy import load_taxonomy
from shared.policy.claims import trace_claims, unsupported
from shared.preprocess import clean_text, match_key, near_duplicates, to_simplified

# Cosines of the encoder between a copy and its ad, by the copy's language: from ABOUT on (what 1 in 100 copies reaches
# with somebody else's ad) a copy is about the ad; from NEAR on (1 in 10), if it also falls into the ad's top category.
ABOUT: dict[Language, float] = {"zh": 0.89, "en": 0.84}
NEAR: dict[Language, float] = {"zh": 0.87, "en": 0.82}
SAME = 0.7  # Jaccard of 5-grams from which two copies are one
_LABELS = re.compile(
    r"^(?:\d+[.、)](?!\d)\s*|[-•*]\s*|(?:广告文案|广告语|文案|标语|Ad|Copy|Headline|Slogan)\s*[:：]\s*)+", re.I
)
_LEAKS = re.compile(
    r"(?:商品|卖点|读者喜欢|广告文案)\s*[:：]|\b(?:Product|Features|Readers like)\s*:|<[^>]{1,20}\|?>|https?://", re.I
)
_FOREIGN = re.compile(r"[\u3040-\u30ff\uac00-\ud7af\u0400-\u04ff\u0600-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u0590-\u05ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_BROKEN = re.compile(r"[,，、:：;；（(\-–—]$|\b(?:and|or|the|a|an|of|with|for|to|in|is|are|by)$", re.I)
_STRAY = re.compile(r"[\ufffd_#{}\[\]<>|\\]")


class Encoder(Protocol):
    def encode(self, texts: Sequence[str], kind: Literal["query", "passage"] = "query") -> NDArray[np.float32]: ...


class Classifier(Protocol):
    def classify_vectors(self, vectors: NDArray[np.float32], top: int = 3) -> list[Classification]: ...


Check = Callable[..., list[Finding]]


@dataclass(frozen=True, slots=True)
class Passed:
    """A text that may be shown, with its claims and how well it matches."""

    text: str
    claims: tuple[Claim, ...]
    match: float


class Gate:
    """Checks texts against an ad. `check` is the policy check (`shared.policy.rules.check`)."""

    def __init__(self, encoder: Callable[[], Encoder], classifier: Callable[[], Classifier], check: Check) -> None:
        self._encoder = encoder
        self._classifier = classifier
        self._check = check

    def sieve(
        self,
        candidates: Sequence[str],
        ad: Ad,
        language: Language,
        *,
        width: int,
        interests: NDArray[np.float32] | None = None,
    ) -> tuple[list[Passed], list[RejectedCopy]]:
        """The candidates that may be shown, best match first, and the others with every reason.

        interests: float32 (m, 384), unit length: what the reader cares about; counts a little in the order.
        """
        rejected: list[RejectedCopy] = []
        kept: list[tuple[str, list[Claim]]] = []
        seen: set[str] = set()
        for candidate in candidates:
            text = tidy(candidate, ad, language)
            reasons, claims = self.reasons(text, ad, language, width=width)
            if repeats_example(text, ad, language):
                reasons.append("repeats an example of the prompt")
            if match_key(text) == match_key(ad.title):
                reasons.append("only repeats the title")
            if match_key(text) in seen:
                reasons.append("repeats another candidate")
            if reasons:
                rejected.append(RejectedCopy(text, tuple(reasons)))
                continue
            seen.add(match_key(text))
            kept.append((text, claims))
        passed: list[Passed] = []
        for (text, claims), (match, about) in zip(
            kept, self._matches([text for text, _ in kept], ad, language, interests), strict=True
        ):
            if about:
                passed.append(Passed(text, tuple(claims), match))
            else:
                rejected.append(RejectedCopy(text, ("is not about the ad",)))
        passed.sort(key=lambda one: -one.match)
        first = near_duplicates([one.text for one in passed], SAME)
        rejected += [
            RejectedCopy(one.text, ("repeats another candidate",))
            for place, one in enumerate(passed)
            if first[place] != place
        ]
        return [one for place, one in enumerate(passed) if first[place] == place], rejected

    def reasons(self, text: str, ad: Ad, language: Language, *, width: int) -> tuple[list[str], list[Claim]]:
        """Why a text may not be shown (nothing: it may), and its claims. Needs no model."""
        reasons = form_problems(text, language, width)
        claims = trace_claims(text, ad)
        reasons += [f"unsupported {claim.kind}: {claim.text}" for claim in unsupported(claims)]
        names = [name for name in (ad.brand, str(ad.attributes.get("model", ""))) if name]
        reasons += [
            f"policy {finding.rule}: {text[finding.start : finding.end]} ({finding.citation})"
            for finding in self._check(text, ad.domain, names=names)
            if finding.severity == "block"
        ]
        return reasons, claims

    def _matches(
        self, texts: Sequence[str], ad: Ad, language: Language, interests: NDArray[np.float32] | None
    ) -> list[tuple[float, bool]]:
        if not texts:
            return []
        vectors = self._encoder().encode([ad.text, *texts], "query")
        cosines = vectors[1:] @ vectors[0]
        fit = cosines.astype(float)
        if interests is not None and len(interests):
            fit = fit + 0.3 * (vectors[1:] @ interests.T).max(axis=1)
        unsure = [place for place, cosine in enumerate(cosines) if NEAR[language] <= cosine < ABOUT[language]]
        roots = self._roots(vectors[[0, *(place + 1 for place in unsure)]]) if unsure else [None]
        same = {place for place, root in zip(unsure, roots[1:], strict=True) if root is not None and root == roots[0]}
        return [
            (float(fit[place]), bool(cosine >= ABOUT[language] or place in same))
            for place, cosine in enumerate(cosines)
        ]

    def _roots(self, vectors: NDArray[np.float32]) -> list[str | None]:
        tree = load_taxonomy("adproduct")
        roots: list[str | None] = []
        for result in self._classifier().classify_vectors(vectors, top=1):
            roots.append(tree.path(result.labels[0].id)[0].id if result.labels else None)
        return roots


def tidy(candidate: str, ad: Ad, language: Language) -> str:
    """One clean line: labels, list marks, quotes and half sentences off; simplified where the ad is."""
    text = clean_text(candidate.strip().split("\n")[0], 400)
    text = _LABELS.sub("", text).strip(" \"'“”‘’「」『』*")
    text = re.sub(r"([。！？!?，,~…])\1+", r"\1", text)
    if language == "zh":
        text = re.sub(r"(?<=[\u4e00-\u9fff]),(?=\s?[\u4e00-\u9fff])\s?", "，", text)
        if to_simplified(ad.text) == ad.text:
            text = to_simplified(text)
    return text.strip().rstrip(",，、;；:：-–—").rstrip()


def form_problems(text: str, language: Language, width: int) -> list[str]:
    """What is wrong with a text before its meaning is looked at."""
    if not text:
        return ["empty"]
    problems = []
    columns = display_width(text)
    if columns > width:
        problems.append(f"too long: {columns} columns of {width}")
    letters = [char for char in text if char.isalpha()]
    han = len(_HAN.findall(text))
    if language == "zh":
        if han < 4:
            problems.append("too short")
        if _FOREIGN.search(text) or han < 0.6 * len(letters):
            problems.append("not in Chinese")
    else:
        if len(text.split()) < 3:
            problems.append("too short")
        foreign = sum(not char.isascii() for char in letters)
        if han or foreign > 2 or not letters:
            problems.append("not in English")
    if _LEAKS.search(text):
        problems.append("repeats the prompt")
    if _repetitive(text, language):
        problems.append("repetitive")
    if _BROKEN.search(text):
        problems.append("unfinished")
    if _STRAY.search(text) or text.count("(") != text.count(")") or text.count('"') % 2:
        problems.append("stray characters")
    return problems


def _repetitive(text: str, language: Language) -> bool:
    """Whether the text goes round in circles, as small models do."""
    if language == "zh":
        units: list[str] = re.findall(r"[\u3400-\u9fffA-Za-z0-9]", text)
        size = 2
        clauses = [clause for clause in re.split(r"[，。！？、；\s]", text) if clause]
    else:
        units = re.findall(r"[a-z0-9']+", text.lower())
        size = 2
        clauses = [clause.strip().lower() for clause in re.split(r"[,.!?;]", text) if clause.strip()]
    grams = Counter(tuple(units[place : place + size]) for place in range(len(units) - size + 1))
    if grams and max(grams.values()) >= 3:
        return True
    if len(clauses) > len(set(clauses)):
        return True
    return len(grams) >= 6 and len(grams) < 0.75 * grams.total()
