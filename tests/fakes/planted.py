"""People who leave traces of every kind that can be found again, among others who do the same."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from shared import decision_log
from shared.domain import Consent
from shared.erasing import Erasing
from shared.errors import AdTailorError
from shared.feedback import FeedbackItem
from shared.profiling import NamedId
from shared.stores.delivery import BUCKET_SECONDS
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem

if TYPE_CHECKING:
    from shared.wiring import System

TOPICS = ("phone", "watch", "shoe", "course")
KINDS = ("impression", "click", "dismiss", "conversion")


@dataclass
class Person:
    """Somebody with two external ids. needles: texts by which their traces are known."""

    name: str
    number: int
    decisions: list[str] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)

    @property
    def ids(self) -> tuple[str, str]:
        return f"{self.name}@web", f"{self.name}@app"

    @property
    def needles(self) -> set[str]:
        return {self.name, *self.decisions, *self.uids}

    def events(self, at: float, source: str, count: int = 3) -> list[dict[str, Any]]:
        """Rows of events, each with the person's name in whatever may hold a text."""
        return [
            {
                "user_id": self.ids[place % 2],
                "event": ("view", "purchase", "comment")[place % 3],
                "timestamp": at - 60 * (place + 1),
                "event_id": f"{self.name}-{source}-{place}",
                "item_id": f"item-{self.number % 7}-{place}",
                "platform": f"{self.name}-platform",
                "domain": "ecommerce",
                "text": f"{self.name} looks at a {TOPICS[(self.number + place) % len(TOPICS)]}",
                "tags": [f"{self.name}-tag"],
                "value": 3.5,
            }
            for place in range(count)
        ]


@dataclass
class World:
    """A tenant with a catalogue, and people in it. system: with a clock that a test moves."""

    system: FakeSystem | System
    delay: float = 60.0

    def __post_init__(self) -> None:
        self.erasing = Erasing(self.system.stores, clock=self.system.clock, delay_seconds=self.delay)
        rows = [
            {
                "ad_id": f"{topic}-{place}",
                "title": f"a {topic} number {place}",
                "landing_url": "https://example.com",
                "language": "en",
                "domain": "ecommerce",
                "bid_cpm": 2.0,
                "daily_budget": 1e6,
                "frequency_cap": {"count": 50, "hours": 24},
            }
            for topic in TOPICS
            for place in range(3)
        ]
        self.system.classifying.put_ads(TENANT, rows)
        self.system.classifying.publish(TENANT)

    def live(self, person: Person, decisions: int = 2, *, linked: bool = True) -> None:
        """Everything that a person may do."""
        system, now = self.system, self.system.clock.now
        profiling = system.profiling
        for one in person.ids:
            said = Consent(True, False, f"{person.name}-banner", now - 1000, version=f"{person.name}-notice")
            profiling.set_consent(TENANT, one, said)
        report = profiling.post_events(TENANT, person.events(now, "api"))
        assert report.accepted == 3, report
        if linked:
            profiling.identities(TENANT, person.ids[0], link=[NamedId(person.ids[1], f"{person.name}-platform")])
        profile, _ = profiling.profile(TENANT, person.ids[0])
        profiling.edit_interests(TENANT, person.ids[0], disable=[profile.interests[-1].id], enable=[])
        for place in range(decisions):
            decision = system.recommending.recommend(TENANT, person.ids[place % 2], n=4)
            person.decisions.append(decision.decision_id)
            kinds = KINDS[: 1 + (person.number + place) % len(KINDS)]
            items = [
                FeedbackItem(decision.decision_id, ad.ad_id, kind, now)
                for slot, ad in enumerate(decision.ads)
                for kind in kinds[: len(kinds) - slot]
            ]
            system.recommending.feedback(TENANT, items)
        people = system.stores.people
        person.uids = sorted(people.known_uids(TENANT, person.ids).values())

    def upload(self, people: Sequence[Person], name: str) -> None:
        """A file of their events, taken in: JSON Lines or CSV, packed or not, by its name."""
        now = self.system.clock.now
        rows = [row for person in people for row in person.events(now, name)]
        if ".csv" in name:
            out = io.StringIO()
            writer = csv.DictWriter(out, [n for n in rows[0] if n != "tags"])
            writer.writeheader()
            writer.writerows({n: v for n, v in row.items() if n != "tags"} for row in rows)
            body = out.getvalue().encode()
        else:
            body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        key = f"events/{TENANT}/{name}"
        self.system.stores.objects.put(key, gzip.compress(body) if name.endswith(".gz") else body)
        report = self.system.profiling.ingest(TENANT, key, fingerprint="")
        assert report.accepted == len(rows), report

    def export_log(self) -> None:
        bucket = int(self.system.clock.now // BUCKET_SECONDS)
        basis = self.system.profiles.consent_basis
        decision_log.write(self.system.stores, TENANT, bucket, self.system.clock.now, consent_basis=basis)

    def finish(self, erasure_id: str, rounds: int = 20) -> dict[str, Any]:
        """Has an erasure done, as its messages would."""
        from shared.erasing import receipt

        for _ in range(rounds):
            self.system.clock.now += self.delay + 1
            self.erasing.go_on(TENANT, erasure_id)
            erasure = self.erasing.get(TENANT, erasure_id)
            if erasure.done:
                return receipt(erasure)
        raise AssertionError(f"not done after {rounds} messages: {erasure}")


def attempt(work: Any, *arguments: Any, **named: Any) -> Any:
    """What work gives; None where it is refused, as it may be while the person is being erased."""
    try:
        return work(*arguments, **named)
    except AdTailorError as error:
        if error.status not in (404, 409, 422):
            raise
        return None
