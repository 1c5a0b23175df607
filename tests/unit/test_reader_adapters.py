"""The readers' adapters belong to a version: texts that others judged are looked at again."""

from __future__ import annotations

import json

import pytest

from shared.models.artifacts import sha256
from shared.policy.reading import SIGNS, VERSION
from shared.policy.versions import LAW
from tests.data import ROOT

LEDGER = ROOT / "infra" / "training" / "ledger"
POLICY = ROOT / "infra" / "training" / "policy"
MADE = {
    "3": {
        "en/adapter_model.safetensors": "50553943605f",  # pragma: allowlist secret
        "en/reader.json": "1fa4d87d57c2",  # pragma: allowlist secret
        "zh/adapter_model.safetensors": "ba457cc76882",  # pragma: allowlist secret
        "zh/reader.json": "78a2f7150f72",  # pragma: allowlist secret
    }
}


READ = {
    "law-3": {
        "en/policy.npz": "8a8a3aca62f3",  # pragma: allowlist secret
        "en/reader.json": "8aba0125ee95",  # pragma: allowlist secret
        "zh/policy.npz": "c2e2df63758f",  # pragma: allowlist secret
        "zh/reader.json": "2e99283c65d8",  # pragma: allowlist secret
    }
}


@pytest.mark.parametrize("name", MADE[VERSION])
def test_another_adapter_or_other_weights_are_another_version(name: str) -> None:
    found = sha256(LEDGER / f"reader-{name}")[:12]
    assert found == MADE[VERSION][name], "raise shared.policy.reading.VERSION, and name the new files here"


@pytest.mark.parametrize("name", READ[LAW])
def test_another_reader_of_the_law_is_another_version(name: str) -> None:
    found = sha256(POLICY / f"reader-{name}")[:12]
    assert found == READ[LAW][name], "raise shared.policy.versions.LAW, and name the new files here"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_reader_of_the_law_was_better_than_the_rules_on_lines_held_out(language: str) -> None:
    card = json.loads((POLICY / f"reader-{language}" / "reader.json").read_text(encoding="utf-8"))
    together, rules = card["held_out"]["together"], card["held_out"]["rules_alone"]
    assert together["recall"] > rules["recall"] + 0.2 and together["precision"] > rules["precision"] - 0.05


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_a_reader_is_worth_is_told(language: str) -> None:
    card = json.loads((LEDGER / f"reader-{language}" / "reader.json").read_text(encoding="utf-8"))
    assert set(card["weights"]) == {*SIGNS, "bias", "threshold", "strict"}
    together, rules = card["unknown_writers"]["together"], card["unknown_writers"]["rules"]
    assert together["recall"] > rules["recall"] and together["false_rejections"] < rules["false_rejections"]
