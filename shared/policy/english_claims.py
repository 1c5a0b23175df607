"""Statements of an English copy that turn a fact round, whatever their words: who pays, for whom, and of how many.

``Spare parts are on us`` where parts are extra, ``raising teenagers`` where it is under-tens, ``on every bottle`` where
it is one pack only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.policy.english_numbers import NUMBER_WORDS, read_any
from shared.policy.evidence import Evidence, Word
from shared.policy.vocabulary import frame, stem

InAd = Callable[[str], bool]

_SENTENCE = re.compile(r"[^.!?;。！？；\n]+")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z'’]*")

# Who pays and brings.
_GIVES = re.compile(
    r"\bwe(?:['’]ll)?(?: also| even| will| happily)? (?:lend|give|supply|provide|send|bring|offer|add|include"
    r"|throw in|pack|serve|cover|pay for)"
    r" (?:you |everyone |each \w+ )?(?P<a>[\w' -]{2,40})"
    r"|(?P<b>(?:[A-Za-z'-]+ ){1,4})(?:(?:is|are|comes?|come) (?:all |already )?(?:in the (?:box|kit|bag|parcel|pack)"
    r"|on us|provided|included|supplied"
    r"|laid on|thrown in|covered|free|on the house|fitted|built in|as standard|part of the (?:price|deal|ticket|fee"
    r"|package|course)|with it|with them|with every \w+|with each \w+|along too)"
    r"|can be (?:borrowed|hired free|lent))\b",
    re.I,
)
_REQUIRED = re.compile(
    r"\b(?:required|essential|bring|wear|own|needed|not included|not supplied|not provided|extra|sold separately"
    r"|separately"
    r"|costs?|suggested|from [£$€]"
    r"|excluded|not available|by donation|half[- ]price|buy)\b|[£$€]\s?\d|自备|另购|另付|不含|不提供",
    re.I,
)
_PROVIDED = re.compile(
    r"\b(?:provided|included|includes|including|supplied|comes? with|lend|lent|borrowed?|free|on us|covered|provide"
    r"|supply|with|posted|given|offer"
    r"|gets?|serve)\b|含|附|赠|送|提供",
    re.I,
)
_SENT = frozenset(map(stem, frame("claims.sent")))
_EMPTY = frozenset(map(stem, frame("claims.empty")))

# Of how many.
_ALL = re.compile(
    r"\b(?:every(?: last| single)?|any|all(?: the| our| of the| of our)?|each(?: of the)?|the (?:whole|entire|full)"
    r"|both)"
    r"(?P<what>(?: (?!one\b|time\b|day\b|morning\b|night\b|week\b|fortnight\b|month\b|year\b|season\b|hour\b|minute\b"
    r"|you\b|it\b|that\b|this\b|is\b|are\b)[\w'-]+){1,3})",
    re.I,
)
_SOME = re.compile(
    r"\b(?:only|most|first|up to|some|selected|maximum|max|at (?:the )?lowest|half|winner|members|except|two|one"
    r"|three|certain|from|on the door|in advance)\b",
    re.I,
)
_CONDITION = re.compile(r"\b(?:over|above|when|if|from) [£$€\w]", re.I)
_PART = re.compile(r"\b(?:most|some|selected|half|winners?|certain|except|at (?:the )?lowest|members)\b", re.I)
_UNIVERSAL = re.compile(r"\b(?:all|every|each|any|both|whole|entire|full|throughout|always)\b", re.I)
_ONLY = re.compile(
    r"\b(?:only|except|excluding|all but|apart from|but not|at (?:the )?lowest|lowest setting|selected|members get)\b"
    r"|仅|只限|除外",
    re.I,
)
_PRICED = re.compile(r"[£$€¥]\s?\d|\d+ ?(?:元|yuan|dollars|pounds|euros)|\bextra\b|\bcosts?\b", re.I)
_FREE = re.compile(r"\bfree\b|complimentary|no charge|included|donation|免费|赠", re.I)

# For whom.
_NUM = rf"(?:\d{{1,2}}|{NUMBER_WORDS})"
_GROUPS: tuple[tuple[str, int, int], ...] = (
    ("baby babies newborn newborns infant infants", 0, 1),
    ("toddler toddlers tot tots", 2, 3),
    ("preschooler preschoolers", 3, 5),
    ("teen teens teenager teenagers adolescent adolescents", 13, 19),
    ("pensioner pensioners retiree retirees senior seniors elderly grandparents", 60, 110),
    ("kid kids child children youngster youngsters schoolchildren", 2, 12),
    ("adult adults grown-up grown-ups grownups", 18, 110),
)
_AGE_OF = {stem(name): (low, high) for names, low, high in _GROUPS for name in names.split()}
_AGE_RANGE = re.compile(
    rf"\b(?:ages?|aged)?\s?(?P<low>{_NUM})\s?(?:-|–|to|and)\s?(?P<high>{_NUM})(?: (?P<months>months?)| years?"
    rf"| year[- ]olds?|s?\b)",
    re.I,
)
_AGE_MIN = re.compile(
    rf"\b(?:over|from|aged|age)[- ](?P<n>{_NUM})s?\b|\b(?P<m>\d{{1,2}})\s?\+|\b(?P<k>{_NUM}) (?:and|or) (?:over|up"
    rf"|older)",
    re.I,
)
_AGE_MAX = re.compile(rf"\bunder[- ](?P<n>{_NUM}|tens|fives|twelves|eights)s?\b", re.I)
_AGED_AD = re.compile(
    r"\bages?\b|\baged\b|\byear[- ]olds?\b|\d+ months\b|\b(?:under|over)[- ]?(?:\d|tens|fives|eights|twelves|fifties"
    r"|sixties)",
    re.I,
)
_TENS = {"tens": 10, "fives": 5, "twelves": 12, "eights": 8}
_YOURS = re.compile(r"\b(?:your|my|his|her|their|the|got an?|have an?|two|three|a) (?:\w+ )?$", re.I)
_BRING = re.compile(r"\bbring(?:ing)?(?: along)? (?:your|the) (?:\w+ )?$", re.I)
_ADDRESSED = re.compile(
    r"^(?P<who>[A-Z][\w' -]{2,44}?)(?:[:,—] | — )(?:this|these|here|we|it)\b[^.!?]*\b(?:for you|your kind"
    r"|just for you|made for you|with you in mind)\b",
    re.I,
)
_SERVES = re.compile(
    r"^(?:[^.!?]*[.!?] )?(?P<who>[A-Z][\w'-]*(?: (?!will|would|can)[\w'-]+){0,3}) (?:will|would|can) (?:feel|love"
    r"|find|enjoy|thrive|benefit|thank)\b"
    r"|\b(?i:ideal|perfect|great|made|built|designed|suitable|suited|meant|tailored|safe|good|right|brilliant"
    r"|gentle enough)(?: just| also)? for"
    r" (?P<for>[\w'-]+(?: (?!to\b|who\b|on\b|in\b|at\b)[\w'-]+){0,3})"
    r"|^For (?P<seek>[\w' -]{3,40}?) (?:who|that|wanting|looking|ready|seeking)\b"
    r"|(?P<welcome>[A-Za-z][\w'-]*(?:,? (?:and |or )?[\w'-]+){0,3}) (?:are )?(?:always |also |very |all "
    r"|just as )?welcome\b(?! (?:to|back|mat|drink|pack|home))"
)
_PEOPLE = re.compile(
    r"(?:ers|ors|ists|ians|ents|ants|ees|folk|lords|men|women|goers|lovers|owners|patients|members|pros|newbies"
    r"|rabbits|hamsters"
    r"|horses|kittens|puppies|birds|reptiles|dogs|cats|kids|babies|toddlers|teens|tots)$",
    re.I,
)

_LIFE = frozenset(map(stem, frame("claims.life")))


def turned_round(plain: str, evidence: Evidence, in_ad: InAd, means: InAd, known: Container[str]) -> list[Word]:
    """The phrases of a folded copy that contradict the ad in one of these ways.

    in_ad: whether the ad has a word; means: whether it has what the word means; known: stems of listed things.
    """
    texts = tuple(text for name, text, _ in evidence.texts if name not in ("audience", "domain"))
    sentences = _sentences(texts)
    out = _given(plain, sentences, means, known)
    out += _all_of(plain, sentences, in_ad)
    out += _ages(plain, texts)
    out += _audiences(plain, in_ad, means)
    out += _gender(plain, texts)
    out += _does(plain, in_ad, means)
    out += [
        Word(match.start(), match.end(), "origin", None)
        for match in _NEAR_TO.finditer(plain)
        if not in_ad(match["place"]) and not means(match["place"])
    ]
    return out


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of an ad with its content words and figures."""

    text: str
    words: frozenset[str]
    figures: frozenset[str]


