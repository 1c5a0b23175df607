"""Whose impression it is, and what may be known of them.

What the request says only ever narrows: who is known by it is served on what they and the tenant have agreed to here
(`shared.policy.consent`). They are nobody where

- GDPR applies (`regs.gdpr`, before 2.6 `regs.ext.gdpr`) and no TC string (`user.consent`, `user.ext.consent`) allows
  personalised ads: 3.2.3, 3.2.20, 7.5 and `shared.policy.tcf`;
- they opted out of sale, sharing or targeted advertising in the US: the third character of `regs.us_privacy` is Y (IAB
  Tech Lab, "US Privacy String", v1), or a section of the Global Privacy Platform's string that applies says so
  (`shared.openrtb.gpp`), or one that applies cannot be read here;
- their browser sends the Global Privacy Control: `regs.ext.gpc` (as Prebid.js has it), or the header ``Sec-GPC: 1``;
- `device.dnt` or `device.lmt` is set (3.2.18);
- one of these fields is there and cannot be read.

Which sections apply is what `regs.gpp_sid` lists. -1 says that none does; where it is not there, is empty or has 0 (a
consent platform that is still loading), every section of the string counts.

`regs.coppa` makes them a minor, as does a section that applies and knows of a child. The external id is that of the
entry of `user.eids` (2.5: `user.ext.eids`) with the source that the deployment names, else `user.buyeruid`, else
`user.id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.openrtb import gpp
from shared.openrtb.fields import Object, flag, table, tables, text, whole
from shared.policy import tcf
from shared.preprocess import fields

_US_PRIVACY = re.compile(r"1[YN-][YN-][YN-]", re.IGNORECASE)
# Of `gpp_sid` (IAB Tech Lab, "GPP CMP API", `applicableSections`).
_GPP_NONE, _GPP_UNKNOWN = -1, 0
_GPP_FRAME = (3, 4)  # header and signature, which need not be listed and say nothing (3.2.3)
_LONGEST = 10_000  # characters of a GPP string


@dataclass(frozen=True, slots=True)
class Person:
    """user_id: an external id; None where nobody is named, or nobody may be known. known: whether what the request says
    about them may be used. minor: a child, about whom nothing is looked up."""

    user_id: str | None
    known: bool
    minor: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """What one part of the request comes to."""

    allows: bool = True
    child: bool = False


def person_of(request: Object, *, eid_source: str = "", vendor_id: int = 0, gpc: bool = False) -> Person:
    """The person of a bid request. vendor_id: the deployment's own in the Global Vendor List, 0 for none. gpc: whether
    the request came with the header of the Global Privacy Control."""
    regs, user, device = table(request, "regs"), table(request, "user"), table(request, "device")
    said = _gpp(regs, vendor_id)
    minor = _flag(regs, "coppa") or said.child
    readable = all(_is_object(*place) for place in ((request, "regs"), (request, "device"), (regs, "ext")))
    tracked = not (gpc or _flag(regs, "gpc") or flag(device, "dnt") or flag(device, "lmt"))
    known = not minor and readable and tracked and said.allows and _allowed(regs, user, vendor_id)
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


def _is_object(holder: Object, name: str) -> bool:
    """Whether it is one, or not there."""
    return isinstance(holder.get(name), Mapping | None)


def _flag(regs: Object, name: str) -> bool:
    return flag(regs, name) or flag(table(regs, "ext"), name)


def _values(regs: Object, name: str) -> list[Any]:
    """What stands under this name, in its own place and in that of older versions."""
    found = (regs.get(name), table(regs, "ext").get(name))
    return [one for one in found if one is not None and not (isinstance(one, str) and not one.strip())]


def _allowed(regs: Object, user: Object, vendor_id: int) -> bool:
    consent = text(user, "consent") or text(table(user, "ext"), "consent")
    if _flag(regs, "gdpr") and not _tcf_allows(consent, vendor_id):
        return False
    return all(map(_sale_allowed, _values(regs, "us_privacy")))


def _tcf_allows(consent: str | None, vendor_id: int) -> bool:
    try:
        return consent is not None and tcf.read(consent, vendor_id).allows
    except ValueError:
        return False


def _sale_allowed(privacy: Any) -> bool:
    if not isinstance(privacy, str) or not _US_PRIVACY.fullmatch(privacy.strip()):
        return False
    return privacy.strip()[2].upper() != "Y"


def _gpp(regs: Object, vendor_id: int) -> _Said:
    """What the sections that apply say together: each must be there and allow it."""
    strings, lists = _values(regs, "gpp"), _values(regs, "gpp_sid")
    listed = [_sections(one) for one in lists]
    if None in listed:
        return _Said(allows=False)
    named = frozenset().union(*(one for one in listed if one is not None))
    applicable = named - {_GPP_NONE, _GPP_UNKNOWN, *_GPP_FRAME}
    unknown = _GPP_UNKNOWN in named or not (applicable or _GPP_NONE in named)
    if not applicable and not (unknown and (strings or _GPP_UNKNOWN in named)):
        return _Said()
    sections: dict[int, str] = {}
    try:
        for string in strings:
            if not isinstance(string, str) or len(string) > _LONGEST:
                return _Said(allows=False)
            sections |= gpp.sections_of(string.strip())
    except ValueError:
        return _Said(allows=False)
    counted = applicable | (sections.keys() if unknown else frozenset())
    said = [_section(one, sections.get(one), vendor_id) for one in counted]
    return _Said(bool(said) and all(one.allows for one in said), any(one.child for one in said))


def _sections(listed: Any) -> frozenset[int] | None:
    """Ids of sections; None where it is no list of such."""
    if not isinstance(listed, list):
        return None
    found = [whole({"id": one}, "id") for one in listed[:_LONGEST]]
    return frozenset(one for one in found if one is not None) if None not in found else None


def _section(section: int, text_: str | None, vendor_id: int) -> _Said:
    if text_ is None:
        return _Said(allows=False)
    if section == gpp.TCF_EU:
        return _Said(_tcf_allows(text_, vendor_id))
    if section == gpp.US_PRIVACY:
        return _Said(_sale_allowed(text_))
    if not gpp.is_of_us(section):
        return _Said(allows=False)
    choices = gpp.choices_of(section, text_)
    return _Said(choices is not None and choices.permits, choices is not None and choices.child)
