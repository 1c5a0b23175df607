"""The catalogue: ads (the truth), items that people acted on, and the pointer to the published snapshot.

::

    t/{tenant}/ads          meta           head: number of the last ad write; ads: how many there are
                            ad/{ad_id}     one ad with category, findings, vector and its number `seq`
                            snapshot       version, object key and head of what is published
                            lease          who is building, until when
    t/{tenant}/item/{id}    item           vector and domain of a thing that is no ad
    t/{tenant}/uploads      {object key}   what became of an upload
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import orjson

from shared.domain import Ad, CatalogueAd, Classification, Finding, FrequencyCap, IngestReport, Label
from shared.errors import Conflict
from shared.stores.faults import give_way
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Key, Row, Table

_ATTEMPTS = 30
_TRANSACTION_BYTES = 3_000_000  # DynamoDB: 4 MB in one transaction


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that people acted on and that is no ad: a product page, an article, a lesson. text: an ad's alone, since
    an item is described by whoever's event came first, and nobody's words are kept beyond their own events."""

    item_id: str
    vector: bytes  # float16, (384,)
    domain: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The published snapshot. `head` is the number of the last ad write that it contains."""

    version: str
    key: str
    head: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and by what an ad is written. Orders compare as strings; `source` is the name of a piece of work; `wins`
    over whatever is there."""

    order: str
    source: str = ""
    wins: bool = False

    @classmethod
    def of_upload(cls, seconds: float, line: int, source: str) -> Stamp:
        """Of a line of an upload of that time (epoch seconds): the later upload wins, in one upload the later line."""
        return cls(f"{max(0, int(seconds * 1000)):015d}.{line:012d}", source)

    @classmethod
    def of_request(cls, seconds: float) -> Stamp:
        """Of a request at that time, whose caller is told that it holds. S3 rounds an upload's time down to a second,
        so an upload of the second before may still come after it."""
        return cls(f"{max(0, int((seconds - 1) * 1000)):015d}.{0:012d}", wins=True)


