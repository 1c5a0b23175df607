"""The phrases of an English ad that copy may quote: from where one may start to where one may end."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from shared.domain import Ad
from shared.policy.plain import beside, plain_words
from shared.policy.vocabulary import stem

ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"[A-Za-z0-9À-ÿ£$€%°&+]+(?:['’.:/,\-–@][A-Za-z0-9À-ÿ%]+)*")
_DIGIT = re.compile(r"\d")
# *St. Ives* and *excl. glass* are no ends.
_SHORT = (
    r"(?<!\b(?:St|Mt|Dr|Mr|Ms|Ft|Op|vs)\.)(?<!\b(?:Mrs|max|min|Vol|Fig|U\.S|U\.K|e\.g|i\.e)\.)"
    r"(?<!\b(?:Prof|excl|incl)\.)(?<!\bapprox\.)"
)
_SENTENCE = re.compile(
    rf"(?<=[.!?…]){_SHORT}[\"'”’)]?\s+(?=[\"'“‘(]?[A-Z0-9£$€])|(?<=[a-z]{{3}}[.!?])(?=[A-Z][a-z]+ )|;\s+|\n+"
)
_SIGNS = re.compile(r"n['’]t\b|[£$€%:(]", re.I)
# The month of May, and compounds that limit nothing: *first-class*, *over-ear*.
_MAY = re.compile(
    r"(?<=\S\s)(?-i:May)\b|\b(?!\S*(?:half|non|member|only|free|off|limited|pre|no|not|come|served|under|to|except|minimum)\b|over-(?!ear))\w+(?:-\w+)+\b",
    re.I,
)
BREAK = re.compile(r"[,;:()–—|.!?]|^\s*-\s*$")
# Before these the thing that is named is complete.
COMPLETES = frozenset(("and", "with", "for", "in", "from", "by", "at", "on", "to", "where", "who", "that", "plus"))
_STARTS = frozenset(("with", "in", "from", "by", "at", "on", "for", "made"))
_PREPOSITIONS = _STARTS - {"made"} | {"under", "during", "given", "without", "within", "plus", "bar"}
_BEGAN = frozenset(("founded", "established", "born", "based", "run", "owned", "made", "led"))
OURS = "company|firm|business|agency|team|group|practice|studio|shop|school|clinic"  # what a firm calls itself
# Firms that say what they are.
_SELF = re.compile(
    r"(?:we are|we['’]re"
    rf"|our (?:{OURS}) (?:is|are)) "
    r"(?P<article>an?|the) ",
    re.I,
)
# Firms that say what they do.
_ACTING = re.compile(
    r"(?:(?:here )?at our (?:company|firm|studio|shop|school|clinic),? )?"
    rf"(?:we|our (?:{OURS})) (?P<verb>[a-z]+) ",
    re.I,
)
_PARTED = re.compile(r"[:;–—]")
_RELATIVE = ("that", "which", "who")
_TELLING = ("that", "which", "using", "utilizing", "utilising")
_OURS = ("our", "we", "we're")
_NO_THING = frozenset((*_OURS, "you", "your", "if", "as", "when", "whether", "there", "but"))
_AFTER = COMPLETES | {"up", "into", "through", "over"}
# Sentences of what is, whose further words are of the same thing: *We are a bakery, based in Kent*.
_COPULA = re.compile(r"(?:we are|we['’]re|(?:\S+ ){1,6}?(?:is|are) an?)\b", re.I)
_TURNS = re.compile(
    r"[\W_]*(?:except|but|however|yet|unless|though|although|unfortunately|sorry|only|not|extra|subject|available|terms"
    r"|excludes|excluding|at extra|none|never|closed|ended|paused|cancelled|postponed|sadly|charges|conditions)\b",
    re.I,
)
_OFFERS = re.compile(
    r"\b(?:free|off|delivery|delivered|returns?|refund\w*|discount\w*|parking|lesson|for £?\d+)\b|[£$€%]", re.I
)
_CONDITIONS = re.compile(r"\b(?:exclud\w+|qualif\w+|eligib\w+|apply|applies|valid|ended|expire[sd]?|needed)\b", re.I)
# Somebody else's words, or what is only told.
_SPOKEN_BY = re.compile(r"[“”\"]|(?:^|\s)['‘]\w|\b(?:says?|said|writes?|wrote|claims?)\b", re.I)
_HEADS = re.compile(r"\b(?:not|no|never|without|exclud\w*|except)\b|:", re.I)
MONEY = ("£", "$", "€")
_CUT_OFF = re.compile(r"(?:…|\.\.\.?)[\])]*$")
_CLAUSE = re.compile(r"[,;:()–—]\s+")
_ACRONYMS = frozenset({"IT", "US"})
_DENYING = frozenset(("no", "none", "false", "-", "n/a"))
_PARTICIPLES = ("ed", "ing")
_TAKEN_BACK = 2  # sentences within which one is taken back
_ITEM = 4  # words of a list's item
_NAME = 4  # words of a name
_THING = 2  # words of what a thing is called, at least
_LONG_THING = 8  # and at most, where somebody says what they are
LONGEST = 400  # characters of a sentence that is read


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of the ad without articles, where a quotation of them may start and end, and the `breaks` before which the
    ad has a comma or the like. name: the ad is called so. sentence: of the description. value: of an attribute alone.
    limited: it may name what is not to be had. asked: a question may name it, and nothing else."""

    words: tuple[str, ...]
    starts: frozenset[int]
    ends: frozenset[int]
    breaks: frozenset[int]
    name: bool = False
    sentence: bool = False
    value: bool = False
    limited: bool = False
    asked: bool = False

    def states(self, place: int) -> bool:
        """Whether that word makes a whole statement of it, which follows no verb or preposition that wants a thing."""
        word = self.words[place]
        own = self.sentence and self.words[0] in ("our", "we", "you") and word in beside("en", "doing")
        return own or word in beside("en", "verbs") or (self.sentence and word in beside("en", "asserting"))

    def orders(self) -> bool:
        """Whether it begins as no thing does: *Make friends with it*, *Streamline your workflow*."""
        return (self.sentence and self.words[0] in beside("en", "ordering")) or self.words[1:2] in (("your",), ("you",))

    def names(self, group: Sequence[str]) -> bool:
        """Whether these words stand here in a row, and no other that belongs to them comes after."""
        length = len(group)
        for start in range(len(self.words) - length + 1):
            end = start + length
            if self.words[start:end] == tuple(group) and (
                end == len(self.words)
                or end in self.breaks
                or self.words[end] in COMPLETES
                or stem(self.words[end]) in plain_words()[0]
            ):
                return True
        return False


