"""What a job that trains a ranker is given beside the decision log: the vectors of the ads and items in it.

The job has neither the table nor the encoder's files, and it must see an item as serving does. So who starts it writes
the vectors, in the topic space, of the published catalogue and of what else the log names. Half precision, as they are
stored.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.errors import NotFound
from shared.models.features import first_places
from shared.snapshot import DIMENSIONS, Project, Snapshot
from shared.stores import Stores
from shared.stores.objects import Objects
from shared.stores.people import unpack_vectors

FILE = "vectors.npz"
CLICK_SECONDS = 86400.0  # in which a click counts for its impression: of younger ones nobody knows yet
MOST_ITEMS = 50_000  # that are not in the catalogue, of the log's latest; others are known to the job by id alone
_TOGETHER = 2000  # items that are read and projected in one go


@dataclass(frozen=True, slots=True)
class LogSurvey:
    """clicks: on impressions whose clicks are all in. items: ids that the log names and the catalogue does not, the
    latest first. whole: whether all of it was read."""

    clicks: int
    items: tuple[str, ...]
    whole: bool


def log_prefix(tenant: str) -> str:
    return f"logs/{tenant}/decisions/"


def log_files(objects: Objects, tenant: str) -> list[tuple[str, float]]:
    """The files of a decision log and when each was last written, the latest decisions first."""
    found = [(key, at) for key, at in objects.dated_keys(log_prefix(tenant)) if key.endswith(".jsonl.gz")]
    return sorted(found, reverse=True)


def survey_log(
    objects: Objects, keys: Sequence[str], known: Snapshot, *, now: float, over: Callable[[], bool]
) -> LogSurvey:
    """Reads a log until `over`, the first of `keys` first; a line that cannot be used is left to the job to tell of."""
    clicks = 0
    items: dict[str, None] = {}
    for key in keys:
        for line in _lines(objects, key):
            try:
                clicks += _clicks(line, now - CLICK_SECONDS)
                read = (line["history"][place] for place in first_places(line["history"]))
                named = (*read, *(one["ad_id"] for one in line["candidates"]))
                for item in named if len(items) < MOST_ITEMS else ():
                    if item not in known.places:
                        items[item] = None
            except (AttributeError, KeyError, TypeError):
                continue
        if over():
            return LogSurvey(clicks, tuple(items), key == keys[-1])
    return LogSurvey(clicks, tuple(items), True)


def _lines(objects: Objects, key: str) -> Iterator[Any]:
    try:
        with objects.stream(key) as stream, gzip.GzipFile(fileobj=stream) as file:
            for text in file:
                try:
                    yield orjson.loads(text)
                except orjson.JSONDecodeError:
                    continue
    except (NotFound, EOFError, gzip.BadGzipFile, zlib.error):
        return  # it has expired, or is damaged


def _clicks(line: Any, until: float) -> int:
    return sum(
        slot["impression_at"] is not None
        and slot["click_at"] is not None
        and slot["impression_at"] <= until
        and slot["click_at"] - slot["impression_at"] <= CLICK_SECONDS
        for slot in line["slots"]
    )


def write_vectors(
    stores: Stores, tenant: str, snapshot: Snapshot, items: Sequence[str], key: str, *, project: Project
) -> int:
    """Writes the vectors of the catalogue and of these items as one object; returns how many of the items have one."""
    ids = [ad.ad_id for ad in snapshot.ads]
    parts = [snapshot.vectors.astype(np.float16)]
    for start in range(0, len(items), _TOGETHER):
        some = stores.catalogue.resolve(tenant, items[start : start + _TOGETHER])
        stored = {item: one.vector for item, one in some.items() if one.vector}
        if stored:
            ids += stored
            parts.append(project(unpack_vectors(list(stored.values()))).astype(np.float16))
    with TemporaryFile() as file:
        # As JSON: an array of texts would give each the room of the longest.
        names = np.frombuffer(orjson.dumps(ids), dtype=np.uint8)
        np.savez(file, ids=names, vectors=np.concatenate(parts).reshape(-1, DIMENSIONS))
        file.seek(0)
        stores.objects.put(key, file)
    return len(ids) - len(snapshot.ads)


def read_vectors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The vectors (384,) of such a file by id.

    Raises:
        ValueError: it is not one.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            ids, vectors = orjson.loads(archive["ids"].tobytes()), archive["vectors"].astype(np.float32)
    except (KeyError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path.name} is not a file of vectors: {error}") from error
    if vectors.shape != (len(ids), DIMENSIONS):
        raise ValueError(f"{path.name} has {len(ids)} ids and vectors of the shape {vectors.shape}")
    return dict(zip(ids, vectors, strict=True))
