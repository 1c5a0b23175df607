"""DynamoDB, S3 and SQS: the only place where AdTailor's data leaves the process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain import CatalogueAd, Wording
from shared.errors import ModelUnavailable, Unavailable
from shared.stores.catalogue import Catalogue
from shared.stores.copies import Banked, Copies
from shared.stores.delivery import Delivery
from shared.stores.faults import passing
from shared.stores.heads import Heads
from shared.stores.jobs import Jobs
from shared.stores.log_progress import LogProgress
from shared.stores.objects import Objects
from shared.stores.people import People
from shared.stores.queues import Queues
from shared.stores.rankers import Rankers
from shared.stores.runs import Runs
from shared.stores.table import Table
from shared.telemetry import logger, raised


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store of one deployment."""

    people: People
    catalogue: Catalogue
    copies: Copies
    jobs: Jobs
    runs: Runs
    heads: Heads
    rankers: Rankers
    delivery: Delivery
    log_progress: LogProgress
    objects: Objects
    queues: Queues
    table: Table

    def ad_and_bank(
        self, tenant: str, ad_id: str, segment: str, languages: Sequence[str]
    ) -> tuple[CatalogueAd | None, dict[str, Banked]]:
        """An ad, and by language what the bank holds for it and the segment: one consistent read."""
        wanted = {language: [(ad_id, segment, language)] for language in languages}
        key = self.catalogue.ad_key(tenant, ad_id)
        bank = [one for part in wanted.values() for one in self.copies.bank_keys(tenant, part)]
        rows = self.table.get_many([key, *bank])
        stored = self.catalogue.read_row(rows[key]) if key in rows else None
        return stored, {language: self.copies.read_rows(rows, tenant, part) for language, part in wanted.items()}


def open_stores(
    *,
    dynamodb: Any,
    s3: Any,
    sqs: Any,
    table_name: str,
    bucket_name: str,
    copy_queue_url: str,
    catalogue_queue_url: str,
    event_queue_url: str,
    ad_queue_url: str,
    pseudonym_key: bytes,
    training_queue_url: str = "",
    wording: Wording = "quoted",
) -> Stores:
    """Stores on the given boto3 clients. training_queue_url: empty but in the local run. wording: see `Copies`."""
    table = Table(dynamodb, table_name)
    return Stores(
        people=People(table, pseudonym_key),
        catalogue=Catalogue(table),
        copies=Copies(table, wording),
        jobs=Jobs(table),
        runs=Runs(table),
        heads=Heads(table),
        rankers=Rankers(table),
        delivery=Delivery(table),
        log_progress=LogProgress(table),
        objects=Objects(s3, bucket_name),
        queues=Queues(
            sqs,
            {
                "copy": copy_queue_url,
                "catalogue": catalogue_queue_url,
                "events": event_queue_url,
                "ads": ad_queue_url,
                "training": training_queue_url,
            },
        ),
        table=table,
    )


def file_key(path: Path) -> bytes:
    """The pseudonym key kept in a file, which is made (mode 600) where it is missing."""
    if not path.exists():
        # Written whole before it gets its name: who comes second must not read half a key.
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_bytes()


def secret_key(secrets_manager: Any, secret_id: str) -> bytes:
    """A key kept in AWS Secrets Manager."""
    try:
        answer = secrets_manager.get_secret_value(SecretId=secret_id)
    except (BotoCoreError, ClientError) as error:
        if unavailable := passing(error, "the store of secrets"):
            raise unavailable from error
        raise
    value = answer.get("SecretString") or answer["SecretBinary"]
    return value.encode() if isinstance(value, str) else bytes(value)


def deferred_key(secrets_manager: Any, secret_id: str) -> Callable[[], str] | None:
    """What reads the key of a language model from AWS Secrets Manager, where it is kept as it is sent; None where it
    is kept nowhere. Without the key the model is out of reach (`ModelUnavailable`), and copy comes from elsewhere."""
    if not secret_id:
        return None

    def read() -> str:
        try:
            return secret_key(secrets_manager, secret_id).decode(errors="replace")
        except (Unavailable, BotoCoreError, ClientError) as error:
            logger.error("the key of the language model cannot be read", extra={"cause": raised(error)})
            raise ModelUnavailable("the key of the language model cannot be read") from error

    return read
