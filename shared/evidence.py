"""Events become evidence: a commutative fold of events into what speaks for and against each item.

`fold` adds events in any order, at once or one by one, with the same result: every sum is exponentially decayed to the
time of the item's latest event, and of event ids those are kept that are the latest of all. That is exact while a
person has had to do with at most `MAX_ITEMS` items; beyond them the weakest are forgotten after each fold, so an item
that comes back may lack, for each time that it was forgotten, at most what the weakest kept item had then.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterable, Mapping
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import orjson

from shared.presets import DEFAULT_DOMAIN, DISMISS, half_lives, preset, presets_version
from shared.stores.people import StoredEvent

MAX_ITEMS = 2048  # in a person's state
MAX_READ = 384  # items that interests are read off, whose vectors have to be fetched
MAX_READ_RECENT = 64  # of them, those acted on last however weak they are: what a session is made of
MAX_EVENTS = 20  # ids kept for one item, the latest
MAX_DISMISSALS = 5  # ids kept against one item, the latest
MAX_IDS = 4000  # ids kept in a packed state, the latest, besides each item's own latest
MAX_STATE_BYTES = 300_000  # a row of DynamoDB holds 400 KB
MAX_ACQUIRED_BYTES = 100_000  # of the ids of acquired items, the latest, in the profile's row
ACQUIRING = frozenset({"purchase", "enrol", "complete"})
ACQUIRED_HALF_LIVES = 3.0  # of its domain: for so long nobody needs to be offered the same thing again
SENSITIVE_DOMAIN = "health"
_FORMAT = 3
_NUMBERS = 5  # columns of floats in a packed state

Stamped = tuple[float, str]  # a time and an event id


class Evidence(NamedTuple):  # thousands are made at each read: a frozen dataclass takes three times as long
    """What speaks for and against one item. `key` is ``i/{item_id}`` or ``e/{event_id}``.

    long, session, against: sums of event weights in units of one view, each >= 0 and decayed to `last` by its own
    half-life. events, dismissals: times and ids of the latest events for and against it, latest first.
    assumed: whether its events named no domain, so that `domain` is the default until `settled` knows its item's.
    owner: through which of a person's ids (its place among them) it came, where that can matter: of evidence that is
    sensitive, or may turn out to be; else 0.
    """

    key: str
    domain: str
    long: float
    session: float
    last: float
    events: tuple[Stamped, ...]
    acquired: float = 0.0  # when the item was last bought, enrolled in or completed; 0: never
    against: float = 0.0
    dismissals: tuple[Stamped, ...] = ()
    owner: int = 0
    assumed: bool = False

    @property
    def place(self) -> str:
        """Where a state has it: what is of one place is summed."""
        return f"{self.owner or ''}{'' if self.assumed else self.domain}|{self.key}"

    def merged(self, other: Evidence) -> Evidence:
        """Both together; the order does not matter."""
        first, second = (self, other) if self.last <= other.last else (other, self)
        long, session, against = first.at(second.last)
        return Evidence(
            self.key,
            self.domain,
            second.long + long,
            second.session + session,
            second.last,
            _latest(self.events, other.events, MAX_EVENTS),
            max(self.acquired, other.acquired),
            second.against + against,
            _latest(self.dismissals, other.dismissals, MAX_DISMISSALS),
            self.owner,
            self.assumed,
        )

    def at(self, now: float) -> tuple[float, float, float]:
        """Long-term and session evidence for the item, and evidence against it, as of `now`."""
        age = now - self.last
        if age <= 0:
            return self.long, self.session, self.against
        long, session, against = half_lives(self.domain)
        return (
            self.long * 0.5 ** (age / long),
            self.session * 0.5 ** (age / session),
            self.against * 0.5 ** (age / against) if self.against else 0.0,
        )


State = dict[str, Evidence]


def _latest(one: tuple[Stamped, ...], other: tuple[Stamped, ...], limit: int) -> tuple[Stamped, ...]:
    if not one or not other:
        return (one or other)[:limit]
    return tuple(sorted({*one, *other}, reverse=True)[:limit])


def evidence_of(stored: StoredEvent, owner: int = 0) -> Evidence | None:
    """One event, of the person's id at place `owner`, as evidence; None where it stands for nothing that could be an
    interest."""
    event = stored.event
    if event.item_id is not None and not stored.vector:
        key = f"i/{event.item_id}"
    elif stored.vector:
        key = f"e/{event.event_id}"
    else:
        return None
    domain = event.domain or DEFAULT_DOMAIN
    assumed = event.domain is None
    owner = owner if assumed or domain == SENSITIVE_DOMAIN else 0
    terms = preset(domain)
    stamped = ((event.timestamp, event.event_id),)
    if event.event == DISMISS:
        weight = terms.dismissal.weight
        return Evidence(key, domain, 0.0, 0.0, event.timestamp, (), 0.0, weight, stamped, owner, assumed)
    weight = terms.weight(event.event, event.value)
    acquired = event.timestamp if event.event in ACQUIRING else 0.0
    return Evidence(key, domain, weight, weight, event.timestamp, stamped, acquired, 0.0, (), owner, assumed)


def fold(state: Mapping[str, Evidence], events: Iterable[StoredEvent], owner: int = 0) -> tuple[State, int]:
    """The state with `events` added, and how many there were. owner: the place of their id among the person's."""
    new = dict(state)
    count = 0
    for stored in events:
        count += 1
        evidence = evidence_of(stored, owner)
        if evidence is not None:
            _add(new, evidence)
    return _strongest(new, MAX_ITEMS), count


