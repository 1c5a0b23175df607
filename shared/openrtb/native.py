"""Native ads: what a slot asks for, and an ad put into it (Native 1.2, sections 4 and 5).

Nothing is cut short to fit, since half a sentence may promise what the whole does not: an ad whose texts are too long
for what a slot requires is not bid with. Of images only the address is known, so they go without their size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from typing import Any
from urllib.parse import urlsplit

from shared.domain import Ad
from shared.openrtb.fields import Object, flag, number, table, tables, text, texts, whole, wholes

VERSION = "1.2"
OLDER = ("1.0", "1.1")  # versions without event trackers
MOST_ASSETS = 20  # that an ad is looked at for; more must not be required
TEXT_ONLY = 12  # AdCOM 1.0, "List: Creative Attributes"
_IMPRESSION, _IMAGE = 1, 1  # Native 7.6, "Event Types"; 7.7, "Event Tracking Methods"
_MAIN_IMAGE = 3  # Native 7.4
# Native 7.3, "Data Asset Types"
_SPONSORED, _DESCRIPTION, _PRICE, _DESCRIPTION_2, _DISPLAY_URL, _CALL_TO_ACTION = 1, 2, 6, 10, 11, 12
_MORE = {"zh": "了解详情", "en": "Learn more"}


@dataclass(frozen=True, slots=True)
class Asset:
    """kind: ``title``, ``img``, ``data``, or ``other``, which nobody here has. type: of an image or of data. longest:
    in characters. mimes: an image's; empty: any."""

    id: int
    kind: str
    required: bool
    type: int | None = None
    longest: int | None = None
    mimes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NativeSlot:
    """wrapped: the request came within an object ``native``, as before version 1.1, and so does the answer. version: of
    the request. tracked: whether the impression may be told by an image. blocked_attributes: `battr`."""

    assets: tuple[Asset, ...]
    wrapped: bool = False
    version: str = VERSION
    tracked: bool = False
    blocked_attributes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Trackers:
    """Addresses to be called when the ad is seen and when it is clicked; None: none is."""

    seen: str | None = None
    clicked: str | None = None


