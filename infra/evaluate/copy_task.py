"""Copy for real products: what a model writes, what the gate lets through, and what the ladder serves in the end.

``python -m infra.evaluate copy --products F [--limit N]``, rows ``{"description", "copy"?, "language"}`` or ads as they
are uploaded. The endpoint is ``LLM_URL`` (a local one is started for the run where it is unset and the model's package
is there); without any, the templates answer and the figures say so.

`own_words_rate`: requests that the model answered with a text of its own: less than 80 % of it stands in the title or
the description. `unsupported_shown` and `violations_shown` are counted anew on what was shown, and
`digits_not_in_product` is a cruder second opinion. Baselines on the same products: `templates` (the ladder without a
model) and `ungated` (the model's first candidate as it came).
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from infra.evaluate.overlap import copied_share, distinct_2, rouge_bleu
from infra.evaluate.rows import read_jsonl
from infra.evaluate.writer import endpoint, open_writer
from shared.domain import Ad, Copy, Language, RejectedCopy, Rejection
from shared.generating.requests import Brief
from shared.policy.characters import fold
from shared.policy.claims import trace_claims, unsupported
from shared.policy.rules import blocking, check
from shared.preprocess import clean_text, parse_ad
from shared.settings import Settings

SHOWN = 3  # copies asked for a product
TIMEOUT = 120.0
CHANNEL = "feed"
TITLE = 80
COPIED = 0.8  # share of a text that stands in the title or description from which it is not the model's own
_NAMELESS = re.compile(r"(^|[.!?]\s+)?<company>")


@dataclass(frozen=True, slots=True)
class Answer:
    """One product with all that was written for it. `reference`: the copy that the file gives."""

    ad: Ad
    candidates: tuple[str, ...]
    shown: tuple[Copy, ...]
    rejected: tuple[RejectedCopy, ...]
    seconds: float
    reference: str | None = None
    template: str | None = field(default=None)

    @property
    def own_words(self) -> bool:
        sources = (self.ad.title, self.ad.description)
        return any(copy.served_by == "llm" and copied_share(copy.text, sources) < COPIED for copy in self.shown)


def product_ad(row: dict[str, Any], number: int) -> Ad:
    """The product as an ad. A description of ``key#value*key#value`` pairs (AdvertiseGen) becomes attributes.

    Raises:
        ValueError: the row is neither a product nor an ad.
    """
    if "title" in row:
        ad = parse_ad({"ad_id": f"product-{number}", "landing_url": "https://example.com/"} | row, index=number)
        if isinstance(ad, Rejection):
            raise ValueError(f"row {number + 1}: {ad.field}: {ad.reason}")
        return ad
    text = clean_text(_named(str(row["description"])))
    language: Language = "en" if row.get("language") == "en" else "zh"
    attributes: dict[str, str | float] = {}
    title, description = text, text
    if "#" in text and language == "zh":
        pairs: dict[str, list[str]] = {}
        for pair in text.split("*"):
            key, _, value = pair.partition("#")
            if value:
                pairs.setdefault(key, []).append(value)
        attributes = {key: "、".join(dict.fromkeys(values)) for key, values in pairs.items()}
        kind = str(attributes.get("类型", "商品"))
        form = next((str(attributes[key]) for key in ("裤型", "裙长", "衣样式", "裙型") if key in attributes), kind)
        title = f"{str(attributes.get('风格', '')).split('、')[0]}{form.split('、')[0]}"
        description = "，".join(str(value) for key, value in attributes.items() if key != "类型")
    elif len(title) > TITLE:
        title = re.split(r"(?<=[.!?。！？])\s|[。！？]", title)[0]
        if len(title) > TITLE:
            title = title[:TITLE].rsplit(" ", 1)[0]
    return Ad(
        ad_id=f"product-{number}",
        title=title,
        description=description,
        landing_url="https://example.com/",
        language=language,
        domain="ecommerce",
        attributes=attributes,
    )


def _named(description: str) -> str:
    """A description whose firm was made nameless, as a firm that has no name would write it."""
    return _NAMELESS.sub(lambda match: "our company" if match[1] is None else f"{match[1]}Our company", description)


def run(
    products: Path,
    limit: int | None = None,
    seed: int = 0,
    budget_seconds: float | None = None,
    *,
    save: Path | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """Writes copy for the products and measures it; prints examples on stderr.

    save: every product with its candidates and answers, as JSON Lines. report: the same as a page to look at.
    """
    rows = list(read_jsonl(products))
    random.Random(seed).shuffle(rows)
    settings = Settings.from_env()
    with endpoint(settings) as engine:
        answers = write_all(rows[:limit], engine, settings, budget_seconds)
        failures = engine.failures
    figures = measure(answers) | {"endpoint_failures": failures, "model": engine.name, "prompt": engine.style}
    if save is not None:
        save.write_bytes(b"".join(orjson.dumps(asdict(answer)) + b"\n" for answer in answers))
    if report is not None:
        from infra.evaluate.copy_report import write_report

        write_report(report, answers, figures)
    _print(answers)
    return figures


def write_all(
    rows: Sequence[dict[str, Any]], engine: Any, settings: Settings, budget_seconds: float | None = None
) -> list[Answer]:
    """Every product's answer, within the budget, in the order of the rows."""
    writer, templates = open_writer(settings, engine), open_writer(settings, None)
    began = time.monotonic()
    answers: list[Answer] = []
    for number, row in enumerate(rows):
        if budget_seconds is not None and time.monotonic() - began > budget_seconds:
            break
        ad = product_ad(row, number)
        brief = Brief(ad, ad.language, CHANNEL, SHOWN)
        engine.last = []
        started = time.monotonic()
        result = writer.write("-", brief, TIMEOUT)
        seconds = time.monotonic() - started
        plain = templates.write("-", brief, TIMEOUT).copies
        reference = clean_text(str(row["copy"])) if row.get("copy") else None
        template = plain[0].text if plain else None
        answers.append(
            Answer(ad, tuple(engine.last), result.copies, result.rejected, seconds, reference, template=template)
        )
    return answers


