"""Copy for real products: what a model writes, what the gate lets through, and what the ladder serves in the end.

``python -m infra.evaluate copy --products F [--limit N]``, rows ``{"description", "copy"?, "language"}``. The endpoint
is ``LLM_URL`` (a local one is started for the run where it is unset and the model's package is there); without any, the
templates answer and the figures say so. `unsupported_shown` and `violations_shown` are counted anew on what was shown,
and `digits_not_in_product` is a cruder second opinion: digits of a shown text that the product's own text has nowhere.
"""

from __future__ import annotations

import math
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.evaluate.rows import read_jsonl
from shared.domain import Ad, Copy, Language
from shared.errors import ModelUnavailable
from shared.generating.gate import Gate
from shared.generating.requests import Brief
from shared.generating.writing import CANDIDATES, Writer
from shared.models.classifier import TaxonomyClassifier
from shared.models.encoder import Encoder
from shared.models.generator import Message, OpenAICompatible, TextGenerator
from shared.policy.claims import trace_claims, unsupported
from shared.policy.numerals import fold
from shared.policy.rules import blocking, check
from shared.preprocess import clean_text
from shared.settings import Settings

SHOWN = 3  # copies asked for a product
TIMEOUT = 120.0
CHANNEL = "feed"
TITLE = 80


class _Recorder:
    """Passes the model's candidates on and remembers them."""

    def __init__(self, generator: TextGenerator) -> None:
        self._generator = generator
        self.name = generator.name
        self.last: list[str] = []
        self.failures = 0

    def complete(self, messages: Sequence[Message], **settings: Any) -> list[str]:
        try:
            self.last = self._generator.complete(messages, **settings)
        except ModelUnavailable:
            self.failures += 1
            raise
        return self.last


class _EmptyBank:
    def bank_get(self, tenant: str, ad_id: str, segment: str, language: str) -> list[Copy]:
        return []

    def bank_put(self, tenant: str, ad_id: str, segment: str, language: str, copies: Sequence[Copy]) -> None:
        return


def product_ad(row: dict[str, Any], number: int) -> Ad:
    """The product as an ad. A description of ``key#value*key#value`` pairs (AdvertiseGen) becomes attributes."""
    text = clean_text(str(row["description"]).replace("<company>", "our company"))
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
        title = re.split(r"(?<=[.!?。！？])\s|[。！？]", title)[0][:TITLE].rsplit(" ", 1)[0]
    return Ad(
        ad_id=f"product-{number}",
        title=title,
        description=description,
        landing_url="https://example.com/",
        language=language,
        domain="ecommerce",
        attributes=attributes,
    )


@contextmanager
def endpoint(settings: Settings) -> Iterator[TextGenerator | None]:
    """The configured endpoint, else a local one for as long as it is needed, else none."""
    if settings.llm_url:
        yield OpenAICompatible(settings.llm_url, settings.llm_model)
        return
    import sys

    from infra.local import llm_server
    from infra.local.processes import HOST, Child, answers, free_port

    try:
        llm_server.gguf("gemma")
    except (FileNotFoundError, ImportError):
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        child = Child(
            "language model",
            Path(sys.executable),
            ["infra.local.llm_server", "--port", str(port)],
            log=Path(folder) / "llm.log",
        )
        try:
            child.wait_until(lambda: answers(f"http://{HOST}:{port}/health"), 60)
            yield OpenAICompatible(f"http://{HOST}:{port}/v1", "local")
        finally:
            child.stop(10)


def run(products: Path, limit: int | None = None, seed: int = 0, budget_seconds: float | None = None) -> dict[str, Any]:
    """Writes copy for the products and measures it; prints a table on stderr."""
    rows = list(read_jsonl(products))
    random.Random(seed).shuffle(rows)
    rows = rows[:limit]
    settings = Settings.from_env()
    with endpoint(settings) as generator:
        result, examples = measure(rows, generator, settings, budget_seconds)
    _print(result, examples)
    return result


