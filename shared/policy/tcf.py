"""Consent as a TC string of IAB Europe's Transparency and Consent Framework v2 says it.

Sections are those of IAB Tech Lab's "Transparency and Consent String with Global Vendor & CMP List Formats" (v2.3) and,
where said so, of IAB Europe's "Transparency & Consent Framework Policies". Personalised advertising rests here on

- consent to purposes 1 (store and/or access information on a device), 3 (create profiles for personalised advertising)
  and 4 (use profiles to select personalised advertising): Policies, Appendix A. Legitimate interest does not do: since
  TCF 2.2 it is no basis for purposes 3 to 6, and it never was one for purpose 1. Nor does ``PurposeOneTreatment``,
  which says that purpose 1 was not shown: then nobody consented to it;
- where the deployment is a vendor of the Global Vendor List, that vendor's consent ("Vendor Consent Section"), that it
  was disclosed ("Disclosed Vendors": mandatory from TCF 2.3, ``TcfPolicyVersion`` 5, on), and no "Publisher
  Restrictions" entry that forbids one of these purposes to it (type 0) or leaves it legitimate interest alone (type 2);
- a string for one service: one for everywhere (``IsServiceSpecific`` 0) is void ("What happened to Global scope and
  Out of Band?").

The framework has no purpose for special categories of data (GDPR Art. 9): a string never allows sensitive interests.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PERSONALISING = (1, 3, 4)  # purposes
LONGEST = 4000  # characters
DISCLOSING = 5  # TcfPolicyVersion from which on vendors must be disclosed
_PART = re.compile(r"[A-Za-z0-9_-]+")
_NEVER, _INTEREST_ONLY = 0, 2  # types of restriction
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3  # types of segment
_VOID = "this TC string is damaged"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a TC string says of personalised advertising.

    purposes: those consented to, of 1 to 24. vendor: whether the vendor asked about may rely on them; None where none
    was asked about.
    """

    policy_version: int
    vendor_list_version: int
    purposes: tuple[int, ...]
    vendor: bool | None
    service_specific: bool = True

    @property
    def allows(self) -> bool:
        """Whether ads may be personalised by it."""
        return self.service_specific and self.vendor is not False and set(PERSONALISING) <= set(self.purposes)

    @property
    def version(self) -> str:
        """Which policy and list the person was shown, as the version of a notice."""
        return f"tcf-policy-{self.policy_version}/vendor-list-{self.vendor_list_version}"


def read(tcf: str, vendor_id: int = 0) -> Signals:
    """What the TC string says, for the vendor of that id in the Global Vendor List (0: for none).

    Raises:
        ValueError: it is no whole TC string of version 2; the message says why.
    """
    core, *others = _parts(tcf)
    consent = _core(core)
    disclosed = _disclosed(others)
    return Signals(
        policy_version=consent.tcf_policy_version,
        vendor_list_version=consent.vendor_list_version,
        purposes=tuple(purpose for purpose, yes in consent.purposes_consent.items() if yes),
        vendor=_vendor(consent, disclosed, vendor_id) if vendor_id else None,
        service_specific=consent.is_service_specific,
    )


def _parts(tcf: str) -> list[bytes]:
    """The decoded segments: the core first, and each of the other types once at most."""
    from iab_tcf.iab_tcf import base64_decode  # type: ignore[import-untyped]

    parts = tcf.split(".")
    if len(tcf) > LONGEST or len(parts) > 4 or not all(map(_PART.fullmatch, parts)):
        raise ValueError("a TC string is 1 to 4 parts in URL-safe base64, with dots between them")
    try:
        decoded = [base64_decode(part) for part in parts]
    except ValueError as error:
        raise ValueError(_VOID) from error
    version = decoded[0][0] >> 2 if decoded[0] else 0
    if version != 2:
        raise ValueError(f"a TC string of version 2, not of version {version}")
    kinds = [part[0] >> 5 if part else 0 for part in decoded[1:]]
    if len(set(kinds)) < len(kinds) or not set(kinds) <= {_DISCLOSED, _ALLOWED, _PUBLISHER}:
        raise ValueError(_VOID)
    return decoded


def _core(part: bytes) -> Any:
    from iab_tcf import ConsentV2  # type: ignore[import-untyped]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it asks datetime for UTC the old way
            consent = ConsentV2(part)
    except (ValueError, OverflowError) as error:
        raise ValueError(_VOID) from error
    # Beyond the end the library reads ones: what is cut short would consent to everything.
    _whole(consent._reader, part)
    ranges = [*getattr(consent, "consented_vendors_range", ()), *getattr(consent, "interests_vendors_range", ())]
    ranges += [pair for entry in consent.pub_restriction_entries for pair in entry.restrictions_range]
    _ordered(ranges)
    return consent


def _disclosed(parts: Sequence[bytes]) -> Any:
    """Whether a vendor was disclosed, as a function of its id; None without that segment. The library would write out
    every vendor of every range, which a hostile string makes minutes of work."""
    from iab_tcf import Reader

    found = None
    for part in parts:
        reader = Reader(part)
        if reader.read_int(3) == _PUBLISHER:
            reader.read_bits(48)
            reader.read_bits(2 * reader.read_int(6))
            _whole(reader, part)
            continue
        most = reader.read_int(16)
        ranges: list[tuple[int, int]] = []
        if reader.read_bool():
            ranges = reader.read_range(reader.read_int(12))
            _ordered(ranges)
        else:
            field = reader.read_bits(most)
            ranges = [(place, place) for place, yes in enumerate(field, start=1) if yes]
        _whole(reader, part)
        if part[0] >> 5 == _DISCLOSED:
            found = ranges
    if found is None:
        return None
    return lambda vendor_id: any(first <= vendor_id <= last for first, last in found)


def _vendor(consent: Any, disclosed: Any, vendor_id: int) -> bool:
    if not consent.is_vendor_allowed(vendor_id):
        return False
    if disclosed is None and consent.tcf_policy_version >= DISCLOSING:
        return False
    if disclosed is not None and not disclosed(vendor_id):
        return False
    return not any(
        entry.purpose_id in PERSONALISING
        and entry.restriction_type in (_NEVER, _INTEREST_ONLY)
        and entry.is_in_range(vendor_id)
        for entry in consent.pub_restriction_entries
    )


def _whole(reader: Any, part: bytes) -> None:
    if reader._pointer > 8 * len(part):
        raise ValueError("this TC string is cut short")


def _ordered(ranges: Sequence[tuple[int, int]]) -> None:
    if not all(1 <= first <= last for first, last in ranges):
        raise ValueError(_VOID)
