"""What an English ad says that one can have of its firm, by the name that the ad gives it: *freight factoring services*
of *We provide freight factoring services to help you grow, for all that you ship.*

A long sentence that may not be cut, as what follows may limit it, still names a thing. To ask after that ("Looking for
freight factoring services?") says no more than that the ad is about it. So a firm has to say of itself that it is or
offers the thing, and what follows may not be a condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from shared.policy.english_passages import ARTICLES, BREAK, LONGEST, parted, read_words, words_of
from shared.policy.plain import beside

_TELLING = re.compile(r"[“”\"?]|\b(?:says?|said)\b")
_INSIDE = re.compile(r"\w\.\w|[%@£$€]|^\d+(?!d$)")
_PLACE = re.compile(
    r"(?!(?:the )?(?:[\w'’.]+ ){1,3}(?:University|College|Hospital|School|Prison)\b)"
    r"(?:the )?(?:[A-Z]|(?:heart|north|south|east|west|centre|center|area|region|city|world|planet)\b)"
)
_GONE = re.compile(r"\b(?:out of stock|used to (?:be|run|have|sell|offer)|(?:over|under)-?\s?\d+s)\b", re.I)
_SIGN = re.compile(r"[^\w\s&'’.,/+()-]")
_SENTENCES = 3  # of a description that are looked at
_SUBJECT = 8  # words of who does something
_TITLE = 7  # words up to what a firm is called
_LONGEST = 8  # words of a topic
_AUDIENCE = 6  # words of whom it is for
_SHORTEST = 2
_TRADES = frozenset({"industry", "industries", "sector", "sectors", "market", "markets", "trade"})
_WIDE = 12  # words within which one is named
_JOINS = frozenset({"and", "&"})
# A list's last word that all items share without becoming another thing: *network security and cloud services*.
_SHARED = frozenset({"service", "services", "solutions"})
_OF_ALL_SIZES = frozenset(
    {"of", "all", "any", "sizes", "types", "kinds", "shapes", "globally", "worldwide", "nationwide", "locally", "alike"}
)
_words = partial(beside, "en", file="topics")


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence with its words in small letters, acronyms aside, and where each starts and ends. own: words of the
    firm's names."""

    text: str
    words: Sequence[str]
    spans: Sequence[tuple[int, int]]
    own: frozenset[str]

    def part(self, start: int, end: int) -> str:
        return self.text[self.spans[start][0] : self.spans[end - 1][1]]

    def before(self, place: int) -> str:
        """What stands between the word before and that one."""
        return self.text[self.spans[place - 1][1] : self.spans[place][0]]

    def is_name(self, place: int) -> bool:
        first = self.text[self.spans[place][0]]
        return first.isupper() or first.isdigit()

    def after(self, place: int) -> str:
        return self.text[self.spans[place - 1][1] :]

    def phrase(self, place: int, section: str) -> int:
        """How many words of a phrase of that section stand there."""
        sizes = (size for size in (4, 3, 2, 1) if " ".join(self.words[place : place + size]) in _words(section))
        return next(sizes, 0)


def topics(description: str, firm: str = "", others: Sequence[str] = ()) -> list[str]:
    """What copy may ask after, as it stands in the description, in its order.

    firm: what the ad is called and by whom; of somebody who is named otherwise nothing is the firm's own. others: what
    else the ad says.
    """
    found: dict[str, None] = {}
    for text in (description, firm, *others):
        if _GONE.search(text) or not _words("taken back").isdisjoint(word for word, _, _ in words_of(text)):
            return []
    names = frozenset(word.removesuffix("'s") for word, _, _ in words_of(firm))
    for place, text in enumerate(parted(description)[:_SENTENCES]):
        if len(text) > LONGEST or _TELLING.search(text) or _denies(text):
            continue
        said = words_of(text)
        sentence = _Sentence(text, read_words(text), [(start, end) for _, start, end in said], names)
        for start, single in _starts(sentence, first=place == 0):
            found |= dict.fromkeys(one for one in _named(sentence, start, single=single) if not _SIGN.search(one))
    return list(found)


