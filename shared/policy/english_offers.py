"""What an English ad says that its firm offers or is, as a phrase of its own that goes to the sentence's end: *Moving
boxes in four sizes, from Monday to Friday* of *We sell moving boxes in four sizes, from Monday to Friday.*

All that may limit a thing comes after it and stays; what is left out is who says so. So the firm has to say it of
itself, first thing in the sentence, with a verb that has nothing but the thing behind it, and say nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from shared.policy.english_passages import ARTICLES, LONGEST, OURS, read_words, words_of
from shared.policy.plain import beside

_SUBJECT = re.compile(
    rf"(?:(?:here )?at our (?:{OURS}),? )?we\b|our (?:{OURS})\b(?-i:(?: [A-Z][\w&.'’-]*){{0,3}})", re.I
)
_NAME = re.compile(r"(?:[A-Z][\w&.'’-]* ){1,5}(?=[a-z])")
_APART = re.compile(r"[,:|(]| [-–—|]")  # what ends a name in a title
_IS = re.compile(r"(?: is| are|['’]re) (?=(?:an?|one of) )")
_PARTED = re.compile(r"[:;–—|]")
_BEGINS = re.compile(r"\s+[\w\"'“‘]")
_PAID = re.compile(r"[£$€%]|\b(?:prices?|cash|money|percent|\d+p)\b", re.I)
_NO_PLURAL = ("ss", "ics", "us", "'s")
_MODIFYING = ("ing", "ed")
_PERSONS = ("ers", "ors", "ists", "ants")
_JOINTS = ("and", "or", "but", "&", "so", "then")
_HEAD = 12  # words within which what somebody is has to be named
_SHORTEST = 3  # words
_WITH = 10  # words within which *with* tells that somebody is provided with something
_PRICED = 6  # words within which a price is one that is paid to the reader
_words = partial(beside, "en", file="offers")


@dataclass(frozen=True, slots=True)
class _Phrase:
    """The end of a sentence, its words, where each ends, and the places of those that a comma stands before."""

    text: str
    words: Sequence[str]
    ends: Sequence[int]
    commas: frozenset[int]

    @classmethod
    def of(cls, text: str) -> _Phrase:
        spans = [(start, end) for _, start, end in words_of(text)]
        commas = (place for place in range(1, len(spans)) if "," in text[spans[place - 1][1] : spans[place][0]])
        return cls(text, read_words(text), [end for _, end in spans], frozenset(commas))

    def at(self, place: int) -> str:
        """The word there, or nothing."""
        return self.words[place] if 0 <= place < len(self.words) else ""

    def ends_before(self, place: int) -> bool:
        """Whether what a thing is called is complete there."""
        return place >= len(self.words) or self.words[place] in _words("before a thing")

    def determines(self, place: int) -> bool:
        """Whether a thing begins there: *the*, *your*, *all*, but not *all over the world*."""
        everywhere = self.at(place) == "all" and self.at(place + 1) in _words("everywhere")
        return not everywhere and (self.at(place) in ARTICLES or self.at(place) in _words("determining"))


def offers(sentence: str, title: str = "") -> str:
    """The ending of a quotable sentence that says what a firm offers or is, as it stands there; empty where none does.

    title: of the ad; who is named otherwise is another. A brand may be one whose goods a firm mends.
    """
    if len(sentence) > LONGEST or _PARTED.search(sentence):
        return ""
    own = _SUBJECT.match(sentence)
    start = own.end() if own else _named(sentence, title)
    if not start:
        return ""
    if is_a := _IS.match(sentence, start):
        told = _Phrase.of(sentence[is_a.end() :])
        holds = _is_firm(told, named=own is None)
    else:
        after = words_of(sentence[start:])
        verb, _, end = next((one for one in after if one[0] not in _words("adverbs")), ("", 0, 0))
        if verb not in _words("offering") or not _is_done(verb, own[0] if own else ""):
            return ""
        told = _Phrase.of(sentence[start + end :])
        holds = _is_thing(told, verb)
    return told.text.strip() if holds and _states_no_more(told) else ""


def _is_done(verb: str, subject: str) -> bool:
    """Whether the subject does what the verb says: *our company stock photos* are no company that stocks them, and
    *Asbestos produces fibres* sells none. subject: nothing, where it is a name."""
    if not subject:
        return verb.endswith("s") and verb not in _words("causing")
    return verb.endswith("s") or subject.lower().endswith("we") or verb not in _words("nouns")


def _named(sentence: str, title: str) -> int:
    """Where the name ends that a sentence begins with and the firm or the thing has; 0 where it begins with none, or
    with what they are about: *Smoking is …* of *Smoking clinics in Leeds*, *Canon sells …* of *Ink for Canon*."""
    name = _NAME.match(sentence)
    if name is None or not _words("no name").isdisjoint(word for word, _, _ in words_of(name[0])):
        return 0
    said = name[0].strip()
    whole = title == said or (title.startswith(said) and _APART.match(title, len(said)))
    # A title that is the sentence's beginning says no more than it.
    cut = title.startswith(name[0]) and sentence.startswith(title) and (" " in said or said.isupper())
    return name.end() - 1 if whole or cut else 0


def _is_thing(told: _Phrase, verb: str) -> bool:
    """Whether a verb has nothing but a thing behind it, which one can have."""
    words = told.words
    if len(words) < _SHORTEST or not _BEGINS.match(told.text):
        return False
    begins = words[words[0] in ARTICLES]
    if begins in _words("no thing") or told.ends_before(words.index(begins)):
        return False
    first = next((word for word in words if word in _words("before a thing") and word not in _JOINTS), "")
    # *We offer care to tenants*, *We sell directly by post*
    if first in ("to", "within") or (words[0].endswith("ly") and told.ends_before(1)):
        return False
    providing, causing = verb in _words("providing"), verb in _words("causing")
    if providing and "with" in words[:_WITH]:
        return False
    if (providing or causing) and not _words("effects").isdisjoint(words[:_SHORTEST]):
        return False
    # *We produce swimmers*, *We publish novelists*
    called = [word for word in words[: words.index(first)] if word.endswith(_PERSONS)] if first else []
    if called and (causing or verb in _words("publishing")):
        return False
    priced = told.text[: told.ends[min(_PRICED, len(words)) - 1]]
    return not _PAID.search(priced) and not _has_receiver(told)


def _has_receiver(told: _Phrase) -> bool:
    """Whether somebody stands before the thing that they get: *clients a choice*, *busy parents fixed prices*."""
    named = True  # as long as it is told what the thing is called
    for place, word in enumerate(told.words):
        before = told.at(place - 1)
        if before in _words("relative") or place in told.commas:
            break
        if place and told.determines(place) and not told.ends_before(place - 1) and not before.endswith("ing"):
            return True
        named = named and not told.ends_before(place)
        # A noun before another is in the singular, where it is not somebody.
        plural = word.endswith("s") and not word.endswith(_NO_PLURAL) and word not in _words("of things")
        if named and (plural or word in _words("receivers")):
            following, after = told.at(place + 1), told.at(place + 2)
            # *Rooms furnished by you*, but *renters furnished rooms*
            modified = following.endswith(_MODIFYING) and (told.ends_before(place + 2) or not after.endswith("s"))
            if not told.ends_before(place + 1) and place + 1 not in told.commas and not modified:
                return True
    return not _words("receivers").isdisjoint(told.words[:2])


def _is_firm(told: _Phrase, *, named: bool) -> bool:
    """Whether it is a firm, by the word that ends what somebody is: *a shoe shop in Kent*, not *a week from opening our
    shop*. named: or a thing, of what has a name."""
    firms = beside("en", "firms") | (_words("things") if named else frozenset())
    first = 2 if told.words[0] == "one" else 0
    for place in range(first + 1, min(first + _HEAD, len(told.words))):
        word, following = told.words[place], told.at(place + 1)
        is_firm = word in firms or word.removesuffix("s") in firms or word.endswith("company")
        if is_firm and (told.ends_before(place + 1) or following.endswith(_MODIFYING)):
            return True
        if told.ends_before(place) and word not in (*_JOINTS, "to"):
            return False
    return False


def _states_no_more(told: _Phrase) -> bool:
    """Whether it is one phrase, and no second statement follows in it."""
    words = told.words
    if len(words) < _SHORTEST or not _words("stating").isdisjoint(words) or any(word.endswith("n't") for word in words):
        return False
    finite = beside("en", "being") | _words("finite")
    related = False  # what follows is told of a thing that was named
    for place, word in enumerate(words):
        related = related or word in _words("relative") or word == "to"
        joined = place in told.commas or told.at(place - 1) in _JOINTS
        # *A charity shop and volunteers run the till*
        behind = not related and told.at(place - 2) in _JOINTS and told.at(place + 1) in ARTICLES
        if (not related and word in finite) or ((joined or behind) and _acts(told, place)):
            return False
        if told.at(place - 1) in _JOINTS and word in _words("beginning another"):
            return False
    return True


def _acts(told: _Phrase, place: int) -> bool:
    """Whether a word behind a joint is a verb: *and donate a tenth*, but not *and support*."""
    word = told.words[place]
    if not any(word in beside("en", name) for name in ("deeds", "doing", "helping")) and word not in _words("acts"):
        return False
    return word not in _words("nouns") or told.determines(place + 1)
