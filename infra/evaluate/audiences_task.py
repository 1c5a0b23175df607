"""Is personalisation real? Two audiences of one ad: does copy differ, and does it tell which of the two it is for?

``python -m infra.evaluate audiences [--ads F] [--limit 50]`` writes every ad for two audiences, drawn from general
interests by `--seed`. A judge that sees the copy alone (the encoder's cosine to each audience's names) says for which
of the two it is: `audience_named`. Chance is .5 by construction: each ad is judged once for either. `p_value`: of a
fair coin doing as well (one-sided binomial). Only copy that came from the model and through the gate counts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from infra.evaluate.copy_task import CHANNEL, TIMEOUT, product_ad
from infra.evaluate.rows import read_jsonl
from infra.evaluate.writer import endpoint, open_writer
from shared.domain import Ad, Copy
from shared.generating.prompts import may_generate
from shared.generating.requests import Brief
from shared.models.encoder import Encoder
from shared.preprocess import match_key
from shared.settings import Settings

SAMPLE = Path(__file__).resolve().parents[1] / "sample"

# Names of general interests, Chinese and English; none is sensitive.
AUDIENCES: tuple[tuple[str, str], ...] = (
    ("露营", "Camping"), ("跑步", "Running"), ("烹饪", "Cooking"), ("摄影", "Photography"), ("亲子", "Parenting"),
    ("宠物", "Pets"), ("音乐", "Music"), ("旅行", "Travel"), ("园艺", "Gardening"), ("职场", "Careers"),
    ("阅读", "Books"), ("电子游戏", "Video Gaming"), ("家居装饰", "Home Decorating"), ("汽车", "Cars"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """One ad written for two audiences; None where none of the model's copy came through the gate."""

    ad: Ad
    audiences: tuple[tuple[str, str], tuple[str, str]]
    copies: tuple[Copy | None, Copy | None]


def run(ads: Path | None, limit: int, seed: int, budget_seconds: float | None, console: Console) -> dict[str, Any]:
    """Writes, judges and prints; the figures."""
    chosen = _ads(ads, limit, seed)
    settings = Settings.from_env()
    rng = random.Random(seed)
    pairs: list[Pair] = []
    began = time.monotonic()
    with endpoint(settings) as engine:
        writer = open_writer(settings, engine)

        def best(ad: Ad, audience: tuple[str, ...]) -> Copy | None:
            copies = writer.write("-", Brief(ad, ad.language, CHANNEL, 1, audience=audience), TIMEOUT).copies
            return next((copy for copy in copies if copy.served_by == "llm"), None)

        for ad in chosen:
            if budget_seconds is not None and time.monotonic() - began > budget_seconds:
                break
            first, second = rng.sample(AUDIENCES, 2)
            place = 0 if ad.language == "zh" else 1
            pairs.append(Pair(ad, (first, second), (best(ad, (first[place],)), best(ad, (second[place],)))))
    figures = judge(pairs, Encoder.load(settings.artifacts_dir / "encoder", threads=settings.threads))
    _print(pairs, console)
    return figures | {"model": engine.name, "prompt": engine.style}


def judge(pairs: Sequence[Pair], encoder: Any) -> dict[str, Any]:
    """The figures of pairs that are already written. encoder: texts -> float32 (n, d), unit length."""
    names = {audience: encoder.encode(list(audience), "query").mean(axis=0) for audience in AUDIENCES}
    centre = np.mean(list(names.values()), axis=0)  # what all names share says nothing about which one it is

    def says_first(text: str, pair: Pair) -> bool:
        vector = encoder.encode([text], "query")[0]
        first, second = (_unit(names[audience] - centre) for audience in pair.audiences)
        return bool(vector @ first > vector @ second)

    right = [
        says_first(copy.text, pair) == (place == 0)
        for pair in pairs
        for place, copy in enumerate(pair.copies)
        if copy is not None
    ]
    both = [pair.copies for pair in pairs if pair.copies[0] is not None and pair.copies[1] is not None]
    different = [match_key(a.text) != match_key(b.text) for a, b in both if a is not None and b is not None]
    return {
        "ads": len(pairs),
        "written_for_both": len(both),
        "different": round(float(np.mean(different)), 4) if different else None,
        "audience_named": round(float(np.mean(right)), 4) if right else None,
        "judged": len(right),
        "p_value": float(binomtest(sum(right), len(right), 0.5, alternative="greater").pvalue) if right else None,
        "baselines": {"chance": {"audience_named": 0.5}},
    }


def _unit(vector: Any) -> Any:
    return vector / max(1e-9, float(np.linalg.norm(vector)))


def _ads(path: Path | None, limit: int, seed: int) -> list[Ad]:
    """Ads that a model may write for, drawn by the seed; the sample catalogue's where no file is given."""
    files = [path] if path is not None else sorted(SAMPLE.glob("ads_*.jsonl"))
    ads = [product_ad(row, number) for file in files for number, row in enumerate(read_jsonl(file))]
    ads = [ad for ad in ads if may_generate(ad)]
    random.Random(seed).shuffle(ads)
    return ads[:limit]


def _print(pairs: Sequence[Pair], console: Console) -> None:
    table = Table("ad", "for", "copy", title="examples")
    for pair in pairs[:8]:
        place = 0 if pair.ad.language == "zh" else 1
        for audience, copy in zip(pair.audiences, pair.copies, strict=True):
            table.add_row(pair.ad.title[:32], audience[place], copy.text if copy else "-")
    console.print(table)