def slot_of(native: Object) -> NativeSlot | None:
    """What `imp.native` (3.2.9) asks for; None where its `request` is no JSON, or asks for nothing, or requires what no
    answer could name or hold."""
    try:
        request = json.loads(text(native, "request", 100_000) or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    inner = table(request, "native")
    asked = inner or request
    listed = tables(asked, "assets")
    if any(whole(asset, "id") is None and flag(asset, "required") for asset in listed):
        return None
    assets = _most([one for asset in listed if (one := _asset(asset)) is not None])
    if not assets:
        return None
    version = text(asked, "ver") or ("1.0" if inner else text(native, "ver") or VERSION)
    version = version if version in OLDER else VERSION
    return NativeSlot(
        assets,
        wrapped=bool(inner),
        version=version,
        tracked=version in OLDER or any(map(_takes_images, tables(asked, "eventtrackers"))),
        blocked_attributes=wholes(native, "battr") & {TEXT_ONLY},
    )


def _takes_images(tracker: Object) -> bool:
    """Whether this event tracker of a request (Native 4.7) tells impressions by images."""
    return whole(tracker, "event") == _IMPRESSION and _IMAGE in wholes(tracker, "methods")


def _asset(asset: Object) -> Asset | None:
    own, required = whole(asset, "id"), flag(asset, "required")
    if own is None:
        return None
    kind = next((one for one in ("title", "img", "data") if isinstance(asset.get(one), dict)), "other")
    held = table(asset, kind)
    if kind == "img":
        mimes = frozenset(one.lower() for one in texts(held, "mimes"))
        return Asset(own, kind, required, type=whole(held, "type"), mimes=mimes)
    return Asset(own, kind, required, type=whole(held, "type"), longest=whole(held, "len"))


def _most(assets: Sequence[Asset]) -> tuple[Asset, ...]:
    """As many of them as are looked at, in their order and all that are required; none where those are too many."""
    room = MOST_ASSETS - sum(asset.required for asset in assets)
    if room < 0:
        return ()
    kept = []
    for asset in assets:
        room -= not asset.required
        if asset.required or room >= 0:
            kept.append(asset)
    return tuple(kept)


def assets_of(slot: NativeSlot, ad: Ad, copies: Sequence[str], *, secure: bool) -> list[dict[str, Any]] | None:
    """The assets (Native 5.2), the descriptions of the first of these copies that fits, else of the advertiser's own
    text; None where something required cannot be had."""
    found = []
    for asset in slot.assets:
        value = _value(asset, ad, copies, secure=secure)
        if value is not None:
            found.append({"id": asset.id, "required": int(asset.required)} | value)
        elif asset.required:
            return None
    if TEXT_ONLY in slot.blocked_attributes and is_text_only(found):
        return None
    return found or None


def is_text_only(assets: Sequence[Mapping[str, Any]]) -> bool:
    """Whether none of these assets is a picture."""
    return not any("img" in asset for asset in assets)


def is_told(assets: Sequence[Mapping[str, Any]], copies: Sequence[str]) -> bool:
    """Whether one of these copies stands in the assets."""
    return any(asset["data"]["value"] in copies for asset in assets if "data" in asset)


def _value(asset: Asset, ad: Ad, copies: Sequence[str], *, secure: bool) -> dict[str, Any] | None:
    if asset.kind == "title":
        title = _first(asset, [ad.title])
        return {"title": {"text": title, "len": len(title)}} if title else None
    if asset.kind == "img":
        image = image_of(ad, secure=secure)
        fits = image and takes_main_image(asset) and (not asset.mimes or mime_of(image) in asset.mimes)
        return {"img": {"type": _MAIN_IMAGE, "url": image}} if fits else None
    choices = _TEXTS.get(asset.type or 0) if asset.kind == "data" else None
    value = _first(asset, choices(ad, copies)) if choices is not None else None
    return {"data": {"type": asset.type, "value": value, "len": len(value)}} if value else None


def takes_main_image(asset: Asset) -> bool:
    """Whether an image asset may be the ad's only one."""
    return asset.type in (None, _MAIN_IMAGE)


def shortest(asset: Asset, ad: Ad) -> int | None:
    """Characters of the shortest text that the ad has for a title or for data of this type, whatever its copy says;
    None where it has none."""
    choices = _TEXTS.get(asset.type or 0) if asset.kind == "data" else None
    found = [ad.title] if asset.kind == "title" else choices(ad, []) if choices is not None else []
    return min((len(one) for one in found if one), default=None)


def _first(asset: Asset, texts: Sequence[str | None]) -> str | None:
    return next((one for one in texts if one and (asset.longest is None or len(one) <= asset.longest)), None)


def _price(ad: Ad) -> str | None:
    currency = ad.attributes.get("currency")
    price = number(ad.attributes, "price")
    return f"{price:g} {currency}" if price is not None and isinstance(currency, str) else None


_TEXTS: dict[int, Callable[[Ad, Sequence[str]], list[str | None]]] = {
    _SPONSORED: lambda ad, copies: [ad.brand, domain_of(ad)],
    _DESCRIPTION: lambda ad, copies: [*copies, ad.description, ad.title],
    _PRICE: lambda ad, copies: [_price(ad)],
    _DESCRIPTION_2: lambda ad, copies: [ad.description],
    _DISPLAY_URL: lambda ad, copies: [domain_of(ad)],
    _CALL_TO_ACTION: lambda ad, copies: [_MORE[ad.language]],
}
DATA_TYPES = frozenset(_TEXTS)


def markup(slot: NativeSlot, ad: Ad, assets: Sequence[Mapping[str, Any]], trackers: Trackers) -> str:
    """The ad as `bid.adm` (Native 5.1): JSON in a text, in which no text of the ad can be a macro (4.4).

    Its impression is told by an image where the request takes that (Native 5.8; before 1.2 `imptrackers`).
    """
    link: dict[str, Any] = {"url": ad.landing_url}
    if trackers.clicked:
        link["clicktrackers"] = [trackers.clicked]
    native: dict[str, Any] = {"ver": slot.version, "assets": assets, "link": link}
    if trackers.seen and slot.version in OLDER:
        native["imptrackers"] = [trackers.seen]
    elif trackers.seen and slot.tracked:
        native["eventtrackers"] = [{"event": _IMPRESSION, "method": _IMAGE, "url": trackers.seen}]
    return json.dumps({"native": native} if slot.wrapped else native, ensure_ascii=False).replace("${", "\\u0024{")


def image_of(ad: Ad, *, secure: bool) -> str | None:
    """The ad's image, where the page may load it (`imp.secure`)."""
    image = ad.image_url
    return image if image and (image.startswith("https:") or not secure) else None


def mime_of(image: str) -> str:
    """What an image's address says of its type; empty where it says nothing."""
    return guess_type(urlsplit(image).path)[0] or ""


def domain_of(ad: Ad) -> str:
    """The advertiser's domain: of the page that the ad leads to."""
    return (urlsplit(ad.landing_url).hostname or "").removeprefix("www.").rstrip(".")
