"""What people approved comes out as rows that the copywriter's training reads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from infra.training import approved_copy
from infra.training.copywriter_pairs import read_pairs
from shared.generating import Review
from shared.stores import Stores
from shared.stores.copies import MAX_APPROVED
from tests.conftest import TENANT
from tests.fakes.generation import GOOD, PHONE, make_world

pytestmark = pytest.mark.slow


def written(stores: Stores, monkeypatch: pytest.MonkeyPatch, out: Path, tenant: str = TENANT) -> tuple[int, str]:
    monkeypatch.setattr("shared.wiring.system", lambda: SimpleNamespace(stores=stores))
    app = typer.Typer()
    app.command()(approved_copy.command)
    done = CliRunner().invoke(app, ["--tenant", tenant, "--out", str(out)])
    return done.exit_code, done.stderr


def test_approved_copy_is_what_training_reads(stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world, out = make_world(stores), tmp_path / "approved.jsonl"
    reviews = [Review("p1", GOOD[0], "approved"), Review("p1", GOOD[1], "rejected"), Review("p1", GOOD[2], "approved")]
    world.generating.review(TENANT, reviews)
    status, said = written(stores, monkeypatch, out)
    assert status == 0 and "2 texts" in said and str(MAX_APPROVED) not in said.replace(",", "")
    pairs = read_pairs([out])
    assert {pair.copy for pair in pairs} == {GOOD[0], GOOD[2]}
    assert {(pair.ad.title, pair.ad.description) for pair in pairs} == {(PHONE["title"], PHONE["description"])}
    assert all(str(PHONE["title"]) in str(pair.messages()[-1]["content"]) for pair in pairs)
    assert "vector" not in out.read_text() and set(json.loads(out.read_text().splitlines()[0])) == {"ad", "copy"}


def test_nothing_approved_leaves_no_file(stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, said = written(stores, monkeypatch, tmp_path / "none.jsonl", "nobody")
    assert status == 1 and "nobody has approved any copy of nobody" in said
    assert list(tmp_path.iterdir()) == []
