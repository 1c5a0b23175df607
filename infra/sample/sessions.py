"""How a person of the sample behaves: sessions at their hours, and in each a funnel after the manner of its domain."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from infra.sample import sources
from infra.sample.sources import Row, items_of, texts, things

# Relative chance of a session starting in each local hour, 0 to 23.
RHYTHMS: dict[str, tuple[int, ...]] = {
    "early": (0, 0, 0, 0, 1, 6, 9, 7, 3, 1, 1, 1, 3, 1, 1, 1, 1, 3, 4, 4, 3, 1, 0, 0),
    "commuter": (0, 0, 0, 0, 0, 1, 4, 9, 6, 1, 1, 2, 6, 3, 1, 1, 2, 5, 8, 5, 5, 6, 3, 1),
    "day": (0, 0, 0, 0, 0, 0, 1, 2, 4, 7, 8, 6, 5, 5, 7, 7, 5, 3, 2, 3, 3, 2, 1, 0),
    "evening": (1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 4, 2, 1, 1, 1, 2, 4, 8, 10, 10, 7, 3),
    "night": (7, 5, 3, 1, 0, 0, 0, 0, 0, 1, 1, 2, 3, 2, 2, 1, 1, 2, 3, 4, 5, 7, 9, 9),
}
ONCE = frozenset({"like", "favourite", "purchase", "enrol", "complete"})
WEEKEND = {"early": 1.5, "commuter": 0.7, "day": 0.8, "evening": 1.4, "night": 1.2}


@dataclass(frozen=True, slots=True)
class Act:
    """One act before it becomes a line: `at` is epoch seconds."""

    at: float
    event: str
    platform: str
    domain: str
    item: Row | None = None
    text: str | None = None
    tags: tuple[str, ...] = ()
    value: float | None = None


@dataclass(slots=True)
class Life:
    """What one person carries from session to session."""

    person: Row
    rng: random.Random
    acts: list[Act] = field(default_factory=list)
    seen: list[Row] = field(default_factory=list)  # most recent last
    done: set[tuple[str, str]] = field(default_factory=set)  # (event, item) of what is done only once
    said: set[str] = field(default_factory=set)  # nobody writes the same comment twice
    lessons: dict[str, int] = field(default_factory=dict)  # course -> lessons done, once enrolled
    at: float = 0.0
    platform: str = ""

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def wait(self, median: float) -> None:
        """Lets a log-normal time pass (seconds)."""
        self.at += max(2.0, median * math.exp(self.rng.gauss(0, 0.7)))

    def act(self, event: str, item: Row, **more: Any) -> None:
        """Does it, now; what cannot be done twice is not."""
        if event in ONCE:
            if (event, item["item_id"]) in self.done:
                return
            self.done.add((event, item["item_id"]))
        self.acts.append(Act(self.at, event, self.platform, item["domain"], item, **more))


def _say(life: Life, kind: str, subjects: Iterable[str]) -> tuple[str, str] | None:
    """A text of that kind on one of the subjects, and its subject; None where nothing is left to say."""
    options = [
        (text, subject)
        for subject in subjects
        for text in texts().get((kind, life.person["language"], subject), ())
        if kind == "search" or text not in life.said
    ]
    if not options:
        return None
    chosen = life.rng.choice(options)
    life.said.add(chosen[0])
    return chosen


def _comment(life: Life, item: Row, p: float) -> None:
    if not life.chance(p):
        return
    remark = life.chance(0.3)
    said = _say(life, "remark" if remark else "comment", [item["domain"] if remark else item["item_id"]])
    if said:
        life.wait(8 if remark else 50)
        life.act("comment", item, text=said[0])


def _free(life: Life, event: str, kind: str, domain: str, tags: Iterable[str], median: float) -> None:
    """A search (logged as the view of its result page) or a question to an adviser: text without an item."""
    said = _say(life, kind, [f"{domain}/{tag}" for tag in tags])
    if said:
        tag = said[1].split("/", 1)[1]
        life.acts.append(Act(life.at, event, life.platform, domain, None, said[0], (tag,)))
        life.wait(median)


def _visits(life: Life, pool: list[Row], everything: list[Row], p_go_on: float) -> Iterator[Row]:
    """Items looked at in one session: mostly of the interest, some seen before, some found by wandering."""
    shown: set[str] = set()
    more = True
    while more and len(shown) < 14:
        dice = life.rng.random()
        near = [item for item in life.seen[-12:] if item["domain"] == everything[0]["domain"]]
        options = near if near and dice < 0.12 else everything if dice > 0.86 else pool
        weights = [(place + 1) ** -0.5 for place in range(len(options))]
        item = life.rng.choices(options, weights)[0]
        if item["item_id"] not in shown:
            shown.add(item["item_id"])
            life.act("view", item)
            life.seen.append(item)
            life.wait(9 if "video" in item["item_id"] else 32)
            if item in pool or life.chance(0.4):
                yield item
            elif life.chance(0.25):
                life.act("dismiss", item)
            life.wait(14)
        more = life.chance(p_go_on)


def _shop(life: Life, pool: list[Row], everything: list[Row]) -> None:
    for item in _visits(life, pool, everything, 0.86):
        if not life.chance(0.55):
            continue
        life.act("click", item)
        life.wait(40)
        if life.chance(0.2):
            life.act("favourite", item)
            life.wait(12)
        if ("purchase", item["item_id"]) in life.done or not life.chance(0.22):
            continue
        if life.chance(0.1):
            _free(life, "consult", "consult", "ecommerce", item["tags"], 90)
        life.act("cart", item)
        life.wait(70)
        if life.chance(0.5):
            life.act("purchase", item, value=item.get("price"))
            life.wait(30)
            back = life.at
            life.at += 86400 * life.rng.uniform(3, 8)  # a review once it has arrived
            _comment(life, item, 0.7)
            life.at = back


def _read_on(life: Life, pool: list[Row], everything: list[Row]) -> None:
    for item in _visits(life, pool, everything, 0.88):
        if life.chance(0.32):
            life.act("like", item)
            life.wait(8)
        _comment(life, item, 0.3)
        for event, p in (("share", 0.08), ("favourite", 0.09)):
            if life.chance(p):
                life.wait(10)
                life.act(event, item)


def _study(life: Life, pool: list[Row], everything: list[Row], course: Row | None = None) -> None:
    lessons = sources.lessons().get(course["item_id"], []) if course else []
    done = life.lessons.get(course["item_id"]) if course else None
    if course and done is None:
        for event in ("view", "click"):
            life.act(event, course)
            life.wait(80)
        if life.chance(0.4):
            _free(life, "consult", "consult", "education", course["tags"], 120)
        if life.chance(0.6):
            life.act("enrol", course)
            life.lessons[course["item_id"]] = 0
        return
    if course and done is not None and done < len(lessons):
        for lesson in lessons[done : done + life.rng.choice((1, 1, 2))]:
            life.act("view", lesson)
            if life.chance(0.15):
                return  # left in the middle; the lesson comes again next time
            life.at += 60 * life.rng.uniform(8, 34)
            life.act("complete", lesson)
            life.lessons[course["item_id"]] += 1
            _comment(life, lesson, 0.2)
            life.wait(90)
        if life.lessons[course["item_id"]] == len(lessons):
            life.act("complete", course)
        return
    for item in _visits(life, pool, everything, 0.7):
        for event, p, median in (
            ("click", 0.45, 60),
            ("favourite", 0.12, 15),
            ("enrol", 0.12, 40),
            ("complete", 0.25, 600),
        ):
            # A lesson is done within its course, not in passing.
            if life.chance(p) and not (event in ("enrol", "complete") and "course" in item):
                life.wait(median)
                life.act(event, item)
        _comment(life, item, 0.16)


def _care(life: Life, pool: list[Row], everything: list[Row]) -> None:
    asked = False
    for item in _visits(life, pool, everything, 0.8):
        for event, p in (("like", 0.16), ("favourite", 0.12), ("share", 0.06)):
            if life.chance(p):
                life.act(event, item)
                life.wait(12)
        _comment(life, item, 0.16)
        if not asked and life.chance(0.5 if "-ask-" in item["item_id"] else 0.2):
            asked = True
            _free(life, "consult", "consult", "health", item["tags"], 150)


def _session(life: Life, start: float) -> None:
    person, rng = life.person, life.rng
    life.at = start
    platforms = person["platforms"]
    life.platform = rng.choices(platforms, [3, 2, 1][: len(platforms)])[0]
    interests = person["interests"]
    key = rng.choices(list(interests), list(interests.values()))[0]
    thing = things().get(key)
    tags = thing["tags"] if thing else [key]
    same = [item for item in items_of(person["language"]) if set(tags) & set(item["tags"])]
    if thing and key not in sources.lessons():
        same = [thing]
    domains = sorted({item["domain"] for item in same} & set(person["domains"]))
    if not domains:
        raise ValueError(f"{person['user_id']} has an interest that no item of their domains has: {key}")
    domain = thing["domain"] if thing else rng.choice(domains)
    pool = [item for item in same if item["domain"] == domain]
    everything = [item for item in items_of(person["language"]) if item["domain"] == domain]
    if not thing and life.chance({"ecommerce": 0.3, "social": 0.08, "education": 0.2, "health": 0.35}[domain]):
        _free(life, "view", "search", domain, tags, 12)
    if domain == "ecommerce":
        _shop(life, pool, everything)
    elif domain == "social":
        _read_on(life, pool, everything)
    elif domain == "education":
        _study(life, pool, everything, thing)
    else:
        _care(life, pool, everything)


def _poisson(rng: random.Random, mean: float) -> int:
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * rng.random()
    return count


def behaviour(person: Row, rng: random.Random, end: datetime, days: int) -> list[Act]:
    """All a person does in the days before `end`; the last session may run beyond it."""
    life = Life(person, rng)
    zone = timezone(timedelta(hours=person["utc_offset"]))
    first = (end - timedelta(days=days)).astimezone(zone).replace(hour=0, minute=0, second=0)
    joined = rng.randrange(days - 14) if life.chance(0.25) else 0
    starts: list[float] = []
    for number in range(joined, days + 2):
        day = first + timedelta(days=number)
        mean = person["sessions_per_week"] / 7 * (WEEKEND[person["rhythm"]] if day.weekday() >= 5 else 1.0)
        for hour in rng.choices(range(24), RHYTHMS[person["rhythm"]], k=_poisson(rng, mean)):
            starts.append(day.timestamp() + 3600 * hour + rng.uniform(0, 3600))
    opening = end.timestamp() - 86400 * days
    for start in sorted(start for start in starts if start >= opening):
        _session(life, max(start, life.at + 600))  # never two sessions at once
    return life.acts
