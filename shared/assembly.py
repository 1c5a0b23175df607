"""The catalogue in memory: what retrieval, filters and scoring need of its ads, as columns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain import DOMAINS, LANGUAGES, Ad, FrequencyCap
from shared.index import AdIndex, ad_columns
from shared.models.quantized import QuantizedVectors

QUANTIZED_FROM = 4096  # ads from which an int8 copy of the vectors pays, and the import of ONNX Runtime with it
_NO_LABELS: frozenset[str] = frozenset()
_REPEATED = ("language", "domain", "campaign_id", "brand")  # kept once, however many ads have them

Step = tuple[str, str, float]  # language, series, level


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ads with what retrieval and filters need, row by row; `places` gives an ad's row by its id.

    vectors: float32 (n, 384), unit length, in the topic space of `shared.models.classifier`, where cosines tell topics
    apart and languages do not.
    category: the label's id of each ad as a place in `categories` ("" where the classifier abstained), int (n,);
    language and domain likewise, as places in `LANGUAGES` and `DOMAINS`.
    prior: click rate, smoothed towards that of the ad's campaign, float32 (n,). campaign_prior: that one, smoothed
    towards the whole catalogue's. campaign: a place in `campaigns` ("" where the ad has none), int (n,).
    bid: `bid_cpm`, float32 (n,). labels: the ads' `exclusion_labels`.
    quantized: an int8 copy of the vectors, a quarter of their size; None where there are few.
    capped, budgeted: whether the ad has a frequency cap, a daily budget, bool (n,).
    targeting: by name (``platforms``) the rows of the ads that name any, and by value the rows of those that want it.
    sequels: rows of the ads that come right after a step (`step`) of their series.
    index: for very many ads; None where there are fewer, and until it is made.
    """

    version: str
    ads: tuple[Ad, ...]
    places: dict[str, int]
    vectors: np.ndarray
    categories: tuple[str, ...]
    category: np.ndarray
    prior: np.ndarray
    campaigns: tuple[str, ...]
    campaign: np.ndarray
    campaign_prior: np.ndarray
    bid: np.ndarray
    labels: tuple[frozenset[str], ...]
    language: np.ndarray
    domain: np.ndarray
    start: np.ndarray
    end: np.ndarray
    quantized: QuantizedVectors | None
    capped: np.ndarray
    budgeted: np.ndarray
    targeting: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]
    sequels: dict[Step, np.ndarray]
    index: AdIndex | None = None


def assemble(version: str, rows: Iterable[dict[str, Any]], vectors: np.ndarray) -> Snapshot:
    """A snapshot of rows as `shared.snapshot.build` writes them and their vectors in the topic space.

    Rows are used up one by one, so that they need not all be there at once.

    Raises:
        ValueError: there are more or fewer rows than vectors. KeyError, TypeError: a row is of another make.
    """
    columns = _Columns(len(vectors))
    for row in rows:
        columns.add(row)
    if len(columns.ads) != len(vectors):
        raise ValueError(f"{len(columns.ads)} ads and {len(vectors)} vectors")
    return columns.snapshot(version, vectors)


