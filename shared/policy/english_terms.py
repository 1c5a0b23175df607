"""The terms of an offer as an English copy turns them: what costs extra is included, what is bounded has no bound, and
what is for some people is for all.

``Shoes and chalk included`` where chalk is £1; ``as many visits as you like`` where there are two. When an offer holds
and how soon is in ``english_timing``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

from shared.policy.english_bills import misrated
from shared.policy.english_timing import misplaced_in_time, too_soon
from shared.policy.evidence import Word
from shared.policy.facts import Facts
from shared.policy.numerals import find_quantities
from shared.policy.vocabulary import frame, stem, vocabulary

_TOKEN = re.compile(r"[A-Za-z][A-Za-z'’]*")
_HAN = re.compile(r"[\u3400-\u9fff]")
_EMPTY = frozenset(map(stem, frame("claims.empty")))
# What is said to be in the price.
_THING = r"(?P<x>(?:[A-Za-z][\w'’-]*,? ){0,5}?[A-Za-z][\w'’-]*)"
_IN_PRICE = (
    r"(?:(?:is|are|was|were|come|comes|get|gets)? ?(?:also |all |both |always |already )?(?:included|thrown in|covered"
    r"|on us"
    r"|on the house|lent free|complimentary|at no (?:extra )?(?:cost|charge)|at our expense|free of charge|for nothing"
    r"|(?:all )?part of (?:it|the (?:price|deal|fee|package|ticket|cost)|the [£$€]\d+)|in the (?:price|fee|cost|deal)))"
)
_HEAD = r"(?:^|[,.;:!?—–] ?|\b(?:with|and|plus|including) )"
_INCLUDED = (
    re.compile(rf"{_HEAD}{_THING} {_IN_PRICE}\b", re.I),
    re.compile(rf"{_HEAD}{_THING} (?:is|are|comes?|travels?|gets?) (?:\w+ )?free\b", re.I),
    re.compile(rf"{_HEAD}{_THING} and all\b", re.I),
    re.compile(r"[£$€]\s?\d+(?:\.\d+)?[^.,;:!?]{0,24}? with (?P<x>(?:[a-z][\w'’-]* ?){1,4})", re.I),
    re.compile(r"(?:^|[.;:!?] )(?P<x>[^.;:!?£$€]{3,60}?) for [£$€]\d", re.I),
    re.compile(
        rf"\b(?:includes|including|covers|buys(?: you)?|gets(?: you)?|throws in|comes? with) {_THING}(?=[,.;!?]|$)",
        re.I,
    ),
    re.compile(
        r"\b(?<!-)free (?P<x>(?!(?:of|from|for|to|and|in|on|at|as|if|when|with)\b)(?:[a-z][\w'’-]* ?){1,3})", re.I
    ),
)
_CHARGED = re.compile(
    r"\b(?:extra|separate(?:ly)?|sold|charged|cost|costs|at cost|hire[ds]?|rent(?:ed)?|not (?:included|supplied"
    r"|provided|covered)"
    r"|excluded|excludes|excluding|without|pay(?:able)?|own expense|adds?|surcharge|deposit|supplement)\b"
    r"|另[付购收计]|自理|自费|到付|不含|不包|可租|加[价收]|收费|需付",
    re.I,
)
_GIVEN = re.compile(
    r"\b(?:with|includ\w+|free|lent|lend|loan|supplied|provided|complimentary|comes?|on us|covered|part of|at no)\b|含"
    r"|赠|免费|附|送|包邮|免邮",
    re.I,
)
_WITH = re.compile(r"\b(?:with|includ\w+|free|complimentary)\b|含|赠|免费", re.I)
_NOT_GIVEN = re.compile(
    r"\b(?:not|isn['’]t|aren['’]t|never|no|without|doesn['’]t|don['’]t|excluding|excludes)\b|不含|不包|不附|不送|不提供|自备",
    re.I,
)
_UNIT_PRICE = re.compile(r"[£$€]\s?\d[\d.,]* (?:an?|per|each|every) ([a-z]+)", re.I)
_LINKS = frozenset(
    [
        "from",
        "with",
        "this",
        "that",
        "have",
        "each",
        "your",
        "their",
        "over",
        "under",
        "until",
        "than",
        "then",
        "when",
        "them",
        "they",
        "only",
        "just",
        "also",
    ]
)
_A_HEAD = re.compile(r"^,? (?P<rate>(?:an?|per|each|every) (?:person|head|adult|guest)|each|apiece)\b", re.I)
_APART = re.compile(
    r"\b(?:extra|not|without|isn['’]t|aren['’]t|excluded|aside|apart|optional|add|adds|separate(?:ly)?|if|plus|more|or"
    r"|less|instead|before)\b|\?",
    re.I,
)
_LISTED = re.compile(r",[^,]* (?:and|&) |^[^,]*$", re.I)
_JOINED = re.compile(r",|&|\b(?:and|plus|with|or|for|of|in|on|at)\b")
_PERIODS = frozenset(
    map(
        stem,
        [
            "day",
            "night",
            "week",
            "month",
            "year",
            "hour",
            "minute",
            "session",
            "first",
            "second",
            "third",
            "fourth",
            "seventh",
            "one",
            "two",
        ],
    )
)
# What has no bound.
_NO_BOUND = re.compile(
    r"\bas (?:many|much|often)(?: [\w'-]+){0,4} as (?:you|they|we|it|anyone|he|she)(?:['’]d|['’]ll)?(?: \w+)?\b"
    r"|\bas (?:many|much) as (?:you|it|they) (?:like|wish|want|please|need|takes?|can)\b"
    r"|\bas (?:hot|fast|late|early|high|far|deep|heavy|large|big|cold) as (?:you|it|they)(?: \w+)?\b"
    r"|\bas many times as\b|\bfor as long as (?:you|it|they)\b|\bas long as (?:the|your|it|they"
    r"|you) (?:[\w'’]+ )?(?:needs?|lives?|lasts?|takes?|wants?|likes?)\b|\bhowever (?:many|much|often|long|far|hot|big"
    r"|large|heavy|flat|old|late)\b"
    r"|\bno matter how (?:many|much|often|long|far|hot|big|large|heavy|old|late)\b|\b(?:no|without) (?:upper "
    r"|any )?limits?\b"
    r"|\bany number of\b|\bwhatever (?:that is|the (?:size|weight|length|distance|number|value|damage|amount))\b",
    re.I,
)
_UNBOUNDED = re.compile(
    r"\b(?:unlimited|as (?:many|much|often|long)|no (?:upper )?limit|any number|endless|without limit|lifts? the limit"
    r"|any (?:size|length|weight|distance)"
    r"|all you can|until you|whenever|open-ended|no cap|no maximum)\b|不限|无限|任意|随意|可续|管够|畅[饮吃玩]",
    re.I,
)
_ANYWHERE = re.compile(
    r"\banywhere (?:in the world|on (?:the planet|earth)|in the country|on the globe)\b|\bworldwide\b|\b(?:to )?(?:any"
    r"|every) country\b"
    r"|\baround the (?:globe|world)\b|\bacross the globe\b|\bnationwide\b",
    re.I,
)
_WIDE = re.compile(
    r"\b(?:world\w*|anywhere|international\w*|global\w*|nationwide|any country|abroad|overseas)\b|全国|全球|海外", re.I
)
_WHENEVER = re.compile(
    r"\b(?:cancel|swap|change|return|exchange|book|ring|call|order|switch|reschedule|move|quit|leave)\b[^.!?;]{0,20}?"
    r"\b(?P<when>whenever (?:you|it|they) \w+|(?:at )?any ?time|as late as you like|right up to the (?:day|last minute"
    r"|morning))\b",
    re.I,
)
_RESTRICTED = re.compile(
    r"\b(?:once|notice|in advance|ahead|before|by \w+day|by the|by \d|within|until|up to \d+ (?:hours|days)|minimum"
    r"|after (?:two|three|\d+))\b|提前|之前",
    re.I,
)
_OR_NOT = re.compile(r"\b(?P<w>[a-z]{3,}) or not\b", re.I)
_FOR_LIFE = re.compile(
    r"\bfor (?:the )?(?:whole |entire |rest of (?:the |its |your )?)?life(?:time)? (?:of|span)\b|\bthe rest of (?:your"
    r"|its|their|his|her)"
    r" (?:life|lives|days|career)\b|\bfor as long as you (?:live|own|have|keep)\b|\bguaranteed (?:for life|forever)\b"
    r"|\bnever (?:runs? out|expires?)\b|\bfor ever\b|\bno expiry(?: date)?\b|\b(?:lasts?|keeps?|works?"
    r"|good) (?:for )?(?:years|decades|a lifetime)\b",
    re.I,
)
_LIFE = re.compile(
    r"\b(?:lifetime|for life|life of|forever|permanent\w*|unlimited|no expiry|never expires?)\b|终身|永久|长期", re.I
)
# Who pays the postage.
_OUR_EXPENSE = re.compile(
    r"\b(?:at our (?:own )?expense|we(?:['’]ll)? (?:pay|cover) (?:the )?(?:postage|shipping|carriage|return)"
    r"|free (?:postage|shipping|returns|carriage)"
    r"|(?:postage|shipping|returns?|carriage) (?:is |are )?(?:free|on us|paid)|without paying (?:postage|shipping))\b",
    re.I,
)
_OWN_EXPENSE = re.compile(
    r"自付|到付|买家承担|\b(?:at (?:your|the buyer['’]s) (?:own )?expense|postage (?:is )?(?:extra|not included)"
    r"|you pay (?:the )?(?:postage|return))\b",
    re.I,
)
# Of what rank.
_RANKED = re.compile(
    r"\bmost[- ](?:walked|loved|read|booked|watched|popular|bought|visited|downloaded|played|trusted|used|wanted"
    r"|recommended|reviewed)\b"
    r"|\b(?:[A-Z]\w+|the (?:city|town|nation|country|world|county|region))['’]s (?:own )?favourite\b|\b(?:rates?"
    r"|rated) (?:it |us )?(?:the )?highest\b"
    r"|\b(?:top|highest|best)-rated\b|\bwon (?:gold|silver|bronze)\b|\b(?:national|world|european"
    r"|county) (?:\w+ )?champion\b",
)
_RANK_TOLD = re.compile(r"\b(?:most|favourite|rated|rating|award|winner|won|champion|gold|first)\b|最|奖|冠军", re.I)
# For everyone.
_EVERYONE = re.compile(
    r"\b(?:everyone|everybody|anyone|anybody|all of you|each of you|whoever you are|always|no matter who"
    r"|whatever the (?:day|date|time)|regardless)\b",
    re.I,
)
_CONDITION = re.compile(
    r"\b(?:students?|members?|seniors?|concessions?|unwaged|low income|or more|off-peak|if|when|from|starts?|starting"
    r"|under-?\w*|over-?\w*"
    r"|children|kids|groups?|alone|only|weekdays|midweek|nhs|teachers?|first)\b",
    re.I,
)


def terms(plain: str, facts: Facts) -> Iterator[Word]:
    """The phrases of a folded English copy that turn the ad's terms so."""
    whole = "\n".join(text for _, text in facts.texts)
    yield from _included(plain, facts)
    yield from _beside_price(plain, facts)
    for price in find_quantities(plain):
        head = _A_HEAD.match(plain[price.end :])
        if price.kind == "price" and head is not None and misrated(plain, price, facts):
            yield Word(price.end + head.start("rate"), price.end + head.end(), "price", None)
    yield from _unbounded(plain, whole)
    yield from misplaced_in_time(plain, whole, facts)
    yield from too_soon(plain, whole)
    yield from _everyone(plain, facts)
    if _OWN_EXPENSE.search(whole):
        for match in _OUR_EXPENSE.finditer(plain):
            yield Word(*match.span(), "qualifier", None)
    for match in _RANKED.finditer(plain):
        if not _RANK_TOLD.search(whole):
            yield Word(*match.span(), "rank", None)


