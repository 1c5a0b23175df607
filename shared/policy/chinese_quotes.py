"""Quotations of a Chinese ad: clauses of it, in a row, and values of its attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from shared.domain import Ad
from shared.policy.characters import fold
from shared.policy.plain import beside, plain_words

_DIGIT = re.compile(r"\d")
# What stands in brackets is said of what stands before, and what in quotation marks by somebody else.
_BRACKET = re.compile(r"[（(“「『]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_STOPS = re.compile(r"[。！？!?；;\n]+")
_POINTS = re.compile(r"[，、：:；;。！？!?,\s（）()“”\"「」—…·]+")
_COUNTED = re.compile(
    r"(?:就是|这|那|一|来|想要|选)?一?"
    r"[款件条双套本门只台份场支张个把盒瓶杯碗间家顶块串部节次袋包枚盏幅首趟位座辆副]"
)
_PHRASE = re.compile(r"[，：:,（）()“”\"「」—]+|(?<![A-Za-z0-9])\s+(?![A-Za-z0-9])")
_CLAUSE = re.compile(r"[^，,。！？!?；;\n]+")
_CUT_OFF = re.compile(r"…+|\.{3,}")
_TAKES_BACK = re.compile(r"^\s*(?:仅|除|限|须|需|但|不过|然而|可惜|只)|除外|售罄|缺货|差价|加收")
_OFFERS = re.compile(r"免|送|赠|减|折|优惠|包邮|退|换|试用|省|全场|得|支持|提供")
_CONDITIONS = re.compile(
    r"^\s*(?:满|凭|前[0-9一二三两四五六七八九十百]+[名位]|活动|会员|专享|偏远|大促|押金|以上|定制|费用|自费|请自行|因人而异)"
)
_OVER = re.compile(r"已(?:经)?(?:结束|停|满|截止)|以上为|待定")  # nothing of the ad holds any more
_DENIES = re.compile(r"不支持|不含|不能|不可|不带|收费|押金|加收|休息|闭馆|另")  # where it speaks of the same
_TOLD = re.compile(r"误区|谣言|话术|识破|查证|说法|骗局|辟谣|[说写道][：:，,]?[“「『\"]")
_HEADS = re.compile(r"(?:[不未无非除禁慎忌缺]|选购|零添加|会员|自理|自带|自备)[^。！？；;]*[：:]")
_COLON = re.compile(r"(?<!\d)[：:]|[：:](?!\d)")
# 标准款，续航20小时: what comes after it is said of this one alone.
_VARIANT = re.compile(r"(?:^|[，,；;])[^，,：:]{1,6}[款版装码班档房票组号][，,：:]")
_WHEN = re.compile(
    r"(?:[每逢]?(?:周|星期|礼拜)?(?:[一二三四五六日天末至到和]|春节|国庆|元旦|节假日|[上下]午|早上|晚上|[0-9点半:]|今天|明天))+"
)
_KINDS = (
    (re.compile(r"裤"), re.compile(r"[这一那][件个份双只套]")),
    (re.compile(r"裙"), re.compile(r"[这一那][个份双只]")),
    (re.compile(r"衫|衣|外套|T恤|t恤|夹克|马甲|西装|背心"), re.compile(r"[这一那][条个份双只]")),
)
_ASKING = re.compile(r"什么|怎|哪|谁|几|多少|如何|要不要|何不")
_LEAKED = re.compile(r"^(?:裙衣|[衣裙裤](?:款式|样式|类型))")
_NEVER = re.compile(r"(?!)")
_TITLE = re.compile(r"[，：:|（(·\s]+")
# Titles of what belongs to a thing, or is about it: no part of them is its name.
_BELONGS = re.compile(
    r"壳|(?<!外)套(?!装|餐|头)|膜|表带|滤芯|罩|模具|蚊帐|配件|支架|键帽|贴纸|仿|二手|指导|讲解|申请|粉碎|试听|早鸟|旁听|解说|须知|攻略"
    r"|谣言|辟谣|海报|模型|讲座|问答|体验课|导览|测评|[?？“]|十件事"
)
_NAMED_BY = re.compile(r"适用|兼容|支持")  # whose title names another's thing
_PHRASES = 4  # clauses in a row that a quotation may have
_CLAUSES = 8  # clauses of a copy that are one quotation at most
_PLAIN = 12  # characters of a plain word, and of the ad that a question names in a row, at most
_LEADS = 3  # that may stand before a quotation


@dataclass(frozen=True, slots=True)
class _Own:
    """What of an ad a question may name: its text, its title, and values that describe the thing."""

    text: str
    title: str
    values: frozenset[str]


class ChineseQuotations:
    """What of a Chinese ad copy may quote. phrases: the ad's attributes as they are said."""

    def __init__(self, ad: Ad, phrases: Iterable[str]) -> None:
        self._names, clauses, self._values = _clauses(ad)
        self._quotable = clauses | self._names | {_written(fold(phrase)) for phrase in phrases}
        self._parts = sorted(self._values | self._names, key=len, reverse=True)
        # What may be not so is not asked after: 想降血糖？ of what cannot.
        said = [*sentences(ad.description), *map(str, ad.attributes.values())]
        text = fold("\t".join([ad.title, *(one for one in said if not turns_chinese(fold(one)))]))
        self._own = _Own(text, fold(ad.title), self._values)
        parts = [*_STOPS.split(ad.description), *(f"{name} {value}" for name, value in ad.attributes.items())]
        signs = beside("zh", "dissuading")
        self._denied = fold("\n".join(part for part in parts if any(sign in without_harmless(part) for sign in signs)))
        self._title = fold(ad.title)
        # 一条衬衫, 这件裤: no good Chinese.
        self._miscounts = next((wrong for kind, wrong in _KINDS if kind.search(self._title[-3:])), _NEVER)

    def unquoted(self, text: str, audience: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        """The parts of a folded text that are no quotation and may state something."""
        audience = tuple(name for name in audience if name in self._title or name not in self._denied)
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
        if clause in self._quotable:
            return True
        if self._miscounts.search(clause) or (clause.endswith("呢") and not _ASKING.search(clause)):
            return False
        if _states_nothing(clause, audience, self._own if asked else None):
            return True
        rests = {clause}
        for _ in range(_LEADS):
            rests |= {rest[len(lead) :] for rest in rests for lead in beside("zh", "leads") if rest.startswith(lead)}
            rests |= {rest[match.end() :] for rest in rests if (match := _COUNTED.match(rest))}
        for rest in rests - {""}:
            if rest in self._quotable or self._described(rest):
                return True
            for tail in beside("zh", "tails"):
                if rest.endswith(tail) and rest.removesuffix(tail) in self._quotable:
                    return True
        return False

    def _described(self, text: str) -> bool:
        """Whether it is the ad's name with values of its attributes before it."""
        for name in self._names:
            rest = text.removesuffix(name) if text.endswith(name) else None
            while rest:
                rest = rest.removesuffix("的")
                part = next((one for one in self._parts if rest.endswith(one)), None)
                rest = rest.removesuffix(part) if part else None
            if rest == "":
                return True
        return False


def sentences(description: str) -> list[str]:
    """The sentences of a description that may be quoted, as they stand there."""
    found = []
    whole = _CLAUSE.sub(lambda clause: _CUT_OFF.split(clause[0])[-1], description)
    if _OVER.search(whole):
        return []
    spans = list(_between(_STOPS, whole))
    listed = False
    for place, (start, end) in enumerate(spans):
        # 遇上下雨？全额退款。 and 免费停车。仅限会员。 say nothing of the kind apart.
        answers = start > 0 and whole[start - 1] in "?？"
        chained = start > 0 and whole[start - 1] in ";；\n"
        listed = chained and (listed or bool(_HEADS.search(whole[slice(*spans[place - 1])])))
        asks = whole[end : end + 1] in ("?", "？")
        following = whole[slice(*spans[place + 1])] if place + 1 < len(spans) else ""
        said = whole[start:end]
        taken_back = (
            _TAKES_BACK.search(following)
            or (_CONDITIONS.search(following) and _OFFERS.search(said))
            or (_DENIES.search(following) and _shared(said, following))
        )
        if not (answers or asks or taken_back or listed or _TOLD.search(said)) and said.strip():
            found.append(said.strip())
    return found


def _shared(text: str, other: str) -> bool:
    """Whether two sentences have two Chinese characters in a row in common."""
    pairs = {text[place : place + 2] for place in range(len(text) - 1)}
    return any(_HAN.match(pair) and _HAN.match(pair[1:]) and pair in other for pair in pairs)


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
    if not (_NAMED_BY.search(title) or turns_chinese(title) or _BELONGS.search(title)):
        names |= {_bare(part) for part in (*_TITLE.split(title), *re.split(r"[，：:|（(]", title))}
    elif not turns_chinese(title):
        names |= {_bare(part) for part in _TITLE.split(title) if _BELONGS.search(part)}
    if ad.brand:
        names.add(_bare(fold(ad.brand)))
    quotable: set[str] = set()
    for sentence in sentences(fold(ad.description)):
        # A list is one piece: 教育、医疗行业的服务 is no 教育.
        parts = [part for part in map(_bare, _PHRASE.split(sentence)) if part]
        if turns_chinese(sentence) or _VARIANT.search(sentence):
            quotable.add("\n".join(parts))
            continue
        # What comes after a colon is said under its head.
        heads = len([part for part in map(_bare, _PHRASE.split(_COLON.split(sentence)[0])) if part])
        for first, part in enumerate(parts):
            if first and (first >= heads or part.startswith(tuple(beside("zh", "leaning")))):
                continue
            quotable.update(
                "\n".join(parts[first:last]) for last in range(first + 1, min(len(parts), first + _PHRASES) + 1)
            )
    quotable = {one for one in quotable if not _WHEN.fullmatch(one)}
    values: set[str] = set()
    for name, value in ad.attributes.items():
        key, said = _bare(fold(name)), fold(f"{value:.15g}" if isinstance(value, float) else str(value))
        whole = _written(said)
        limited = turns_chinese(said) or turns_chinese(key) or _DIGIT.search(said) or "：" in said or ":" in said
        pieces = {whole} if limited else {whole, *_POINTS.split(said), *re.split(r"[/、]", said)}
        for part in pieces - {""}:
            if not _LEAKED.match(key):
                quotable |= {key + part, part + key, f"{key}是{part}", f"{key}为{part}"}
                quotable |= {f"{part}的{key}", f"{key}有{part}"}
            describes = key in beside("zh", "describing") and not turns_chinese(key + part)
            if describes and not _DIGIT.search(part) and _HAN.search(part):
                values |= {part} if _LEAKED.match(key) else {part, part + key}
    return frozenset(names - {""}), frozenset((quotable | values) - {""}), frozenset(values)


def turns_chinese(text: str) -> bool:
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
    return _made_of(clause, _asked())


def _states_nothing(clause: str, audience: Iterable[str], own: _Own | None) -> bool:
    """Whether it is a call, an address to the audience by its names, or, where it asks, a question in plain words,
    these names and words of its `own` ad."""
    if any(word in clause for word in beside("zh", "stating")):
        return False
    names = frozenset(name for name in audience if name)
    if _made_of(clause, beside("zh", "calling"), names):
        return True
    if own is None:
        return False
    used = None if _DIGIT.search(clause) or turns_chinese(clause) else own
    return _made_of(clause, _asked(), names, used)


@cache
def _asked() -> frozenset[str]:
    """Words of questions."""
    return plain_words()[1] | beside("zh", "spoken")


def _made_of(clause: str, words: frozenset[str], names: frozenset[str] = frozenset(), own: _Own | None = None) -> bool:
    """Whether words, names, and pieces of two characters or more of an `own` ad make up the clause. No two of these
    touch but a value and a piece of the title: a coat lined with silk is no 真丝大衣, a pink one is a 粉色大衣."""
    longest = max([_PLAIN, *map(len, names)])
    # Whether words have come so far, and with what: a word, a value of an attribute, another piece of the ad.
    free, valued, owned = ([start] + [False] * len(clause) for start in (True, False, False))
    for place in range(len(clause)):
        if not (free[place] or valued[place] or owned[place]):
            continue
        for length in range(1, min(longest, len(clause) - place) + 1):
            part, end = clause[place : place + length], place + length
            if part in words or part in names:
                free[end] = True
            elif own is not None and 1 < length <= _PLAIN:
                if free[place] and part in own.values:
                    valued[end] = True
                if (free[place] and part in own.text) or (valued[place] and part in own.title):
                    owned[end] = True
    return free[-1] or valued[-1] or owned[-1]
