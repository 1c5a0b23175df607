"""A published snapshot that is gone, cut, changed or of another kind; builders that die; what then stays in service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from functions.recommend import handler as recommend
from shared.errors import NotFound, Unavailable
from shared.snapshot import LEASE_SECONDS, REFUSED_SECONDS, Snapshots
from shared.stores import Stores
from shared.stores.catalogue import Pointer
from shared.stores.people import pack_vector
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.system import FakeSystem
from tests.unit.test_api import AD, post

pytestmark = pytest.mark.slow


@pytest.fixture
def fake(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


def publish(fake: FakeSystem, *ad_ids: str) -> Pointer:
    fake.classifying.put_ads(
        TENANT, [AD | {"ad_id": ad_id, "landing_url": f"https://example.com/{ad_id}"} for ad_id in ad_ids]
    )
    fake.classifying.publish(TENANT)
    pointer = fake.stores.catalogue.pointer(TENANT)
    assert pointer is not None
    return pointer


def snapshots(fake: FakeSystem) -> Snapshots:
    """Of a process that has just started."""
    return Snapshots(fake.stores, project=lambda vectors: vectors, clock=fake.clock)


def rewrite(fake: FakeSystem, pointer: Pointer, file: str, change: Callable[[bytes], bytes]) -> None:
    key = f"{pointer.key}/{file}"
    fake.stores.objects.put(key, change(fake.stores.objects.get(key)))


def without(fake: FakeSystem, pointer: Pointer, file: str) -> None:
    fake.stores.objects.delete([f"{pointer.key}/{file}"])


def not_a_number(packed: bytes) -> bytes:
    return np.full(len(packed) // 2, np.nan, dtype=np.float16).tobytes()


DAMAGES: dict[str, Callable[[FakeSystem, Pointer], None]] = {
    "ads-gone": lambda fake, pointer: without(fake, pointer, "ads.json"),
    "vectors-gone": lambda fake, pointer: without(fake, pointer, "vectors.f16"),
    "vectors-short": lambda fake, pointer: rewrite(fake, pointer, "vectors.f16", lambda data: data[:-768]),
    "vectors-odd": lambda fake, pointer: rewrite(fake, pointer, "vectors.f16", lambda data: data[:-1]),
    "vectors-narrow": lambda fake, pointer: rewrite(fake, pointer, "vectors.f16", lambda data: data[: len(data) // 2]),
    "vectors-empty": lambda fake, pointer: rewrite(fake, pointer, "vectors.f16", lambda _: b""),
    "nan": lambda fake, pointer: rewrite(fake, pointer, "vectors.f16", not_a_number),
    "json-cut": lambda fake, pointer: rewrite(fake, pointer, "ads.json", lambda data: data[: len(data) // 2]),
    "json-other": lambda fake, pointer: rewrite(fake, pointer, "ads.json", lambda _: b'{"ads": 1}'),
    "ad-missing": lambda fake, pointer: rewrite(
        fake, pointer, "ads.json", lambda data: orjson.dumps(orjson.loads(data)[1:])
    ),
    "one-bit": lambda fake, pointer: rewrite(
        fake, pointer, "vectors.f16", lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_older_snapshot_stays_in_service_and_the_next_build_mends_it(fake: FakeSystem, damage: str) -> None:
    old = publish(fake, "a", "b")
    assert fake.recommending.ready(TENANT) == old.version
    new = publish(fake, "c")
    DAMAGES[damage](fake, new)
    fake.clock.now += 3
    answer = fake.recommending.recommend(TENANT, "ann")
    assert {ad.ad_id for ad in answer.ads} == {"a", "b"}
    assert (answer.versions["snapshot"], answer.versions["snapshot_refused"]) == (old.version, new.version)
    with pytest.raises(Unavailable) as refused:
        snapshots(fake).latest(TENANT)
    assert refused.value.retry_after == REFUSED_SECONDS
    assert fake.classifying.publish(TENANT) not in (None, new.version)  # no ad has been written since
    fake.clock.now += 3
    for reader in (fake.recommending, None):
        answer = fake.recommending.recommend(TENANT, "ann") if reader else answer
        assert {ad.ad_id for ad in answer.ads} == {"a", "b", "c"}
        assert "snapshot_refused" not in answer.versions
    assert len(snapshots(fake).latest(TENANT).ads) == 3


def test_a_process_without_any_answers_503_and_is_asked_to_come_again(built: System, aws: Aws) -> None:
    post_ad = {"ads": [AD]}
    from functions.classify import handler as classify

    assert post(classify.app, "/v1/ads", post_ad, method="PUT").status_code == 200
    built.classifying.publish(TENANT)
    pointer = built.stores.catalogue.pointer(TENANT)
    assert pointer is not None
    built.stores.objects.delete([f"{pointer.key}/vectors.f16"])
    for _ in range(3):
        answer = post(recommend.app, "/v1/recommendations", {"user_id": "ann"})
        document = answer.json()
        assert (answer.status_code, document["status"]) == (503, 503)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) == REFUSED_SECONDS
        assert pointer.version in document["detail"]
    # The reader itself has queued the task that mends it, once.
    tasks = _messages(aws, aws.catalogue_queue_url)
    assert tasks.count({"tenant": TENANT, "action": "publish"}) == 2  # that of the write, and this one
    built.classifying.publish(TENANT)
    assert post(recommend.app, "/v1/recommendations", {"user_id": "ann"}).status_code == 200


def _messages(aws: Aws, url: str) -> list[Any]:
    found: list[Any] = []
    while batch := aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=900).get("Messages"):
        found += [json.loads(message["Body"]) for message in batch]
    # Delayed ones are counted only.
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])
    delayed = int(attributes["Attributes"]["ApproximateNumberOfMessagesDelayed"])
    return found + [{"tenant": TENANT, "action": "publish"}] * delayed


def test_a_snapshot_that_cannot_be_read_is_not_tried_by_every_request(
    fake: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = publish(fake, "a")
    without(fake, pointer, "ads.json")
    reader = snapshots(fake)
    asked: list[str] = []
    real = fake.stores.objects.get

    def get(_: object, key: str) -> bytes:
        asked.append(key)
        return real(key)

    monkeypatch.setattr(type(fake.stores.objects), "get", get)
    for _ in range(5):
        with pytest.raises(Unavailable):
            reader.latest(TENANT)
    assert len(asked) == 1
    fake.clock.now += REFUSED_SECONDS
    with pytest.raises(Unavailable):
        reader.latest(TENANT)
    assert len(asked) == 2


def test_a_snapshot_of_another_version_of_the_code_is_refused_but_not_built_again(fake: FakeSystem) -> None:
    """Two versions of the code side by side must not have the catalogue built for ever."""
    publish(fake, "a")
    body, packed = orjson.dumps([{"ad": {"ad_id": "a", "colour": "new"}, "category": "", "prior": 0.1}]), b"\0" * 768
    from hashlib import sha256

    fake.classifying.put_ads(TENANT, [AD | {"ad_id": "b", "landing_url": "https://example.com/b"}])
    head = fake.stores.catalogue.head(TENANT)
    version = f"{head:08d}-{sha256(body + packed).hexdigest()[:12]}"
    pointer = Pointer(version, f"catalogue/{TENANT}/{version}", head)
    fake.stores.objects.put(f"{pointer.key}/ads.json", body)
    fake.stores.objects.put(f"{pointer.key}/vectors.f16", packed)
    assert fake.stores.catalogue.publish(TENANT, pointer)
    with pytest.raises(Unavailable):
        snapshots(fake).latest(TENANT)
    assert fake.stores.catalogue.head(TENANT) == head


def test_where_nothing_was_published_the_answer_stays_404(fake: FakeSystem) -> None:
    with pytest.raises(NotFound):
        snapshots(fake).latest(TENANT)


class Died(BaseException):
    """The process is gone: nothing catches that."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_publish_that_is_cut_off_leaves_the_old_snapshot_in_service(
    fake: FakeSystem, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Before the first object, between the two, and before the pointer."""
    old = publish(fake, "a")
    fake.classifying.put_ads(TENANT, [AD | {"ad_id": "b", "landing_url": "https://example.com/b"}])
    with monkeypatch.context() as patched:
        real = fake.stores.objects.put
        done: list[str] = []

        def put(_: object, key: str, *arguments: Any) -> None:
            if len(done) == after:
                raise Died
            done.append(key)
            real(key, *arguments)

        patched.setattr(type(fake.stores.objects), "put", put)
        patched.setattr(type(fake.stores.catalogue), "publish", _dies)
        patched.setattr(type(fake.stores.catalogue), "drop_lease", lambda *_: None)  # nor does it let go of that
        with pytest.raises(Died):
            fake.classifying.publish(TENANT)
    fake.clock.now += 3
    assert fake.recommending.ready(TENANT) == snapshots(fake).latest(TENANT).version == old.version
    fake.clock.now += LEASE_SECONDS
    assert fake.classifying.publish(TENANT) == fake.recommending.ready(TENANT) != old.version
    assert len(snapshots(fake).latest(TENANT).ads) == 2


def _dies(*_: object) -> bool:
    raise Died


def test_whoever_meets_the_lease_of_a_dead_builder_has_somebody_look_again(fake: FakeSystem, aws: Aws) -> None:
    publish(fake, "a")
    fake.classifying.put_ads(TENANT, [AD | {"ad_id": "b", "landing_url": "https://example.com/b"}])
    assert fake.stores.catalogue.take_lease(TENANT, "dead", fake.clock(), LEASE_SECONDS)
    while "Messages" in (held := aws.sqs.receive_message(QueueUrl=aws.catalogue_queue_url)):
        aws.sqs.delete_message(QueueUrl=aws.catalogue_queue_url, ReceiptHandle=held["Messages"][0]["ReceiptHandle"])
    before = _delayed(aws)
    assert fake.classifying.publish(TENANT) is None  # its own message is done with
    assert _delayed(aws) == before + 1
    fake.clock.now += LEASE_SECONDS + 1
    assert fake.classifying.publish(TENANT) is not None


def _delayed(aws: Aws) -> int:
    names = ["ApproximateNumberOfMessagesDelayed"]
    found = aws.sqs.get_queue_attributes(QueueUrl=aws.catalogue_queue_url, AttributeNames=names)["Attributes"]
    return int(found[names[0]])


@pytest.mark.parametrize(
    "vector", [b"", b"\0" * 10, pack_vector(np.full(384, np.nan)), pack_vector(np.full(384, np.inf))]
)
def test_an_ad_whose_vector_cannot_be_used_keeps_no_other_out(fake: FakeSystem, vector: bytes) -> None:
    publish(fake, "a", "b")
    table, key = fake.stores.table, fake.stores.catalogue.ad_key(TENANT, "a")
    row = table.get(*key)
    assert row is not None
    table.put(row | {"vec": vector or None})
    publish(fake, "c")
    assert {ad.ad_id for ad in snapshots(fake).latest(TENANT).ads} == {"b", "c"}


def test_a_clock_that_is_set_back_does_not_stop_the_looking(fake: FakeSystem) -> None:
    old = publish(fake, "a")
    assert fake.recommending.ready(TENANT) == old.version
    new = publish(fake, "b")
    fake.clock.now -= 600
    assert fake.recommending.ready(TENANT) == new.version
