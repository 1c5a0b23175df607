"""Decision logs of a made-up world whose click probabilities are known: what a click model is tried on before there is
traffic, and what the tests hold it against.

People are drawn to a few topics, more to what they last had to do with; ads have a topic, a text and a quality of their
own; a slot further down is clicked less. Slots are filled by the policy that serves (`shared.exploration`), and lines
are written as serving writes them (`shared.decision_log`).

    python -m infra.training.simulated_clicks --out .local/simulated --decisions 20000
    python -m infra.training.train_ranker --log .local/simulated/log.jsonl.gz --ads .local/simulated/ads.jsonl
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from numpy.typing import NDArray
from scipy.special import expit, logit

from shared.decision_log import Candidate, Record, line_of, pack
from shared.domain import Decision, RankedAd
from shared.exploration import Traits, slate
from shared.models.features import FEATURES, HISTORY_ITEMS, History

DAY = 86400.0
START = 1_750_000_000.0
TOPICS = (
    *(("running", "shoes"), ("camping", "tent"), ("yoga", "mat"), ("cycling", "helmet"), ("coffee", "grinder")),
    *(("baby", "stroller"), ("gaming", "keyboard"), ("garden", "hose"), ("language", "course"), ("guitar", "strings")),
    *(("sleep", "pillow"), ("vitamin", "tablets")),
)
MAKES = ("light", "sturdy", "quiet", "small", "family", "travel", "winter", "classic", "starter", "pro")
PRIOR_IMPRESSIONS, PRIOR_RATE = 50.0, 0.1
BASE = logit(0.03)  # of an ad of middling quality that fits nobody, in the first slot
FIT, QUALITY, POSITION = 3.0, 0.6, -0.7  # weights of the true log-odds
TRUST = 2.0  # of the policy that made the log, in likeness
VERSION = "simulated"
_RECENT = 0.75 ** np.arange(HISTORY_ITEMS)
_PRIOR, _SIMILARITY = FEATURES.index("prior"), FEATURES.index("similarity")


@dataclass(frozen=True)
class World:
    """Ads (n) and people (m) and what they would click.

    vectors: of the ads, unit length, (n, 384). topic: of each ad. quality: of each ad, mean 0. tastes: probability of
    each topic (m, topics). ads_start, people_start: seconds after the log's beginning at which an ad comes, (n,), and a
    person first asks, (m,).
    """

    vectors: NDArray[np.float32]
    topic: NDArray[np.int64]
    quality: NDArray[np.float64]
    tastes: NDArray[np.float64]
    ads_start: NDArray[np.float64]
    people_start: NDArray[np.float64]
    days: float

    @classmethod
    def make(cls, *, ads: int = 120, people: int = 400, days: float = 30.0, late: float = 0.15, seed: int = 0) -> World:
        """late: share of ads and people who come in the last fifth of the time."""
        chance = np.random.default_rng([seed, 1])
        centres = _unit(chance.normal(size=(len(TOPICS), 384)))
        topic = chance.integers(len(TOPICS), size=ads)
        vectors = _unit(centres[topic] + chance.normal(size=(ads, 384)) * (0.6 / np.sqrt(384)))

        def starts(count: int) -> NDArray[np.float64]:
            return np.where(np.arange(count) < count * (1 - late), 0.0, days * DAY * chance.uniform(0.8, 0.9, count))

        tastes = chance.dirichlet(np.full(len(TOPICS), 0.2), size=people)
        quality = chance.normal(size=ads)
        return cls(vectors.astype(np.float32), topic, quality, tastes, starts(ads), starts(people), days)

    def ad_id(self, ad: int) -> str:
        return f"ad-{ad:04d}"

    def ads(self) -> list[dict[str, str]]:
        """Rows ``{"ad_id", "title"}``."""
        return [
            {"ad_id": self.ad_id(ad), "title": " ".join((MAKES[ad % len(MAKES)], *TOPICS[topic], f"no. {ad}"))}
            for ad, topic in enumerate(self.topic.tolist())
        ]

    def log_odds(self, ads: NDArray[np.int64], history: NDArray[np.int64], slot: int = 1) -> NDArray[np.float64]:
        """The true ones of a click, (len(ads),). history: ads the person had to do with, latest first."""
        weight = _RECENT[: len(history)]
        same = self.topic[ads][:, None] == self.topic[history][None]
        fit = (same @ weight) / weight.sum() if len(history) else np.zeros(len(ads))
        return np.asarray(BASE + FIT * fit + QUALITY * self.quality[ads] + POSITION * (np.log2(1 + slot) - 1))


@dataclass
class _Counts:
    shown: NDArray[np.float64]
    clicked: NDArray[np.float64]

    def log_odds(self) -> NDArray[np.float64]:
        rate = (self.clicked + PRIOR_IMPRESSIONS * PRIOR_RATE) / (self.shown + PRIOR_IMPRESSIONS)
        return np.asarray(logit(rate))


def simulate(
    world: World,
    *,
    decisions: int = 4000,
    slots: int = 3,
    epsilon: float = 0.3,
    rotation: float = 0.15,
    seed: int = 0,
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Lines of a decision log, in order of time, each with the true click probabilities of its slots."""
    chance = np.random.default_rng([seed, 2])
    count = len(world.topic)
    counts = _Counts(np.zeros(count), np.zeros(count))
    held: dict[int, list[tuple[int, float]]] = {}
    cosines = world.vectors @ world.vectors.T
    for number, at in enumerate(np.sort(chance.uniform(0, world.days * DAY, decisions)).tolist()):
        person = int(chance.choice(np.flatnonzero(world.people_start <= at)))
        living = np.flatnonzero(world.ads_start <= at)
        past = held.setdefault(person, [])
        if not past or chance.random() < 0.5:  # what they did of their own accord
            topic = chance.choice(len(TOPICS), p=world.tastes[person])
            near = living[world.topic[living] == topic]
            if len(near):
                past.append((int(chance.choice(near)), at - DAY * float(chance.uniform(0, 2))))
        latest = sorted(past, key=lambda one: -one[1])[:HISTORY_ITEMS]
        history, ages = np.array([ad for ad, _ in latest], np.int64), [(at - when) / DAY for _, when in latest]
        columns = _columns(world, counts, cosines, living, history, ages, at)
        scores = expit(columns[:, _PRIOR] + TRUST * columns[:, _SIMILARITY])
        order = np.argsort(-scores, kind="stable")
        plan = slate(scores[order], [Traits({})] * len(order), slots, epsilon=epsilon, rotation=rotation)
        shown = [(slot, place, int(living[order[place]])) for slot, place in enumerate(plan.draw(chance))]
        feedback, truth = {}, []
        for slot, _, ad in shown:
            name = world.ad_id(ad)
            truth.append(float(expit(world.log_odds(np.array([ad]), history, slot + 1)[0])))
            clicked = bool(chance.random() < truth[-1])
            feedback[f"impression/{name}"] = START + at + 1
            if clicked:  # most within minutes, some within hours
                feedback[f"click/{name}"] = START + at + 2 + min(float(chance.exponential(1800)), 20 * 3600.0)
                past.append((ad, at))
            counts.shown[ad] += 1
            counts.clicked[ad] += clicked
        candidates = [
            Candidate(
                ad_id=world.ad_id(int(living[order[place]])),
                campaign_id=None,
                category=None,
                labels=(),
                score=float(scores[order[place]]),
                slot=slot,
                propensity=plan.chances[slot][place],
                base=place == plan.base[slot],
                features=columns[order[place]].tolist(),
            )
            for place, slot in plan.places()
        ]
        decision = Decision(
            decision_id=f"decision-{number:06d}",
            uid=f"person-{person:05d}",
            at=START + at,
            ads=tuple(
                RankedAd(world.ad_id(ad), "", float(scores[order[place]]), (), propensity=plan.propensity(place, slot))
                for slot, place, ad in shown
            ),
            personalised=True,
            versions={"ranker": VERSION},
        )
        record = Record(
            domain="ecommerce",
            language="en",
            platform=None,
            placement=None,
            n=slots,
            epsilon=epsilon,
            rotation=plan.rotation,
            redraws=0,
            segments=(),
            history=[world.ad_id(ad) for ad in history.tolist()],
            history_ages=ages,
            candidates=candidates,
        )
        line = line_of(pack(record, decision), feedback)
        if line is not None:
            yield line, truth