@lru_cache(maxsize=512)
def _sentences(texts: tuple[str, ...]) -> tuple[_Sentence, ...]:
    found = (match[0] for text in texts for match in _SENTENCE.finditer(text))
    return tuple(_Sentence(text, frozenset(_content(text)), frozenset(_figures(text))) for text in found)


def _content(text: str) -> set[str]:
    return {word for match in _TOKEN.finditer(text) if (word := stem(match[0].lower())) not in _EMPTY and len(word) > 2}


def _given(plain: str, sentences: Sequence[_Sentence], means: InAd, known: Container[str]) -> list[Word]:
    """What the copy gives that the ad asks for."""
    out = []
    for match in _GIVES.finditer(plain):
        group = "a" if match["a"] else "b"
        things = _content(re.split(r"\b(?:and|so|but|with|when|for|to|if)\b", match[group])[0])
        told = [sentence for sentence in sentences if things & sentence.words]
        if (
            not told
            and things
            and not any(stem(word.lower()) in _SENT and means(word) for word in _TOKEN.findall(match[group]))
            and _thing(match[group], known)
        ):
            out.append(Word(match.start(group), match.end(), "offer", None))  # dinner, of which the ad has nothing
        if not things or not told:
            continue
        best = max(len(things & sentence.words) for sentence in told)
        told = [sentence for sentence in told if len(things & sentence.words) == best]
        if all(_REQUIRED.search(one.text) and not _near(one.text, things) for one in told):
            out.append(Word(match.start(group), match.end(), "offer", None))
    return out


