"""Heads of few rows where fine-tuning was not surely better than what it began with: few-shot heads on untouched
encoders.

Nothing is back-propagated any more, so that every row can be learned from and every row can judge: by cross-validation
the logits of each come from heads and n-grams that were fitted without it. All encoders that are at hand have a
few-shot head already. The weights of their sum, of the n-grams, the temperature and the threshold are found on all
rows, by models of four fifths of what the last ones learn from: on the development rows alone the n-grams' weight would
be chance, and a temperature for models of half as many rows too low.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from infra.training import distributed, finetune, loop, ngrams
from infra.training.calibrate import losses, temperature
from infra.training.choice import Choice, Decided, choose
from infra.training.fewshot import FewShot
from infra.training.frozen import refit_head
from infra.training.labels import Rows
from infra.training.material import FROZEN_TOKENS, Material
from infra.training.members import Member, mixture

SURE = 2.0  # standard errors
MOST_ROWS = 4000  # n-grams are fitted five times more; with more rows those of development are enough


def suit(team: Sequence[Member], materials: Mapping[str, Material], rows: int) -> bool:
    """Whether this is the case: few rows a label, few `rows` in all, and on the development rows the trained members
    are not surely better than all few-shot heads that they and others begin with, by two standard errors."""
    first = team[0].material
    if rows > MOST_ROWS or first.few is None:
        return False
    if not any(one.outcome.reached for one in team):
        return True
    truth = first.dev_classes
    begun = [one.frozen.standard(one.frozen.dev_vectors) @ one.start[0].T + one.start[1] for one in materials.values()]
    gain = _losses(begun, truth) - _losses([one.deep for one in team], truth)
    return bool(gain.mean() < SURE * gain.std() / math.sqrt(max(len(gain), 1)))


def _losses(logits: Sequence[NDArray[np.float32]], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the best sum at its best temperature."""
    summed = np.asarray(sum(weight * one for weight, one in zip(mixture(logits, truth), logits, strict=True)))
    return losses(summed / temperature(summed, truth), truth)


def together(team: Sequence[Member], materials: Mapping[str, Material], rows: Rows, dev: Rows | None) -> Decided:
    """The head of all rows. dev: rows that are learned from too, None where they are not.

    The members that the team lacks join it, where they have vectors of the same rows.
    """
    first = team[0].material
    whole = (rows if dev is None else rows + dev).classes(first.labels)
    found = {one.name: one for one in team}
    for name, material in materials.items():
        if name not in found and np.array_equal(material.frozen.places, first.frozen.places):
            found[name] = Member(name, material, replace(team[0].planned, layers=1))
            found[name].outcome = loop.Outcome(0.0, "not begun", 0, 0, 0.0, [])
    heads = []
    for one in found.values():
        material = one.material
        if dev is not None:
            refit = partial(refit_head, material.frozen, material.linear, whole, len(rows))
            material.linear = distributed.on_first(refit)  # only compared with
            material.begin(with_dev=True)
        one.planned = replace(one.planned, length=FROZEN_TOKENS)  # of so many tokens are the vectors
        one.outcome = replace(one.outcome, reached=0.0)
        one.top = finetune.start_top(material.body, material.frozen, material.start, one.planned.layers)
        heads.append(cast(FewShot, material.few))

    places = np.concatenate([first.frozen.places, np.arange(len(rows), len(whole))])
    classes, asked, folds = whole[places], heads[0].asked, heads[0].folds
    found_weights = distributed.on_first(lambda: mixture([head.held for head in heads], classes[asked]))
    kept = [part for part in zip(found.values(), found_weights, heads, strict=True) if part[1]]
    deep = np.asarray(sum(weight * head.held for _, weight, head in kept), np.float32)
    first = kept[0][0].material  # whose tokens the n-grams are of
    ids = first.ids + (first.dev_ids if dev is not None else [])

    def choice() -> Choice:
        wide = ngrams.held_out([ids[place] for place in places], classes, len(first.labels), folds, asked)
        return choose(deep, wide, classes[asked])

    chosen = distributed.on_first(choice)
    wide = distributed.on_first(lambda: ngrams.fit(ids, whole, len(first.labels)))
    return Decided([one for one, *_ in kept], [weight for _, weight, _ in kept], wide, chosen, dev is not None)
