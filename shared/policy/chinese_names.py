"""Names in a Chinese copy that the ad does not have: people by their titles, places, books, brands, added things."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.policy.evidence import Evidence, Word, meaning
from shared.policy.vocabulary import Vocabulary

_SURNAMES = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章云苏潘葛奚范彭郎鲁韦昌马苗凤方俞任"
    "袁柳酆鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常"
    "乐于时傅皮卞齐康伍余元卜顾孟平黄穆萧尹姚邵湛汪祁毛禹狄米贝明臧计伏成戴谈宋茅庞熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾"
    "路娄危江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡"
    "凌霍虞万支柯昝管卢莫经房裘缪干解应宗丁宣贲邓郁单杭洪包诸左石崔吉龚程嵇邢裴陆荣翁荀羊甄曲封储靳段富焦巴谷车侯宓全"
    "班仰秋仲宫宁仇栾暴甘厉戎祖武符刘景詹束龙叶司"
    "黎薄印白蒲从鄂索咸籍赖卓蔺屠蒙池乔阴胥苍双闻党翟谭贡姬申扶堵冉宰雍桑桂牛寿通边燕冀尚农温庄晏柴瞿阎充慕连茹习艾鱼"
    "容向古易慎戈廖庾终暨居衡步都耿满弘匡国文寇"
    "广禄阙东欧沃利蔚越夔隆师巩聂晁勾敖融冷辛阚那简饶空曾沙养鞠须丰巢关相查后荆红游竺权盖益桓公"
)
_TITLES = "老师|教授|教练|博士|医生|大夫|主任|大师|师傅|导演|主厨|院士|讲师|导师|校长|院长|主播|学姐|学长|掌柜|指挥"
_TITLED = re.compile(rf"(?P<name>(?:阿|小|老|[{_SURNAMES}])[\u4e00-\u9fff]{{0,2}}?)(?:{_TITLES})")
_UNNAMED = frozenset("的是了在有和女男们位名这那我你他她它都也就还让给被把请跟由从到为对找陪谢")
_ROLE = re.compile(
    r"(?:主持人|主讲|教练|老师|医生|主理人|主厨|嘉宾|作者|摄影师|设计师|主播|领队|导演|歌手"
    rf"|评委)(?:是|为|叫|由)(?P<a>[\u4e00-\u9fff]{{2,3}}?)(?=[，。！？、；]|$)"
    r"|(?:嘉宾|[文史物生鸟植数医理哲科]?学家|画家|作家|名家|导演|歌手|编剧|主编|影星|明星|名厨"
    r"|博主|传人|弟子"
    rf"|[名大]师)(?P<b>[{_SURNAMES}](?![的了是在有和也都])[\u4e00-\u9fff]{{1,2}}?)(?=作序|推荐|亲"
    r"|领|带|主|授|讲|题|撰|执|加|到|驻|坐|[，。！？、；]|$)"
)
_COMMON = (
    "王李张刘陈杨赵黄周吴徐孙胡朱林郭罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴钟汪田姜范石姚谭廖邹熊陆郝孔崔康毛邱秦顾侯邵孟龙段雷钱汤尹黎乔贺赖龚庞樊兰殷施陶洪翟"
    "俞柳甄"
)
_PERSON = re.compile(
    r"[\u4e00-\u9fff](?:人|家|师|手|者|长|员|匠"
    rf"|星)(?P<name>[{_COMMON}](?![的了是在有和也都])[\u4e00-\u9fff]{{1,2}}?)(?=[作推亲领带主授讲题"
    r"撰执加到驻坐来同现常，。！？、；]|$)"
)
_ARTIST = re.compile(
    r"(?:作家|画家|导演|歌手|编剧|主编|影星|明星|名厨|传人|弟子|诗人|艺术家|书法家|摄影师|投资人"
    r"|设计师|鸟类学家|学者|院士|主播|演员|琴师|画师|大师|名医|专家|博士|教授|教练"
    rf"|嘉宾)(?P<name>(?![的了是在有和也都全能那时同从于常来向成与及单相安])[{_SURNAMES}](?![的了是"
    r"在有和也都])[\u4e00-\u9fff]|阿[\u4e00-\u9fff])"
    rf"|(?:一位|那位|这位|其中)(?:就)?是(?P<one>[{_COMMON}][\u4e00-\u9fff]{{1,2}})(?=[，。！？；]|$)"
)
_ARRIVES = re.compile(
    r"(?:导演|作者|主演|原作者|嘉宾|名厨|设计师|主创|作家|歌手|画家|编剧|明星|偶像"
    r"|大咖)(?:本人)?(?:亲临|到场|现身|亲自|见面|空降|坐镇|驻场|签名|签售)"
)
_CALLED = re.compile(r"(?P<name>[阿老][\u4e00-\u9fff])")
_BOOK = re.compile(r"《(?P<name>[^》]{1,24})》")
_LATIN = re.compile(r"[A-Z][A-Za-z]+(?:[A-Z0-9][A-Za-z0-9]*)*")
_EVERYDAY_LETTERS_TEXT = (
    "OK KTV DIY PPT KPI CBD CP BGM PK VS Vs Bug BUG Vlog VLOG Word Excel Email PS AI IT HR GPS TV CEO BOSS Boss"
    " Offer TA Ta"
)
EVERYDAY_LETTERS = frozenset(_EVERYDAY_LETTERS_TEXT.split())
_VENUE = re.compile(
    r"(?:在|去|到|来|于|就在)(?P<name>[\u4e00-\u9fff]{2,6}?(?:书店|咖啡馆?|公园|文化馆|图书馆|体育馆|美术馆|博物馆"
    r"|剧院|酒店|宾馆|广场|大厦|校区|茶馆|酒吧|营地|工作室|花园|大剧院|会馆|礼堂))(?P<after>.{0,3})"
)
_VENUE_KEYS = re.compile(r"地点|地址|集合|场地|校区|门店|场馆|位置|城市|venue|location|address|place", re.I)
_OF_PLACE = re.compile(r"^(?:[一二三四五六\d]楼|门口|集合|见|碰头|等你|门前|里见|开[课讲])")
_TAILS = frozenset("吧课日会社店家馆队营班场站屋坊室间号")  # of what is named after the brand
_FUNCTION = frozenset(
    "的了是在有把被从到给和与及就都也还又再才不没无这那我你您他她它们一个只每让为用想要能会可上下里外中前后去来看说听"
    "吃喝穿买送选挑带拿放装用养泡煮做写读学跟陪请将以于而且或如像比更最很太"
    "真好新老大小多少几点些样种款双对件张支瓶盒包袋台把根条片份套全家人天年月日夜早晚春夏秋冬"
)

_EXTRA = re.compile(
    r"(?:附赠?|附送|赠送?|送|带(?=[一两])|再配|还配|另配|外加|另加|另给|随赠|备了|备着|寄来?|带走"
    r"|[里还](?:夹|卷|塞|躺|藏|装|放"
    r"|压|垫|收|挂|别|插)(?:着|了)|[里还]有|每[次人]还?(?:发|领|给|送))(?:上|了|着"
    r"|有)?(?:给?[你您])?[一两三二四五十\d]{1"
    r",2}"
    r"[个只把条根张本套副双枚瓶罐盒包支块片对台件册份](?P<thing>(?![半等在陪能可会是就不正刚专给让"
    r"被回走来去上下到进出])[^，。！？；、和"
    r"与及,!?\s]{1,8})"
)


_ALSO = re.compile(
    r"(?:^|[，。！？；：、,!?\s])(?P<thing>(?!我们)[\u4e00-\u9fff]{2,5}?)(?<!我们)(?:也|都)(?:一并"
    r"|一起)?(?:(?:替你|给你|帮你|为你)备|送"
    r"|赠|附|寄|配好?|发)(?!给?[他她它])"
)
_COUNTED = re.compile(r"[一两二三四五六七八九十\d]+[个只把条根张本套副双枚瓶罐盒包支块片对台件册份团]$")
_WITHOUT = re.compile(
    r"(?:不含|没加|没放|零添加|不加)(?:一点|任何|半点|一滴|一丝)?(?P<noun>[糖盐油奶蛋姜蒜葱辣酒茶麦豆肉])"
)
_ALSO_CAN = re.compile(
    r"(?:^|[，。！？；：,!?\s])(?P<thing>[\u4e00-\u9fff]{2,4}?)也能(?:烧|煮|烤|炒|炖|热|蒸|贴|戴"
    r"|骑|写|画|切|磨|榨|挂|装|照|用|进|玩|机洗|看|查|测|算|搜|修|洗|放|插|连"
    r"|收|录)"
)


def find_extras(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """What a folded copy says is added, one of it, where no word of it is the ad's."""
    for match in _EXTRA.finditer(plain):
        thing = match["thing"]
        pieces = [thing[a:b] for a in range(len(thing)) for b in range(a + 2, min(len(thing), a + 6) + 1)] or [thing]
        head = thing[-2:]
        borne = meaning(head, False, evidence, known) or _said(head, evidence)
        if (
            not borne
            and len(thing) <= 6
            and (head in known.concepts or head in known.scenes)
            and head not in known.neutral
        ):
            yield Word(*match.span("thing"), "accessory", None)
            continue
        if any(
            meaning(piece, False, evidence, known)
            or any(piece in text for name, text, _ in evidence.texts if name != "audience")
            for piece in pieces
            if piece not in known.neutral
        ):
            continue
        yield Word(*match.span("thing"), "accessory", None)
    for match in _WITHOUT.finditer(plain):
        noun = match["noun"]
        held = [
            bool(marks[text.find(noun)]) for name, text, marks in evidence.texts if noun in text and name != "audience"
        ]
        if held and not any(held):
            yield Word(*match.span(), "negation", None)
    for match in _ALSO.finditer(plain):
        head = _COUNTED.sub("", match["thing"])[-2:]
        head = head[0] if head[1:] == "子" else head
        given = re.compile(
            rf"(?:送|附|含|配|赠|寄|提供|带|备|发|全包|包括|包含)[^，。；]{{0,14}}{head}|{head}[^，。；]{{0,4}}(?:附"
            rf"|赠|送|含|全包|包)"
        )
        if not any(given.search(text) for _, text, _ in evidence.texts) and not _english(evidence):
            yield Word(*match.span("thing"), "accessory", None)
    for match in _ALSO_CAN.finditer(plain):
        thing = match["thing"]
        borne = meaning(thing[-2:], False, evidence, known) or any(thing[-2:] in text for _, text, _ in evidence.texts)
        listed = thing[-2:] in known.concepts or thing[-2:] in known.scenes
        if (
            listed
            and thing[-1] not in "里上下中时后间"
            and not borne
            and thing not in known.people
            and not known.people & {thing[:2], thing[-2:]}
            and thing not in known.neutral
        ):
            yield Word(*match.span("thing"), "feature", None)


