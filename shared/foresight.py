"""What would be answered at another time, without a trace: the console's way to move the clock.

The system that answers is the running one with a clock ahead of it, and with the two writes of an answer left out: the
profile that was read off anew, and the decision with what it reserves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from shared.comparing import Compared
from shared.domain import Consent, Profile
from shared.eligibility import Context
from shared.errors import NotFound
from shared.stores.delivery import Delivery
from shared.stores.people import People
from shared.wiring import System

MOST_SECONDS = 400 * 86400
MOST_ADS = 20
_SHARED = ("classifiers", "versions", "snapshots", "rankers")  # as costly as they are the same


def ahead(
    system: System, tenant: str, user_id: str, seconds: float, *, n: int, context: Context
) -> tuple[Compared, tuple[Profile, Consent] | None]:
    """The answer with its twin some `seconds` from now, and the profile that it rests on; None of somebody unknown."""
    later = at(system, seconds)
    found = later.recommending.compare(tenant, user_id, n=n, context=context)
    try:
        return found, later.profiling.profile(tenant, user_id)
    except NotFound:
        return found, None


def at(system: System, seconds: float) -> System:
    """The system as it will be `seconds` from now, if nothing happens until then. To read from: it keeps nothing."""
    stores = replace(
        system.stores,
        people=cast("People", _Silent(system.stores.people, save_profile=lambda *_: True)),
        delivery=cast("Delivery", _Silent(system.stores.delivery, put_decision=lambda *_: frozenset())),
    )
    later = System(system.settings, stores, clock=lambda: system.clock() + seconds)
    for name in _SHARED:
        vars(later)[name] = getattr(system, name)
    vars(later)["recommending"] = system.recommending.elsewhere(stores, later.profiles, later.clock)
    return later


class _Silent:
    """A store with other answers in the place of some methods."""

    def __init__(self, store: object, **answers: Callable[..., Any]) -> None:
        self._store = store
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name) or getattr(self._store, name)
