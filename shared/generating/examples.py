"""Examples for the prompt from the advertiser's own approved copy: those of the products nearest to the ad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain import Language
from shared.generating.prompts import MOST_EXAMPLES, Example
from shared.generating.requests import Brief
from shared.stores.copies import Approved, Copies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELD_SECONDS = 300.0  # what is approved elsewhere is seen after this at the latest
HELD_TENANTS = 8


@dataclass(frozen=True, slots=True)
class _Page:
    """A tenant's approved copy of one language. vectors: float32 (n, 384), zeros where an ad has none."""

    read_at: float
    texts: tuple[Approved, ...]
    vectors: NDArray[np.float32]


class Examples:
    """Reads approved copy, and remembers a page of it by tenant and language."""

    def __init__(self, copies: Copies, clock: Callable[[], float]) -> None:
        self._copies = copies
        self._clock = clock
        self._pages: dict[tuple[str, Language], _Page] = {}

    def nearest(self, tenant: str, brief: Brief) -> tuple[Example, ...]:
        """At most `MOST_EXAMPLES`, nearest first by the cosine of the ads' vectors: other ads before the same one.

        An ad that is not in the catalogue has no vector: it gets the latest of its own domain.
        """
        page = self._page(tenant, brief.language)
        if not page.texts:
            return ()
        import numpy as np

        if brief.ad_vector:
            vector = np.frombuffer(bytes.fromhex(brief.ad_vector), np.float16).astype(np.float32)
            near = (page.vectors @ vector).tolist()
        else:
            near = [float(one.ad.get("domain") == brief.ad.domain) for one in page.texts]
        order = sorted(
            range(len(page.texts)),
            key=lambda place: (page.texts[place].ad_id == brief.ad.ad_id, -near[place], -page.texts[place].at),
        )
        chosen = [page.texts[place] for place in order if brief.ad_vector or near[place]]
        return tuple(
            Example(str(one.ad.get("title", "")), one.facts, one.text, one.audience) for one in chosen[:MOST_EXAMPLES]
        )

    def others(self, tenant: str, brief: Brief) -> frozenset[str]:
        """Keys of the texts that were approved for other ads: a model must not pass them on for this one."""
        page = self._page(tenant, brief.language)
        return frozenset(one.key for one in page.texts if one.ad_id != brief.ad.ad_id)

    def forget(self, tenant: str) -> None:
        """What is remembered of the tenant may be out of date."""
        for key in [key for key in self._pages if key[0] == tenant]:
            del self._pages[key]

    def _page(self, tenant: str, language: Language) -> _Page:
        now = self._clock()
        page = self._pages.get((tenant, language))
        if page is None or not 0 <= now - page.read_at < HELD_SECONDS:
            import numpy as np

            texts = tuple(self._copies.approved(tenant, language))
            vectors = np.zeros((len(texts), 384), np.float32)
            for place, one in enumerate(texts):
                if one.vector:
                    vectors[place] = np.frombuffer(one.vector, np.float16)
            page = _Page(now, texts, vectors)
            self._pages.pop((tenant, language), None)
            self._pages[tenant, language] = page
            for old in list(self._pages)[:-HELD_TENANTS]:
                self._pages.pop(old, None)
        return page
