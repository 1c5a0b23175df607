"""Whether an English copy says of a thing that the product has it, is it, comes with it or does it.

``comes with a rucksack``, ``you get a robe``, ``a lamp with a timer``, ``A sensor spots dusk``, ``leather strap``,
``Zap it in the microwave``: claims. ``a rucksack on your back``: none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from shared.policy.vocabulary import frame

InAd = Callable[[str], bool]

_REACH = 64  # characters before a word that are read for what introduces it
_GAP = 5  # words between the introduction and the word
_CLAUSE = re.compile(r"[.!?;:()\n\"“”—–](?!\d)")
_END = re.compile(r"[.!?;:](?!\d)")
_WORD = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z]+)*")

_BY = re.compile(
    r"\b(?:loved|trusted|used|approved|recommended|tested|chosen|designed|picked|led|taught|written|endorsed|hosted"
    r"|backed"
    r"|run|made|built|vetted|checked|certified|signed|powered|driven|developed|prescribed|favou?red|worn|adored) by\b",
    re.I,
)
_HAS = re.compile(
    r"\b(?:(?:comes?|coming|complete|supplied|sold|bundled|packed|equipped|fitted|lined|filled|topped|trimmed|infused"
    r"|enriched|decorated|printed|shipped|ships|arrives|blended|laced|loaded|stuffed|paired|finished|edged|sprinkled"
    r"|boosted"
    r"|brimming|spiked|padded|stocked|reinforced|coated) (?:complete |along )?(?:with|in)"
    r"|includes?|including|features?|featuring|boasts?|offers?|contains?|containing|carries|hides|houses|packs|sports"
    r"|(?:made|crafted|woven|built|knitted|sewn|cut|moulded|molded|carved|pressed|brewed|distilled|cast|spun|turned"
    r"|milled"
    r"|forged|hewn|stitched|formed|fashioned|poured|blown|grown|picked|sourced|harvested|shipped|flown|baked|roasted"
    r"|blended"
    r"|bottled|hatched|born|raised) (?:entirely |only |straight )?(?:of|from|with|out of|in)"
    r"|built[- ]in|integrated|integral|bonus|complimentary|free|plus (?:a|an|its|two|three)|along with (?:a|an|its)"
    r"|(?:doubles|serves|works|acts) as|(?:turns|converts|transforms|folds) into|our"
    r"|(?:you(?:['’]ll)?|and|each|every \w+|they|members|guests|subscribers|students) (?:also )?(?:get|gets|receive"
    r"|receives)"
    r"|get (?:an?|two|three)|gets you|gives? you|brings you|hands you|nets you|earns you"
    r"|we(?:['’]ll)?(?: also| even| will)? (?:lend|give|supply|provide|send|bring|offer|add|include|throw in|post"
    r"|pack|serve|deliver|fit"
    r"|stock|sell|install|collect|plant|mail|host|teach|cover|pay for|refund|repair)"
    r"|there(?:['’]s| is| are|['’]re)(?: also| even)?(?! an? (?:bit|lot|touch|hint|reason)| no\b| nothing| something"
    r"| more| only)|comes in|available in|arrives? in|choose from|pick from|choice of"
    r"|covers|teaches|explains|powered by|driven by|runs on|thanks to|courtesy of|throws? in|adds|wears|holds|stores"
    r"|streams|plays|tracks"
    r"|measures"
    r"|compatible with|works? (?:with|in|on)|available (?:in|on)|pairs with|fits|suits|flavou?red with|scented with"
    r"|smells of|tastes of|notes? of|hints? of|whiff of)\b"
    r"|[$£€]\s?\d[\d.,]*(?=\s(?!an? |per |each |the |of |for |and |or )(?:[\w-]+\s)?$)"
    rf"|{_BY.pattern}",
    re.I,
)
_OPENS_WITH = re.compile(
    r"(?:^|, )\s*(?:with|plus|and) (?:its|an?|one|two|three) (?=[\w' -]*$)(?:free|matching|spare|extra|bonus|built-in"
    r"|bundled)?",
    re.I,
)
_OPENED = re.compile(
    r"^\s*[Ww]ith (?!you|your|nobody|no|any|luck|the|a little|every|all|only|just|so|that|my|his|her"
    r"|their)(?:[\w-]+ ){0,2}$"
)
_GIVEN = re.compile(  # right before a thing, with nothing but an article and one word between
    r"(?:\b(?:(?:comes?|coming|complete|supplied|sold|bundled|equipped|fitted|along) with|includes?|including"
    r"|plus|contains?|(?:has|have|with) (?:its|their) own|(?:doubles|serves|works|acts) as)"
    r"(?: (?:an?|its|their|your|own|one|two|three))*(?: (?!for\b|to\b|of\b|on\b|in\b|at\b|and\b|or\b|your\b)[\w-]+)?"
    r"|\b(?<!-)(?:free|bonus|complimentary)|^\s*with (?:an?|its|one|two|three) (?:matching|spare|extra)) $",
    re.I,
)
_THIS = re.compile(r"^\s*(?:this|these) (?:[\w-]+ ){0,2}$", re.I)
_MAY_HAVE = re.compile(  # of the product only after a word for it: a lantern with, not an evening with
    r"\b([a-z0-9'’]+),? "
    r"(?:with|w/|has|have|(?:is|are|becomes)(?= (?:a|an|one)\b)|plus|gets)",
    re.I,
)
_PERFECT = re.compile(
    r"^\s*(?:\w+ed|met|been|seen|had|got|gone|done|made|come|become|heard|known|taken|spent|left|won|lost)\b", re.I
)
_PRODUCT = frame("owned.product")
_DOES = re.compile(
    r"\b(?<!where )(?:it|which)(?P<modal>['’]ll| will| can| could| also| even| quickly| easily| gently)*\s$", re.I
)
_ABLE_TO = re.compile(r"\b([a-z0-9'’]+) (?:can|will|also|even)\s$", re.I)
_AFTER = re.compile(
    r"^(?:[ -](?:shaped|scented|flavou?red|inspired|lined|print(?:ed)?|proof|resistant|safe|grade|tested|approved"
    r"|patterned|powered|backed|filled|coated|based|infused|certified|blocking|repellent|friendly)\b"
    r"|(?: [\w'-]+){0,2} (?:is|are|comes?|waits?|hides?|sits?|lives?|arrives?|travels?|rides?|nestles?)(?: [\w'-]+)?"
    r" (?:in|inside|with|along|under|alongside) (?:the|every|each|your) (?:box|parcel|bag|pack|package|base|lid|tin"
    r"|case|kit|envelope|tube|ride|same)"
    r"|(?: [\w'-]+){0,2} (?:is|are) (?:part of the deal|yours to keep|part of the price|in the price"
    r"|in every \w+)"
    r"|,? (?:is |are |comes? |come )?(?:also |all )?(?:included|provided|supplied|built[- ]in|thrown in|in the box"
    r"|inside the box"
    r"|as a gift|on us|at no extra|free of charge|for free|on arrival|at the bar|in (?:every|each|the) (?:box|bag"
    r"|pack|parcel|tin|kit|order|jar)|that comes? (?:free|with|included|along)|to take home|to keep|as standard"
    r"|on request|on site))",
    re.I,
)
_FOR = re.compile(r"\b(?:for|on)\s(?:all |young |older |even |small )?$", re.I)
_ELSEWHERE = re.compile(  # what follows these is not what the introduction introduces
    r"\b(?:for|to|on|in|at|by|into|onto|through|under|over|during|between|near|beside|around|than|from|your|my|his|her"
    r"|their|you|i|we|they|he|she|him|them|someone|friends|when|while|that|which|who|whose|where|until|before|after|as"
    r"|if|so|but|then|because|or)\b",
    re.I,
)
_SUBJECT = re.compile(
    r"^(?:an?|its|our|the|every|each|two|three|both|all|one|built-in|extra|hidden) (?:[\w'’-]+ ){0,3}$", re.I
)
_LETS = re.compile(
    r"^ (?:let|keep|make|hold|mean|give|add|turn|stop|help|protect|lock|fold|slide|clip|track|cover)\b", re.I
)
_ACTS = re.compile(
    r"^(?: [\w'’-]+){0,5}? (?:keeps?|holds?|means?|makes?|lets?|stops?|protects?|helps?|gives?|adds?|switch(?:es)?"
    r"|spots?|waits?|sits?|hides?"
    r"|comes?|is|are|sends?|brings?|tracks?|blocks?|locks?|seals?|looks? after|guards?|shields?|lights?|warms?|cools?"
    r"|cuts?|dims?|turns?"
    r"|tucks?|slides?|clips?|folds?|fits?|wards?|covers?|wraps?|lines?|reads?|counts?|measures?|powers?|charges?"
    r"|cushions?|supports?"
    r"|greets?|meets?|joins?|runs?|leads?|teach(?:es)?|shows?|talks?|walks?|rolls?|arrives?|lands?|ships?)\b",
    re.I,
)
_ACTS_ON = re.compile(r"^ [a-z]{3,}s (?:the|an?|your|you|every|both|each|it|them|up|all|any)\b")
_OBJECT = re.compile(r"^ (?:it|them|this|these|the ([a-z]+)|your ([a-z]+))\b", re.I)
_ABLE = re.compile(  # what a reader is told to do only where the product lets one
    r"(?:fold|wash|charg|recharg|adjust|detach|remov|stack|expand|dim|sync|connect|pair|download|export|customi"
    r"|personali|recycl|compost"
    r"|refill|reus|reheat|freez|microwav|bak|rins|unzip|clip|hang|mount|roll|collaps|extend|swap|replac|track|record"
    r"|stream|cast"
    r"|scan|upload|share|sav|bookmark|pause|rewind|replay|cancel|return|exchang|engrav|monogram|wear|plug|screw|stick"
    r"|lock|program|schedul"
    r"|preset|heat|cool|warm|chill|steam|grill|fry|roast|blend|grind|reserv|book|rent|borrow|try|test|hire|gift)",
    re.I,
)
_TELLS = re.compile(r"(?:^|[.!?;:,—] ?|\b(?:and|then|just|simply|or|to|can|please|even) )$", re.I)
_INTO = re.compile(
    r"\b(?:them|these|this|whole thing|lot|everything|(?:zap|put|pop|throw|toss|chuck|stick|slip|drop|place|sling"
    r"|bung|shove|run|leave"
    r"|fling|load|set|wash|dry|cook|bake|heat|warm|cool|freeze|store|charge|fold|roll|pack) it)(?: \w+)?"
    r" (?:in|into|through|under|inside|on|over|onto|for) (?:the|a|any) (?:\w+ )?$",
    re.I,
)
_VERB = re.compile(r"^ [a-z]+s (?:on|at|in|the|a|an|to|with|your|up|out|off|down|for|from|as|like|every)\b")
_NEXT = re.compile(r"^[ -]([A-Za-z][A-Za-z'’]*)")
_FUNCTION = frame("owned.function")
_THINGS = frame("owned.things")


def said_to_have(plain: str, start: int, end: int, in_ad: InAd) -> bool:
    """Whether the thing at ``[start, end)`` of a folded copy is said to be the product's, in whatever way."""
    before = clause_before(plain, start)
    if owned(plain, start, end, (), in_ad):
        return True
    able = _ABLE_TO.search(before)
    if able is not None and in_ad(able[1]) and " " not in plain[start:end]:
        return True
    does = _DOES.search(before)
    if does is not None and (does["modal"] or plain[start:end].endswith("s")):
        return True
    after = plain[end : end + 80]
    following = _NEXT.match(after)
    if (
        following is not None
        and following[1].lower() not in _FUNCTION
        and not _bids(plain, start, end)
        and (following[1].lower() in _THINGS or (in_ad(following[1]) and _VERB.match(after) is None))
    ):
        return True
    if _INTO.search(before):
        return True
    target = _OBJECT.match(after)
    if target is not None and _ABLE.match(plain[start:end]) and _TELLS.search(plain[max(0, start - 12) : start]):
        named = target[1] or target[2]
        if named is None or in_ad(named):
            return True
    starts = start - len(before)
    if not before.strip() and plain[end - 1] == "s" and _LETS.match(after):
        return True
    opens = starts == 0 or plain[:starts].rstrip()[-1:] in ".!?—\n"
    if not opens or _SUBJECT.match(before.lstrip()) is None:
        return False
    return _ACTS.match(after) is not None or _ACTS_ON.match(after) is not None


