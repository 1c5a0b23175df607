"""Memory of taking an upload in is flat in its size: ten times the bytes, the same peak."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.load.memory import MEGABYTE, services, take_in
from tests.integration.conftest import _need_parts

# What differs between two runs of the same size: the allocator's arenas, and how far buffers of 1 MB happen to overlap.
# A tenth of what the larger upload would add if it were held.
MARGIN = 18 * MEGABYTE


@pytest.mark.slow
def test_ten_times_the_upload_takes_no_more_memory(tmp_path: Path) -> None:
    _need_parts()
    with services(tmp_path) as made:
        small = take_in(made, tmp_path, 20)
        large = take_in(made, tmp_path, 200)
    for name, one, other in (("split", small.split, large.split), ("take", small.take, large.take)):
        print(f"{name}: {one.memory / MEGABYTE:.1f} and {other.memory / MEGABYTE:.1f} MB")
        assert other.memory - one.memory < MARGIN, name
    for taken in (small, large):
        counts = {name: taken.report[name] for name in ("accepted", "duplicates", "rejected")}
        assert sum(counts.values()) == taken.rows
        assert counts["rejected"] == 0
    assert (small.report["accepted"], large.report["accepted"]) == (100, 0)  # the same events again
