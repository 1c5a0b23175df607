"""Any history of events, consent, edits, links and their ends: linked ids are the fold of their events, and unlinked
ones what they would be had they never been linked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.domain import Consent, Profile
from shared.evidence import settled
from shared.interests import fold, interests_of
from shared.policy.consent import refused
from shared.profiling import NamedId
from shared.stores.people import held, unpack_vectors
from tests.conftest import TENANT, Aws, stores_on
from tests.fakes.models import TOPICS, TopicClassifier
from tests.fakes.system import FakeSystem
from tests.unit.test_identities import wire_rows
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow

NAMES = "abc"
HEALTH_AD = "pressure3"


@dataclass
class World:
    """A tenant where ids are linked and unlinked, another where the same happens to ids that never were; and who is
    linked with whom as plainly as it can be kept."""

    system: FakeSystem
    groups: list[set[str]] = field(default_factory=lambda: [{name} for name in NAMES])
    sent: int = 0
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def uid(self, tenant: str, name: str) -> str | None:
        if (tenant, name) not in self.known:
            uid = self.system.stores.people.uid(tenant, name)
            if uid is None:
                return None
            self.known[tenant, name] = uid
        return self.known[tenant, name]

    def group(self, name: str) -> set[str]:
        return next(group for group in self.groups if name in group)

    def step(self, kind: str, name: str, other: str, topic: str, flags: int) -> None:
        profiling = self.system.profiling
        people = (self.uid(TENANT, name), self.uid(TENANT, other))
        if kind == "event":
            self.sent += 1
            row = {
                "user_id": name,
                "event": ("view", "purchase", "dismiss", "cart")[flags],
                "timestamp": self.system.clock.now - 5000 * self.sent,
                "text": f"{topic} number {flags}",
                "event_id": f"e{self.sent // 2}",
                **({"item_id": f"{topic}{flags}"} if flags % 2 else {}),
                **({"domain": "health"} if topic == "pressure" and flags != 3 else {}),  # of an ad of that domain
            }
            if profiling.post_events(TENANT, [row]).accepted:
                assert profiling.post_events("never", [row]).accepted
        elif kind == "link" and self._may_link(people):
            profiling.identities(TENANT, name, link=[NamedId(other)])
            mine, theirs = self.group(name), self.group(other)
            if mine is not theirs:
                self.groups.remove(theirs)
                mine |= theirs
        elif kind == "unlink" and people[0] is not None:
            profiling.identities(TENANT, name, unlink=[NamedId(other)])
            group = self.group(name)
            if other in group and len(group) > 1:
                group.remove(other)
                self.groups.append({other})
        elif kind == "consent":
            said = Consent(flags > 0, flags > 1, "banner", self.system.clock.now)
            profiling.set_consent(TENANT, name, said)
            profiling.set_consent("never", name, said)
        elif kind in ("disable", "enable") and people[0] is not None and self._may_edit(name):
            edit: dict[str, list[str]] = {"disable": [], "enable": []} | {kind: [TOPICS[topic]]}
            profiling.edit_interests(TENANT, name, **edit)
            for one in self.group(name) if kind == "enable" else {name}:
                if (uid := self.uid("never", one)) is not None:  # through the store: whoever it is of need not consent
                    self.system.stores.people.edit_interests("never", uid, **edit)

    def _may_edit(self, name: str) -> bool:
        if self.system.consent_basis != "required":
            return True
        return self.system.profiling.profile(TENANT, name)[1].personalisation

    def _may_link(self, uids: tuple[str | None, str | None]) -> bool:
        if self.system.consent_basis != "required":
            return True
        said = self.system.stores.people.consents(TENANT, [uid for uid in uids if uid])
        return len(said) == len({*uids}) and not all(map(refused, said.values()))

    def expected(self, group: set[str], now: float) -> tuple[Any, int, set[str]]:
        """Of a group: interests, number of events and what they hold, from nothing but the ids' own rows."""
        people = self.system.stores.people
        uids = {name: uid for name in sorted(group) if (uid := self.uid(TENANT, name))}
        metas = {name: people._table.get(f"t/{TENANT}/p/{uid}", "meta") or {} for name, uid in uids.items()}
        said = {name: Consent(**meta["consent"]) for name, meta in metas.items() if "consent" in meta}
        counted = [name for name in uids if name in said or self.system.consent_basis == "asserted"]
        if not counted or not all(one.personalisation for one in said.values()):
            return (), 0, set()
        events, vectors, total = [], {}, 0
        domains = {HEALTH_AD: "health"}
        for name in counted:
            own = said.get(name)
            for stored in people.events(TENANT, uids[name], ""):
                total += 1
                health = "health" in (stored.event.domain, domains.get(stored.event.item_id or ""))
                if health and not (own is not None and own.sensitive):
                    continue
                event_id = f"{name} {stored.event.event_id}"
                object.__setattr__(stored.event, "event_id", event_id)
                events.append(stored)
                if stored.vector:
                    vectors[f"e/{event_id}"] = unpack_vectors([stored.vector])[0]
        state = settled(fold({}, events)[0], {0}, {f"i/{item_id}": domain for item_id, domain in domains.items()})
        keys = [one.key for one in state.values() if one.key.startswith("i/")]
        for item_id, item in self.system.stores.catalogue.resolve(TENANT, (key[2:] for key in keys)).items():
            vectors[f"i/{item_id}"] = unpack_vectors([item.vector])[0]
        classifier: Any = TopicClassifier()
        sensitive = bool(said) and all(one.sensitive for one in said.values())
        found = interests_of(
            state, vectors, {"adproduct": classifier, "content": classifier}, now=now, sensitive_allowed=sensitive
        )
        disabled = {one for meta in metas.values() for one in meta.get("disabled", ())}
        plain = [
            (
                one.id,
                one.term,
                one.weight,
                *(_own_ids(some) for some in (one.evidence, one.against)),
                one.id not in disabled,
            )
            for one in found
        ]
        return plain, total, held(Profile("", found, (), now), disabled)

    def check(self, turn: int) -> None:
        """Everybody through one of their ids, whose turn it is."""
        holders: Counter[str] = Counter()
        for group in self.groups:
            interests, count, holding = self.expected(group, self.system.clock.now)
            holders.update(holding)
            name = sorted(group)[turn % len(group)]
            got = self.system.profiles.read(TENANT, name, self.uid(TENANT, name))[0]
            seen = [
                (one.id, one.term, one.weight, set(one.evidence), set(one.against), one.enabled)
                for one in got.interests
            ]
            assert [one[:2] + one[3:] for one in seen] == [one[:2] + one[3:] for one in interests], (name, group)
            assert np.allclose([one[2] for one in seen], [one[2] for one in interests], rtol=0, atol=1e-6)
            assert got.events == count
        counted = self.system.stores.people.holders(TENANT, TOPICS.values())
        assert {one: number for one, number in counted.items() if number} == dict(holders)

    def part_all(self) -> None:
        for group in list(self.groups):
            first, *others = sorted(group)
            for other in others:
                self.step("unlink", first, other, "", 0)

    def check_never_linked(self) -> None:
        for name in NAMES:
            own = [self.uid(tenant, name) for tenant in (TENANT, "never")]
            # An id that was linked before anything was known of it has a pseudonym, and nothing more.
            got, never = (
                self.system.profiles.read(tenant, name, uid)[:2]
                for tenant, uid in zip((TENANT, "never"), own, strict=True)
            )
            assert (got[0].interests, got[0].events, got[1]) == (never[0].interests, never[0].events, never[1])
        people = self.system.stores.people
        assert people.holders(TENANT, TOPICS.values()) == people.holders("never", TOPICS.values())


def _own_ids(named: tuple[str, ...]) -> set[str]:
    return {one.split(" ", 1)[1] for one in named}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event"] * 5 + ["link"] * 3 + ["unlink", "consent", "disable", "enable"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from(["watch", "phone", "pressure"]),
        st.integers(0, 3),
    ),
    min_size=4,
    max_size=14,
)


# Without shrinking: an example takes half a second, and says itself what happened.
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, basis=st.sampled_from(["asserted", "required"]))
def test_linked_ids_are_the_fold_of_their_events_and_unlinked_ones_as_if_never_linked(
    aws: Aws, steps: list[tuple[str, str, str, str, int]], basis: str
) -> None:
    _empty(aws)
    world = World(FakeSystem(stores_on(aws), consent_basis=basis))
    for tenant in (TENANT, "never"):
        world.system.classifying.put_ads(tenant, [ad(HEALTH_AD, "pressure", domain="health")])
    for turn, step in enumerate(steps):
        world.step(*step)
        world.check(turn)
    world.part_all()
    world.check(0)
    world.check_never_linked()


def _empty(aws: Aws) -> None:
    for row in wire_rows(aws):
        aws.dynamodb.delete_item(TableName=aws.table, Key={"pk": row["pk"], "sk": row["sk"]})