@cache
def _no_denial() -> re.Pattern[str]:
    """Names whose words deny nothing, but not *a business planning to open*."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(_words('denying nothing'))))})\b(?! to\b)", re.I)


def _denies(text: str) -> bool:
    words = [word for word, _, _ in words_of(_no_denial().sub("", text))]
    return not _words("not offered").isdisjoint(words) or any(
        word.endswith(("n't", "-only")) and word != "fee-only" for word in words
    )


def _starts(sentence: _Sentence, *, first: bool) -> Iterator[tuple[int, bool]]:
    """Numbers of the words with which something begins that the firm is or offers, and whether it is what it is."""
    words = sentence.words
    if size := sentence.phrase(0, "participles"):
        yield size, False
        return
    called = _called(sentence)
    verb, own = (called, True) if called else _verb(sentence)
    been = words[verb - 1 : verb] == ["been"]
    size = sentence.phrase(verb, "verbs") or sentence.phrase(verb, "participles") * been
    if called:
        yield from _is(sentence, verb, own=True)
    elif size and (own or been or words[verb].endswith("s")):
        while words[verb + size : verb + size + 1] == ["and"] and sentence.phrase(verb + size + 1, "verbs"):
            verb += size + 1
            size = sentence.phrase(verb, "verbs")
        makes = words[verb] in ("make", "makes") and not words[_end(sentence, verb + 1) - 1].endswith("s")
        produces = verb == 1 and not own and words[verb] in ("creates", "produces")
        if not (makes or produces):  # *We make kitchens look modern*, *Asbestos produces fibres*
            yield verb + size, False
    elif been or words[verb : verb + 1] in (["is"], ["are"], ["we're"]):
        yield from _is(sentence, verb + (not been), own=own)
    elif not own and first:
        yield from _is(sentence, 0, own=False)
    else:
        return
    for place in range(verb + 1, len(words)):
        size = sentence.phrase(place, "participles")
        if size and ("," in sentence.before(place) or words[place - 1] in beside("en", "firms")):
            yield place + size, False


def _verb(sentence: _Sentence) -> tuple[int, bool]:
    """The number of the word that tells what a sentence's subject does, 0 where it has none, and whether that subject
    is the firm itself and no name."""
    words, named = sentence.words, _named_verb(sentence)
    if named and _is_verb(sentence, named):
        return named, False
    for place, word in enumerate(words):
        if word not in ("we", "we're", "our") or not _words("conditional").isdisjoint(words[:place]):
            continue
        begins = not place or BREAK.search(sentence.before(place)) or words[0] in ("at", "here")
        verb = place + (word != "we're")
        if word == "our":
            stop = min(place + _SUBJECT, len(words))
            verb = next((at for at in range(place + 1, stop) if _is_verb(sentence, at)), place)
        if begins and (verb > place or word == "we're") and (word != "our" or _is_us(sentence, place + 1, verb)):
            while words[verb : verb + 1] and words[verb] in _words("adverbs") | {"has", "have", "been"}:
                verb += 1
            return verb, True
        if word != "our":
            break
    return named, False


def _called(sentence: _Sentence) -> int:
    """The number of the word with which it begins what our company is called behind a comma or a dash, 0 where it is
    not: *Our company, a leading law firm*, *Meet our company – the app that …*"""
    words = sentence.words
    place = 2 + (words[:1] in (["meet"], ["visit"], ["discover"]))
    if words[place - 2 : place] != ["our", "company"] or words[place : place + 1] not in (["a"], ["an"], ["the"]):
        return 0
    return place if BREAK.search(sentence.before(place)) else 0


def _is_us(sentence: _Sentence, start: int, verb: int) -> bool:
    """Whether those whom the firm calls ours are itself: *our London clinic*, but not *our parents*."""
    words = sentence.words
    head = min(_end(sentence, start), verb) - 1
    others = not _words("not ours").isdisjoint(words[start:verb])
    return not others and not _words("ourselves").isdisjoint((words[start], words[head]))


def _named_verb(sentence: _Sentence) -> int:
    """The number of the word after a name with which a sentence begins, 0 where it begins with none."""
    words, verb = sentence.words, 0
    while verb < min(_SUBJECT, len(words)) and (
        sentence.is_name(verb) or (verb and words[verb] in ("of", "the", *_JOINS))
    ):
        verb += 1
    of_the_firm = sentence.own.issuperset(word.removesuffix("'s").lower() for word in words[:verb])
    while verb and words[verb : verb + 1] and words[verb] in _words("adverbs") | {"has", "been"}:
        verb += 1
    return 0 if words[:1] in (["we"], ["our"], ["we're"]) or not of_the_firm else verb


def _is_verb(sentence: _Sentence, place: int) -> bool:
    return bool(sentence.phrase(place, "verbs")) or sentence.words[place : place + 1] in (
        ["is"],
        ["are"],
        ["has"],
        ["have"],
    )


def _is(sentence: _Sentence, start: int, *, own: bool) -> Iterator[tuple[int, bool]]:
    """Of what somebody is: what it supplies, or itself."""
    words, place = sentence.words, start
    doing = place + (not _words("adverbs").isdisjoint(words[place : place + 1]))
    if own and (size := sentence.phrase(doing, "participles") or sentence.phrase(doing, "devoted")):
        yield doing + size, False
        return
    if words[place : place + 2] == ["one", "of"]:
        place += 2
    if words[place : place + 1] and words[place] in _words("no beginning") - _words("praise"):
        return
    for at in range(place, min(place + _TITLE, len(words))):
        if size := sentence.phrase(at, "doers"):
            yield at + size, False
            return
        does = (_is_plural(words[at]) or words[at].endswith("ing")) and words[at] not in _words("praise")
        maker = f"{words[at]} of" in _words("doers")  # *manufacturers and suppliers of*
        if words[at] in {"of", *_words("ends")} - ARTICLES - {"your"} or (does and not maker):  # *It sues makers of*
            break
    if not start or own or words[start : start + 1] in (["a"], ["an"], ["the"], ["one"]):
        yield place, True


def _named(sentence: _Sentence, start: int, *, single: bool) -> Iterator[str]:
    """The things whose names begin there. single: it is a firm, or a thing by itself."""
    heading = single and not start
    ours = start > 0 and (
        sentence.words[0] in ("we", "we're")
        or (sentence.words[0] == "our" and sentence.words[1] in _words("ourselves"))
    )
    words, start = sentence.words, _without_praise(sentence, start)
    items = _items(sentence, start)
    if not items:
        return
    end = items[-1][1]
    if len(items) > 1 and words[end - 1] == "more":  # *pins and much more*
        items, end, whom = items[:-1], items[-2][1], 0
    else:
        whom = 0 if single and words[end : end + 1] == ["with"] else _audience(sentence, end, single=single)
    parts = [words[first:last] for first, last in items]
    if whom < 0 or (heading and _is_headline(sentence, end)):
        return
    within = sentence.words[max(start - _TITLE, 0) : start]
    if (single and not ours and not _is_sold(words[start:end])) or (
        "in" in within[-1:] and not _is_served(words[start:end])
    ):
        return
    if any(part[-1] in _words("persons") or not _words("refused").isdisjoint(part) for part in parts):
        return
    if single and _is_compound(sentence, end):
        return
    joined = len(items) == 2 and "," not in sentence.before(items[0][1]) and end - start <= _LONGEST
    if len(items) == 1 or joined:
        if _is_thing(words[start:end]) and all(map(_ends_well, parts)):
            yield sentence.part(start, max(whom, end))
        return
    if single or whom or any("of" in part for part in parts):
        return
    final = parts[-1]
    # *wedding dresses, silk curtains alterations*: the last word is of all of them
    shared = final[-1] not in _SHARED and any(map(_is_plural, final[:-1]))
    if shared or parts[0][0] in _words("marked"):
        return
    for part, (first, last) in zip(parts, items, strict=True):
        goods = _is_plural(part[-1]) and _is_plural(final[-1])
        if part[0] != "other" and _is_thing(part) and (goods or part[-1] in _words("heads")):
            yield sentence.part(first, last)


def _is_headline(sentence: _Sentence, end: int) -> bool:
    """Whether what goes on behind a thing is of what is written about it: *Garden furniture: our tests*."""
    if end == len(sentence.words):
        return ":" in sentence.after(end)
    goes_on = _goes_on(sentence, end) or sentence.phrase(end, "participles")
    return not goes_on and sentence.words[end] not in _words("settled")


def _is_compound(sentence: _Sentence, end: int) -> bool:
    """Whether a name goes on behind its participle: *We are a law firm [supporting call centre]*."""
    if end >= len(sentence.words) or not sentence.words[end].endswith("ing"):
        return False
    after = sentence.words[end + 1 : _end(sentence, end + 1)]
    return not (beside("en", "firms") | beside("en", "compounds")).isdisjoint(after)


def _is_plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("'s", "ss"))


def _without_praise(sentence: _Sentence, start: int) -> int:
    """Where it begins without praise, and without how much there is of it."""
    words = sentence.words
    while start < len(words):
        word, following = words[start], words[start + 1] if start + 1 < len(words) else ""
        named = sentence.is_name(start) and word not in ARTICLES  # *Premier League boxes*
        wide = word in _words("wide") and following in _words("amounts")
        beside_praise = following in _JOINS and words[start + 2 : start + 3] and words[start + 2] in _words("praise")
        placed = (
            words[start - 1 : start] in (["the"], ["world's"])
            and word in _words("places of honour")
            and following not in _words("of that honour")
        )
        if size := sentence.phrase(start, "phrases"):
            start += size
        elif (word in _words("amounts") and following == "of") or (
            beside_praise and word in _words("praise") | _words("praise beside praise")
        ):
            start += 2
        elif wide or placed or (word in _words("praise") and following != "and" and not named):
            start += 1
        else:
            break
    return start


def _items(sentence: _Sentence, start: int) -> list[tuple[int, int]]:
    """Of a list of things, each one's first word and the one after its last."""
    words, found = sentence.words, list[tuple[int, int]]()
    while start < len(words):
        end = _end(sentence, start)
        if end == start or (found and words[start] in _words("participles") | _words("no beginning")):
            break
        found.append((start, end))
        if end == len(words):
            break
        between = sentence.before(end).strip()
        if between not in ("", ","):
            break
        if words[end] in _JOINS:
            start = end + 1
        elif between:
            start = end
        else:
            break
    return found