def measure(
    rows: Sequence[dict[str, Any]],
    generator: TextGenerator | None,
    settings: Settings,
    budget_seconds: float | None = None,
) -> tuple[dict[str, Any], list[tuple[str, Copy]]]:
    """The figures, and the best copy of each product."""
    encoder = Encoder.load(settings.artifacts_dir / "encoder", threads=settings.threads)
    classifier = TaxonomyClassifier.load(settings.artifacts_dir / "taxonomy-adproduct")
    recorder = _Recorder(generator) if generator is not None else None
    writer = Writer(
        Gate(lambda: encoder, lambda: classifier, check),
        _EmptyBank(),
        recorder,
        model=generator.name if generator is not None else "none",
        versions=dict,
    )
    began = time.monotonic()
    seconds: list[float] = []
    rungs: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    shown: list[tuple[Ad, Copy]] = []
    best: list[tuple[str, Copy]] = []
    claims = supported = candidates = clean = survivors = 0
    scores: list[tuple[float, float]] = []
    for number, row in enumerate(rows):
        if budget_seconds is not None and time.monotonic() - began > budget_seconds:
            break
        ad = product_ad(row, number)
        if recorder is not None:
            recorder.last = []
        started = time.monotonic()
        result = writer.write("-", Brief(ad, ad.language, CHANNEL, SHOWN), TIMEOUT)
        seconds.append(time.monotonic() - started)
        for text in recorder.last if recorder is not None else ():
            traced = trace_claims(text, ad)
            bad = len(unsupported(traced))
            claims += len(traced)
            supported += len(traced) - bad
            candidates += 1
            clean += not bad
        survivors += sum(copy.served_by == "llm" for copy in result.copies)
        reasons.update(reason.split(":")[0].split(" (")[0] for one in result.rejected for reason in one.reasons)
        rungs.update(copy.served_by for copy in result.copies)
        shown += [(ad, copy) for copy in result.copies]
        if result.copies:
            best.append((ad.title, result.copies[0]))
            if row.get("copy"):
                reference = clean_text(str(row["copy"]))
                scores.append(_overlap(result.copies[0].text, reference, ad.language))
    figures: dict[str, Any] = {
        "products": len(seconds),
        "shown": len(shown),
        "rung_counts": dict(rungs),
        "candidates": candidates,
        "asked_per_product": CANDIDATES,
        "support_rate_before_gate": round(supported / claims, 4) if claims else None,
        "clean_rate_before_gate": round(clean / candidates, 4) if candidates else None,
        "generated_shown": survivors,
        "unsupported_shown": sum(bool(unsupported(trace_claims(copy.text, ad))) for ad, copy in shown),
        "violations_shown": sum(bool(blocking(check(copy.text, ad.domain))) for ad, copy in shown),
        "digits_not_in_product": sum(not _digits(copy.text) <= _digits(_everything(ad)) for ad, copy in shown),
        "distinct_2": round(_distinct_2([copy.text for _, copy in shown]), 4),
        "refused_for": dict(reasons.most_common(8)),
        "endpoint_failures": recorder.failures if recorder is not None else None,
        "seconds_p50": round(statistics.median(seconds), 3) if seconds else None,
    }
    if scores:
        figures["rouge_l"] = round(statistics.mean(rouge for rouge, _ in scores), 4)
        figures["bleu"] = round(statistics.mean(bleu for _, bleu in scores), 4)
    return figures, best


def _everything(ad: Ad) -> str:
    return " ".join([ad.title, ad.description, *(f"{key} {value}" for key, value in ad.attributes.items())])


def _digits(text: str) -> set[str]:
    return set(re.findall(r"\d+", fold(text)))


def _units(text: str, language: str) -> list[str]:
    pattern = r"[\u3400-\u9fff]|[A-Za-z0-9]+" if language == "zh" else r"[a-z0-9']+"
    return re.findall(pattern, text if language == "zh" else text.lower())


def _distinct_2(texts: Sequence[str]) -> float:
    """Different bigrams over all bigrams (characters of Chinese, words of English)."""
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        units = _units(text, "zh" if re.search(r"[\u3400-\u9fff]", text) else "en")
        grams.update(pairwise(units))
    return len(grams) / grams.total() if grams else 0.0


def _overlap(text: str, reference: str, language: str) -> tuple[float, float]:
    """ROUGE-L (F1) and BLEU-4 (add-one smoothed, with brevity penalty) of one text."""
    ours, theirs = _units(text, language), _units(reference, language)
    if not ours or not theirs:
        return 0.0, 0.0
    row = [0] * (len(theirs) + 1)
    for unit in ours:
        before = 0
        for place, other in enumerate(theirs, start=1):
            before, row[place] = row[place], before + 1 if unit == other else max(row[place], row[place - 1])
    rouge = 2 * row[-1] / (len(ours) + len(theirs))
    logs = 0.0
    for size in range(1, 5):
        mine = Counter(zip(*(ours[start:] for start in range(size)), strict=False))
        wanted = Counter(zip(*(theirs[start:] for start in range(size)), strict=False))
        hits = sum((mine & wanted).values())
        smooth = 0 if size == 1 else 1
        logs += math.log((hits + smooth) / (mine.total() + smooth)) if hits + smooth and mine.total() + smooth else -20
    penalty = min(1.0, math.exp(1 - len(theirs) / len(ours)))
    return rouge, penalty * math.exp(logs / 4)


def _print(figures: dict[str, Any], examples: Sequence[tuple[str, Copy]]) -> None:
    console = Console(stderr=True)
    table = Table("figure", "value", title="copy")
    for name, value in figures.items():
        table.add_row(name, str(value))
    console.print(table)
    shown = Table("product", "best copy", "rung", title="examples")
    for title, copy in examples[:8]:
        shown.add_row(title[:40], copy.text, copy.served_by)
    console.print(shown)
