"""The gate: what a written text must pass before anybody sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from shared.domain import Ad, Claim, Classification, Finding, Language, RejectedCopy, Wording
from shared.errors import ArtifactError, ModelUnavailable
from shared.generating.facts import quotations_of, quoted_title
from shared.generating.form import form_problems, strange_addresses, tidy
from shared.generating.prompts import repeats_example
from shared.generating.repeats import COPIED, copied_share
from shared.generating.trimming import trimmed
from shared.generating.width import display_width, room_in
from shared.models.taxonomy import load_taxonomy
from shared.policy.quoting import Quotations, dissuades, quotable, states_nothing
from shared.policy.rules import LawReader, check, editorial
from shared.preprocess import clean_text, match_key
from shared.stores.copies import facts_digest, gate_stamp, text_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Cosines of the encoder between a copy and its ad, by the copy's language: from ABOUT on (what 1 in 100 copies reaches
# with somebody else's ad) a copy is about the ad; from NEAR on (1 in 10), if it also falls into the ad's top category.
ABOUT: dict[Language, float] = {"zh": 0.89, "en": 0.84}
NEAR: dict[Language, float] = {"zh": 0.87, "en": 0.82}
_CLAUSES = re.compile(r"[，。！？；：、,.!?;:]")
AUDIENCE = 0.3  # what closeness to the audience counts in the order, beside closeness to the ad
DISSUADES = 0.2  # what a text loses that says what is not to be had
COPY = 0.5  # what a copy of the description loses: nothing is nearer to the ad, and nothing says less
SAME = 0.7  # Jaccard of 5-grams from which two copies are one


class Encoder(Protocol):
    def encode(self, texts: Sequence[str], kind: Literal["query", "passage"] = "query") -> NDArray[np.float32]: ...


class Classifier(Protocol):
    def classify_vectors(self, vectors: NDArray[np.float32], top: int = 3) -> list[Classification]: ...


class Reader(LawReader, Protocol):
    def weigh(
        self, text: str, ad: Ad, claims: Sequence[Claim], *, audience: Sequence[str] = (), strict: bool = False
    ) -> list[Claim]: ...

    def warm(self) -> None: ...


Check = Callable[..., list[Finding]]
LENGTH = "editorial.length"  # is judged by what a channel shows, which is less than what it takes
Author = Literal["person", "model", "template"]
AT_ONCE = 16  # texts about which a language model is asked at the same time: all candidates of a light request
JUDGING_SECONDS = 4.0  # that it may take over them
UNJUDGED = "cannot be judged"
JURISDICTIONS = ("CN", "EU", "US")  # where copy may be shown: it has to be lawful in all of them
JUDGED = 4096  # judgements of texts that a process remembers
SUBJECTS = 64  # ads of which it remembers what may be quoted


def warm() -> None:
    """Loads ledger, packs and vocabulary: most of a second, which a snapshot can save every request."""
    from shared.policy.claims import trace_claims

    facts = Ad(ad_id="-", title="-", landing_url="-", language="zh", domain="ecommerce")
    for text in ("一", "one"):
        trace_claims(text, facts)
        for jurisdiction in JURISDICTIONS:
            check(text, None, jurisdiction)


def _warm(reader: Reader | None) -> None:
    warm()
    if reader is not None:
        with suppress(ArtifactError):  # who asks it is told
            reader.warm()


@dataclass(frozen=True, slots=True)
class Passed:
    """A text that may be shown, with its claims and how well it matches. trimmed: clauses of it had to go."""

    text: str
    claims: tuple[Claim, ...]
    match: float
    trimmed: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What `Gate.reasons` is asked."""

    text: str
    ad: Ad
    language: Language
    audience: tuple[str, ...] = ()
    author: Author = "person"


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is said against a text wherever it is shown. spans: of what the law forbids, which can be cut out.

    whole: the rest is no better, since the text is broken, or its writer has invented something and may have again.
    """

    reasons: tuple[str, ...]
    claims: tuple[Claim, ...]
    spans: tuple[tuple[int, int], ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str
    claims: tuple[Claim, ...]
    trimmed: bool


@dataclass(frozen=True, slots=True)
class _Subject:
    """An ad by the digest of its facts, so that judgements about it can be remembered."""

    facts: str
    ad: Ad = field(compare=False)


@lru_cache(maxsize=SUBJECTS)
def _quotations(subject: _Subject, language: Language) -> Quotations:
    return quotations_of(subject.ad, language)


class Gate:
    """Checks texts against an ad. `check` is the policy check (`shared.policy.rules.check`).

    wording: what a model's text may consist of. reader: heard beside the ledger's rules and the law's
    (`shared.models.readers`); it may refuse what they let through, and let through what they refuse: of claims in a
    person's text alone. None: rules alone.
    """

    def __init__(
        self,
        encoder: Callable[[], Encoder],
        classifier: Callable[[], Classifier],
        check: Check,
        *,
        reader: Callable[[], Reader] | None = None,
        wording: Wording = "quoted",
    ) -> None:
        self._reader = reader
        self.wording: Wording = wording
        self._encoder = encoder
        self._classifier = classifier
        self._check = check
        self._judged = lru_cache(maxsize=JUDGED)(self._judge)
        self._warming: Thread | None = None

    @property
    def seconds(self) -> float:
        """That have to be left for judging what was written; what else judges takes hardly any."""
        return JUDGING_SECONDS if self.wording == "judged" else 0.0

    def warm_meanwhile(self) -> None:
        """Has ledger, packs and readers loaded by another thread, once: while a model writes, the processor has nothing
        to do, and one that is given up late leaves no time for it."""
        if self._warming is None:
            reader = self._reader() if self._reader is not None else None
            self._warming = Thread(target=_warm, args=(reader,), name="ledger", daemon=True)
            self._warming.start()

    def stamp(self, ad: Ad) -> dict[str, str]:
        """What a text for this ad is checked against here (`shared.stores.copies.gate_stamp`)."""
        return gate_stamp(ad, self.wording)

    def sieve(
        self,
        candidates: Sequence[str],
        ad: Ad,
        language: Language,
        *,
        channel: str,
        audience: Sequence[str] = (),
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[list[Passed], list[RejectedCopy]]:
        """The candidates that may be shown in the channel, best match first, and the others with every reason.

        audience: names of the interests they were written for; they count a little in the order. refused: reasons
        against texts, by `text_key`.

        Raises:
            ArtifactError: a model that judges them cannot be loaded. ModelUnavailable: the language model that should
            judges none of them.
        """
        rejected: list[RejectedCopy] = []
        kept: list[_Kept] = []
        seen: set[str] = set()
        tidied = [tidy(candidate, ad, language) for candidate in candidates]
        self.ahead([Asked(text, ad, language, tuple(audience), "model") for text in tidied])
        unjudged: ModelUnavailable | None = None
        for text in tidied:
            try:
                drafts = (text, self._trimmed(text, ad, language, channel, audience))
            except ModelUnavailable as error:
                unjudged = error
                rejected.append(RejectedCopy(text, (UNJUDGED,)))
                continue
            for draft in drafts:
                if draft is None:
                    break
                reasons, claims = self.reasons(draft, ad, language, channel=channel, audience=audience, author="model")
                if repeats_example(draft, ad, language):
                    reasons.append("repeats an example of the prompt")
                if copied_share(draft, [ad.title]) >= COPIED:
                    reasons.append("only repeats the title")
                if _says_nothing(draft, ad, language):
                    reasons.append("says nothing of the ad")
                if reason := refused.get(text_key(draft)):
                    reasons.append(reason)
                if match_key(draft) in seen:
                    reasons.append("repeats another candidate")
                if not reasons:
                    seen.add(match_key(draft))
                    kept.append(_Kept(draft, claims, draft != text))
                    break
                if draft == text:
                    rejected.append(RejectedCopy(text, tuple(reasons)))
        if unjudged is not None and all(one.reasons == (UNJUDGED,) for one in rejected) and not kept:
            raise unjudged
        passed: list[Passed] = []
        for one, (match, about) in zip(
            kept, self._matches([one.text for one in kept], ad, language, audience), strict=True
        ):
            if about:
                passed.append(Passed(one.text, one.claims, match, one.trimmed))
            elif not one.trimmed:
                rejected.append(RejectedCopy(one.text, ("is not about the ad",)))
        passed.sort(key=lambda one: -one.match)
        from shared.preprocess.near_duplicates import near_duplicates

        first = near_duplicates([one.text for one in passed], SAME)
        rejected += [
            RejectedCopy(one.text, ("repeats another candidate",))
            for place, one in enumerate(passed)
            if first[place] != place
        ]
        return [one for place, one in enumerate(passed) if first[place] == place], rejected

    def ahead(self, asked: Sequence[Asked]) -> None:
        """Has what `reasons` will be asked judged at once, where a language model is waited for. Its failures are
        `reasons`' to tell."""
        if self.wording != "judged" or not asked:
            return

        def ask(one: Asked) -> None:
            with suppress(ArtifactError, ModelUnavailable):
                self.reasons(one.text, one.ad, one.language, audience=one.audience, author=one.author)

        with ThreadPoolExecutor(min(len(asked), AT_ONCE), "judging") as threads:
            list(threads.map(ask, asked))

    def reasons(
        self,
        text: str,
        ad: Ad,
        language: Language,
        *,
        channel: str | None = None,
        audience: Sequence[str] = (),
        author: Author = "person",
    ) -> tuple[list[str], tuple[Claim, ...]]:
        """Why a text may not be shown (nothing: it may), and its claims.

        channel: where; None: what only a channel minds is not looked at. author: a ``model``'s text that no person has
        approved is held to the `wording`; a ``template`` of the ad's own words needs no reader, nor any other model.

        Raises:
            ArtifactError: the reader cannot be loaded. ModelUnavailable: the language model that should judge does not.
        """
        judged = self._judged(text, _Subject(facts_digest(ad), ad), language, tuple(audience), author)
        against = channel_problems(text, channel, language) if channel is not None else ()
        return [*against, *judged.reasons], judged.claims

    def _trimmed(self, text: str, ad: Ad, language: Language, channel: str, audience: Sequence[str]) -> str | None:
        """The part of a text that may hold; None where it holds as a whole, or nothing of it would, or a language model
        would have to be asked again."""
        judged = self._judged(text, _Subject(facts_digest(ad), ad), language, tuple(audience), "model")
        if judged.whole or self.wording == "judged":
            return None
        spans = [*judged.spans, *((one.start, one.end) for one in channel_findings(text, channel))]
        return trimmed(text, spans, language, room=room_in(channel, language))

    def _judge(
        self, text: str, subject: _Subject, language: Language, audience: tuple[str, ...], author: Author
    ) -> _Judged:
        # The ledger's patterns take half a second to compile, and banked copy is served without it.
        from shared.policy.claims import trace_claims, unsupported
        from shared.policy.literal import literal

        ad = subject.ad
        form = form_problems(text, language)
        form += [f"names a web address that is not the ad's: {one}" for one in strange_addresses(text, ad)]
        claims = trace_claims(text, ad, audience=audience)
        false = unsupported(claims)
        if author == "model" and self.wording == "literal" and not false:
            false = literal(text, ad, claims, audience=audience)
        quotes = author == "model" and self.wording == "quoted"
        loose = _quotations(subject, language).unquoted(text, audience) if quotes else []
        # A model's text that is refused already stays so, whatever the reader makes of it.
        settled = author == "template" or form or (author == "model" and (false or loose))
        if self._reader is not None and not settled:
            claims = self._reader().weigh(text, ad, claims, audience=audience, strict=author == "model")
            false = unsupported(claims)
        # What is refused already is not read again for the law: its words are looked at, so that they can be cut out.
        law = None if settled or self._reader is None else self._reader()
        names = [name for name in (ad.brand, str(ad.attributes.get("model", ""))) if name]
        unlawful = [
            finding
            for jurisdiction in JURISDICTIONS
            for finding in self._check(text, ad.domain, jurisdiction, names=names, reader=law, mend=False)
            if finding.severity == "block"
        ]
        reasons = [
            *form,
            *(f"unsupported {claim.kind}: {claim.text}" for claim in false),
            *(f"not quoted from the ad: {text[start:end]}" for start, end in loose),
            *(f"policy {one.rule}: {text[one.start : one.end]} ({one.citation})" for one in unlawful),
        ]
        # What is no quotation may be left out: beside an invention of its own, what remains is still the ad's.
        spans = (*((one.start, one.end) for one in unlawful), *loose)
        # A superlative is no fact: where the law forbids it as well, it is only loud.
        invented = [
            claim for claim in false if not any(start < claim.span[1] and claim.span[0] < end for start, end in spans)
        ]
        return _Judged(tuple(dict.fromkeys(reasons)), tuple(claims), spans, bool(form or invented))

    def _matches(
        self, texts: Sequence[str], ad: Ad, language: Language, audience: Sequence[str]
    ) -> list[tuple[float, bool]]:
        """For each text how well it matches ad and audience, and whether it is about the ad."""
        if not texts:
            return []
        encoded = self._encoder().encode([ad.text, *texts, *audience], "query")
        vectors, interests = encoded[: len(texts) + 1], encoded[len(texts) + 1 :]
        cosines = vectors[1:] @ vectors[0]
        fit = cosines.astype(float)
        if len(interests):
            fit = fit + AUDIENCE * (vectors[1:] @ interests.T).max(axis=1)
        fit = fit - [COPY * (copied_share(text, [ad.description]) >= COPIED) for text in texts]
        fit = fit - [DISSUADES * dissuades(text, language) for text in texts]
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


