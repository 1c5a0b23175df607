"""The measuring command's task `policy`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.evaluate.policy_task import read_cases, run

ROWS = [
    {"text": "全网最佳的蓝牙耳机", "jurisdiction": "CN", "domain": "ecommerce", "violation": True},
    {"text": "贴上它，老寒腿第二天就能爬山", "jurisdiction": "CN", "domain": "health", "violation": True},
    {"text": "最佳食用温度 4 度", "jurisdiction": "CN", "domain": "ecommerce", "violation": False},
    {"text": "This herbal tea cures diabetes", "jurisdiction": "us", "violation": True},
    {"text": "The best pizza in Brooklyn", "jurisdiction": "US", "violation": False},
    {"text": "A sentence that breaks no rule", "jurisdiction": "EU", "violation": True},
]


def cases(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_figures_of_all_lines_by_jurisdiction_and_of_the_word_list(tmp_path: Path) -> None:
    result = run(cases(tmp_path, ROWS), Console(file=io.StringIO()), None)
    assert (result["precision"], result["recall"]) == (1.0, 0.75)
    assert (result["false_alarms"], result["misses"], result["n"], result["violations"]) == (0, 1, 6, 4)
    assert list(result["by_jurisdiction"]) == ["CN", "EU", "US"]
    assert result["by_jurisdiction"]["CN"]["recall"] == 1.0
    assert result["rewrites"] == {"blocked": 3, "offered": pytest.approx(2 / 3), "passing": 1.0}
    assert result["among_lawful"] == result["baselines"]["rules"]["among_lawful"]
    assert result["baselines"]["word_list"] == {"precision": 0.5, "recall": 0.5, "false_alarms": 2, "misses": 2}


def test_each_line_is_judged_among_lawful_ones_too(tmp_path: Path) -> None:
    rows = [{"text": text, "jurisdiction": "CN", "violation": False} for text in ("周六营业", "三楼有座", "可带宠物")]
    rows += [{"text": "全网最佳的手机", "jurisdiction": "CN", "violation": True}]
    result = run(cases(tmp_path, rows), Console(file=io.StringIO()), None)
    assert result["among_lawful"] == {"texts": 4, "recall": 1.0, "lawful_stopped": 0.0}


def test_it_shows_what_is_judged_wrongly(tmp_path: Path) -> None:
    out = io.StringIO()
    run(cases(tmp_path, ROWS), Console(file=out, width=200), None, show=True)
    assert "A sentence that breaks no rule" in out.getvalue()
    assert "Brooklyn" not in out.getvalue()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "jurisdiction": "CN"}, "row 1: no field 'violation'"),
        ({"text": "a", "jurisdiction": "CN", "violation": "yes"}, "row 1: text and jurisdiction are strings"),
    ],
)
def test_a_row_that_is_no_case_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_cases(cases(tmp_path, [row])))


def test_an_empty_file_cannot_be_measured_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no lines"):
        run(cases(tmp_path, []), Console(file=io.StringIO()), None)
