"""Next-item ranking on purchase or view histories: ``python -m infra.evaluate rank --items F --events F``.

The last item of a user is the test, the one before it validation; every item is ranked. Ours is the next-item model
that is served (`infra.training.next_item`): settings are found on validation, never on the test, and the model is then
fitted on everything but the test.

Baselines: popularity; co_occurrence (plain, with the last item); transitions (distance-weighted, tuned on the same
validation); content alone (the decayed mean of the history's vectors, which is what the serving ranker's similarity is
made of). `as_remembered`: ours where a history is what a profile remembers of it, also of what is left out because it
was seen. ``--unordered`` shuffles every history: a domain where order says nothing. `cold_items` holds items out of the
training and measures those alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from infra.evaluate.histories import read_histories
from infra.training import next_item
from infra.training.next_item_figures import Ranked, measure
from infra.training.next_item_mixture import content, net_scores
from infra.training.sequence import Plan, centred
from infra.training.transitions import BATCH, Transitions, histories_matrix
from shared.models.features import LONGEST_HISTORY

SECONDS = 1500.0  # for all of it, where no budget is named
MEMBERS = 4  # nets that are averaged, where there is time; one that serves has fewer, for they cost at each request
DECAYS = (0.6, 0.8, 0.95)  # of content
TUNING_USERS = 4000

Encode = Callable[[list[str]], np.ndarray]


def popularity(histories: Sequence[np.ndarray], items: int, users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """How often each item was taken, (batch, items)."""
    counts = np.bincount(np.concatenate(histories), minlength=items).astype(np.float32)
    for start in range(0, len(users), BATCH):
        yield np.tile(counts, (len(users[start : start + BATCH]), 1))


def co_occurrence(histories: Sequence[np.ndarray], items: int, users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """How many users have both the item and the person's last one, (batch, items)."""
    pairs = histories_matrix(histories, items, 1.0, length=10**6)
    pairs.data[:] = 1
    last = histories_matrix([user[-1:] for user in users], items, 1.0)
    for start in range(0, len(users), BATCH):
        block: sp.csr_matrix = last[start : start + BATCH]
        yield np.asarray(((block @ pairs.T) @ pairs).todense(), dtype=np.float32)


def as_remembered(history: np.ndarray) -> np.ndarray:
    """The turns of a history (item numbers, oldest first) that a profile remembers (`shared.domain.turns`)."""
    return history[np.append(history[1:] != history[:-1], True)][-LONGEST_HISTORY:]


def run(
    items: Path,
    events: Path,
    encode: Encode,
    *,
    k: int = 10,
    seed: int = 0,
    budget_seconds: float | None = None,
    plan: Plan | None = None,
    unordered: bool = False,
) -> dict[str, Any]:
    """Measures; see the module's docstring for what and against what.

    unordered: every history in an order of chance, as in a domain where order says nothing.
    """
    began = time.monotonic()
    histories, texts = read_histories(items, events)
    if unordered:
        histories = histories.shuffled(np.random.default_rng(seed))
    vectors = encode(texts)
    training, targets = histories.cut(1)
    budget = budget_seconds or SECONDS
    reading = time.monotonic() - began
    fitted = next_item.fit(
        training,
        histories.item_ids,
        vectors,
        seed=seed,
        deadline=began + max(0.85 * budget, min(reading + 10, budget)),
        say=lambda line: print(f"{time.monotonic() - began:.0f} s: {line}", file=sys.stderr, flush=True),
        plan=plan,
        members=MEMBERS,
    )
    trained = time.monotonic() - began

    def test(scores: Iterator[np.ndarray]) -> Ranked:
        return measure(scores, training, targets, k, fitted.exclude_seen, histories.items)

    ours = test(fitted.scores(training))
    remembered = [as_remembered(history) for history in training]
    served = measure(fitted.scores(remembered), remembered, targets, k, fitted.exclude_seen, histories.items)
    texts_only = centred(vectors, vectors.mean(axis=0))
    decay = _content_decay(texts_only, histories.cut(2), k, fitted.exclude_seen, seed)
    transitions = Transitions(training, histories.items)
    return {
        **ours.rounded(),
        "coverage": round(ours.coverage, 4),
        "users": len(training),
        "k": k,
        "excluded_seen": fitted.exclude_seen,
        "validation_repeats": fitted.figures["repeats"],
        "settings": fitted.figures,
        "as_remembered": served.rounded(),
        "sequence_alone": test(net_scores(fitted.nets, training)).rounded(),
        "seconds_training": round(trained, 1),
        "seconds": round(time.monotonic() - began, 1),
        "baselines": {
            "popularity": test(popularity(training, histories.items, training)).rounded(),
            "co_occurrence": test(co_occurrence(training, histories.items, training)).rounded(),
            "transitions": test(transitions.scores(training, fitted.baseline)).rounded(),
            "content": test(content(texts_only, training, decay)).rounded(),
        },
    }


def _content_decay(
    vectors: np.ndarray, validation: tuple[list[np.ndarray], np.ndarray], k: int, exclude_seen: bool, seed: int
) -> float:
    """The decay of content that validation likes best."""
    fitting, targets = validation
    sample = np.random.default_rng(seed).permutation(len(fitting))[:TUNING_USERS]
    users = [fitting[place] for place in sample]

    def value(decay: float) -> float:
        return measure(content(vectors, users, decay), users, targets[sample], k, exclude_seen, len(vectors)).ndcg

    return max(DECAYS, key=value)
