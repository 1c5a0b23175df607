"""What follows from an ad's numbers by arithmetic, as a Chinese copy works it out: 每袋24只，共8袋 is 一百九十二只.

Numbers carry what they count and what they are of (24 只 a 袋, 90 minutes a 节), so that only like things are
multiplied and divided: a price of 36 节 is divided by lessons where the copy says 一节, never by the people of a class.
Multiples, shares and paces are worked out here; what is added, saved or left, in `chinese_sums`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from shared.policy.chinese_implied import BY_MEASURE, DAY_SECONDS, NUMERALS, SIZED, SLOT, same_kind
from shared.policy.chinese_numbers import (
    ANY,
    CLAUSE,
    DAYS,
    PER_BEFORE,
    THING,
    TIMES,
    WHOLE,
    Implied,
    Number,
    counts_alike,
    is_count,
    number_of,
    numbers_of,
    of_what,
    rivalled,
)
from shared.policy.chinese_sums import clause_at, differs, discounted, paid_off, ratio_of_prices, summed
from shared.policy.derived import bears
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import Unit

_AVERAGED = re.compile(r"平均|折下来|折算|算下来|摊下来|摊到|摊|合|均|相当于|折合|折")
_RATE_OF_ONE = re.compile(
    r"[一每](?P<u>天|日|晚|周|星期|月)(?:只|就|吃|喝|用|学|听|看|做|练|读|泡|来)?一(?P<x>[\u4e00-\u9fff])"
)
_SPOKEN_OF = re.compile(r"(?:一|每|整|这)整?个?(天|周|星期|月|年|季)")
_PARTS_OF_DAY = frozenset(
    [
        "上午",
        "下午",
        "晚上",
        "夜晚",
        "早晨",
        "早上",
        "清晨",
        "黄昏",
        "傍晚",
        "中午",
        "午后",
        "周末",
        "周六",
        "周日",
        "星期",
    ]
)
GROWN = re.compile(
    r"([一两二三四])[个位]?(?:大人?|成人|家长)[、和带加]?([一两二三四])[个位]?(?:[\u4e00-\u9fff]{0,3}的)?(?:小孩?|儿童|孩子|娃)"
)
_FAMILY = re.compile(r"一家([三四五六])口|([两二三四五])(?:个人|口子|人)")
_BOTH_WAYS = re.compile(r"来回|往返|双程|一去一回")


def follows(plain: str, claim: Quantity, limit: str, known: Implied) -> str | None:
    """The field from which a number of a folded Chinese copy follows; None where it does not."""
    said = numbers_of(plain)
    mine = number_of(plain, claim)
    if limit == "" and rivalled(mine, known):
        return None
    per = mine.per if mine is not None else WHOLE
    low, _ = clause_at(plain, claim)
    if per == WHOLE:
        per = _carried(plain, low, claim)
    if per == WHOLE and _AVERAGED.search(plain[max(0, low - 14) : claim.start]):
        per = ANY
    periods = {TIMES[name] for name in _SPOKEN_OF.findall(plain)}
    evening = per == "day" and re.search(r"[一每]晚", plain) is not None
    for one in known.worked:
        fits = (
            _fits(per, one, known)
            or (one.made == "listed" and mine is not None and mine.key in _PARTS_OF_DAY)
            or (evening and one.per in ("session", THING))
            or (per == WHOLE and one.per in periods and not is_count(claim))
        )
        if _like_kind(one, claim, mine, known) and fits and bears(claim, limit, one.quantity, one.told, rounded=True):
            return one.field
    return (
        _multiplied(plain, claim, limit, said, known)
        or differs(plain, claim, limit, per, said, known)
        or summed(plain, claim, limit, per, known)
        or _paced(plain, claim, limit, said, known)
        or _reckoned(claim, said, known)
        or ratio_of_prices(plain, claim, limit, known)
        or _proportion(claim, said, known)
        or discounted(claim, said, known)
        or paid_off(plain, claim, known)
        or _finished(plain, claim, limit, said, known)
    )


def _like_kind(one: Number, claim: Quantity, mine: Number | None, known: Implied) -> bool:
    """Whether a number counts what the copy's counts, as far as both say."""
    if not is_count(claim) or mine is None or mine.key in (ANY, THING) or one.key in (ANY, THING):
        return True
    if not counts_alike(one, mine, known):
        return False
    if one.key == "session" and (mine.key in DAYS or mine.key in _PARTS_OF_DAY):
        return True
    return one.key == mine.key or not ({one.key, mine.key} & {"session", "person", *DAYS})


