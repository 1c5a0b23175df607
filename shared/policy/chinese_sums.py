"""What a Chinese copy adds to, or takes from, the amounts of an ad: 省下四十 of two prices.

Holds differences and sums of like amounts (一大一小 of two tickets), the discount to which two prices come, and the
number of single prices at which a pass has paid for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from shared.policy.chinese_implied import NUMERALS, SENTENCE, SIZED, same_kind
from shared.policy.chinese_numbers import (
    ANY,
    CLAUSE,
    DAYS,
    THING,
    WHOLE,
    Implied,
    Number,
    is_count,
    numbers_of,
)
from shared.policy.derived import bears
from shared.policy.numerals import Quantity

_DIFFERENCE = re.compile(
    r"添|搭|掏|花|省|便宜|贵|减|(?<![至最不更])[少多差](?![人数年女不种样])|优惠|返|退|抵|找|赚|降|折扣|券后|用券|加|补|另|还剩|剩|落袋|回来|留"
)
_SUM = re.compile(
    r"共|总|合计|加起来|连|加上|算上|带上|带|配上|全套|全程|全年|一年|整整|全部|都算|打包|满打满算|一块儿|一起|俩|两|三|四|五|六"
    r"|[，、和加]"
)
_NOTES = re.compile(r"(?P<n>[一两二三四五六七八九])张(?:大?红票子?|红色?票子|百元(?:大)?钞|大钞|毛爷爷|百元)")
_PART_PAID = re.compile(r"先付|再付|定金|订金|尾款|首付|锁定|锁档|总价")
_LEFT = re.compile(r"剩|还[有差]|空[着出余]|多出|差[着了]?")
_STRETCH = re.compile(r"升|长高|长大|跟着|差|调|伸|高度|跨|范围|区间|之间|多出|拉")
_SAVED_HALF = re.compile(r"一半|半价|对半|减半|五折")
_EACH_SIZE = re.compile(r"[一两二三]大[一两二三]小")
_ROUGHLY = re.compile(r"差不多|不到|多一点|左右|将近|约|相当于|出头|上下|几乎|近")
_WORTH_IT = re.compile(r"回了?本|值回|赚回|划算|抵得|够本|等于")


def clause_at(plain: str, claim: Quantity) -> tuple[int, int]:
    """The [start, end) of the clause of a copy in which a number stands."""
    low = max((match.end() for match in CLAUSE.finditer(plain, 0, claim.start)), default=0)
    stop = CLAUSE.search(plain, claim.end)
    return low, stop.start() if stop else len(plain)


def differs(plain: str, claim: Quantity, limit: str, per: str, said: Sequence[Number], known: Implied) -> str | None:
    """The field of what is saved, added or left."""
    low, high = clause_at(plain, claim)
    clause = plain[low : claim.start] + "|" + plain[claim.end : high]
    price = claim.unit.dimension.startswith("currency")
    own = [one for one in known.stated if _comparable(one.quantity, claim) and one.value > 0]
    if price and (notes := _NOTES.search(plain)) is not None:
        for one in own:
            if bears(claim, limit, replace(one.quantity, value=NUMERALS[notes["n"]] * 100 - one.value), ""):
                return one.field
    lefts = [one for one in known.stated if one.dimension == "left" and 0 < one.value < 1]
    parts = [one for one in known.stated if one.dimension == "percent" and 0 < one.value < 100]
    values: list[tuple[str, Decimal]] = []
    if price:
        for one in own:
            values += [(one.field, one.value * left.value) for left in lefts]
            values += [(one.field, one.value * (1 + left.value)) for left in lefts if re.search("第二|两", plain)]
            values += [(one.field, one.value * 2 * left.value) for left in lefts if re.search("[两二俩双2]", plain)]
            values += [
                (one.field, one.value - other.value) for other in own
                if other.saved and not one.saved and one.value > other.value
            ]  # fmt: skip
            values += [(one.field, one.value + other.value) for other in own if other.more and not one.more]
            if limit in ("", "approx") and _SAVED_HALF.search(clause):
                values.append((one.field, one.value / 2))
    if price and _PART_PAID.search(plain):
        values += [(one.field, one.value * part.value / 100) for one in own for part in parts]
        values += [(one.field, one.value * (1 - part.value / 100)) for one in own for part in parts]
    if price and (_DIFFERENCE.search(clause) or _SUM.search(clause)):
        for one in own:
            for other in said:
                if (
                    other.quantity.start != claim.start
                    and other.dimension in ("", claim.unit.dimension)
                    and other.value > 10
                ):
                    values += [(one.field, one.value + other.value), (one.field, abs(one.value - other.value))]
    if not price and _STRETCH.search(plain):
        ends = [
            known.stated[place]
            for place in sorted(known.ranged)
            if known.stated[place].dimension == claim.unit.dimension
        ]
        values += [(one.field, other.value - one.value) for one, other in pairwise(ends) if one.field == other.field]
    if (_LEFT if is_count(claim) else _DIFFERENCE).search(clause):
        ranged = [one for one in (*own, *known.worked) if _comparable(one.quantity, claim) and one.value > 0]
        ranged = [one for one in ranged if one in own or one.made == "share"][:30]
        for one in ranged:
            for other in ranged:
                parted = "share" in (one.made, other.made) and (one.field, one.clause) == (other.field, other.clause)
                if (
                    one.value > other.value
                    and not other.saved
                    and not parted
                    and (WHOLE in (one.per, other.per) or one.per == other.per or _alternate(one, other))
                ):
                    values.append((one.field, one.value - other.value))
        values += [(one.field, one.value * (1 - left.value)) for one in own for left in lefts if price]
        values += [(one.field, one.value * part.value / 100) for one in own for part in parts if price]
        ratios = {
            big.value / little.value
            for big in known.stated for little in known.stated
            if big.dimension == little.dimension in SIZED and little.value > 0 and 1 < big.value / little.value <= 20
        }  # fmt: skip
        values += [
            (one.field, one.value * ratio - less.value) for one in own for less in own for ratio in ratios
            if price and one.value < less.value < one.value * ratio
        ]  # fmt: skip
        for one in own:  # five of them singly, less the card of five
            for other in (*known.stated, *said):
                monthly = other.dimension == "months" and one.per in ("month", WHOLE)
                alike = is_count(other.quantity) and (same_kind(one.per, other.key) or one.per == WHOLE)
                if 1 < other.value <= 100 and (monthly or alike):
                    values += [
                        (one.field, one.value * other.value - less.value) for less in own
                        if less.value < one.value * other.value and less is not one
                    ]  # fmt: skip
    if price and _DIFFERENCE.search(clause):  # two of them, or of us, save twice as much
        counts = {one.value for one in said if is_count(one.quantity) and 1 < one.value <= 100}
        saved = [(one.field, one.value) for one in own if one.saved]
        values += [(field, value * count) for field, value in (*values, *saved) for count in counts]
    return next(
        (field for field, value in values if bears(claim, limit, replace(claim, value=value), "", rounded=price)), None
    )


def _alternate(one: Number, other: Number) -> bool:
    """Whether two numbers of different things compare: a lesson of a card, and a single one."""
    return ANY in (one.per, other.per) or (WHOLE in (one.per, other.per) and "share" in (one.made, other.made))


def adding_each(plain: str, claim: Quantity, limit: str, own: Sequence[Number]) -> bool:
    """Whether a price and so much more for each of so many come to the claim: five pairs at 58, and 5 a name."""
    counts = [one.value for one in numbers_of(plain) if is_count(one.quantity) and 1 < one.value <= 50]
    return any(
        bears(claim, limit, replace(claim, value=whole.value + each.value * count), "")
        for whole in own
        if whole.per == WHOLE
        for each in own
        if each.per not in (WHOLE, ANY, *DAYS)
        for count in counts
    )


def _comparable(one: Quantity, claim: Quantity) -> bool:
    mine, theirs = claim.unit.dimension, one.unit.dimension
    return mine == theirs or (mine in ("", "count") and is_count(claim) and is_count(one))


def summed(plain: str, claim: Quantity, limit: str, per: str, known: Implied) -> str | None:
    """The field of one of two numbers of a kind that come to the claim."""
    first = max((match.end() for match in SENTENCE.finditer(plain, 0, claim.start)), default=0)
    own = [
        one for place, one in enumerate(known.stated)
        if place not in known.ranged and _comparable(one.quantity, claim) and one.value > 0 and one.made == ""
        and not one.saved and one.dimension not in ("clock", "left", "percent", "ordinal", "rating", "age", "grade",
            "temperature")
    ]  # fmt: skip
    price = claim.unit.dimension.startswith("currency")
    if price and adding_each(plain, claim, limit, own):
        return own[0].field
    adding = _EACH_SIZE.search(plain[first:]) is not None or _SUM.search(plain[first : claim.start]) is not None
    for place, one in enumerate(own):
        for other in own[place + 1 :]:
            beside = (
                one.field == other.field and one.key == other.key and one.dimension in ("count:pack", "count:person")
            )
            named = price and any(extra.label and extra.label in plain for extra in (one, other))
            if not adding and not beside and not named:
                continue
            alike = not is_count(one.quantity) or (one.key == other.key and one.key not in (ANY, THING))
            alike = alike or one.dimension.startswith("currency")
            if (
                alike
                and one.per == other.per
                and bears(claim, limit, replace(claim, value=one.value + other.value), one.told or other.told)
            ):
                return one.field
    whole = sum((one.value for one in own if one.per == WHOLE), Decimal(0))
    if adding and len(own) > 2 and whole and bears(claim, limit, replace(claim, value=whole), ""):
        return own[0].field
    return None


def ratio_of_prices(plain: str, claim: Quantity, limit: str, known: Implied) -> str | None:
    """The field of a price at the discount to which two of an ad's prices come."""
    value = claim.value
    if claim.unit.dimension == "percent":
        if value != 50:
            return None
        value = Decimal("0.5")
    elif claim.unit.dimension != "left":
        return None
    if not known.reduced:
        return None
    slack = Decimal("0.025") if limit or _ROUGHLY.search(plain) else Decimal("0.006")
    prices = [one for one in known.stated if one.dimension.startswith("currency") and not one.saved and not one.more]
    saved = [one for one in known.stated if one.dimension.startswith("currency") and one.saved]
    pairs = [(one, one.value, other.value) for one in prices for other in prices]
    pairs += [(one, one.value, one.value - less.value) for one in prices for less in saved]
    for one, high, low in pairs:
        if 0 < low < high and abs(low / high - value) <= slack:
            return one.field
    parts = [one for one in known.stated if one.dimension.startswith("currency")]
    halves = claim.unit.dimension == "percent" and any(one.value == 2 * other.value for one in parts for other in parts)
    return parts[0].field if halves else None


def paid_off(plain: str, claim: Quantity, known: Implied) -> str | None:
    """The field of a price that so many of another come to: five shows of 80 for a pass of 400."""
    if not is_count(claim) or not _WORTH_IT.search(plain):
        return None
    prices = [one for one in known.stated if one.dimension.startswith("currency")]
    for one in prices:
        for other in prices:
            exact = other.value * claim.value == one.value
            more = other.value * claim.value > one.value > other.value * (claim.value - 1)
            if other is not one and (exact or more):
                return one.field
    return None


def discounted(claim: Quantity, said: Sequence[Number], known: Implied) -> str | None:
    """The field of a discount that the copy works out for a price of its own: 170 of a ticket of 200."""
    for left in known.stated:
        if left.dimension != "left" or not 0 < left.value < 1:
            continue
        for other in said:
            if other.quantity.start == claim.start or other.dimension not in ("", claim.unit.dimension):
                continue
            low, high = sorted((claim.value, other.value))
            if low > 0 and low == high * left.value:
                return left.field
    return None
