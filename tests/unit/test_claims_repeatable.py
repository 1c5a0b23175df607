"""The ledger's verdict is the same in every process: a text that one Lambda shows, no other refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from shared.policy.english_figures import figures
from shared.policy.numerals import find_quantities
from shared.policy.vocabulary import vocabulary
from tests.data import ROOT

LINES = ROOT / "infra" / "training" / "ledger"
EVERY = 40  # ads of the labelled lines of which one is traced
PROGRAM = """
import json, sys
from itertools import islice
from pathlib import Path
from infra.training.reader_lines import read_labelled
from shared.policy.claims import trace_claims

for path in sys.argv[2:]:
    for one in islice(read_labelled(Path(path)), 0, None, int(sys.argv[1])):
        for line in one.lines:
            found = [(claim.text, claim.kind, claim.support) for claim in trace_claims(line, one.ad)]
            print(json.dumps([line, *found]))
"""


def traced(seed: str) -> list[list[object]]:
    """What the ledger says of a part of the labelled lines in a process with that seed of Python's hashes."""
    paths = [str(LINES / f"lines.{language}.jsonl") for language in ("en", "zh")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(EVERY), *paths],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_verdict_does_not_hang_on_the_order_of_sets() -> None:
    one, other = traced("0"), traced("1")
    assert len(one) > 150
    assert one == other


def test_sentences_are_numbered_in_their_order() -> None:
    text = "two fairs, three jars. four pans."
    found = figures([("description", text)], [("description", one, "") for one in find_quantities(text)], vocabulary())
    assert [one.sentence for one in found] == [0, 0, 1]
