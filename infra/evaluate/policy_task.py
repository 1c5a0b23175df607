"""Rule packs and readers on labelled ad lines: do they find what may not be said, and let what may be said through?

``python -m infra.evaluate policy --cases F``, rows ``{"text", "jurisdiction", "domain"?, "violation": bool}``. A line
is positive where `shared.policy.rules.check` has a blocking finding, with the readers beside the rules as the gate has
them. The baselines are the rules with n-grams in the readers' place, and the words of `NAIVE` anywhere, as a list of
forbidden words looks for them. `among_lawful` has each line among two lawful ones of its place and domain, as a text of
several sentences: the share of violations found there, and of texts of three lawful lines stopped. `rewrites` says for
how many violations that the rules found a lawful wording is offered, and how many of these pass the same check.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.evaluate.rows import read_jsonl
from shared.domain import Finding
from shared.policy.rules import LawReader, blocking, check, packs_version

# The words that lists of "forbidden words" for advertisers commonly name.
NAIVE = (
    *(
        "最",
        "第一",
        "国家级",
        "世界级",
        "顶级",
        "极致",
        "唯一",
        "首选",
        "独家",
        "绝对",
        "100%",
        "百分百",
        "万能",
        "领先",
        "冠军",
    ),
    *("治疗", "治愈", "根治", "疗效", "预防", "无副作用", "专家推荐", "有效率", "保过", "包过", "保证", "必过", "押题"),
    *(
        "保本",
        "稳赚",
        "无风险",
        "零风险",
        "高收益",
        "躺赚",
        "升值",
        "特供",
        "国旗",
        "专利",
        "招财",
        "算命",
        "香烟",
        "代替母乳",
    ),
    *(
        "best",
        "no.1",
        "number one",
        "cure",
        "guarantee",
        "miracle",
        "risk-free",
        "no side effects",
        "free",
        "lose weight",
    ),
    *(
        "eco-friendly",
        "carbon neutral",
        "clinically proven",
        "get rich",
        "doctors recommend",
        "fda approved",
        "act now",
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled line. `domain` is None where the row names none."""

    text: str
    jurisdiction: str
    domain: str | None
    violation: bool


def read_cases(path: Path) -> Iterator[Case]:
    """The lines of a file.

    Raises:
        ValueError: a row lacks a field or has one of another type; the message names file and row.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            text, jurisdiction, violation = row["text"], row["jurisdiction"], row["violation"]
        except KeyError as error:
            raise ValueError(f"{path.name}, row {number}: no field {error}") from error
        if not isinstance(text, str) or not isinstance(jurisdiction, str) or not isinstance(violation, bool):
            raise ValueError(
                f"{path.name}, row {number}: text and jurisdiction are strings, violation is true or false"
            )
        yield Case(text, jurisdiction.upper(), row.get("domain") or None, violation)


def judge(case: Case, reader: LawReader | None) -> list[Finding]:
    """What blocks the line."""
    return blocking(check(case.text, case.domain, case.jurisdiction, reader=reader, mend=False))


def naive(case: Case) -> bool:
    """Whether the line has a word of the list."""
    text = case.text.lower()
    return any(word in text for word in NAIVE)


def rates(cases: Sequence[Case], verdicts: Iterable[bool]) -> dict[str, float | int]:
    """precision, recall (1.0 where nothing was to be found or was found); counts of false alarms and misses."""
    found = false = missed = 0
    for case, verdict in zip(cases, verdicts, strict=True):
        found += verdict and case.violation
        false += verdict and not case.violation
        missed += case.violation and not verdict
    return {
        "precision": found / (found + false) if found + false else 1.0,
        "recall": found / (found + missed) if found + missed else 1.0,
        "false_alarms": false,
        "misses": missed,
    }


def run(path: Path, console: Console, reader: LawReader | None, *, show: bool = False) -> dict[str, Any]:
    """The figures of all lines and by jurisdiction, beside those of the rules without the reader and of the word list.
    show: print the lines judged wrongly."""
    cases = list(read_cases(path))
    if not cases:
        raise ValueError(f"{path.name} has no lines")
    verdicts = [bool(judge(case, reader)) for case in cases]
    if show:
        _show(cases, verdicts, console, reader)
    places: dict[str, list[int]] = defaultdict(list)
    for place, case in enumerate(cases):
        places[case.jurisdiction].append(place)
    return rates(cases, verdicts) | {
        "n": len(cases),
        "violations": sum(case.violation for case in cases),
        "packs": packs_version(),
        "by_jurisdiction": {
            name: rates([cases[place] for place in rows], [verdicts[place] for place in rows])
            for name, rows in sorted(places.items())
        },
        "among_lawful": among_lawful(cases, reader),
        "rewrites": rewrites([case for case in cases if case.violation and judge(case, None)]),
        "baselines": {
            "rules": rates(cases, (bool(judge(case, None)) for case in cases))
            | {"among_lawful": among_lawful(cases, None)},
            "word_list": rates(cases, map(naive, cases)),
        },
    }


def among_lawful(cases: Sequence[Case], reader: LawReader | None) -> dict[str, float | int]:
    """Of lines that stand among two lawful ones of the same place and domain: how many violations are found, and how
    many of the texts that hold none are stopped (1.0 and 0.0 of none)."""
    chosen = random.Random(0)  # nosec B311
    lawful: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for case in cases:
        if not case.violation:
            lawful[case.jurisdiction, case.domain].append(case.text)
    stopped: dict[bool, list[bool]] = {True: [], False: []}
    for case in cases:
        others = [text for text in lawful[case.jurisdiction, case.domain] if text != case.text]
        if len(others) > 1:
            lines = [*chosen.sample(others, 2), case.text]
            chosen.shuffle(lines)
            text = " ".join(line if line[-1] in "。.！!？?…" else f"{line}." for line in lines)
            stopped[case.violation].append(bool(judge(replace(case, text=text), reader)))
    found, false = stopped[True], stopped[False]
    return {
        "texts": len(found) + len(false),
        "recall": round(sum(found) / len(found), 4) if found else 1.0,
        "lawful_stopped": round(sum(false) / len(false), 4) if false else 0.0,
    }


def rewrites(blocked: Sequence[Case]) -> dict[str, float | int]:
    """Of lines that the rules block, which is where a wording is offered: their number, the share with a rewrite, and
    the share of these that passes (1.0 of none)."""
    offered = passing = 0
    for case in blocked:
        rewrite = blocking(check(case.text, case.domain, case.jurisdiction))[0].rewrite
        if rewrite is not None:
            offered += 1
            passing += not judge(replace(case, text=rewrite), None)
    return {
        "blocked": len(blocked),
        "offered": offered / len(blocked) if blocked else 1.0,
        "passing": passing / offered if offered else 1.0,
    }


def _show(cases: Sequence[Case], verdicts: Sequence[bool], console: Console, reader: LawReader | None) -> None:
    table = Table("is", "where", "line", "found", title="judged wrongly")
    for case, verdict in zip(cases, verdicts, strict=True):
        if verdict != case.violation:
            findings = judge(case, reader)
            found = ", ".join(f"{finding.rule}: {case.text[finding.start : finding.end]}" for finding in findings)
            where = f"{case.jurisdiction} {case.domain or ''}".strip()
            table.add_row("a violation" if case.violation else "lawful", where, case.text, found)
    console.print(table)
