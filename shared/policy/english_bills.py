"""What the prices of an ad come to in an English copy: for a number of things, over a time, with something beside.

Twelve months at £29 are £348; an evening and two kilos, of £11 an evening and £5 a kilo, are £21. A price that the copy
gives for another time or for each of many is told apart, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import combinations, permutations

from shared.policy.counting import counted
from shared.policy.english_bounds import times_in
from shared.policy.english_figures import BESIDE, Figure, rate_name, rate_of
from shared.policy.english_numbers import NUMBER_WORDS, read_any
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import CALENDAR_NUMBERS, Unit, match_unit
from shared.policy.vocabulary import stem, vocabulary

DAYS_OF_SPAN = {
    "day": Decimal(1), "night": Decimal(1), "week": Decimal(7), "fortnight": Decimal(14), "month": Decimal("30.4"),
    "quarter": Decimal(91), "year": Decimal(365),
}  # fmt: skip
_RATED_BY = re.compile(r"(?: of [a-z]+)? (?:an?|per|each|every) [a-z]+\b", re.I)
_STAYS = {"day", "night"}
_DISTANCES = {  # by the names that `rate_of` gives them, in metres
    rate_name(name): unit[0].factor
    for name in ("mile", "kilometre", "kilometer", "km", "metre", "meter", "yard", "foot")
    if (unit := match_unit(name)) is not None
}
SPAN_NAMED = re.compile(
    r"(?<!half a )(?<!half-)\b(?P<unit>day|night|week|fortnight|month|quarter|year)(?:ly)?\b|\b(?P<adv>daily|nightly"
    r"|annually|annual)\b",
    re.I,
)
SPAN_OF_ADVERB = {"daily": "day", "nightly": "night", "annual": "year", "annually": "year"}
_FOR_THE_PRICE = re.compile(rf"\b(?P<n>\d+|{NUMBER_WORDS})(?: \w+)? for the price of (?P<m>\d+|{NUMBER_WORDS})\b", re.I)
_ON_US = re.compile(r"\b(?:free|on us|on the house|for nothing|saved?|save|gift|thrown in|cheaper|off)\b", re.I)
NO_THING = re.compile(
    r"\s*(?:[,.;:!?)—–-]|$| (?:or(?! (?:more|so|fewer|less)\b)|if|for|on|so|and|when|while|but|by|at|with|to|then|as"
    r"|until|till|because|stays?|remains?|goes|each|apiece|now|later|more|less|back"
    r"|down|off|of|gets?|buys?|is|comes?|covers?|left|below|above|under|over|in|from|a)\b)",
    re.I,
)
_EACH_PAYS = re.compile(r"^ (?:each|apiece|a head|per head|gets? you|buys?)\b", re.I)
_SHARED = frozenset(("currency", "mass", "volume", "length", "time", "months", "temperature", "calories", "percent"))
_BACK = re.compile(r"\bthere and back\b|\breturn (?:trip|journey|taxi|ride)\b|\bround[- ]trip\b|\bboth ways\b", re.I)
_EVERY_UNIT = re.compile(r"^,? (?:an?|per|each|every|apiece)\b|^/|\b(?:per|each|every) [a-z]+ [^.,;]{0,24}$", re.I)
_EXTRA = re.compile(
    r"\b(?:additional|extra|further|thereafter|after that|then)\b|超出|额外|加时|每[多增]|另加|加一", re.I
)
_HALF = re.compile(r"\bhalf[- ](?:an )?hour|\b30 min", re.I)
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
LEAST = re.compile(r"\b(?:smallest|shortest|minimum|least|lowest|cheapest|starts?|starting)\b", re.I)
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
MOST_MULTIPLIED = 60  # of a number of the ad by which a size or price is multiplied
SIZES = ("mass", "volume", "length", "calories", "energy", "area", "data")


def bill_of(plain: str, ours: Sequence[Figure], claim: Quantity) -> dict[int, str]:
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


def amounts_paid(plain: str) -> set[Decimal]:
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
                and NO_THING.match(plain[other.end :])
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


def said_after(figure: Figure) -> str:
    """What the ad says just after a figure."""
    quantity = figure.quantity
    return figure.beside[min(quantity.start, BESIDE) + quantity.end - quantity.start :]


def misrated(plain: str, price: Quantity, known: Facts) -> bool:
    """Whether a copy gives a price of the ad for another length of time, or for each of those that it is for
    together."""
    rate = rate_of(plain, price.start, price.end)
    told = [
        figure
        for figure in known.figures
        if figure.dimension == price.unit.dimension and figure.value == price.value and figure.quantity.end
    ]
    if not told or not rate:
        return False
    if rate in DAYS_OF_SPAN or rate == "hour":
        said = re.compile(rf"\b{rate}(?:ly)?\b|\bnightly\b|\bdaily\b", re.I)
        return not any(
            figure.per == rate
            or said.search(figure.field)
            or {figure.per, rate} == _STAYS
            or (figure.per not in {"hour", *DAYS_OF_SPAN} and said.search(figure.beside))
            for figure in told
        )
    if rate in ("person", "head", "each", "adult", "guest"):
        return all(
            figure.per in _TOGETHER_FOR or _FOR_SO_MANY.search(said_after(figure)) is not None for figure in told
        )
    return False


def rated_otherwise(plain: str, amount: Quantity, known: Facts) -> bool:
    """Whether a copy gives an amount of the ad for another thing that the ad knows, or for another distance: *180 mg a
    box* of *180 mg a can*."""
    said = _RATED_BY.match(plain, amount.end)
    rate = rate_of(plain, amount.start, amount.end) if said and amount.kind != "number" else ""
    rates = {
        figure.per
        for figure in known.figures
        if figure.dimension == amount.unit.dimension and figure.value == amount.value and figure.quantity.end
    }
    if not rate or not rates or "" in rates or rate in rates:
        return False
    if rate in _DISTANCES:
        return all(one in _DISTANCES and _DISTANCES[one] != _DISTANCES[rate] for one in rates)
    return all(stem(one) in known.words.stems for one in (rate, *rates))


def other_numbers(plain: str, claim: Quantity) -> list[Decimal]:
    """The other counts of a copy, ``one`` and ``another`` among them."""
    found = [
        other.value
        for other in find_quantities(plain)
        if other.start != claim.start and other.unit.dimension.partition(":")[0] in ("", "count") and not other.literal
    ]
    ones = len(re.findall(r"\b(?:one|another)\b", plain, re.I))
    return found + [Decimal(1)] * ones


def elliptical(plain: str, claim: Quantity) -> Iterator[Quantity]:
    """What a number without a noun may be short for, by the copy's other quantities: thirty pounds, or twenty each."""
    if claim.unit.dimension != "" or claim.literal or not NO_THING.match(plain[claim.end :]):
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