def words_of(text: str) -> list[tuple[str, int, int]]:
    """The words of an English text in small letters, each with its start and end."""
    return [(match[0].lower().replace("’", "'"), *match.span()) for match in _WORD.finditer(text)]


def read_words(text: str) -> list[str]:
    """The same words alone, acronyms that would be pronouns in small letters as they are written."""
    acronyms = frozenset() if text.isupper() else _ACRONYMS
    return [text[start:end] if text[start:end] in acronyms else word for word, start, end in words_of(text)]


def parted(description: str) -> list[str]:
    """The sentences of a description."""
    return [one.strip() for one in _SENTENCE.split(description)]


def beginnings(sentence: str) -> list[str]:
    """The beginnings of a sentence of a description that may be quoted, the shortest first, itself the last."""
    passage = passage_of(sentence, whole=limits(sentence))
    places = [end for word, _, end in words_of(sentence) if word not in ARTICLES]
    cut = [sentence[: places[end - 1]] for end in sorted(passage.ends) if 1 < end < len(places)]
    cut = [one for one in cut if not _PARTED.search(one)]  # a copy is read part by part
    return sorted({*cut, *filter(None, [identity(sentence), deed(sentence)]), sentence}, key=len)


def identity(sentence: str) -> str:
    """The beginning of a sentence in which a firm says what it is, where it goes on with what it does: *We are a sales
    agency* of *We are a sales agency offering advice*; empty where there is none, or where it may be so only by what
    follows."""
    is_a = _SELF.match(sentence)
    if is_a is None or is_a["article"].lower() == "the":
        return ""
    said = words_of(sentence)
    first = next((number for number, (_, start, _) in enumerate(said) if start >= is_a.end()), len(said))
    for number in range(first + 1, min(first + _LONG_THING + 1, len(said))):
        end, after = said[number - 1][2], said[number][1]
        if said[number][0] in beside("en", "going on"):
            what = [word for word, _, _ in said[first:number]]
            rest = [word for word, _, _ in said[number:]]
            apart = BREAK.search(sentence[end:after])
            if limits(sentence[:end]) or (not apart and _of_another(what, rest[0])) or not _is_so(what, rest):
                return ""
            return sentence[:end]
        if BREAK.search(sentence[end:after]):
            break
    return ""