def _thing(text: str, known: Container[str]) -> bool:
    return any(stem(word.lower()) in known for word in _TOKEN.findall(text))


def _near(sentence: str, things: set[str]) -> bool:
    """Whether a word for giving stands in the part of a sentence that has the things."""
    parts = [part for part in re.split(r",| but | and ", sentence) if things & _content(part)]
    return any(_PROVIDED.search(part) and not _REQUIRED.search(part) for part in parts)


def _all_of(plain: str, sentences: Sequence[_Sentence], in_ad: InAd) -> list[Word]:
    """``every bottle``, where the sentence of the ad that the copy is nearest to has it of some only."""
    out = []
    for match in _SENTENCE.finditer(plain):
        if _ONLY.search(match[0]):
            continue
        mine = _content(match[0]) | _figures(match[0])
        for all_of in _ALL.finditer(match[0]):
            noun = next((word for word in all_of["what"].split() if in_ad(word)), None)
            if noun is None:
                if _PEOPLE.search(all_of["what"].split()[0] + "s") and any(
                    len(mine & one.words) >= 2 and (_PART.search(one.text) or _ONLY.search(one.text))
                    for one in sentences
                ):
                    out.append(Word(match.start() + all_of.start(), match.start() + all_of.end(), "qualifier", None))
                    break
                continue
            rest = mine - {stem(noun.lower())}
            fullest = max(sentences, key=lambda sentence: len(rest & (sentence.words | sentence.figures)), default=None)
            if (
                fullest is not None
                and len(rest & (fullest.words | fullest.figures)) >= 2
                and stem(noun.lower()) not in fullest.words
                and not _CONDITION.search(match[0])
                and re.search(
                    r"\b(?:(?:every|each|all|with any|both|when you|if you|orders over|only|a pair|per pair)\b"
                    r"|over [£$€])",
                    fullest.text,
                    re.I,
                )
            ):
                out.append(Word(match.start() + all_of.start(), match.start() + all_of.end(), "qualifier", None))
                break
            near = [sentence for sentence in sentences if stem(noun.lower()) in sentence.words]
            shared = [len(mine & (sentence.words | sentence.figures)) for sentence in near]
            best = max(shared, default=0)
            if best < 2:
                continue
            told = [sentence for sentence, size in zip(near, shared, strict=True) if size == best]
            told = [one for one in told if not _UNIVERSAL.search(one.text)] if told else told
            if any(_PART.search(one.text) or (_SOME.search(one.text) and not one.figures <= mine) for one in told) or (
                len(told) == shared.count(best) and all(_ONLY.search(one.text) for one in told)
            ):
                out.append(Word(match.start() + all_of.start(), match.start() + all_of.end(), "qualifier", None))
                break
    return out


