"""Input and interleavings at the limits: sizes of DynamoDB and S3, impossible times, odd ids, replaced objects."""

from __future__ import annotations

import itertools
import json
import secrets
from hashlib import sha256
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from botocore.exceptions import ClientError

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared import ingest, recommending, wiring
from shared.domain import Consent, Event
from shared.errors import Unprocessable
from shared.feedback import FeedbackItem
from shared.ingest import rejected_key, tenant_of_key
from shared.interests import acquired_items, dump_state, fold, load_state
from shared.snapshot import HELD_TENANTS, Snapshots
from shared.stores import Stores, file_key
from shared.stores.delivery import IMPRESSION_DAYS
from shared.stores.people import StoredEvent, pack_vector
from shared.stores.table import Table, marshal
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.delivery import drain
from tests.fakes.models import topic_vector
from tests.fakes.system import FakeSystem
from tests.unit.test_api import AD, event, post, upload

pytestmark = pytest.mark.slow

ITEM_BYTES = 400 * 1024
TRANSACTION_BYTES = 4 << 20
FACE = "\U0001f600"  # four bytes in UTF-8


@pytest.fixture
def fake(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


def consent(personalisation: bool) -> Consent:
    return Consent(personalisation, False, "banner", 1.78e9)


# Sizes --------------------------------------------------------------------------------------------------------------


def test_the_state_of_a_person_of_ten_thousand_events_fits_its_row() -> None:
    events = [
        StoredEvent(Event("ann", "view", 1.78e9 + n, sha256(str(n).encode()).hexdigest()[:32], f"item{n % 500}"))
        for n in range(10_000)
    ]
    state, count = fold({}, events)
    packed = dump_state(state, count)
    assert len(packed) < ITEM_BYTES - 50_000
    kept, again = load_state(packed)
    assert again == 10_000
    assert {key: one.long for key, one in kept.items()} == {key: one.long for key, one in state.items()}


def test_evidence_of_ids_that_cannot_be_packed_fits_its_row_too() -> None:
    events = [
        StoredEvent(
            Event("ann", "purchase", 1.78e9 + n, secrets.token_hex(100), f"{secrets.token_hex(96)}{n % 500:08d}")
        )
        for n in range(10_000)
    ]
    state, count = fold({}, events)
    assert len(dump_state(state, count)) < ITEM_BYTES - 50_000
    wide = [StoredEvent(Event("ann", "purchase", 1.78e9 + n, str(n), FACE * 195 + str(n))) for n in range(600)]
    acquired = acquired_items(fold({}, wide)[0], 1.78e9)
    assert sum(len(item_id.encode()) for item_id in acquired) <= 100_000
    assert f"{FACE * 195}599" in acquired  # the latest stays


@pytest.mark.slow
def test_an_ad_full_of_findings_is_kept_and_says_the_first(built: System) -> None:
    from shared.policy.rules import check

    loud = AD | {"ad_id": "loud", "language": "zh", "description": "最佳的咖啡锅，" * 700}
    assert len(check("最佳的咖啡锅，" * 700, "ecommerce")) == 700
    answer = post(classify.app, "/v1/ads", {"ads": [loud, AD]}, method="PUT")
    assert answer.status_code == 200
    first, second = answer.json()["ads"]
    assert (first["active"], len(first["findings"]), second["active"]) == (False, 30, True)
    assert first["findings"][0]["rewrite"]
    assert len(answer.content) < 500_000
    row = built.stores.catalogue._table.get(f"t/{TENANT}/ads", "ad/loud")
    assert row is not None
    assert len(row["doc"]) < ITEM_BYTES - 10_000
    many = post(classify.app, "/v1/classify", {"texts": ["最佳" * 160] * 60})
    assert many.status_code == 200
    assert len(many.content) < 6_000_000


def test_an_ad_too_large_for_a_row_is_rejected_and_the_others_go_in(built: System) -> None:
    big = AD | {
        "ad_id": "big",
        "targeting": {name: [f"{n}{FACE * 190}" for n in range(100)] for name in ("platforms", "segments")},
        "attributes": {f"n{n}": FACE * 500 for n in range(50)},
    }
    answer = post(classify.app, "/v1/ads", orjson.dumps({"ads": [big, AD]}), method="PUT")
    assert answer.status_code == 200
    first, second = answer.json()["ads"]
    assert "200,000" in first["rejected"]["reason"]
    assert second["accepted"]


def test_large_ads_are_written_in_transactions_of_four_megabytes(fake: FakeSystem, aws: Aws) -> None:
    sizes: list[int] = []
    real = aws.dynamodb.transact_write_items

    def watched(**arguments: Any) -> Any:
        sizes.append(
            sum(
                len(action.get("Put", {}).get("Item", {}).get("doc", {}).get("B", b""))
                for action in arguments["TransactItems"]
            )
        )
        return real(**arguments)

    aws.dynamodb.transact_write_items = watched
    ads = [AD | {"ad_id": f"a{n}", "attributes": {f"n{m}": f"{n}" + "大" * 490 for m in range(50)}} for n in range(99)]
    kept = fake.classifying.put_ads(TENANT, ads)
    assert len(kept) == 99
    assert fake.stores.catalogue.head(TENANT) == 99
    assert sum(sizes) > TRANSACTION_BYTES > max(sizes)


def test_disabled_interests_are_bounded(built: System) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    long = post(profile.app, "/v1/users/ann/interests", {"disable": ["x" * 50_000]}, method="PATCH")
    assert long.status_code == 422
    for start in range(0, 500, 100):
        ids = [f"i{n}" for n in range(start, start + 100)]
        assert post(profile.app, "/v1/users/ann/interests", {"disable": ids}, method="PATCH").status_code == 200
    over = post(profile.app, "/v1/users/ann/interests", {"disable": ["more"]}, method="PATCH")
    assert (over.status_code, over.json()["field"]) == (422, "disable")


def test_a_number_nearer_to_zero_than_dynamodb_knows_is_zero(fake: FakeSystem) -> None:
    assert marshal(1e-200) == {"N": "0.0"} == marshal(-5e-324)
    assert marshal(1e-100) == {"N": "1e-100"}
    row = {"user_id": "ann", "event": "view", "timestamp": 1.78e9, "value": 1e-200}
    assert fake.profiling.post_events(TENANT, [row]).accepted == 1


def test_the_key_of_rejected_lines_is_never_too_long(built: System, aws: Aws) -> None:
    key = f"events/{TENANT}/{'x' * 1000}.jsonl"
    assert len(rejected_key(key).encode()) <= 1024
    assert rejected_key(key).startswith(f"rejected/{TENANT}/")
    assert upload(aws, key, b"{}\n")["rejected_count"] == 1
    assert built.stores.objects.exists(rejected_key(key))


# Times and ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.9999999Z", 60, 1e300, "NaN"]
)
def test_a_consent_of_an_impossible_time_is_refused_and_spoils_nothing(built: System, at: Any) -> None:
    post(profile.app, "/v1/events", {"events": [event()]})
    said = {"personalisation": True, "source": "banner", "at": at}
    answer = post(profile.app, "/v1/users/ann/consent", said, method="PUT")
    assert (answer.status_code, answer.json()["field"]) == (422, "at")
    assert post(profile.app, "/v1/users/ann/profile", b"", method="GET").status_code == 200


