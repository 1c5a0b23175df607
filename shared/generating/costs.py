"""What copy costs: model calls as they were timed, and money by the endpoint's price an hour. Always an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.models.generator import Usage

# Before anything was timed: Gemma-3-270M on two cores of a small machine, and a prompt with three examples.
USUAL_SECONDS = 0.5  # a candidate
USUAL_SURVIVORS = 0.3  # of the candidates
USUAL_TOKENS_IN = 200  # a job
USUAL_TOKENS_OUT = 25  # a candidate


@dataclass(frozen=True, slots=True)
class Cost:
    """`copies` that passed the gate, the `candidates` asked for, wall `seconds` of the model's calls, tokens."""

    copies: int = 0
    candidates: int = 0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0

    @classmethod
    def of_counts(cls, counts: Mapping[str, float]) -> Cost:
        """From the counters of a catalogue pass."""
        whole = {name: int(counts[name]) for name in ("copies", "candidates", "tokens_in", "tokens_out")}
        return cls(seconds=float(counts["seconds"]), **whole)

    def __add__(self, other: Cost) -> Cost:
        """Of one call after the other."""
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def counts(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__}

    def body(self, price_per_hour: float) -> dict[str, Any]:
        """For an answer; ``per_thousand_copies`` is None before the first copy.

        price_per_hour: of the endpoint, USD; 0: not known, and no money is named.
        """
        thousand: dict[str, Any] | None = None
        if self.copies:
            scale = 1000 / self.copies
            thousand = {
                "seconds": round(self.seconds * scale, 1),
                "tokens_in": round(self.tokens_in * scale),
                "tokens_out": round(self.tokens_out * scale),
            }
            if price_per_hour:
                thousand |= {"amount": round(self.seconds * scale / 3600 * price_per_hour, 4), "currency": "USD"}
            thousand["basis"] = _basis(price_per_hour)
        return {
            "copies": self.copies,
            "candidates": self.candidates,
            "seconds": round(self.seconds, 3),
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "per_thousand_copies": thousand,
        }


def expected(jobs: int, done: int, so_far: Cost, *, candidates: int) -> Cost:
    """What all `jobs` of a pass will come to: by those that are done, before that by what is usual.

    candidates: asked for in one job.
    """
    if done and so_far.candidates:
        scale = jobs / done
        counts = {name: value * scale for name, value in so_far.counts().items()}
        return Cost.of_counts(counts)
    one = jobs * candidates
    return Cost(round(one * USUAL_SURVIVORS), one, one * USUAL_SECONDS, jobs * USUAL_TOKENS_IN, one * USUAL_TOKENS_OUT)


def expected_body(jobs: int, done: int, so_far: Cost, *, candidates: int, price_per_hour: float) -> dict[str, Any]:
    """`expected` for an answer. What a thousand copies cost is told before the first ad has been found."""
    whole = expected(jobs, done, so_far, candidates=candidates)
    body = whole.body(price_per_hour)
    if not whole.copies:
        one = expected(1, 0, NO_COST, candidates=candidates)
        body["per_thousand_copies"] = one.body(price_per_hour)["per_thousand_copies"]
    return body


def _basis(price_per_hour: float) -> str:
    money = (
        f"those seconds at {price_per_hour:g} USD an hour of the endpoint"
        if price_per_hour
        else "no money, since LLM_PRICE_PER_HOUR is not set"
    )
    seconds = "wall seconds of the model's calls (of a pass at most its own) by copies that passed the gate"
    return f"an estimate: {seconds}; {money}; tokens as the engine counts them"


NO_COST = Cost()


def call_cost(usage: Usage, *, candidates: int) -> Cost:
    """Of one request; its copies come later, from the gate."""
    return Cost(0, candidates, usage.seconds, usage.prompt_tokens, usage.completion_tokens)
