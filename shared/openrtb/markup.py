"""A banner: one self-contained piece of HTML, a link without any script, frame or cookie, so that any page may hold it.

Every text of an ad is escaped, the dollar sign too: exchanges replace macros wherever they stand (4.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from shared.domain import Ad
from shared.openrtb.native import TEXT_ONLY, domain_of, image_of

SMALLEST = 50  # pixels of either side, below which neither copy nor label can be read
_TEXT_AD, _BANNER_AD = 1, 2  # `banner.btype` (3.2.6)
_AD = {"zh": "广告", "en": "Ad"}
_FLAT = 120  # pixels of height up to which everything stands in one row
_PICTURED = 90  # pixels of either side that a picture needs beside the text


def form(ad: Ad, *, secure: bool, blocked_types: frozenset[int], blocked_attributes: frozenset[int]) -> str | None:
    """How the ad may be shown in a banner: ``image``, ``text``, or not at all."""
    if image_of(ad, secure=secure) and _BANNER_AD not in blocked_types:
        return "image"
    return "text" if _TEXT_AD not in blocked_types and TEXT_ONLY not in blocked_attributes else None


def banner(
    ad: Ad,
    copy: str,
    size: tuple[int, int],
    *,
    image: str | None,
    label: Mapping[str, str] | None,
    link: str | None = None,
    pixel: str | None = None,
) -> str:
    """HTML of `size` pixels. image: its address, if it has one. label: what people are to be told of where the copy
    comes from, by language. link: where a click leads, if not straight to the ad's page. pixel: address of an image
    that cannot be seen and tells that the ad was; None: there is none."""
    width, height = size
    flat = height <= _FLAT
    told = " · ".join(filter(None, [_AD[ad.language], ad.brand or domain_of(ad), _told(label, ad.language)]))
    picture = ""
    if image and min(size) >= _PICTURED and (not flat or width >= 3 * height):
        share = "height:100%;width:auto;max-width:40%" if flat else "width:100%;flex:1 1 0;min-height:0"
        picture = f'<img src="{_safe(image)}" alt="{_safe(ad.title)}" style="{share};object-fit:cover">'
    return (
        f'<div lang="{ad.language}" data-ad-id="{_safe(ad.ad_id)}" '
        f'style="box-sizing:border-box;width:{width}px;height:{height}px;'
        'overflow:hidden;border:1px solid #767676;background:#fff;font:14px/1.3 system-ui,sans-serif">'
        f'<a href="{_safe(link or ad.landing_url)}" target="_blank" rel="noopener noreferrer sponsored" '
        f'style="display:flex;flex-direction:{"row" if flat else "column"};gap:6px;width:100%;height:100%;'
        'color:#1a1a1a;text-decoration:none">'
        f"{picture}"
        '<span style="flex:1 1 auto;min-width:0;padding:4px 8px;overflow:hidden">'
        f'<strong style="display:block">{_safe(ad.title)}</strong>'
        + (f"<span>{_safe(copy)}</span>" if copy != ad.title else "")
        + f'<small style="display:block;color:#595959">{_safe(told)}</small></span></a>'
        + (f'<img src="{_safe(pixel)}" width="1" height="1" alt="" style="position:absolute">' if pixel else "")
        + "</div>"
    )


def _told(label: Mapping[str, str] | None, language: str) -> str | None:
    return label.get(language) or next(iter(label.values()), None) if label else None


def _safe(text: str) -> str:
    return escape(text, quote=True).replace("$", "&#36;")
