"""What every store promises, on the fake and on the emulator."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from shared.domain import (
    Ad,
    CatalogueAd,
    Classification,
    Consent,
    Copy,
    Event,
    FrequencyCap,
    IngestReport,
    Interest,
    Label,
    Profile,
)
from shared.errors import NotFound
from shared.stores import Stores
from shared.stores.catalogue import Item, Pointer, Stamp
from shared.stores.copies import MAX_TRIED, Approved, Banked, text_key
from shared.stores.people import StoredEvent, pack_vector, unpack_vectors
from tests.conftest import TENANT

NOW = 1_790_000_000.0
VECTOR = pack_vector(np.eye(384, dtype=np.float32)[3])
STAMPS: defaultdict[str, Stamp] = defaultdict(lambda: Stamp.of_request(NOW))


def event(event_id: str, at: float = NOW, **fields: object) -> StoredEvent:
    return StoredEvent(Event("someone", "view", at, event_id, item_id="i1", **fields))  # type: ignore[arg-type]


def ad(ad_id: str, **fields: object) -> CatalogueAd:
    made = Ad(ad_id, f"Title of {ad_id}", "https://example.com/", "en", "ecommerce", **fields)  # type: ignore[arg-type]
    category = Classification((Label("adproduct:1", {"en": "A", "zh": "甲"}, 0.5),), False)
    return CatalogueAd(made, category, True, vector=VECTOR)


def test_a_pseudonym_is_made_once_and_says_nothing(stores: Stores) -> None:
    first = stores.people.uids(TENANT, ["ann", "bob"])
    assert stores.people.uids(TENANT, ["bob", "ann", "cid"]) == first | {
        "cid": stores.people.uid(TENANT, "cid"),
    }
    assert len(set(first.values())) == 2
    assert stores.people.uid("other", "ann") is None
    assert stores.people.known_uids(TENANT, ["ann", "nobody"]) == {"ann": first["ann"]}


def test_racing_writers_agree_on_pseudonyms(emulated: Stores) -> None:
    names = [f"u{number}" for number in range(30)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: emulated.people.uids(TENANT, names), range(4)))
    assert all(answer == answers[0] for answer in answers)


def test_events_are_numbered_and_kept_once(stores: Stores) -> None:
    uid = stores.people.uid(TENANT, "ann", create=True)
    assert uid
    stored = replace(event("b", tags=("x", "y"), text="hello", value=2.5, platform="web"), vector=VECTOR)
    assert stores.people.append_events(TENANT, {uid: [event("a"), stored, event("a")]}) == {uid: {"a", "b"}}
    assert stores.people.append_events(TENANT, {uid: [event("b"), event("c")]}) == {uid: {"c"}}
    kept = list(stores.people.events(TENANT, uid, "someone"))
    assert [(one.seq, one.event.event_id) for one in kept] == [(1, "a"), (2, "b"), (3, "c")]
    assert kept[1] == replace(stored, seq=2)
    assert [one.event.event_id for one in stores.people.events(TENANT, uid, "someone", after=2)] == ["c"]
    assert stores.people.event_vectors(TENANT, uid, ["a", "b"]) == {"b": VECTOR}


@pytest.mark.slow
def test_many_events_of_many_people_go_in_whole(stores: Stores) -> None:
    uids = list(stores.people.uids(TENANT, ["ann", "bob", "cid"]).values())
    batch = {uid: [event(f"{place}-{number}") for number in range(150)] for place, uid in enumerate(uids)}
    accepted = stores.people.append_events(TENANT, batch)
    assert [len(accepted[uid]) for uid in uids] == [150, 150, 150]
    for uid in uids:
        assert [one.seq for one in stores.people.events(TENANT, uid, "x")] == list(range(1, 151))


def test_racing_writers_lose_no_event_and_count_none_twice(emulated: Stores) -> None:
    uid = emulated.people.uid(TENANT, "ann", create=True)
    assert uid
    # Every event is sent by two of the four writers.
    shares = [[event(str(number)) for number in range(40) if number % 4 in (who, (who + 1) % 4)] for who in range(4)]
    barrier = threading.Barrier(4)

    def write(share: list[StoredEvent]) -> int:
        barrier.wait()
        return sum(len(emulated.people.append_events(TENANT, {uid: share[i : i + 5]})[uid]) for i in range(0, 20, 5))

    with ThreadPoolExecutor(4) as pool:
        counted = sum(pool.map(write, shares))
    kept = list(emulated.people.events(TENANT, uid, "x"))
    assert counted == len(kept) == 40
    assert [one.seq for one in kept] == list(range(1, 41))
    assert emulated.people.load(TENANT, uid, "x").head == 40


def test_consent_and_disabled_interests_hold(stores: Stores) -> None:
    uid = stores.people.uid(TENANT, "ann", create=True)
    assert uid
    said = Consent(True, False, "banner", NOW)
    stores.people.set_consent(TENANT, uid, said)
    stores.people.edit_interests(TENANT, uid, disable=["a", "b"], enable=[])
    stores.people.edit_interests(TENANT, uid, disable=[], enable=["a"])
    person = stores.people.load(TENANT, uid, "ann")
    assert person.consent == said
    assert person.disabled == {"b"}
    assert person.stale
    assert stores.people.consents(TENANT, [uid, "nobody"]) == {uid: said}


def test_a_profile_is_saved_by_one_writer_at_a_time_and_counts_its_holders(stores: Stores) -> None:
    def profile(*ids: str) -> Profile:
        interests = [Interest(i, {"en": i, "zh": i}, 0.5, "long", ("e1",), vector=VECTOR) for i in ids]
        hidden = Interest("secret", {"en": "s", "zh": "s"}, 0.5, "long", (), sensitive=True, vector=VECTOR)
        return Profile("ann", (*interests, hidden), (), NOW, events=3)

    uid = stores.people.uid(TENANT, "ann", create=True)
    assert uid
    before = stores.people.load(TENANT, uid, "ann")
    assert stores.people.save_profile(TENANT, before, profile("a", "b"), b"state", 3)
    assert not stores.people.save_profile(TENANT, before, profile("c"), b"other", 4)
    after = stores.people.load(TENANT, uid, "ann")
    assert after.profile == replace(profile("a", "b"), version=1)
    assert after.folded == 3
    assert stores.people.state(TENANT, uid) == b"state"
    assert stores.people.save_profile(TENANT, after, profile("b", "c"), b"new", 5)
    assert stores.people.holders(TENANT, ["a", "b", "c", "secret"]) == {"a": 0, "b": 1, "c": 1, "secret": 0}


def test_ads_are_kept_in_order_of_their_writes_and_unchanged_ones_left_alone(stores: Stores) -> None:
    catalogue = stores.catalogue
    capped = ad("b", frequency_cap=FrequencyCap(3, 24.0), attributes={"price": 9.5}, targeting={"platforms": ["web"]})
    assert catalogue.put_ads(TENANT, [ad("a"), capped], STAMPS) == 2
    assert catalogue.put_ads(TENANT, [ad("a"), ad("c")], STAMPS) == 1
    assert catalogue.head(TENANT) == 3
    assert catalogue.get_ad(TENANT, "b") == capped
    assert catalogue.get_ad(TENANT, "missing") is None
    assert [stored.ad.ad_id for stored in catalogue.iter_ads(TENANT)] == ["a", "b", "c"]
    assert [*catalogue.iter_ads("other")] == []
    catalogue.put_ads(TENANT, [ad("a", brand="New")], STAMPS)
    assert [stored.ad.ad_id for stored in catalogue.iter_ads(TENANT)] == ["b", "c", "a"]


def test_a_newer_snapshot_is_never_replaced_by_an_older(stores: Stores) -> None:
    new, old = Pointer("v2", "catalogue/demo/v2", 2), Pointer("v1", "catalogue/demo/v1", 1)
    assert stores.catalogue.pointer(TENANT) is None
    assert stores.catalogue.publish(TENANT, new)
    assert not stores.catalogue.publish(TENANT, old)
    assert stores.catalogue.pointer(TENANT) == new


def test_one_builder_holds_the_lease_until_it_drops_it_or_it_runs_out(stores: Stores) -> None:
    catalogue = stores.catalogue
    assert catalogue.take_lease(TENANT, "one", NOW, 60)
    assert not catalogue.take_lease(TENANT, "two", NOW + 30, 60)
    catalogue.drop_lease(TENANT, "two")
    assert not catalogue.take_lease(TENANT, "two", NOW + 30, 60)
    catalogue.drop_lease(TENANT, "one")
    assert catalogue.take_lease(TENANT, "two", NOW + 31, 60)
    assert catalogue.take_lease(TENANT, "three", NOW + 120, 60)


def test_items_resolve_to_the_ad_first(stores: Stores) -> None:
    stores.catalogue.put_ads(TENANT, [ad("both")], STAMPS)
    stores.catalogue.put_items(TENANT, [Item("both", VECTOR), Item("only", VECTOR, "social")])
    found = stores.catalogue.resolve(TENANT, ["both", "only", "none"])
    assert found["both"].text == "Title of both"
    assert found["only"] == Item("only", VECTOR, "social")
    assert set(found) == {"both", "only"}
    assert stores.catalogue.known_items(TENANT, ["both", "only", "none"]) == {"both", "only"}


def test_an_upload_is_remembered(stores: Stores) -> None:
    stores.catalogue.finish_upload(TENANT, "events/demo/x.jsonl", "etag", IngestReport(3, 1, (), 2, None), NOW)
    row = stores.catalogue.upload(TENANT, "events/demo/x.jsonl")
    assert row and (row["accepted"], row["duplicates"], row["rejected"], row["fingerprint"]) == (3, 1, 2, "etag")


def test_the_bank_and_jobs_keep_their_word(stores: Stores) -> None:
    copies = [Copy("Warm socks for cold days", "en", "llm", provenance={"model": "m"})]
    stores.copies.bank_put(TENANT, "a", "-", "en", copies)
    assert stores.copies.bank_get(TENANT, "a", "-", "en") == copies
    assert stores.copies.bank_get(TENANT, "a", "-", "zh") == []
    assert stores.jobs.create(TENANT, "j", {"n": 3})
    assert not stores.jobs.create(TENANT, "j", {"n": 4})
    assert stores.jobs.update(TENANT, "j", state="running", expect=("queued",), taken=True)
    assert not stores.jobs.update(TENANT, "j", state="running", expect=("queued",))
    assert stores.jobs.update(TENANT, "j", state="done", expect=("running",), result={"copies": []})
    job = stores.jobs.get(TENANT, "j")
    assert job and (job.state, job.request, job.result, job.attempts) == ("done", {"n": 3}, {"copies": []}, 1)


def test_a_rejected_text_is_kept_back_from_every_reader(stores: Stores) -> None:
    kept, refused = Copy("Warm socks", "en", "llm"), Copy("Warm SOCKS, twice", "en", "llm")
    stores.copies.bank_put(TENANT, "a", "-", "en", [refused, kept])
    stores.copies.bank_put(TENANT, "a", "content:1", "en", [refused])
    assert stores.copies.reject(TENANT, "a", text_key("warm socks twice"))
    assert not stores.copies.reject(TENANT, "a", text_key("warm socks twice"))
    read = stores.copies.bank_read(TENANT, "a", ["-", "content:1"], "en")
    assert read.copies == {"-": [kept], "content:1": []} and read.rejected == {text_key(refused.text)}
    assert stores.copies.bank_get_many(TENANT, [("a", "-", "en"), ("b", "-", "en")]) == {("a", "-", "en"): [kept]}
    assert sorted(stores.copies.bank_places(TENANT, "a")) == [("-", "en"), ("content:1", "en")]
    assert stores.copies.reject(TENANT, "a", text_key(refused.text), rejected=False)
    assert stores.copies.bank_get(TENANT, "a", "-", "en") == [refused, kept]


def test_approved_copy_comes_back_until_it_is_taken_back(stores: Stores) -> None:
    one = Approved("a", "en", "Warm socks", "wool", {"title": "Socks"}, NOW, audience=("hiking",), vector=VECTOR)
    stores.copies.approve(TENANT, [one, replace(one, language="zh", text="暖和的袜子")])
    assert [text.text for text in stores.copies.approved(TENANT)] == ["暖和的袜子", "Warm socks"]
    assert list(stores.copies.approved(TENANT, "en")) == [one]
    stores.copies.disapprove(TENANT, "a", "en", one.key)
    assert list(stores.copies.approved(TENANT, "en")) == [] == list(stores.copies.approved("other"))


def test_an_ad_and_its_bank_are_read_at_once_with_the_attempts_in_vain(stores: Stores) -> None:
    assert stores.ad_and_bank(TENANT, "a", "-", ["en"]) == (None, {"en": Banked()})
    stores.catalogue.put_ads(TENANT, [ad("a")], STAMPS)
    copy = Copy("Text", "en", "llm")
    stores.copies.count_attempt(TENANT, "a", "-", "en", "first")
    assert stores.copies.bank_get(TENANT, "a", "-", "en") == []
    stores.copies.bank_put(TENANT, "a", "-", "en", [copy])
    stores.copies.count_attempt(TENANT, "a", "-", "en", "first")
    stored, banks = stores.ad_and_bank(TENANT, "a", "-", ["zh", "en"])
    assert stored == ad("a")
    assert banks == {"zh": Banked(), "en": Banked({"-": [copy]}, frozenset(), {"-": {"first": 2}})}
    for number in range(MAX_TRIED):
        stores.copies.count_attempt(TENANT, "a", "-", "en", str(number))
    read = stores.copies.bank_read(TENANT, "a", ["-"], "en")
    assert len(read.tried["-"]) == MAX_TRIED and "first" not in read.tried["-"] and read.copies == {"-": [copy]}


def test_racing_writers_lose_no_banked_copy(emulated: Stores) -> None:
    def add(number: int) -> None:
        copy = Copy(f"Text {number}", "en", "llm")
        emulated.copies.bank_change(TENANT, "a", "-", "en", lambda kept: [*kept, copy])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert {copy.text for copy in emulated.copies.bank_get(TENANT, "a", "-", "en")} == {f"Text {n}" for n in range(8)}


def test_a_page_of_a_pass_goes_in_once_and_a_child_counts_once(stores: Stores) -> None:
    jobs = stores.jobs
    assert jobs.create(TENANT, "pass", {}, is_pass=True, now=NOW)
    page: dict[str, dict[str, object]] = {"one": {"ad_id": "a"}, "two": {"ad_id": "b"}}
    for first in (True, False):
        assert jobs.extend(TENANT, "pass", page, cursor=(0, 7), skipped=3, listed=False, now=NOW) is first
    # A child that is there already keeps the whole page out.
    assert not jobs.extend(TENANT, "pass", {"two": {}, "three": {}}, cursor=(7, 9), listed=True, now=NOW)
    assert jobs.get(TENANT, "three") is None
    assert jobs.extend(TENANT, "pass", {}, cursor=(7, 9), listed=True, now=NOW)
    assert jobs.known(TENANT, ["one", "two", "three"]) == {"one": "queued", "two": "queued"}
    for first in (True, False):
        counts = {"done": 1.0, "copies": 2.0, "seconds": 0.5}
        ended = jobs.update(
            TENANT, "one", state="done", expect=("queued",), parent="pass", counts=counts, result={}, now=NOW
        )
        assert ended is first
    whole = jobs.get(TENANT, "pass")
    assert whole and whole.progress and whole.state == "running" and not whole.progress.over
    assert (whole.progress.total, whole.progress.skipped, whole.progress.cursor) == (2, 3, 9)
    assert (whole.progress.counts["done"], whole.progress.counts["seconds"]) == (1, 0.5)
    assert jobs.update(TENANT, "two", state="failed", expect=("queued",), parent="pass", counts={"failed": 1}, now=NOW)
    whole = jobs.get(TENANT, "pass")
    assert whole and whole.progress and whole.progress.over


def test_racing_children_are_all_counted(emulated: Stores) -> None:
    jobs = emulated.jobs
    jobs.create(TENANT, "pass", {}, is_pass=True)
    jobs.extend(TENANT, "pass", {f"c{n}": {} for n in range(12)}, cursor=(0, 1), listed=True, now=NOW)

    def finish(number: int) -> bool:
        return jobs.update(
            TENANT, f"c{number % 12}", state="done", expect=("queued",), parent="pass", counts={"done": 1}
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(finish, range(24))) == 12
    whole = jobs.get(TENANT, "pass")
    assert whole and whole.progress and whole.progress.counts["done"] == 12


def test_objects_stream_and_miss_clearly(stores: Stores) -> None:
    stores.objects.put("events/demo/a b.jsonl", b"one\ntwo\n", "application/x-ndjson")
    with stores.objects.stream("events/demo/a b.jsonl") as stream:
        assert list(stream) == [b"one\n", b"two\n"]
    assert stores.objects.exists("events/demo/a b.jsonl")
    assert list(stores.objects.keys("events/")) == ["events/demo/a b.jsonl"]
    with pytest.raises(NotFound):
        stores.objects.get("events/demo/missing")


def test_vectors_keep_their_direction() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    back = unpack_vectors([pack_vector(vector) for vector in vectors])
    assert np.all(np.sum(back * vectors, axis=1) > 0.9999)