def _end(sentence: _Sentence, start: int) -> int:
    """Where what begins there is complete, or breaks off."""
    words, end = sentence.words, start
    while end < len(words):
        if words[end] in _words("ends") or words[end] in _JOINS:
            break
        if end > start and (BREAK.search(sentence.before(end)) or _tells_of(sentence, end)):
            break
        end += 1
    return end


def _tells_of(sentence: _Sentence, place: int) -> bool:
    """Whether a participle stands there that tells of the thing before it: *furniture [based on oak]*, *tools [helping
    teams]*, but *skills training*."""
    words, word = sentence.words, sentence.words[place]
    following = words[place + 1] if place + 1 < len(words) else ""
    if word == "based":
        return following in _words("ends")
    before = words[place - 1]
    heads = _is_plural(before) or before in beside("en", "firms")
    ended = not following or following in _JOINS or bool(BREAK.search(sentence.before(place + 1)))
    return heads and (word.endswith(("ed", "ly")) or (word.endswith("ing") and not ended))


def _audience(sentence: _Sentence, end: int, *, single: bool = False) -> int:
    """Where a topic ends that says whom it is for; 0 where it need not, -1 where it may be had under a condition."""
    words = sentence.words
    if end < len(words) and "(" in sentence.before(end):  # *human resource (HR) services*
        return -1
    if end >= len(words):
        return 0
    if not _goes_on(sentence, end) and words[end] not in ("in", "within"):  # *office chairs, to the trade*
        following = words[end + 1 : end + 2]
        also = words[end] == "as" and following == ["well"]
        purpose = words[end] == "to" and following and following[0] in _words("purposes")
        return -1 if _is_condition(words[end]) and not (purpose or also) else 0
    word, following = words[end], words[end + 1] if end + 1 < len(words) else ""
    rest = sentence.after(end + 1).strip()
    if word in ("in", "within") and following == "the":
        trade = next((at for at in range(end, min(end + _WIDE, len(words))) if words[at] in _TRADES), 0)
        closed = trade + 1 == len(words) or (trade and not _goes_on(sentence, trade + 1))
        if closed and _words("ends").isdisjoint(words[end + 2 : trade]):
            return trade + 1  # *payroll services within the oil and gas industry*
    if word in _words("places"):
        open_to_all = not any(map(_is_condition, words[_end(sentence, end + 1) :][:1]))  # *in Kent on request*
        return 0 if _PLACE.match(rest) and following not in _words("no places") and open_to_all else -1
    if word in _words("everywhere"):
        return min(_audience(sentence, end + 1), 0)
    if word == "serving" and not _PLACE.match(rest):
        return -1
    if word in _words("harmless") or sentence.phrase(end, "participles"):
        return 0
    if word in ("that", "which", "who"):
        return 0 if single or following in _words("purposes") else -1
    if word in ("designed", "made", "built"):
        return 0 if following in ("to", "by") else -1
    if word in _words("settled") and following in ("in", "at", "near"):
        return 0
    if word not in ("for", "to"):
        return -1
    if word == "to" and following in _words("purposes"):
        return 0
    if word == "to" and following == "the" and not _TRADES.isdisjoint(words[end : end + _WIDE]):
        return 0
    first, last = end + 1, _end(sentence, end + 1)
    while first < last and words[first] in ("all", "any", "every", "your", "both", "small", "large", "the"):
        first += 1
    if first < last and words[first] in _words("anybody") and {*words[first + 1 : last]} <= _OF_ALL_SIZES:
        affected = last < len(words) and words[last].endswith("ed")  # *individuals affected by asbestos*
        return -1 if affected or (last < len(words) and _audience(sentence, last) < 0) else 0
    return _whom(sentence, end + 1) if word == "for" else -1


