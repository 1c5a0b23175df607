"""Copy: the bank of variants, what reviewers refused, and what the advertiser approved.

::

    t/{tenant}/bank/{ad_id}           {segment}/{language}   the gated variants, `tried` (how often a model was asked in
                                                             vain, by the attempt's key), and the row's version
                                      rejected               keys of the texts that a reviewer refused
    t/{tenant}/approved/{language}    {ad_id}/{text key}     one approved text with its ad's facts and vector
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any

import orjson

from shared.domain import LANGUAGES, Ad, Claim, Copy, Language, Wording
from shared.errors import Conflict, Unprocessable
from shared.policy.versions import claims_version, packs_version, wording_version
from shared.preprocess import match_key
from shared.stores.faults import give_way
from shared.stores.table import ConditionFailed, Key, Row, Table

ANYONE = "-"  # the segment of copy that was written for nobody in particular
MAX_APPROVED = 2000  # approved texts kept by tenant and language: the oldest go first
MAX_REJECTED = 5000  # refused texts of one ad
MAX_TRIED = 8  # kinds of attempts that a row counts
_REJECTED = "rejected"
_ATTEMPTS = 8  # at a row that other writers are at

Wanted = tuple[str, str, str]  # ad id, segment, language
Change = Callable[[list[Copy]], Sequence[Copy]]


@dataclass(frozen=True, slots=True)
class Approved:
    """A text that the advertiser approved. `facts`: the ad's facts as a prompt quotes them; `ad`: what training needs
    of the ad (title, description, brand, attributes, domain, language); `vector`: the ad's, float16, (384,)."""

    ad_id: str
    language: Language
    text: str
    facts: str
    ad: Mapping[str, Any]
    at: float
    segment: str = ANYONE
    audience: tuple[str, ...] = ()
    reviewer: str | None = None
    vector: bytes = b""

    @property
    def key(self) -> str:
        return text_key(self.text)


@dataclass(frozen=True, slots=True)
class Banked:
    """What the bank holds for one ad and language. `rejected`: keys (`text_key`) of what must not be shown for it.
    `tried`: see `Copies.count_attempt`."""

    copies: Mapping[str, list[Copy]] = field(default_factory=dict)  # by segment, best first
    rejected: frozenset[str] = frozenset()
    tried: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by segment and attempt


def text_key(text: str) -> str:
    """What identifies a text whatever its width, case, spaces and punctuation: 16 hexadecimal characters."""
    return blake2b((match_key(text) or text).encode(), digest_size=8).hexdigest()


def facts_digest(ad: Ad) -> str:
    """What identifies all that an ad says of itself: 16 hexadecimal characters."""
    facts = [ad.title, ad.description, ad.brand, ad.attributes, ad.domain, ad.language, ad.start, ad.end]
    return blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def gate_stamp(ad: Ad, wording: Wording = "quoted") -> dict[str, str]:
    """What a text for this ad is checked against: the rules' versions, what a model's text may consist of, and the ad's
    facts. A text that was checked against the same needs no second look; one with another stamp must not be shown
    without one, whoever wrote it."""
    return {
        "claims": claims_version(),
        "policy": packs_version(),
        "wording": wording_version(wording),
        "facts": facts_digest(ad),
    }