def _says_nothing(text: str, ad: Ad, language: Language) -> bool:
    """Whether a text neither names the ad nor says anything of it: *Need a hand? Talk to us.*"""
    if not all(states_nothing(part, language) for part in _CLAUSES.split(text) if part.strip()):
        return False
    said = text.lower()
    own = (ad.title, ad.brand or "", quoted_title(ad), *quotable(ad.description, language))
    return not any(one.lower() in said for one in own if one)


@lru_cache(maxsize=JUDGED)
def channel_problems(text: str, channel: str, language: Language) -> tuple[str, ...]:
    """Why a text cannot stand in the channel: too long for it, or against the platform's editorial rules."""
    columns, room = display_width(text), room_in(channel, language)
    problems = [f"too long: {columns} columns of {room}"] if columns > room else []
    problems += [f"channel {one.rule}: {text[one.start : one.end]}" for one in channel_findings(text, channel)]
    return tuple(problems)


def channel_findings(text: str, channel: str) -> list[Finding]:
    """What the platform's editorial rules refuse in a text, its length aside."""
    return [one for one in editorial(text, channel) if one.severity == "block" and one.rule != LENGTH]


def allowed_part(text: str, channel: str) -> str:
    """The text without what the platform's editorial rules refuse; the text itself where nothing would be left."""
    kept = text
    for finding in reversed(channel_findings(text, channel)):
        kept = kept[: finding.start] + kept[finding.end :]
    return clean_text(kept) or text