@lru_cache(maxsize=512)
def _clauses(texts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, frozenset[str]], ...]:
    """The clauses of an ad with their words' stems."""
    out = []
    for _, text in texts:
        for clause in re.split(r"[.;。；\n](?!\d)|, (?!\d)|，| but | or (?=[£$€])", text):
            out.append((clause, frozenset(stem(word.lower()) for word in _TOKEN.findall(clause))))
    return tuple(out)


@lru_cache(maxsize=4096)
def _chinese_for(word: str) -> tuple[str, ...]:
    """The Chinese terms of the concepts of an English stem."""
    known = vocabulary()
    wanted = {concept for concept, turned in known.concepts.get(word, ()) if not turned}
    return tuple(
        term
        for term, pairs in known.concepts.items()
        if _HAN.match(term) and any(concept in wanted and not turned for concept, turned in pairs)
    )


def _included(plain: str, facts: Facts) -> Iterator[Word]:
    prices = {figure.value for figure in facts.figures if figure.dimension.startswith("currency")}
    if any(amount not in prices for amount in _amounts(plain)):
        return  # a sum in which the extra may be counted
    clauses = _clauses(facts.texts)
    seen: set[int] = set()
    for pattern in _INCLUDED:
        for match in pattern.finditer(plain):
            thing = match["x"] if _LISTED.search(match["x"]) else match["x"].rpartition(",")[2]
            start = match.end("x") - len(thing)
            for part in _JOINED.split(thing):
                words = [stem(word.lower()) for word in _TOKEN.findall(part) if len(word) > 2]
                words = [word for word in words if word not in _EMPTY and word not in _PERIODS]
                if words and start not in seen and _is_extra(words, clauses, set(_amounts(plain))):
                    seen.add(start)
                    yield Word(start + len(thing) - len(thing.lstrip()), match.end(), "qualifier", None)


