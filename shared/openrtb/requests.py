"""A bid request (3.2.1), read into what choosing and answering need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from shared.domain import LANGUAGES, Language
from shared.errors import BadInput
from shared.openrtb import native
from shared.openrtb.categories import AD_PRODUCT_2_0, CONTENT_1_0, page_domain
from shared.openrtb.fields import Object, flag, name_of, number, price, table, tables, text, texts, whole, wholes
from shared.openrtb.markup import SMALLEST
from shared.openrtb.native import NativeSlot
from shared.openrtb.privacy import Person, person_of

MOST_SLOTS = 10  # impressions of one request that are bid on: each is a decision of its own
LONGEST_PLACE = 80  # characters of a placement's or platform's name
MOST_DEALS = 20  # of an impression
LARGEST = 10_000  # pixels of either side of a banner: more is no size
CURRENCY = "USD"  # of floors that name none (3.2.4, 3.2.12)
_FIXED = 3  # `deal.at`: its floor is its price
_TRADITIONAL = {"hant", "tw", "hk", "mo"}  # subtags (BCP 47) of Chinese that ours is not
_TOPICS = 10  # of the first-party data that are used


@dataclass(frozen=True, slots=True)
class BannerSlot:
    """`size`: the first of the sizes on offer that copy can be read in, in pixels."""

    size: tuple[int, int]
    blocked_types: frozenset[int]
    blocked_attributes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Offer:
    """Terms on which an impression can be had: those of a deal (3.2.12), or of the open market.

    deal: its id; None: the open market. floor: least price, per thousand, in currency. fixed: the floor is the price.
    seats, advertisers: the only ones allowed, the latter by domain; None: any.
    """

    deal: str | None
    floor: float
    currency: str
    fixed: bool = False
    seats: frozenset[str] | None = None
    advertisers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One impression (3.2.4). offers: of its deals, in their order, and last of the open market unless only deals may
    bid. exp: seconds that may pass before it is seen; None: not known. quantity: how many see it (`qty`, 3.2.31)."""

    id: str
    placement: str
    offers: tuple[Offer, ...]
    secure: bool
    exp: int | None
    quantity: float
    banner: BannerSlot | None
    native: NativeSlot | None


@dataclass(frozen=True, slots=True)
class BidRequest:
    """tmax: milliseconds; None: no limit. currencies: allowed ones; empty: any. languages: of ours that creatives may
    have; None: any. cattax: the taxonomy of `blocked` and `allowed` categories. advertisers: blocked domains. seats:
    the only ones allowed; empty: any. interests: categories of ours that the person cares for, by the publisher's own
    data; none of whom nothing may be known."""

    id: str
    slots: tuple[Slot, ...]
    person: Person
    test: bool
    tmax: float | None
    currencies: frozenset[str]
    languages: frozenset[Language] | None
    cattax: int
    blocked: frozenset[str]
    allowed: frozenset[str]
    advertisers: frozenset[str]
    seats: frozenset[str]
    blocked_seats: frozenset[str]
    domain: str | None
    language: Language | None
    platform: str | None
    interests: tuple[str, ...]


def parse(body: Any, *, eid_source: str = "", vendor_id: int = 0, gpc: bool = False) -> BidRequest:
    """eid_source, vendor_id, gpc: as `shared.openrtb.privacy.person_of` has them.

    Raises:
        BadInput: it is no object, or lacks what the protocol cannot do without: `id`, and impressions with ids. Nothing
            else is an error (2.6).
    """
    if not isinstance(body, dict):
        raise BadInput("a bid request is a JSON object", field="body")
    own = name_of(body)
    if own is None:
        raise BadInput("a bid request has an id", field="id")
    found = tables(body, "imp")
    if not found:
        raise BadInput("a bid request offers an impression", field="imp")
    for place, imp in enumerate(found):
        if name_of(imp) is None:
            raise BadInput("an impression has an id", field=f"imp.{place}.id")
    person = person_of(body, eid_source=eid_source, vendor_id=vendor_id, gpc=gpc)
    place_ = table(body, "site") or table(body, "app") or table(body, "dooh")
    content = table(place_, "content")
    tmax = number(body, "tmax")
    return BidRequest(
        id=own,
        slots=_slots(found[:MOST_SLOTS]),
        person=person,
        test=whole(body, "test") == 1,
        tmax=tmax if tmax is not None and tmax > 0 else None,
        currencies=frozenset(one.upper() for one in texts(body, "cur")),
        languages=_languages(body),
        cattax=whole(body, "cattax") or CONTENT_1_0,
        blocked=frozenset(texts(body, "bcat")),
        allowed=frozenset(texts(body, "acat")),
        advertisers=_domains(body, "badv"),
        seats=frozenset(texts(body, "wseat")),
        blocked_seats=frozenset(texts(body, "bseat")),
        domain=_domain(place_, content),
        language=_language(content) or _language(table(body, "device")),
        platform=text(place_, "domain", LONGEST_PLACE) or text(place_, "bundle", LONGEST_PLACE),
        interests=_topics(table(body, "user")) if person.known else (),
    )


