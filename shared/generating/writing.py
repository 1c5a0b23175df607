"""Candidates to copy: ask the model, gate what comes, and go down the ladder where nothing is left.

llm -> bank (copy for anyone) or segment (copy for a segment) -> template -> advertiser's own text. Every copy names its
rung. A dead or slow model is never an error of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np

from shared.domain import Ad, Claim, Copy, Language, RejectedCopy
from shared.errors import ModelUnavailable
from shared.generating.gate import Gate, Passed, tidy
from shared.generating.prompts import Prompt, build_prompt, may_generate, prompt_version
from shared.generating.requests import Brief, CopyResult
from shared.generating.templates import fill_templates, templates_version
from shared.generating.width import display_width
from shared.models.generator import TextGenerator
from shared.policy.claims import claims_version
from shared.policy.rules import channels, packs_version
from shared.preprocess import match_key
from shared.stores.copies import ANYONE
from shared.telemetry import MetricUnit, logger, metrics

CANDIDATES = 8  # asked of the model for a light request
MAX_CANDIDATES = 100
BANKED = 8
LEAST_SECONDS = 2.0  # under which the model is not asked any more
LABEL = {"zh": "内容由AI生成", "en": "AI-generated"}


class Bank(Protocol):
    """Where gated copy is kept (`shared.stores.copies.Copies`)."""

    def bank_get(self, tenant: str, ad_id: str, segment: str, language: str) -> list[Copy]: ...

    def bank_put(self, tenant: str, ad_id: str, segment: str, language: str, copies: Sequence[Copy]) -> None: ...


class Writer:
    """Writes the copies of a brief. `versions`: of the models; `model`: what generates; both for the answer."""

    def __init__(
        self,
        gate: Gate,
        bank: Bank,
        generator: TextGenerator | None,
        *,
        model: str,
        versions: Callable[[], Mapping[str, str]],
    ) -> None:
        self._gate = gate
        self._bank = bank
        self._generator = generator
        self._model = model
        self._versions = versions

    def write(self, tenant: str, brief: Brief, budget: float) -> CopyResult:
        """Asks the model within `budget` seconds, gates, and fills up from the lower rungs."""
        texts: list[str] = []
        notice = None
        if not may_generate(brief.ad):
            notice = "in this domain nothing is generated freely"
        elif self._generator is None:
            notice = "no language model is configured"
        elif budget < LEAST_SECONDS:
            notice = "too little time for the language model"
        else:
            prompt = prompt_of(brief)
            try:
                texts = self._generator.complete(
                    prompt.messages,
                    n=asked(brief.n),
                    temperature=prompt.temperature,
                    max_tokens=prompt.max_tokens,
                    timeout=budget,
                    stop=prompt.stop,
                )
            except ModelUnavailable as error:
                notice = error.detail
                metrics.add_metric(name="ModelUnavailable", unit=MetricUnit.Count, value=1)
                logger.warning("language model unavailable", extra={"detail": error.detail})
        return self.answer(tenant, brief, texts, self._model, notice)

    def answer(
        self, tenant: str, brief: Brief, texts: Sequence[str], model: str, notice: str | None = None
    ) -> CopyResult:
        """Gates what `model` wrote, banks what may be banked, and fills up from the lower rungs."""
        width = channels()[brief.channel].width
        vectors = _vectors(brief.interest_vectors)
        passed, rejected = self._gate.sieve(texts, brief.ad, brief.language, width=width, interests=vectors)
        written = [self._generated(one, brief.language, model) for one in passed]
        banked, refused = self.banked(tenant, brief, BANKED)
        rejected += refused
        if brief.bank is not None and written:
            self._keep(tenant, brief, brief.bank, written, banked)
        copies = _distinct([*written, *banked])[: brief.n]
        if len(copies) < brief.n:
            filled, refused = self._filled(brief, brief.n, width)
            copies = _distinct([*copies, *filled])[: brief.n]
            rejected += refused
        if not copies:
            own, refused = self._advertiser(brief.ad, width)
            copies = own
            rejected += refused
        return CopyResult(tuple(copies), tuple(rejected), self.versions(), len(texts), notice)

    def versions(self) -> dict[str, str]:
        """Of everything that had a say in a copy."""
        return dict(self._versions()) | {
            "generator": self._model,
            "prompt": prompt_version(),
            "templates": templates_version(),
            "claims": claims_version(),
            "policy": packs_version(),
        }

    def _generated(self, one: Passed, language: Language, model: str) -> Copy:
        provenance = {
            "generator": "llm",
            "model": model,
            "prompt_version": prompt_version(),
            "human_review": "none",
            "match": round(one.match, 4),
        }
        return Copy(one.text, language, "llm", one.claims, LABEL, provenance)

    def banked(self, tenant: str, brief: Brief, limit: int) -> tuple[list[Copy], list[RejectedCopy]]:
        """Banked copy that still holds: the ad's facts or the rules may have changed since it was written."""
        found: list[Copy] = []
        rejected: list[RejectedCopy] = []
        width = channels()[brief.channel].width
        for segment in brief.segments:
            for copy in self._bank.bank_get(tenant, brief.ad.ad_id, segment, brief.language):
                if display_width(copy.text) > width:
                    continue
                reasons, claims = self._gate.reasons(copy.text, brief.ad, brief.language, width=width)
                if reasons:
                    rejected.append(RejectedCopy(copy.text, tuple(reasons)))
                    continue
                found.append(replace(copy, served_by=_rung(segment), claims=tuple(claims)))
        return _distinct(found)[:limit], rejected

    def _keep(self, tenant: str, brief: Brief, segment: str, written: list[Copy], banked: list[Copy]) -> None:
        kept = [copy for copy in banked if copy.served_by == _rung(segment)]
        best = sorted(_distinct([*written, *kept]), key=lambda copy: -copy.provenance.get("match", 0.0))[:BANKED]
        self._bank.bank_put(tenant, brief.ad.ad_id, segment, brief.language, best)

    def _filled(self, brief: Brief, n: int, width: int) -> tuple[list[Copy], list[RejectedCopy]]:
        copies: list[Copy] = []
        rejected: list[RejectedCopy] = []
        for text in fill_templates(brief.ad, brief.language, n + 4, width=width):
            reasons, claims = self._gate.reasons(text, brief.ad, brief.language, width=width)
            if reasons:
                rejected.append(RejectedCopy(text, tuple(reasons)))
                continue
            provenance = {"generator": "template", "prompt_version": templates_version(), "human_review": "none"}
            copies.append(Copy(text, brief.language, "template", tuple(claims), None, provenance))
        return copies[:n], rejected

    def _advertiser(self, ad: Ad, width: int) -> tuple[list[Copy], list[RejectedCopy]]:
        """The advertiser's own words, in the ad's own language; a title that the law forbids is not shown either."""
        rejected: list[RejectedCopy] = []
        for own in (ad.title, ad.description):
            text = _cut(tidy(own, ad, ad.language), width)
            if not text:
                continue
            reasons, claims = self._gate.reasons(text, ad, ad.language, width=width)
            lawful = [reason for reason in reasons if reason.startswith("policy")]
            if lawful:
                rejected.append(RejectedCopy(text, tuple(lawful)))
                continue
            return [
                Copy(text, ad.language, "advertiser", _supported(claims), None, {"generator": "advertiser"})
            ], rejected
        return [], rejected


