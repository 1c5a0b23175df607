"""Notices: addresses that are called when a bid has won, is billed or has lost (4.2.3, 7.2), or its ad is clicked.

Who calls them signs nothing, so each carries an HMAC of what it is about: another decision, ad, tenant or kind needs
another one, and no caller can make it. What the exchange fills in (prices, reasons) is not covered, may be encrypted or
missing, and decides nothing but that a loss whose reason is "bid won" is none. There is no macro for clicks (4.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import Protocol
from urllib.parse import urlencode

KINDS = ("win", "billing", "loss", "click", "visit")  # a visit is a click that is led on to the ad's page
_PLACE = "{}.{}"
_DIGITS = 32  # of the HMAC, hexadecimal: 128 bits
# Macros (4.4) are replaced as they stand: percent signs would hide them.
_FILLED_IN = {  # by the exchange alone: a tracker's address is called as it stands
    "win": "&price=${AUCTION_PRICE}&currency=${AUCTION_CURRENCY}",
    "billing": "&price=${AUCTION_PRICE}&currency=${AUCTION_CURRENCY}",
    "loss": "&reason=${AUCTION_LOSS}&to_win=${AUCTION_MIN_TO_WIN}",
}


class Digests(Protocol):
    """`shared.stores.people.People`: keyed by the deployment's secret, by tenant."""

    def digest(self, tenant: str, user_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Notice:
    """place: of a loss, where the decision was bid with more than once: which bid of how many, from 0."""

    kind: str
    tenant: str
    decision_id: str
    ad_id: str
    place: tuple[int, int] | None = None


def address(digests: Digests, base: str, notice: Notice, *, filled_in: bool = False) -> str:
    """The notice's address under `base` (``https://…/openrtb2``). filled_in: the exchange calls it, and fills in."""
    parts = {"d": notice.decision_id, "a": notice.ad_id, "s": _signature(digests, notice)}
    if notice.place is not None:
        parts["o"] = _PLACE.format(*notice.place)
    query = urlencode(parts)
    return f"{base}/{notice.kind}?{query}{_FILLED_IN[notice.kind] if filled_in else ''}"


def is_ours(digests: Digests, notice: Notice, signature: str) -> bool:
    """Whether this deployment made the address, for this tenant."""
    return compare_digest(_signature(digests, notice).encode(), signature.encode("utf-8", "replace"))


def place_of(told: str) -> tuple[int, int] | None:
    """The place as it stands in an address; None where there is none. Only what `is_ours` confirms is one."""
    number, point, count = told.partition(".")
    return (int(number), int(count)) if point and number.isdecimal() and count.isdecimal() else None


def _signature(digests: Digests, notice: Notice) -> str:
    # External ids hold no control characters (`shared.preprocess.fields`), so that no person's digest is ever one.
    place = () if notice.place is None else (_PLACE.format(*notice.place),)
    parts = ("openrtb", notice.kind, notice.decision_id, notice.ad_id, *place)
    return digests.digest(notice.tenant, "\x1f".join(parts))[:_DIGITS]
