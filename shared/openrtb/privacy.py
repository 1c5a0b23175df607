"""Whose impression it is, and what may be known of them.

What the request says only ever narrows: who is known by it is served on what they and the tenant have agreed to here
(`shared.policy.consent`). They are nobody where

- GDPR applies (`regs.gdpr`, before 2.6 `regs.ext.gdpr`) and no TC string (`user.consent`, `user.ext.consent`) allows
  personalised ads: 3.2.3, 3.2.20, 7.5 and `shared.policy.tcf`;
- they opted out of sale, sharing or targeted advertising in the US: the third character of `regs.us_privacy` is Y (IAB
  Tech Lab, "US Privacy String", v1), or a section of the Global Privacy Platform's string that applies (`regs.gpp_sid`)
  says so (`shared.openrtb.gpp`), or one that applies cannot be read here;
- `device.dnt` or `device.lmt` is 1 (3.2.18).

`regs.coppa` makes them a minor. The external id is that of the entry of `user.eids` (2.5: `user.ext.eids`) with the
source that the deployment names, else `user.buyeruid`, else `user.id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.openrtb import gpp
from shared.openrtb.fields import Object, table, tables, text, whole, wholes
from shared.policy import tcf
from shared.preprocess import fields

_US_PRIVACY = re.compile(r"1[YN-][YN-][YN-]", re.IGNORECASE)
_GPP_NONE, _GPP_UNKNOWN = 0, -1  # of `gpp_sid`: no section applies; it is not known which
_GPP_FRAME = (3, 4)  # header and signature, which need not be listed and say nothing (3.2.3)


@dataclass(frozen=True, slots=True)
class Person:
    """user_id: an external id; None where nobody is named, or nobody may be known. known: whether what the request says
    about them may be used. minor: of COPPA's, about whom nothing is looked up."""

    user_id: str | None
    known: bool
    minor: bool


def person_of(request: Object, *, eid_source: str = "", vendor_id: int = 0) -> Person:
    """The person of a bid request. vendor_id: the deployment's own in the Global Vendor List, 0 for none."""
    regs, user, device = table(request, "regs"), table(request, "user"), table(request, "device")
    minor = _flag(regs, "coppa") == 1
    known = not minor and 1 not in (whole(device, "dnt"), whole(device, "lmt")) and _allowed(regs, user, vendor_id)
    return Person(_user_id(user, eid_source) if known else None, known, minor)


def _user_id(user: Object, source: str) -> str | None:
    entries = tables(user, "eids") or tables(table(user, "ext"), "eids")
    for entry in entries if source else ():
        if text(entry, "source") == source:
            for uid in tables(entry, "uids"):
                if found := _external_id(uid, "id"):
                    return found
    return _external_id(user, "buyeruid") or _external_id(user, "id")


def _external_id(holder: Object, name: str) -> str | None:
    """As events have it, since it would name nobody otherwise."""
    try:
        return fields.addressed(text(holder, name), name)
    except fields.Refused:
        return None


def _allowed(regs: Object, user: Object, vendor_id: int) -> bool:
    consent = text(user, "consent") or text(table(user, "ext"), "consent")
    if _flag(regs, "gdpr") == 1 and not _tcf_allows(consent, vendor_id):
        return False
    privacy = text(regs, "us_privacy") or text(table(regs, "ext"), "us_privacy")
    if privacy is not None and not _sale_allowed(privacy):
        return False
    string = text(regs, "gpp") or text(table(regs, "ext"), "gpp")
    sections = wholes(regs, "gpp_sid") or wholes(table(regs, "ext"), "gpp_sid")
    applicable = sections - {_GPP_NONE, _GPP_UNKNOWN, *_GPP_FRAME}
    return not applicable or _gpp_allows(string or "", applicable, vendor_id)


def _flag(regs: Object, name: str) -> int | None:
    value = whole(regs, name)
    return whole(table(regs, "ext"), name) if value is None else value


def _tcf_allows(consent: str | None, vendor_id: int) -> bool:
    try:
        return consent is not None and tcf.read(consent, vendor_id).allows
    except ValueError:
        return False


def _sale_allowed(privacy: str) -> bool:
    return _US_PRIVACY.fullmatch(privacy) is not None and privacy[2].upper() != "Y"


def _gpp_allows(string: str, applicable: frozenset[int], vendor_id: int) -> bool:
    """Whether every section that applies is there and allows it."""
    try:
        sections = gpp.sections_of(string)
    except ValueError:
        return False
    return all(one in sections and _section_allows(one, sections[one], vendor_id) for one in applicable)


def _section_allows(section: int, said: str, vendor_id: int) -> bool:
    if section == gpp.TCF_EU:
        return _tcf_allows(said, vendor_id)
    if section == gpp.US_PRIVACY:
        return _sale_allowed(said)
    return gpp.is_of_us(section) and gpp.permits(section, said)
