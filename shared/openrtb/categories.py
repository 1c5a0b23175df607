"""Categories of ads as exchanges name them: Ad Product Taxonomy 2.0, ours, and Content Taxonomy 1.0, the old default.

Numbers are those of AdCOM 1.0, "List: Category Taxonomies". The old taxonomy's ids (``IAB8-18``) come from IAB Tech
Lab's mapping "Ad Product 2.0 to Content 1.0" (CC BY 3.0), ids alone. There is none into the newer content taxonomies:
they describe pages, and nothing is guessed for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from shared.models.taxonomy import load_taxonomy

CONTENT_1_0, CONTENT_3_0, AD_PRODUCT_2_0, CONTENT_3_1 = 1, 7, 8, 9
_PREFIX = "adproduct:"


def told(category_id: str, cattax: int) -> tuple[int, list[str]] | None:
    """The taxonomy and ids by which a bid names its ad's category: in the request's taxonomy where that can be, else in
    ours; None of an ad whose category nobody could tell."""
    if not category_id.startswith(_PREFIX):
        return None
    if cattax == CONTENT_1_0 and (old := old_id(category_id)) is not None:
        return CONTENT_1_0, [old]
    return AD_PRODUCT_2_0, [category_id.removeprefix(_PREFIX)]


def names(category_id: str, cattax: int) -> frozenset[str] | None:
    """The ad's category in that taxonomy, with all above it; None where it cannot be said there."""
    if not category_id.startswith(_PREFIX):
        return None
    if cattax == AD_PRODUCT_2_0:
        tree = load_taxonomy("adproduct")
        if category_id not in tree:
            return None
        return frozenset(one.id.removeprefix(_PREFIX) for one in tree.path(category_id))
    if cattax == CONTENT_1_0 and (old := old_id(category_id)) is not None:
        return frozenset({old, old.split("-")[0]})
    return None


def is_offered(category_id: str, cattax: int, blocked: Iterable[str], allowed: Iterable[str]) -> bool:
    """Whether an ad of the category may be bid with under these lists (`bcat`, `acat`: 3.2.1). Where there are any, an
    ad whose category cannot be said in their taxonomy is not: nobody could tell that it is none of them."""
    blocked, allowed = frozenset(blocked), frozenset(allowed)
    if not blocked and not allowed:
        return True
    own = names(category_id, cattax)
    if own is None:
        return False
    return not own & blocked and (not allowed or bool(own & allowed))


def old_id(category_id: str) -> str | None:
    """The category in Content Taxonomy 1.0."""
    return _old().get(category_id.removeprefix(_PREFIX))


@cache
def _old() -> dict[str, str]:
    table = (files("shared.openrtb") / "ad_product_to_content_1.0.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t", 1) for line in table.splitlines()[1:])


# Pages -----------------------------------------------------------------------------------------------------------

_DOMAINS = {
    CONTENT_1_0: {"IAB5": "education", "IAB7": "health", "IAB22": "ecommerce"},
    CONTENT_3_1: {"132": "education", "286": "health", "473": "ecommerce"},
}
_DOMAINS[CONTENT_3_0] = _DOMAINS[CONTENT_3_1]  # with the same ids


def page_domain(cattax: int, categories: Iterable[str]) -> str | None:
    """The domain of ours that a page, site or app of these categories is of; None where they name none, or several."""
    found = {domain for one in categories if (domain := _page_domain(cattax, one)) is not None}
    return found.pop() if len(found) == 1 else None


def _page_domain(cattax: int, category: str) -> str | None:
    roots = _DOMAINS.get(cattax, {})
    if cattax == CONTENT_1_0:
        return roots.get(category.split("-")[0])
    tree = load_taxonomy("content")
    own = f"content:{category}"
    path = [one.id.removeprefix("content:") for one in tree.path(own)] if own in tree else [category]
    return next((roots[one] for one in path if one in roots), None)
