"""The rungs below the model: banked copy, templates filled from the ad's facts, the advertiser's own text.

None of them needs a language model. Everything that they serve has passed the gate, but for the advertiser's own title,
which is only kept back where the law forbids it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from shared.domain import Claim, Copy, Language, RejectedCopy
from shared.errors import ArtifactError, Conflict, ModelUnavailable, Unavailable
from shared.generating.briefs import segment_audience
from shared.generating.facts import READ
from shared.generating.form import tidy
from shared.generating.gate import Gate, allowed_part, channel_problems
from shared.generating.prompts import SHORT
from shared.generating.provenance import by_machine, provenance
from shared.generating.requests import Brief
from shared.generating.templates import fill_templates, templates_version
from shared.generating.width import display_width, room_in
from shared.policy.quoting import beginning_of, is_limited, quotable
from shared.preprocess import clean_text, match_key
from shared.stores.copies import ANYONE, Banked, Change, text_key
from shared.telemetry import logger

BANKED = 8  # variants kept of each length, short and long
SENTENCES = 8  # of a description that are looked at for one that may be shown by itself
REVIEWED = "rejected by a reviewer"


class Bank(Protocol):
    """Where gated copy is kept (`shared.stores.copies.Copies`)."""

    def bank_read(self, tenant: str, ad_id: str, segments: Sequence[str], language: str) -> Banked: ...

    def bank_change(self, tenant: str, ad_id: str, segment: str, language: str, change: Change) -> list[Copy]: ...

    def count_attempt(self, tenant: str, ad_id: str, segment: str, language: str, attempt: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What the bank offers for a brief: copies that still hold, what no longer does, and refused keys. `tried`: how
    often a model was asked in vain, by attempt, for the first of the segments."""

    copies: tuple[Copy, ...] = ()
    rejected: tuple[RejectedCopy, ...] = ()
    refused: frozenset[str] = frozenset()
    tried: Mapping[str, int] = field(default_factory=dict)


