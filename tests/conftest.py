"""Fixtures of every suite: an in-process AWS (moto) with the one table, the bucket and the queues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
from moto import mock_aws

from shared.stores import Stores, open_stores

# Speed is what benchmarks are for; on a busy machine an example takes as long as it takes.
hypothesis.settings.register_profile("untimed", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")
hypothesis.settings.register_profile("quick", parent=hypothesis.settings.get_profile("untimed"), max_examples=25)

REGION = "eu-central-1"
TENANT = "demo"


@dataclass
class Aws:
    """boto3 clients and the names of what was made with them."""

    dynamodb: Any
    s3: Any
    sqs: Any
    table: str
    bucket: str
    copy_queue_url: str
    catalogue_queue_url: str
    event_queue_url: str
    ad_queue_url: str


def make_resources(dynamodb: Any, s3: Any, sqs: Any, name: str) -> Aws:
    """The template's table, bucket and queues, by hand, so that a change of the template cannot hide from tests."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "seq", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by_seq",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "seq", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    queues = ("copy", "catalogue", "events", "ads")
    urls = [sqs.create_queue(QueueName=f"{name}-{queue}")["QueueUrl"] for queue in queues]
    return Aws(dynamodb, s3, sqs, name, name, *urls)


def stores_on(aws: Aws) -> Stores:
    return open_stores(
        dynamodb=aws.dynamodb,
        s3=aws.s3,
        sqs=aws.sqs,
        table_name=aws.table,
        bucket_name=aws.bucket,
        copy_queue_url=aws.copy_queue_url,
        catalogue_queue_url=aws.catalogue_queue_url,
        event_queue_url=aws.event_queue_url,
        ad_queue_url=aws.ad_queue_url,
        pseudonym_key=b"test key of thirty-two bytes....",
    )


@cache
def session() -> boto3.Session:
    """One session for all tests: reading the services' models anew would be most of a test's time."""
    return boto3.Session(region_name=REGION)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An empty AWS account in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = session().client
        yield make_resources(client("dynamodb"), client("s3"), client("sqs"), "adtailor-test")


@pytest.fixture
def stores(aws: Aws) -> Stores:
    return stores_on(aws)


def pytest_configure(config: pytest.Config) -> None:
    """Where slow tests are left out, properties are tried on fewer examples."""
    if config.option.markexpr == "not slow":
        hypothesis.settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules that are slow as a whole are not even imported where slow tests are left out: what they test trains, and
    its libraries take longer to import than the quick tests take to run."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    marked = re.search(r"^pytestmark = (\[)?pytest\.mark\.slow\b", collection_path.read_text("utf-8"), re.MULTILINE)
    return True if marked else None
