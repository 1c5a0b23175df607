"""The claim ledger on labelled lines: does it find what the ad does not say, and let what it says through?

``python -m infra.evaluate ledger --cases F``, rows ``{"ad": {"title", "description", "language", "domain", …}, "true":
[line, …], "planted": [{"text", "span", "kind"}, …]}``: lines that the ad supports, and lines with one claim (`span`)
that it does not. A line is refused where a claim in it has no support. `located`: planted lines in which the labelled
span itself is refused. `quoted_…`: of lines as a model's that has to quote (`LLM_WORDING`), which the readers read
strictly; `model_…`: as one's that is read literally instead; `literal_…`: that without the readers. With ``--judged``
`judged_…`: a person's lines with the language model at ``LLM_URL`` in the readers' place (``LLM_WORDING=judged``);
`no_verdict`: lines of which it said nothing, which are not counted; `exam`: how it does on the lines that it has to
pass before it is heard (`shared.generating.judging`). Baselines: the rules without the readers, and a
line refused if it has a digit that stands nowhere in the ad.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.evaluate.rows import read_jsonl
from shared.domain import Ad
from shared.errors import ModelUnavailable
from shared.generating.facts import quotations_of
from shared.generating.judging import Judge as LanguageModel
from shared.models.readers import Readers
from shared.policy.claims import trace_claims, unsupported
from shared.policy.literal import literal

WAITING = 4  # lines about which a language model is asked at the same time
Span = tuple[int, int]
Judge = Callable[[str, Ad], list[Span]]


@dataclass(frozen=True, slots=True)
class Case:
    """A line about an ad. `planted`: where the unsupported claim stands; None for a line that is true."""

    ad: Ad
    text: str
    kind: str
    planted: Span | None


def read_cases(path: Path) -> Iterator[Case]:
    """The lines of a file.

    Raises:
        ValueError: a row lacks a field, or a span does not stand in its line; the message names file and row.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            ad = Ad(**{"ad_id": f"case-{number}", "landing_url": "https://example.com/"} | row["ad"])
            for text in row["true"]:
                yield Case(ad, text, "true", None)
            for line in row["planted"]:
                start = line["text"].index(line["span"])
                yield Case(ad, line["text"], line["kind"], (start, start + len(line["span"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, row {number}: {error}") from error


def rules(text: str, ad: Ad) -> list[Span]:
    """What the ledger's rules refuse, without its readers."""
    return [claim.span for claim in unsupported(trace_claims(text, ad))]


def ledger(readers: Readers) -> Judge:
    """What the ledger refuses of a person's words: rules and readers."""
    return lambda text, ad: [claim.span for claim in unsupported(readers.weigh(text, ad, trace_claims(text, ad)))]


def literally(text: str, ad: Ad) -> list[Span]:
    """What the ledger's rules and the literal reading refuse of a text that a model wrote."""
    claims = trace_claims(text, ad)
    return [claim.span for claim in (*unsupported(claims), *literal(text, ad, claims))]


def quoting(text: str, ad: Ad) -> list[Span]:
    """What the ledger's rules and the quotations refuse of a text that a model wrote."""
    loose = quotations_of(ad, ad.language).unquoted(text)
    return [*(claim.span for claim in unsupported(trace_claims(text, ad))), *loose]


def strictly(readers: Readers) -> Judge:
    """What rules and readers refuse of a text that a model wrote."""
    return lambda text, ad: [
        claim.span for claim in unsupported(readers.weigh(text, ad, trace_claims(text, ad), strict=True))
    ]


def _by_judge(cases: Sequence[Case], judge: LanguageModel) -> dict[str, Any]:
    """What a language model in the readers' place is worth."""

    def ask(case: Case) -> list[Span] | None:
        try:
            weighed = judge.weigh(case.text, case.ad, trace_claims(case.text, case.ad))
        except ModelUnavailable:
            return None
        return [claim.span for claim in unsupported(weighed)]

    with ThreadPoolExecutor(WAITING) as threads:
        found = list(zip(cases, threads.map(ask, cases), strict=True))
    told = [(case, spans) for case, spans in found if spans is not None]
    figures = rates([case for case, _ in told], [spans for _, spans in told])
    return {
        "judged_recall": figures["recall"],
        "judged_false_rejections": figures["false_rejections"],
        "judged_located": figures["located"],
        "no_verdict": len(cases) - len(told),
        "exam": {language: str(judge.exam(language)) for language in sorted({case.ad.language for case in cases})},
    }


def digits(text: str, ad: Ad) -> list[Span]:
    """What a check of digits alone refuses."""
    facts = " ".join([ad.title, ad.description, *(f"{key} {value}" for key, value in ad.attributes.items())])
    known = set(re.findall(r"\d+", unicodedata.normalize("NFKC", facts)))
    return [match.span() for match in re.finditer(r"\d+", text) if unicodedata.normalize("NFKC", match[0]) not in known]


def rates(cases: Sequence[Case], refused: Sequence[list[Span]]) -> dict[str, float | int]:
    """recall: refused planted lines; false_rejections: refused true lines; located: planted spans refused.

    refused: what is refused of each case's line.
    """
    planted = found = located = true = rejected = 0
    for case, spans in zip(cases, refused, strict=True):
        if case.planted is None:
            true += 1
            rejected += bool(spans)
            continue
        low, high = case.planted
        planted += 1
        found += bool(spans)
        located += any(start < high and low < end for start, end in spans)
    return {
        "recall": found / max(1, planted),
        "false_rejections": rejected / max(1, true),
        "located": located / max(1, planted),
        "planted": planted,
        "true": true,
    }


def run(
    path: Path, console: Console, readers: Readers, *, show: bool = False, judge: LanguageModel | None = None
) -> dict[str, Any]:
    """The figures of all lines, by the ad's language and by kind, beside the baselines'."""
    cases = list(read_cases(path))
    if not cases:
        raise ValueError(f"{path.name} has no lines")

    def judged(judge: Judge) -> list[list[Span]]:
        return [judge(case.text, case.ad) for case in cases]

    refused = judged(ledger(readers))
    if show:
        _show(cases, refused, console)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for case, spans in zip(cases, refused, strict=True):
        if case.planted is not None:
            kinds[case.kind].append(bool(spans))
    plain, strict = judged(literally), strictly(readers)
    literal_alone = rates(cases, plain)

    def with_readers(refused: Sequence[list[Span]]) -> dict[str, float | int]:
        return rates(cases, [spans or strict(case.text, case.ad) for case, spans in zip(cases, refused, strict=True)])

    model, quoted = with_readers(plain), with_readers(judged(quoting))
    baselines = {"rules": rates(cases, judged(rules)), "digits": rates(cases, judged(digits))}
    by_judge = _by_judge(cases, judge) if judge is not None else {}
    return (
        rates(cases, refused)
        | by_judge
        | {
            "quoted_recall": quoted["recall"],
            "quoted_false_rejections": quoted["false_rejections"],
            "model_recall": model["recall"],
            "model_false_rejections": model["false_rejections"],
            "literal_recall": literal_alone["recall"],
            "literal_false_rejections": literal_alone["false_rejections"],
            "recall_by_kind": {kind: sum(found) / len(found) for kind, found in sorted(kinds.items())},
            "baselines": {
                name: {figure: one[figure] for figure in ("recall", "false_rejections", "located")}
                for name, one in baselines.items()
            },
        }
    )


def _show(cases: Sequence[Case], refused: Sequence[list[Span]], console: Console) -> None:
    table = Table("kind", "line", "refused", title="judged wrongly")
    for case, spans in zip(cases, refused, strict=True):
        if bool(spans) == (case.planted is None):
            table.add_row(case.kind, case.text, ", ".join(case.text[start:end] for start, end in spans))
    console.print(table)