def _add(state: State, evidence: Evidence) -> None:
    place = evidence.place
    known = state.get(place)
    state[place] = evidence if known is None else known.merged(evidence)


def settled(
    state: Mapping[str, Evidence], sensitive: Container[int], domains: Mapping[str, str], *, all_sensitive: bool = False
) -> State:
    """What may count, of all ids together: evidence of no named domain in that of its item, what is about an item of
    the health domain in that whatever its events said, and sensitive evidence only where it came through an id that is
    `sensitive`.

    sensitive: places of the ids through which sensitive interests were consented to. domains: by evidence key, of the
    items that are known. all_sensitive: whether every id of the person is `sensitive`: of evidence whose events named
    another domain nobody knows through which it came. The sums of an item whose domain was assumed keep the weights of
    the default up to their last event: an item may become known, or change, after what was done with it.
    """
    found: State = {}
    for evidence in state.values():
        known = domains.get(evidence.key, evidence.domain)
        domain = known if evidence.assumed or known == SENSITIVE_DOMAIN else evidence.domain
        owned = evidence.assumed or evidence.domain == SENSITIVE_DOMAIN
        if domain == SENSITIVE_DOMAIN and not (evidence.owner in sensitive if owned else all_sensitive):
            continue
        plain = not evidence.assumed and not evidence.owner and domain == evidence.domain
        _add(found, evidence if plain else evidence._replace(domain=domain, owner=0, assumed=False))
    return found


def permitted(state: Mapping[str, Evidence], sensitive: Container[int]) -> State:
    """The state without what is known to be sensitive and came through an id that is not `sensitive`."""
    return {place: e for place, e in state.items() if e.domain != SENSITIVE_DOMAIN or e.owner in sensitive}


def _strongest(state: State, limit: int) -> State:
    """The items with the most evidence for or against them as of the latest event of all."""
    if len(state) <= limit:
        return state
    latest = max(evidence.last for evidence in state.values())
    return _first(state, limit, [weight_of(evidence, latest) for evidence in state.values()])


def _first(state: Mapping[str, Evidence], limit: int, numbers: list[float]) -> State:
    """The `limit` entries with the largest of `numbers` (one an entry), in falling order; of equal ones the first by
    place. The state has more than `limit`."""
    least = sorted(numbers)[-limit]  # only what is not below it has to be put in order by place as well
    found = sorted((-one, place) for one, place in zip(numbers, state, strict=True) if one >= least)
    return {place: state[place] for _, place in found[:limit]}


def weight_of(evidence: Evidence, now: float) -> float:
    """How much an item matters, for or against, as of `now`."""
    age = max(0.0, now - evidence.last)
    long, _, against = half_lives(evidence.domain)  # as `Evidence.at`, without what only sessions need
    weight = evidence.long * 0.5 ** (age / long)
    return weight + evidence.against * 0.5 ** (age / against) if evidence.against else weight


def considered(state: Mapping[str, Evidence], now: float) -> State:
    """What interests are read off: at most `MAX_READ` items, the strongest and the last ones."""
    if len(state) <= MAX_READ:
        return dict(state)
    found = _first(state, MAX_READ_RECENT, [evidence.last for evidence in state.values()])
    weights = [weight_of(evidence, now) for evidence in state.values()]
    for place, evidence in _first(state, MAX_READ, weights).items():
        if len(found) >= MAX_READ:
            break
        found[place] = evidence
    return found


def acquired_evidence(state: Mapping[str, Evidence], now: float) -> State:
    """What `acquired_items` is made of."""
    return {
        place: evidence
        for place, evidence in state.items()
        if now - evidence.acquired < ACQUIRED_HALF_LIVES * half_lives(evidence.domain)[0]
        and evidence.key.startswith("i/")
    }