def _is_condition(word: str) -> bool:
    """Whether what begins with that word may limit what comes before."""
    return word in _words("breaking") or word in _words("conditional")


def _goes_on(sentence: _Sentence, place: int) -> bool:
    """Whether no comma or the like and no joining word stands there."""
    return sentence.words[place] not in _JOINS and not BREAK.search(sentence.before(place))


def _whom(sentence: _Sentence, first: int) -> int:
    words = sentence.words
    last = _end(sentence, first + (first < len(words) and words[first] in ("the", "a", "an")))
    # *the drinks and licensed trade*, *public and private schools*
    unfinished = words[first : first + 1] == ["the"] or not words[last - 1].endswith("s")
    if unfinished and last < len(words) - 1 and words[last] in _JOINS:
        last = _end(sentence, last + 1)
    if not first < last <= first + _AUDIENCE or words[first].endswith("ing"):
        return -1
    closed = last == len(words) or not _goes_on(sentence, last) or not _audience(sentence, last)
    listed = last < len(words) and not words[last - 1].endswith("s")  # *the energy, oil and gas industries*
    return last if closed and not listed else -1


def _is_served(words: Sequence[str]) -> bool:
    """Whether it is what specialists are asked for: *roof repairs*, and not *tooth decay*."""
    return words[-1] in _words("served") | _words("heads") | _SHARED


