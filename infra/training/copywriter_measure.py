"""What an adapter is worth, and whether it repeats what it learnt.

Quality, on ads it was not trained on: how many candidates may be shown. Memorisation: how many candidates for one ad
repeat a training copy of another, which is both wrong about the ad and somebody's text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NoReturn

from infra.training.copywriter_pairs import CHANNEL, Pair
from shared.domain import Ad, Wording
from shared.generating.form import tidy
from shared.generating.gate import Gate
from shared.generating.prompts import repeats_example
from shared.policy.claims import unsupported
from shared.policy.rules import check
from shared.preprocess import match_key

GRAM = 4  # characters
REPEATED = 0.6  # share of a text that stands in another
OWN_WORDS = 0.8  # overlap with title or description from which a candidate says nothing of its own


@dataclass(frozen=True)
class Candidate:
    """A text written for an ad, its readers and a channel."""

    ad: Ad
    text: str
    audience: tuple[str, ...] = ()
    channel: str = CHANNEL


@dataclass(frozen=True)
class Quality:
    """Shares of the candidates. `language`: written in the ad's; `true`: no unsupported claim; `lawful`: no blocking
    finding; `passed`: the gate has nothing against it (whether it is about its ad apart, which needs the encoder);
    `own`: no copy of title or description; `usable`: passed and own. `answered`: share of the requests with a usable
    candidate. `distinct_2`: different pairs of words (of characters in Chinese) among all pairs."""

    candidates: int
    language: float
    true: float
    lawful: float
    passed: float
    own: float
    usable: float
    answered: float
    distinct_2: float


@dataclass(frozen=True)
class Memorised:
    """Shares of the candidates that repeat a training copy of another ad (`repeats`), that are one word for word
    (`verbatim`), and that are a training copy of their own ad (`own_verbatim`). `examples`: (written, training
    copy)."""

    candidates: int
    repeats: float
    verbatim: float
    own_verbatim: float
    examples: tuple[tuple[str, str], ...] = ()

    def figures(self) -> dict[str, float]:
        """The shares."""
        return {name: value for name, value in asdict(self).items() if name != "examples"}


def quality(candidates: Sequence[Candidate], wording: Wording = "quoted") -> Quality:
    """The shares over `candidates`, of which there must be one; the gate is asked without the ledger's readers."""
    gate = Gate(_unneeded, _unneeded, check, wording=wording)
    rows = []
    answered: dict[tuple[str, tuple[str, ...], str], bool] = {}
    for one in candidates:
        text = tidy(one.text, one.ad, one.ad.language)
        reasons, claims = gate.reasons(
            text, one.ad, one.ad.language, channel=one.channel, audience=one.audience, author="model"
        )
        passes = not (reasons or repeats_example(text, one.ad, one.ad.language))
        passes = passes and match_key(text) != match_key(one.ad.title)
        differs = bool(text) and max(overlap(text, one.ad.title), overlap(text, one.ad.description)) < OWN_WORDS
        rows.append(
            (
                not any(reason.startswith(("empty", "not in ")) for reason in reasons),
                not unsupported(list(claims)),
                not any(reason.startswith("policy ") for reason in reasons),
                passes,
                differs,
                passes and differs,
            )
        )
        request = one.ad.ad_id, one.audience, one.channel
        answered[request] = rows[-1][-1] or answered.get(request, False)
    language, true, lawful, passed, own, usable = (
        round(sum(column) / len(rows), 4) for column in zip(*rows, strict=True)
    )
    share = round(sum(answered.values()) / len(answered), 4)
    different = round(distinct_2([one.text for one in candidates]), 4)
    return Quality(len(rows), language, true, lawful, passed, own, usable, share, different)


def _unneeded() -> NoReturn:
    raise AssertionError("judging a text alone needs no model")


def overlap(text: str, source: str) -> float:
    """Share of the text's characters that stand in `source` in the same order, 0 to 1."""
    first, second = match_key(text), match_key(source)
    if not first:
        return 0.0
    blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(first)


def distinct_2(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words (characters, in Chinese) among all pairs."""
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = text.lower().split() if text.isascii() else list(match_key(text))
        pairs.update(pairwise(words))
    return len(pairs) / max(1, pairs.total())


def memorised(candidates: Sequence[Candidate], training: Sequence[Pair]) -> Memorised:
    """Compares each candidate with every training copy: shared 4-grams of characters and the longest common run.

    A copy counts as repeated where either reaches `REPEATED` of the candidate.
    """
    keys = [match_key(pair.copy) for pair in training]
    places: dict[str, set[int]] = defaultdict(set)
    for place, key in enumerate(keys):
        for gram in _grams(key):
            places[gram].add(place)
    repeats = verbatim = own = 0
    examples = []
    for one in candidates:
        key = match_key(one.text)
        grams = _grams(key)
        shared = Counter(place for gram in grams for place in places.get(gram, ()))
        others = [place for place in shared if training[place].ad.ad_id != one.ad.ad_id]
        own += any(keys[place] == key and training[place].ad.ad_id == one.ad.ad_id for place in shared)
        verbatim += any(keys[place] == key for place in others)
        found = next((place for place in others if _repeats(key, keys[place], shared[place] / len(grams))), None)
        if found is not None:
            repeats += 1
            examples.append((one.text, training[found].copy))
    total = max(1, len(candidates))
    shown = tuple(examples[:10])
    return Memorised(
        len(candidates), round(repeats / total, 4), round(verbatim / total, 4), round(own / total, 4), shown
    )


def _repeats(text: str, copy: str, share: float) -> bool:
    if share >= REPEATED:
        return True
    if share < REPEATED / 2:  # a run that long would share more
        return False
    run = SequenceMatcher(None, text, copy, autojunk=False).find_longest_match()
    return run.size >= REPEATED * len(text)


def _grams(key: str) -> set[str]:
    return {key[place : place + GRAM] for place in range(max(1, len(key) - GRAM + 1))} if key else set()
