"""The policy check of 10 kB of text, beside the same rules tried one after another without the automaton.

Times are the process's own, so that other work on the machine does not count. The baseline folds the text as the check
does, then searches it for every literal and every pattern of the rules in force; it finds matches only, without
exceptions and rewrites.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from shared.policy.folding import fold_text
from shared.policy.packs import book
from shared.policy.rules import blocking, check
from tests.benchmarks.table import Figures

SIZE = 10_000  # bytes
LAWFUL_ZH = (
    "新款保温杯到店，容量四百八十毫升，杯盖可拆洗，适合通勤与短途旅行。课程共二十四讲，支持回放，课后有练习文件。"
    "周末亲子市集上午十点开始，现场有手作摊位与旧书交换，雨天改到室内。屏幕最高支持 120 Hz，电池容量 5000 毫安时。"
)
LAWFUL_EN = (
    "A warm jacket for cold days, with four pockets and a hood that packs away. The course has twelve evening lessons "
    "and a reading list. Free delivery over fifty euros, returns within thirty days. Ask your pharmacist before use. "
)
UNLAWFUL_ZH = "全网最佳，一个疗程根治高血压，无任何副作用。包过班，考不上退费。稳赚不赔的投资，零风险。"


def text_of(piece: str) -> str:
    return (piece * SIZE).encode()[:SIZE].decode(errors="ignore")


TEXTS = {"lawful, Chinese": text_of(LAWFUL_ZH), "lawful, English": text_of(LAWFUL_EN), "unlawful": text_of(UNLAWFUL_ZH)}


def one_after_another(text: str) -> int:
    folded = fold_text(text).text
    found = 0
    for rule in book().rules:
        if "CN" in rule.jurisdictions:
            found += sum(folded.count(term) for term in rule.rewrites)
            found += sum(len(re.findall(pattern.regex, folded)) for pattern in rule.patterns)
    return found


def milliseconds(call: Callable[[], object], times: int) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        call()
        taken.append((time.process_time() - began) * 1000)
    return sorted(taken)[times // 2]


@pytest.mark.parametrize("name", TEXTS)
def test_ten_kilobytes(name: str, figures: Figures) -> None:
    text = TEXTS[name]
    assert bool(blocking(check(text, "health"))) is (name == "unlawful")
    ours = milliseconds(lambda: check(text, "health"), 5)
    theirs = milliseconds(lambda: one_after_another(text), 3)
    figures.add(
        f"policy check of 10 kB, {name}, p50", ours, "ms", baseline=theirs, baseline_name="rules one after another"
    )
    # A text full of findings is checked again for each draft of its rewrite.
    assert theirs > (ours if name == "unlawful" else 4 * ours)