def _is_sold(words: Sequence[str]) -> bool:
    """Whether a sentence that begins so names a thing: *Custom kitchens*, but not *Car makers build cars*."""
    sold = words[-1] in beside("en", "firms") | _words("heads")
    does = any(
        word.endswith("s") and word not in _words("inside") for word in words[1:-1][:2]
    )  # *Quayside manages flats*
    return sold and not does and _words("verbs").isdisjoint({*words} - {"supply", "design"})


def _ends_well(part: Sequence[str]) -> bool:
    return part[-1] not in _words("nothing")


def _is_thing(words: Sequence[str]) -> bool:
    if not _SHORTEST <= len(words) <= _LONGEST or any(map(_INSIDE.search, words)) or not _ends_well(words):
        return False
    if (
        not _words("refused").isdisjoint(words)
        or words[0] in _words("no beginning")
        or _words("generic").issuperset(words)
    ):
        return False
    last = words[-1]
    done = words[0].endswith("ed") and words[0].rpartition("-")[2] not in _words("done")
    unfinished = last.endswith(("ed", "ly", "able", "ible", "ful", "ous", "'s")) or (
        words[0].endswith("ing") and words[0] not in _words("ing")
    )
    return not (done or unfinished) and not any(word.endswith("est") and len(word) > 5 for word in words)
