"""The decision log: what was decided, what else could have been, and what came of it, one JSON line a decision.

A decision's record is packed into its row in the table; ``logs/{tenant}/decisions/{date}/{HHMM}.jsonl.gz`` holds the
lines of ten minutes, with the feedback that has come by then. Each such file is written anew (`DUE`) as feedback comes
in late, the last time before the rows expire, and always with the same name: whoever writes it, twice or at the same
moment, writes the same. Its fields are the same in every line, so that readers of Parquet and SQL take it as it is.

A line: ``decision_id, at, person`` (the uid, null without consent), ``counts_as`` (null with it; the same for all ids
of a person that are linked at the moment, so that who counts people counts them once), ``personalised, domain,
language, platform, placement, n, epsilon, rotation, redraws, versions [{name, version}], segments [ids], history [item
ids], history_ages [days], candidates [{ad_id, campaign_id, category, labels, score, slot, propensity, base,
features}]`` (every ad that had a chance: its own slot and the chance before the rotation), ``slots [{slot, ad_id,
propensity, variant, variant_propensity, score, copy_served_by, impression_at, click_at, conversion_at, dismiss_at}]``
(what was shown, with the probability of this ad in this slot) and ``excluded [{rule, ads}]`` (how many ads each rule
kept out).
``as_of`` is when the line was written: later feedback is not in it. Slots count from 1.
"""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson

from shared.domain import FEEDBACK_TYPES, Decision
from shared.policy.consent import in_force
from shared.publishing import renew
from shared.stores import Stores
from shared.stores.delivery import BUCKET_SECONDS, DECISION_DAYS, SHARDS, bucket_of
from shared.telemetry import logger

# Buckets after which a file is written (again): 10 minutes, an hour, a day, and once more before the rows expire.
HOUR = 6
DUE = (1, HOUR, 146, 960)
FIRST = 6  # buckets before that are written of a tenant that is seen for the first time
OLDEST = DECISION_DAYS * 86400 // BUCKET_SECONDS - 2  # buckets ago: what is older may have expired in part
AT_ONCE = 500  # lines
DIGITS = 3  # of features and scores


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ad with a chance: its own slot (from 0), and the chance before the rotation. features: as models saw them."""

    ad_id: str
    campaign_id: str | None
    category: str | None
    labels: Sequence[str]
    score: float
    slot: int
    propensity: float
    base: bool
    features: Sequence[float]


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a decision besides what it showed.

    segments: of the person, each of at least k people. history: ids and ages (days) of the person's last items.
    excluded: by rule how many ads it kept out. nobody: whether the log must not say whose it was, since a sensitive
    interest had a part in it. uids: of all ids of the person.
    """

    domain: str | None
    language: str | None
    platform: str | None
    placement: str | None
    n: int
    epsilon: float
    rotation: float
    redraws: int
    segments: Sequence[str]
    history: Sequence[str]
    history_ages: Sequence[float]
    candidates: Sequence[Candidate]
    excluded: Mapping[str, int] = field(default_factory=dict)
    nobody: bool = False
    uids: Sequence[str] = ()


def pack(record: Record, decision: Decision) -> bytes:
    """The record and the decision as the first half of a line, compressed."""
    line = {
        "decision_id": decision.decision_id,
        "at": decision.at,
        "person": None if record.nobody else decision.uid,
        "counts_as": None if record.nobody or decision.uid is None else _once((decision.uid, *record.uids)),
        "personalised": decision.personalised,
        "domain": record.domain,
        "language": record.language,
        "platform": record.platform,
        "placement": record.placement,
        "n": record.n,
        "epsilon": record.epsilon,
        "rotation": record.rotation,
        "redraws": record.redraws,
        "versions": [{"name": name, "version": version} for name, version in sorted(decision.versions.items())],
        "segments": [] if record.nobody else list(record.segments),
        "history": [] if record.nobody else list(record.history),
        "history_ages": [] if record.nobody else [round(age, DIGITS) for age in record.history_ages],
        "candidates": [
            {
                "ad_id": one.ad_id,
                "campaign_id": one.campaign_id,
                "category": one.category,
                "labels": list(one.labels),
                "score": one.score,
                "slot": one.slot + 1,
                "propensity": one.propensity,
                "base": one.base,
                "features": [round(float(value), DIGITS) for value in one.features],
            }
            for one in record.candidates
        ],
        "slots": [
            {
                "slot": slot,
                "ad_id": ad.ad_id,
                "propensity": ad.propensity,
                "variant": ad.variant,
                "variant_propensity": ad.variant_propensity,
                "score": ad.score,
                "copy_served_by": ad.copy_served_by,
            }
            for slot, ad in enumerate(decision.ads, start=1)
        ],
        "excluded": [{"rule": rule, "ads": ads} for rule, ads in sorted(record.excluded.items()) if ads],
    }
    return zlib.compress(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY), 6)


