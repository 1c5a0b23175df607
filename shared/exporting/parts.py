"""The parts of an export: what is kept, in plain names and values. Times are epoch seconds until they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.domain import FEEDBACK_TYPES, Consent, Event, Profile
from shared.policy.consent import purposes
from shared.stores.decisions import StoredDecision

Written = Callable[[float], str]  # how a time is written


def consent_part(consent: Consent, written: Written) -> dict[str, Any]:
    return {
        "personalisation": consent.personalisation,
        "sensitive": consent.sensitive,
        "purposes": list(purposes(consent)),
        "minor": consent.minor,
        "source": consent.source,
        "version": consent.version,
        "basis": consent.basis,
        "tcf": consent.tcf,
        "at": written(consent.at) if consent.at else None,
    }


def statement_part(said: Mapping[str, Any], written: Written) -> dict[str, Any]:
    times = {name: written(float(said[name])) for name in ("at", "recorded_at")}
    return {
        "personalisation": said["personalisation"],
        "sensitive": said["sensitive"],
        "purposes": list(said["purposes"]),
        "source": said["source"],
        "version": said.get("version"),
        "tcf": said.get("tcf"),
        "minor": said.get("minor"),
    } | times


def profile_part(profile: Profile, written: Written) -> dict[str, Any]:
    return {
        "interests": [
            {
                "id": one.id,
                "name": one.name,
                "categories": one.categories,
                "weight": one.weight,
                "strength": one.strength,
                "term": one.term,
                "sensitive": one.sensitive,
                "enabled": one.enabled,
                "evidence": list(one.evidence),
                "against": list(one.against),
            }
            for one in profile.interests
        ],
        "segments": list(profile.segments),
        "acquired": list(profile.acquired),
        "recent": [
            {"item_id": one.item_id, "at": written(one.at), "interest_id": one.interest_id or None}
            for one in profile.recent
        ],
        "events": profile.events,
        "updated_at": written(profile.updated_at),
    }


def event_part(event: Event, ref: str, written: Written) -> dict[str, Any]:
    return {
        "ref": ref,
        "event_id": event.event_id,
        "event": event.event,
        "timestamp": written(event.timestamp),
        "item_id": event.item_id,
        "platform": event.platform,
        "domain": event.domain,
        "text": event.text,
        "tags": list(event.tags),
        "value": event.value,
    }


def decision_part(stored: StoredDecision, ref: str, log: Mapping[str, Any], written: Written) -> dict[str, Any]:
    decision = stored.decision
    feedback = [(*mark.partition("/"), at) for mark, at in sorted(stored.marks.items())]
    return {
        "ref": ref,
        "decision_id": decision.decision_id,
        "at": written(decision.at),
        "personalised": decision.personalised,
        **_context(log),
        "ads": [
            {
                "slot": slot,
                "ad_id": ad.ad_id,
                "copy": ad.copy,
                "copy_served_by": ad.copy_served_by,
                "score": ad.score,
                "propensity": ad.propensity,
                "reasons": [{"code": one.code, "text": one.text, "interest_id": one.interest_id} for one in ad.reasons],
            }
            for slot, ad in enumerate(decision.ads, start=1)
        ],
        "feedback": [{"type": kind, "ad_id": ad_id, "at": written(at)} for kind, _, ad_id, at in feedback],
        "versions": dict(decision.versions),
    }


def logged_part(line: Mapping[str, Any], ref: str, written: Written) -> dict[str, Any]:
    """As `decision_part`; of copy and reasons the log knows nothing."""
    return {
        "ref": ref,
        "decision_id": line["decision_id"],
        "at": written(line["at"]),
        "personalised": line["personalised"],
        **_context(line),
        "ads": [
            {
                "slot": one["slot"],
                "ad_id": one["ad_id"],
                "copy": None,
                "copy_served_by": one["copy_served_by"],
                "score": one["score"],
                "propensity": one["propensity"],
                "reasons": [],
            }
            for one in line["slots"]
        ],
        "feedback": [
            {"type": kind, "ad_id": one["ad_id"], "at": written(one[f"{kind}_at"])}
            for kind in FEEDBACK_TYPES
            for one in line["slots"]
            if one[f"{kind}_at"] is not None
        ],
        "versions": {one["name"]: one["version"] for one in line["versions"]},
    }


def _context(line: Mapping[str, Any]) -> dict[str, Any]:
    ages = line.get("history_ages", ())
    return {
        "context": {name: line.get(name) for name in ("domain", "language", "platform", "placement")},
        "segments": list(line.get("segments", ())),
        "history": [
            {"item_id": item, "age_days": age} for item, age in zip(line.get("history", ()), ages, strict=True)
        ],
    }
