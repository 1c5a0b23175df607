"""A lawful text from an unlawful one: lawful wording in place, or what a clause is about, or the clause left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

Change = tuple[int, int, str | None]  # [start, end) of the text, and what may stand there; None: nothing
Salvage = Callable[[str, Sequence[Change]], str]  # of a clause with changes (places in it) what may stay

_ROUNDS = 6
LONG = 500  # characters of a text of which enough is left when clauses go: nothing else is tried
_CLAUSE_END = re.compile(r"[，。！？；、,!?;\n…]|[.:](?=\s|$)|(?<=[\u4e00-\u9fff])[:：\s]|[—–]{1,2}|\s[-|]\s")
_EDGES = " \t\n，。；、：,;:-—–|/·&+!！?？"
_JOINING = re.compile(r"^(?:且|而且|并且|更|又|还|也|并|但|让|的|and|but|so|or)\s*(?=\S)")
_DOUBLED = re.compile(r"([，。！？；、,;:])\s*(?=[，。！？；、,.;:!?])")
_MARK = re.compile(r"[，。！？；、,.;:：!?\s…—–|-]*$")
# What a Chinese clause is about stands after its last 的, or before what is said of it and ends as goods do.
_NOUN_AFTER = re.compile(r"的(?P<noun>[^的]{2,})$")
_GOODS = re.compile(
    r"[\u3400-\u9fff]{2,}[片茶膏霜贴液粉酒奶机器杯鞋包衣裤裙帽枕垫床灯锅壶表镜油膜丸丹胶囊饮品食车房课班营书笔盘卡金店院仪"
    r"剂露素皂巾被椅柜桌碗刀米面肉菜果糖饼糕蜜参袜具材料乐系套餐程本箱架伞巾]$"
)
_SUBJECT = re.compile(
    r"(?!(?:we|i|you|it|they|he|she|there|how|why|what|when|if)\b)[a-z0-9'-]+(?: [a-z0-9'-]{2,}){1,4}",
    re.I,
)
_LEADS_ON = re.compile(
    r"\b(?:only|just|best|most|and|or|but|so|with|without|for|of|to|in|on|at|by|from|than|as|that|which|who|is|are|was|"
    r"be|will|can|may|has|have|had|does|do|did|no|not|never|every|all|any|new|makes?|helps?|gives?|gets?|lets?)$",
    re.I,
)
_LINK = re.compile(r"\s(?:with|and|plus|for|at)$", re.I)
_BEFORE_NOUN = re.compile(r"\b(?:our|this|these|the|my)(?: new)?$", re.I)
# With what a claim about the subject before it begins.
_SAYS = re.compile(
    r"\s*(?:(?:naturally|clinically|instantly|permanently|quickly|really|actually|also|will|can|that|is|are|has|have) )"
    r"{0,2}(?:cure|heal|treat|prevent|revers|kill|boost|burn|melt|restor|regrow|eliminat|remov|reduc|lower|detox|cleans|"
    r"guarante|draw|eras|fix|end|stop|beat|fight|protect|improv|increas|work|repair|reliev|eas|flush|shrink|block|balanc|"
    r"support|proven|approved|recommended|better|free|safe|clean|do|make|help|give|turn|promis|assur|earn|doubl|pay|get)"
    r"(?:s|es|e|ed|ing|ify|ifies)?\b",
    re.I,
)
# One or two words that only qualify the noun after them.
_QUALIFIES = re.compile(
    r"(?:[a-z0-9%]+[ -])?(?:neutral|friendly|free|proven|approved|certified|guaranteed|natural|positive|green|greenest|"
    r"sustainable|safe|best|miracle|revolutionary|magical|secret|permanent|instant|toxic|biodegradable|negative|zero)",
    re.I,
)


def rewrite(text: str, changes: Callable[[str], Sequence[Change]]) -> str | None:
    """The text with every change made; None where nothing worth saying is left.

    changes: what is unlawful in a draft. The result has none.
    """
    for salvage in (_subject, _nothing, _rest) if len(text) <= LONG else (_subject,):
        lawful = _rewritten(text, changes, salvage)
        if lawful is not None:
            return lawful
    return None


def _rewritten(text: str, changes: Callable[[str], Sequence[Change]], salvage: Salvage) -> str | None:
    draft = text
    for _ in range(_ROUNDS):
        found = _merged(changes(draft))
        if not found:
            return draft if says_something(draft) else None
        draft = _mended(draft, found, salvage)
        if not draft:
            return None
    return None


def says_something(text: str) -> bool:
    """Whether there are three Chinese characters or two Latin words."""
    return len(re.findall(r"[\u3400-\u9fff]", text)) >= 3 or len(re.findall(r"[A-Za-z]{2,}", text)) >= 2


def _merged(changes: Sequence[Change]) -> list[Change]:
    """In order, without overlaps; where two overlap nothing can stand in place, unless they are the same."""
    merged: list[Change] = []
    for start, end, new in sorted(changes, key=lambda change: (change[0], -change[1])):
        if merged and start < merged[-1][1]:
            low, high, other = merged[-1]
            merged[-1] = (low, max(high, end), other if (new == other or end <= high) and new is not None else None)
        else:
            merged.append((start, end, new))
    return merged


def subjects(text: str, changes: Sequence[Change]) -> list[str]:
    """What the clauses with changes are about, where their form shows it: nouns that claim nothing."""
    found = [_subject(text[low:high], own) for low, high, own in _with_changes(text, _merged(changes)) if own]
    return [subject for subject in found if says_something(subject)]


def _mended(text: str, changes: Sequence[Change], salvage: Salvage) -> str:
    """Every change made: of a clause that nothing lawful can stand in only that stays which `salvage` leaves."""
    kept: list[str] = []
    for low, high, own in _with_changes(text, changes):
        clause = text[low:high]
        if all(new is not None for *_, new in own) and not any(start < 0 or end > len(clause) for start, end, _ in own):
            kept.append(_replaced(clause, own))
        else:
            stays = salvage(clause, [(max(start, 0), min(end, len(clause)), new) for start, end, new in own])
            kept.append(stays + clause[len(_MARK.sub("", clause)) :] if stays else "")
    return _tidy("".join(kept))


def _with_changes(text: str, changes: Sequence[Change]) -> Iterator[tuple[int, int, list[Change]]]:
    """Clauses with the changes that touch them, whose places are the clause's: before or beyond it, too."""
    first = 0
    for low, high in _clauses(text):
        while first < len(changes) and changes[first][1] <= low:
            first += 1
        last = first
        while last < len(changes) and changes[last][0] < high:
            last += 1
        yield low, high, [(start - low, end - low, new) for start, end, new in changes[first:last]]


