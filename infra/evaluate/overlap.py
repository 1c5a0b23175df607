"""How far texts repeat one another: measures for copy. Characters of Chinese, words of English are the units."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from shared.generating.repeats import copied_share

__all__ = ["copied_share", "distinct_2", "rouge_bleu", "units"]

_HAN = re.compile(r"[\u3400-\u9fff]")


def units(text: str, language: str) -> list[str]:
    """Characters of Chinese (Latin words whole), lower-case words of English."""
    pattern = r"[\u3400-\u9fff]|[A-Za-z0-9]+" if language == "zh" else r"[a-z0-9']+"
    return re.findall(pattern, text if language == "zh" else text.lower())


def distinct_2(texts: Sequence[str]) -> float:
    """Different bigrams over all bigrams (Li et al. 2016, "A Diversity-Promoting Objective Function", section 5)."""
    grams: Counter[tuple[str, str]] = Counter()
    for text in texts:
        grams.update(pairwise(units(text, "zh" if _HAN.search(text) else "en")))
    return len(grams) / grams.total() if grams else 0.0


def rouge_bleu(text: str, reference: str, language: str) -> tuple[float, float]:
    """ROUGE-L (F1) and BLEU-4 (add-one smoothed, with brevity penalty) of one text."""
    ours, theirs = units(text, language), units(reference, language)
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