def acquired_items(state: Mapping[str, Evidence], now: float) -> tuple[str, ...]:
    """Ids of the items that the person lately bought, enrolled in or completed."""
    found = [(one.acquired, one.key.removeprefix("i/")) for one in acquired_evidence(state, now).values()]
    room = MAX_ACQUIRED_BYTES
    kept: list[str] = []
    for _, item_id in sorted(found, reverse=True):
        room -= len(item_id.encode())
        if room < 0:
            break
        kept.append(item_id)
    return tuple(sorted(kept))


# Packing ----------------------------------------------------------------------------------------------------------


def dump_state(state: Mapping[str, Evidence], count: int) -> bytes:
    """The state packed into at most `MAX_STATE_BYTES`: the oldest event ids go first, then the weakest items."""
    kept, ids = dict(state), MAX_IDS
    while True:
        packed = _pack(list(kept.values()), count, ids)
        if len(packed) <= MAX_STATE_BYTES or len(kept) <= 1:
            return packed
        if ids > len(kept):
            ids //= 2
        elif ids:
            ids = 0
        else:
            kept = _strongest(kept, len(kept) // 2)


def _pack(items: list[Evidence], count: int, ids: int) -> bytes:
    events = _kept([item.events for item in items], ids)
    dismissals = _kept([item.dismissals for item in items], ids)
    numbers = np.array([(i.long, i.session, i.against, i.last, i.acquired) for i in items], dtype=np.float64)
    times = np.array([at for many in (*events, *dismissals) for at, _ in many], dtype=np.float64)
    owners = [item.owner for item in items]
    head = orjson.dumps(
        {
            "count": count,
            **({"owners": owners} if any(owners) else {}),
            "keys": [item.key for item in items],
            "domains": ["" if item.assumed else item.domain for item in items],
            "events": [len(many) for many in events],
            "dismissals": [len(many) for many in dismissals],
            "ids": [event_id for many in (*events, *dismissals) for _, event_id in many],
        }
    )
    body = numbers.reshape(len(items), _NUMBERS).T.tobytes() + times.tobytes()
    return _stamp() + zlib.compress(struct.pack("<I", len(head)) + head + body, 1)


def _stamp() -> bytes:
    return f"{_FORMAT}:{presets_version()}:".encode()


def _kept(stamped: list[tuple[Stamped, ...]], ids: int) -> list[tuple[Stamped, ...]]:
    """Those stamps that are among the `ids` latest of all, and each item's own latest.

    Which stays does not depend on what is folded first: an id that is dropped has as many later ones before it in
    every larger state.
    """
    if sum(map(len, stamped)) <= ids:
        return stamped
    if not ids:
        return [many[:1] for many in stamped]
    oldest = sorted((one for many in stamped for one in many), reverse=True)[ids - 1]
    return [many if not many or many[-1] >= oldest else _since(many, oldest) for many in stamped]


def _since(many: tuple[Stamped, ...], oldest: Stamped) -> tuple[Stamped, ...]:
    return tuple(one for one in many if one >= oldest) or many[:1]


def load_state(packed: bytes) -> tuple[State, int]:
    """What `dump_state` packed; nothing where it was packed in another form or under other presets, so that all is
    folded anew."""
    stamp = _stamp()
    if not packed.startswith(stamp):
        return {}, 0
    plain = zlib.decompress(packed[len(stamp) :])
    (length,) = struct.unpack_from("<I", plain)
    head = orjson.loads(plain[4 : 4 + length])
    size = len(head["keys"])
    floats = np.frombuffer(plain, dtype=np.float64, offset=4 + length)
    long, session, against, last, acquired = floats[: _NUMBERS * size].reshape(_NUMBERS, size).tolist()
    stamps = tuple(zip(floats[_NUMBERS * size :].tolist(), head["ids"], strict=True))
    many = _cut(stamps, head["events"] + head["dismissals"])
    events, dismissals = many[:size], many[size:]
    domains = [domain or DEFAULT_DOMAIN for domain in head["domains"]]
    assumed = [not domain for domain in head["domains"]]
    owners = head.get("owners") or [0] * size
    columns = (head["keys"], domains, long, session, last, events, acquired, against, dismissals, owners, assumed)
    items = map(Evidence._make, zip(*columns, strict=True))
    return {item.place: item for item in items}, head["count"]


def _cut(flat: tuple[Stamped, ...], lengths: list[int]) -> list[tuple[Stamped, ...]]:
    """`flat` cut into pieces of these lengths."""
    return [flat[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