def _subject(clause: str, changes: Sequence[Change]) -> str:
    """What the clause is about: the noun after the last 的, or what stands before the claim; empty: neither."""
    body = _MARK.sub("", clause)
    after = _NOUN_AFTER.search(body, max(changes[-1][1] - 1, 0))
    if after:
        return after["noun"]
    before = body[: changes[0][0]].strip()
    if _GOODS.fullmatch(before):
        return before
    if all(_QUALIFIES.fullmatch(clause, start, end) and clause[end : end + 2].strip() for start, end, _ in changes):
        return _replaced(body, changes).strip()
    if changes[-1][1] >= len(body) and _LINK.search(before):
        before = _LINK.sub("", before)
        return "" if _LEADS_ON.search(before) else before
    if _SAYS.match(clause, changes[0][0]) and _SUBJECT.fullmatch(before) and not _LEADS_ON.search(before):
        return before
    noun = body[changes[-1][1] :].strip()
    return noun if not before and _BEFORE_NOUN.search(body, 0, changes[-1][1]) and _SUBJECT.fullmatch(noun) else ""


def _nothing(clause: str, changes: Sequence[Change]) -> str:
    """The clause goes."""
    return ""


def _rest(clause: str, changes: Sequence[Change]) -> str:
    """A Chinese clause without the changed parts, which are few: its form does not show that a word is missing."""
    rest = _MARK.sub("", _replaced(clause, changes)).lstrip("的")
    return rest if len(rest) * 2 >= len(clause) and re.search(r"[\u3400-\u9fff]{3}", rest) else ""


def _clauses(text: str) -> list[tuple[int, int]]:
    """Clauses with the mark that ends them."""
    ends = [match.end() for match in _CLAUSE_END.finditer(text)]
    starts = [0, *ends]
    return [(low, high) for low, high in zip(starts, [*ends, len(text)], strict=True) if low < high]


def _replaced(clause: str, changes: Sequence[Change]) -> str:
    parts = []
    done = 0
    for start, end, new in changes:
        parts += [clause[done:start], new or ""]
        done = end
    return "".join([*parts, clause[done:]])


def _tidy(text: str) -> str:
    text = re.sub(r"[ \t]{2,}", " ", _DOUBLED.sub("", text))
    text = _JOINING.sub("", text.strip().lstrip(_EDGES)).lstrip(_EDGES)
    text = text.rstrip("，；、：,;:-—–|/·&+ ")
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
