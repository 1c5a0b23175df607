"""Names in an English copy: capitals in the middle of a sentence, and abbreviations, that the ad does not have."""

from __future__ import annotations

import re
from collections.abc import Callable

from shared.policy.english_owned import asked
from shared.policy.evidence import Word
from shared.policy.vocabulary import frame

_NAME = re.compile(r"(?<![\w'’-])[A-ZÀ-Þ][A-Za-zÀ-ÿ]*(?:['’][A-Za-z]+)?")
_LIST = re.compile(
    r"(?P<first>[^,.;:!?—]{3,60}(?:, [^,.;:!?—]{3,40})*),? (?:and|plus|&) (?:even )?"
    r"(?P<last>(?:an?|some|one|two|three|four|its|matching|spare|free|bonus|extra)\b(?: [\w'’-]+){1,6})",
    re.I,
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_PINYIN = re.compile(
    r"(?:(?:[bpmfdtnlgkhjqxryw]|[zcs]h?)?(?:iang|iong|uang|ang|eng|ing|ong|iao|ian|uai|uan|ai|ei|ao|ou|an|en|in|un"
    r"|ia|ie|iu|ua|uo|ui|ue|er|a|o|e|i|u)){1,4}",
    re.I,
)
_STOPS = frame("names.stops")
_ABSTRACT = frame("names.abstract")
_ORDERS = re.compile(
    r"(?:^|, |\b)(?:bring|put|take|grab|pack|add|pour|make|wear|keep|throw|meet|give|send|find|feel|pull|press|open)\b",
    re.I,
)
_LIGHT = frame("names.light")
_CALLED = re.compile(r"\b(?:called|named|dubbed|christened)$", re.I)
_OPENERS = frozenset('.!?:;—–\n("“”‘•…|/')
_KNOWN = frame("names.known")


def names(plain: str, ad: str, in_ad: Callable[[str], bool], supported: Callable[[str], bool]) -> list[Word]:
    """The names of a folded copy that the ad does not have; ``spelling``: it may be one of a Chinese ad's.

    ad: the ad's texts; supported: whether the ad has what a word means, though not the word.
    """
    words = re.findall(r"[A-Za-z][A-Za-z'’]*", plain)
    others = [word for word in words if not in_ad(word)]  # a list of the ad's names makes no headline
    capital = sum(word[0].isupper() for word in others)
    if len(words) >= 4 and len(others) >= 3 and capital > 0.6 * len(others):
        return []  # a headline
    out: list[Word] = []
    for match in _NAME.finditer(plain):
        text = match[0].replace("’", "'")
        bare = text.removesuffix("'s")
        before = plain[: match.start()].rstrip(" '‘")
        shout = text.isupper() and len(text) > 1
        if (not before or before[-1] in _OPENERS) and not (shout and any(word.islower() for word in words)):
            continue
        if _CALLED.search(before):
            continue  # a rabbit called Keith
        if len(bare) == 1 or bare.lower() in _KNOWN or text.lower() in _KNOWN or in_ad(bare) or in_ad(text):
            continue
        if supported(bare) or asked(plain, match.end()) or _of_name(bare, ad):
            continue
        kind = "spelling" if _HAN.search(ad) and _PINYIN.fullmatch(bare) else "name"
        out.append(Word(match.start(), match.end(), kind, None))
    return out


def _of_name(name: str, ad: str) -> bool:
    """Whether a name is of one that the ad has: Kentish, of Kent; Dane, of Danish."""
    return any(theirs.startswith(name[: max(3, min(len(name), len(theirs)) - 1)]) for theirs in _NAME.findall(ad))


def enumerated(plain: str, in_ad: Callable[[str], bool], supported: Callable[[str], bool]) -> list[Word]:
    """The last thing of a list whose other things are the ad's, where the ad has nothing of it."""
    out: list[Word] = []
    for match in _LIST.finditer(plain):
        items = [part for part in re.split(r", | and ", match["first"]) if part.strip()]
        if len(items) < 2 or _ORDERS.search(match["first"]):
            continue
        backed = sum(any(in_ad(word) or supported(word) for word in _heads(item)) for item in items)
        if backed < 2:
            continue
        last: list[str] = []
        end = match.start("last")
        for word in re.finditer(r"[\w'’-]+", match["last"]):
            if word[0].lower() in _STOPS:
                break
            last.append(word[0])
            end = match.start("last") + word.end()
        content = [word for word in last if word.lower() not in _LIGHT]
        if content and content[-1].lower() not in _ABSTRACT and not any(in_ad(word) for word in content):
            out.append(Word(match.start("last"), end, "feature", None))
    return out


def _heads(item: str) -> list[str]:
    return [
        word for word in re.findall(r"[A-Za-z][A-Za-z'’]+", item)[-3:] if len(word) > 2 and word.lower() not in _STOPS
    ]
