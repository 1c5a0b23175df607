"""Whether a candidate ranker may be promoted, by what the log says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from infra.ope.comparison import Compared
from infra.ope.slates import ClickModelName

DECIDES: ClickModelName = "position-based"
ESTIMATOR = "dr"
MOST_UNSUPPORTED = 0.05  # of the candidate's chances that the log may know nothing about
STRANGE_CONTROL = 4.0  # standard errors by which the weights' mean may miss 1 before the propensities are doubted


class Verdict(StrEnum):
    """promote: not worse, by the interval. hold: not known yet. refuse: worse, or the log cannot tell."""

    PROMOTE = "promote"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Demands:
    """What a promotion takes. margin: by how much of the current ranker's clicks the candidate may be worse; decisions,
    clicks and people: the least effective sample sizes."""

    margin: float = 0.02
    decisions: float = 200.0
    clicks: float = 30.0
    people: float = 40.0  # an interval over fewer is too narrow: of 20 equal ones it covers 92 to 94 %


def judge(compared: Compared, demands: Demands, click_model: ClickModelName = DECIDES) -> tuple[Verdict, list[str]]:
    """The verdict and why, in sentences."""
    judged = compared.judged[click_model]
    difference, now, other = judged.difference[ESTIMATOR], judged.current[ESTIMATOR], judged.candidate[ESTIMATOR]
    allowed = demands.margin * now.estimate
    said = (
        f"clicks per decision, {ESTIMATOR.upper()}: candidate {other.estimate:.4f}, current {now.estimate:.4f}, "
        f"difference {difference.estimate:+.4f} (95 % {difference.low:+.4f} to {difference.high:+.4f})"
    )
    doubts = _doubts(compared, demands, click_model)
    if judged.unsupported > MOST_UNSUPPORTED:
        return Verdict.REFUSE, [
            f"{judged.unsupported:.1%} of what the candidate would show, the log could not have shown: no support"
        ]
    if abs(judged.control_z) > STRANGE_CONTROL:
        return Verdict.REFUSE, [
            f"the weights have mean {judged.control:.3f}, not 1: the logged propensities are not what happened"
        ]
    if doubts:
        return Verdict.HOLD, [*doubts, said]
    if difference.high < 0:
        return Verdict.REFUSE, [f"the candidate is worse: {said}"]
    if difference.low > -allowed:
        better = "better" if difference.low > 0 else f"not worse by more than {demands.margin:.1%}"
        return Verdict.PROMOTE, [f"the candidate is {better}: {said}"]
    return Verdict.HOLD, [f"it may be worse by more than {demands.margin:.1%}; a longer log tells more: {said}"]


def _doubts(compared: Compared, demands: Demands, click_model: ClickModelName) -> list[str]:
    """What there is too little of, for a promotion."""
    other = compared.judged[click_model].candidate[ESTIMATOR]
    now = compared.judged[click_model].current[ESTIMATOR]
    found = []
    if compared.people < demands.people:
        found.append(f"the log is worth {compared.people:,.0f} people; {demands.people:,.0f} are wanted")
    size = min(other.effective_sample_size, now.effective_sample_size)
    clicks = min(other.effective_clicks, now.effective_clicks)
    if size < demands.decisions:
        found.append(f"the log is worth {size:,.0f} decisions for these two; {demands.decisions:,.0f} are wanted")
    if clicks < demands.clicks:
        found.append(f"the log is worth {clicks:,.0f} clicks for these two; {demands.clicks:,.0f} are wanted")
    return found


def figures(compared: Compared) -> dict[str, Any]:
    """All of it, for the verdict's file."""
    models: dict[str, Any] = {}
    for name, judged in compared.judged.items():
        models[name] = {
            "estimators": {
                estimator: {
                    "candidate": asdict(judged.candidate[estimator]),
                    "current": asdict(judged.current[estimator]),
                    "difference": asdict(judged.difference[estimator]),
                }
                for estimator in judged.difference
            },
            "clipping": {"candidate": asdict(judged.clipping[0]), "current": asdict(judged.clipping[1])},
            "unsupported": judged.unsupported,
            "mean_weight": judged.control,
            "mean_weight_z": judged.control_z,
        }
    return {
        "decisions": compared.decisions,
        "people": compared.people,
        "shown": compared.shown,
        "clicks": compared.clicks,
        "logged": asdict(compared.logged),
        "examination": list(compared.examination),
        "moved": compared.moved,
        "click_models": models,
    }


def rows(compared: Compared) -> Sequence[tuple[str, ...]]:
    """The figures as rows of a table: click model, estimator, candidate, current, difference, its interval, sizes."""
    found = []
    for name, judged in compared.judged.items():
        for estimator, between in judged.difference.items():
            other, now = judged.candidate[estimator], judged.current[estimator]
            found.append(
                (
                    name,
                    estimator.upper(),
                    f"{other.estimate:.4f}",
                    f"{now.estimate:.4f}",
                    f"{between.estimate:+.4f}",
                    f"{between.low:+.4f} to {between.high:+.4f}",
                    f"{other.effective_sample_size:,.0f}",
                    f"{other.effective_clicks:,.0f}",
                )
            )
    return found
