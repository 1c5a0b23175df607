"""A lawful text from an unlawful one: lawful wording in place, or what a sentence is about and its plain facts.

Strict on purpose: a broken phrase that is one click from the catalogue is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from shared.preprocess import to_simplified

Change = tuple[int, int, str | None]  # [start, end) of the text, and what may stand there; None: nothing

_ROUNDS = 6
_CLAUSE_END = re.compile(r"[，。！？；、,!?;\n…]|[.:](?=\s|$)|(?<=[\u4e00-\u9fff])[:：\s]|[—–]{1,2}|\s[-|]\s")
_EDGES = " \t\n，。；、：,;:-—–|/·&+!！?？"
_JOINING = re.compile(r"^(?:且|而且|并且|更|又|还|也|并|但|让|的|and|but|so|or)\s*(?=\S)")
_DOUBLED = re.compile(r"([，。！？；、,;:])\s*(?=[，。！？；、,.;:!?])")
_MARK = re.compile(r"[，。！？；、,.;:：!?\s…—–|-]*$")
# What a Chinese clause is about stands after its last 的, or before what is said of it and ends as goods do.
_NOUN_AFTER = re.compile(r"的(?P<noun>[^的]{2,})$")
_GOODS_ENDS = (
    "片茶膏霜贴液粉酒奶机器杯鞋包衣裤裙帽枕垫床灯锅壶表镜油膜丸丹胶囊饮品食车房课班营书笔盘卡金店院仪"
    "剂露素皂巾被椅柜桌碗刀米面肉菜果糖饼糕蜜参袜具材料乐系套餐程本箱架伞巾"
)
_GOODS = re.compile(rf"[\u3400-\u9fff]{{2,}}[{_GOODS_ENDS}]$")
_GOODS_END = re.compile(rf"[\u3400-\u9fff]{{2}}[{_GOODS_ENDS}]$")
_GOOD = re.compile(rf"(?=([\u3400-\u9fff][{_GOODS_ENDS}]))")
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

_SENTENCE_END = re.compile(r"[。！!\n]|[.?](?=\s*$)")  # a Chinese question is asked to be answered
_COMMON = frozenset("的很")  # may stand twice beside each other
_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[A-Za-z]{2,}")
_DETERMINER = re.compile(r"^(?:(?:our|this|these|my|the|an?|one|each|every) |我们的|这[款个种只])", re.I)
_BROKEN = re.compile(  # ends as no noun does, is the rest of a superlative, or a name that is a claim itself
    r"降血?[压脂糖]|抗癌|壮阳|减肥|排毒|[的里上中和与及在是]$|\b(?:naturally|really|also)$"
    r"|\b(?:ever|in the world|on earth|on the market)\b",
    re.I,
)
# A whole market, of which one thing can only be the first: wording without a rank does not follow it.
_AMONG_ALL = re.compile(
    r"(?:世界|全球|全国|国内|国际|全网|史上|宇宙|业内?|全城|全市|同类|中国|唯一)[上里内中当]*[的]?$"
)
_VERB = re.compile(r"[给让把被能会要就都只不有是做用喝吃穿睡买来去治防]|人人")
# Facts that claim nothing: sizes, colours, where and when it is sold.
_PLAIN = re.compile(
    r"\d[\d.,]*\s?(?:元|克|千克|公斤|毫升|升|英寸|厘米|毫米|米|色|款|片|件|g|kg|ml|l|w|cm|mm|inch|gb|mah|oz|lb|colou?rs|sizes)"
    r"(?![a-z\u3400-\u9fff])|[两三四五六七八九十]种?(?:颜色|尺码|口味|规格)|包邮|到店|开抢|现货|发货|门店|限时"
    r"|\b(?:two|three|four|five|six|seven|eight|nine|ten) (?:colou?rs|sizes|flavou?rs)$|\bfree delivery$|\bin stock$",
    re.I,
)
# What follows "great" where it is a noun that is praised, up to the end or to what is plain.
_NOUN_NEXT = re.compile(
    r"\s(?!(?:in|of|on|at|for|to|from|the|a|an|ever|that|which|you|we|and|or|than|by|is|are|with)\b)[a-z-]+"
    r"(?:\s(?!(?:in|of|on|ever|than|that|anywhere|around)\b)[a-z-]+){0,3}\s*(?:[.,!;:]?\s*)$",
    re.I,
)
_NO_NOUNS = frozenset(
    {"with", "your", "from", "this", "that", "these", "they", "them", "have", "will", "than", "then", "more", "most"}
    | {"best", "only", "just", "every", "when", "what", "which", "about", "ours", "their", "make", "makes", "made"}
    | {
        "ever",
        "been",
        "into",
        "over",
        "also",
        "very",
        "good",
        "great",
        "free",
        "guaranteed",
        "world",
        "never",
        "always",
    }
)


def rewrite(text: str, changes: Callable[[str], Sequence[Change]]) -> str | None:
    """The text with every change made; None where what is left does not read as one that was written so.

    What is offered still names the thing, in the language of the text: a claim is reworded where the wording fits its
    place, or its sentence becomes what it is about and its plain facts, or goes where another names the same.
    changes: what is unlawful in a draft. The result has none.
    """
    draft = text
    for _ in range(_ROUNDS):
        found = _merged(changes(draft))
        if not found:
            return draft if says_something(draft) and _chinese(draft) == _chinese(text) else None
        draft = _mended(draft, found)
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


def _mended(text: str, changes: Sequence[Change]) -> str:
    """Every change made; empty where a sentence that has to go was the one that names the thing."""
    clauses = list(_with_changes(text, changes))
    sentences: list[str] = []
    gone: list[str] = []
    first = 0
    for last, (_, high, _) in enumerate(clauses, start=1):
        if last < len(clauses) and not _SENTENCE_END.search(text[clauses[last - 1][0] : high]):
            continue
        sentence = clauses[first:last]
        first = last
        whole = text[sentence[0][0] : high]
        left = _sentence(text, sentence)
        if left:
            sentences.append(
                (left[:1].upper() + left[1:] if left[:1].isascii() else left)
                + (whole[len(whole.rstrip()) :] or " " * whole.isascii())
            )
        elif len(_WORD.findall(whole)) > 1 or _HAN.search(whole):
            gone.append(whole)
    draft = _tidy("".join(sentences))
    things = _things(draft)
    return draft if all(_things(one) & things for one in gone) else ""


def _sentence(text: str, clauses: Sequence[tuple[int, int, list[Change]]]) -> str:
    """The sentence with its changes made, without the space after it; empty: it has to go."""
    kept: list[tuple[str, bool]] = []  # clauses, and whether it is one that a change was made in
    lost = False
    about = ""
    for low, high, own in clauses:
        clause = text[low:high]
        inside = [(max(start, 0), min(end, len(clause)), new) for start, end, new in own]
        if not own:
            kept.append((clause, False))
        elif own == inside and _fits(clause, inside):
            kept.append((_replaced(clause, inside), True))
        else:
            lost = True
            subject = "" if about else _subject(clause, [(start, end, None) for start, end, _ in inside])
            subject = _DETERMINER.sub("", subject)
            if says_something(subject) and subject in clause and not _BROKEN.search(subject):
                about = subject
                kept.append((about + clause[len(_MARK.sub("", clause)) :], True))
    if not lost:
        return "".join(clause for clause, _ in kept).rstrip()
    # What was said beside a claim is likely to be part of it: the thing itself and plain facts stay.
    bodies = [_MARK.sub("", clause).strip() for clause, _ in kept]
    names = [_names(body) for body in bodies]
    if not about and not any(names):
        return ""
    stays = [
        clause
        for (clause, changed), body, name in zip(kept, bodies, names, strict=True)
        if (changed and (body == about or name)) or (not about and name) or _PLAIN.search(body)
    ]
    end = _MARK.search(text[clauses[-1][0] : clauses[-1][1]])
    joined = "".join(stays).strip()
    return _MARK.sub("", joined) + (end[0].rstrip() if end else "")


def _fits(clause: str, changes: Sequence[Change]) -> bool:
    """Whether every wording may stand there: in the clause's language and script, once, beside what it says something
    of, and doubling nothing."""
    rest = _replaced(clause, [(start, end, None) for start, end, _ in changes])
    if not _chinese(clause):
        [(start, end, new), *others] = changes
        if others or not new or _HAN.search(clause + new) or clause[:start].strip():
            return False
        return _NOUN_NEXT.match(clause, end) is not None
    if to_simplified(clause) != clause or len(_HAN.findall(rest)) < 2:
        return False
    words = [new for *_, new in changes]
    return len(set(words)) == len(words) and all(
        new
        and _HAN.search(new)
        and not set(new) & set(clause[max(start - 2, 0) : start] + clause[end : end + 2]) - _COMMON
        and not _AMONG_ALL.search(clause[max(start - 6, 0) : start])
        for start, end, new in changes
    )


def _chinese(text: str) -> bool:
    """Whether a text is Chinese rather than English: by characters against words."""
    return len(_HAN.findall(text)) > len(_WORD.findall(text))


def _names(clause: str) -> bool:
    """Whether a clause is no more than the name of goods."""
    return all(one.search(clause) is None for one in (_VERB, _BROKEN)) and _GOODS_END.search(clause) is not None


def _things(text: str) -> set[str]:
    """What a text may be about: the ends of Chinese words for goods, English words that are no mere grammar."""
    words = {word for word in _WORD.findall(text.lower()) if len(word) > 3 and word not in _NO_NOUNS}
    return words | {match[1] for match in _GOOD.finditer(text)}


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
