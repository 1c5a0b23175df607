"""From a request to a brief: finds the ad, and resolves what may be known of the reader.

Nothing personal goes further: prompts, job rows and the bank see a `Brief`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.categories import is_open, is_sensitive, open_segments
from shared.domain import CatalogueAd, Language, Profile
from shared.errors import NotFound, Unprocessable
from shared.generating.prompts import TONES
from shared.generating.requests import Brief, CopyRequest, nameable
from shared.models.taxonomy import Taxonomy, load_taxonomy
from shared.policy.rules import channels
from shared.stores import Stores
from shared.stores.copies import ANYONE

if TYPE_CHECKING:
    from shared.profiles import ProfileReader

FEW = "the segment has too few people: this copy is for anyone"


class Briefs:
    """Makes briefs. adapters: ``name`` for every tenant, ``tenant/name`` for one."""

    def __init__(
        self, stores: Stores, profiles: ProfileReader, *, k_floor: int, adapters: Collection[str] = ()
    ) -> None:
        self._stores = stores
        self._profiles = profiles
        self._k_floor = k_floor
        self._adapters = frozenset(adapters)

    def of(self, tenant: str, request: CopyRequest, stored: CatalogueAd | None = None) -> Brief:
        """The brief of a request. stored: its ad, where it has been read.

        Raises:
            NotFound: no such ad. Unprocessable: an unknown channel, tone, adapter or segment.
        """
        self.check(tenant, request)
        ad, vector = request.ad, b""
        if ad is None:
            stored = stored or self._stores.catalogue.get_ad(tenant, request.ad_id or "")
            if stored is None:
                raise NotFound(f"no ad {request.ad_id!r} in the catalogue", field="ad_id")
            ad, vector = stored.ad, stored.vector
        brief = Brief(
            ad,
            request.language or ad.language,
            request.channel,
            request.n,
            ad_vector=vector.hex(),
            tone=request.tone,
            adapter=request.adapter,
        )
        own = request.ad is None
        if request.user_id is not None:
            return self._for_person(tenant, brief, request.user_id, own)
        anyone = replace(brief, segments=(ANYONE,) if own else (), bank=ANYONE if own else None)
        if request.segment is None:
            return anyone
        if not self.big_enough(tenant, request.segment):  # too few people to know anything about
            return replace(anyone, notice=FEW)
        return replace(
            brief,
            audience=segment_audience(request.segment, brief.language),
            segments=(request.segment, ANYONE) if own else (),
            bank=request.segment if own else None,
        )

    def check(self, tenant: str, request: CopyRequest) -> None:
        """Raises `Unprocessable` for a channel, tone, adapter or segment that there is not; it says what there is."""
        if request.channel not in channels():
            raise Unprocessable(f"channel: one of {', '.join(channels())}", field="channel")
        if request.tone is not None and request.tone not in TONES:
            raise Unprocessable(f"tone: one of {', '.join(TONES)}", field="tone")
        if request.adapter is not None and not {request.adapter, f"{tenant}/{request.adapter}"} & self._adapters:
            own = sorted(self.adapters(tenant))
            known = f"one of {', '.join(own)}" if own else "none is configured (LLM_ADAPTERS)"
            raise Unprocessable(f"adapter: {known}", field="adapter")
        if request.segment is not None:
            self.check_segment(request.segment)

    def check_segment(self, segment: str) -> None:
        """Raises `Unprocessable` for a segment that is no taxonomy category, or a sensitive one."""
        tree = _tree(segment)
        if tree is None:
            raise Unprocessable("segment: a taxonomy category such as adproduct:1118 or content:239", field="segment")
        if is_sensitive(segment):
            raise Unprocessable("segment: a sensitive category is no audience", field="segment")

    def big_enough(self, tenant: str, segment: str) -> bool:
        """Whether so many people hold the segment's interest that copy may be written for it."""
        return self._stores.people.interest_holders(tenant, segment) >= self._k_floor

    def adapters(self, tenant: str) -> frozenset[str]:
        """The adapters that the tenant may ask for."""
        named = (one.rpartition("/") for one in self._adapters)
        return frozenset(name for owner, _, name in named if owner in ("", tenant))

    def _for_person(self, tenant: str, brief: Brief, user_id: str, own: bool) -> Brief:
        uid = self._stores.people.uid(tenant, user_id)
        profile: Profile
        profile, _, _ = self._profiles.read(tenant, user_id, uid)
        told = tuple(one for one in profile.interests if not one.sensitive and is_open(one))
        holders = self._stores.people.holders(tenant, [one.id for one in told])
        interests = nameable(told, holders, self._k_floor)
        interests.sort(key=lambda interest: -interest.weight)
        names = dict.fromkeys(interest.name.get(brief.language, "") for interest in interests)
        return replace(
            brief,
            audience=tuple(name for name in names if name)[:2],
            segments=(*open_segments(profile), ANYONE) if own else (),
            for_person=True,
        )


def segment_audience(segment: str, language: Language) -> tuple[str, ...]:
    """The general name of a segment, as copy for it may be addressed; nothing for `ANYONE`."""
    tree = _tree(segment)
    name = tree[segment].name.get(language) if tree is not None else None
    return (name,) if name else ()


def _tree(segment: str) -> Taxonomy | None:
    """The taxonomy that the segment is a category of."""
    name, _, _ = segment.partition(":")
    if name not in ("adproduct", "content"):
        return None
    tree = load_taxonomy(name)
    return tree if segment in tree else None
