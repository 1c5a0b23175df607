"""Events: from a row of an upload or a request to `shared.domain.Event`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable

from shared.domain import EVENT_TYPES, Domain, Event, Rejection
from shared.preprocess import fields
from shared.preprocess.contact import KINDS, mask, named_after
from shared.preprocess.contact import LONGEST as LONGEST_CONTACT
from shared.preprocess.fields import Refused
from shared.preprocess.text import LOOKED_AT

LONGEST_TEXT = 2000
MOST_TAGS = 20
LONGEST_TAG = 80
_DAY = 86_400.0
_CUTS = 8  # of a text and its masks in turn: one or two as a rule

_NAMES: dict[str, str] = {name: name for name in EVENT_TYPES} | {
    "viewed": "view",
    "pageview": "view",
    "page_view": "view",
    "browse": "view",
    "browsed": "view",
    "浏览": "view",
    "clicked": "click",
    "点击": "click",
    "favorite": "favourite",
    "favorited": "favourite",
    "favourited": "favourite",
    "fav": "favourite",
    "save": "favourite",
    "bookmark": "favourite",
    "wishlist": "favourite",
    "add_to_wishlist": "favourite",
    "收藏": "favourite",
    "add_to_cart": "cart",
    "addtocart": "cart",
    "cart_add": "cart",
    "basket": "cart",
    "add_to_basket": "cart",
    "加购": "cart",
    "加入购物车": "cart",
    "buy": "purchase",
    "bought": "purchase",
    "purchased": "purchase",
    "order": "purchase",
    "购买": "purchase",
    "下单": "purchase",
    "liked": "like",
    "点赞": "like",
    "commented": "comment",
    "评论": "comment",
    "shared": "share",
    "分享": "share",
    "转发": "share",
    "enroll": "enrol",
    "enrolled": "enrol",
    "enrollment": "enrol",
    "enrolment": "enrol",
    "报名": "enrol",
    "completed": "complete",
    "finish": "complete",
    "finished": "complete",
    "完成": "complete",
    "consultation": "consult",
    "consulted": "consult",
    "咨询": "consult",
    "dismissed": "dismiss",
    "hide": "dismiss",
    "not_interested": "dismiss",
    "不感兴趣": "dismiss",
}
_FEEDBACK = re.compile(
    "(?:ad_?)?(?:impression|conversion)s?|ad_?(?:view|click|conversion|dismiss)(?:ed|s)?|(?:click|view)_ad|广告(?:曝光|点击|展示)"
)


def parse_event(
    row: object,
    *,
    now: float,
    index: int,
    default_domain: Domain | None = None,
    keyed: Callable[[str], str] | None = None,
) -> Event | Rejection:
    """Checks and cleans one event; never raises.

    Contact data is masked in its text, tags and platform (`shared.preprocess.contact`), and an `event_id` that is made
    of an e-mail address, a telephone's, identity card's or payment card's number is replaced by what `keyed` makes of
    it. An `item_id` stays as it is: it names something of a catalogue, and has to be found there.

    Args:
        row: what was sent: an object of JSON, or a row of CSV as texts.
        now: epoch seconds; an event more than 24 hours later is refused.
        index: the row's place in the request, or its line in the upload. Part of a derived `event_id`, so that the same
            upload again gives the same ids while two equal acts in one upload stay two.
        default_domain: where the row names none.
        keyed: gives each id another one by a secret key: of a hash without one, all telephone numbers are tried in an
            hour. None: such an id counts as if none had been sent, and the event gets the derived one.
    """
    if not isinstance(row, dict):
        return Rejection(index, "row", f"An event must be an object with named fields, not {fields.kind_of(row)}.")
    try:
        return _event(row, now, index, default_domain, keyed)
    except Refused as refused:
        return Rejection(index, refused.field, refused.reason)


def deduplicate_events(events: Iterable[Event]) -> tuple[list[Event], int]:
    """The events without repeats of one person's `event_id` (the first stays), and how many repeats there were."""
    unique: dict[tuple[str, str], Event] = {}
    count = 0
    for event in events:
        count += 1
        unique.setdefault((event.user_id, event.event_id), event)
    return list(unique.values()), count - len(unique)