def multiplies(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """Two tickets, sixteen pounds: a number that the copy supposes, where what it says of it comes out right."""
    paid = amounts_paid(plain)
    if any(value in paid for value in price_beyond(claim, ours)):
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


def spent_for(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """A year, where what the copy asks for it is twelve times the month's price; two months on us, of ten paid."""
    prices = [figure for figure in ours if figure.dimension.startswith("currency")]
    paid = amounts_paid(plain)
    for price in prices:
        if claim.unit.dimension == "months" and price.per == "month" and price.value > 0:
            if price.value * claim.value in paid:
                return price.field
            for year in prices:
                free = 12 - year.value / price.value
                if year.per == "year" and abs(free - claim.value) < Decimal("0.03") and _ON_US.search(plain):
                    return year.field
        if price.per in ("hour", "day", "night", "week") and claim.unit.dimension == "time":
            times = claim.value / (3600 if price.per == "hour" else 86400 * DAYS_OF_SPAN[price.per])
            if times > 1 and price.value * times in paid:
                return price.field
    if any(value in paid for value in price_beyond(claim, ours)):
        return prices[0].field
    return None


def price_beyond(claim: Quantity, ours: Sequence[Figure]) -> Iterator[Decimal]:
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


def price_terms(plain: str, claim: Quantity, known: Facts) -> Iterator[tuple[str, Decimal]]:
    """(field, amount) of what the ad's prices come to over a time, for a number of things, and there and back."""
    figures = known.figures
    texts = [text for _, text in known.texts]
    offered = times_in(plain, claim) | ({Decimal(7)} if re.search(r"\bweek\b", plain, re.I) else set())
    prices = [figure for figure in figures if figure.dimension == claim.unit.dimension]
    numbers = other_numbers(plain, claim)[:4]
    counts = [figure for figure in figures if figure.is_count and figure.value > 1]
    spans = {SPAN_OF_ADVERB.get(m[0].lower(), (m["unit"] or "").lower()) for m in SPAN_NAMED.finditer(plain)}
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
                yield from ((price.field, value) for value in price_beyond(other, figures))
            if price.per == "hour" and other.unit.dimension == "time":
                yield price.field, price.value * other.value / 3600
        for text in texts:
            for match in _FOR_THE_PRICE.finditer(text):
                if read_any(match["n"]) in offered:
                    yield price.field, price.value * read_any(match["m"])
        for span in spans:
            if price.per in DAYS_OF_SPAN and span != price.per:
                if (price.per, span) in (("month", "year"), ("month", "quarter")):
                    yield price.field, price.value * (12 if span == "year" else 3)
                elif (price.per, span) == ("month", "fortnight"):
                    continue
                else:
                    yield price.field, price.value * Decimal(DAYS_OF_SPAN[span]) / Decimal(DAYS_OF_SPAN[price.per])
        if _EVERY_UNIT.search(plain[claim.end : claim.end + 20]) or _EVERY_UNIT.search(plain[: claim.start]):
            for figure in figures:
                if figure.dimension in (*SIZES, "time", "multiple") and figure.value:
                    yield price.field, price.value / (figure.value / figure.quantity.unit.factor)
        for second in prices:  # two at nine and two at four
            if second is not price and numbers:
                yield from (
                    (price.field, price.value * one + second.value * more) for one, more in permutations(numbers, 2)
                )
        for amount in other_numbers(plain, claim):
            if price.per and amount > 100:  # two thousand words
                yield price.field, price.value * amount
        for count in counts:
            if count.bound == "min" and LEAST.search(plain):
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
            if count.value <= MOST_MULTIPLIED and price.per and stem(price.per) in count.of:
                yield price.field, price.value * count.value
