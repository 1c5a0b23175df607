"""Quotations of a Chinese ad: clauses of it, in a row, and values of its attributes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from shared.domain import Ad
from shared.policy.characters import fold
from shared.policy.plain import beside, plain_words

_DIGIT = re.compile(r"\d")
_BRACKET = re.compile(r"[（(]")  # what stands in brackets is said of what stands before
_HAN = re.compile(r"[\u3400-\u9fff]")
_STOPS = re.compile(r"[。！？!?；;\n]+")
_POINTS = re.compile(r"[，、：:；;。！？!?,\s（）()“”\"「」—…·]+")
_COUNTED = re.compile(
    r"(?:就是|这|那|一|来|想要|选)?一?"
    r"[款件条双套本门只台份场支张个把盒瓶杯碗间家顶块串部节次袋包枚盏幅首趟位座辆副]"
)
_PHRASE = re.compile(r"[，：:,（）()“”\"「」—]+|(?<![A-Za-z0-9])\s+(?![A-Za-z0-9])")
_CUT_OFF = re.compile(r"[^，,。！？!?；;\n]*(?:…+|\.{3,})")
_TAKES_BACK = re.compile(r"^\s*(?:仅|除|限|须|需|但|不过|然而|可惜|只)|除外")
_HEADS = re.compile(r"[不未无非除][^。！？；;]*[：:]")
_NAMED_BY = re.compile(r"适用|兼容|支持")  # whose title names another's thing
_PHRASES = 4  # clauses in a row that a quotation may have
_CLAUSES = 8  # clauses of a copy that are one quotation at most
_PLAIN = 6  # characters of a plain word
_LEADS = 3  # that may stand before a quotation


class ChineseQuotations:
    """What of a Chinese ad copy may quote. phrases: the ad's attributes as they are said."""

    def __init__(self, ad: Ad, phrases: Iterable[str]) -> None:
        self._names, clauses, self._values = _clauses(ad)
        self._clauses = clauses | {_written(fold(phrase)) for phrase in phrases}
        self._own = fold("\n".join([ad.title, ad.description, *map(str, ad.attributes.values())]))

    def unquoted(self, text: str, audience: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        """The parts of a folded text that are no quotation and may state something."""
        for low, high in _between(_STOPS, text):
            clauses = [(low + start, low + end) for start, end in _between(_PHRASE, text[low:high])]
            place = 0
            while place < len(clauses):
                for last in range(min(len(clauses), place + _CLAUSES), place, -1):
                    asked = last == len(clauses) and text[high : high + 1] in ("?", "？")
                    said = "\n".join(_bare(text[start:end]) for start, end in clauses[place:last])
                    if self._says(said, audience, asked):
                        place = last
                        break
                else:
                    yield clauses[place]
                    place += 1

    def _says(self, clause: str, audience: tuple[str, ...], asked: bool) -> bool:
        quotable = self._clauses | self._names
        if clause in quotable or _states_nothing(clause, audience, self._own if asked else None):
            return True
        rests = {clause}
        for _ in range(_LEADS):
            rests |= {rest[len(lead) :] for rest in rests for lead in beside("zh", "leads") if rest.startswith(lead)}
            rests |= {rest[match.end() :] for rest in rests if (match := _COUNTED.match(rest))}
        for rest in rests - {""}:
            if rest in quotable or self._described(rest):
                return True
            for tail in beside("zh", "tails"):
                if rest.endswith(tail) and rest.removesuffix(tail) in quotable:
                    return True
        return False

    def _described(self, text: str) -> bool:
        """Whether it is the ad's name with values of its attributes before it."""
        parts = sorted(self._values | self._names, key=len, reverse=True)
        for name in self._names:
            rest = text.removesuffix(name) if text.endswith(name) else None
            while rest:
                rest = rest.removesuffix("的")
                part = next((one for one in parts if rest.endswith(one)), None)
                rest = rest.removesuffix(part) if part else None
            if rest == "":
                return True
        return False


def sentences(description: str) -> list[str]:
    """The sentences of a description that may be quoted, as they stand there."""
    found = []
    whole = _CUT_OFF.sub("", description)
    spans = list(_between(_STOPS, whole))
    for place, (start, end) in enumerate(spans):
        # 遇上下雨？全额退款。 and 免费停车。仅限会员。 say nothing of the kind apart.
        answers = start > 0 and whole[start - 1] in "?？"
        taken_back = place + 1 < len(spans) and _TAKES_BACK.search(whole[slice(*spans[place + 1])])
        listed = (
            start > 0 and whole[start - 1] in ";；" and any(_HEADS.search(whole[slice(*one)]) for one in spans[:place])
        )
        if not (answers or taken_back or listed) and whole[start:end].strip():
            found.append(whole[start:end].strip())
    return found


def _bare(text: str) -> str:
    return _POINTS.sub("", text)


def _written(text: str) -> str:
    """The clauses of a text, a line each: 复古，牛仔布 is no 复古牛仔布."""
    return "\n".join(part for part in map(_bare, _PHRASE.split(text)) if part)


def _between(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in pattern.finditer(text):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def _clauses(ad: Ad) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Of a Chinese ad its names, what may be quoted besides, and values of attributes that may describe it; without
    punctuation."""
    title = fold(ad.title)
    names = {_written(title), _bare(title)}
    if not _NAMED_BY.search(title) and not _turns(title):
        names |= {*_POINTS.split(title), *(_bare(part) for part in re.split(r"[，：:|（(]", title))}
    if ad.brand:
        names.add(_bare(fold(ad.brand)))
    quotable: set[str] = set()
    for sentence in sentences(fold(ad.description)):
        # A list is one piece: 教育、医疗行业的服务 is no 教育.
        parts = [part for part in map(_bare, _PHRASE.split(sentence)) if part]
        if _turns(sentence):
            quotable.add("\n".join(parts))
            continue
        for first, part in enumerate(parts):
            if first and part.startswith(tuple(beside("zh", "leaning"))):
                continue
            quotable.update(
                "\n".join(parts[first:last]) for last in range(first + 1, min(len(parts), first + _PHRASES) + 1)
            )
    values: set[str] = set()
    for name, value in ad.attributes.items():
        key, said = _bare(fold(name)), fold(f"{value:g}" if isinstance(value, float) else str(value))
        whole = _written(said)
        pieces = {whole} if _turns(said) else {whole, *_POINTS.split(said), *re.split(r"[/、]", said)}
        for part in pieces - {""}:
            quotable |= {key + part, part + key, f"{key}是{part}", f"{key}为{part}", f"{part}的{key}", f"{key}有{part}"}
            describes = key.endswith(tuple(beside("zh", "describing"))) and not _turns(key + part)
            if describes and not _DIGIT.search(part) and _HAN.search(part):
                values |= {part, part + key}
    return frozenset(names - {""}), frozenset((quotable | values) - {""}), frozenset(values)


def _turns(text: str) -> bool:
    """Whether a part of a Chinese text may say something else than the whole."""
    text = without_harmless(text)
    return bool(_BRACKET.search(text)) or any(sign in text for sign in beside("zh", "limits"))


def without_harmless(text: str) -> str:
    """A text without the words that hold a sign of a limit and limit nothing (不锈钢)."""
    for word in beside("zh", "harmless"):
        text = text.replace(word, "")
    return text


def plain_chinese(clause: str) -> bool:
    """Whether a Chinese clause is of plain words."""
    return _made_of(clause, plain_words()[1] | beside("zh", "spoken"))


def _states_nothing(clause: str, audience: Iterable[str], own: str | None) -> bool:
    """Whether it is a call, an address to the audience by its names, or, where it asks, a question in plain words,
    these names and words of its `own` ad."""
    if any(word in clause for word in beside("zh", "stating")):
        return False
    names = frozenset(name for name in audience if name)
    if _made_of(clause, beside("zh", "calling") | names):
        return True
    if own is None:
        return False
    own = "" if _DIGIT.search(clause) or _turns(clause) else own
    return _made_of(clause, plain_words()[1] | beside("zh", "spoken") | names, own)


def _made_of(clause: str, words: Collection[str], own: str = "") -> bool:
    """Whether the words, and pieces of two characters or more of `own`, make up the clause."""
    longest = max(map(len, words), default=0)
    reached = [True] + [False] * len(clause)
    for place in range(len(clause)):
        if not reached[place]:
            continue
        for length in range(1, min(longest, len(clause) - place) + 1):
            part = clause[place : place + length]
            if part in words or (1 < length <= _PLAIN and part in own):
                reached[place + length] = True
    return reached[-1]