class Copies:
    """Store of the variant bank and of reviews. wording: what a model's text may consist of, in this deployment."""

    def __init__(self, table: Table, wording: Wording = "quoted") -> None:
        self._table = table
        self._wording: Wording = wording

    def stamp(self, ad: Ad) -> dict[str, str]:
        """The `gate_stamp` of this deployment."""
        return gate_stamp(ad, self._wording)

    # Bank -------------------------------------------------------------------------------------------------------

    def bank_get(self, tenant: str, ad_id: str, segment: str, language: str) -> list[Copy]:
        """The banked variants that no reviewer refused, best first; empty where there are none."""
        return self.bank_read(tenant, ad_id, [segment], language).copies.get(segment, [])

    def bank_read(self, tenant: str, ad_id: str, segments: Iterable[str], language: str) -> Banked:
        """The variants of several segments and what reviewers refused, in one consistent read."""
        wanted = [(ad_id, segment, language) for segment in segments]
        return self.read_rows(self._bank_rows(tenant, wanted, consistent=True), tenant, wanted)

    def read_rows(self, rows: Mapping[Key, Row], tenant: str, wanted: Sequence[Wanted]) -> Banked:
        """What rows of `bank_keys` say of one ad in one language."""
        found, refused = _sorted_out(rows, wanted, tenant)
        tried = {
            segment: rows[key].get("tried", {})
            for ad_id, segment, language in wanted
            if (key := (_bank(tenant, ad_id), f"{segment}/{language}")) in rows
        }
        copies = {segment: copies for (_, segment, _), copies in found.items()}
        return Banked(copies, next(iter(refused.values()), frozenset()), tried)

    def bank_keys(self, tenant: str, wanted: Sequence[Wanted]) -> list[Key]:
        """Of the rows that say what the bank holds."""
        keys = [(_bank(tenant, ad_id), f"{segment}/{language}") for ad_id, segment, language in wanted]
        return keys + [(_bank(tenant, ad_id), _REJECTED) for ad_id, _, _ in wanted]

    def bank_get_many(self, tenant: str, wanted: Iterable[Wanted]) -> dict[Wanted, list[Copy]]:
        """Banked variants of several (ad, segment, language) in one read; absent and refused ones are left out."""
        wanted = list(wanted)
        found, _ = _sorted_out(self._bank_rows(tenant, wanted, consistent=False), wanted, tenant)
        return found

    def _bank_rows(self, tenant: str, wanted: Sequence[Wanted], *, consistent: bool) -> dict[Key, Row]:
        return self._table.get_many(self.bank_keys(tenant, wanted), consistent=consistent)

    def bank_put(self, tenant: str, ad_id: str, segment: str, language: str, copies: Sequence[Copy]) -> None:
        """Replaces the variants of this ad, segment and language."""
        self.bank_change(tenant, ad_id, segment, language, lambda _: copies)

    def bank_change(self, tenant: str, ad_id: str, segment: str, language: str, change: Change) -> list[Copy]:
        """Replaces the variants by what `change` makes of them; asked anew where another writer came first.

        Raises:
            Conflict: too many writers at this row.
        """
        after: list[Copy] = []

        def changed(row: Row) -> Row | None:
            nonlocal after
            before = _row_copies(row)
            after = list(change(list(before)))
            return None if after == before else row | {"copies": orjson.dumps([asdict(copy) for copy in after])}

        self._bank_write(tenant, ad_id, segment, language, changed)
        return after

    def count_attempt(self, tenant: str, ad_id: str, segment: str, language: str, attempt: str) -> None:
        """A model was asked, and wrote too little that may be shown. attempt: what makes one like another; the counts
        of the last `MAX_TRIED` are kept.

        Raises:
            Conflict: too many writers at this row.
        """

        def counted(row: Row) -> Row:
            others = [(key, times) for key, times in row.get("tried", {}).items() if key != attempt]
            times = row.get("tried", {}).get(attempt, 0) + 1
            return row | {"tried": dict([*others[1 - MAX_TRIED :], (attempt, times)])}

        self._bank_write(tenant, ad_id, segment, language, counted)

    def _bank_write(
        self, tenant: str, ad_id: str, segment: str, language: str, change: Callable[[Row], Row | None]
    ) -> None:
        """Replaces a row of the bank by what `change` makes of it (None: it stays); a new one has no copies."""
        key = (_bank(tenant, ad_id), f"{segment}/{language}")
        for attempt in range(_ATTEMPTS):
            row = self._table.get(*key) or {"pk": key[0], "sk": key[1], "copies": b"[]"}
            after = change(row)
            if after is None:
                return
            version = row.get("version", 0)
            try:
                self._table.put(
                    after | {"version": version + 1},
                    condition="attribute_not_exists(pk) OR attribute_not_exists(version) OR version = :version",
                    values={":version": version},
                )
                return
            except ConditionFailed:
                give_way(attempt)
        raise Conflict("too many writers at the same copy bank", retry_after=1)

    def bank_places(self, tenant: str, ad_id: str) -> list[tuple[str, str]]:
        """(segment, language) of every row of the ad's bank."""
        places = (row["sk"].rpartition("/") for row in self._table.query(_bank(tenant, ad_id)))
        return [(segment, language) for segment, _, language in places if language in LANGUAGES]

    # Reviews ----------------------------------------------------------------------------------------------------

    def reject(self, tenant: str, ad_id: str, key: str, *, rejected: bool = True) -> bool:
        """Marks a text (by its `text_key`) as never to be shown for the ad, or takes that back. False: it was so.

        Raises:
            Unprocessable: the ad has `MAX_REJECTED` already.
        """
        place = (_bank(tenant, ad_id), _REJECTED)
        for attempt in range(_ATTEMPTS):
            row = self._table.get(*place)
            keys: list[str] = row["keys"] if row else []
            if (key in keys) == rejected:
                return False
            if rejected and len(keys) >= MAX_REJECTED:
                raise Unprocessable(f"the ad has {MAX_REJECTED} rejected texts: change the ad instead", field="state")
            version = row["version"] if row else 0
            kept = [*keys, key] if rejected else [one for one in keys if one != key]
            try:
                self._table.put(
                    {"pk": place[0], "sk": place[1], "keys": kept, "version": version + 1},
                    condition="attribute_not_exists(pk) OR version = :version",
                    values={":version": version},
                )
                return True
            except ConditionFailed:
                give_way(attempt)
        raise Conflict("too many reviews of the same ad", retry_after=1)

    def approve(self, tenant: str, texts: Sequence[Approved]) -> None:
        """Keeps approved texts, at most `MAX_APPROVED` by language: the oldest make room."""
        self._table.put_many(
            {
                "pk": _approved(tenant, one.language),
                "sk": f"{one.ad_id}/{one.key}",
                "doc": orjson.dumps({name: value for name, value in asdict(one).items() if name != "vector"}),
                "vec": one.vector or None,
                "at": one.at,
            }
            for one in texts
        )
        for language in {one.language for one in texts}:
            pk = _approved(tenant, language)
            kept = sorted((row["at"], row["sk"]) for row in self._table.query(pk) if "doc" in row)
            self._forget(pk, (sk for _, sk in kept[: max(0, len(kept) - MAX_APPROVED)]))

    def disapprove(self, tenant: str, ad_id: str, language: str, key: str) -> None:
        """Forgets an approved text; nothing happens where there is none."""
        self._forget(_approved(tenant, language), [f"{ad_id}/{key}"])

    def _forget(self, pk: str, sks: Iterable[str]) -> None:
        """Empties rows and lets them expire: nothing of what they said is left."""
        now = int(time.time())
        self._table.put_many({"pk": pk, "sk": sk, "expires_at": now} for sk in sks)

    def approved(self, tenant: str, language: Language | None = None) -> Iterator[Approved]:
        """The approved texts of one language, or of all."""
        for one in LANGUAGES if language is None else (language,):
            rows = (row for row in self._table.query(_approved(tenant, one), consistent=False) if "doc" in row)
            for row in islice(rows, MAX_APPROVED):
                document = orjson.loads(row["doc"])
                document["audience"] = tuple(document["audience"])
                yield Approved(**document, vector=row.get("vec", b""))