def _fits(per: str, one: Number, known: Implied) -> bool:
    """Whether a number that is worked out is of what the copy says, as far as both say."""
    if per == one.per or one.per == SLOT or (per == ANY and one.per != WHOLE):
        return True
    if one.per == WHOLE:
        whole = per not in DAYS or (one.made in ("product", "course") and not one.dimension.startswith("currency"))
        return whole and (per not in known.keys or one.made == "single")
    if one.made == "course":
        return per in (WHOLE, ANY) or per not in known.keys
    if one.per in (ANY, THING):
        return per not in (WHOLE, *DAYS)
    return per not in (WHOLE, "session", "person", *DAYS) and per not in known.keys and one.per not in ("person", *DAYS)


def _carried(plain: str, low: int, claim: Quantity) -> str:
    """What a number is of where the clause before says so: 算到每一节，五十五块."""
    if low < 2:
        return WHOLE
    first = max((match.end() for match in CLAUSE.finditer(plain, 0, low - 1)), default=0)
    before = plain[first : low - 1]
    if len(before) <= 10 and not find_quantities(before) and (found := PER_BEFORE.search(before)) is not None:
        return of_what(found["tail"])
    return WHOLE


def _candidates(claim: Quantity, known: Implied) -> list[Number]:
    worked = [one for one in known.worked if one.made != "share" or one.dimension.startswith("currency")]
    return [one for one in (*known.stated, *worked) if one.dimension == claim.unit.dimension and one.value > 0]


def _multiplied(plain: str, claim: Quantity, limit: str, said: Sequence[Number], known: Implied) -> str | None:
    """The field of what the copy takes several times: 两箱两百三十二元, 三个月五百五十八块."""
    mine = next((one for one in said if one.quantity.start == claim.start), None)
    price = claim.unit.dimension.startswith("currency")
    savings = [one.value for one in known.stated if one.saved and one.dimension == claim.unit.dimension]
    for other in said:
        if other.quantity.start == claim.start or not other.value > 1:
            continue
        for one in _candidates(claim, known):
            times = _taken(other, one, known)
            if times is None or times <= 1:
                continue
            values = [one.value * times, *(one.value * times - less for less in savings)]
            if price:
                values += [one.value * times * left.value for left in known.stated if left.dimension == "left"]
            if any(bears(claim, limit, replace(one.quantity, value=value), one.told, rounded=True) for value in values):
                return one.field
    if _BOTH_WAYS.search(plain):
        for one in _candidates(claim, known):
            if bears(claim, limit, replace(one.quantity, value=one.value * 2), one.told):
                return one.field
    if mine is not None and mine.per != WHOLE and claim.unit.dimension.startswith("currency"):
        for other in said:
            if (
                other.quantity.start != claim.start
                and other.dimension in ("", claim.unit.dimension)
                and other.value > claim.value
            ):
                for count in known.stated:
                    counted = is_count(count.quantity) and same_kind(count.key, mine.per) and count.value > 1
                    if counted and other.value == claim.value * count.value:
                        return count.field
    if mine is not None and mine.per not in (WHOLE, ANY):
        for other in said:
            if (
                other.quantity.start != claim.start
                and other.key == mine.per
                and 1 < other.value <= 100
                and is_count(other.quantity)
            ):
                for one in _candidates(claim, known):
                    if one.per not in (mine.per, *DAYS) and bears(
                        claim, limit, replace(one.quantity, value=one.value / other.value), one.told, rounded=True
                    ):
                        return one.field
    if price and (family := GROWN.search(plain)) is not None:
        grown = [
            one
            for one in known.stated
            if one.dimension == claim.unit.dimension and re.search("成人|大人|成年|家长|adult", one.said, re.I)
        ]
        small = [
            one
            for one in known.stated
            if one.dimension == claim.unit.dimension and re.search("儿童|孩子|小孩|学生|child", one.said, re.I)
        ]
        for one in grown:
            for other in small:
                whole = one.value * NUMERALS[family[1]] + other.value * NUMERALS[family[2]]
                tickets = [ticket.value for ticket in known.stated if ticket.dimension == one.dimension]
                for value in (whole, *(whole - ticket for ticket in tickets if whole > ticket)):
                    if bears(claim, limit, replace(one.quantity, value=value), one.told):
                        return one.field
    for other in said if price else ():  # 每一百毫升才五镑
        if (
            other.dimension in SIZED
            and other.dimension not in ("time", "months")
            and other.quantity.start != claim.start
        ):
            for one in known.stated:
                for size in known.stated:
                    sized = size.dimension == other.dimension and size.value > 0
                    if not sized or one.dimension != claim.unit.dimension:
                        continue
                    part = replace(one.quantity, value=one.value * other.value / size.value)
                    if bears(claim, limit, part, one.told, rounded=True):
                        return one.field
    if price:
        counts = [
            one.value
            for one in said
            if one.quantity.start != claim.start and (is_count(one.quantity) and 1 < one.value <= 31)
        ]
        counts += [one.value / DAY_SECONDS for one in said if one.dimension == "time" and one.value >= 2 * DAY_SECONDS]
        if len(counts) == 2:
            for one in known.stated:
                if one.dimension == claim.unit.dimension and claim.value * counts[0] * counts[1] == one.value:
                    return one.field
    for match in _FAMILY.finditer(plain):
        mouths = Decimal(NUMERALS[match[1] or match[2]])
        for one in _candidates(claim, known):
            if one.per == "person" and bears(
                claim, limit, replace(one.quantity, value=one.value * mouths), one.told, rounded=True
            ):
                return one.field
    return None


