"""Whose impression it is, and what may be known of them.

What the request says only ever narrows: who is known by it is served on what they and the tenant have agreed to here
(`shared.policy.consent`). They are nobody where

- GDPR applies (`regs.gdpr`, before 2.6 `regs.ext.gdpr`) and no TC string (`user.consent`, `user.ext.consent`) allows
  personalised ads: 3.2.3, 3.2.20, 7.5 and `shared.policy.tcf`;
- they opted out of sale: the third character of `regs.us_privacy` is Y (IAB Tech Lab, "US Privacy String", v1), or the
  Global Privacy Platform's string says so, or says what is not understood here;
- `device.dnt` or `device.lmt` is 1 (3.2.18).

`regs.coppa` makes them a minor. The external id is that of the entry of `user.eids` (2.5: `user.ext.eids`) with the
source that the deployment names, else `user.buyeruid`, else `user.id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits

from shared.openrtb.fields import Object, table, tables, text, whole, wholes
from shared.policy import tcf
from shared.preprocess import fields

_US_PRIVACY = re.compile(r"1[YN-][YN-][YN-]", re.IGNORECASE)
_GPP_TCF, _GPP_US_PRIVACY, _GPP_US_NATIONAL = 2, 6, 7  # sections, "GPP Section Information"
_ALPHABET = f"{ascii_uppercase}{ascii_lowercase}{digits}-_"  # of URL-safe base64 (RFC 4648, section 5)
_OPT_OUTS = (18, 20, 22)  # bits of the national section's core: SaleOptOut, SharingOptOut, TargetedAdvertisingOptOut
_OPTED_OUT = 1


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
        return fields.person(text(holder, name), name)
    except fields.Refused:
        return None


def _allowed(regs: Object, user: Object, vendor_id: int) -> bool:
    consent = text(user, "consent") or text(table(user, "ext"), "consent")
    if _flag(regs, "gdpr") == 1 and not _tcf_allows(consent, vendor_id):
        return False
    privacy = text(regs, "us_privacy") or text(table(regs, "ext"), "us_privacy")
    if privacy is not None and not _sale_allowed(privacy):
        return False
    gpp = text(regs, "gpp") or text(table(regs, "ext"), "gpp")
    sections = wholes(regs, "gpp_sid") or wholes(table(regs, "ext"), "gpp_sid")
    applicable = sections - {-1, 0}  # 0: no section applies; -1: not known
    return not applicable or _gpp_allows(gpp or "", applicable, vendor_id)


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


def _gpp_allows(gpp: str, sections: frozenset[int], vendor_id: int) -> bool:
    """Only a string of the one section that applies is read, since then no header needs to say which is where. Of
    states' sections each has a layout of its own: they count as an opt-out."""
    _, *parts = gpp.split("~")
    if len(sections) != 1 or len(parts) != 1:
        return False
    (section,) = sections
    if section == _GPP_TCF:
        return _tcf_allows(parts[0], vendor_id)
    if section == _GPP_US_PRIVACY:
        return _sale_allowed(parts[0])
    return section == _GPP_US_NATIONAL and _national_allows(parts[0])


def _national_allows(section: str) -> bool:
    """IAB Tech Lab, "US National Privacy Section", core segment: Version (6 bits), six notices, then the opt-outs, of
    two bits each; 1: opted out. Its other segment (type 1, two bits) has the browser's Global Privacy Control."""
    core, *others = [_bits(segment) for segment in section.split(".")]
    if any(other[:3] == "011" for other in others) or len(core) < max(_OPT_OUTS) + 2:
        return False
    return all(int(core[place : place + 2], 2) != _OPTED_OUT for place in _OPT_OUTS)


def _bits(segment: str) -> str:
    """URL-safe base64 as bits; none where it is none."""
    places = [_ALPHABET.find(letter) for letter in segment]
    return "" if -1 in places else "".join(f"{place:06b}" for place in places)
