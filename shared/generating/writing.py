"""Candidates to copy: ask the model, gate what comes, and go down the ladder where too little is left.

llm -> bank (copy for anyone) or segment (copy for a segment) -> template -> advertiser's own text. Every copy names its
rung. A dead or slow model is never an error of the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import zip_longest
from typing import TYPE_CHECKING

from shared.domain import Copy, RejectedCopy
from shared.errors import ArtifactError, ModelUnavailable
from shared.generating.constraint import constraint_of
from shared.generating.costs import NO_COST, Cost, call_cost
from shared.generating.examples import Examples
from shared.generating.gate import UNJUDGED, Gate, Passed
from shared.generating.ladder import REVIEWED, Bank, Ladder, distinct
from shared.generating.prompts import USUAL, Styles, build_prompt, may_generate, prompt_version
from shared.generating.provenance import label_of, provenance
from shared.generating.repeats import COPIED, copied_share
from shared.generating.requests import Brief, CopyResult
from shared.generating.templates import templates_version
from shared.generating.width import room_in
from shared.models.generator import ChatRequest, TextGenerator
from shared.policy.versions import claims_version, packs_version
from shared.stores.copies import Banked
from shared.telemetry import MetricUnit, logger, metrics
from shared.trained import Found

if TYPE_CHECKING:
    from shared.models.text_clicks import TextClicks

CANDIDATES = 8  # asked of the model for a light request
MAX_CANDIDATES = 100
ROUNDS = 3  # times that the model is asked while nothing that it wrote may be shown in its own words
LEAST_SECONDS = 2.0  # under which the model is not asked any more
DAY = 86400.0
ENOUGH = 3  # attempts in vain after which a model is not asked again that day
GIVEN_UP = f"the language model was asked {ENOUGH} times today and wrote too little that may be shown: fresh asks again"
NONE_PASSED = "nothing that the language model wrote may be shown: rejected says why"
NOTHING = "nothing of the ad may be shown here: rejected says why"
NOT_IN_IT = "nothing can be said of the ad in the language asked for ({asked}): these are its own words ({own})"
OTHERS = "repeats copy approved for another ad"


def untrained(tenant: str) -> Found[TextClicks]:
    """No tenant has a click model of texts."""
    return Found(None)


class Writer:
    """Writes the copies of a brief.

    versions: of the models. model: what generates; both for the answer. price_per_hour: of the endpoint, USD; 0: not
    known. constrained: decode under the ad's constraint, where the engine has it. text_clicks: a tenant's click model
    of texts, if one was trained.
    """

    def __init__(
        self,
        gate: Gate,
        bank: Bank | None,
        generator: TextGenerator | None,
        *,
        model: str,
        versions: Callable[[], Mapping[str, str]],
        styles: Styles = USUAL,
        examples: Examples | None = None,
        price_per_hour: float = 0.0,
        constrained: bool = False,
        text_clicks: Callable[[str], Found[TextClicks]] = untrained,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._ladder = Ladder(gate, bank, clock)
        self._generator = generator
        self._model = model
        self._versions = versions
        self._styles = styles
        self._examples = examples
        self._price = price_per_hour
        self._constrained = constrained
        self._text_clicks = text_clicks
        self._clock = clock

    @property
    def has_model(self) -> bool:
        """Whether there is a model that writes while one waits."""
        return self._generator is not None

    def asks(self, brief: Brief, budget: float) -> bool:
        """Whether `write` asks the model."""
        return self._generator is not None and may_generate(brief.ad) and budget - self._gate.seconds >= LEAST_SECONDS

    def write(self, tenant: str, brief: Brief, budget: float, *, insist: bool = False) -> CopyResult:
        """Asks the model within `budget` seconds, gates, and fills up from the lower rungs.

        Raises:
            ModelUnavailable: only with `insist`, where the model is down or too slow and may be back later.
        """
        texts: Sequence[str] = ()
        notice, cost = None, NO_COST
        if not may_generate(brief.ad):
            notice = "in this domain nothing is generated freely"
        elif self._generator is None:
            notice = "no language model is configured"
        elif budget - self._gate.seconds < LEAST_SECONDS:
            notice = "too little time for the language model"
        else:
            texts, notice, cost = self._ask(self._generator, tenant, brief, budget - self._gate.seconds, insist=insist)
        return self.answer(tenant, brief, texts, self._model, notice, cost)

    def _ask(
        self, generator: TextGenerator, tenant: str, brief: Brief, budget: float, *, insist: bool
    ) -> tuple[Sequence[str], str | None, Cost]:
        """What the model wrote within `budget` seconds, what went wrong, and what it cost.

        It is asked again for a brief of which it wrote nothing that may be shown, where another round is likely to end
        in time.
        """
        self._gate.warm_meanwhile()
        request = self.request(tenant, brief)
        texts: list[str] = []
        notice, cost = None, NO_COST
        end = time.monotonic() + budget
        for attempt in range(ROUNDS):
            began = time.monotonic()
            try:
                written = generator.complete(request, timeout=end - began)
            except ModelUnavailable as error:
                if insist and not texts:
                    raise
                notice = error.detail
                metrics.add_metric(name="ModelUnavailable", unit=MetricUnit.Count, value=1)
                logger.warning("language model unavailable", extra={"detail": error.detail, "attempt": attempt})
                break
            new = [text for text in written.texts if text not in texts]
            texts += new
            cost += call_cost(written.usage, candidates=request.n)
            if written.cut:
                notice = f"{written.cut} of {request.n} candidates were cut: {written.notice}"
                break
            if attempt + 1 == ROUNDS or not new or self._own_words(brief, texts):
                break
            now = time.monotonic()
            if end - now < max(LEAST_SECONDS, now - began):
                break
        return texts, notice, cost

    def _own_words(self, brief: Brief, texts: Sequence[str]) -> bool:
        """Whether one of the texts may be shown and is no copy of what the advertiser wrote, or none can be judged."""
        passed, _, unjudged = self._sieve(brief, texts, {})
        if unjudged is not None:
            return True
        sources = (brief.ad.title, brief.ad.description)
        return any(copied_share(one.text, sources) < COPIED for one in passed)

    def request(self, tenant: str, brief: Brief) -> ChatRequest:
        """What the model is asked: of the reader, only the names of general interests enter it."""
        prompt = build_prompt(
            brief.ad,
            brief.language,
            style=self._styles.of(brief.adapter),
            interests=brief.audience,
            width=room_in(brief.channel, brief.language),
            approved=self._examples.nearest(tenant, brief) if self._examples is not None else (),
            tone=brief.tone,
            wording=self._gate.wording,
        )
        return ChatRequest(
            prompt.messages,
            n=asked(brief.n),
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
            stop=prompt.stop,
            adapter=brief.adapter,
            constraint=constraint_of(brief.ad, brief.language) if self._constrained else None,
        )

    def from_bank(
        self, tenant: str, brief: Brief, *, read: Banked | None = None, patient: bool = False
    ) -> CopyResult | None:
        """The bank's answer to a brief that is for nobody in particular or one segment; None where it holds fewer than
        n texts that may be shown. Needs no language model.

        Where the model has been asked in vain `ENOUGH` times today, nothing new is to be expected of it, and every
        request would pay for it again: the lower rungs then fill up what the bank has. patient: not yet. read: what
        the bank holds, where it has been read.
        """
        found = self._ladder.banked(tenant, brief, segments=brief.segments[:1], exact=True, read=read)
        if len(found.copies) >= brief.n:
            return CopyResult(
                found.copies[: brief.n], found.rejected, self.versions(brief.adapter), notice=brief.notice
            )
        if patient or found.tried.get(self._attempt(brief), 0) < ENOUGH:
            return None
        return self.answer(tenant, brief, (), self._model, GIVEN_UP)

    def _attempt(self, brief: Brief) -> str:
        """What has to be the same for the model to write no better: today, and all that it and the gate go by."""
        parts = [
            str(int(self._clock() // DAY)),
            *self._gate.stamp(brief.ad).values(),
            self._model,
            self._prompt(brief.adapter),
            brief.channel,
            brief.tone or "",
            brief.adapter or "",
        ]
        return blake2b("|".join(parts).encode(), digest_size=8).hexdigest()

    def has_banked(self, tenant: str, brief: Brief) -> bool:
        """Whether the bank has anything at all for the brief."""
        return bool(self._ladder.banked(tenant, brief).copies)

    def answer(
        self,
        tenant: str,
        brief: Brief,
        texts: Sequence[str],
        model: str,
        notice: str | None = None,
        cost: Cost = NO_COST,
    ) -> CopyResult:
        """Gates what `model` wrote, banks what may be banked, and fills up from the lower rungs."""
        banked = self._ladder.banked(tenant, brief)
        refused = dict.fromkeys(banked.refused, REVIEWED)
        if texts and self._examples is not None:
            refused = dict.fromkeys(self._examples.others(tenant, brief), OTHERS) | refused
        passed, rejected, unjudged = self._sieve(brief, texts, refused)
        passed, predicted, judged_by = self._by_clicks(tenant, passed)
        written = self._generated(brief, passed, predicted, judged_by.get("text_clicks"), model)
        rejected += banked.rejected
        if brief.bank is not None and written:
            self._ladder.keep(tenant, brief, brief.bank, written, banked.refused)
        if brief.bank is not None and texts and len(written) < brief.n and unjudged is None:
            self._ladder.count_attempt(tenant, brief, brief.bank, self._attempt(brief))
        copies = distinct([*written, *banked.copies])[: brief.n]
        if len(copies) < brief.n:
            filled, more = self._ladder.templates(brief, brief.n, banked.refused)
            copies = distinct([*copies, *filled])[: brief.n]
            rejected += more
        if not copies:
            copies, more = self._ladder.own(brief, banked.refused)
            rejected += more
        notices = [brief.notice, notice, unjudged]
        if unjudged is None and texts and not passed:
            notices.append(NONE_PASSED)
        if not copies:
            notices.append(NOTHING)
        elif any(copy.language != brief.language for copy in copies):
            notices.append(NOT_IN_IT.format(asked=brief.language, own=brief.ad.language))
        fallbacks = sum(copy.served_by in ("template", "advertiser") for copy in copies)
        if fallbacks:
            metrics.add_metric(name="Fallbacks", unit=MetricUnit.Count, value=fallbacks)
        return CopyResult(
            tuple(copies),
            tuple(rejected),
            self.versions(brief.adapter) | judged_by,
            len(texts),
            "; ".join(one for one in notices if one) or None,
            replace(cost, copies=len(written)),
            self._price,
            "predicted_clicks" if predicted else "match",
        )

    def _sieve(
        self, brief: Brief, texts: Sequence[str], refused: Mapping[str, str]
    ) -> tuple[list[Passed], list[RejectedCopy], str | None]:
        """What the gate lets through and what not; and why nothing of it could be judged: a model of the gate's is
        broken, and templates answer until it is mended."""
        try:
            passed, rejected = self._gate.sieve(
                texts,
                brief.ad,
                brief.language,
                channel=brief.channel,
                audience=brief.audience,
                refused=refused,
            )
        except (ArtifactError, ModelUnavailable) as error:
            logger.error("copy cannot be judged", extra={"detail": error.detail})
            return [], [RejectedCopy(text, (UNJUDGED,)) for text in texts], "what the model wrote cannot be judged"
        return passed, rejected, None

    def _by_clicks(self, tenant: str, passed: Sequence[Passed]) -> tuple[list[Passed], list[float], dict[str, str]]:
        """The texts with the most predicted clicks first, their log click rates (only differences mean anything), and
        the version that predicts; without a click model they stay as they are, and nothing is predicted."""
        found = self._text_clicks(tenant)
        versions = {"text_clicks_refused": found.refused} if found.refused is not None else {}
        if found.artefact is None or not passed:
            return list(passed), [], versions
        scores = found.artefact.scores([one.text for one in passed]).tolist()
        order = sorted(range(len(passed)), key=lambda place: -scores[place])
        versions["text_clicks"] = found.artefact.version
        return [passed[place] for place in order], [scores[place] for place in order], versions

    def versions(self, adapter: str | None = None) -> dict[str, str]:
        """Of everything that has a say in a copy by that adapter, or by the model alone."""
        return dict(self._versions()) | {
            "generator": self._model,
            "prompt": self._prompt(adapter),
            "templates": templates_version(),
            "claims": claims_version(),
            "policy": packs_version(),
        }

    def _prompt(self, adapter: str | None) -> str:
        return prompt_version(self._styles.of(adapter))

    def _generated(
        self, brief: Brief, passed: Sequence[Passed], predicted: Sequence[float], click_model: str | None, model: str
    ) -> list[Copy]:
        stamp, at, label = self._gate.stamp(brief.ad), self._clock(), label_of("llm")
        copies = []
        for one, score in zip_longest(passed, predicted):
            record = provenance(
                "llm",
                one.text,
                at=at,
                gate=stamp,
                prompt=self._prompt(brief.adapter),
                model=model,
                adapter=brief.adapter,
                tone=brief.tone,
                match=round(one.match, 4),
                trimmed=one.trimmed or None,
                click_score=round(score, 4) if score is not None else None,
                click_model=click_model,
            )
            copies.append(Copy(one.text, brief.language, "llm", one.claims, label, record))
        return copies


def asked(n: int) -> int:
    """Candidates for n copies: the gate refuses more than half of what a small model writes."""
    return max(CANDIDATES, min(2 * n, MAX_CANDIDATES))
