"""What `template.yaml` makes on AWS, made in the local AWS services. Running it again changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.ministack import REGION

NAME = "adtailor"
UPLOADS = ("events", "ads", "labels")  # prefixes of the bucket whose objects are taken in
QUEUES = ("copy", "catalogue", "events", "ads", "training", *(f"uploads-{prefix}" for prefix in UPLOADS))
RECEIVES = 3  # after that a message goes to the dead-letter queue
VISIBILITY_SECONDS = 60
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True, slots=True)
class Resources:
    """Names of what exists. `queues` maps each of `QUEUES` to its URL."""

    endpoint_url: str
    table: str
    bucket: str
    queues: dict[str, str]

    def environment(self) -> dict[str, str]:
        """Variables with which `shared.settings` and boto3 find the resources."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TABLE_NAME": self.table,
            "BUCKET_NAME": self.bucket,
            "COPY_QUEUE_URL": self.queues["copy"],
            "CATALOGUE_QUEUE_URL": self.queues["catalogue"],
            "EVENT_QUEUE_URL": self.queues["events"],
            "AD_QUEUE_URL": self.queues["ads"],
            "TRAINING_QUEUE_URL": self.queues["training"],
        }


def client(service: str, endpoint_url: str, **config: Any) -> Any:
    """A boto3 client of the local AWS services, whatever the environment or ~/.aws say."""
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    ).client(
        service, endpoint_url=endpoint_url, config=Config(retries={"max_attempts": 2}, proxies={"http": ""}, **config)
    )


def create(endpoint_url: str, name: str = NAME) -> Resources:
    """Makes table, bucket, queues with dead-letter queues, and the bucket's notifications, where they are missing."""
    _table(client("dynamodb", endpoint_url), name)
    queues = _queues(client("sqs", endpoint_url), name)
    _bucket(client("s3", endpoint_url), name, {prefix: _arn(f"{name}-uploads-{prefix}") for prefix in UPLOADS})
    return Resources(endpoint_url, name, name, queues)


def _table(dynamodb: Any, name: str) -> None:
    if name in dynamodb.list_tables()["TableNames"]:
        return
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
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )


def _queues(sqs: Any, name: str) -> dict[str, str]:
    urls = {}
    for queue in QUEUES:
        sqs.create_queue(QueueName=f"{name}-{queue}-dlq")
        urls[queue] = sqs.create_queue(
            QueueName=f"{name}-{queue}",
            Attributes={
                "VisibilityTimeout": str(VISIBILITY_SECONDS),
                "RedrivePolicy": json.dumps(
                    {"deadLetterTargetArn": _arn(f"{name}-{queue}-dlq"), "maxReceiveCount": RECEIVES}
                ),
            },
        )["QueueUrl"]
    return urls


def _bucket(s3: Any, name: str, prefixes: dict[str, str]) -> None:
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": prefix,
                    "QueueArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{prefix}/"}]}},
                }
                for prefix, arn in prefixes.items()
            ]
        },
        SkipDestinationValidation=True,
    )


def _arn(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:000000000000:{queue}"