def _bank(tenant: str, ad_id: str) -> str:
    return f"t/{tenant}/bank/{ad_id}"


def _approved(tenant: str, language: str) -> str:
    return f"t/{tenant}/approved/{language}"


def _sorted_out(
    rows: Mapping[Key, Row], wanted: Sequence[Wanted], tenant: str
) -> tuple[dict[Wanted, list[Copy]], dict[str, frozenset[str]]]:
    """The variants by what was wanted, without refused ones; and the refused keys by ad."""
    refused = {
        ad_id: frozenset(rows[_bank(tenant, ad_id), _REJECTED]["keys"])
        for ad_id, _, _ in wanted
        if (_bank(tenant, ad_id), _REJECTED) in rows
    }
    found: dict[Wanted, list[Copy]] = {}
    for one in wanted:
        ad_id, segment, language = one
        row = rows.get((_bank(tenant, ad_id), f"{segment}/{language}"))
        if row is None:
            continue
        copies = _row_copies(row)
        if keys := refused.get(ad_id):
            copies = [copy for copy in copies if text_key(copy.text) not in keys]
        found[one] = copies
    return found, refused


def _row_copies(row: Row) -> list[Copy]:
    copies = []
    for document in orjson.loads(row["copies"]):
        claims = tuple(Claim(**claim | {"span": tuple(claim["span"])}) for claim in document.pop("claims"))
        copies.append(Copy(**document, claims=claims))
    return copies