def deed(sentence: str) -> str:
    """The beginning of a sentence in which a firm says what it does, where it goes on with what that is good for: *We
    offer archiving* of *We offer archiving to help you find things*; empty where there is none, or where it may be done
    only if what follows holds."""
    acting = _ACTING.match(sentence)
    verb = acting["verb"].lower() if acting else ""
    if acting is None or verb not in beside("en", "deeds"):
        return ""
    good_for = _purposes().search(sentence, acting.end())
    if good_for is None:
        return ""
    told, what_for, rest = sentence[: good_for.start()], good_for["what"].lower(), sentence[good_for.end() :]
    done = [word for word, _, _ in words_of(told[acting.end() :])]
    if not done or not told.lower().replace("’", "'").endswith(done[-1]) or limits(told) or _PARTED.search(told):
        return ""
    if _is_no_deed(verb, done, what_for):
        return ""
    # *We offer delivery to help you save time[, Monday to Thursday]*
    if limits(rest) or BREAK.search(rest) or _DIGIT.search(rest):
        return ""
    goal = [word for word, _, _ in words_of(rest)]
    return "" if _otherwise(goal) or _whose(what_for, goal) else told


def _is_no_deed(verb: str, done: Sequence[str], good_for: str) -> bool:
    """Whether what somebody does is no thing yet, or one only by what follows: *We do everything [to help you]*, *We
    sell the cheapest phones [to help people in Malta]*."""
    last = done[-1]
    if verb.rstrip("s") == "use" and "your" in done:  # *We use your data to help you*
        return True
    # *We help farmers that maximise hedgerows*, *We offer the tools that help you*
    if good_for.startswith(_TELLING) and (verb in beside("en", "helping") or done[0] == "the"):
        return True
    unfinished = last.endswith(("ed", "ly")) or last in ARTICLES or last in _AFTER
    if unfinished or any(last in beside("en", name) for name in ("unfinished", "doing", "verbs", "pronouns")):
        return True
    parts = _parts(done)
    refused = beside("en", "no deeds") | beside("en", "being")
    return not parts.isdisjoint(refused) or _is_scoped(parts - {"virtual", "online"})


def _parts(words: Sequence[str]) -> set[str]:
    """The words, and those that hyphens join."""
    return {part for word in words for part in (word, *word.split("-"))}


def _is_scoped(parts: Collection[str]) -> bool:
    """Whether something is said that may hold only where or in what comes after it: *leading*, *cheapest*."""
    return not beside("en", "scoped").isdisjoint(parts) or any(word.endswith("est") for word in parts)


def _whose(good_for: str, goal: Sequence[str]) -> bool:
    """Whether it is said to whom alone it is done: *We offer grants to help companies owned by veterans*."""
    if "for" in goal:  # *We design solutions which simplify advice for financial advisers*
        return True
    if not goal or good_for.endswith("you"):
        return False
    return goal[0] in COMPLETES - {"and", "to"} or goal[0] in ("of", "run", "led", "living") or goal[0].endswith("ed")


def _otherwise(rest: Sequence[str]) -> bool:
    """Whether something is not, not yet or no longer what it was called before."""
    signs = (beside("en", name) for name in ("unsure", "dissuading", "refusing", "otherwise"))
    return any(not one.isdisjoint(rest) for one in signs) or any(word.endswith("n't") for word in rest)