def _once(uids: Sequence[str]) -> str:
    """What linked ids have in common. Of one of them, so that a person who links and unlinks ids is never more people
    than they have ids, and hashed, so that a line names nobody but whose it is: an erasure need not look for others."""
    return blake2b(min(uids).encode(), digest_size=9, person=b"counts_as").hexdigest()


def line_of(log: bytes, feedback: Mapping[str, float]) -> dict[str, Any] | None:
    """The whole line of a packed record, with the feedback so far (time by ``kind/ad_id``); None without a record."""
    if not log:
        return None
    line: dict[str, Any] = orjson.loads(zlib.decompress(log))
    if "counts_as" not in line:
        line["counts_as"] = _once((line["person"],)) if line["person"] is not None else None
    for slot in line["slots"]:
        for kind in FEEDBACK_TYPES:
            slot[f"{kind}_at"] = feedback.get(f"{kind}/{slot['ad_id']}")
    return line


def key_of(tenant: str, bucket: int) -> str:
    """Where the lines of a bucket lie."""
    begin = datetime.fromtimestamp(bucket * BUCKET_SECONDS, UTC)
    return f"logs/{tenant}/decisions/{begin:%Y-%m-%d}/{begin:%H%M}.jsonl.gz"


def write(stores: Stores, tenant: str, bucket: int, now: float, *, consent_basis: Callable[[str], str]) -> int:
    """Writes the lines of one bucket, in order of time, and returns how many they are; no file where there are none.

    Who has refused since is nobody in it, and so is who never said a word where the tenant has come to need consent.
    now: epoch seconds, which the lines carry as `as_of`. consent_basis: of a tenant, ``asserted`` or ``required``.
    """
    named = bucket_of(bucket * BUCKET_SECONDS)
    kept = [
        (at, decision_id, log, feedback)
        for shard in SHARDS
        for decision_id, at, log, feedback in stores.delivery.decisions_of(tenant, named, shard)
        if log
    ]
    if not kept:
        return 0
    kept.sort(key=lambda one: one[:2])
    packed = io.BytesIO()
    # Lines are many times their records: some at a time are unpacked.
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as file:
        for start in range(0, len(kept), AT_ONCE):
            lines = [line_of(log, feedback) for _, _, log, feedback in kept[start : start + AT_ONCE]]
            kept_lines = [line for line in lines if line is not None]
            for line in _named_by_consent(stores, tenant, kept_lines, consent_basis(tenant)):
                file.write(orjson.dumps(line | {"as_of": now}, option=orjson.OPT_APPEND_NEWLINE))
    stores.objects.put(key_of(tenant, bucket), packed.getvalue(), "application/gzip")
    return len(kept)


def _named_by_consent(stores: Stores, tenant: str, lines: list[dict[str, Any]], basis: str) -> list[dict[str, Any]]:
    people = sorted({line["person"] for line in lines if line["person"] is not None})
    said = stores.people.consents(tenant, people) if people else {}
    for line in lines:
        if line["person"] is not None and not in_force(said.get(line["person"]), basis).personalisation:
            line |= {"person": None, "counts_as": None, "segments": [], "history": [], "history_ages": []}
    return lines


def export(
    stores: Stores,
    *,
    now: float,
    seconds: float,
    consent_basis: Callable[[str], str],
    tenants: Sequence[str] = (),
    latest: bool = False,
) -> int:
    """Writes every file that is due, for at most `seconds`, and returns how many lines were written.

    How far each of `DUE` has got is kept by tenant, so that what an outage left undone is made good. latest: also the
    bucket that is not over yet, and the one before it.
    """
    until = time.monotonic() + seconds
    current, lines = int(now // BUCKET_SECONDS), 0
    names = list(tenants) or stores.log_progress.tenants()
    turn = current % max(len(names), 1)  # or the last ones would never have their turn where there are many
    for tenant in names[turn:] + names[:turn]:
        if latest:
            for bucket in (current - 1, current):
                lines += write(stores, tenant, bucket, now, consent_basis=consent_basis)
        reached = stores.log_progress.written(tenant)
        for due in DUE:
            first = reached.get(due, current - due - FIRST) + 1
            for bucket in range(max(first, current - OLDEST), current - due + 1):
                if time.monotonic() > until:
                    logger.warning("the decision log is behind", extra={"tenant": tenant, "due": due, "bucket": bucket})
                    return lines
                lines += write(stores, tenant, bucket, now, consent_basis=consent_basis)
                stores.log_progress.mark(tenant, due, bucket)
                if due == HOUR and bucket % HOUR == 0:
                    renew_click_rates(stores, tenant)
    return lines


def renew_click_rates(stores: Stores, tenant: str) -> bool:
    """Has the catalogue published with the click rates of now, where more has been seen since; whether it is."""
    seen = sum(row["impressions"] for row in stores.delivery.stats(tenant).values())
    pointer = stores.catalogue.pointer(tenant)
    if pointer is None or seen == stores.log_progress.counted(tenant):
        return False
    renewed = renew(stores, tenant, pointer)
    stores.log_progress.mark_counted(tenant, seen)
    return renewed
