"""What may be done with a category: whether it is sensitive, and whether minors may be shown it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from shared.domain import Ad, Interest, Profile
from shared.models.taxonomy import TaxonomyName, load_taxonomy
from shared.policy import minors, sensitive

HELD = 4096  # answers: requests may name categories that no taxonomy has
TARGETED = ("interests", "segments")  # the parts of an ad's targeting that name categories


@lru_cache(maxsize=HELD)
def is_sensitive(category_id: str) -> bool:
    """Whether the category is sensitive (DESIGN section 7); not where no taxonomy has it."""
    return sensitive.is_sensitive(category_id, _ancestors)


@lru_cache(maxsize=HELD)
def is_restricted(category_id: str) -> bool:
    """Whether an ad of the category is kept from minors; one of no category is."""
    return not category_id or minors.is_restricted(category_id, _ancestors)


def sensitive_targets(targeting: Mapping[str, Iterable[str]]) -> list[str]:
    """The sensitive categories that an ad's targeting names: no person is ever matched by one."""
    return sorted({one for name in TARGETED for one in targeting.get(name, ()) if is_sensitive(one)})


def is_open(interest: Interest) -> bool:
    """Whether an interest is of no sensitive category by the list as it is now: a profile that was made before the list
    grew is served until it is made anew."""
    return not any(map(is_sensitive, filter(None, (interest.id, *interest.categories.values()))))


def open_segments(profile: Profile) -> tuple[str, ...]:
    """The person's segments without what is sensitive by the list as it is now (`is_open`)."""
    closed = {one.id for one in profile.interests if not is_open(one)}
    return tuple(one for one in profile.segments if one not in closed and not is_sensitive(one))


def tells(ad: Ad, category_id: str) -> bool:
    """Whether to be shown the ad for what one did would tell something sensitive: of the health domain, or filed under
    a sensitive category."""
    return ad.domain == "health" or is_sensitive(category_id)


def _ancestors(category_id: str) -> list[str]:
    taxonomy: TaxonomyName = "content" if category_id.startswith("content:") else "adproduct"
    tree = load_taxonomy(taxonomy)
    return [category.id for category in tree.ancestors(category_id)] if category_id in tree else []
