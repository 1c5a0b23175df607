"""S3: uploads, rejected lines, catalogue snapshots, artefacts, results of asynchronous generation."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import NotFound, Unavailable


class Objects:
    """One bucket. Raises `NotFound` for a missing key and `Unavailable` where S3 cannot be reached."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404", "NoSuchVersion", "NotFound"):
                raise NotFound(f"no object {arguments.get('Key')}") from error
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 or code in ("SlowDown", "Throttling"):
                raise Unavailable(f"object storage does not answer ({code})", retry_after=2) from error
            raise
        except BotoCoreError as error:
            raise Unavailable(f"object storage cannot be reached ({type(error).__name__})", retry_after=2) from error

    def stream(self, key: str, version: str | None = None) -> BinaryIO:
        """The object as a buffered reader; it is never read whole here."""
        return self.open(key, version)[0]

    def open(self, key: str, version: str | None = None) -> tuple[BinaryIO, str]:
        """The object as a buffered reader, and the ETag of the very content that it reads."""
        arguments = {"Key": key} | ({"VersionId": version} if version else {})
        answer = self._call("get_object", **arguments)
        reader = io.BufferedReader(_Reading(answer["Body"]), buffer_size=1 << 20)
        return cast("BinaryIO", reader), str(answer.get("ETag", "")).strip('"')

    def get(self, key: str) -> bytes:
        return cast("bytes", self._call("get_object", Key=key)["Body"].read())

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = "application/octet-stream") -> None:
        self._call("put_object", Key=key, Body=data, ContentType=content_type)

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=key)
        except NotFound:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **token)
            for entry in page.get("Contents", ()):
                yield entry["Key"]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


class _Reading(io.RawIOBase):
    """Adapts botocore's streaming body to the raw stream interface that `io.BufferedReader` and gzip expect."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._body.read(len(buffer))
        except BotoCoreError as error:
            raise Unavailable("object storage broke off in the middle of an object", retry_after=2) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