@pytest.mark.parametrize("odd", ["a/b", "100%", "人 x", "a？b#c", "a+b", "x/profile", "//"])
def test_every_id_that_is_taken_in_can_be_asked_for(built: System, odd: str) -> None:
    assert post(profile.app, "/v1/events", {"events": [event(user_id=odd)]}).json()["accepted"] == 1
    place = quote(odd, safe="")
    shown = post(profile.app, f"/v1/users/{place}/profile", b"", method="GET")
    assert (shown.status_code, shown.json().get("user_id")) == (200, odd)
    post(classify.app, "/v1/ads", {"ads": [AD | {"ad_id": odd}]}, method="PUT")
    ad = post(classify.app, f"/v1/ads/{place}", b"", method="GET")
    assert (ad.status_code, ad.json().get("ad_id")) == (200, odd)


@pytest.mark.parametrize(
    ("front", "call"),
    [
        (profile, {"action": "events", "tenant": TENANT, "events": 5}),
        (classify, {"action": "classify", "tenant": TENANT, "texts": None}),
        (classify, {"action": "classify", "tenant": TENANT, "texts": [5]}),
        (classify, {"action": "classify", "tenant": TENANT, "texts": ["x"], "top": -1}),
        (recommend, {"action": "recommend", "tenant": TENANT, "user_id": 5}),
        (profile, {"action": "profile", "tenant": TENANT, "user_id": 5}),
        (profile, {"action": "export", "tenant": TENANT, "user_id": ["ann"]}),
        (profile, {"action": "run", "tenant": TENANT, "run": {"a": 1}}),
        (profile, {"action": "profile", "tenant": None, "user_id": "ann"}),
        (recommend, {"action": "export_log", "tenant": None}),
        (recommend, {"action": "fly", "tenant": TENANT}),
        (classify, {"action": "trained", "tenant": TENANT, "head": 5, "job": "x"}),
        (classify, {"action": "ranker_trained", "tenant": TENANT, "job": 5}),
        (generate, {"action": "copy_reviews", "tenant": TENANT, "reviews": 5}),
        (generate, {"action": ["copy"]}),
    ],
)
def test_a_direct_call_of_wrong_types_is_answered(built: System, front: Any, call: dict[str, Any]) -> None:
    assert "field" in front.lambda_handler(call, None)["error"]