def _beside_price(plain: str, facts: Facts) -> Iterator[Word]:
    """An extra that the ad prices by itself, named with an amount that has no room for it: delivery and all for
    £130."""
    amounts = set(_amounts(plain))
    if not amounts or _APART.search(plain):
        return
    prices = {figure.value for figure in facts.figures if figure.dimension.startswith("currency")}
    numbers = {
        quantity.value / quantity.unit.factor
        for quantity in find_quantities(plain)
        if quantity.unit.dimension.partition(":")[0] in ("", "count", "time", "months", "length", "mass")
    } | {Decimal(1)}
    clauses = [(clause, stems_) for clause, stems_ in _clauses(facts.texts) if stems_]
    for clause, stems_ in clauses:
        own = [quantity.value for quantity in find_quantities(clause) if quantity.kind == "price"]
        unit = {stem(match[1].lower()) for match in _UNIT_PRICE.finditer(clause)}
        named = {word for word in stems_ if len(word) > 3 and word not in _EMPTY | _PERIODS | _LINKS} - unit
        if len(own) != 1 or own[0] in amounts or not 0 < len(named) <= 3:
            continue
        elsewhere = {word for other, theirs in clauses if other != clause for word in theirs}
        alone = named - elsewhere
        if not alone or len(alone) * 2 < len(named):
            continue
        sums = {price * many for price in prices for many in numbers}
        rest = {amount - own[0] * many for amount in amounts for many in numbers}
        if 0 in rest or not rest.isdisjoint(sums) or any(left - price in sums for left in rest for price in prices):
            continue
        if not amounts <= sums:
            continue
        for match in _TOKEN.finditer(plain):
            if stem(match[0].lower()) in alone:
                yield Word(*match.span(), "price", None)
                break


