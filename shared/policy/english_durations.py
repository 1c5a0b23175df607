"""What an English copy works out from an ad's lengths of time, hours of the clock and ages.

Two walks a day of forty minutes are eighty; four evenings from 7 to 9.30 are ten hours; a ten-year-old is one of the
children from 5 to 15.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations, pairwise

from shared.policy.english_bills import MOST_MULTIPLIED, other_numbers, said_after, spent_for
from shared.policy.english_bounds import MONTH, bears, seconds, times_in
from shared.policy.english_figures import Figure
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import CALENDAR_NUMBERS, Unit

REMAINDER = re.compile(
    r"\b(?:other|others|rest|remaining|left|more|to go|don['’]t|do not|isn['’]t|aren['’]t|not|another|plus|and|below"
    r"|above|short of|still|keep|give|eat|save)\b",
    re.I,
)
_CLOCK_CUE = re.compile(
    r"(?:\b(?:at|till|until|til|by|from|before|after|around|past|to|between|about)|['’]til|[-–—:,])\s?$", re.I
)
_NO_NOUN = re.compile(
    r"\s*(?:[,.;:!?)—–-]|$| (?:if|for|on|so|and|or|when|while|but|by|at|with|to|till|until|then|as|in|o['’]clock"
    r"|sharp)\b)",
    re.I,
)
_HOUR_THEN = re.compile(r" (?:the|we|you|they|it|your|i|every|each|there)\b", re.I)
_SO_FAR = re.compile(r"^ in\b(?! (?:the|an?|your|total|all|one)\b)", re.I)
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
_WEEKDAY = re.compile(r"\b(mon|tues|wednes|thurs|fri|satur|sun)day", re.I)
_BEGINS = re.compile(r"\b(?:opens?|starts?|begins?|from|doors)\b", re.I)
_NEVER = re.compile(r"\b(?:won['’]t|never|not|no|nobody|without)\b.*\b(?:in|for)\s$", re.I)
_STILL = re.compile(r"\b(?:and|then) (?:you can )?(?:still|even) (?:swap|return|exchange|send|change|cancel)\b", re.I)
_LONGER = re.compile(r"\b(?:more|longer|extra|less|shorter|later|earlier|apart|difference)\b", re.I)


def bare_hour(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
    """``drop off at nine``: an hour of the clock without a word for it."""
    if not _NO_NOUN.match(plain[claim.end :]) and not _HOUR_THEN.match(plain[claim.end :]):
        return None
    clock = Quantity(claim.start, claim.end, "time", claim.value * 60, Unit("clock"))
    if _CLOCK_CUE.search(plain[: claim.start]) or any(
        other.unit.dimension == "clock" for other in find_quantities(plain)
    ):
        hours = (clock.value, clock.value + 720)
        exact = next((figure.field for figure in ours if figure.dimension == "clock" and figure.value in hours), None)
        return exact or clock_support(plain, clock, ours)
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


def partial_sums(numbers: Sequence[Decimal]) -> Iterator[Decimal]:
    for size in range(1, min(4, len(numbers)) + 1):
        for part in combinations(numbers, size):
            yield sum(part, Decimal(0))


def time_support(plain: str, claim: Quantity, limit: str, ours: Sequence[Figure], known: Facts) -> str | None:
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
            "working day" in said_after(figure)[:14]
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
    if (support := spent_for(plain, claim, ours)) is not None:
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
        if any(many > 1 and mine * many == seconds(figure.quantity) for many in other_numbers(plain, claim)):
            return figure.field  # eight evenings of an hour, of eight hours
    if rest and REMAINDER.search(plain) and limit in ("", "approx"):
        for figure in spans:
            if any(abs(mine + part - seconds(figure.quantity)) < 60 for part in partial_sums(rest)):
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
    counts = [figure for figure in ours if figure.is_count and 1 < figure.value <= MOST_MULTIPLIED]
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


def clock_support(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
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


def age_support(plain: str, claim: Quantity, ours: Sequence[Figure]) -> str | None:
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
