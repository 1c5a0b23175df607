"""Loads the sample as a user would: ads and behaviour uploaded to S3, consent through the API."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from infra.local import resources
from infra.local.processes import StartError
from shared.stores import Stores, open_stores

FOLDER = Path(__file__).resolve().parents[1] / "sample"
EVENTS = "sample.jsonl.gz"
_TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of one upload."""

    name: str
    accepted: int
    duplicates: int
    rejected: int


class Sample:
    """The sample in one running local system. `failed` says what broke, if a part has ended."""

    def __init__(
        self, where: resources.Resources, api: str, tenant: str, failed: Callable[[], str | None] = lambda: None
    ) -> None:
        self._s3 = resources.client("s3", where.endpoint_url)
        self._sqs = resources.client("sqs", where.endpoint_url)
        self._queues = where.queues
        self._bucket = where.bucket
        self._api = api
        self._tenant = tenant
        self._failed = failed
        self._stores: Stores = open_stores(
            dynamodb=resources.client("dynamodb", where.endpoint_url),
            s3=self._s3,
            sqs=self._sqs,
            table_name=where.table,
            bucket_name=where.bucket,
            copy_queue_url=where.queues["copy"],
            catalogue_queue_url=where.queues["catalogue"],
            event_queue_url=where.queues["events"],
            ad_queue_url=where.queues["ads"],
            pseudonym_key=b"",  # nothing here reads about a person
        )

    def complete(self) -> bool:
        """Whether every upload is in and the catalogue is published with every ad."""
        keys = [*(f"ads/{self._tenant}/{path.name}" for path in ads()), f"events/{self._tenant}/{EVENTS}"]
        return all(self._stores.catalogue.upload(self._tenant, key) for key in keys) and self._published()

    def load(self) -> Iterator[Loaded]:
        """Uploads what is not in yet and waits for it; yields the outcome of each upload as it comes.

        Raises:
            StartError: an upload fails or takes too long.
        """
        files = {f"ads/{self._tenant}/{path.name}": path for path in ads()}
        for key, path in files.items():
            if self._stores.catalogue.upload(self._tenant, key) is None:
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=path.read_bytes())
        for key in files:
            yield self._wait(key)
        self._consent()
        key = f"events/{self._tenant}/{EVENTS}"
        if self._stores.catalogue.upload(self._tenant, key) is None:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=events(time.time()))
        yield self._wait(key)
        self._until(self._published, "the catalogue's snapshot")

    def _wait(self, key: str) -> Loaded:
        self._until(lambda: self._stores.catalogue.upload(self._tenant, key) is not None, key)
        row = self._stores.catalogue.upload(self._tenant, key) or {}
        return Loaded(key.rsplit("/", 1)[-1], row["accepted"], row["duplicates"], row["rejected"])

    def _published(self) -> bool:
        pointer = self._stores.catalogue.pointer(self._tenant)
        return pointer is not None and pointer.head >= self._stores.catalogue.head(self._tenant)

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not done():
            if problem := self._failed():
                raise StartError(problem)
            if dead := self._dead():
                raise StartError(f"{dead} message(s) could not be handled; the worker's log says why.")
            if time.monotonic() > deadline:
                raise StartError(f"{what} was not there after {_TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.1)

    def _dead(self) -> int:
        """Messages of the queues that loading uses which were given up."""
        count = 0
        for queue in ("uploads-ads", "uploads-events", "catalogue"):
            attributes = self._sqs.get_queue_attributes(
                QueueUrl=f"{self._queues[queue]}-dlq", AttributeNames=["ApproximateNumberOfMessages"]
            )["Attributes"]
            count += int(attributes["ApproximateNumberOfMessages"])
        return count

    def _consent(self) -> None:
        now = datetime.now(UTC).isoformat()
        with httpx2.Client(base_url=self._api, timeout=30, trust_env=False) as client:
            for person in people():
                said = {"source": "sample data", "at": now} | person["consent"]
                client.put(f"/v1/users/{person['user_id']}/consent", json=said).raise_for_status()


def ads() -> list[Path]:
    """The files of sample ads."""
    return sorted(FOLDER.glob("ads_*.jsonl"))


def people() -> list[dict[str, Any]]:
    """The sample's people."""
    lines = (FOLDER / "people.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def events(until: float) -> bytes:
    """The sample's behaviour up to `until` (epoch seconds), as gzipped JSON Lines."""
    from infra.sample import generate

    lines = (json.dumps(event, ensure_ascii=False) for event in generate.events(until=until))
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