def _taken(other: Number, one: Number, known: Implied) -> Decimal | None:
    """How many times a copy's number takes one of the ad's; None where it does not."""
    if other.dimension in ("time", "months"):
        if one.per not in DAYS:
            nights = known.lodging and one.dimension.startswith("currency") and other.dimension == "time"
            return other.value / DAY_SECONDS if nights and one.per not in ("session", "person") else None
        if other.dimension == "months":
            return {
                "month": other.value,
                "year": other.value / 12,
                "quarter": other.value / 3,
                "week": other.value * 4,
                "day": other.value * 30,
            }[one.per]
        return other.value / DAY_SECONDS / DAYS[one.per]
    for name, dimension, size in BY_MEASURE:
        if one.per == name and other.dimension == dimension:
            return other.value / size
    if not is_count(other.quantity) or other.value > 1000:
        return None
    if one.per == WHOLE:
        whole = other.key not in known.contents and other.key not in ("session", *DAYS)
        return other.value if whole else None
    if one.per == other.key in DAYS:
        return other.value  # 三个晚上 at so much a night
    guests = other.key == "person" and (one.per == "person" or one.more)
    return other.value if same_kind(one.per, other.key) or guests else None


def _paced(plain: str, claim: Quantity, limit: str, said: Sequence[Number], known: Implied) -> str | None:
    """The field of a whole that lasts as long as the copy says at the pace that it says: 一天一袋，二十天."""
    rates: list[tuple[Decimal, str, Number | None]] = [
        (one.value, one.per, one) for one in said if one.per in ("day", "week", "month")
    ]
    rates += [(Decimal(1), TIMES[match["u"]], None) for match in _RATE_OF_ONE.finditer(plain)]
    spans = [
        one for one in said if one.dimension in ("time", "months") and one.per == WHOLE and one.value >= DAY_SECONDS
    ]
    for value, period, rate in rates:
        if claim.kind == "duration" and (rate is None or rate.quantity.start != claim.start):
            for one in known.stated:
                if one.per != WHOLE or one.value <= value:
                    continue
                counted = is_count(one.quantity) and (rate is None or is_count(rate.quantity))
                if counted or (rate is not None and rate.dimension == one.dimension):
                    days = one.value / value * DAYS[period]
                    lasting = Quantity(0, 0, "duration", days * DAY_SECONDS, Unit("time"))
                    if bears(claim, limit, lasting, one.told, rounded=True):
                        return one.field
        elif rate is not None and rate.quantity.start == claim.start:
            for span in spans:
                days = span.value / DAY_SECONDS if span.dimension == "time" else span.value * 30
                whole = value * days / DAYS[period]
                for one in known.stated:
                    alike = one.dimension == claim.unit.dimension or (is_count(one.quantity) and is_count(claim))
                    if alike and one.per == WHOLE and abs(one.value - whole) <= whole * Decimal("0.01"):
                        return one.field
    return None