class Ladder:
    """The rungs, on a gate and a bank. `clock` gives epoch seconds."""

    def __init__(self, gate: Gate, bank: Bank | None, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._bank = bank
        self._clock = clock

    def banked(
        self,
        tenant: str,
        brief: Brief,
        *,
        segments: Sequence[str] | None = None,
        exact: bool = False,
        read: Banked | None = None,
    ) -> Found:
        """Banked copy that fits and still holds: the ad's facts or the rules may have changed since it was written.

        segments: those of the brief where None. exact: only copy of the tone and voice that the brief asks for. read:
        what the bank holds, where it has been read. What had to be looked at again is marked, so that it need not be
        twice.
        """
        segments = brief.segments if segments is None else segments
        if self._bank is None or not segments:
            return Found()
        read = read or self._bank.bank_read(tenant, brief.ad.ad_id, segments, brief.language)
        stamp = self._gate.stamp(brief.ad)
        found: list[Copy] = []
        rejected: list[RejectedCopy] = []
        for segment in segments:
            looked_at: dict[str, Copy] = {}
            for kept in read.copies.get(segment, ()):
                copy = kept
                if copy.provenance.get("gate") != stamp:
                    try:
                        reasons, claims = self._gate.reasons(
                            copy.text,
                            brief.ad,
                            brief.language,
                            audience=segment_audience(segment, brief.language),
                            author="model" if by_machine(copy.provenance) else "person",
                        )
                    except (ArtifactError, ModelUnavailable) as error:  # templates need nobody to judge: they answer
                        logger.error("banked copy cannot be judged", extra={"detail": error.detail})
                        continue
                    if reasons:
                        rejected.append(RejectedCopy(copy.text, tuple(reasons)))
                        continue
                    copy = replace(copy, claims=claims, provenance=copy.provenance | {"gate": stamp})
                    looked_at[copy.text] = copy
                fits = not channel_problems(copy.text, brief.channel, brief.language)
                if fits and (not exact or in_voice(copy, brief.tone, brief.adapter)):
                    found.append(replace(copy, served_by=_rung(segment)))
            if looked_at:
                self._mark(tenant, brief, segment, looked_at)
        return Found(tuple(distinct(found)), tuple(rejected), read.rejected, read.tried.get(segments[0], {}))

    def count_attempt(self, tenant: str, brief: Brief, segment: str, attempt: str) -> None:
        """A model was asked, and wrote too little that may be shown."""
        if self._bank is None:
            return
        try:
            self._bank.count_attempt(tenant, brief.ad.ad_id, segment, brief.language, attempt)
        except (Conflict, Unavailable) as error:  # it is asked once more, then
            logger.warning("attempt not counted", extra={"detail": error.detail})

    def _mark(self, tenant: str, brief: Brief, segment: str, looked_at: Mapping[str, Copy]) -> None:
        if self._bank is None:
            return
        try:
            self._bank.bank_change(
                tenant,
                brief.ad.ad_id,
                segment,
                brief.language,
                lambda kept: [looked_at.get(copy.text, copy) for copy in kept],
            )
        except (Conflict, Unavailable) as error:  # a mark only saves time: the next reader makes it
            logger.warning("bank not marked", extra={"detail": error.detail})

    def keep(self, tenant: str, brief: Brief, segment: str, written: Sequence[Copy], refused: frozenset[str]) -> None:
        """Banks new copy beside what is there, the best of each length (see `_rank`)."""
        if self._bank is None:
            return

        def merged(kept: list[Copy]) -> list[Copy]:
            known = {text_key(copy.text): copy for copy in kept}
            for copy in written:
                known.setdefault(text_key(copy.text), copy)
            ranked = sorted(known.items(), key=lambda entry: _rank(entry[1]))
            best = [copy for key, copy in ranked if key not in refused]
            short = [copy for copy in best if display_width(copy.text) < SHORT][:BANKED]
            long = [copy for copy in best if display_width(copy.text) >= SHORT][:BANKED]
            return sorted([*short, *long], key=_rank)

        self._bank.bank_change(tenant, brief.ad.ad_id, segment, brief.language, merged)

    def templates(self, brief: Brief, n: int, refused: frozenset[str]) -> tuple[list[Copy], list[RejectedCopy]]:
        """Up to n sentences of the ad's own facts."""
        copies: list[Copy] = []
        rejected: list[RejectedCopy] = []
        stamp = self._gate.stamp(brief.ad)
        width = room_in(brief.channel, brief.language)
        for text in fill_templates(brief.ad, brief.language, n + 4, width=width):
            if len(copies) == n:
                break
            reasons, claims = self._gate.reasons(
                text, brief.ad, brief.language, channel=brief.channel, author="template"
            )
            if text_key(text) in refused:
                reasons.append(REVIEWED)
            if reasons:
                rejected.append(RejectedCopy(text, tuple(reasons)))
                continue
            record = provenance("template", text, at=self._clock(), gate=stamp, prompt=templates_version())
            copies.append(Copy(text, brief.language, "template", claims, None, record))
        return copies, rejected

    def own(self, brief: Brief, refused: frozenset[str]) -> tuple[list[Copy], list[RejectedCopy]]:
        """The advertiser's own words, in the ad's own language: the title, a sentence of the description, the brand
        where nothing else of the ad is forbidden.

        What the law forbids is not shown either, nor a part of what it forbids; nor one of what limits itself.
        """
        ad = brief.ad
        rejected: list[RejectedCopy] = []
        for own in (ad.title, *quotable(ad.description[:READ], ad.language)[:SENTENCES], ad.brand or ""):
            whole = allowed_part(tidy(own, ad, ad.language) or clean_text(own), brief.channel)
            text = _fitting(whole, room_in(brief.channel, ad.language), ad.language)
            if not text or (own == ad.brand and rejected):
                continue
            reasons, claims = self._gate.reasons(text, ad, ad.language, author="template")
            if text != whole:
                reasons += self._gate.reasons(whole, ad, ad.language, author="template")[0]
            against = [reason for reason in dict.fromkeys(reasons) if reason.startswith("policy")]
            if text_key(text) in refused:
                against.append(REVIEWED)
            if against:
                rejected.append(RejectedCopy(text, tuple(against)))
                continue
            record = provenance("advertiser", text, at=None, gate=self._gate.stamp(ad))
            return [Copy(text, ad.language, "advertiser", _supported(claims), None, record)], rejected
        return [], rejected


def in_voice(copy: Copy, tone: str | None, adapter: str | None) -> bool:
    """Whether a banked copy is of the tone and the adapter that are asked for; any will do where none is."""
    record = copy.provenance
    return tone in (None, record.get("tone")) and adapter in (None, record.get("adapter"))


def distinct(copies: Sequence[Copy]) -> list[Copy]:
    """The first of each text, whatever its spaces and punctuation."""
    first: dict[str, Copy] = {}
    for copy in copies:
        first.setdefault(match_key(copy.text) or copy.text, copy)
    return list(first.values())


def _rank(copy: Copy) -> tuple[bool, bool, float, float]:
    """Approved ones first, then by predicted clicks where a click model has looked at them, then by match."""
    record = copy.provenance
    score = record.get("click_score")
    return record.get("human_review") != "approved", score is None, -(score or 0.0), -record.get("match", 0.0)


def _rung(segment: str) -> Literal["bank", "segment"]:
    return "bank" if segment == ANYONE else "segment"


def _fitting(text: str, width: int, language: Language) -> str:
    """The text, its beginning, or as many of its words (characters where it has none) as fit `width` columns, with an
    ellipsis; nothing where a part of it may say something else than the whole."""
    for one in (text, beginning_of(text, language)):
        if display_width(one) <= width:
            return one
    if is_limited(text, language):
        return ""
    while text and display_width(text) > width - 2:
        text = text.rpartition(" ")[0] if " " in text[:width] and text.isascii() else text[:-1]
    return f"{text.rstrip(',，、;；:： ')}…" if text else ""


def _supported(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if claim.support is not None)
