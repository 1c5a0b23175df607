"""What each operation asks of AWS, counted by running it: the system's own use cases on an in-process AWS.

Models are stand-ins, since what is asked of the table depends on how many people, items, interests and ads there are
and how large their rows are, not on what the vectors mean. `Mix` says how many there are.
"""

from __future__ import annotations

import copy
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
import moto.dynamodb.models
import numpy as np
import orjson
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID

from infra.costs.metering import Item, Meter, Work
from infra.costs.stack import Stack
from shared.domain import Classification, Consent, Decision, Label
from shared.feedback import FeedbackItem
from shared.models.taxonomy import load_taxonomy
from shared.settings import Settings
from shared.stores import open_stores
from shared.wiring import System

TENANT = "main"
NAME = "adtailor-counted"
REGION = "eu-central-1"
NOW = 1_790_000_000.0


@dataclass(frozen=True, slots=True)
class Mix:
    """The workload that is counted.

    people, items: in one request of 500 events, or one chunk of 1,000 rows. interests: of a person. ads: in the
    catalogue; budgeted, capped: shares of them with a daily budget, with a frequency cap. shown: ads of one decision;
    asking: people over whose decisions the mean is taken.
    """

    request_people: int = 100
    chunk_people: int = 200
    items: int = 50
    interests: int = 8
    ads: int = 500
    budgeted: float = 0.1
    capped: float = 0.1
    shown: int = 5
    asking: int = 10


class TopicEncoder:
    """Stands in for the encoder: a text's vector is the axis of its first word, and a little of its own."""

    version = "counted"

    def encode(self, texts: Sequence[str], kind: str = "query") -> np.ndarray:
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        for place, text in enumerate(texts):
            vectors[place] = np.random.default_rng(zlib.crc32(text.encode())).normal(scale=0.01, size=384)
            vectors[place, zlib.crc32(text.partition(" ")[0].encode()) % 384] += 1.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class TopicClassifier:
    """Stands in for the taxonomy's classifier: each axis is a category, none of them sensitive."""

    version = "counted"

    def __init__(self) -> None:
        from shared.policy.sensitive import is_sensitive

        tree = load_taxonomy("adproduct")
        ancestors: Callable[[str], list[str]] = lambda one: [parent.id for parent in tree.ancestors(one)]  # noqa: E731
        plain = [one for one in tree.values() if not is_sensitive(one.id, ancestors)]
        self._categories = plain[:384]

    def project(self, vectors: np.ndarray) -> np.ndarray:
        return vectors

    def classify_vectors(self, vectors: np.ndarray, top: int = 3) -> list[Classification]:
        answers = []
        for vector in vectors:
            best = np.argsort(-vector)[:top]
            labels = [(self._categories[place % len(self._categories)], float(vector[place])) for place in best]
            answers.append(Classification(tuple(Label(one.id, dict(one.name), p) for one, p in labels), False))
        return answers


