"""The use cases on fake models and an in-process AWS, with a clock that a test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.classifying import Classifying
from shared.domain import Finding
from shared.errors import NotFound
from shared.models.ranker import Ranker
from shared.profiles import ProfileReader
from shared.profiling import Profiling
from shared.recommending import Exploring, Recommending
from shared.snapshot import Snapshots
from shared.stores import Stores
from shared.trained import Found
from tests.fakes.models import TopicClassifier, TopicEncoder

if TYPE_CHECKING:
    from shared.models.classifier import Head
    from shared.models.trained_ranker import TrainedRanker


@dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def no_head(tenant: str, name: str) -> Head:
    raise NotFound(f"no head {name!r}")


def check(text: str, domain: str | None) -> list[Finding]:
    place = text.find("cure")
    return [Finding(place, place + 4, "cure", "block", "promises a cure")] if place >= 0 else []


@dataclass
class FakeSystem:
    """Everything of `shared.wiring.System` that the tests of the use cases need."""

    stores: Stores
    consent_basis: str = "asserted"
    k_floor: int = 2
    clock: Clock = field(default_factory=Clock)
    exploring: Exploring = field(default_factory=Exploring)
    ranker: Found[TrainedRanker] = field(default_factory=lambda: Found(None))

    def __post_init__(self) -> None:
        self.encoder = TopicEncoder()
        classifier = TopicClassifier()
        self.profiles = ProfileReader(
            self.stores.people,
            self.stores.catalogue,
            lambda: {"adproduct": classifier, "content": classifier},  # type: ignore[dict-item]
            consent_basis=lambda tenant: self.consent_basis,
            k_floor=self.k_floor,
            clock=self.clock,
        )
        self.profiling = Profiling(
            self.stores,
            lambda: self.encoder,  # type: ignore[arg-type, return-value]
            self.profiles,
            consent_basis=lambda tenant: self.consent_basis,
            clock=self.clock,
        )
        self.classifying = Classifying(
            self.stores,
            lambda: self.encoder,  # type: ignore[arg-type, return-value]
            lambda: {"adproduct": classifier},  # type: ignore[dict-item]
            no_head,
            check,
            clock=self.clock,
        )
        self.recommending = Recommending(
            self.stores,
            Snapshots(self.stores, project=lambda vectors: vectors, clock=self.clock),
            self.profiles,
            Ranker(),
            lambda tenant: self.ranker,
            project=lambda vectors: vectors,
            versions={"encoder": "topics"},
            exploring=self.exploring,
            clock=self.clock,
        )