def _of_another(what: Sequence[str], verb: str) -> bool:
    """Whether what goes on is told of another than the firm: *a school for children [with autism]*, *a law firm in
    partnership [with Smith & Co.]*."""
    if "for" in what:
        return True
    alone = "of" in what and what.index("of") == len(what) - 2  # *a network of women with ADHD*
    return verb in (*_RELATIVE, "with") and ("in" in what or alone)


@cache
def _purposes() -> re.Pattern[str]:
    goods, results = (sorted(beside("en", name), key=len, reverse=True) for name in ("good for", "resulting in"))
    return re.compile(rf",? (?P<what>{'|'.join(goods)}|(?<=, )(?:{'|'.join(results)}))\b", re.I)


def _is_so(what: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether somebody is a firm of that kind, whatever the rest tells of it.

    A *hospital based research group* is no hospital, a *leading maker in Malta* no leading maker, and a *bakery working
    towards its opening* none yet.
    """
    verb, following = rest[0], rest[1:]
    parts = _parts(what)
    firms = beside("en", "firms")
    head = next((place for place, word in enumerate(what) if word in ("of", "in", "for") and place), len(what))
    # *A charity and a shop*, and *a software and product company*
    named = [what[place - 1] for place, word in enumerate(what[:head]) if word == "and" and place]
    if what[head - 1] not in firms or (named and head < len(what) and named[0] not in firms):
        return False
    if what[-1] in COMPLETES or what[-1] in ARTICLES or not {"kind", "sort", *_OURS}.isdisjoint(what):
        return False
    if _otherwise(rest) or (len(what) == 1 and what[0] in beside("en", "any firm")):
        return False
    if _is_scoped(parts):
        return False
    claimed = parts & beside("en", "claimed")
    if verb in _RELATIVE or verb == "with":
        return len(what) > 1 and not claimed
    if not claimed.isdisjoint(rest):  # *A vegan restaurant offering vegan dishes beside meat*
        return False
    pairs = beside("en", "goes on with")
    if any(pair.startswith(f"{verb} ") for pair in pairs):
        return bool(following) and not claimed and f"{verb} {following[0]}" in pairs
    compound = []
    for word in following:
        if word in ARTICLES or word in COMPLETES or word in _PREPOSITIONS:
            break
        compound.append(word)
    # *A clinic serving dogs* is no *clinic*, and *a theatre producing house* no *theatre*.
    return len(what) > 1 and bool(following) and (firms | beside("en", "compounds")).isdisjoint(compound)


def thing_in(description: str) -> str:
    """What a description begins with, as one would call it: *sales agency* of *We are a sales agency based in Kent.*,
    *Bath robes* of *Bath robes for all the family.*; empty where it begins with no thing."""
    text = _SENTENCE.split(description, maxsplit=1)[0][:LONGEST]
    said = words_of(text)
    self = _SELF.match(text)
    first = next((number for number, (_, start, _) in enumerate(said) if self and start >= self.end()), 0)
    stopping = [beside("en", name) for name in ("verbs", "being", "doing", "asserting", "going on")]
    last = first
    for number in range(first, len(said)):
        word, start, _ = said[number]
        following = said[number + 1][0] if number + 1 < len(said) else ""
        participle = word in ("made", "set") or word.endswith(_PARTICIPLES)
        if word in COMPLETES - {"and"} or any(word in one for one in stopping):
            break
        if number > first and (BREAK.search(text[said[number - 1][2] : start]) or (participle and following in _AFTER)):
            break
        last = number + 1
    while last > first and said[last - 1][0] in ("and", "or", "of", *ARTICLES):
        last -= 1
    words = [word for word, _, _ in said[first:last]]
    if len(words) < _THING or words[0].endswith(_PARTICIPLES) or _DIGIT.match(words[0]):
        return ""
    if words[0] in beside("en", "ordering") or not _NO_THING.isdisjoint(words):
        return ""
    return text[said[first][1] : said[last - 1][2]]


@cache
def _limiting() -> re.Pattern[str]:
    words = sorted(beside("en", "limits"), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.I)


def limits(text: str) -> bool:
    """Whether a part of an English text may say something else than the whole."""
    # No copy is as long, and the patterns take longer than it is worth.
    return len(text) > 2 * LONGEST or bool(_limiting().search(_MAY.sub("", text)) or _SIGNS.search(text))


def sentences(description: str) -> list[str]:
    """The sentences of a description that may be quoted, as they stand there."""
    found = []
    parts = parted(description)
    between = _SENTENCE.findall(description)
    chains = {place for place, end in enumerate(between, 1) if end.startswith(";")}
    in_chain = False  # of what is denied: *Not included: flights; insurance*
    for place, sentence in enumerate(parts):
        above = parts[place - 1] if place else ""
        in_chain = place in chains and (in_chain or bool(_HEADS.search(above)))
        following = parts[place + 1 : place + 1 + _TAKEN_BACK]
        taken_back = any(map(_TURNS.match, following)) or (
            _OFFERS.search(sentence) and any(map(_CONDITIONS.search, following))
        )
        # *Rained out? You choose.* and *You know us. Welcome. Except we have moved.* say nothing of the kind apart.
        if above.endswith("?") or sentence.endswith("?") or taken_back:
            continue
        if in_chain or _SPOKEN_BY.search(sentence):
            continue
        words = read_words(sentence)
        said = [word.split("'")[0] for word in words]
        opening = said[1:] if said and said[0] in ARTICLES else said
        begins = {" ".join(part[:length]) for part in (said, opening) for length in (1, 2, 3)}
        stands = beside("en", "pronouns").isdisjoint(said)
        if words and stands and not _CUT_OFF.search(sentence) and begins.isdisjoint(beside("en", "leaning")):
            found.append(sentence.strip(" ."))
    return found


def passages(ad: Ad) -> Iterator[Passage]:
    named = not is_fragment(ad.title, ad.description)
    limited = bool(_limiting().search(ad.title) or any(sign in ad.title for sign in MONEY))
    found = [passage_of(ad.title, whole=limited, name=True), *_short_names(ad)] if named else []
    if ad.brand:
        found.append(passage_of(ad.brand, whole=True, name=True))
    for sentence in sentences(ad.description):
        limited = limits(sentence)
        found.append(replace(passage_of(sentence, whole=limited), sentence=True, limited=limited))
        if told := identity(sentence):
            found.append(_own(told))
        if told := deed(sentence):
            found.append(replace(passage_of(told, whole=True), sentence=True, limited=True))
    for key, value in ad.attributes.items():
        name, said = key.replace("_", " "), f"{value:.15g}" if isinstance(value, float) else str(value)
        limited = limits(said) or limits(name) or said.lower() in _DENYING
        found += [replace(passage_of(one, whole=True), limited=limited) for one in (f"{name} {said}", f"{said} {name}")]
        if name.lower() in beside("en", "describing") and not _DIGIT.search(said) and not limited:
            found.append(replace(passage_of(said, whole=True), value=True))
    return (one for one in dict.fromkeys(found) if one.words)


def is_fragment(title: str, description: str) -> bool:
    """Whether a title is a piece of the description and no name: a long one that it begins with."""
    return len(title.split()) > _NAME and description.lower().startswith(title.lower())


def denied_by(ad: Ad) -> frozenset[str]:
    """Stems of what an ad says of what is not to be had: *Dogs are not allowed*."""
    parts = [part for one in _SENTENCE.split(ad.description) for part in _CLAUSE.split(one)]
    parts += [f"{name} {value}" for name, value in ad.attributes.items()]
    signs = beside("en", "dissuading") | beside("en", "refusing") | _DENYING
    found: set[str] = set()
    for part in parts:
        words = {word for word, _, _ in words_of(part)}
        if not signs.isdisjoint(words) or any(word.endswith("n't") for word in words):
            found |= set(map(stem, words))
    return frozenset(found)


def _short_names(ad: Ad) -> Iterator[Passage]:
    """Beginnings of the title by which the description calls the thing."""
    title = list(_WORD.finditer(ad.title))
    for last, following in pairwise(title):
        name = ad.title[: last.end()]
        # *Canon EOS R6 battery grip* is no Canon EOS R6, also where it is said to fit one.
        ends = following[0].lower() in COMPLETES or BREAK.search(ad.title[last.end() : following.start()])
        of_another = re.search(
            rf"\b(?:for|fits?|holds?|with|like|from|of) (?:the |an? )?{re.escape(name)}\b", ad.description
        )
        if ends and not of_another and name[:1].isupper() and re.search(rf"\b{re.escape(name)}\b", ad.description):
            yield passage_of(name, whole=True, name=True)


def passage_of(text: str, *, whole: bool = False, name: bool = False) -> Passage:
    """whole: it is quoted as a whole or not at all."""
    said = words_of(text)
    # *For a small fee, engraved with a name*, *Add a stone, set in gold*.
    whole = whole or (
        not name and bool(said) and (said[0][0] in _PREPOSITIONS or said[0][0] in beside("en", "fronted"))
    )
    copula = bool(_COPULA.match(text))
    # A name is not cut before what makes another thing of it, nor a sentence before what limits it.
    turning = beside("en", "turning") if name else beside("en", "conditions")
    last_turn = max((place for place, (word, _, _) in enumerate(said) if _turns(word, turning, name)), default=-1)
    words: list[str] = []
    starts, ends, breaks, joins = {0}, set[int](), set[int](), set[int]()
    last, broken, colon, does, counts, turned = 0, False, False, False, False, False
    for number, (word, start, end) in enumerate(said):
        broken = broken or bool(words and BREAK.search(text[last:start]))
        colon = colon or ":" in text[last:start]
        last = end
        if word in ARTICLES:
            continue
        place = len(words)
        if broken:
            breaks.add(place)
            if not whole and name:
                if number > last_turn:
                    ends.add(place)
                if colon and not turned:
                    starts.add(place)
            elif not whole:
                cut = number > last_turn and _complete(words, word, counts=counts, nominal=not (does or copula))
                if cut or word in _BEGAN:
                    ends.add(place)
                if not does and (word in _STARTS or word.endswith(_PARTICIPLES)):
                    starts.add(place)
        if words and name and not whole and word == "with":
            ends.add(place)
        if words and words[-1] == "with" and place - 1 in starts - {0}:
            starts.add(place)
        if word in ("and", "or"):
            joins.add(place)
        does = does or word in beside("en", "doing") or (not copula and word in beside("en", "being"))
        counts, turned = counts or bool(_DIGIT.search(word)), turned or word in turning
        words.append(word)
        broken, colon = False, False
    listed = {end for end in ends if _goes_on_listing(words, end, breaks, joins)}
    starts, ends = starts - listed, ends - listed | {len(words)}
    return Passage(tuple(words), frozenset(starts), frozenset(ends), frozenset(breaks), name)


def _own(told: str) -> Passage:
    """Of an `identity`: as a whole, or what one is. A question may not name a part of it: *toy shop* is no *shop*."""
    passage = passage_of(told, whole=True)
    said = [word for word, _, _ in words_of(told)]
    article = next(place for place, word in enumerate(said) if word in ARTICLES)
    return replace(passage, sentence=True, limited=True, starts=passage.starts | {article})


def _turns(word: str, turning: Collection[str], name: bool) -> bool:
    return word in turning or (not name and bool(_DIGIT.search(word)))


def _complete(words: Sequence[str], following: str, *, counts: bool, nominal: bool) -> bool:
    """Whether what stands before a comma says the same without what comes after it: *Lasts 40 hours, on the lowest
    setting* does not. counts: there is a figure in it; nominal: no verb."""
    participle = following.endswith(_PARTICIPLES)
    if counts:
        return not (following in _PREPOSITIONS or participle)
    if words[0].endswith(_PARTICIPLES):  # *Accredited by the CPD, our sister school runs the exam*
        return following in ("and", "or") or participle
    return nominal or following not in _PREPOSITIONS


def _goes_on_listing(words: Sequence[str], end: int, breaks: set[int], joins: set[int]) -> bool:
    """Whether a list goes on there: *fundraising, planning and leadership advice* is no *fundraising*."""
    if end in joins:
        return True
    if end >= len(words) or words[end] in COMPLETES:
        return False
    if words[end].endswith(_PARTICIPLES) and end + 1 not in joins and end + 1 not in breaks:
        return False
    return any(place in breaks or place in joins for place in range(end + 1, end + 1 + _ITEM))