def _columns(
    world: World,
    counts: _Counts,
    cosines: NDArray[np.float32],
    living: NDArray[np.int64],
    history: NDArray[np.int64],
    ages: list[float],
    at: float,
) -> NDArray[np.float32]:
    """The columns of every living ad, (len(living), F), the position not yet set."""
    columns = dict.fromkeys(FEATURES, np.zeros(len(living)))
    if len(history):
        cosine = cosines[np.ix_(living, history)]
        columns |= {"similarity": cosine.mean(axis=1), "history_match": cosine.max(axis=1)}
        columns["recency"] = np.full(len(living), np.log1p(max(ages[0], 0.0) * 24))
    columns |= {"prior": counts.log_odds()[living], "campaign_prior": np.full(len(living), logit(PRIOR_RATE))}
    columns["ad_age"] = np.log1p((at - world.ads_start[living]) / DAY)
    columns["activity"] = np.full(len(living), np.log1p(len(np.unique(history))))
    columns |= {"language": np.ones(len(living)), "domain": np.ones(len(living))}
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)


def history_of(world: World, line: dict[str, Any]) -> History:
    """A line's history as the click model takes it."""
    places = [int(name.rpartition("-")[2]) for name in line["history"]]
    return History(tuple(line["history"]), world.vectors[places], np.array(line["history_ages"], np.float32)).distinct()


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def main(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of log.jsonl.gz, ads.jsonl and truth.jsonl")],
    decisions: Annotated[int, typer.Option(min=1)] = 20_000,
    ads: Annotated[int, typer.Option(min=20)] = 120,
    people: Annotated[int, typer.Option(min=1)] = 400,
    days: Annotated[float, typer.Option(min=2)] = 30.0,
    late: Annotated[float, typer.Option(min=0, max=0.9, help="Share of ads and people who come late")] = 0.15,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Writes a simulated log, its ads' texts and the true click probabilities by decision."""
    world = World.make(ads=ads, people=people, days=days, late=late, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ads.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in world.ads()))
    with gzip.open(out / "log.jsonl.gz", "wb") as log, (out / "truth.jsonl").open("wb") as true:
        for line, chances in simulate(world, decisions=decisions, seed=seed):
            log.write(orjson.dumps(line) + b"\n")
            true.write(orjson.dumps({"decision_id": line["decision_id"], "clicks": chances}) + b"\n")
    print(f"{decisions:,} decisions in {out}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
