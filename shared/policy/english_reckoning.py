"""What an English copy works out from an ad's figures by what they count and what they are rates of.

Two walks a day of forty minutes are eighty, and fourteen walks a week; of six pockets two zip and four do not; three
cases of 24 cans are 72; twelve months at £29 are £348.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations, pairwise, permutations

from shared.policy.counting import Keys, counted
from shared.policy.english_bounds import MONTH, bears, seconds, times_in
from shared.policy.english_days import days_of
from shared.policy.english_figures import BESIDE, Figure, rate_of
from shared.policy.english_numbers import NUMBER_WORDS, read_any
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import CALENDAR_NUMBERS, Unit
from shared.policy.vocabulary import stem, vocabulary

_DAYS = {
    "day": Decimal(1), "night": Decimal(1), "week": Decimal(7), "fortnight": Decimal(14), "month": Decimal("30.4"),
    "quarter": Decimal(91), "year": Decimal(365),
}  # fmt: skip
_IN = re.compile(
    r"(?<!half a )(?<!half-)\b(?P<unit>day|night|week|fortnight|month|quarter|year)(?:ly)?\b|\b(?P<adv>daily|nightly"
    r"|annually|annual)\b",
    re.I,
)
_PARTS = {"daily": "day", "nightly": "night", "annual": "year", "annually": "year"}
_REST = re.compile(
    r"\b(?:other|others|rest|remaining|left|more|to go|don['’]t|do not|isn['’]t|aren['’]t|not|another|plus|and|below"
    r"|above|short of|still|keep|give|eat|save)\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:others?|else|strangers|colleagues|teammates|friends|companions|neighbours|neighbors|rivals|mates|fellow"
    r"|and you|plus you|and yourself|besides you|with you|alongside)\b",
    re.I,
)
_TOGETHER = re.compile(
    r"\b(?:included|including|counting|in all|in total|altogether|together|all told|all in|combined|plus|total)\b", re.I
)
_ALL_OF = re.compile(r"\b(?:and|between|of us|of you|meals|people|things|pieces|souls|in one|days|events)\b", re.I)
_FOR_THE_PRICE = re.compile(rf"\b(?P<n>\d+|{NUMBER_WORDS})(?: \w+)? for the price of (?P<m>\d+|{NUMBER_WORDS})\b", re.I)
_ON_US = re.compile(r"\b(?:free|on us|on the house|for nothing|saved?|save|gift|thrown in|cheaper|off)\b", re.I)
_CLOCK_CUE = re.compile(
    r"(?:\b(?:at|till|until|til|by|from|before|after|around|past|to|between|about)|['’]til|[-–—:,])\s?$", re.I
)
_NO_NOUN = re.compile(
    r"\s*(?:[,.;:!?)—–-]|$| (?:if|for|on|so|and|or|when|while|but|by|at|with|to|till|until|then|as|in|o['’]clock"
    r"|sharp)\b)",
    re.I,
)
_NO_THING = re.compile(
    r"\s*(?:[,.;:!?)—–-]|$| (?:or(?! (?:more|so|fewer|less)\b)|if|for|on|so|and|when|while|but|by|at|with|to|then|as"
    r"|until|till|because|stays?|remains?|goes|each|apiece|now|later|more|less|back"
    r"|down|off|of|gets?|buys?|is|comes?|covers?|left|below|above|under|over|in|from|a)\b)",
    re.I,
)
_EACH_PAYS = re.compile(r"^ (?:each|apiece|a head|per head|gets? you|buys?)\b", re.I)
_SHARED = frozenset(("currency", "mass", "volume", "length", "time", "months", "temperature", "calories", "percent"))
_HOUR_THEN = re.compile(r" (?:the|we|you|they|it|your|i|every|each|there)\b", re.I)
_SO_FAR = re.compile(r"^ in\b(?! (?:the|an?|your|total|all|one)\b)", re.I)
_BACK = re.compile(r"\bthere and back\b|\breturn (?:trip|journey|taxi|ride)\b|\bround[- ]trip\b|\bboth ways\b", re.I)
_EVERY_UNIT = re.compile(r"^,? (?:an?|per|each|every|apiece)\b|^/|\b(?:per|each|every) [a-z]+ [^.,;]{0,24}$", re.I)
_LIMIT = re.compile(
    r"\b(?:limit|maximum|max|ceiling|capacity|tops out|no heavier|no more|the most|at most|cap|where it stops)\b", re.I
)
_SENT_BACK = re.compile(
    r"\b(?:changed? your mind|send (?:it|them) back|sends? back|return\w*|swap|exchange|refund|money back|not (?:for"
    r"|loving|convinced|sure)|decide|keep or)\b",
    re.I,
)
_LATER = re.compile(r"\b(?:after|in|into|later|within|on day|by day)\b", re.I)
_AHEAD = re.compile(r"\b(?:ahead|before|in advance|early|beforehand|notice|['’] notice|out)\b", re.I)
_TOO_YOUNG = re.compile(r"\b(?:wait|not|sorry|no|too|until|never|can['’]t|cannot|stay|home|older|grow)\b", re.I)
_OPENS = re.compile(
    r"\b(?:open|opens|opening|close|closes|closed|start|starts|starting|begin|begins|doors|from|until|till|til|between"
    r"|kicks? off|shuts?|ends?|finish\w*)\b",
    re.I,
)
_BY = re.compile(r"\b(?:home|over|done|finish\w*|out|ends?|until|till|free|back|wrap\w*|by|stop\w*|close\w*)\b", re.I)
_SINCE = re.compile(r"\b(?:since|founded|established|est\.?|began|started|opened|born|from|first)\b", re.I)
_SECONDS = {"second": 1, "minute": 60, "minut": 60, "hour": 3600, "h": 3600, "day": 86400}
_EXTRA = re.compile(
    r"\b(?:additional|extra|further|thereafter|after that|then)\b|超出|额外|加时|每[多增]|另加|加一", re.I
)
_HALF = re.compile(r"\bhalf[- ](?:an )?hour|\b30 min", re.I)
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
_WEEKDAY = re.compile(r"\b(mon|tues|wednes|thurs|fri|satur|sun)day", re.I)
_BEGINS = re.compile(r"\b(?:opens?|starts?|begins?|from|doors)\b", re.I)
_AGED = re.compile(r"^(?: and [^.!]*\?|\?| or (?:over|under)\b)", re.I)
_NEVER = re.compile(r"\b(?:won['’]t|never|not|no|nobody|without)\b.*\b(?:in|for)\s$", re.I)
_STILL = re.compile(r"\b(?:and|then) (?:you can )?(?:still|even) (?:swap|return|exchange|send|change|cancel)\b", re.I)
_LONGER = re.compile(r"\b(?:more|longer|extra|less|shorter|later|earlier|apart|difference)\b", re.I)
_ALL_IN = re.compile(
    r"\b(?:included|including|with|plus|and|all in|all told|in all|total|together|altogether|comes? to)\b", re.I
)
_TWO_RATES = re.compile(r"\b(?:per|an?|each|every) \w+,? (?:and )?(?:per |an? |each |every )?\w+", re.I)
_UNIT_OF = {
    "month": Unit("months"), "year": Unit("months", Decimal(12)), "week": Unit("time", Decimal(604800)),
    "day": Unit("time", Decimal(86400)), "night": Unit("time", Decimal(86400)), "hour": Unit("time", Decimal(3600)),
}  # fmt: skip
_TWO = re.compile(r"\b(?:both|couple|pair|two of you|you and a friend|between you|there and back)\b", re.I)
_BOUGHT = frozenset(("", "count", "mass", "volume", "length", "time", "months"))
_FREE_ONE = re.compile(r"\b(?:free|on us|for nothing|on the house|fourth|third)\b", re.I)
_COSTS = re.compile(
    r"\b(?:costs?|pay|pays|paid|comes? to|comes? out at|works out at|price of) (?:you |just |only )?$", re.I
)
_LEAST = re.compile(r"\b(?:smallest|shortest|minimum|least|lowest|cheapest|starts?|starting)\b", re.I)
_JOINS = re.compile(r"\b(?:and|with|plus|both|included|all)\b|&|,", re.I)
_SPANS = (
    (re.compile(r"\bfortnight\b", re.I), 14), (re.compile(r"\bweek\b", re.I), 7), (re.compile(r"\bweekend\b", re.I), 2),
    (re.compile(r"\byear\b", re.I), 12), (re.compile(r"\bhalf a year\b", re.I), 6),
    (re.compile(r"\bquarter\b", re.I), 3),
)  # fmt: skip
_TOGETHER_FOR = frozenset(
    ("couple", "pair", "family", "group", "table", "room", "car", "boat", "team", "rickshaw", "house", "household")
)
_FOR_SO_MANY = re.compile(
    rf"^[^.,;]{{0,12}}\bfor (?:(?:up to )?(?:{NUMBER_WORDS}|\d+)\b(?! (?:days|weeks|months|nights|hours|lessons"
    rf"|sessions|classes))"
    r"|a (?:couple|pair|family|group))|^[^.,;]{0,8}\bper (?:couple|pair|family|group|table|room|car|boat|team|rickshaw"
    r"|house)",
    re.I,
)
_MOST = 60  # of a number of the ad by which a size or price is multiplied
_SIZES = ("mass", "volume", "length", "calories", "energy", "area", "data")
_EIGHTY_DAYS = 80 * 86400


def _bill(plain: str, ours: Sequence[Figure], claim: Quantity) -> dict[int, str]:
    """Where the amounts and numbers of a copy stand that make up a sum of the ad's prices, with a field of the ad.

    An evening and two kilos for £21, of £11 an evening and £5 a kilo; sixty guests with salad for £960.
    """
    prices: dict[Decimal, str] = {}
    for figure in ours:
        if figure.dimension.startswith("currency") and figure.value > 0:
            prices.setdefault(figure.value, figure.field)
    solved: dict[int, str] = {}
    if not prices:
        return solved
    own = list(prices)[:8]
    field = prices[own[0]]
    lefts = [figure.value for figure in ours if figure.dimension == "left"]
    amounts, numbers = _paid_and_bought(plain)
    if claim.kind == "price" and all(place != claim.start for place, _ in amounts):
        amounts.append((claim.start, claim.value))
    joined = _JOINS.search(plain) is not None
    for place, amount in amounts:
        if any(left * start == amount for left in lefts for other, start in amounts if other != place):
            solved |= {place: field} | {other: field for other, start in amounts if start > amount}
        if joined and any(sum(three) == amount for three in combinations(own, 3)):
            solved[place] = field
        for where, many in numbers:
            made = set(_made_of(many, own, plain))
            made |= {value * left for value in made for left in lefts}
            bought_only = {many * one for one in own}
            if amount in made or any(amount - extra in bought_only for extra in own):
                solved |= {place: field, where: field}
        for (where, many), (also, more) in permutations(numbers, 2):
            if where == also:
                continue
            bought = [(one, other, many * one + more * other) for one, other in permutations(own, 2)]
            if any(
                amount in (total, *(total - rest for rest in own if rest not in (one, other)))
                for one, other, total in bought
            ):
                solved |= {place: field, where: field, also: field}
    return solved


def _paid(plain: str) -> set[Decimal]:
    """The amounts of money in a copy, in whatever words: £19, nineteen pounds, costs nineteen."""
    return {amount for _, amount in _paid_and_bought(plain)[0]}


def _paid_and_bought(plain: str) -> tuple[list[tuple[int, Decimal]], list[tuple[int, Decimal]]]:
    """(place, value) of the amounts of money in a copy and of the numbers that something may be multiplied by."""
    amounts: list[tuple[int, Decimal]] = []
    numbers = [(-1, Decimal(2))] if _TWO.search(plain) else []
    numbers += [(-1, Decimal(days)) for pattern, days in _SPANS if pattern.search(plain)]
    for other in find_quantities(plain):
        pounds = other.unit.dimension == "mass" and "pound" in plain[other.start : other.end].lower()
        if pounds:
            amounts.append((other.start, (other.value / other.unit.factor).quantize(Decimal("0.01"))))
        elif other.kind == "price":
            amounts.append((other.start, other.value))
        elif not other.literal and other.unit.dimension.partition(":")[0] in _BOUGHT and other.value > 0:
            numbers.append((other.start, other.value / other.unit.factor))
            if (
                other.unit.dimension == ""
                and _COSTS.search(plain[: other.start])
                and _NO_THING.match(plain[other.end :])
            ):
                amounts.append((other.start, other.value))
    return amounts, numbers[:6]


def _made_of(many: Decimal, prices: Sequence[Decimal], plain: str) -> Iterator[Decimal]:
    """What so many things come to at the ad's prices, alone, with another, or beside one other thing."""
    for one in prices:
        if many != 1:
            yield many * one
            yield one / many
        if _FREE_ONE.search(plain):
            yield (many - 1) * one
        for other in prices:
            if other != one:
                yield many * (one + other)
                yield many * one + other
                if many * one > other > one:  # what so many cost less together
                    yield many * one - other
                    yield (many * one - other) / many
                yield one + (many - 1) * other
                if one > other:
                    yield many * (one - other)


