"""Where uploads go and their reports come from: bucket and table, on AWS or in the local services."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.cli.session import Failed, environment
from infra.signing import is_local

_LOCAL = Path(__file__).resolve().parents[2] / ".local"  # states of local systems; each says where it runs
_POLL_SECONDS = 0.25
_NAME = "adtailor"


@dataclass(frozen=True)
class Report:
    """What became of an upload. at: when it was in, epoch seconds."""

    key: str
    accepted: int
    duplicates: int
    rejected: int
    problem: str | None
    at: float

    def body(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Place:
    """The bucket and the table of one deployment. aws: URL of the local AWS services; None: AWS itself."""

    tenant: str
    bucket: str
    table: str
    aws: str | None

    def client(self, service: str) -> Any:
        """A boto3 client."""
        if self.aws is not None:
            from infra.local import resources

            return resources.client(service, self.aws)
        import boto3

        return boto3.client(service)

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def _catalogue(self) -> Any:
        from shared.stores.catalogue import Catalogue
        from shared.stores.table import Table

        return Catalogue(Table(self.client("dynamodb"), self.table))

    def put(self, path: Path, key: str, progress: Callable[[int], None]) -> str:
        """Uploads a file (large ones in parts); returns the object's ETag. progress: gets bytes as they go."""
        self.s3.upload_file(str(path), self.bucket, key, Callback=progress)
        return str(self.s3.head_object(Bucket=self.bucket, Key=key)["ETag"]).strip('"')

    def report(self, key: str, etag: str | None = None) -> Report | None:
        """The report of what was last taken in under this key; with `etag` that of this very content, None before it is
        in."""
        row = self._catalogue.upload(self.tenant, key)
        if row is None or (etag is not None and str(row["fingerprint"]).strip('"') != etag):
            return None
        return Report(key, row["accepted"], row["duplicates"], row["rejected"], row.get("problem"), float(row["at"]))

    def rejected(self, key: str) -> Iterator[dict[str, Any]]:
        """The lines of an upload that were refused: ``{"line", "field", "reason"}``, the file's order."""
        from botocore.exceptions import ClientError

        from shared.ingest import rejected_key

        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=rejected_key(key))["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return
            raise
        for line in body.iter_lines():
            if line:
                yield json.loads(line)

    def published(self) -> bool:
        """Whether what is served holds every ad that was written."""
        pointer = self._catalogue.pointer(self.tenant)
        return pointer is not None and pointer.head >= self._catalogue.head(self.tenant)


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """Asks until something comes.

    Raises:
        Failed: nothing came in that time.
    """
    deadline = time.monotonic() + seconds
    while not (one := found()):
        if time.monotonic() > deadline:
            raise Failed(
                f"{what} after {seconds:,.0f} s; it may still come: ask again later, or give more --timeout", 3
            )
        time.sleep(_POLL_SECONDS)
    return one


def place_of(url: str, outputs: Mapping[str, str]) -> Place:
    """The place that goes with the API's URL: from the environment (``ADTAILOR_BUCKET``, ``_TABLE``, ``_TENANT``), the
    stack's outputs, or the local system's.

    Raises:
        Failed: nothing says where it is.
    """
    if is_local(url):
        aws = environment("ADTAILOR_AWS_URL") or _running(url) or environment("AWS_ENDPOINT_URL")
        return Place(
            environment("ADTAILOR_TENANT", "demo"),
            environment("ADTAILOR_BUCKET", _NAME),
            environment("ADTAILOR_TABLE", _NAME),
            aws or "http://127.0.0.1:4566",
        )
    bucket = environment("ADTAILOR_BUCKET") or outputs.get("BucketName", "")
    table = environment("ADTAILOR_TABLE") or outputs.get("TableName", "")
    tenant = environment("ADTAILOR_TENANT") or outputs.get("Tenant", "")
    missing = [name for name, one in (("BUCKET", bucket), ("TABLE", table), ("TENANT", tenant)) if not one]
    if missing:
        names = ", ".join(f"ADTAILOR_{name}" for name in missing)
        raise Failed(f"where do uploads go? Give --stack, or set {names}", 2)
    return Place(tenant, bucket, table, environment("ADTAILOR_AWS_URL") or None)


def _running(url: str) -> str:
    """The AWS services of the local system that serves this URL."""
    for run in sorted(_LOCAL.glob("*/run.json")):
        try:
            places = json.loads(run.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if str(places.get("api", "")).rstrip("/") == url.rstrip("/"):
            return str(places.get("aws", ""))
    return ""


def outputs_of(stack: str) -> dict[str, str]:
    """A stack's outputs, and its parameters where no output has the name.

    Raises:
        Failed: there is no such stack.
    """
    import boto3
    from botocore.exceptions import ClientError, NoRegionError

    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except NoRegionError:
        raise Failed(f"--stack {stack}: in which region? Set AWS_DEFAULT_REGION or AWS_PROFILE") from None
    except ClientError as error:
        expired = "Expired" in error.response["Error"]["Code"]
        hint = " (sign in again, such as by `aws sso login`)" if expired else ""
        raise Failed(f"--stack {stack}: {error.response['Error']['Message']}{hint}") from None
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    return parameters | {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