def _reckoned(claim: Quantity, said: Sequence[Number], known: Implied) -> str | None:
    """The field of a price that the copy takes as many times as it says, and says what that comes to: 三晚，240元."""
    mine = next((one for one in said if one.quantity.start == claim.start), None)
    if mine is None or mine.value <= 1 or claim.kind == "price":
        return None
    for part in said:
        for whole in said:
            apart = len({part.quantity.start, whole.quantity.start, claim.start}) == 3
            priced = {part.quantity.kind, whole.quantity.kind} & {"price"} or (part.dimension, whole.dimension) == (
                "",
                "",
            )
            if apart and priced and part.value > 5 and part.value * mine.value == whole.value:
                return next((one.field for one in known.stated if one.dimension.startswith("currency")), None)
    singles = [one.value for one in known.stated if one.dimension.startswith("currency")]
    for price in said:
        two = mine.value == 2 and any(
            one + other == price.value for place, one in enumerate(singles) for other in singles[place + 1 :]
        )
        if two and price.quantity.start != claim.start:
            return next(one.field for one in known.stated if one.dimension.startswith("currency"))
        if (
            price.quantity.start != claim.start
            and price.quantity.kind == "price"
            and price.per != WHOLE
            and is_count(claim)
        ):
            for one in known.stated:
                apiece = one.dimension == price.dimension and price.per == mine.key in ("session", "person")
                if apiece and one.value // mine.value == price.value:
                    return one.field
        if price.quantity.start == claim.start or not (price.quantity.kind == "price" or price.dimension == ""):
            continue
        for one in known.stated:
            if not one.dimension.startswith("currency"):
                continue
            times = _taken(mine, one, known) or (mine.value if mine.key == "person" else None)
            if times and times > 1:
                taken = one.value * times
                others = [
                    other.value for other in known.stated if other.dimension == one.dimension and other is not one
                ]
                others += [one.value * (1 - left.value) for left in known.stated if left.dimension == "left"]
                if price.value == taken or any(price.value == taken - other for other in others):
                    return one.field
    return None


def _proportion(claim: Quantity, said: Sequence[Number], known: Implied) -> str | None:
    """The field of two numbers of one clause that the copy takes as often: 5 本 for an hour, 20 本 for four."""
    mine = next((one for one in said if one.quantity.start == claim.start), None)
    if mine is None or mine.value <= 0:
        return None
    for other in said:
        if other.quantity.start == claim.start or other.value <= 0 or other.dimension == mine.dimension:
            continue
        for one in known.stated:
            if one.dimension != mine.dimension or mine.value % one.value or mine.value // one.value < 2:
                continue
            for beside in known.stated:
                if (
                    beside.dimension == other.dimension
                    and (beside.field, beside.clause) == (one.field, one.clause)
                    and beside.value * (mine.value / one.value) == other.value
                ):
                    return one.field
    return None


def _finished(plain: str, claim: Quantity, limit: str, said: Sequence[Number], known: Implied) -> str | None:
    """The field of a pack of which the copy takes several, and what they last at the ad's pace or at one a day."""
    if claim.kind != "duration":
        return None
    rates = [one for one in known.stated if one.per == "day" and is_count(one.quantity)]
    single = _RATE_OF_ONE.search(plain) is not None
    for other in said:
        if not is_count(other.quantity) or other.value < 2 or other.quantity.start == claim.start:
            continue
        for one in known.stated:
            if not is_count(one.quantity) or one.value < 2 or one.per in DAYS or one.key == other.key:
                continue
            if not (same_kind(one.per, other.key) or one.per == WHOLE):
                continue
            paces = [rate.value for rate in rates if rate.key == one.key] + (
                [Decimal(1)] if single or not rates else []
            )
            for pace in paces:
                lasting = Quantity(0, 0, "duration", one.value * other.value / pace * DAY_SECONDS, Unit("time"))
                if bears(claim, limit, lasting, one.told, rounded=True):
                    return one.field
    return None