def _amounts(plain: str) -> Iterator[Decimal]:
    for quantity in find_quantities(plain):
        if quantity.kind == "price":
            yield quantity.value
        elif quantity.unit.dimension == "mass" and "pound" in plain[quantity.start : quantity.end].lower():
            yield (quantity.value / quantity.unit.factor).quantize(Decimal(1))


def _is_extra(words: list[str], clauses: tuple[tuple[str, frozenset[str]], ...], asked: set[Decimal]) -> bool:
    """Whether the ad charges for what the words name, other than the amounts `asked`, and nowhere gives it."""
    best: list[str] = []
    most = 0
    for clause, stems_ in clauses:
        chinese = _HAN.search(clause) is not None
        shared = sum(
            word in stems_ or (chinese and any(term in clause for term in _chinese_for(word))) for word in words
        )
        if shared > most:
            best, most = [], shared
        if shared and shared == most:
            best.append(clause)
    if most == 0 or most * 2 < len(words):
        return False
    charged = False
    for clause in best:
        amounts = {quantity.value for quantity in find_quantities(clause) if quantity.kind == "price"}
        if not amounts.isdisjoint(asked):
            return False
        if (amounts and not _WITH.search(clause)) or (
            _CHARGED.search(clause) and not (_GIVEN.search(clause) and not _NOT_GIVEN.search(clause))
        ):
            charged = True
        elif _GIVEN.search(clause) and not _NOT_GIVEN.search(clause):
            return False
    return charged


