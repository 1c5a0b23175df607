"""Where a Chinese copy promises more widely than the ad: at any time, to everyone, for all, without its condition.

The ad says 其中 11 只已绝育 and the copy 全部绝育; the ad 学生 8 折 and the copy 8 折. The days and hours that a
copy names are held against the ad's in `chinese_schedule`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shared.policy.chinese_schedule import Span, at_once, clause_of, other_days, other_season, too_often, unnamed_days
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity

_SENTENCE = re.compile(r"[。；！？;!?\n]")
_GRAM = re.compile(r"(?=([\u4e00-\u9fff]{2}))")
_FUNCTION = frozenset(
    "的了是在有和与也都就全部所每个只一二三四五六七八九十两中其可能会要到为不以及需含附带这那你我他她它们"
)
_ALL = re.compile(
    r"全部|全都|所有|统统|通通|个个|每一?[个只题节位款件道张本档颗]|样样|一律|[都均皆全](?=[^，。！？]{0,6})"
)
_SOME = re.compile(
    r"(?:其中|部分|少数|有些|仅限?|只有)(?P<part>[^，。；！？]{2,24})"
    r"|(?<=[，；。])\s?\d+\s?[篇题道只位名节款张个集]\s?(?P<part2>(?:登|配|附|含|已|可|送|免|带|获|入)[^，。；]{1,14})"
)
_NUMERAL = re.compile(r"[\d一二两三四五六七八九十百千]+")
_ALWAYS = re.compile(
    r"天天|每一?天都?|任何(?:时候|时间|一天)|随时|永远|一直都?|长期|全年|周周|每一?周都?|哪天|什么时候"
)
_LIMITED = re.compile(
    r"周[一二三四五六日末]|工作日|平日|周中|节假日|限时|直播|新品|首发|首[月次单周]|活动|截止|早鸟|前\s?\d+\s?[名位]|月底|\d\s?[月日]|新店|开业|会员日|晚场|午市"
)
_ONLY = re.compile(r"(?:只有|仅限?|唯有)(?P<w>[\u4e00-\u9fff]{2,6}?)(?:才|能|可|有|含|享)")
_ALIKE = re.compile(r"均|都|皆|同样|一律|全部")
_SINGLE_BUY = re.compile(
    r"(?<![周期拜比])(?:单|一(?!起)|任意)(?:独|个|份|件|节|袋|盒|瓶|箱|人|位|晚|天|课|次|包|只|张|本)?(?:独)?(?:起?(?:订|报|售|租|购买?|买|拍|住|约)"
    r"|也(?:能|可|送|卖|接|行|打|是|包邮|享)|都(?:能|可|送|卖|接)|就(?:能|可以?|送|接|行|打|是|享|包邮))"
    r"|买一[袋盒瓶件份包箱]就?(?:是|享|能|送|包|打)|[住订]一(?:个)?晚上?(?:也|就|都)|一(?:个人|人|件|份|袋|盒|瓶)(?:也|就|都)(?:能|可|送|打|享|成团|发车|开|包邮|行)"
)
_FROM_MANY = re.compile(
    r"(?P<n>[\d二两三四五六七八九十]+)\s?[\u4e00-\u9fff]{1,2}起(?:[订报售租购拍住打享送批]|售价|可|包邮|[^步])|满\s?\d"
    r"|minimum (?:of )?(?:two|three|four|five|\d)|买[二两三四五六\d]+"
    r"|[两二三四五六\d]+\s?[饼袋盒瓶件箱份包]\s?包邮|[（(][两二三四五六七八九\d]+\s?[瓶盒袋件份]装[）)]"
)
_NOT_CHARGED = re.compile(
    r"免费(?:提供|使用|用|送|接|寄|停|存|办)?|不(?:另外?|额外)?(?:收|要|花)(?:一?分?钱|费)|不另收[钱费]|不加[钱价]|白送|零元"
    r"|(?:也|都|全|已)(?:一并)?(?:含|包)(?:在内|进去?|了)?|(?:也|都|全)在内"
)
_CHARGED = re.compile(r"另(?:外)?(?:收|付|算|加|计|购)|自(?:费|理|付|购)|单程|加收|收费|需付|另加|[收加]\s?\d|\d\s?元")
_GRATIS = re.compile(r"免费|含|赠|不收|包|全免|免")
_WAIVED = re.compile(
    r"(?:不(?:另外?|再|额外)?收[你您]?|免(?:收|去|掉|除)?|无|零|没有?|(?<![不未])[含包])(?P<before>[\u4e00-\u9fff]{1,4}?费)"
    r"|(?P<after>[\u4e00-\u9fff]{1,3}费)(?:用|我们|本店|一律|统统|通通|全部?|也|都)*(?:一[分毛厘]钱?|分文|一概)?(?:也|都)?"
    r"(?:不(?:再|另|额外)?收|不取|全?免|已?含|[包在]内)"
)
_NEEDLESS = re.compile(
    r"(?P<before>[\u4e00-\u9fff]{2,4}?)(?:也|都|就)?(?:不用|无需|无须|不必|不需要?)(?:你|您|自己|自行)?(?:再|另外?)?"
    r"(?:自?[带备]|准备|携带|[买购配])(?!单)"
    r"|(?:不用|无需|无须|不必|不需要?|免)(?:你|您|自己|自行)?(?:再|另外?)?(?:自?[带备]|准备|携带|[买购配])"
    r"(?P<after>[\u4e00-\u9fff]{2,4})"
)
_OPPOSED = (
    ("累计", "连续"), ("开灯", "关灯"), ("站票", "坐票"), ("单程", "往返"), ("上半年", "下半年"),
    ("单人", "双人"), ("税前", "税后"), ("净重", "毛重"),
)  # fmt: skip
_OFFERED = re.compile(r"减|省|返|免|优惠|降|券|抵|送|赠|折")
# What an ad makes an offer depend on, and what of a copy says so too.
_CONDITIONS = tuple(
    (re.compile(condition), re.compile(said, re.I))
    for condition, said in (
        (
            r"学生|学员证|在校",
            r"学生|学校|校园|同学|学子|证|娃|孩子",
        ),
        (
            r"会员",
            r"会员|办卡|卡|入会|VIP",
        ),
        (
            r"新[客人]|新用户|新会员|新学员|首[次单月购]|第一次",
            r"新|首|第一|初次|头一?[回次单月]|刚来|初来",
        ),
        (
            r"老[客人]|老用户|老学员|续[费课]|复购",
            r"老|回头|再|续|复",
        ),
        (
            r"工作日|周一[至到]|平日|周中",
            r"工作日|周[一二三四五中]|平[日时]|上班|非周末",
        ),
        (
            r"周末|周[六日]",
            r"周末|周[六日]|双休|礼拜[六天]|星期[六天日]",
        ),
        (
            r"第二[件杯位人瓶份盒袋双张]",
            r"第二|两|俩|双|再|2|二[人件]|一对|一起",
        ),
        (
            r"同行|成团|拼团|[\d两二三四五]\s?人(?:以上|起|及)",
            r"人|一起|同行|结伴|拼|朋友|闺蜜|俩|团|组|约|同学|叫上|带上|搭",
        ),
        (
            r"前\s?[\d一二三四五六七八九十百]+\s?[名位单]",
            r"前|名额|先到|早|抢|赶",
        ),
        (
            r"早鸟|[日底初末]之?前|以前报|提前",
            r"早|前|月|号|日|截止|提|赶",
        ),
        (
            r"连[住续](?:打卡|租|订)?",
            r"连|坚持|满|不断|不间断|[\d两二三四五六七八九十]",
        ),
        (
            r"满\s?[\d一二三四五六七八九十百]|[\d两二三四五六]\s?[件袋盒瓶箱份节晚人套本包饼]\s?(?:起|及以上|以上)",
            r"满|凑|[\d一二两三四五六七八九十百]+\s?[元块件袋盒瓶箱份节晚人套本包饼个]|[\d二两三四五六七八九十百]{2}|够|多买|囤|起",
        ),
        (
            r"晒单|好评|转发|打卡|完成(?:全部)?作业|全勤",
            r"晒|评|转发|打卡|作业|完成|全勤|坚持|交|做完",
        ),
        (
            r"凭|出示",
            r"凭|出示|证|票|拿|带|卡",
        ),
        (
            r"推荐|介绍|邀请",
            r"推荐|介绍|邀|带|拉|朋友",
        ),
        (
            r"旧[机物衣书]|换新|以旧",
            r"旧|换",
        ),
        (
            r"团购价?|企业|批发",
            r"团|企业|公司|批|单位",
        ),
        (
            r"\d+\s?岁以[上下]|老人|老年|儿童|长者|教师|军人",
            r"岁|老|孩|娃|儿童|长者|爸妈|爷奶|教师|军|银发|小朋友",
        ),
    )
)
_TO_SO_MANY = re.compile(
    r"一对([二两三四五六八十])(?![不是一二三四五六七八九十百千点块元镑]|[一二三四五六七八九]?[十百千]|[\u4e00-\u9fff]{0,1}[、和])"
)
_SO_MANY_TO_ONE = re.compile(r"([一两二三四五六七八九十]|\d+)\s?人一([架桌组间班车房台机船艇只个位座份])")
_VALUES = {
    "一": "1",
    "两": "2",
    "二": "2",
    "三": "3",
    "四": "4",
    "五": "5",
    "六": "6",
    "七": "7",
    "八": "8",
    "九": "9",
    "十": "10",
}
_ARABIC_OF = {"二": "2", "两": "2", "三": "3", "四": "4", "五": "5", "六": "6", "八": "8", "十": "10"}
_BOTH = re.compile(r"(?:[两三几]|样)[样个种款门项]?(?:都|全)(?:能|可以?|报|要|选|送|做|学)")
_ONE_OF_SEVERAL = re.compile(r"[二三四五]选[一1]|任选其一|选其一|\bone of\b|either", re.I)
_OUTSIDERS = re.compile(r"外[地县省市校](?:的|人|户)?[^，。！？]{0,3}(?:也|都)(?:能|可|行|收|接|欢迎)")
_LOCALS = re.compile(r"(?:仅?限|只[收接招])\s?本[地县省市校区]|仅限[^，。；]{1,6}(?:户籍|居民)")
_ANY_NUMBER = re.compile(
    r"(?:多少|几)[\u4e00-\u9fff]{0,3}?都(?:行|可以?|能|成|好|得|有|算|收|送|退)|(?:次次|回回|样样|年年|每次)(?:都|全)?(?:免费|不收钱|不要钱)"
    r"|随便[你您]?[约挑选拿领][几多]"
)
_SO_MANY = re.compile(
    r"最多|至多|上限|限\s?\d|以内|up to|连续|满\s?\d|[\d一两二三四五六]\s?[次回件个]\s?(?:以内)?免费"
    r"|免费[^，。；]{0,4}[\d一两二三四五六]\s?[次回件个]",
    re.I,
)
_LATE = re.compile(r"到(?:凌晨|深夜|半夜|午夜|天亮)|通宵|(?:24|二十四)\s?小时(?:营业|开放|在线|客服|不打烊|答疑|都)")
_ALL_YEAR = re.compile(r"全年(?!费|卡|无休)|一整年|整年|一年到头|一年四季都|四季(?:都|皆)")
_PART_OF_YEAR = re.compile(
    r"\d\s?月?\s?(?:至|到|[-~—–])\s?(?:次年)?\s?\d+\s?月|(?:April|May|June|July|March|February|January) ?(?:to|-"
    r"|–) ?[A-Z][a-z]+|[春夏秋冬]季?(?:限定|开放)|仅[^，。]{0,4}[春夏秋冬]"
)
_WHOLE_MONTH = re.compile(
    r"整(?:个|整)?(?:[\d一二三四五六七八九十]{1,3}月|[春夏秋冬]天(?=都|开|的?(?:周|星期|礼拜)))|月的每个?(?:周|星期|礼拜)"
)
_SAME_PRICE = re.compile(
    r"(?:统统|一律|通通|全都|全部|都)(?:只要|才|是)?\s?(?=[\d一二两三四五六七八九十百千]+\s?(?:元|块|镑|美元))"
)
_FREE_TO = re.compile(
    r"(?:儿童|孩子|小朋友|小孩|娃|老人|长者|学生)(?:一律|都|全|均|统统|也都)(?:免票|免费|免门票|半价|不收[钱费])"
)
_FREE_FROM = re.compile(
    r"(?:\d|[一二三四五六七八九十])[^，。；]{0,8}(?:以下|以内|以上|及以[上下])[^，。；]{0,8}(?:免票|免费|免|半价)"
)
_SHOWN = "凭|出示"  # by those of whom another condition speaks


def overreach(plain: str, quantities: Sequence[Quantity], facts: Facts) -> list[Span]:
    """The words of a folded Chinese copy that widen what the ad says, or turn its time or condition into another."""
    texts = [text for field, text in facts.texts]
    whole = "\n".join(texts)
    found: list[Span] = []
    found += _for_all(plain, texts)
    found += _always(plain, quantities, facts)
    found += too_often(plain, whole)
    found += other_days(plain, whole)
    found += at_once(plain, whole)
    found += unnamed_days(plain, whole)
    found += other_season(plain, whole)
    found += _only_some(plain, texts)
    found += _of_one(plain, whole)
    found += _for_nothing(plain, texts)
    found += _opposed(plain, whole)
    found += _without_end(plain, whole)
    found += _for_free(plain, texts)
    found += _waived(plain, whole)
    found += _needless(plain, whole)
    for match in _BOTH.finditer(plain):
        if _ONE_OF_SEVERAL.search(whole):
            found.append((*match.span(), "qualifier"))
    for match in _OUTSIDERS.finditer(plain):
        if _LOCALS.search(whole):
            found.append((*match.span(), "qualifier"))
    prices = {fact.value for _, fact, _ in facts.quantities if fact.unit.dimension.startswith("currency")}
    found += [(*match.span(), "qualifier") for match in _SAME_PRICE.finditer(plain) if len(prices) > 1]
    for match in _SO_MANY_TO_ONE.finditer(plain):
        told = _SO_MANY_TO_ONE.search(whole)
        if (
            told is not None
            and told[2] == match[2]
            and _VALUES.get(told[1], told[1]) != _VALUES.get(match[1], match[1])
        ):
            found.append((*match.span(), "qualifier"))
    for match in _TO_SO_MANY.finditer(plain):
        many = match[1]
        if not re.search(rf"(?:1|一)\s?(?:[:：]|对|比)\s?(?:{many}|{_ARABIC_OF.get(many, many)})(?!\d)", whole):
            found.append((*match.span(), "number"))
    found += _unconditional(plain, quantities, facts)
    return found


def _grams(text: str) -> set[str]:
    return {gram for gram in _GRAM.findall(text) if not (gram[0] in _FUNCTION or gram[1] in _FUNCTION)}


def _for_all(plain: str, texts: Sequence[str]) -> Iterator[Span]:
    """All, where the ad says it of some: 其中 150 题附讲解视频."""
    parts = [match for text in texts for match in _SOME.finditer(text)]
    if not parts:
        return
    for match in _ALL.finditer(plain):
        low, high = clause_of(plain, *match.span())
        clause = plain[low:high]
        for part in parts:
            content = part["part"] or part["part2"]
            numbers = set(_NUMERAL.findall(content))
            shared = _grams(content) & _grams(clause)
            if shared and not part[0].startswith("仅") and not any(number in plain for number in numbers):
                yield (*match.span(), "qualifier")
                return


def _always(plain: str, quantities: Sequence[Quantity], facts: Facts) -> Iterator[Span]:
    """A price or a discount of certain days, on all of them."""
    always = _ALWAYS.search(plain)
    if always is None:
        return
    texts = dict(facts.texts)
    for quantity in quantities:
        if quantity.kind not in ("price", "discount"):
            continue
        told = [
            texts[field][slice(*clause_of(texts[field], fact.start, fact.end, _SENTENCE))]
            for field, fact, _ in facts.quantities
            if fact.end and fact.value == quantity.value and fact.unit.dimension == quantity.unit.dimension
        ]
        if told and any(_LIMITED.search(sentence) for sentence in told) and not _LIMITED.search(plain):
            yield (*always.span(), "qualifier")
            return


def _only_some(plain: str, texts: Sequence[str]) -> Iterator[Span]:
    """Only of one, where the ad says it of both."""
    for match in _ONLY.finditer(plain):
        for text in texts:
            place = text.find(match["w"][:2])
            if place < 0:
                continue
            low, high = clause_of(text, place, place + 2, _SENTENCE)
            if _ALIKE.search(text[low:high]) and not re.search(r"仅|只有|限", text[low:high]):
                yield (*match.span(), "qualifier")
                break


def _of_one(plain: str, whole: str) -> Iterator[Span]:
    """One alone, where the ad takes several at least."""
    if _FROM_MANY.search(whole) is None:
        return
    for match in _SINGLE_BUY.finditer(plain):
        if match[0] not in whole:
            yield (*match.span(), "qualifier")


def _for_nothing(plain: str, texts: Sequence[str]) -> Iterator[Span]:
    """For nothing, where the ad charges for the thing."""
    for match in _NOT_CHARGED.finditer(plain):
        low, high = clause_of(plain, *match.span())
        for gram in _grams(plain[low : match.start()]) | _grams(plain[match.end() : high]):
            for text in texts:
                place = text.find(gram)
                if place < 0:
                    continue
                _, last = clause_of(text, place, place + 2, _SENTENCE)
                clauses = [clause_of(text, place, place + 2)]
                after = clause_of(text, min(clauses[0][1] + 1, last), min(clauses[0][1] + 1, last))
                near = text[slice(*clauses[0])]
                beside = text[slice(*after)] if after[0] > place and after[1] <= last else ""
                charged = _CHARGED.search(near[max(0, near.find(gram)) :]) or re.match(
                    r"单程|另|加收|需付|自费", beside
                )
                if charged and not _GRATIS.search(near):
                    yield (*match.span(), "price")
                    return


def _waived(plain: str, whole: str) -> Iterator[Span]:
    """A fee that is not charged, of which the ad tells without waiving it: 会员费一分不收 of 会员费 200 元."""
    for match in _WAIVED.finditer(plain):
        named = match["before"] or match["after"]
        fee = next((named[-size:] for size in (4, 3, 2) if named[-size:] in whole), "")
        if fee and not any(fee in told[0] for told in _WAIVED.finditer(whole)):
            yield (*match.span(), "reversal")


def _needless(plain: str, whole: str) -> Iterator[Span]:
    """What nobody has to bring or buy, where the ad has it brought or bought: 棋具不用另买 of 棋具另售."""
    for match in _NEEDLESS.finditer(plain):
        thing = re.escape(match["before"][-2:] if match["before"] else match["after"][:2])
        extra = re.search(
            rf"{thing}[\u4e00-\u9fff]{{0,2}}\s?(?:需|须|请|要)?(?:另外?[购售付买配]|自[备带购理费]|不含|不提供)"
            rf"|(?:自[备带购]|不含|不提供|另[购售买]|需[购买带])[^，。；]{{0,4}}{thing}",
            whole,
        )
        if extra and not re.search(rf"(?:赠送?|附送?|提供|[^不]含|配)[^，。；]{{0,6}}{thing}", whole):
            yield (*match.span(), "reversal")


def _opposed(plain: str, whole: str) -> Iterator[Span]:
    for one, other in _OPPOSED:
        for mine, theirs in ((one, other), (other, one)):
            if mine in plain and theirs in whole and mine not in whole and theirs not in plain:
                start = plain.index(mine)
                yield start, start + len(mine), "qualifier"


def _without_end(plain: str, whole: str) -> Iterator[Span]:
    """Any number, until any hour, all the year round, where the ad gives an end."""
    for match in _ANY_NUMBER.finditer(plain):
        if _SO_MANY.search(whole) or (
            match[0][0] in "多几" and not re.search(r"不限|无限|任意|随意|unlimited", whole, re.I)
        ):
            yield (*match.span(), "qualifier")
    for match in _LATE.finditer(plain):
        if not re.search(
            r"次日|overnight|凌晨|深夜|半夜|午夜|通宵|24\s?小时|二十四小时|天亮|24/7", whole
        ) and not re.search(r"加班|熬|失眠|睡|醒|追剧|改稿", plain):
            yield (*match.span(), "date")
    for match in _ALL_YEAR.finditer(plain):
        lasting = re.match(r"都?(?:有效|能用|可用)", plain[match.end() :])
        if (lasting or _PART_OF_YEAR.search(whole)) and not re.search(r"全年|四季|一年|12\s?个月|year", whole, re.I):
            yield (*match.span(), "date")
    for match in _WHOLE_MONTH.finditer(plain):
        if re.search(r"\d\s?月\s?\d+|\b\d{1,2} [A-Z][a-z]+|[A-Z][a-z]+ \d{1,2}\b", whole) and not re.search(
            r"整月|全月|月底|月\s?1\s?日?\s?(?:至|到|[-~—–])[^，。]{0,4}(?:28|29|30|31)|all (?:of )?[A-Z]", whole
        ):
            yield (*match.span(), "date")


def _for_free(plain: str, texts: Sequence[str]) -> Iterator[Span]:
    """Free for all of some people, where the ad says up to which age or height."""
    match = _FREE_TO.search(plain)
    if match is not None and any(_FREE_FROM.search(text) for text in texts):
        yield (*match.span(), "qualifier")


def _unconditional(plain: str, quantities: Sequence[Quantity], facts: Facts) -> Iterator[Span]:
    """A discount or a saving without what the ad makes it depend on."""
    texts = dict(facts.texts)
    for quantity in quantities:
        low, _ = clause_of(plain, quantity.start, quantity.end)
        discount = quantity.kind == "discount"
        if not discount and not (
            quantity.kind == "price" and _OFFERED.search(plain[max(low, quantity.start - 5) : quantity.start])
        ):
            continue
        told = []
        for field, fact, _ in facts.quantities:
            if fact.end == 0 or fact.value != quantity.value or fact.unit.dimension != quantity.unit.dimension:
                continue
            text = texts[field]
            first, last = clause_of(text, fact.start, fact.end)
            told.append(text[first:last])
        needed = [[(condition, said) for condition, said in _CONDITIONS if condition.search(clause)] for clause in told]
        needed = [[(one, said) for one, said in row if len(row) == 1 or one.pattern != _SHOWN] for row in needed]
        if needed and all(needed) and not any(all(said.search(plain) for _, said in row) for row in needed):
            yield quantity.start, quantity.end, "qualifier"