_BID = frame("owned.bid")
_BIDS = re.compile(
    r"(?:^|[.!?;:,—] ?|\b(?:and|then|just|simply|or|to|can|please|you|we|they|i|not|don['’]t|will|won['’]t|never|who"
    r"|could|should) )$",
    re.I,
)


def _bids(plain: str, start: int, end: int) -> bool:
    """Whether a word is a verb that tells the reader to do something: Book surf lessons."""
    return plain[start:end].lower() in _BID and _BIDS.search(plain[max(0, start - 12) : start]) is not None


def owned(plain: str, start: int, end: int, fields: tuple[str, ...], in_ad: InAd) -> bool:
    """Whether the scene word at ``[start, end)`` of a folded copy is said to be the product's.

    fields: the word's in the lexicon (``people``, ``food``); in_ad: whether the ad has a word of the copy.
    """
    before = clause_before(plain, start)
    if "people" in fields:
        return _FOR.search(before) is not None or _last_gap(_BY, before) is not None
    if _AFTER.match(plain[end : end + 60]):
        return True
    if (
        _THIS.match(before)
        or _OPENED.match(before)
        or _last_gap(_HAS, before) is not None
        or _last_gap(_OPENS_WITH, before) is not None
    ):
        return True
    match = _last_gap(_MAY_HAVE, before)
    if match is None or _PERFECT.match(before[match.end() :]):
        return False
    return match[1].lower() in _PRODUCT or in_ad(match[1])


def given(plain: str, start: int, end: int, in_ad: InAd) -> bool:
    """Whether the words beside ``[start, end)`` say that the product is the thing there, or comes with it."""
    before = clause_before(plain, start)
    following = _NEXT.match(plain[end:])
    if _THIS.match(before) and following is not None and in_ad(following[1]):
        return True  # This rucksack charges by USB-C
    return _GIVEN.search(before) is not None


def asked(plain: str, end: int) -> bool:
    """Whether the sentence around `end` is a question."""
    stop = _END.search(plain, end)
    return stop is not None and stop[0] == "?"


def clause_before(plain: str, start: int) -> str:
    """The clause of a text up to `start`, as far as it is read."""
    text, last = plain[max(0, start - _REACH) : start], 0
    for match in _CLAUSE.finditer(text):
        last = match.end()
    return text[last:]


def _last_gap(pattern: re.Pattern[str], before: str) -> re.Match[str] | None:
    """The last match that still governs the end of `before`: few words follow it, none of which leads elsewhere."""
    found = None
    for match in pattern.finditer(before):
        found = match
    if found is None:
        return None
    gap = before[found.end() :]
    near = len(_WORD.findall(gap)) <= _GAP and _ELSEWHERE.search(gap) is None
    return found if near else None