def measure(answers: Sequence[Answer]) -> dict[str, Any]:
    """The figures of DESIGN section 9 and what explains them."""
    shown = [(answer.ad, copy) for answer in answers for copy in answer.shown]
    traced = [trace_claims(text, answer.ad) for answer in answers for text in answer.candidates]
    claims = [claim for one in traced for claim in one]
    reasons = Counter(
        reason.split(":")[0].split(" (")[0] for one in answers for two in one.rejected for reason in two.reasons
    )
    modelled = [answer for answer in answers if answer.candidates]
    return {
        "products": len(answers),
        "shown": len(shown),
        "rung_counts": dict(Counter(copy.served_by for _, copy in shown)),
        "own_words_rate": _mean(answer.own_words for answer in answers),
        "candidates": len(traced),
        "candidates_per_product": _mean(len(answer.candidates) for answer in answers),
        "support_rate_before_gate": _mean(claim.support is not None for claim in claims),
        "clean_rate_before_gate": _mean(not unsupported(one) for one in traced),
        "unsupported_shown": sum(bool(unsupported(trace_claims(copy.text, ad))) for ad, copy in shown),
        "violations_shown": sum(bool(blocking(check(copy.text, ad.domain))) for ad, copy in shown),
        "digits_not_in_product": sum(not _digits(copy.text) <= _digits(_everything(ad)) for ad, copy in shown),
        "distinct_2": round(distinct_2([copy.text for _, copy in shown]), 4),
        "refused_for": dict(reasons.most_common(8)),
        "seconds_p50": round(statistics.median(answer.seconds for answer in answers), 3) if answers else None,
        **_overlap([(one.shown[0].text, one) for one in answers if one.shown]),
        "baselines": {
            "templates": _plain([(one.template, one) for one in answers if one.template]),
            "ungated": _plain([(one.candidates[0], one) for one in modelled]),
        },
    }


def _plain(texts: Sequence[tuple[str, Answer]]) -> dict[str, Any]:
    """Of one text a product: share with an unsupported claim or a violation, and the overlap with the reference."""
    wrong = [
        bool(unsupported(trace_claims(text, one.ad)) or blocking(check(text, one.ad.domain))) for text, one in texts
    ]
    return {
        "wrong_rate": _mean(wrong),
        "distinct_2": round(distinct_2([text for text, _ in texts]), 4),
        **_overlap(texts),
    }


def _overlap(texts: Sequence[tuple[str, Answer]]) -> dict[str, float]:
    scores = [rouge_bleu(text, one.reference, one.ad.language) for text, one in texts if one.reference]
    if not scores:
        return {}
    return {
        "rouge_l": round(statistics.mean(r for r, _ in scores), 4),
        "bleu": round(statistics.mean(b for _, b in scores), 4),
    }


def _mean(values: Any) -> float | None:
    found = [float(value) for value in values]
    return round(statistics.mean(found), 4) if found else None


def _everything(ad: Ad) -> str:
    return " ".join([ad.title, ad.description, *(f"{key} {value}" for key, value in ad.attributes.items())])


def _digits(text: str) -> set[str]:
    return set(re.findall(r"\d+", fold(text)))


def _print(answers: Sequence[Answer]) -> None:
    table = Table("product", "first copy", "rung", title="examples")
    for answer in answers[:8]:
        if answer.shown:
            table.add_row(answer.ad.title[:40], answer.shown[0].text, answer.shown[0].served_by)
    Console(stderr=True).print(table)
