"""How English copy calls a thing that its ad names: with the article that it wants and without praise before it."""

from __future__ import annotations

import re
from functools import partial

from shared.policy.plain import beside

_SAID_AS_WRITTEN = re.compile(r"(?!(?i:u|eu|h|on[ce]))[A-Za-z][a-z]{2}")
_DETERMINED = re.compile(r"(?:the|our|your|this|[\w-]+['’]s) ", re.I)
_HEAD_ENDS = re.compile(r" (?:of|for|in|with|to|from|on|at|by) ")
_words = partial(beside, "en", file="topics")


def with_article(topic: str, description: str) -> str:
    """A topic as a question names it: *a law firm* of *We are a leading law firm*, or of *Law firm in Leeds*."""
    found = re.search(rf"\b([Aa]n?) ((?:[\w-]+ ){{0,3}}){re.escape(topic)}", description)
    if found and not found[2]:
        return f"{found[1].lower()} {topic}"
    praised = found is not None and _words("praise").issuperset(found[2].lower().split())
    if not (praised or _is_counted(_head(topic))):
        return topic
    # By its letters, which tell how a word is said unless it begins like *unique*, *European* or *honest*.
    if not _SAID_AS_WRITTEN.match(topic) or _DETERMINED.match(topic):
        return topic
    return f"{'an' if topic[0] in 'aeioAEIO' else 'a'} {topic}"


def _is_counted(word: str) -> bool:
    one = not word.endswith("s") or word.endswith("ss")
    return word in _words("counted") or (one and word in beside("en", "firms"))


def _head(topic: str) -> str:
    """The word that says what it is: *agency* of *staffing agency for schools*."""
    return _HEAD_ENDS.split(topic.lower(), maxsplit=1)[0].rpartition(" ")[2]


def without_praise(thing: str) -> str:
    """*gym* of *affordable, world-class gym*: what is left of a thing without praise before it."""
    words = list(re.finditer(r"[^\s,]+", thing))
    starts = [word.start() for word in words if word[0].lower() not in _words("praise")]
    left = thing[starts[0] :] if starts else thing
    return thing if thing.lower() == f"the {left.lower()}" else left