# Uploads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "status"),
    [("events/demo/gone.jsonl", 404), ("events/x.jsonl", 422), ("events/a+b/x.jsonl", 422), ("events/demo/dir/", 422)],
)
def test_an_upload_that_no_repeat_can_mend_is_answered_and_keeps_no_other_out(
    built: System, aws: Aws, key: str, status: int
) -> None:
    aws.s3.put_object(Bucket=aws.bucket, Key="events/demo/good file.jsonl", Body=orjson.dumps(event()))
    keys = [key, "events/demo/good+file.jsonl"]
    records = [{"eventSource": "aws:s3", "s3": {"object": {"key": one, "eTag": "e"}}} for one in keys]
    bad, good = profile.lambda_handler({"Records": records}, None)["uploads"]
    assert bad["error"]["status"] == status
    assert good["accepted"] == 1


def test_a_tenant_of_an_upload_has_the_name_of_a_tenant() -> None:
    assert tenant_of_key("events/my-shop_1/x.csv", "events") == "my-shop_1"
    for key in ("events/a b/x.csv", "events//x.csv", "events/ä/x.csv", f"events/{'a' * 65}/x.csv", "ads/a/x.csv"):
        with pytest.raises(Unprocessable):
            tenant_of_key(key, "events")


def test_an_object_that_was_replaced_before_it_was_read_can_come_again(built: System, aws: Aws) -> None:
    key = "events/demo/a.jsonl"
    old, new = (orjson.dumps(event(event_id=name)) for name in ("old", "new"))
    put = aws.s3.put_object
    old_tag = put(Bucket=aws.bucket, Key=key, Body=old)["ETag"].strip('"')
    assert upload(aws, key, new)["accepted"] == 1
    late = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": old_tag}}}
    report = profile.lambda_handler({"Records": [late]}, None)["uploads"][0]
    assert (report["accepted"], report["duplicates"]) == (0, 1)
    assert upload(aws, key, old)["accepted"] == 1


