"""Who counts as holding an interest: never who switched it off, whatever races with whatever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.profiling import NamedId
from shared.stores import Stores
from shared.stores.people import People
from tests.conftest import TENANT, Aws
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem
from tests.fakes.traces import kept_holders, recounted_holders, table_rows

PHONE, WATCH = TOPICS["phone"], TOPICS["watch"]


def view(system: FakeSystem, user: str, topic: str) -> None:
    row = {"user_id": user, "event": "view", "timestamp": system.clock.now - 60, "text": f"a {topic}"}
    assert system.profiling.post_events(TENANT, [row]).accepted == 1


def counted(system: FakeSystem, aws: Aws) -> dict[str, int]:
    rows = list(table_rows(aws.dynamodb, aws.table))
    kept = kept_holders(rows, TENANT)
    assert kept == recounted_holders(rows, TENANT)
    return dict(kept)


def switch(system: FakeSystem, user: str, *, off: str = "", on: str = "") -> None:
    system.profiling.edit_interests(TENANT, user, disable=[off] if off else [], enable=[on] if on else [])


def test_who_switches_an_interest_off_is_no_holder_of_it(stores: Stores, aws: Aws) -> None:
    system = FakeSystem(stores, k_floor=2)
    for user in ("ann", "bob"):
        view(system, user, "phone")
        system.profiling.profile(TENANT, user)
    assert counted(system, aws) == {PHONE: 2} and system.profiling.profile(TENANT, "bob")[0].segments == (PHONE,)
    switch(system, "ann", off=PHONE)
    assert counted(system, aws) == {PHONE: 1} and system.profiling.profile(TENANT, "bob")[0].segments == ()
    view(system, "ann", "watch")
    system.profiling.profile(TENANT, "ann")  # made anew, with it still off
    assert counted(system, aws) == {PHONE: 1, WATCH: 1}
    switch(system, "ann", off=PHONE)
    assert counted(system, aws) == {PHONE: 1, WATCH: 1}
    switch(system, "ann", on=PHONE)
    assert counted(system, aws) == {PHONE: 2, WATCH: 1}


def test_linked_ids_hold_what_none_of_them_switched_off(stores: Stores, aws: Aws) -> None:
    system = FakeSystem(stores)
    view(system, "ann", "phone")
    view(system, "bob", "watch")
    switch(system, "bob", off=PHONE)  # before anything was made of anybody
    system.profiling.identities(TENANT, "ann", link=[NamedId("bob")])
    assert counted(system, aws) == {WATCH: 1}
    switch(system, "ann", on=PHONE, off=WATCH)
    assert counted(system, aws) == {PHONE: 1}
    system.profiling.identities(TENANT, "ann", unlink=[NamedId("bob")])
    assert counted(system, aws) == {PHONE: 1, WATCH: 1}


@pytest.mark.parametrize("before", [0, 1], ids=["the first profile", "a later one"])
def test_an_edit_between_the_reading_of_a_profile_and_its_saving_is_seen(
    stores: Stores, aws: Aws, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    system = FakeSystem(stores)
    for _ in range(before):
        view(system, "ann", "watch")
        system.profiling.profile(TENANT, "ann")
    view(system, "ann", "phone")
    save = People.save_profile
    edits = iter([PHONE])

    def racing(self: People, *args: Any) -> bool:
        for one in edits:
            uid = self.uid(TENANT, "ann")
            assert uid is not None
            self.edit_interests(TENANT, uid, disable=[one], enable=[])
        return save(self, *args)

    monkeypatch.setattr(People, "save_profile", racing)
    profile, _ = system.profiling.profile(TENANT, "ann")
    assert {one.id: one.enabled for one in profile.interests}[PHONE] is False
    assert counted(system, aws) == ({WATCH: 1} if before else {})


def test_a_profile_is_not_saved_on_switches_that_were_read_before_it_was(stores: Stores, aws: Aws) -> None:
    """Rows of one read are not of one moment: here the id's is from before an edit, its profile's from after it."""
    system = FakeSystem(stores)
    people = stores.people
    view(system, "ann", "phone")
    system.profiling.profile(TENANT, "ann")
    uid = people.uid(TENANT, "ann")
    assert uid is not None
    before = people.load(TENANT, uid, "ann")
    switch(system, "ann", off=WATCH)
    after = people.load(TENANT, uid, "ann")
    assert before.profile is not None and after.profile is not None
    torn = replace(after, members=before.members)
    watch = replace(before.profile.interests[0], id=WATCH, term="long")
    made = replace(after.profile, interests=(watch,))
    assert not people.save_profile(TENANT, torn, made, b"", 1)
    assert people.save_profile(TENANT, after, made, b"", 1)
    assert counted(system, aws) == {}