def _figures(text: str) -> set[str]:
    words = re.finditer(rf"\b(?:{NUMBER_WORDS})\b", text, re.I)
    return set(re.findall(r"\d+", text)) | {str(read_any(word[0])) for word in words}


def charged(plain: str, start: int, end: int, texts: Iterable[tuple[str, str]]) -> bool:
    """Whether what the copy calls free at ``[start, end)`` has a price in the ad, and is nowhere free there."""
    clause_start = max(plain.rfind(mark, 0, start) for mark in ".!?;,—") + 1
    stop = re.search(r"[.!?;,—]", plain[end:])
    clause = plain[clause_start : end + (stop.start() if stop else len(plain))]
    things = _content(clause)
    parts = [part for _, text in texts for part in re.split(r"[.;]", text)]
    about = [part for part in parts if things & _content(part)]
    if not about:
        return False
    best = max(len(things & _content(part)) for part in about)
    about = [part for part in about if len(things & _content(part)) == best]
    return any(_PRICED.search(part) for part in about) and not any(
        _FREE.search(part) for part in parts if things & _content(part)
    )


@lru_cache(maxsize=512)
def _served(texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The ages that an ad is for, where it says."""
    spans: list[tuple[int, int]] = []
    named: list[tuple[int, int]] = []
    for text in texts:
        if not _AGED_AD.search(text) and not any(stem(word.lower()) in _AGE_OF for word in _TOKEN.findall(text)):
            continue
        if _AGED_AD.search(text):
            for m in _AGE_RANGE.finditer(text):
                year = 12 if m["months"] else 1
                spans.append((int(read_any(m["low"])) // year, int(read_any(m["high"])) // year))
            spans += [(int(read_any(m["n"] or m["m"] or m["k"])), 110) for m in _AGE_MIN.finditer(text)]
            spans += [(0, _TENS.get(m["n"].lower()) or int(read_any(m["n"]))) for m in _AGE_MAX.finditer(text)]
        named += [_AGE_OF[word] for match in _TOKEN.finditer(text) if (word := stem(match[0].lower())) in _AGE_OF]
    return tuple(span for span in spans or named if span[0] <= span[1])


def _ages(plain: str, texts: tuple[str, ...]) -> list[Word]:
    """A group of people of an age that the ad is not for."""
    spans = _served(texts)
    if not spans:
        return []
    out = []
    for match in _TOKEN.finditer(plain):
        found = _AGE_OF.get(stem(match[0].lower()))
        before = plain[: match.start()]
        if found is None or (_YOURS.search(before) and not _BRING.search(before)):
            continue
        if not any(low <= found[1] and found[0] <= high for low, high in spans):
            out.append(Word(*match.span(), "audience", None))
    return out


def _audiences(plain: str, in_ad: InAd, means: InAd) -> list[Word]:
    """Who is addressed or served, where the ad has nothing of them."""
    out = []
    for pattern in (_ADDRESSED, _SERVES):
        for match in pattern.finditer(plain):
            group = next(name for name in match.groupdict() if match[name])
            words = [
                word
                for word in _TOKEN.findall(match[group])
                if len(word) > 2 and (stem(word.lower()) not in _LIFE or (group == "welcome" and _PEOPLE.search(word)))
            ]
            if group in ("who", "for", "welcome", "seek") and not any(_PEOPLE.search(word) for word in words):
                continue
            if words and not any(in_ad(word) or means(word) for word in words):
                out.append(Word(match.start(group), match.end(group), "audience", None))
    return out


_NEAR_TO = re.compile(
    r"\b(?:next to|near|close to|opposite|beside|(?:minutes|steps|yards|metres) from|a (?:short )?walk from"
    r"|round the corner from) (?:the |a )?(?:\w+ )?"
    r"(?P<place>airport|station|beach|sea|seafront|park|metro|tube|underground|harbour|ferry|market|lake|river|pier"
    r"|school|university|hospital"
    r"|stadium|castle|cathedral|museum|theatre|motorway|forest|mountain|slopes|lifts|centre|bus stop|port)\b",
    re.I,
)
_MEN = re.compile(r"\b(?:men|gents|gentlemen|guys|blokes|lads|fellas|male|males|menswear|men's|dads)\b", re.I)
_WOMEN = re.compile(r"\b(?:women|ladies|gals|female|females|womenswear|women's|mums|moms)\b", re.I)
_THEIRS = re.compile(r"\b(?:your|my|his|her|their|two|three|of|by|the)(?: \w+)? $", re.I)


def _gender(plain: str, texts: tuple[str, ...]) -> list[Word]:
    """Men addressed where the ad is for women, or the other way round."""
    whole = "\n".join(texts)
    men, women = _MEN.search(whole), _WOMEN.search(whole)
    if (men is None) == (women is None):
        return []
    other = _WOMEN if men else _MEN
    return [
        Word(*match.span(), "audience", None)
        for match in other.finditer(plain)
        if not _THEIRS.search(plain[max(0, match.start() - 16) : match.start()])
    ]


_VERBS = re.compile(
    r"(?:^|(?<=[.!?] )|(?<=[.!?;:,] )|(?<=\bit )|(?<=\bit also )|(?<=\bit even )|(?<=\bthat )|(?<=\bwhich )"
    r"|(?<=\band ))"
    r"(?P<verb>(?:climb|thread|burn|smoke|boil|toast|bake|wash|wring|scrub|pump|tow|power|insulate|align|straighten"
    r"|curl|exfoliate"
    r"|groom|knead|juice|froth|grate|peel|crush|grill|roast|smoke|mist|spray|mow|scare|trap|mulch|clean|kill|block"
    r"|filter|remove|charge|track|measure|monitor|play|stream|record|print|heat|cool|dry|drie|iron|blend"
    r"|slice|chop|brew|fry|frie|steam|reheat|defrost|freeze|chill|vibrate|massage|inflate|float|answer|recognise"
    r"|recognize|detect|sense|scan"
    r"|translate|transcribe|sync|connect|pair|download|upload|protect|shield|repel|resist|wick|absorb|soothe|nourishe"
    r"|moisturise|hydrate|whiten"
    r"|vacuum|mop|sweep|polishe|sanitise|sterilise|purifie|humidifie|dehumidifie|deodorise|sharpen|rotate|recline"
    r"|expand|stretche|convert|double"
    r"|transform|extend|adjust|memorise|remind|alert|notifie|unlock|navigate|plan|book|order|deliver|repair|mend"
    r"|replace|refund|install|fit|train"
    r"|teache|coache|tutor|assesse|certifie|grade|mark)s)"
    r"(?P<what>(?: (?!and\b|so\b|but\b|with\b|while\b|when\b|like\b|as\b)[\w'-]+){1,4})",
    re.I,
)


def _does(plain: str, in_ad: InAd, means: InAd) -> list[Word]:
    """What the copy says that the product does, where the ad has neither the verb nor what it is done to."""
    out = []
    for match in _VERBS.finditer(plain):
        words = [word for word in _TOKEN.findall(match["what"]) if stem(word.lower()) not in _EMPTY and len(word) > 2]
        if in_ad(match["verb"]) or means(match["verb"]) or any(in_ad(word) or means(word) for word in words):
            continue
        if words and not _PERSON.search(match["what"]):
            out.append(Word(match.start("verb"), match.end("what"), "feature", None))
    return out


_PERSON = re.compile(
    r"^ (?:without|for|in|on|at|over|through|by|from|to|up|out|off|down|about|around|into|after|before|nicely|well"
    r"|along|together|away|back|you|your|them|him|her|everyone|nobody|no one|itself|it)\b(?! (?:hair|skin|teeth|voice"
    r"|phone|clothes|heart|sleep|steps))",
    re.I,
)
