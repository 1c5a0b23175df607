"""What an English copy works out from an ad's figures by what they count and how large they are.

Two walks a day are fourteen a week; of six pockets two zip and four do not; three cases of 24 cans are 72; two of three
kilos leave one. What prices come to is in ``english_bills``, what lengths of time and hours do in
``english_durations``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations, permutations

from shared.policy.counting import Keys, counted
from shared.policy.english_bills import (
    DAYS_OF_SPAN,
    LEAST,
    NO_THING,
    SIZES,
    SPAN_NAMED,
    SPAN_OF_ADVERB,
    amounts_paid,
    bill_of,
    multiplies,
    other_numbers,
    price_beyond,
)
from shared.policy.english_bounds import bears, times_in
from shared.policy.english_days import days_of
from shared.policy.english_durations import REMAINDER, age_support, bare_hour, clock_support, partial_sums, time_support
from shared.policy.english_figures import Figure, rate_of
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import CALENDAR_NUMBERS
from shared.policy.vocabulary import stem, vocabulary

_OTHERS = re.compile(
    r"\b(?:others?|else|strangers|colleagues|teammates|friends|companions|neighbours|neighbors|rivals|mates|fellow"
    r"|and you|plus you|and yourself|besides you|with you|alongside)\b",
    re.I,
)
_TOGETHER = re.compile(
    r"\b(?:included|including|counting|in all|in total|altogether|together|all told|all in|combined|plus|total)\b", re.I
)
_ALL_OF = re.compile(r"\b(?:and|between|of us|of you|meals|people|things|pieces|souls|in one|days|events)\b", re.I)
_LIMIT = re.compile(
    r"\b(?:limit|maximum|max|ceiling|capacity|tops out|no heavier|no more|the most|at most|cap|where it stops)\b", re.I
)
_SECONDS = {"second": 1, "minute": 60, "minut": 60, "hour": 3600, "h": 3600, "day": 86400}
_PARTY = re.compile(
    r"[ -](?:\w+ )?(?:adults?|grown-?ups?|parents|kids|children|schoolchildren|under-\w+|friends|people|of (?:you|us)"
    r"|mates|dogs"
    r"|pensioners|students|members|teenagers|guests|heads|travellers|players|colleagues|cousins|grandparents|boys"
    r"|girls)\b",
    re.I,
)
_BRINGS = re.compile(r"\b(?:bring|brings|bringing|take|leave with|pack|swap|borrow|choose|pick|only|just)\s$", re.I)
_SKIPS = re.compile(r"\b(?:skip|miss|spare|drop|forget|lose) (?:up to )?$", re.I)
_RATIO = re.compile(
    r"\b(?:to|for) (?:every|each)(?: \w+)? $|\b(?:one|an?) [a-z]+ (?:to|for|per) $|\b(?:each|apiece|per \w+)\b", re.I
)
_EACH_PACK = re.compile("每[包袋盒瓶罐片粒支枚个件条块饼]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_AGED = re.compile(r"^(?: and [^.!]*\?|\?| or (?:over|under)\b)", re.I)


def works_out(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """The field of the ad from which the claim of a folded copy can be worked out; None where it cannot."""
    dimension = claim.unit.dimension
    if claim.literal or claim.value <= 0:
        return None
    ours = [figure for figure in known.figures if not figure.quantity.literal]
    than = limit == "under" and re.search(r"\b(?:less|cheaper|more|fewer) than $", plain[: claim.start], re.I)
    if (than or limit in ("", "approx", "reach")) and (support := bill_of(plain, ours, claim).get(claim.start)):
        return support
    if limit in ("", "approx") and any(value in amounts_paid(plain) for value in price_beyond(claim, ours)):
        return next((figure.field for figure in ours if figure.dimension.startswith("currency")), None)
    if limit == "" and LEAST.search(plain):
        for figure in ours:
            if figure.bound == "min" and figure.dimension == dimension and figure.value == claim.value:
                return figure.field
    if dimension == "ordinal":
        return _ordinal(plain, claim, ours, known)
    if dimension == "" and claim.value <= 12 and (support := bare_hour(plain, claim, ours)):
        return support
    if (
        dimension == ""
        and _AGED.match(plain[claim.end :])
        and re.search(r"(?:^|[.!?] )$", plain[: claim.start])
        and (support := age_support(plain, claim, ours)) is not None
    ):
        return support
    if dimension == "multiple":
        akin = combinations([figure for figure in ours if figure.is_count], 2)
        pair = next(
            (
                one
                for one, other in akin
                if not one.of.isdisjoint(other.of)
                and max(one.value, other.value) == min(one.value, other.value) * claim.value
            ),
            None,
        )
        return pair.field if pair is not None else None
    if dimension == "clock":
        return clock_support(plain, claim, ours)
    if dimension in ("", "count") or dimension.startswith("count:"):
        return _count(plain, claim, limit, ours, known)
    if dimension in CALENDAR_NUMBERS:
        return time_support(plain, claim, limit, ours, known)
    if dimension == "age":
        return age_support(plain, claim, ours)
    if dimension in (*SIZES, "temperature"):
        return _size(plain, claim, limit, ours)
    return None


def _fits(claim: Quantity, limit: str, value: Decimal, told: str = "") -> bool:
    if limit in ("", "max", "min", "reach"):
        return value == claim.value and (told in ("", "approx", limit) or limit in ("max", "reach"))
    return bears(claim.value, limit, value, told)


def _count(plain: str, claim: Quantity, limit: str, ours: Sequence[Figure], known: Facts) -> str | None:
    counts = [figure for figure in ours if figure.is_count]
    named = counted(plain, claim, vocabulary())
    numbers = other_numbers(plain, claim)
    times = times_in(plain, claim)
    around = plain[max(0, claim.start - 40) : claim.end + 60]
    spans = {SPAN_OF_ADVERB.get(m[0].lower(), (m["unit"] or "").lower()) for m in SPAN_NAMED.finditer(plain)}
    for figure in counts:
        akin = not named.isdisjoint(figure.of) or not named
        if akin:
            if named and any(_fits(claim, limit, figure.value * many, figure.bound) for many in times):
                return figure.field
            mine = rate_of(plain, claim.start, claim.end)
            for span in {mine} if mine in DAYS_OF_SPAN else spans:
                if figure.per not in DAYS_OF_SPAN or span not in DAYS_OF_SPAN or span == figure.per:
                    continue
                value = figure.value * DAYS_OF_SPAN[span] / DAYS_OF_SPAN[figure.per]
                loose = value != value.to_integral_value() or limit not in ("", "max", "min")
                if figure.per == "month" and span in ("year", "quarter"):
                    value, loose = figure.value * (12 if span == "year" else 3), False
                if _fits(claim, limit, value) or (loose and abs(value / claim.value - 1) <= Decimal("0.09")):
                    return figure.field
            for span_figure in ours:  # two a day for 28 days
                if figure.per in DAYS_OF_SPAN and span_figure.dimension == "time":
                    value = figure.value * span_figure.value / 86400 / DAYS_OF_SPAN[figure.per]
                    if value == claim.value:
                        return figure.field
            paid = amounts_paid(plain)
            bought = {one.sentence for one in ours if one.dimension.startswith("currency") and one.value in paid}
            if any(  # ten bottles, for the price of two sets of five
                many.sentence in bought and many is not figure and _fits(claim, limit, figure.value * many.value)
                for many in counts
            ):
                return figure.field
            for other in counts:
                if (
                    other is not figure
                    and figure.per
                    and figure.per in other.of | {stem(figure.per)}
                    and (stem(figure.per) in other.of and _fits(claim, limit, figure.value * other.value))
                ):
                    return figure.field
    if re.search(r"\bfor the price of $", plain[: claim.start], re.I):
        amounts = {figure.value for figure in ours if figure.dimension.startswith("currency")}
        if any(low > 0 and high == low * claim.value for low, high in permutations(amounts, 2)):
            return "description"
    if claim.value == 2 and re.search(r"\bfor $", plain[: claim.start], re.I):
        two = re.compile(r"\b(?:two|couples?|pairs?|double)\b|\b2\b|双|两", re.I)
        if (support := next((field for field, text in known.texts if two.search(text)), None)) is not None:
            return support
    if (
        claim.value <= 7
        and re.match(r" (?:nights|days|evenings|mornings) a week\b", plain[claim.end :], re.I)
        and len(days_of(tuple(text for _, text in known.texts))) == claim.value
    ):
        return "description"
    nights = re.match(r" (?:\w+ )?(?:nights?|evenings?|mornings?|days?|sleeps)\b", plain[claim.end :], re.I)
    if nights is not None:
        for figure in ours:
            if figure.dimension == "time" and _fits(claim, limit, figure.value / 86400, figure.bound):
                return figure.field
    if claim.unit.dimension == "" and 1500 <= claim.value <= 2100:
        for field, day in known.days:
            if day.year == claim.value:
                return field
    if limit == "" and 2 <= claim.value <= 100 and (support := multiplies(plain, claim, ours)):
        return support
    sizes = [(figure.field, figure.value) for figure in counts] + [(field, size) for size, field, _ in known.lists]
    if limit in ("", "approx") and numbers and REMAINDER.search(plain):
        for field, whole in sizes:
            if whole > 2 and any(claim.value + part == whole for part in partial_sums(numbers)):
                return field
    if (
        _PARTY.match(plain[claim.end :])
        and limit == ""
        and claim.value <= 12
        and any(other.unit.dimension.startswith("currency") for other in find_quantities(plain))
        and any(figure.dimension.startswith("currency") for figure in ours)
    ):
        return "description"  # two parents and three children, for so much
    paid = amounts_paid(plain)
    bought = {one.sentence for one in ours if one.dimension.startswith("currency") and one.value in paid}
    if limit == "" and claim.value > 1:
        for figure in counts:
            if figure.value == claim.value and figure.sentence in bought and figure.sentence != -1:
                return figure.field  # three bars, eighteen quid
    if limit == "" and _SKIPS.search(plain[: claim.start]):
        for one, other in combinations(counts, 2):
            if one.sentence == other.sentence and abs(one.value - other.value) == claim.value:
                return one.field
    if limit == "" and _BRINGS.search(plain[: claim.start]) and NO_THING.match(plain[claim.end :]):
        for figure in counts:
            if figure.bound == "max" and claim.value <= figure.value:
                return figure.field
    if _RATIO.search(plain[: claim.start]) or _RATIO.search(plain[claim.end : claim.end + 24]):
        for one, other in combinations(counts, 2):
            low, high = sorted((one.value, other.value))
            if low > 1 and high == low * claim.value:
                return one.field
    if limit == "" and claim.value in (2, 3):
        word = "double|dual|twin" if claim.value == 2 else "triple|treble"
        noun = re.match(r"[ -]([a-z]{3,})", plain[claim.end :], re.I)
        if noun is not None:
            double = re.compile(rf"\b(?:{word})[ -]?{re.escape(stem(noun[1].lower()))}", re.I)
            support = next((field for field, text in known.texts if double.search(text)), None)
            if support is not None:
                return support
    if limit == "" and claim.value >= 3 and _enumerated(plain, claim):
        return "description"
    if claim.value >= 13 and any(figure.value == claim.value and figure.bound in ("", "approx") for figure in counts):
        return "description"
    if limit in ("", "min") and re.match(r"[^.!]*\?", plain[claim.end :]) and not _known(named, ours):
        return "description"  # wobbly in week 37?
    if claim.value >= 13 and not _known(named, ours):
        for figure in counts:
            if any(_fits(claim, limit, figure.value * many, figure.bound) for many in times):
                return figure.field
    if claim.value >= 13:
        for one, other in combinations(counts, 2):
            if (
                one.value + other.value == claim.value
                and one.sentence == other.sentence
                and not named.isdisjoint(one.of | other.of)
            ):
                return one.field
    if claim.value == 2 and limit == "":
        paid = amounts_paid(plain)
        for first, second in combinations([one for one in ours if one.dimension.startswith("currency")], 2):
            if first.value + second.value in paid and first.value != second.value:
                return first.field
    if _OTHERS.search(around):
        for figure in counts:
            if figure.value == claim.value + 1 and limit in ("", "max", "reach", "under"):
                return figure.field
    other_of = any(not named.isdisjoint(figure.of) for figure in counts)
    if claim.value >= 3 and (_TOGETHER.search(plain) or (_ALL_OF.search(around) and not other_of)):
        for one, other in combinations(counts, 2):
            if one.value + other.value == claim.value and one.field == other.field and one.of != other.of:
                return one.field
    return None


def _enumerated(plain: str, claim: Quantity) -> bool:
    """Whether the copy lists as many things as it counts: red, green and blue, three of them."""
    for clause in re.split(r"[:.;!?—–]", plain):
        if len(clause) > 1 and plain[claim.start : claim.end] not in clause:
            parts = [part for part in re.split(r",(?: and| or)?|\b(?:and|or)\b", clause) if part.strip()]
            if len(parts) == claim.value and all(len(part.split()) <= 5 for part in parts):
                return True
    return False


def _known(named: Keys, ours: Sequence[Figure]) -> bool:
    """Whether the ad counts things of the name."""
    return any(figure.is_count and not named.isdisjoint(figure.of) for figure in ours)


def _ordinal(plain: str, claim: Quantity, ours: Sequence[Figure], known: Facts) -> str | None:
    """The fifth of five, the fourth where three are included; an eighth, of 12 %; on the tenth, of a month."""
    listed = re.match(r" (?:or|and|to) (?:the )?[a-z-]+ of [A-Z]", plain[claim.end :]) is not None
    if listed or re.search(r"\bthe $", plain[: claim.start], re.I):
        for field, day in known.days:
            if day.day == claim.value:
                return field
    if re.search(r"\b(?:an?|one)[ -]$", plain[: claim.start], re.I):
        for figure in ours:
            if figure.dimension == "percent" and abs(figure.value * claim.value / 100 - 1) <= Decimal("0.07"):
                return figure.field
    named = counted(plain, claim, vocabulary())
    for figure in ours:
        if (
            figure.is_count
            and figure.value in (claim.value, claim.value - 1)
            and figure.value > 1
            and (not named.isdisjoint(figure.of) or not named)
        ):
            return figure.field
    return None


def _size(plain: str, claim: Quantity, limit: str, ours: Sequence[Figure]) -> str | None:
    same = [figure for figure in ours if figure.dimension == claim.unit.dimension]
    if claim.unit.dimension == "area":
        lengths = [figure for figure in ours if figure.dimension == "length" and figure.quantity.end]
        for one, other in combinations(lengths, 2):
            near = one.field == other.field and other.quantity.start - one.quantity.end <= 8
            sheets = [figure.value for figure in ours if figure.is_count and figure.sentence == one.sentence]
            if near and any(claim.value == one.value * other.value * number for number in sheets):
                return one.field
            if near and bears(claim.value, limit or "approx", one.value * other.value, ""):
                return one.field
    if not same and limit == "" and re.match(r"[^.!]*\?", plain[claim.end :]):
        return "description"  # put on a kilo since? the ad weighs nothing
    numbers = other_numbers(plain, claim)
    counts = [figure for figure in ours if (figure.is_count or figure.dimension == "multiple") and figure.value > 1]
    paid = amounts_paid(plain)
    bought = {one.sentence for one in ours if one.dimension.startswith("currency") and one.value in paid}
    for figure in same:
        if limit == "" and figure.bound == "max" and figure.value == claim.value and _LIMIT.search(plain):
            return figure.field
        if any(claim.value * many == figure.value for many in numbers if many > 1):
            return figure.field  # twenty-four cans of ten litres
        for many in counts:
            if many.sentence in bought and bears(claim.value, limit, figure.value * many.value, figure.bound):
                return figure.field
            each = _EACH_PACK.search(figure.beside) is not None
            beside = (many.sentence == figure.sentence or each) and (
                not many.of.isdisjoint(figure.of)
                or figure.per == "each"
                or 0 < figure.quantity.start - many.quantity.end <= 3
                or (0 <= many.quantity.start - figure.quantity.end <= 6 and _HAN.search(figure.beside) is not None)
                or (many.field == figure.field and _EACH_PACK.search(figure.beside) is not None and many.value <= 100)
            )
            beside = beside or (figure.per == "each" and many.field == figure.field and many.value <= 100)
            if beside and bears(claim.value, limit, figure.value * many.value, figure.bound):
                return figure.field
            if beside and any(
                bears(claim.value, limit, figure.value * many.value * times, figure.bound)
                for times in times_in(plain, claim)
            ):
                return figure.field
        for share in ours:
            if share.dimension == "percent" and claim.unit.dimension in ("mass", "volume"):
                part = share.value / 100
                if any(bears(claim.value, limit, figure.value * many, "") for many in (part, 1 - part)):
                    return figure.field
        mine = rate_of(plain, claim.start, claim.end)
        for span in ours:  # ten metres in five hours
            if (
                mine in _SECONDS
                and span.dimension == "time"
                and span.value > _SECONDS[mine]
                and bears(claim.value, limit, figure.value * _SECONDS[mine] / span.value, "")
            ):
                return figure.field
        if figure.per in _SECONDS and mine in _SECONDS:
            value = figure.value * _SECONDS[mine] / _SECONDS[figure.per]
            if bears(claim.value, limit, value, figure.bound):
                return figure.field
        if figure.per in ("100 ml", "100 g"):
            basis = "volume" if figure.per.endswith("ml") else "mass"
            hundred = Decimal("0.1") if basis == "volume" else Decimal(100)
            for other in ours:
                if other.dimension == basis and bears(
                    claim.value, limit or "near", figure.value * other.value / hundred, ""
                ):
                    return figure.field
        if numbers and limit == "" and REMAINDER.search(plain):
            factor = claim.unit.factor
            if any(claim.value + part * factor == figure.value for part in numbers):
                return figure.field
    return None
