"""The readers' adapters belong to a version: texts that others judged are looked at again."""

from __future__ import annotations

import json

import pytest

from shared.models.artifacts import sha256
from shared.policy.reading import SIGNS, VERSION
from tests.data import ROOT

LEDGER = ROOT / "infra" / "training" / "ledger"
MADE = {
    "2": {
        "en/adapter_model.safetensors": "ad50f7f259dd",  # pragma: allowlist secret
        "en/reader.json": "f3645056d3a9",  # pragma: allowlist secret
        "zh/adapter_model.safetensors": "61540c0827bc",  # pragma: allowlist secret
        "zh/reader.json": "e5960f11edd9",  # pragma: allowlist secret
    }
}


@pytest.mark.parametrize("name", MADE[VERSION])
def test_another_adapter_or_other_weights_are_another_version(name: str) -> None:
    found = sha256(LEDGER / f"reader-{name}")[:12]
    assert found == MADE[VERSION][name], "raise shared.policy.reading.VERSION, and name the new files here"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_a_reader_is_worth_is_told(language: str) -> None:
    card = json.loads((LEDGER / f"reader-{language}" / "reader.json").read_text(encoding="utf-8"))
    assert set(card["weights"]) == {*SIGNS, "bias", "threshold", "strict"}
    together, rules = card["unknown_writers"]["together"], card["unknown_writers"]["rules"]
    assert together["recall"] > rules["recall"] and together["false_rejections"] < rules["false_rejections"]
