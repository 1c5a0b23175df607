"""Whether a trained head is worth serving: its figures against chance."""

from __future__ import annotations

from scipy.stats import binomtest

CHANCE = 0.05  # a head that guesses is taken for one that learned as seldom as this
LEAST_ANSWERED = 0.1


def interval95(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` > 0 rows (Wilson 1927), rounded to four places."""
    found = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return round(float(found.low), 4), round(float(found.high), 4)


def useless(accuracy: float, n: int, majority_share: float, *, answered: float = 1.0) -> str | None:
    """A sentence where the head, as served, should not be trusted; None where it may be.

    The rule: on `n` development rows its accuracy must be higher than `majority_share` (the share, of the same rows, of
    the label that is most frequent in training) by more than chance explains (one-sided binomial test, p < .05), and it
    must answer, instead of abstaining, on at least a tenth of them (`answered`).
    """
    right = round(accuracy * n)
    if n == 0:
        return "There were no development rows: nobody knows what this head is worth."
    if binomtest(right, n, min(max(majority_share, 0.0), 1.0), alternative="greater").pvalue >= CHANCE:
        return (
            f"This head is right on {right:,} of {n:,} development rows ({accuracy:.1%}); always giving the most "
            f"frequent label would be right on {majority_share:.1%}. The difference may be chance: do not serve it. "
            "It needs more rows a label, cleaner labels, or texts that tell the labels apart."
        )
    if answered < LEAST_ANSWERED:
        return (
            f"This head abstains on {1 - answered:.1%} of the development rows: it is sure of almost nothing. "
            "It needs more rows a label, or fewer labels."
        )
    return None
