"""S3: uploads, rejected lines, catalogue snapshots, artefacts, results of asynchronous generation."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Conflict, NotFound, Unavailable
from shared.stores.faults import passing, pause, watch

_DELETE_LIMIT = 1000  # S3: keys of one DeleteObjects
_READ_ATTEMPTS = 4
_WHO = "object storage"


class Objects:
    """One bucket. Raises `NotFound` for a missing key and `Unavailable` where S3 cannot be reached."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket
        watch(client, _WHO)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404", "NoSuchVersion", "NotFound"):
                raise NotFound(f"no object {arguments.get('Key')}") from error
            if unavailable := passing(error, _WHO):
                raise unavailable from error
            raise
        except BotoCoreError as error:
            if unavailable := passing(error, _WHO):
                raise unavailable from error
            raise

    def stream(self, key: str, version: str | None = None) -> BinaryIO:
        """The object as a buffered reader; it is never read whole here."""
        return self.open(key, version).reader

    def open(
        self, key: str, version: str | None = None, *, offset: int = 0, fingerprint: str | None = None
    ) -> OpenObject:
        """The object from byte `offset` on, as it is or, where a `fingerprint` is given, only as it was then.

        Raises:
            NotFound: there is none; Conflict: it is another one by now; Unavailable.
        """
        arguments: dict[str, Any] = {"Key": key}
        if version:
            arguments["VersionId"] = version
        if fingerprint:
            arguments["IfMatch"] = f'"{fingerprint}"'
        if offset:
            arguments["Range"] = f"bytes={offset}-"
        try:
            answer = self._call("get_object", **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("InvalidRange", "416"):  # nothing is left behind the offset
                return OpenObject(cast("BinaryIO", io.BytesIO()), fingerprint or "", 0.0)
            if code in ("PreconditionFailed", "412"):
                raise Conflict(f"the object {key} has been replaced") from error
            raise
        reader = io.BufferedReader(_Reading(answer["Body"]), buffer_size=1 << 20)
        tag = str(answer.get("ETag", "")).strip('"')
        return OpenObject(cast("BinaryIO", reader), tag, answer["LastModified"].timestamp())

    def get(self, key: str) -> bytes:
        for attempt in range(_READ_ATTEMPTS):
            try:
                return cast("bytes", self._call("get_object", Key=key)["Body"].read())
            except BotoCoreError as error:  # botocore repeats a request, not the reading of its answer
                if passing(error, _WHO) is None:
                    raise
            if attempt + 1 < _READ_ATTEMPTS:
                pause(attempt, _WHO)
        raise Unavailable("object storage breaks off in the middle of an object", retry_after=2)

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = "application/octet-stream") -> None:
        self._call("put_object", Key=key, Body=data, ContentType=content_type)

    def put_joined(self, key: str, parts: Iterable[str], content_type: str, tail: bytes = b"") -> None:
        """Writes one object of the contents of others, in order, and `tail`; memory holds one at a time."""
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        joined = _Joined(chain((self.get(part) for part in parts), (tail,)))
        config = TransferConfig(max_concurrency=1, use_threads=False)
        arguments = {"ExtraArgs": {"ContentType": content_type}, "Config": config}
        try:
            self._call("upload_fileobj", Fileobj=joined, Key=key, **arguments)
        except S3UploadFailedError as error:
            raise Unavailable("object storage does not take the object", retry_after=2) from error

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes what there is of `keys`, by thousands."""
        keys = iter(keys)
        while some := list(islice(keys, _DELETE_LIMIT)):
            self._call("delete_objects", Delete={"Objects": [{"Key": key} for key in some], "Quiet": True})

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=key)
        except NotFound:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """In the order of their bytes."""
        return (key for key, _ in self.dated_keys(prefix))

    def dated_keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys, and when what lies there was written (epoch seconds, whole ones)."""
        for page in self._pages(Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["LastModified"].timestamp()

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands behind `prefix`, which ends in a slash, and before the next one: one listing of these alone."""
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].removeprefix(prefix).removesuffix("/")

    def _pages(self, **listed: str) -> Iterator[Any]:
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", **listed, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object that is being read. fingerprint: the ETag of the very content; modified: epoch seconds."""

    reader: BinaryIO
    fingerprint: str
    modified: float


class _Joined:
    """The pieces one after another, as a file that can be read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts = [self._rest]
        held = len(self._rest)
        while size < 0 or held < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            held += len(piece)
        data = b"".join(parts)
        end = len(data) if size < 0 else size
        self._rest = data[end:]
        return data[:end]


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
