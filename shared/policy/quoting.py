"""A reading of a copy as quotation: what in it is neither the ad's own phrase, word for word, nor states nothing.

What a small model puts together anew of an ad's words says something else every second time, and no reading of the
result finds out reliably. A phrase that stands in the copy as it stands in the ad says there what it says here, as
long as nothing that limited it was left behind: so a sentence of the ad that may limit or turn (``not``, ``only``, ``up
to``, a price) is quoted whole. Any other may end at a comma where no list goes on and nothing after it limits it, and
begin after one where no verb stands before it. One that asks, tells what somebody said, leans on another (``They …``)
or is taken back by the next is not quoted at all. Between quotations a copy has questions, calls and names of its
audience, in plain words, and asks after nothing that the ad denies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from shared.domain import Ad, Language
from shared.policy.characters import fold
from shared.policy.chinese_quotes import ChineseQuotations, plain_chinese, turns_chinese, without_harmless
from shared.policy.chinese_quotes import sentences as chinese_sentences
from shared.policy.english_called import with_article, without_praise
from shared.policy.english_offers import offers
from shared.policy.english_passages import beginnings, is_fragment, limits, parted, sentences, thing_in, words_of
from shared.policy.english_quotes import EnglishQuotations, asked_after, offered, only_calls, plain_english
from shared.policy.plain import beside

# Between a title and what it adds, no colon of 16:9 or 7:30.
_JOINT = re.compile(r"[，｜|]|(?<!\d)[:：]|[:：](?!\d)|, ")
_ARTICLE = re.compile(r"(?:one of )?(?:an?|the) ", re.I)


class Quotations:
    """What of an ad copy may quote. phrases: the ad's attributes as they are said. Built in a millisecond or two."""

    def __init__(self, ad: Ad, language: Language, phrases: Sequence[str] = ()) -> None:
        self._quotations = EnglishQuotations(ad, phrases) if language == "en" else ChineseQuotations(ad, phrases)

    def unquoted(self, text: str, audience: Sequence[str] = ()) -> list[tuple[int, int]]:
        """The parts of a text that are no quotation and may state something. audience: names of general interests,
        which it may address."""
        return list(self._quotations.unquoted(fold(text), tuple(map(fold, audience))))


def quotable(description: str, language: Language) -> list[str]:
    """The sentences of a description that may be quoted, as they stand there."""
    return chinese_sentences(description) if language == "zh" else sentences(description)


def shortened(sentence: str, language: Language, fits: Callable[[str], bool]) -> str:
    """The longest beginning of a quotable sentence that fits and may be quoted by itself; itself where none does."""
    if language == "zh" or fits(sentence):
        return sentence
    return next(filter(fits, reversed(beginnings(sentence))), sentence)


def offered_by(ad: Ad, language: Language) -> dict[str, str]:
    """Of quotable sentences that say what the ad's firm offers or is, what they say of that: *Garden sheds made to
    measure* of *We sell garden sheds made to measure*."""
    if language == "zh":
        return {}
    return {sentence: told[:1].upper() + told[1:] for sentence, told in offered(ad).items()}


def topics_of(ad: Ad, language: Language) -> list[str]:
    """What an ad says that one can have, as a question names it."""
    return [] if language == "zh" else [with_article(topic, ad.description) for topic in asked_after(ad)]


def is_cut(title: str, description: str, language: Language) -> bool:
    """Whether a long title is only the beginning of an English description's first sentence, cut off: a fragment that
    nobody would say."""
    if language == "zh" or not is_fragment(title, description):
        return False
    following = description[len(title) :]
    return bool(following) and following[0] not in ".!?;"


def is_limited(text: str, language: Language) -> bool:
    """Whether a part of a title or the like may say something else than the whole: *Free for 30 days, then $19.99*."""
    said = _JOINT.sub(", ", text)
    return turns_chinese(said) if language == "zh" else limits(said)


def beginning_of(title: str, language: Language) -> str:
    """A title up to its first comma, colon or bar; all of it where it `is_limited`."""
    return title if is_limited(title, language) else _JOINT.split(title)[0].strip()


def ended(fragment: str) -> str:
    """As much of an English fragment as may end there: *Shoes made of leather* of *Shoes made of leather, with a*."""
    words = fragment.split()
    while len(words) > 1 and words[-1].lower() in beside("en", "no end"):
        words.pop()
    return " ".join(words).rstrip(",;:-–—& ")


def thing_of(title: str, description: str, language: Language) -> str:
    """What a title is about that `is_cut`, without its praise, and with the article that it has there. Empty where the
    title is one, or nothing can be named."""
    if not is_cut(title, description, language):
        return ""
    thing = thing_in(description) or thing_in(_ARTICLE.sub("", offers(parted(description)[0], title)))
    return with_article(without_praise(thing), description) if thing else ""


def dissuades(text: str, language: Language) -> bool:
    """Whether a text says what is not to be had: true, and no reason to come."""
    signs = beside(language, "dissuading")
    if language == "zh":
        return any(sign in without_harmless(text) for sign in signs)
    words = [word for word, _, _ in words_of(text)]
    return not signs.isdisjoint(words) or any(word.endswith("n't") for word in words)


def states_nothing(text: str, language: Language) -> bool:
    """Whether a text is of words that state nothing, or a call."""
    return plain_chinese(text) if language == "zh" else plain_english(text) or only_calls(text)