def prompt_of(brief: Brief) -> Prompt:
    """The prompt for a brief: of the reader, only the names of general interests enter it."""
    return build_prompt(brief.ad, brief.language, interests=brief.audience, width=channels()[brief.channel].width)


def _rung(segment: str) -> Literal["bank", "segment"]:
    return "bank" if segment == ANYONE else "segment"


def _cut(text: str, width: int) -> str:
    """The text, or as many of its words (characters where it has none) as fit `width` columns, with an ellipsis."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 2:
        text = text.rpartition(" ")[0] if " " in text[:width] and text.isascii() else text[:-1]
    return f"{text.rstrip(',，、;；:： ')}…" if text else ""


def _supported(claims: list[Claim]) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if claim.support is not None)


def asked(n: int) -> int:
    """Candidates for n copies: the gate refuses more than half of what a small model writes."""
    return max(CANDIDATES, min(2 * n, MAX_CANDIDATES))


def _distinct(copies: Sequence[Copy]) -> list[Copy]:
    first: dict[str, Copy] = {}
    for copy in copies:
        first.setdefault(match_key(copy.text), copy)
    return list(first.values())


def _vectors(packed: Sequence[str]) -> Any:
    if not packed:
        return None
    return np.stack([np.frombuffer(bytes.fromhex(one), np.float16) for one in packed]).astype(np.float32)