def _after(figure: Figure) -> str:
    """What the ad says just after a figure."""
    quantity = figure.quantity
    return figure.beside[min(quantity.start, BESIDE) + quantity.end - quantity.start :]


def misrated(plain: str, price: Quantity, known: Facts) -> bool:
    """Whether a copy gives a price of the ad for another length of time, or for each of those that it is for"
    " together."""
    rate = rate_of(plain, price.start, price.end)
    told = [
        figure
        for figure in known.figures
        if figure.dimension == price.unit.dimension and figure.value == price.value and figure.quantity.end
    ]
    if not told or not rate:
        return False
    if rate in _DAYS or rate == "hour":
        said = re.compile(rf"\b{rate}(?:ly)?\b|\bnightly\b|\bdaily\b", re.I)
        return not any(figure.per == rate or said.search(figure.field) or said.search(figure.beside) for figure in told)
    if rate in ("person", "head", "each", "adult", "guest"):
        return all(figure.per in _TOGETHER_FOR or _FOR_SO_MANY.search(_after(figure)) is not None for figure in told)
    return False


def works_out(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """The field of the ad from which the claim of a folded copy can be worked out; None where it cannot."""
    dimension = claim.unit.dimension
    if claim.literal or claim.value <= 0:
        return None
    ours = [figure for figure in known.figures if not figure.quantity.literal]
    than = limit == "under" and re.search(r"\b(?:less|cheaper|more|fewer) than $", plain[: claim.start], re.I)
    if (than or limit in ("", "approx", "reach")) and (support := _bill(plain, ours, claim).get(claim.start)):
        return support
    if limit in ("", "approx") and any(value in _paid(plain) for value in _beyond(claim, ours)):
        return next((figure.field for figure in ours if figure.dimension.startswith("currency")), None)
    if limit == "" and _LEAST.search(plain):
        for figure in ours:
            if figure.bound == "min" and figure.dimension == dimension and figure.value == claim.value:
                return figure.field
    if dimension == "ordinal":
        return _ordinal(plain, claim, ours, known)
    if dimension == "" and claim.value <= 12 and (support := _bare_hour(plain, claim, ours)):
        return support
    if (
        dimension == ""
        and _AGED.match(plain[claim.end :])
        and re.search(r"(?:^|[.!?] )$", plain[: claim.start])
        and (support := _age(plain, claim, ours)) is not None
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
        return _clock(plain, claim, ours)
    if dimension in ("", "count") or dimension.startswith("count:"):
        return _count(plain, claim, limit, ours, known)
    if dimension in CALENDAR_NUMBERS:
        return _time(plain, claim, limit, ours, known)
    if dimension == "age":
        return _age(plain, claim, ours)
    if dimension in (*_SIZES, "temperature"):
        return _size(plain, claim, limit, ours)
    return None


def _numbers(plain: str, claim: Quantity) -> list[Decimal]:
    """The other counts of a copy, ``one`` and ``another`` among them."""
    found = [
        other.value
        for other in find_quantities(plain)
        if other.start != claim.start and other.unit.dimension.partition(":")[0] in ("", "count") and not other.literal
    ]
    ones = len(re.findall(r"\b(?:one|another)\b", plain, re.I))
    return found + [Decimal(1)] * ones


def _fits(claim: Quantity, limit: str, value: Decimal, told: str = "") -> bool:
    if limit in ("", "max", "min", "reach"):
        return value == claim.value and (told in ("", "approx", limit) or limit in ("max", "reach"))
    return bears(claim.value, limit, value, told)


def _bare_hour(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """``drop off at nine``: an hour of the clock without a word for it."""
    if not _NO_NOUN.match(plain[claim.end :]) and not _HOUR_THEN.match(plain[claim.end :]):
        return None
    clock = Quantity(claim.start, claim.end, "time", claim.value * 60, Unit("clock"))
    if _CLOCK_CUE.search(plain[: claim.start]) or any(
        other.unit.dimension == "clock" for other in find_quantities(plain)
    ):
        hours = (clock.value, clock.value + 720)
        exact = next((figure.field for figure in ours if figure.dimension == "clock" and figure.value in hours), None)
        return exact or _clock(plain, clock, ours)
    return None


def _kept(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """Two hours of a copy that lie as far apart as something of the ad lasts: soup at seven, hot at three."""
    mine = claim.value if claim.unit.dimension == "clock" else claim.value * 60
    for other in find_quantities(plain):
        bare = other.unit.dimension == "" and other.value <= 12 and _NO_NOUN.match(plain[other.end :])
        if other.start == claim.start or not (bare or other.unit.dimension == "clock"):
            continue
        theirs = other.value * 60 if bare else other.value
        for span in ours:
            minutes = span.value / 60
            if (
                span.dimension == "time"
                and 60 <= minutes <= 1440
                and abs(theirs - mine) % 720 in (minutes % 720, -minutes % 720)
            ):
                return span.field
    return None


def elliptical(plain: str, claim: Quantity) -> Iterator[Quantity]:
    """What a number without a noun may be short for, by the copy's other quantities: thirty pounds, or twenty each."""
    if claim.unit.dimension != "" or claim.literal or not _NO_THING.match(plain[claim.end :]):
        return
    seen = set()
    for other in find_quantities(plain):
        unit = other.unit
        if unit.dimension == "mass" and "pound" in plain[other.start : other.end].lower():
            unit = Unit("currency:GBP")
        if unit.dimension.partition(":")[0] not in _SHARED or unit in seen:
            continue
        seen.add(unit)
        spoken = plain[other.start : other.end].lower()
        pence = unit.dimension.startswith("currency") and (
            "pence" in spoken or re.fullmatch(r"\d+p", spoken) is not None
        )
        factor = Decimal("0.01") if pence else unit.factor
        yield Quantity(claim.start, claim.end, other.kind, claim.value * factor, unit)
    if claim.value >= 20 and re.search(r"[£$€]", plain) is None:
        for name in ("currency:GBP", "currency:USD", "currency:EUR"):
            yield Quantity(claim.start, claim.end, "price", claim.value, Unit(name))
    elif not seen and _EACH_PAYS.match(plain[claim.end :]) and re.search(r"[£$€]", plain) is None:
        for name in ("currency:GBP", "currency:USD", "currency:EUR", "currency:CNY"):
            yield Quantity(claim.start, claim.end, "price", claim.value, Unit(name))


def _multiplies(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """Two tickets, sixteen pounds: a number that the copy supposes, where what it says of it comes out right."""
    paid = _paid(plain)
    if any(value in paid for value in _beyond(claim, ours)):
        return next(figure.field for figure in ours if figure.dimension.startswith("currency"))
    for other in find_quantities(plain):
        if other.start == claim.start or other.literal:
            continue
        for figure in ours:
            pounds = figure.dimension == "currency:GBP" and other.unit.dimension == "mass"
            value = other.value / Decimal("453.59237") if pounds else other.value
            if figure.is_count and counted(plain, other, vocabulary()).isdisjoint(figure.of):
                continue
            if (pounds or figure.dimension == other.unit.dimension) and figure.value != 0:
                if abs(figure.value * claim.value - value) < Decimal("0.001") and figure.value != value:
                    return figure.field
                if figure.dimension.startswith("currency") and any(
                    abs(figure.value * claim.value - one.value) == value and one is not figure
                    for one in ours
                    if one.dimension == figure.dimension
                ):
                    return figure.field  # eighty less than two singles
    return None


def _count(plain: str, claim: Quantity, limit: str, ours: Sequence[Figure], known: Facts) -> str | None:
    counts = [figure for figure in ours if figure.is_count]
    named = counted(plain, claim, vocabulary())
    numbers = _numbers(plain, claim)
    times = times_in(plain, claim)
    around = plain[max(0, claim.start - 40) : claim.end + 60]
    spans = {_PARTS.get(m[0].lower(), (m["unit"] or "").lower()) for m in _IN.finditer(plain)}
    for figure in counts:
        akin = not named.isdisjoint(figure.of) or not named
        if akin:
            if named and any(_fits(claim, limit, figure.value * many, figure.bound) for many in times):
                return figure.field
            mine = rate_of(plain, claim.start, claim.end)
            for span in {mine} if mine in _DAYS else spans:
                if figure.per not in _DAYS or span not in _DAYS or span == figure.per:
                    continue
                value = figure.value * _DAYS[span] / _DAYS[figure.per]
                loose = value != value.to_integral_value() or limit not in ("", "max", "min")
                if figure.per == "month" and span in ("year", "quarter"):
                    value, loose = figure.value * (12 if span == "year" else 3), False
                if _fits(claim, limit, value) or (loose and abs(value / claim.value - 1) <= Decimal("0.09")):
                    return figure.field
            for span_figure in ours:  # two a day for 28 days
                if figure.per in _DAYS and span_figure.dimension == "time":
                    value = figure.value * span_figure.value / 86400 / _DAYS[figure.per]
                    if value == claim.value:
                        return figure.field
            paid = _paid(plain)
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
    if limit == "" and 2 <= claim.value <= 100 and (support := _multiplies(plain, claim, ours)):
        return support
    sizes = [(figure.field, figure.value) for figure in counts] + [(field, size) for size, field, _ in known.lists]
    if limit in ("", "approx") and numbers and _REST.search(plain):
        for field, whole in sizes:
            if whole > 2 and any(claim.value + part == whole for part in _sums(numbers)):
                return field
    if (
        _PARTY.match(plain[claim.end :])
        and limit == ""
        and claim.value <= 12
        and any(other.unit.dimension.startswith("currency") for other in find_quantities(plain))
        and any(figure.dimension.startswith("currency") for figure in ours)
    ):
        return "description"  # two parents and three children, for so much
    paid = _paid(plain)
    bought = {one.sentence for one in ours if one.dimension.startswith("currency") and one.value in paid}
    if limit == "" and claim.value > 1:
        for figure in counts:
            if figure.value == claim.value and figure.sentence in bought and figure.sentence != -1:
                return figure.field  # three bars, eighteen quid
    if limit == "" and _SKIPS.search(plain[: claim.start]):
        for one, other in combinations(counts, 2):
            if one.sentence == other.sentence and abs(one.value - other.value) == claim.value:
                return one.field
    if limit == "" and _BRINGS.search(plain[: claim.start]) and _NO_THING.match(plain[claim.end :]):
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
        paid = _paid(plain)
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


def _sums(numbers: Sequence[Decimal]) -> Iterator[Decimal]:
    for size in range(1, min(4, len(numbers)) + 1):
        for part in combinations(numbers, size):
            yield sum(part, Decimal(0))


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


def _time(plain: str, claim: Quantity, limit: str, ours: Sequence[Figure], known: Facts) -> str | None:
    mine = seconds(claim)
    spans = [figure for figure in ours if figure.dimension in CALENDAR_NUMBERS]
    around = plain[max(0, claim.start - 40) : claim.end + 40]
    for figure in spans:
        theirs = seconds(figure.quantity)
        if (
            limit == ""
            and mine <= theirs
            and _SENT_BACK.search(plain)
            and _LATER.search(around)
            and theirs >= 7 * 86400
            and not re.search(r"\b(?:warranty|guarantee)\b", plain, re.I)
        ):
            return figure.field
        if (
            limit in ("", "min", "over")
            and theirs <= mine <= theirs * 3
            and _AHEAD.search(around)
            and figure.bound != ""
        ):
            return figure.field
        if limit == "under" and figure.bound in ("over", "min") and mine == theirs and _TOO_YOUNG.search(plain):
            return figure.field
        if (
            "working day" in _after(figure)[:14]
            and theirs / 86400 == mine / 604800 * 5
            and limit in ("", "max", "approx")
        ):
            return figure.field
        if (
            limit == ""
            and theirs == mine
            and figure.bound == "max"
            and re.search(r"\byour\s$", plain[: claim.start], re.I)
        ):
            return figure.field
        if (
            limit == ""
            and theirs == mine
            and figure.bound == "max"
            and "within" in figure.beside
            and re.search(r"\b(?:in|within|after)\s$", plain[: claim.start], re.I)
        ):
            return figure.field
        if limit == "" and theirs == mine and figure.bound == "max" and _NEVER.search(plain[: claim.start]):
            return figure.field
        asked = re.match(r"[^.!]*\?", plain[claim.end :]) is not None
        if asked and limit == "" and mine <= theirs and (theirs >= 7 * 86400 or figure.bound in ("under", "max")):
            return figure.field
    longest = max((seconds(figure.quantity) for figure in spans), default=Decimal(0))
    if _SO_FAR.match(plain[claim.end :]) and mine < longest and limit in ("", "near", "approx", "over"):
        return spans[0].field
    if (support := _spends(plain, claim, ours)) is not None:
        return support
    if claim.unit.dimension == "time" and claim.value % 604800 == 0 and limit in ("", "approx", "over"):
        for figure in ours:  # eight Saturday sessions: eight weeks
            weekly = _WEEKDAY.search(figure.beside) is not None or "weekly" in figure.beside
            if figure.is_count and weekly and figure.value == claim.value / 604800:
                return figure.field
    rest = [
        seconds(other)
        for other in find_quantities(plain)
        if other.start != claim.start and other.unit.dimension in CALENDAR_NUMBERS
    ]
    if re.search(r"\banother (?:day|week|month|year|hour|minute)\b", plain, re.I):
        rest += [Decimal(one) for one in (60, 3600, 86400, 604800)] + [MONTH, 12 * MONTH]
    if _STILL.search(plain):
        for figure in spans:
            if mine <= seconds(figure.quantity) and seconds(figure.quantity) >= 7 * 86400 and limit == "":
                return figure.field
    for figure in spans:
        if any(many > 1 and mine * many == seconds(figure.quantity) for many in _numbers(plain, claim)):
            return figure.field  # eight evenings of an hour, of eight hours
    if rest and _REST.search(plain) and limit in ("", "approx"):
        for figure in spans:
            if any(abs(mine + part - seconds(figure.quantity)) < 60 for part in _sums(rest)):
                return figure.field
    for one in spans:
        for other in ours:
            if other is one or other.sentence != one.sentence or one.sentence == -1:
                continue
            bare = other.is_count and other.per == "" and not other.of
            size = seconds(other.quantity) if other in spans else other.value * one.quantity.unit.factor if bare else 0
            if bare and one.dimension == "months":
                size *= MONTH
            if bare and size and abs(size - mine) < 60 and limit == "":
                return one.field  # 24 months unopened, six after opening
            if size and one.dimension == "time" and seconds(one.quantity) + size == mine and limit == "":
                return one.field
    if _LONGER.search(around):
        for one, other in combinations(spans, 2):
            if bears(mine, limit, abs(seconds(one.quantity) - seconds(other.quantity)), ""):
                return one.field
    asked = re.match(r"[^.!]*\?", plain[claim.end :]) is not None
    if asked and not spans and not clocks_in(ours):
        return "description"  # the ad says nothing of how long
    years = sorted({day.year for _, day in known.days if day.year})
    if claim.unit.dimension == "months" and any(
        (last - first) * 12 == claim.value for first, last in combinations(years, 2)
    ):
        return known.days[0][0]
    counts = [figure for figure in ours if figure.is_count and 1 < figure.value <= _MOST]
    for figure in spans:
        for many in counts:
            if many.sentence == figure.sentence and bears(mine, limit, seconds(figure.quantity) * many.value, ""):
                return figure.field
    clocks = [figure for figure in ours if figure.dimension == "clock"]
    for one, other in pairwise(clocks):  # four evenings from 7 to 9.30
        if one.sentence == other.sentence and other.value > one.value:
            for span in spans:
                weeks = span.value / 604800
                if (
                    weeks == int(weeks)
                    and weeks > 1
                    and span.dimension == "time"
                    and bears(mine, limit, (other.value - one.value) * 60 * weeks, "")
                ):
                    return one.field
            for many in counts:
                if many.sentence == one.sentence and bears(
                    mine, limit, (other.value - one.value) * 60 * many.value, ""
                ):
                    return one.field
    for one, other in combinations(clocks, 2):
        apart = abs(other.value - one.value)
        for length in {apart * 60, (1440 - apart) * 60, abs(apart - 720) * 60}:
            for times in {Decimal(1), *times_in(plain, claim)}:
                if length <= 57600 and bears(mine, limit, length * times, ""):
                    return one.field
    if len(clocks) in (4, 6) and limit in ("", "approx"):  # three hours on Saturdays, two on Wednesdays
        opens = [abs(clocks[n + 1].value - clocks[n].value) * 60 for n in range(0, len(clocks), 2)]
        if sum(opens) == mine:
            return clocks[0].field
    days = [(field, day) for field, day in known.days if day.month and day.day]
    for (field, first), (_, last) in combinations(days, 2):
        year = first.year or last.year or 2001
        try:
            between = (date(last.year or year, last.month or 1, last.day or 1)) - date(
                first.year or year, first.month or 1, first.day or 1
            )
        except ValueError:  # 29 February of another year
            continue
        if any(bears(mine, limit, Decimal(abs(between.days) + more) * 86400, "") for more in (0, 1) if between.days):
            return field
    if claim.unit.dimension == "months" and claim.value >= 24:
        for field, day in known.days:
            if (
                day.year
                and not day.month
                and bears(claim.value, limit, Decimal(datetime.now(UTC).year - day.year) * 12, "")
            ):
                return field
        for figure in ours:
            age = datetime.now(UTC).year - figure.value
            if figure.is_count and 1700 <= figure.value < 2100 and bears(claim.value / 12, limit or "approx", age, ""):
                return figure.field
    return None


def clocks_in(ours: Sequence[Figure]) -> list[Figure]:
    """The hours of the clock among an ad's figures."""
    return [figure for figure in ours if figure.dimension == "clock"]


def _spends(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """A year, where what the copy asks for it is twelve times the month's price; two months on us, of ten paid."""
    prices = [figure for figure in ours if figure.dimension.startswith("currency")]
    paid = _paid(plain)
    for price in prices:
        if claim.unit.dimension == "months" and price.per == "month" and price.value > 0:
            if price.value * claim.value in paid:
                return price.field
            for year in prices:
                free = 12 - year.value / price.value
                if year.per == "year" and abs(free - claim.value) < Decimal("0.03") and _ON_US.search(plain):
                    return year.field
        if price.per in ("hour", "day", "night", "week") and claim.unit.dimension == "time":
            times = claim.value / (3600 if price.per == "hour" else 86400 * _DAYS[price.per])
            if times > 1 and price.value * times in paid:
                return price.field
    if any(value in paid for value in _beyond(claim, ours)):
        return prices[0].field
    return None


def _beyond(claim: Quantity, ours: Sequence[Figure]) -> Iterator[Decimal]:
    """What more hours cost than a price is for: £395 for three hours, £60 for each additional hour."""
    prices = [figure for figure in ours if figure.dimension.startswith("currency")]
    for extra in prices:
        if _EXTRA.search(extra.beside) is None:
            continue
        step = Decimal("0.5") if _HALF.search(extra.beside) else Decimal(1)
        if (every := re.search(r"每[多增](\d+)", extra.beside)) is not None:
            step = Decimal(every[1])
        for base in prices:
            for span in ours:
                counts = span.is_count and claim.unit.dimension.partition(":")[0] in ("", "count")
                if span.sentence != base.sentence or base is extra:
                    continue
                if span.dimension != claim.unit.dimension and not counts:
                    continue
                factor = span.quantity.unit.factor
                more = (claim.value - span.value) / factor / step
                if 0 < more <= 1000 and base.value > extra.value:
                    yield base.value + more * extra.value


def _clock(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """An hour within the ad's, when the reader comes by, or when what starts at one of them is over."""
    if re.match(r"[^.!]*\?", plain[claim.end :]) and not _OPENS.search(plain):
        return "description"  # stuck at midnight?
    if (support := _kept(plain, claim, ours)) is not None:
        return support
    clocks = [figure for figure in ours if figure.dimension == "clock"]
    if not _BEGINS.search(plain):
        for figure in clocks:
            if figure.value % 720 == claim.value % 720 and figure.bound in ("", "max"):
                return figure.field
    hours = (claim.value, claim.value + 720) if claim.value < 720 else (claim.value,)
    around = plain[max(0, claim.start - 40) : claim.end + 24]
    lengths = {figure.value / 60 for figure in ours if figure.dimension == "time" and 600 <= figure.value <= 43200}
    lengths |= {other.value / 60 for other in find_quantities(plain) if other.unit.dimension == "time"}
    for figure in clocks:
        if any(figure.value + length in hours for length in lengths):
            return figure.field
        if _BY.search(around) and any(0 <= hour - figure.value <= 30 for hour in hours):
            return figure.field
    for low, high in combinations(clocks, 2):
        if (
            low.sentence == high.sentence
            and low.value < high.value
            and not _OPENS.search(around)
            and any(low.value <= hour <= high.value for hour in hours)
        ):
            return low.field
    return None


def _age(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """Somebody of an age that the ad has a place or a price for: a ten-year-old, of children 5 to 15."""
    ages = [figure for figure in ours if figure.dimension == "age"]
    for figure in ages:
        if figure.bound in ("min", "over") and figure.value >= claim.value and _TOO_YOUNG.search(plain):
            return figure.field
    for low, high in pairwise(ages):
        if low.field == high.field and low.value <= claim.value <= high.value:
            return low.field
    for figure in ages:
        below = figure.bound in ("under", "max") or "under" in figure.beside
        if below and claim.value < figure.value:
            return figure.field
        if figure.bound == "min" and claim.value >= figure.value and len(ages) == 1:
            return figure.field
    for figure in ours:
        if (
            "years" in figure.beside
            and figure.dimension == "months"
            and claim.value * 12 >= figure.value
            and re.search(r"\bfrom \d+ years|\bchildren \d+", figure.beside)
        ):
            return figure.field
    spans = [figure for figure in ours if re.search(r"\b(?:children|kids|ages?|aged)\b", figure.beside)]
    for low, high in pairwise(spans):
        near = low.field == high.field and 0 < high.quantity.start - low.quantity.end <= 5
        if near and low.value <= claim.value <= high.value <= 110:
            return low.field
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
    numbers = _numbers(plain, claim)
    counts = [figure for figure in ours if (figure.is_count or figure.dimension == "multiple") and figure.value > 1]
    paid = _paid(plain)
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
        if numbers and limit == "" and _REST.search(plain):
            factor = claim.unit.factor
            if any(claim.value + part * factor == figure.value for part in numbers):
                return figure.field
    return None


def price_terms(plain: str, claim: Quantity, known: Facts) -> Iterator[tuple[str, Decimal]]:
    """(field, amount) of what the ad's prices come to over a time, for a number of things, and there and back."""
    figures = known.figures
    texts = [text for _, text in known.texts]
    offered = times_in(plain, claim) | ({Decimal(7)} if re.search(r"\bweek\b", plain, re.I) else set())
    prices = [figure for figure in figures if figure.dimension == claim.unit.dimension]
    numbers = _numbers(plain, claim)[:4]
    counts = [figure for figure in figures if figure.is_count and figure.value > 1]
    spans = {_PARTS.get(m[0].lower(), (m["unit"] or "").lower()) for m in _IN.finditer(plain)}
    terms = [
        (figure.field, price.value * figure.value / _UNIT_OF[price.per].factor)
        for price in prices
        if price.per in _UNIT_OF
        for figure in figures
        if figure.dimension in CALENDAR_NUMBERS
        and _UNIT_OF[price.per].dimension == figure.dimension
        and figure.value % _UNIT_OF[price.per].factor == 0
    ]
    yield from terms
    for share in figures:
        if share.dimension == "percent":
            yield from ((field, value * share.value / 100) for field, value in terms)
    for month in prices:
        for year in prices:
            if month.per == "month" and year.per == "year":
                yield year.field, abs(12 * month.value - year.value)
    if terms:  # two months and the delivery
        yield from ((field, value + price.value) for field, value in terms for price in prices)
    for price in prices:
        if _BACK.search(plain):
            yield price.field, price.value * 2
        for other in find_quantities(plain):
            if other.unit.dimension.partition(":")[0] in ("time", "count", "") and not other.literal:
                yield from ((price.field, value) for value in _beyond(other, figures))
            if price.per == "hour" and other.unit.dimension == "time":
                yield price.field, price.value * other.value / 3600
        for text in texts:
            for match in _FOR_THE_PRICE.finditer(text):
                if read_any(match["n"]) in offered:
                    yield price.field, price.value * read_any(match["m"])
        for span in spans:
            if price.per in _DAYS and span != price.per:
                if (price.per, span) in (("month", "year"), ("month", "quarter")):
                    yield price.field, price.value * (12 if span == "year" else 3)
                elif (price.per, span) == ("month", "fortnight"):
                    continue
                else:
                    yield price.field, price.value * Decimal(_DAYS[span]) / Decimal(_DAYS[price.per])
        if _EVERY_UNIT.search(plain[claim.end : claim.end + 20]) or _EVERY_UNIT.search(plain[: claim.start]):
            for figure in figures:
                if figure.dimension in (*_SIZES, "time", "multiple") and figure.value:
                    yield price.field, price.value / (figure.value / figure.quantity.unit.factor)
        for second in prices:  # two at nine and two at four
            if second is not price and numbers:
                yield from (
                    (price.field, price.value * one + second.value * more) for one, more in permutations(numbers, 2)
                )
        for amount in _numbers(plain, claim):
            if price.per and amount > 100:  # two thousand words
                yield price.field, price.value * amount
        for count in counts:
            if count.bound == "min" and _LEAST.search(plain):
                yield price.field, price.value * count.value
            if _ALL_IN.search(plain) and count.sentence >= 0:
                yield from (
                    (price.field, price.value * count.value + second.value)
                    for second in prices
                    if second is not price and count.value <= 12
                )
            if _TWO_RATES.search(plain):
                for more in (*counts, *(one for one in figures if one.dimension == "time")):
                    size = more.value if more.is_count else more.value / more.quantity.unit.factor
                    if more is not count and size > 1:
                        yield price.field, price.value / count.value / size
            if count.value in offered and price.sentence == count.sentence:
                yield price.field, price.value / count.value
            if count.value <= _MOST and price.per and stem(price.per) in count.of:
                yield price.field, price.value * count.value
