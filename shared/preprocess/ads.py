"""Ads: from a row of an upload or a request to `shared.domain.Ad`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from shared.domain import Ad, FrequencyCap, Language, Rejection
from shared.preprocess import fields
from shared.preprocess.fields import Refused

LONGEST_TITLE = 200
LONGEST_DESCRIPTION = 5000
LONGEST_BRAND = 100
MOST_ATTRIBUTES = 50
LONGEST_ATTRIBUTE = 500
MOST_TARGETS = 100
MOST_LABELS = 20
TARGETING = ("platforms", "languages", "segments", "interests", "deals")
_MOST_HOURS = 8784.0  # a leap year
_LARGEST_EXACT = 2**53


def parse_ad(row: object, *, index: int) -> Ad | Rejection:
    """Checks and cleans one ad; never raises. `index` is its place in the request, or its line in the upload."""
    if not isinstance(row, dict):
        return Rejection(index, "row", f"An ad must be an object with named fields, not {fields.kind_of(row)}.")
    try:
        return _ad(row)
    except Refused as refused:
        return Rejection(index, refused.field, refused.reason)


def _ad(row: Mapping[object, object]) -> Ad:
    get = row.get
    ad_id = fields.required_addressed(get("ad_id"), "ad_id", numbers=True)
    title = fields.text(get("title"), "title", LONGEST_TITLE)
    if not title:
        raise Refused("title", "title is missing or holds nothing to read.")
    landing_url = fields.url(get("landing_url"), "landing_url")
    if landing_url is None:
        raise Refused("landing_url", "landing_url is missing.")
    language = _language(get("language"), "language")
    if language is None:
        raise Refused("language", "language is missing; use zh or en.")
    domain = fields.domain(get("domain"), None)
    if domain is None:
        raise Refused("domain", "domain is missing; use ecommerce, social, education or health.")
    start = fields.moment(get("start"), "start")
    end = fields.moment(get("end"), "end")
    if start is not None and end is not None and end <= start:
        raise Refused("end", "end must be later than start.")
    return Ad(
        ad_id=ad_id,
        title=title,
        landing_url=landing_url,
        language=language,
        domain=domain,
        campaign_id=fields.identifier(get("campaign_id"), "campaign_id", numbers=True),
        description=fields.text(get("description"), "description", LONGEST_DESCRIPTION),
        brand=fields.text(get("brand"), "brand", LONGEST_BRAND) or None,
        attributes=_attributes(get("attributes")),
        image_url=fields.url(get("image_url"), "image_url"),
        bid_cpm=fields.number(get("bid_cpm"), "bid_cpm", least=0.0) or 0.0,
        daily_budget=fields.number(get("daily_budget"), "daily_budget", least=0.0),
        frequency_cap=_frequency_cap(get("frequency_cap")),
        start=start,
        end=end,
        targeting=_targeting(get("targeting")),
        exclusion_labels=tuple(fields.text_list(get("exclusion_labels"), "exclusion_labels", MOST_LABELS, 80)),
    )


def _language(value: object, field: str) -> Language | None:
    """zh or en, also from a longer tag such as zh-Hant or en_US."""
    tag = fields.identifier(value, field, longest=35)
    if tag is None:
        return None
    primary = tag.replace("_", "-").split("-")[0].lower()
    if primary not in ("zh", "en"):
        raise Refused(field, f"{field} {fields.shown(tag)} is not supported; use zh or en.")
    return cast(Language, primary)


def _object(value: object, field: str) -> Mapping[object, object]:
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise Refused(field, f"{field} must be an object, not {fields.kind_of(value)}.")
    return value


def _attributes(value: object) -> dict[str, str | float]:
    sent = _object(value, "attributes")
    if len(sent) > MOST_ATTRIBUTES:
        raise Refused("attributes", f"attributes has {len(sent)} entries; the limit is {MOST_ATTRIBUTES}.")
    attributes: dict[str, str | float] = {}
    for key, fact in sent.items():
        name = fields.text(key, "attributes", 80)
        if not name:
            raise Refused("attributes", "attributes holds an entry without a name.")
        field = f"attributes.{name}"
        if isinstance(fact, int) and not isinstance(fact, bool) and abs(fact) <= _LARGEST_EXACT:
            attributes[name] = fact  # stays whole: copy says 256 GB, not 256.0
        elif isinstance(fact, float):
            attributes[name] = fields.number(fact, field, most=float(_LARGEST_EXACT)) or 0.0
        elif fact is None or isinstance(fact, str):
            cleaned = fields.text(fact, field, LONGEST_ATTRIBUTE)
            if cleaned:
                attributes[name] = cleaned
        elif isinstance(fact, int) and not isinstance(fact, bool):
            raise Refused(field, f"{field} is out of range.")
        else:
            raise Refused(field, f"{field} must be text or a number, not {fields.kind_of(fact)}.")
    return attributes


def _frequency_cap(value: object) -> FrequencyCap | None:
    sent = _object(value, "frequency_cap")
    if not sent:
        return None
    count = fields.number(sent.get("count"), "frequency_cap.count", least=1.0, most=1e6)
    hours = fields.number(sent.get("hours"), "frequency_cap.hours", least=0.0, most=_MOST_HOURS)
    if count is None or count != int(count):
        raise Refused("frequency_cap.count", "frequency_cap.count must be a whole number of 1 or more.")
    if not hours:
        raise Refused("frequency_cap.hours", "frequency_cap.hours must be a number above 0.")
    return FrequencyCap(int(count), hours)


def _targeting(value: object) -> dict[str, list[str]]:
    targeting: dict[str, list[str]] = {}
    for key, wanted in _object(value, "targeting").items():
        if key not in TARGETING:
            name = fields.shown(key) if isinstance(key, str) else fields.kind_of(key)
            raise Refused("targeting", f"targeting knows {fields.listed(TARGETING)}, not {name}.")
        field = f"targeting.{key}"
        entries = list(fields.text_list(wanted, field, MOST_TARGETS, 200))
        if key == "languages":
            entries = list(dict.fromkeys(tag for tag in (_language(entry, field) for entry in entries) if tag))
        if entries:  # an empty list would match nobody
            targeting[str(key)] = entries
    return targeting