def _slots(imps: list[Object]) -> tuple[Slot, ...]:
    """A bid names its impression by the id: of two with the same one, the first."""
    slots: dict[str, Slot] = {}
    for slot in map(_slot, imps):
        slots.setdefault(slot.id, slot)
    return tuple(slots.values())


def _slot(imp: Object) -> Slot:
    own = cast("str", name_of(imp))
    asked = table(imp, "native")
    quantity = number(table(imp, "qty"), "multiplier")
    return Slot(
        id=own,
        placement=(text(imp, "tagid") or own)[:LONGEST_PLACE],
        offers=_offers(imp),
        secure=flag(imp, "secure"),
        exp=whole(imp, "exp"),
        quantity=1.0 if quantity is None else quantity,
        banner=_banner(table(imp, "banner")),
        native=native.slot_of(asked) if asked else None,
    )


def _offers(imp: Object) -> tuple[Offer, ...]:
    """A deal that names no floor has the impression's (7.11); its currency does not inherit (3.2.12)."""
    floor, currency = max(0.0, price(imp, "bidfloor") or 0.0), _currency(imp)
    pmp, offers = table(imp, "pmp"), {}
    for deal in tables(pmp, "deals")[:MOST_DEALS]:
        own, own_floor = name_of(deal), price(deal, "bidfloor")
        if own is None or own in offers:
            continue
        offers[own] = Offer(
            deal=own,
            floor=floor if own_floor is None else max(0.0, own_floor),
            currency=currency if own_floor is None else _currency(deal),
            fixed=own_floor is not None and own_floor > 0 and whole(deal, "at") == _FIXED,
            seats=frozenset(texts(deal, "wseat")) or None,
            advertisers=_domains(deal, "wadomain") or None,
        )
    open_market = () if flag(pmp, "private_auction") else (Offer(None, floor, currency),)
    return (*offers.values(), *open_market)


def _currency(holder: Object) -> str:
    return (text(holder, "bidfloorcur") or CURRENCY).upper()


def _domains(holder: Object, name: str) -> frozenset[str]:
    """Domains as `native.domain_of` has them, also where they come as addresses of pages."""
    found = (one.lower().rpartition("//")[2].partition("/")[0] for one in texts(holder, name))
    return frozenset(one.removeprefix("www.").rstrip(".") for one in found) - {""}


def _banner(banner: Object) -> BannerSlot | None:
    offered = [*tables(banner, "format"), banner]
    sizes = [(whole(one, "w"), whole(one, "h")) for one in offered]
    size = next(((w, h) for w, h in sizes if w and h and min(w, h) >= SMALLEST and max(w, h) <= LARGEST), None)
    return BannerSlot(size, wholes(banner, "btype"), wholes(banner, "battr")) if size else None


def _languages(body: Object) -> frozenset[Language] | None:
    """`wlang` (ISO 639-1) and `wlangb` (BCP 47): ours in each by the first subtag, but for the traditional script."""
    left: frozenset[Language] | None = None
    for allowed in filter(None, (texts(body, "wlang"), texts(body, "wlangb"))):
        named = {_primary(tag) for tag in allowed if not _TRADITIONAL & set(_subtags(tag))}
        own = frozenset(one for one in LANGUAGES if one in named)
        left = own if left is None else left & own
    return left


def _language(holder: Object) -> Language | None:
    tag = text(holder, "language") or text(holder, "langb")
    return next((one for one in LANGUAGES if tag and _primary(tag) == one), None)


def _primary(tag: str) -> str:
    return _subtags(tag)[0]


def _subtags(tag: str) -> list[str]:
    return tag.lower().replace("_", "-").split("-")


def _domain(place: Object, content: Object) -> str | None:
    """By the content's categories, else the page's, its section's, the site's or app's."""
    for holder, name in ((content, "cat"), (place, "pagecat"), (place, "sectioncat"), (place, "cat")):
        if found := page_domain(whole(holder, "cattax") or CONTENT_1_0, texts(holder, name)):
            return found
    return None


def _topics(user: Object) -> tuple[str, ...]:
    """Segments of `user.data` (3.2.21) that are categories of ours: of data whose `ext.segtax` is Ad Product Taxonomy
    2.0 (IAB Tech Lab's community extension "Segment Taxonomies", numbered as AdCOM's taxonomies)."""
    found = [
        f"adproduct:{own}"
        for data in tables(user, "data")
        if whole(table(data, "ext"), "segtax") == AD_PRODUCT_2_0
        for segment in tables(data, "segment")
        if (own := text(segment, "id", 40)) is not None
    ]
    return tuple(dict.fromkeys(found))[:_TOPICS]