def _said(term: str, evidence: Evidence) -> bool:
    """Whether the ad says a term without a negation."""
    for name, text, marks in evidence.texts:
        place = text.find(term)
        if name != "audience" and place >= 0 and not marks[place + len(term) - 1]:
            return True
    return False


def _english(evidence: Evidence) -> bool:
    """Whether the ad is in English."""
    return not any(
        "\u4e00" <= char <= "\u9fff" for name, text, _ in evidence.texts if name == "description" for char in text
    )


def find_names(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """The names in a folded copy that stand nowhere in the ad."""
    whole = "\n".join(text for name, text, _ in evidence.texts if name not in ("audience", "domain"))
    for match in _TITLED.finditer(plain):
        start, end = match.span()
        name = match["name"]
        if any(char in _UNNAMED for char in name):
            continue
        if match[0] not in whole and name not in whole and not _is_word(plain, start, end, known):
            yield Word(start, end, "entity", None)
    for match in _ROLE.finditer(plain):
        group = "a" if match["a"] else "b"
        if match[group] not in whole and not (group == "a" and known.knows(match[group])):
            yield Word(*match.span(group), "entity", None)
    for match in _PERSON.finditer(plain):
        name = match["name"]
        if name not in whole and not known.knows(name) and not known.knows(name[:2]):
            yield Word(*match.span("name"), "entity", None)
    for match in _ARTIST.finditer(plain):
        group = "name" if match["name"] else "one"
        if match[group] not in whole and not known.knows(match[group]):
            yield Word(*match.span(group), "entity", None)
    for match in _ARRIVES.finditer(plain):
        if match[0][-2:] not in whole:
            yield Word(*match.span(), "entity", None)
    called = {name for name in _CALLED.findall(whole) if name not in known.neutral and name not in known.concepts}
    prefixes = {name[0] for name in called}
    for match in _CALLED.finditer(plain):
        name = match["name"]
        if (
            name[0] in prefixes
            and name not in whole
            and name[1] not in "哥将友姐伴爸妈铁婆公师乡家板人是有在了的规牌派路街城区地样套实朋同战"
            and not _within_listed(plain, *match.span(), known)
        ):
            yield Word(match.start(), match.end(), "entity", None)
    for match in _BOOK.finditer(plain):
        if match["name"] not in whole:
            yield Word(match.start(), match.end(), "entity", None)
    lower = whole.lower()
    for match in _LATIN.finditer(plain):
        if match[0].lower() not in lower and match[0] not in EVERYDAY_LETTERS:
            yield Word(match.start(), match.end(), "entity", None)
    if any(_VENUE_KEYS.search(name) for name, _, _ in evidence.texts) or _VENUE_KEYS.search(whole):
        for match in _VENUE.finditer(plain):
            name = match["name"]
            if name[-2:] not in whole and ("的" not in name or _OF_PLACE.match(match["after"])):
                yield Word(*match.span("name"), "entity", None)
    yield from _brands(plain, evidence, known)
    yield from _misspelt(plain, whole, evidence, known)


def _is_word(plain: str, start: int, end: int, known: Vocabulary) -> bool:
    """Whether what a title follows is no name: 授课老师, 对于老师, 同一位老师."""
    name = plain[start : end - 2]
    if len(name) >= 2 and known.knows(name):
        return True
    return any(
        known.knows(plain[first : start + len(name)]) for first in range(max(0, start - 2), start)
    ) or known.knows(plain[start:end])


def _within_listed(plain: str, start: int, end: int, known: Vocabulary) -> bool:
    """Whether two characters are part of a listed word: 小心, 大小事, 老地方."""
    for first in range(max(0, start - 2), start + 1):
        for last in range(end, min(len(plain), start + 5) + 1):
            if last - first > 1 and last > start + 1 and known.knows(plain[first:last]):
                return True
    return any(known.knows(plain[first : start + 1]) for first in range(max(0, start - 2), start)) or any(
        known.knows(plain[start + 1 : last]) for last in range(start + 3, min(len(plain), start + 5) + 1)
    )


def _brands(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """A made-up name at the head of a clause, right before the product's name as the ad's title has it."""
    titles = [text for name, text, _ in evidence.texts if name == "title"]
    if not titles:
        return
    for clause in re.finditer(r"[\u4e00-\u9fff]+", plain):
        start, end = clause.span()
        for place in range(start + 2, min(start + 5, end - 2)):
            head = plain[start:place]
            if plain[place : place + 3] in titles[0] and len(plain[place : place + 3]) == 3:
                if head in titles[0] or any(char in _FUNCTION for char in head[:1] + head[-1:]):
                    break
                if any(char not in titles[0] for char in head) and not _composed(head, known):
                    yield Word(start, place, "entity", None)
                break


def _misspelt(plain: str, whole: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """A name of three characters or four that is the brand's but for one."""
    for name, brand, _ in evidence.texts:
        size = len(brand)
        if name != "brand" or not 2 <= size <= 4 or not re.fullmatch(r"[\u4e00-\u9fff]+", brand):
            continue
        for start in range(len(plain) - size + 1):
            piece = plain[start : start + size]
            same = sum(one == other for one, other in zip(piece, brand, strict=True))
            if same != size - 1 or piece in whole or known.knows(piece) or not re.fullmatch(r"[\u4e00-\u9fff]+", piece):
                continue
            if any(one != other and one in _FUNCTION | _TAILS for one, other in zip(piece, brand, strict=True)):
                continue
            begins = start == 0 or not "\u4e00" <= plain[start - 1] <= "\u9fff"
            named = any(
                plain[start + size : start + size + 2] in text for field, text, _ in evidence.texts if field == "title"
            )
            if size > 2 or (
                begins
                and piece[0] == brand[0]
                and (named or start + size == len(plain))
                and not _within_listed(plain, start, start + size, known)
            ):
                yield Word(start, start + size, "entity", None)


def _composed(head: str, known: Vocabulary) -> bool:
    """Whether listed words of two characters or more make up the head."""
    if known.knows(head):
        return True
    return any(known.knows(head[:cut]) and known.knows(head[cut:]) for cut in range(2, len(head) - 1)) or (
        len(head) == 3 and (known.knows(head[:2]) or known.knows(head[1:]))
    )
