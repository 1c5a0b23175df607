"""Frames of ``application/vnd.amazon.eventstream``, as AWS services send them; botocore only decodes them.

A frame is its length, the length of its headers, the CRC of both, headers, payload, and the CRC of all before it.
Source: Amazon Event Stream Specification (smithy.io).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from zlib import crc32

_STRING = 7


def payload_part(data: bytes) -> bytes:
    """A ``PayloadPart`` of SageMaker's response stream."""
    return frame(
        {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}, data
    )


def stream_exception(kind: str, document: Mapping[str, str]) -> bytes:
    """An exception of the stream's, which ends it: ``ModelStreamError`` or ``InternalStreamFailure``."""
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    return frame(headers, json.dumps(dict(document)).encode())


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message with string headers."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", len(packed) + len(payload) + 16, len(packed))
    message = prelude + struct.pack(">I", crc32(prelude)) + packed + payload
    return message + struct.pack(">I", crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text
