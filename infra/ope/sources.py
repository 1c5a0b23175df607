"""Where decision logs and vectors come from: files, the bucket, a tenant's own stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from shared.errors import BadInput, NotFound

if TYPE_CHECKING:
    from shared.stores.objects import Objects
    from shared.wiring import System

_S3 = "s3://"


def bucket(name: str) -> Objects:
    """The deployment's bucket, by the environment's credentials."""
    import boto3

    from shared.stores.objects import Objects

    return Objects(boto3.client("s3"), name)


def names_of(patterns: Sequence[str], objects: Objects | None, tenant: str | None) -> tuple[list[str], int]:
    """The log's files, in the order of their names, and how many were left out because they are another tenant's.

    patterns: files, globs or ``s3://bucket/prefix``; none at all are the tenant's in the bucket.

    Raises:
        BadInput: nothing is there, or a bucket is named that is not the deployment's.
    """
    if not patterns:
        if tenant is None or objects is None:
            raise BadInput("a log (--log) or a tenant (--tenant) is needed", field="log")
        patterns = [f"{_S3}{objects.bucket}/logs/{tenant}/decisions/"]
    found: list[str] = []
    for pattern in patterns:
        if not pattern.startswith(_S3):
            path = Path(pattern)
            anchor = Path(path.anchor)  # empty where the pattern is relative
            matches = [path] if path.is_file() else anchor.glob(str(path.relative_to(anchor)))
            found += [str(one) for one in matches if one.is_file()]
            continue
        bucket, _, prefix = pattern.removeprefix(_S3).partition("/")
        if objects is None or bucket != objects.bucket:
            raise BadInput(f"{pattern}: not the deployment's bucket (BUCKET_NAME)", field="log")
        found += [f"{_S3}{bucket}/{key}" for key in objects.keys(prefix.split("*", 1)[0])]
    mine = sorted({name for name in found if tenant is None or _tenant(name) in (None, tenant)})
    if not mine:
        raise BadInput(f"no log in {', '.join(patterns)}", field="log")
    return mine, len(set(found)) - len(mine)


def tenants_of(names: Sequence[str]) -> list[str]:
    """Whose log files these are, as far as their places tell."""
    return sorted({tenant for name in names if (tenant := _tenant(name)) is not None})


def opened(names: Sequence[str], objects: Objects | None) -> Iterator[tuple[str, BinaryIO]]:
    """Each file's name and content, one open at a time."""
    for name in names:
        if not name.startswith(_S3):
            with Path(name).open("rb") as file:
                yield name, file
        elif objects is not None:
            yield name, cast("BinaryIO", BytesIO(objects.get(name.removeprefix(f"{_S3}{objects.bucket}/"))))


def _tenant(name: str) -> str | None:
    """Whose a log file is by its place (``…/logs/{tenant}/decisions/…``); None where that does not tell."""
    parts = name.replace("\\", "/").split("/")
    for place in range(len(parts) - 2):
        if parts[place] == "logs" and parts[place + 2] == "decisions":
            return parts[place + 1]
    return None


def stored_vectors(system: System, tenant: str, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors (384,) in the topic space of a tenant's ads and of these items, as serving has them."""
    from shared.stores.people import unpack_vectors

    found: dict[str, np.ndarray] = {}
    try:
        snapshot = system.snapshots.latest(tenant)
    except NotFound:
        snapshot = None
    if snapshot is not None:
        found |= {ad_id: snapshot.vectors[row] for ad_id, row in snapshot.places.items()}
    unknown = [item for item in item_ids if item not in found]
    held = {
        item_id: item.vector
        for item_id, item in system.stores.catalogue.resolve(tenant, unknown).items()
        if item.vector
    }
    if held:
        project = system.classifiers["adproduct"].project
        found |= dict(zip(held, project(unpack_vectors(list(held.values()))), strict=True))
    return found


def written_vectors(files: Sequence[Path], ids: Sequence[str], cache: Path | None = None) -> Mapping[str, np.ndarray]:
    """The same from files of ads and items (JSON Lines), through the encoder that serves.

    Raises:
        ValueError: a row has no id or no text.
    """
    from infra.training.clicks_vectors import texts_of, topic_vectors

    texts: dict[str, str] = {}
    for file in files:
        texts |= texts_of(file)
    known = [name for name in ids if name in texts]
    return dict(zip(known, topic_vectors(known, texts, cache=cache), strict=True))