def test_every_line_of_an_upload_is_counted_once(built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duplicates within a chunk, across chunks and of a second upload; bad lines between them."""
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 40)
    rows: list[bytes] = []
    for n in range(160):
        rows.append(b"{broken" if n % 25 == 7 else orjson.dumps(event(user_id=f"u{n % 3}", event_id=f"e{n % 33}")))
    upload(aws, "events/demo/many.jsonl", b"\n".join(rows))
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
    report = built.stores.catalogue.upload(TENANT, "events/demo/many.jsonl")
    assert report is not None
    good = {(row["user_id"], row["event_id"]) for row in map(json.loads, (r for r in rows if r != b"{broken"))}
    assert report["accepted"] == len(good)
    assert report["rejected"] == rows.count(b"{broken")
    assert report["accepted"] + report["duplicates"] + report["rejected"] == len(rows)
    stored = 0
    for name in ("u0", "u1", "u2"):
        uid = built.stores.people.uid(TENANT, name)
        assert uid is not None
        stored += len(list(built.stores.people.events(TENANT, uid, name)))
    assert stored == len(good)


def test_an_item_is_known_by_the_first_event_that_has_text(fake: FakeSystem) -> None:
    rows = [
        {"user_id": "ann", "event": "view", "timestamp": 1.78e9, "item_id": "i1", "tags": ["blue"]},
        {"user_id": "ann", "event": "view", "timestamp": 1.78e9, "item_id": "i1", "text": "a phone"},
    ]
    assert fake.profiling.post_events(TENANT, rows).accepted == 2
    vector = fake.stores.catalogue.resolve(TENANT, ["i1"])["i1"].vector
    assert vector == pack_vector(topic_vector("a phone"))


# Catalogue and choice -----------------------------------------------------------------------------------------------


def test_a_catalogue_without_an_active_ad_is_served_empty(fake: FakeSystem) -> None:
    fake.classifying.put_ads(TENANT, [AD | {"title": "a phone to cure you"}])
    assert fake.classifying.publish(TENANT)
    assert fake.recommending.recommend(TENANT, "ann").ads == ()
    fake.profiling.post_events(
        TENANT, [{"user_id": "ann", "event": "cart", "timestamp": fake.clock(), "text": "phone"}]
    )
    assert fake.recommending.recommend(TENANT, "ann").ads == ()


def test_an_ad_that_is_written_while_pages_are_read_is_published_once(
    fake: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.classifying.put_ads(TENANT, [AD | {"title": "an old phone", "daily_budget": 5, "bid_cpm": 1}])
    (old,) = fake.stores.catalogue.iter_ads(TENANT)
    fake.classifying.put_ads(TENANT, [AD | {"title": "a new phone", "daily_budget": 5, "bid_cpm": 1}])
    (new,) = fake.stores.catalogue.iter_ads(TENANT)
    monkeypatch.setattr(type(fake.stores.catalogue), "iter_ads", lambda *_: iter([old, new]))
    fake.classifying.publish(TENANT)
    (shown,) = fake.recommending.recommend(TENANT, "ann").ads
    assert shown.copy == "a new phone"


def test_ads_beyond_the_best_are_shown_where_the_best_have_no_budget_left(
    fake: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommending, "CANDIDATES", 8)
    spent = [AD | {"ad_id": f"s{n}", "daily_budget": 0, "bid_cpm": 5} for n in range(40)]
    ads = [row | {"landing_url": f"https://example.com/{n}"} for n, row in enumerate(spent)]
    fake.classifying.put_ads(TENANT, ads)
    fake.classifying.put_ads(TENANT, [AD | {"ad_id": "last", "title": "a course"}])
    fake.classifying.publish(TENANT)
    fake.profiling.post_events(
        TENANT, [{"user_id": "ann", "event": "cart", "timestamp": fake.clock(), "text": "phone"}]
    )
    assert [ad.ad_id for ad in fake.recommending.recommend(TENANT, "ann", n=3).ads] == ["last"]


def test_a_frequency_cap_of_a_year_outlives_a_month() -> None:
    assert IMPRESSION_DAYS * 24 > 8784


def test_after_a_refusal_feedback_is_counted_for_nobody(fake: FakeSystem) -> None:
    fake.classifying.put_ads(TENANT, [AD])
    fake.classifying.publish(TENANT)
    uid = fake.stores.people.uid(TENANT, "ann", create=True)
    assert uid is not None
    decision = fake.recommending.recommend(TENANT, "ann")
    assert decision.uid == uid
    fake.profiling.set_consent(TENANT, "ann", consent(False))
    acts = [FeedbackItem(decision.decision_id, "p1", kind, fake.clock()) for kind in ("impression", "click")]
    assert [one["result"] for one in fake.recommending.feedback(TENANT, acts)] == ["counted", "counted"]
    assert fake.stores.delivery.stats(TENANT)["p1"]["clicks"] == 1
    assert not fake.stores.delivery.impressions(TENANT, uid)
    assert not list(fake.stores.people.events(TENANT, uid, "ann"))


# Processes ----------------------------------------------------------------------------------------------------------


def test_a_single_write_waits_for_a_transaction_at_its_row() -> None:
    answers = itertools.chain(["TransactionConflictException"] * 3, itertools.repeat(None))

    class Client:
        def update_item(self, **_: Any) -> Any:
            code = next(answers)
            if code:
                raise ClientError(
                    {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}},
                    "UpdateItem",
                )
            return {"Attributes": {"pk": {"S": "a"}}}

    assert Table(Client(), "t").update(("a", "b"), "SET x = :x", {":x": 1}) == {"pk": "a"}


def test_a_process_keeps_few_snapshots(fake: FakeSystem) -> None:
    snapshots = Snapshots(fake.stores, project=lambda vectors: vectors, clock=fake.clock)
    for n in range(HELD_TENANTS + 3):
        fake.classifying.put_ads(f"t{n}", [AD])
        fake.classifying.publish(f"t{n}")
        snapshots.latest(f"t{n}")
    assert len(snapshots._held) == HELD_TENANTS
    assert f"t{HELD_TENANTS + 2}" in snapshots._held


def test_a_process_keeps_few_heads(built: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from shared.models.classifier import Head

    monkeypatch.setattr(wiring, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Head, "load", lambda folder, threads=0: SimpleNamespace(version=folder.name))
    for n in range(wiring.HELD_HEADS + 3):
        built.stores.objects.put("artifacts/demo/heads/mine/latest", f"v{n}".encode())
        built.stores.objects.put(f"artifacts/demo/heads/mine/v{n}/manifest.json", b"{}")
        assert built.head("demo", "mine").version == f"v{n}"
    assert len(built._heads) == wiring.HELD_HEADS


def test_a_pseudonym_key_is_never_read_before_it_is_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    seen: list[bool] = []
    real = secrets.token_bytes

    def watched(n: int) -> bytes:
        seen.append(path.exists())
        return real(n)

    monkeypatch.setattr(secrets, "token_bytes", watched)
    key = file_key(path)
    assert len(key) == 32
    assert not any(seen)
    assert file_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