class _Columns:
    """Takes ads in, a row after the other: nothing here is done for all of them in one go, since whoever loads behind
    requests must be able to give way to them."""

    def __init__(self, n: int) -> None:
        self.ads: list[Ad] = []
        self._places: dict[str, int] = {}
        self._labels: list[frozenset[str]] = []
        self._categories: dict[str, int] = {}
        self._campaigns: dict[str, int] = {}
        self._category = np.zeros(n, dtype=np.intp)
        self._campaign = np.zeros(n, dtype=np.intp)
        self._language = np.zeros(n, dtype=np.int8)
        self._domain = np.zeros(n, dtype=np.int8)
        self._prior = np.zeros(n, dtype=np.float32)
        self._campaign_prior = np.zeros(n, dtype=np.float32)
        self._bid = np.zeros(n, dtype=np.float32)
        self._start = np.full(n, -np.inf)
        self._end = np.full(n, np.inf)
        self._capped = np.zeros(n, dtype=bool)
        self._budgeted = np.zeros(n, dtype=bool)
        self._named: dict[str, list[int]] = {}
        self._wanting: dict[str, dict[str, list[int]]] = {}
        self._sequels: dict[Step, list[int]] = {}

    def add(self, row: dict[str, Any]) -> None:
        place = len(self.ads)
        if place == len(self._prior):
            raise ValueError(f"more ads than the {place} vectors")
        fields = row["ad"]
        for name in _REPEATED:
            if name in fields:
                fields[name] = sys.intern(fields[name])
        if "frequency_cap" in fields:
            fields["frequency_cap"] = FrequencyCap(**fields["frequency_cap"])
            self._capped[place] = True
        if "exclusion_labels" in fields:
            fields["exclusion_labels"] = tuple(fields["exclusion_labels"])
        ad = Ad(**fields)
        self.ads.append(ad)
        self._places[ad.ad_id] = place
        self._labels.append(frozenset(ad.exclusion_labels) if ad.exclusion_labels else _NO_LABELS)
        self._category[place] = self._categories.setdefault(row["category"], len(self._categories))
        self._campaign[place] = self._campaigns.setdefault(ad.campaign_id or "", len(self._campaigns))
        self._language[place] = LANGUAGES.index(ad.language)
        self._domain[place] = DOMAINS.index(ad.domain)
        self._prior[place] = row["prior"]
        # Snapshots of older versions have no rates of campaigns.
        self._campaign_prior[place] = row.get("campaign_prior", row["prior"])
        self._bid[place] = ad.bid_cpm
        if ad.start is not None:
            self._start[place] = ad.start
        if ad.end is not None:
            self._end[place] = ad.end
        self._budgeted[place] = ad.daily_budget is not None
        for name, values in ad.targeting.items():
            self._named.setdefault(name, []).append(place)
            for value in values:
                self._wanting.setdefault(name, {}).setdefault(value, []).append(place)
        if ad.attributes and (own := step(ad)) is not None:
            language, series, level = own
            self._sequels.setdefault((language, series, level - 1), []).append(place)

    def snapshot(self, version: str, vectors: np.ndarray) -> Snapshot:
        categories, category = _in_order(self._categories, self._category)
        campaigns, campaign = _in_order(self._campaigns, self._campaign)
        return Snapshot(
            version=version,
            ads=tuple(self.ads),
            places=self._places,
            vectors=vectors,
            categories=categories,
            category=category,
            prior=self._prior,
            campaigns=campaigns,
            campaign=campaign,
            campaign_prior=self._campaign_prior,
            bid=self._bid,
            labels=tuple(self._labels),
            language=self._language,
            domain=self._domain,
            start=self._start,
            end=self._end,
            quantized=QuantizedVectors(vectors) if len(vectors) >= QUANTIZED_FROM else None,
            capped=self._capped,
            budgeted=self._budgeted,
            targeting={
                name: (
                    np.array(places),
                    {value: np.array(rows) for value, rows in self._wanting.get(name, {}).items()},
                )
                for name, places in self._named.items()
            },
            sequels={before: np.array(places) for before, places in self._sequels.items()},
        )


def _in_order(numbers: dict[str, int], column: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The names in their order, and the column of their numbers as places among them."""
    names: Sequence[str] = sorted(numbers)
    places = np.zeros(len(names), dtype=np.intp)
    for place, name in enumerate(names):
        places[numbers[name]] = place
    return tuple(names), places[column] if len(names) else column


def index_of(snapshot: Snapshot, give_way: Callable[[], None]) -> AdIndex:
    """An index of the snapshot's ads."""
    columns = ad_columns(snapshot.prior, snapshot.language, snapshot.domain)
    return AdIndex.build([ad.ad_id for ad in snapshot.ads], snapshot.vectors, columns, give_way)


def step(ad: Ad) -> Step | None:
    """Where the ad stands in a series (attributes ``series``, ``level``); None where in none."""
    series, level = ad.attributes.get("series"), ad.attributes.get("level")
    if not isinstance(series, str) or not isinstance(level, int | float):
        return None
    return ad.language, series, float(level)
