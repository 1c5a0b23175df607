"""The lines that ad law is learned from, and those that it is measured on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.policy.packs import book
from tests.data import ROOT

POLICY = ROOT / "infra" / "training" / "policy"
LABELLED = ROOT / "tests" / "labelled" / "policy.jsonl"


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_line_is_learned_from_that_is_measured_on() -> None:
    learned = texts(POLICY / "lines.jsonl")
    assert len(set(learned)) == len(learned)
    for measured in (POLICY / "fresh.jsonl", LABELLED):
        assert not set(learned) & set(texts(measured)), measured.name


@pytest.mark.parametrize("name", ["lines.jsonl", "fresh.jsonl"])
def test_rows_are_of_the_format(name: str) -> None:
    for line in (POLICY / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["text"].strip() and isinstance(row["violation"], bool)
        assert row["jurisdiction"] in ("CN", "EU", "US")
        assert row.get("domain") in (None, "ecommerce", "social", "education", "health")
        assert not row.get("rule") or row["rule"] in book().ids(row["jurisdiction"])