class Catalogue:
    """Store of ads, items and the snapshot pointer."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # Ads --------------------------------------------------------------------------------------------------------

    def get_ad(self, tenant: str, ad_id: str) -> CatalogueAd | None:
        row = self._table.get(_ads(tenant), f"ad/{ad_id}")
        return _row_ad(row) if row else None

    def ad_key(self, tenant: str, ad_id: str) -> Key:
        """Of the ad's row, for whoever reads it together with others."""
        return _ads(tenant), f"ad/{ad_id}"

    def read_row(self, row: Row) -> CatalogueAd:
        """The ad that the row of `ad_key` holds."""
        return _row_ad(row)

    def get_ads(self, tenant: str, ad_ids: Iterable[str]) -> dict[str, CatalogueAd]:
        rows = self._table.get_many([(_ads(tenant), f"ad/{ad_id}") for ad_id in ad_ids])
        return {sk.removeprefix("ad/"): _row_ad(row) for (_, sk), row in rows.items()}

    def iter_ads(self, tenant: str) -> Iterator[CatalogueAd]:
        """Every ad, in the order of its last write (consistent read)."""
        for row in self._table.query(_ads(tenant), after_seq=0):
            yield _row_ad(row)

    def page(self, tenant: str, after: str, limit: int) -> list[CatalogueAd]:
        """Up to `limit` ads whose id is greater than `after`, in the order of their ids, without vectors (consistent
        read). An ad that is there all the while is on one page, however often it is written."""
        return [_row_ad(row) for row in self._table.page(_ads(tenant), "ad/", after, limit, attributes=["doc"])]

    def ads_after(self, tenant: str, seq: int, limit: int) -> list[tuple[int, CatalogueAd]]:
        """Up to `limit` ads written after number `seq`, with their own numbers, in the order of their last write."""
        rows = islice(self._table.query(_ads(tenant), after_seq=seq), limit)
        return [(row["seq"], _row_ad(row)) for row in rows]

    def head(self, tenant: str) -> int:
        """Number of the last ad write; 0 before the first."""
        row = self._table.get(_ads(tenant), "meta")
        return row["head"] if row else 0

    def count(self, tenant: str) -> int:
        """Ads of the catalogue, those that are not shown included."""
        row = self._table.get(_ads(tenant), "meta") or {}
        return self._counted(tenant, row)

    def _counted(self, tenant: str, meta: Row) -> int:
        if "ads" in meta or not meta.get("head"):
            return int(meta.get("ads", 0))
        return sum(1 for _ in self._table.query(_ads(tenant), prefix="ad/"))  # once: from before they were counted

    def stamps(self, tenant: str, ad_ids: Iterable[str]) -> dict[str, tuple[Ad, Stamp]]:
        """Those of the ads that exist, with what wrote them."""
        rows = self._table.get_many([(_ads(tenant), f"ad/{ad_id}") for ad_id in ad_ids])
        return {
            sk.removeprefix("ad/"): (_row_ad(row).ad, Stamp(row.get("ord", ""), row.get("src", "")))
            for (_, sk), row in rows.items()
        }

    def put_ads(self, tenant: str, ads: Sequence[CatalogueAd], stamps: Mapping[str, Stamp]) -> int:
        """Writes ads and moves the head in the same transaction; an ad that is there unchanged is left alone, and so is
        one that a later write (by its stamp's order) has made.

        stamps: by ad id. Returns how many were written. A later ad of the same id in `ads` wins.
        """
        return self.put_ads_within(tenant, ads, stamps, None)[0]

    def put_ads_within(
        self, tenant: str, ads: Sequence[CatalogueAd], stamps: Mapping[str, Stamp], most: int | None
    ) -> tuple[int, frozenset[str]]:
        """As `put_ads`, into a catalogue of at most that many ads, whoever else writes; also the ids of new ones that
        found no room."""
        pk = _ads(tenant)
        latest = list({ad.ad.ad_id: ad for ad in ads}.values())
        written = 0
        over: set[str] = set()
        for chunk in _chunks(latest):
            for attempt in range(_ATTEMPTS):
                rows = self._table.get_many(
                    [(pk, "meta"), *((pk, f"ad/{ad.ad.ad_id}") for ad in chunk)],
                    attributes=["head", "ads", "doc", "ord"],
                )
                head = rows.get((pk, "meta"), {}).get("head", 0)
                changed, newer = [], []
                for ad in chunk:
                    row = rows.get((pk, f"ad/{ad.ad.ad_id}"), {})
                    stamp = stamps[ad.ad.ad_id]
                    if row.get("ord", "") > stamp.order and not stamp.wins:
                        continue
                    if row.get("doc") != _ad_document(ad):
                        changed.append(ad)
                    elif row.get("ord", "") < stamp.order:
                        newer.append(ad)  # or a write between the two that comes late would win over both
                new = [ad.ad.ad_id for ad in changed if (pk, f"ad/{ad.ad.ad_id}") not in rows]
                count = self._counted(tenant, rows.get((pk, "meta"), {})) if changed or newer else 0
                full = set(new[max(most - count, 0) :]) if most is not None else set()
                changed = [ad for ad in changed if ad.ad.ad_id not in full]
                if not changed and not newer:
                    over |= full
                    break
                count += len(new) - len(full)
                # Also where the head stays: it says that nobody has written since the rows were read.
                actions = [
                    self._table.update_action(
                        (pk, "meta"),
                        "SET head = :new, ads = :ads",
                        {":new": head + len(changed), ":old": head, ":ads": count},
                        condition="head = :old" if head else "attribute_not_exists(head) OR head = :old",
                    )
                ]
                actions += [
                    self._table.update_action(
                        (pk, f"ad/{ad.ad.ad_id}"), "SET ord = :ord", {":ord": stamps[ad.ad.ad_id].order}
                    )
                    for ad in newer
                ]
                actions += [
                    self._table.put_action(
                        {
                            "pk": pk,
                            "sk": f"ad/{ad.ad.ad_id}",
                            "seq": number,
                            "doc": _ad_document(ad),
                            "vec": ad.vector or None,
                            "ord": stamps[ad.ad.ad_id].order,
                            "src": stamps[ad.ad.ad_id].source or None,
                        }
                    )
                    for number, ad in enumerate(changed, start=head + 1)
                ]
                try:
                    self._table.transact(actions)
                    written += len(changed)
                    over |= full
                    break
                except ConditionFailed:
                    give_way(attempt)
            else:
                raise Conflict("too many writers at the same catalogue", retry_after=1)
        return written, frozenset(over)

    # Snapshot ---------------------------------------------------------------------------------------------------

    def pointer(self, tenant: str) -> Pointer | None:
        row = self._table.get(_ads(tenant), "snapshot")
        return Pointer(row["version"], row["key"], row["built_head"]) if row else None

    def publish(self, tenant: str, pointer: Pointer) -> bool:
        """Swaps the pointer unless a newer snapshot is published already."""
        try:
            self._table.put(
                {
                    "pk": _ads(tenant),
                    "sk": "snapshot",
                    "version": pointer.version,
                    "key": pointer.key,
                    "built_head": pointer.head,
                },
                condition="attribute_not_exists(pk) OR built_head < :head",
                values={":head": pointer.head},
            )
        except ConditionFailed:
            return False
        return True

    def take_lease(self, tenant: str, owner: str, now: float, seconds: float) -> bool:
        """Makes `owner` the one builder until ``now + seconds``; False while another's lease runs."""
        try:
            self._table.put(
                {"pk": _ads(tenant), "sk": "lease", "holder": owner, "held_until": now + seconds},
                condition="attribute_not_exists(pk) OR held_until < :now",
                values={":now": now},
            )
        except ConditionFailed:
            return False
        return True

    def drop_lease(self, tenant: str, owner: str) -> None:
        try:
            self._table.put(
                {"pk": _ads(tenant), "sk": "lease", "holder": owner, "held_until": 0},
                condition="holder = :owner",
                values={":owner": owner},
            )
        except ConditionFailed:
            return

    # Items ------------------------------------------------------------------------------------------------------

    def known_items(self, tenant: str, item_ids: Iterable[str]) -> set[str]:
        """Those of `item_ids` that are ads or have an item row."""
        ids = list(dict.fromkeys(item_ids))
        keys = [(_ads(tenant), f"ad/{item_id}") for item_id in ids] + [
            (_item(tenant, item_id), "item") for item_id in ids
        ]
        rows = self._table.get_many(keys, attributes=["pk"])
        return {
            item_id
            for item_id in ids
            if (_ads(tenant), f"ad/{item_id}") in rows or (_item(tenant, item_id), "item") in rows
        }

    def put_items(self, tenant: str, items: Iterable[Item]) -> None:
        """Makes item rows; one that exists is replaced by the same content, so a race is harmless."""
        self._table.put_many(
            {
                "pk": _item(tenant, item.item_id),
                "sk": "item",
                "vec": item.vector,
                "dom": item.domain,
            }
            for item in items
        )

    def resolve(self, tenant: str, item_ids: Iterable[str]) -> dict[str, Item]:
        """What the ids stand for: an ad first, else an item row; unknown ids are absent."""
        ids = list(dict.fromkeys(item_ids))
        found = {
            ad_id: Item(ad_id, ad.vector, ad.ad.domain, ad.ad.text) for ad_id, ad in self.get_ads(tenant, ids).items()
        }
        keys = {(_item(tenant, item_id), "item"): item_id for item_id in ids if item_id not in found}
        for key, row in self._table.get_many(keys).items():
            found[keys[key]] = Item(keys[key], row["vec"], row.get("dom"))
        return found

    # Uploads ----------------------------------------------------------------------------------------------------

    def upload(self, tenant: str, key: str) -> Row | None:
        """The report of an upload that was taken in whole; None before that."""
        return self._table.get(f"t/{tenant}/uploads", key)

    def finish_upload(
        self,
        tenant: str,
        key: str,
        fingerprint: str,
        report: IngestReport,
        at: float,
        *,
        since: float = 0.0,
        over: int = 0,
    ) -> None:
        """Keeps the report. since: the upload's own time (epoch seconds). over: rows that were refused for want of
        quota, which another upload of the same file may bring in."""
        self._table.put(
            {
                "pk": f"t/{tenant}/uploads",
                "sk": key,
                "fingerprint": fingerprint,
                "accepted": report.accepted,
                "duplicates": report.duplicates,
                "rejected": report.rejected_count,
                "problem": report.problem,
                "at": at,
                "since": since,
                "over": over or None,
            }
        )