def _unbounded(plain: str, whole: str) -> Iterator[Word]:
    for match in _NO_BOUND.finditer(plain):
        if not _UNBOUNDED.search(whole) and not _LIFE.search(whole):
            yield Word(*match.span(), "qualifier", None)
    for match in _ANYWHERE.finditer(plain):
        if not _WIDE.search(whole):
            yield Word(*match.span(), "qualifier", None)
    if _RESTRICTED.search(whole):
        for match in _WHENEVER.finditer(plain):
            yield Word(*match.span("when"), "qualifier", None)
    for match in _OR_NOT.finditer(plain):
        word = re.escape(match["w"].lower())
        if re.search(rf"\b(?:un{word}|if (?:not|un)\w*|(?:not|never|if) {word})\b", whole, re.I):
            yield Word(*match.span(), "qualifier", None)
    for match in _FOR_LIFE.finditer(plain):
        if not _LIFE.search(whole):
            yield Word(*match.span(), "duration", None)


def _everyone(plain: str, facts: Facts) -> Iterator[Word]:
    match = _EVERYONE.search(plain)
    if match is None:
        return
    copy = {stem(word.lower()) for word in _TOKEN.findall(plain)}
    for price in {figure.value for figure in facts.figures if figure.dimension.startswith("currency")}:
        told = [
            figure
            for figure in facts.figures
            if figure.dimension.startswith("currency") and figure.value == price and figure.beside
        ]
        said = re.search(rf"[£$€]\s?{price.normalize():f}\b", plain.replace(",", ""))
        if said is None or not told:
            continue
        clauses = [
            clause
            for clause, _ in _clauses(facts.texts)
            if re.search(rf"[£$€]\s?{price.normalize():f}(?!\.?\d)", clause.replace(",", ""))
        ]
        bounded = all(figure.bound == "min" for figure in told)
        some = [cond[0] for clause in clauses for cond in _CONDITION.finditer(clause)]
        if bounded or (
            clauses
            and all(_CONDITION.search(clause) for clause in clauses)
            and not {stem(word.lower()) for word in some} & copy
        ):
            yield Word(*match.span(), "qualifier", None)
            return
