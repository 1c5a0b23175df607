"""A person's profile and consent as the API answers them, wherever it does."""

from __future__ import annotations

from typing import Any, Literal

from shared.domain import Consent, Profile
from shared.entry import rfc3339
from shared.policy.consent import purposes
from shared.wiring import System


def profile_body(system: System, profile: Profile, consent: Consent) -> dict[str, Any]:
    """A profile as the API answers it."""
    return {
        "user_id": profile.user_id,
        "interests": [
            {
                "id": interest.id,
                "name": interest.name,
                "categories": interest.categories,
                "weight": interest.weight,
                "strength": interest.strength,
                "term": interest.term,
                "evidence": list(interest.evidence),
                "against": list(interest.against),
                "enabled": interest.enabled,
            }
            for interest in profile.interests
        ],
        "segments": list(profile.segments),
        "events": profile.events,
        "updated_at": rfc3339(profile.updated_at),
        "consent": consent_body(system, consent),
        "versions": system.versions,
    }


def consent_body(system: System, consent: Consent) -> dict[str, Any]:
    """Consent as the API answers it, with what its TC string came to where there is one."""
    basis: Literal["given", "asserted", "none"] = consent.basis
    body = {
        "personalisation": consent.personalisation,
        "sensitive": consent.sensitive,
        "purposes": list(purposes(consent)),
        "minor": consent.minor,
        "source": consent.source,
        "version": consent.version,
        "basis": basis,
        "at": rfc3339(consent.at) if consent.at else None,
    }
    signals = system.profiling.signals(consent)
    if signals is None:
        return body
    return body | {
        "tcf": {
            "policy_version": signals.policy_version,
            "vendor_list_version": signals.vendor_list_version,
            "purposes": list(signals.purposes),
            "vendor": signals.vendor,
            "allows": signals.allows,
        }
    }
