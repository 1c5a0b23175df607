"""The gate before a ranker goes into service: what would it have earned, by the decision log?

    python -m infra.gate --tenant demo --candidate FOLDER             # the tenant's log and ranker, in the bucket
    python -m infra.gate --log 'logs/*.jsonl.gz' --candidate FOLDER --current none --ads ads.jsonl
    python -m infra.gate --tenant demo --candidate FOLDER --promote   # judges, and promotes where the verdict lets it
    python -m infra.gate --tenant demo --candidate FOLDER --promote --no-log    # by the verdict that is there

Scores each logged decision's candidates with the candidate ranker and with the current one, rebuilds both slates under
the logged exploration and estimates the clicks per decision of both, and their difference, by IPS, SNIPS and DR, with
intervals over people. A table goes to stderr, one JSON object to the last line of stdout, the verdict with its figures
to ``verdict.json`` in the candidate's folder. Exit status 0: promote; 3: hold (not known yet); 4: refuse (worse, no
support, or no such verdict); 1: the log or an artefact cannot be used; 2: wrong arguments.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from infra.ope import sources
from infra.ope.comparison import Compared, compare
from infra.ope.decisions import WINDOW, Decided, Told, read
from infra.ope.scorers import ContentScorer, Scorer, TrainedScorer
from infra.ope.slates import CLICK_MODELS, ClickModelName
from infra.ope.verdict import DECIDES, ESTIMATOR, Demands, Verdict, figures, judge, rows
from shared import promotion
from shared.domain import FEEDBACK_TYPES
from shared.errors import AdTailorError, BadInput, Forbidden
from shared.models.artifacts import MANIFEST, load_manifest, sha256
from shared.models.features import first_places
from shared.models.trained_ranker import KIND
from shared.settings import Settings
from shared.trained import fetch

if TYPE_CHECKING:
    from shared.stores.objects import Objects

EXIT = {Verdict.PROMOTE: 0, Verdict.HOLD: 3, Verdict.REFUSE: 4}
SERVED = "served"
_USUAL = Demands()
METRICS = tuple(kind for kind in FEEDBACK_TYPES if kind in ("click", "conversion"))


def main(
    candidate: Annotated[Path, typer.Option(exists=True, file_okay=False, help="folder of the ranker to judge")],
    log: Annotated[list[str] | None, typer.Option(help="files, globs or s3://… of the log; else the tenant's")] = None,
    current: Annotated[str, typer.Option(help="folder of the ranker to beat, `served` or `none` (content)")] = SERVED,
    tenant: Annotated[str | None, typer.Option()] = None,
    metric: Annotated[str, typer.Option(help=" or ".join(METRICS))] = METRICS[0],
    ads: Annotated[list[Path] | None, typer.Option(help="ads and items with texts, where no tenant has them")] = None,
    click_model: Annotated[str, typer.Option(help=" or ".join(CLICK_MODELS))] = DECIDES,
    margin: Annotated[float, typer.Option(min=0, max=0.5, help="share of clicks that may be lost")] = _USUAL.margin,
    least_decisions: Annotated[float, typer.Option(min=1, help="effective")] = _USUAL.decisions,
    least_clicks: Annotated[float, typer.Option(min=1, help="effective")] = _USUAL.clicks,
    least_people: Annotated[float, typer.Option(min=1, help="effective")] = _USUAL.people,
    window_hours: Annotated[float, typer.Option(min=0, help="in which a click counts")] = WINDOW / 3600,
    promote: Annotated[bool, typer.Option("--promote", help="put it into service where the verdict lets it")] = False,
    no_log: Annotated[bool, typer.Option("--no-log", help="promote by the verdict that is there")] = False,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Judges a ranker by the decision log, and promotes it."""
    console = Console(stderr=True)
    if metric not in METRICS or click_model not in CLICK_MODELS:
        raise typer.BadParameter(f"--metric {' or '.join(METRICS)}, --click-model {' or '.join(CLICK_MODELS)}")
    if promote and tenant is None:
        raise typer.BadParameter("whose ranker? --tenant is needed", param_hint="--promote")
    if no_log and not promote:
        raise typer.BadParameter("without a log there is nothing to do but --promote", param_hint="--no-log")
    try:
        objects = _objects() if tenant is not None or any(one.startswith("s3://") for one in log or ()) else None
        answer: dict[str, Any] = {}
        status = 0
        if not no_log:
            demands = Demands(margin, least_decisions, least_clicks, least_people)
            names, others = sources.names_of(log or (), objects, tenant)
            if others:
                console.print(f"{others:,} files of other tenants: left out", highlight=False)
            decided, told = read(
                sources.opened(names, objects), now=time.time(), window=window_hours * 3600, metric=metric
            )
            for note in told.notes():
                console.print(note, highlight=False, markup=False)
            folder = _current(current, objects, tenant)
            answer = evaluate(
                decided,
                told,
                candidate,
                folder,
                _vectors(decided, ads, tenant, objects, console),
                tenant=tenant,
                metric=metric,
                demands=demands,
                click_model=CLICK_MODELS[CLICK_MODELS.index(click_model)],
                seed=seed,
                console=console,
            )
            status = EXIT[Verdict(answer["verdict"])]
            promotion.write_verdict(candidate, answer)
        if promote and objects is not None and tenant is not None:
            answer |= _promoted(candidate, objects, tenant, console)
            status = 0 if answer["promoted"] else status or EXIT[Verdict.REFUSE]
    except (AdTailorError, ValueError, OSError) as error:
        console.print(f"gate: {error}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1) from None
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if status:
        raise typer.Exit(status)


def evaluate(
    decided: Sequence[Decided],
    told: Told,
    candidate: Path,
    current: Path | None,
    vectors: Mapping[str, np.ndarray],
    *,
    tenant: str | None,
    metric: str = METRICS[0],
    demands: Demands | None = None,
    click_model: ClickModelName = DECIDES,
    seed: int = 0,
    console: Console | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """The verdict's document. current: folder of the ranker to beat; None: the content ranker.

    Raises:
        ArtifactError: a ranker must not serve. BadInput: the log holds no decision at all.
    """
    demands = demands or Demands()
    # What a ranker was trained on cannot tell how good it is.
    seen = max(
        (
            load_manifest(one).metadata.get("clicks", {}).get("log", {}).get("until", 0.0)
            for one in (candidate, current)
            if one
        ),
        default=0.0,
    )
    known = len(decided)
    decided = [one for one in decided if one.at > seen]
    if console is not None and len(decided) < known:
        console.print(f"{known - len(decided):,} decisions were trained on: left out", highlight=False)
    catalogue = sorted({one.ad_id for decision in decided for one in decision.candidates})
    challenger: Scorer = TrainedScorer(candidate, vectors, catalogue)
    holder: Scorer = ContentScorer() if current is None else TrainedScorer(current, vectors, catalogue)
    document: dict[str, Any] = {
        "tenant": tenant,
        "metric": metric,
        "at": time.time() if now is None else now,
        "click_model": click_model,
        "estimator": ESTIMATOR,
        "demands": asdict(demands),
        "candidate": {"version": challenger.version, "manifest_sha256": sha256(candidate / MANIFEST)},
        "current": {
            "version": promotion.NONE if current is None else holder.version,
            "scored_by": holder.version,
        },
        "log": {
            "sha256": told.digest,
            "lines": told.lines,
            "decisions": len(decided),
            "share_of_people": told.share,
            "trained_on": known - len(decided),
            "young": told.young,
            "unseen": told.unseen,
            "without_exploration": told.without_exploration,
            "redrawn": told.redrawn,
            "rankers": dict(told.rankers),
            "bad": dict(told.bad),
        },
    }
    if not decided and known:
        verdict, reasons = Verdict.HOLD, ["the ranker was trained on all of the log: judge it by what came later"]
        measured: dict[str, Any] = {}
    elif not decided:
        if not told.without_exploration:
            raise BadInput("the log holds no decision that can be used", field="log")
        verdict, reasons = Verdict.REFUSE, ["the log is without exploration: no support for any other policy"]
        measured = {}
    else:
        compared = compare(decided, challenger, holder, seed=seed)
        verdict, reasons = judge(compared, demands, click_model)
        measured = figures(compared)
        if console is not None:
            console.print(_table(compared, challenger.version, holder.version))
    if console is not None:
        for reason in reasons:
            console.print(f"{verdict}: {reason}", highlight=False, markup=False)
    return {"verdict": str(verdict), "reasons": reasons, **document, **measured}


def _table(compared: Compared, candidate: str, current: str) -> Table:
    table = Table(
        "click model",
        "estimator",
        f"candidate {candidate}",
        f"current {current}",
        "difference",
        "95 %",
        "effective decisions",
        "effective clicks",
        title="clicks per decision",
    )
    for row in rows(compared):
        table.add_row(*row)
    logged = compared.logged
    table.add_row(
        "as logged", "mean", "", f"{logged.estimate:.4f}", "", f"{logged.low:.4f} to {logged.high:.4f}", "", ""
    )
    return table


def _promoted(candidate: Path, objects: Objects, tenant: str, console: Console) -> dict[str, Any]:
    try:
        prefix = promotion.promote(candidate, objects, tenant)
    except Forbidden as error:
        console.print(error.detail, style="bold red", highlight=False, markup=False)
        return {"promoted": False, "promotion": error.detail}
    console.print(f"in service: s3://{objects.bucket}/{prefix}", highlight=False)
    return {"promoted": True, "promotion": f"s3://{objects.bucket}/{prefix}"}


def _objects() -> Objects:
    return sources.bucket(Settings.from_env().bucket_name)


def _current(current: str, objects: Objects | None, tenant: str | None) -> Path | None:
    """Folder of the ranker to beat; None: the content ranker."""
    if current == promotion.NONE:
        return None
    if current != SERVED:
        load_manifest(Path(current))
        return Path(current)
    if tenant is None or objects is None:
        return None
    version = promotion.in_service(objects, tenant)
    return None if version is None else fetch(objects, tenant, KIND, version)


def _vectors(
    decided: Sequence[Decided],
    files: Sequence[Path] | None,
    tenant: str | None,
    objects: Objects | None,
    console: Console,
) -> Mapping[str, np.ndarray]:
    """Vectors of the log's ads and items, from files or from the tenant's own stores."""
    ad_ids = {one.ad_id for decision in decided for one in decision.candidates}
    items = {decision.history[place] for decision in decided for place in first_places(decision.history)}
    wanted = sorted(ad_ids | items)
    found: Mapping[str, np.ndarray] = {}
    if files:
        found = sources.written_vectors(files, wanted)
    elif tenant is not None and objects is not None:
        from shared.wiring import system

        found = sources.stored_vectors(system(), tenant, sorted(items | ad_ids))
    missing = sum(name not in found for name in wanted)
    if missing:
        console.print(f"{missing:,} of {len(wanted):,} ads and items have no vector here", highlight=False)
    return found


if __name__ == "__main__":
    typer.run(main)