def _event(
    row: dict[object, object],
    now: float,
    index: int,
    default_domain: Domain | None,
    keyed: Callable[[str], str] | None,
) -> Event:
    get = row.get
    user_id = fields.required_addressed(get("user_id"), "user_id")
    event = _name(get("event"))
    timestamp = fields.moment(get("timestamp"), "timestamp")
    if timestamp is None:
        raise Refused("timestamp", "timestamp is missing.")
    if timestamp > now + _DAY:
        raise Refused("timestamp", f"timestamp lies more than 24 hours in the future ({fields.readable(timestamp)}).")
    item_id = fields.identifier(get("item_id"), "item_id", numbers=True)
    platform = fields.identifier(get("platform"), "platform", longest=80)
    platform = mask(platform) if platform is not None else None
    domain = fields.domain(get("domain"), None)
    sent_text = get("text")
    text = _masked(sent_text)
    sent_tags = get("tags")
    tags = tuple(dict.fromkeys(map(mask, fields.text_list(sent_tags, "tags", MOST_TAGS, LONGEST_TAG))))
    value = fields.number(get("value"), "value")
    event_id = fields.identifier(get("event_id"), "event_id")
    if event_id is not None and named_after(event_id):
        event_id = keyed(event_id) if keyed is not None else None
    if event_id is None:
        # Texts go in as they were sent, so that an id outlives a change of the cleaning, unless they hold contact data:
        # a hash without a key can be searched for the number that gives it. The person is left out for the same reason,
        # and since an id need be unique within the person alone. ascii() is the same in every Python release and takes
        # lone surrogates.
        raw_tags = tuple(sent_tags) if isinstance(sent_tags, (list, tuple)) else ()
        raw_tags = raw_tags if not any(kind in tag for kind in KINDS for tag in tags) else tags
        raw_text = (sent_text or None) if not any(kind in text for kind in KINDS) else text
        sent = (event, timestamp, item_id, platform, domain, raw_text, raw_tags, value, index)
        event_id = hashlib.sha256(ascii(sent).encode()).hexdigest()[:32]
    return Event(
        user_id=user_id,
        event=event,
        timestamp=timestamp,
        event_id=event_id,
        item_id=item_id,
        platform=platform,
        domain=domain or default_domain,
        text=text or None,
        tags=tags,
        value=value,
    )


def _masked(sent: object) -> str:
    """The text without contact data, at most `LONGEST_TEXT` long: what is cut off is cut off after masking, or half a
    number would stay; and what was cut off before ends where no number can have been cut in two."""
    most = LONGEST_TEXT + LONGEST_CONTACT
    text = fields.text(sent, "text", most, cut=True)
    cut = isinstance(sent, str) and (len(text) >= most - 1 or len(sent) > LOOKED_AT * most)
    text = mask(text)
    if not cut and len(text) <= LONGEST_TEXT:
        return text
    text = text[:-LONGEST_CONTACT] if cut else text
    for _ in range(_CUTS):  # where it ends now, something may look like contact data that did not before
        shorter = mask(text[:LONGEST_TEXT].rstrip())
        if shorter == text:
            break
        text = shorter
    return text[:LONGEST_TEXT].rstrip()


def _name(value: object) -> str:
    if value is None or value == "":
        raise Refused("event", "event is missing.")
    if not isinstance(value, str):
        raise Refused("event", f"event must be text, not {fields.kind_of(value)}.")
    known = _NAMES.get(value)
    if known is not None:
        return known
    name = value.strip().lower().replace("-", "_").replace(" ", "_")
    known = _NAMES.get(name)
    if known is not None:
        return known
    if _FEEDBACK.fullmatch(name):
        raise Refused("event", "Ad impressions and ad clicks are sent to /v1/feedback, or they would count twice.")
    raise Refused("event", f"event {fields.shown(value)} is unknown; use {fields.listed(EVENT_TYPES)}.")