def _ads(tenant: str) -> str:
    return f"t/{tenant}/ads"


def _item(tenant: str, item_id: str) -> str:
    return f"t/{tenant}/item/{item_id}"


def _ad_document(ad: CatalogueAd) -> bytes:
    """Everything but the vector as JSON bytes; equal ads give equal bytes."""
    document: dict[str, Any] = {
        "ad": {name: value for name, value in asdict(ad.ad).items() if value not in (None, {}, "", ())},
        "labels": [asdict(label) for label in ad.category.labels],
        "abstained": ad.category.abstained,
        "active": ad.active,
        "inactive_reason": ad.inactive_reason,
        "findings": [asdict(finding) for finding in ad.findings],
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _chunks(ads: Iterable[CatalogueAd]) -> Iterator[list[CatalogueAd]]:
    """Ads in lots that fit a transaction beside the head, by number and by size."""
    chunk: list[CatalogueAd] = []
    size = 0
    for ad in ads:
        length = len(_ad_document(ad)) + len(ad.vector) + 2000  # the keys at their longest
        if chunk and (len(chunk) == TRANSACTION_LIMIT - 1 or size + length > _TRANSACTION_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(ad)
        size += length
    if chunk:
        yield chunk


def _row_ad(row: Row) -> CatalogueAd:
    document = orjson.loads(row["doc"])
    ad = document["ad"]
    if "frequency_cap" in ad:
        ad["frequency_cap"] = FrequencyCap(**ad["frequency_cap"])
    if "exclusion_labels" in ad:
        ad["exclusion_labels"] = tuple(ad["exclusion_labels"])
    return CatalogueAd(
        ad=Ad(**ad),
        category=Classification(tuple(Label(**label) for label in document["labels"]), document["abstained"]),
        active=document["active"],
        inactive_reason=document["inactive_reason"],
        findings=tuple(Finding(**finding) for finding in document["findings"]),
        vector=row.get("vec", b""),
    )