class Counting:
    """The system on an in-process AWS whose clients are metered."""

    def __init__(self, mix: Mix, stack: Stack) -> None:
        self.mix = mix
        session = boto3.Session(region_name=REGION)
        dynamodb, s3, sqs = (session.client(name) for name in ("dynamodb", "s3", "sqs"))
        kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes")
        dynamodb.create_table(TableName=NAME, **{name: stack.table[name] for name in kept})
        s3.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
        urls = {
            name: sqs.create_queue(QueueName=f"{NAME}-{name}")["QueueUrl"]
            for name in ("copy", "catalogue", "events", "ads")
        }
        self._receive = session.client("sqs")
        self._event_queue = urls["events"]
        self.s3 = session.client("s3")  # the uploader's, and not metered
        self.now = NOW
        self.decided: dict[str, Decision] = {}  # the last one, by person
        self.meter = Meter(_stored)
        self.meter.watch(dynamodb, s3, sqs)
        stores = open_stores(
            dynamodb=dynamodb,
            s3=s3,
            sqs=sqs,
            table_name=NAME,
            bucket_name=NAME,
            copy_queue_url=urls["copy"],
            catalogue_queue_url=urls["catalogue"],
            event_queue_url=urls["events"],
            ad_queue_url=urls["ads"],
            pseudonym_key=b"counted",
        )
        self.system = System(Settings(tenant=TENANT, consent_basis="required"), stores, lambda: self.now)
        classifier = TopicClassifier()
        stand_ins = {
            "encoder": TopicEncoder(),
            "classifiers": {"adproduct": classifier, "content": classifier},
            "versions": {"encoder": "counted"},
        }
        for name, one in stand_ins.items():
            setattr(self.system, name, one)

    def measured(self, operation: Callable[[], object]) -> Work:
        """What `operation` asks for. Time has gone on before it, so that nothing held in the process is still fresh."""
        self.now += 60
        self._checked()
        operation()
        return self._checked()

    def _checked(self) -> Work:
        """What was counted; RuntimeError where a call was refused, since `_unshared` takes nothing back."""
        work = self.meter.take()
        if work.refused:
            raise RuntimeError(f"{work.refused} of {dict(work.calls)} were refused")
        return work

    # What operations work on ----------------------------------------------------------------------------------------

    def consenting(self, people: Sequence[str]) -> None:
        said = Consent(True, False, "form", self.now)
        for user_id in people:
            self.system.profiling.set_consent(TENANT, user_id, said)

    def events(self, people: Sequence[str], count: int, *, text: str = "") -> list[dict[str, Any]]:
        """`count` events of these people, in turn, on the items; `text` tells what an item is."""
        self.now += 1  # so that they are new ones
        return [
            {
                "user_id": people[place % len(people)],
                "event": "view",
                "timestamp": self.now - place / 1000,
                "item_id": f"product-{self._item(place, len(people)):06d}",
                "platform": "web",
                "domain": "ecommerce",
            }
            | ({"text": f"topic{self._item(place, len(people)) % self.mix.interests} {text}"} if text else {})
            for place in range(count)
        ]

    def _item(self, place: int, people: int) -> int:
        """Each person sees other items from turn to turn."""
        return (place % people + place // people) % self.mix.items

    def ads(self, count: int, first: int = 0) -> list[dict[str, Any]]:
        return [
            {
                "ad_id": f"ad-{place:06d}",
                "title": f"topic{place % self.mix.interests} The product of advertisement {place}",
                "description": "Two sentences of facts as a shop gives them. Free delivery, thirty days to return it.",
                "landing_url": f"https://shop.example/products/{place}",
                "language": "en",
                "domain": "ecommerce",
                "campaign_id": f"campaign-{place // 10}",
                "brand": f"Brand {place // 3}",
                "attributes": {"price": f"{place % 90 + 10} EUR", "colour": "blue"},
                "bid_cpm": 2.5,
            }
            | ({"daily_budget": 100.0} if _falls("budget", place, self.mix.budgeted) else {})
            | ({"frequency_cap": {"count": 3, "hours": 24}} if _falls("cap", place, self.mix.capped) else {})
            for place in range(first, first + count)
        ]

    # Operations -----------------------------------------------------------------------------------------------------

    def count(self) -> dict[str, Work]:
        """Every operation, on what the ones before have left; decisions and feedback as the mean of some people's."""
        found: dict[str, Work] = {}
        people = [f"person-{place:05d}" for place in range(self.mix.chunk_people)]
        few = people[: self.mix.request_people]
        classifying, profiling, recommending = self.system.classifying, self.system.profiling, self.system.recommending
        self.consenting(people)
        for first in range(0, self.mix.ads - 100, 100):
            classifying.put_ads(TENANT, self.ads(100, first))
        found["100 ads"] = self.measured(lambda: classifying.put_ads(TENANT, self.ads(100, self.mix.ads - 100)))
        found["publish"] = self.measured(lambda: classifying.publish(TENANT))
        profiling.post_events(TENANT, self.events(people, 500, text="what it is"))  # from here on the items are known
        rows = self.events(few, 500)
        found["500 events"] = self.measured(lambda: profiling.post_events(TENANT, rows))
        asking = few[: self.mix.asking]
        profiling.post_events(TENANT, self.events(asking, 40 * len(asking)))  # enough for all their interests
        recommending.recommend(TENANT, asking[0])
        found["first decision about a person"] = self._mean(asking[1:], self._decide)
        found["decision"] = self._mean(asking, self._decide)
        profiling.post_events(TENANT, self.events(asking, 5 * len(asking)))
        found["decision after 5 events"] = self._mean(asking, self._decide)
        found["feedback"] = self._mean(asking, self._report)
        found |= self._upload(people)
        return found

    def _mean(self, people: Sequence[str], operation: Callable[[str], object]) -> Work:
        """Of one person: which ads are chosen, and so how many have budgets, differs from one to the next."""
        return sum((self.measured(partial(operation, one)) for one in people), Work()) * (1 / len(people))

    def _decide(self, user_id: str) -> None:
        self.decided[user_id] = self.system.recommending.recommend(TENANT, user_id, n=self.mix.shown)

    def _report(self, user_id: str) -> None:
        """That all ads of the last decision were seen."""
        decision = self.decided[user_id]
        seen = [FeedbackItem(decision.decision_id, ad.ad_id, "impression", self.now) for ad in decision.ads]
        self.system.recommending.feedback(TENANT, seen)

    def _upload(self, people: Sequence[str], chunks: int = 3) -> dict[str, Work]:
        """An upload that is split: what the splitter asks for a chunk, and what a chunk's own work does."""
        key = f"events/{TENANT}/counted.jsonl"
        rows = [row for _ in range(chunks) for row in self.events(people, 1000)]
        self.s3.put_object(Bucket=NAME, Key=key, Body=b"".join(orjson.dumps(row) + b"\n" for row in rows))
        tag = self.s3.head_object(Bucket=NAME, Key=key)["ETag"].strip('"')
        profiling = self.system.profiling
        split = self.measured(lambda: profiling.ingest(TENANT, key, fingerprint=tag, remaining=lambda: inf))
        messages = list(self._messages())
        if len(messages) != chunks:
            raise RuntimeError(f"{len(messages)} messages of {chunks} chunks")
        one = messages[1]  # neither the first nor the one that finishes the run
        chunk = self.measured(lambda: profiling.go_on(TENANT, one["run"], one["chunk"]))
        return {"split of 3 chunks": split, "chunk of 1,000 rows": chunk}

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            batch = self._receive.receive_message(QueueUrl=self._event_queue, MaxNumberOfMessages=10).get(
                "Messages", []
            )
            if not batch:
                return
            for message in batch:
                self._receive.delete_message(QueueUrl=self._event_queue, ReceiptHandle=message["ReceiptHandle"])
                yield orjson.loads(message["Body"])


def _falls(what: str, place: int, share: float) -> bool:
    """Whether this one is of the share, the same ones each time."""
    return zlib.crc32(f"{what} {place}".encode()) % 1000 < share * 1000


def _stored(table: str, key: Item) -> Item | None:
    """An item as it lies in the in-process AWS, past its front door, which would take most of the time."""
    item = moto.dynamodb.models.dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].get_item(table, key)
    return item.to_json()["Attributes"] if item is not None else None


def _unshared(value: Any) -> Any:
    """A transaction copies the whole table, to take it back where it fails: here none does, and it is too slow."""
    return value if isinstance(value, moto.dynamodb.models.Table) else copy.deepcopy(value)


_UNSHARED = SimpleNamespace(deepcopy=_unshared)


@contextmanager
def in_process_aws() -> Iterator[None]:
    """No call leaves the process, whatever credentials and endpoints the environment names."""
    made_up = {"AWS_ACCESS_KEY_ID": "counted", "AWS_SECRET_ACCESS_KEY": "counted"}
    before = {name: os.environ.get(name) for name in (*made_up, "AWS_ENDPOINT_URL")}
    os.environ |= made_up
    os.environ.pop("AWS_ENDPOINT_URL", None)
    try:
        with mock_aws(), patch.object(moto.dynamodb.models, "copy", _UNSHARED):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def count_all(mix: Mix | None = None, stack: Stack | None = None) -> dict[str, Work]:
    """What each operation asks of AWS, by its name."""
    with in_process_aws():
        return Counting(mix or Mix(), stack or Stack.load()).count()
