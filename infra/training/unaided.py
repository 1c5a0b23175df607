"""What the zero-shot classifier would make of a row of the tuning list if its category's hints had not known the list.

A text that nobody had in mind when the hints were written shares fewer words with the right category's hint, and as
many with the wrong ones. So of a row's accepted categories, and of these alone, the products of the hint that share a
word with the row are left out, and the label vector is the mean of the names' vectors. Names stay: they are the
taxonomy's own. Words are English ones of three letters and more, and pairs of neighbouring Chinese characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.models.classifier import Vectors, unit

if TYPE_CHECKING:
    from infra.training.label_vectors import Embedded

_ENGLISH, _CHINESE = re.compile("[a-z]{3,}"), re.compile("[\u4e00-\u9fff]+")
_COMMON = frozenset(["and", "the", "for", "with", "app", "apps", "service", "services", "product", "products"])


def words(text: str) -> frozenset[str]:
    """What two texts may share."""
    lowered = text.lower()
    pairs = (run[at : at + 2] for run in _CHINESE.findall(lowered) for at in range(len(run) - 1))
    return frozenset((*_ENGLISH.findall(lowered), *pairs)) - _COMMON


def _own_terms(made: Embedded, category: int) -> NDArray[np.int32]:
    return made.term_of[made.category_of == category]


def _names(made: Embedded) -> list[frozenset[str]]:
    return [frozenset(one.name.values()) for one in made.taxonomy.values()]


def named_share(made: Embedded) -> float:
    """The share of rows, of those about something, that share a word with a name of a category that is right."""
    names = [words(" ".join(sorted(one))) for one in _names(made)]
    about = np.flatnonzero(made.accepted.any(axis=1))
    shared = [
        any(words(f"{made.rows[place].title} {made.rows[place].text}") & names[one] for one in accepted)
        for place in about
        if len(accepted := np.flatnonzero(made.accepted[place]))
    ]
    return float(np.mean(shared))


def unaided(
    made: Embedded, asked: NDArray[np.bool_], examples: NDArray[np.bool_], scores: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """The scores of the asked rows, (asked, categories), had the hints of their own categories not known them.

    examples: the rows that are terms of their categories. scores: those with all hints. weight: of the label vector.
    """
    names, texts = _names(made), [words(term) for term in made.words]
    result = scores.copy()
    for at, place in enumerate(np.flatnonzero(asked)):
        row, query = made.rows[place], made.queries[place]
        its = words(f"{row.title} {row.text}")
        for category in np.flatnonzero(made.accepted[place]):
            own = _own_terms(made, int(category))
            named = [term for term in own if made.words[term] in names[category]]
            left = [term for term in own if term in named or not texts[term] & its]
            if len(left) == len(own):
                continue
            likes = np.flatnonzero(examples & made.accepted[:, category])
            near = np.sort(np.concatenate([made.terms[left], made.queries[likes]]) @ query)[-2:]
            label: Vectors = unit(made.terms[named].mean(axis=0))
            result[at, category] = weight * (query @ label) + (1 - weight) * near.mean()
    return result
