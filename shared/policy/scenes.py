"""When a word that sets a scene states a fact of the product after all.

``lexicon/scenes.{zh,en}.txt`` names what readers do, see, own and eat: a rucksack or a campfire in a copy says nothing
about the product, unless the copy says that the product has it, is it, or is made of it (``comes with a rucksack``).
Sections: ``thing``; ``wear`` and ``food`` claim in ads of clothes and of food; ``person`` claims where the product is
for them; ``verb`` (Chinese) where the product does it; ``part`` lists what is never a scene, nor its characters alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from shared.policy import english_owned

_REACH = 60  # characters before a word that are read for what introduces it
_CHINESE_GAP = 6  # characters
_SERVED_FIELDS = frozenset({"clothes", "food", "edible", "arts"})

_CHINESE_CLAUSE = re.compile(r"[，。！？；：,.!?;:()（）\n“”—]")
_END = re.compile(r"[.!?;:。！？；](?!\d)")
_YOURS = re.compile(
    r"(?:\b(?:your|my|his|her|their|goes with|go with|pairs? with|over|under|beside|next to|between|beneath|after"
    r"|before|like) (?:\w+ ){0,2}"
    r"|[你我他她]的?|自己的?|搭配?|配|像|好比|罩上|穿着?[上好]?|踩|换[上双]|脱下?)$",
    re.I,
)

_CHINESE_HAS = re.compile(
    r"附赠|附送|附带|附有|内附|随附|另附|附(?!近)|配有|配备|配套|标配|加配|另配|带有|自带|内置|内含|富含|蕴含|含有"
    r"|包含|(?<!包)含"
    r"|加入(?!我|到|了)|添加|注入|采用|选用|搭载|支持|具备|设有|备有|装有|印有|绣有|嵌有|刻有|赠送|加赠|赠|材质|原料"
    r"|取自|提取"
    r"|这款|本款|此款|元的|变身|秒变|兼作|兼做"
    r"|(?<![护接转目输播发遣外快配赠])送(?![给你我他她它妈爸去到走别行自人货礼上回出孩娃朋父母亲爱外进来客长老])"
    r"|(?<![搭调分支般匹绝])配(?![上得合你我他她着音速方料偶色对])"
)
_CHINESE_ABLE = re.compile(  # what the product does, of itself: 自动清洗, 可煮, 手工缝
    r"(?:可以?|能|会|自动|智能|一键|快速?|速|免|防|抗|耐|易|好|支持|用于|专|现|手工?|机|精|慢|冷|热|古法|亲|无|不"
    r"|双|多|全|半|水|干|风|火|电|光|声|包)$"
)
_CHINESE_ITSELF = re.compile(r"(?:自动|智能|一键)$")
_CHINESE_TOOL = re.compile(r"^(?:[机器力性率盘具剂液膜层料法技工制质款版型纹边线带口扣袋架台锅炉盒箱]|功能)")
_CHINESE_MAY_HAVE = re.compile(r"(.)([带有是])(?![你我他她它着去上来走回娃])(?=[^带有是]*$)")
_CHINESE_SERVED = re.compile(r"[^，。！？；、\s]配$")
_CHINESE_FOR = re.compile(r"(?:适合|专为|适用于?|针对|专供|面向|由|经|获)[^，。！？]{0,4}$")
_CHINESE_ELSEWHERE = re.compile(r"[去到在给你我他她它陪让来时后里看听走玩吃喝做过没]")
_AGE = re.compile(r"[\d一二三四五六七八九十]个?[岁月](?![^，。！？]*[和与及、跟或])")
_BROUGHT, _COMES = re.compile(r"带上?着?$"), re.compile(r"(?:们)?(?:一起|一块儿?|也|都)(?:能|可以)?来")
_BESIDE = re.compile(
    r"(?<!专)(?:送?给|(?<![\u4e00-\u9fff])(?:和|跟|同|与)|陪|带|叫|约|让|替|帮|哄|抱|喂|像)(?:你的?|我的?|家里的?)?$"
)
_FOR_BEFORE = re.compile(
    r"(?:适合|适用于?|专为|专给|面向|针对|欢迎|限|仅限|招|收|连|不论|无论|不管)[^，。！？；去到在]{0,6}$|(?:老少"
    r"|男女)$|(?:从)[^，。！？；]{0,4}$(?=.*到)"
)
_FOR_AFTER = re.compile(
    r"(?:[和与及跟或、][^，。！？；]{1,6}?)?[^，。！？；]{0,3}?(?:都有|也有|专门|也能(?!听|看|闻"
    r"|想|懂|明白|感)|都能(?!听|看|闻|想|懂|明白|感)|也可以?"
    r"|都可以?|都可|也适|都适|适用|可用|能用|专用|专享|专属|专场|友好|也欢迎|都欢迎|也收|都收|也行|都行|就能报|可报"
    r"|能报|能学|能喝|能吃|能穿|能坐|能玩|可穿|可吃"
    r"|[^，。！？；]{0,8}?(?:也行|也可以|也欢迎|也收|也接)|也上门|也接|都接|也安心|都安心|也放心|都放心|也吃得|也用得"
    r"|也穿得|也喝得|也坐得|款(?!待)|版(?!权)|也不怕|请放心|一样能|照样能|优先|到(?:小学|初中|高中|大学|成年|老人))"
)
_GIVEN_BEFORE = re.compile(
    r"(?:里头|里面|里边)(?:还)?有[^，。！？；你我他她它人]{0,5}$|[\u4e00-\u9fff](?:身|面|底|部|盖"
    r"|侧|背|柄)上?(?:还)?(?:有|带|印|刻)[^，。！？；你我他她它人]{0,4}$|"
    r"(?:附赠?|赠送?|附送|加赠|另赠|随赠|附带|附上|附着|配有|配着|再配|还配|都配|另配|配一(?=[只副个根条把台套本张支枚"
    r"卷])|配了|带有|自带|内置|内含|内嵌|嵌着|嵌有|镶着|(?:里|还)夹着|藏着|藏有|设有|装有|备有|备好|准备了?"
    r"|外加|另加|添了|加了|加入了|融入|掺了|含有?|富含|支持|具备|搭载|采用|选用|用的是|刷的是|提供|享有?|可领|领到"
    r"|领取|(?:缝|织|绣|印|刻|镶|铺|垫|衬|埋|嵌|焊|贴|涂|刷|镀|喷|灌|填|加装|内置)(?:了|着|有)|^(?:夹|裹|撒|拌|铺"
    r"|缀|淋)着|领走|带走(?=[一两二三])|调了|兑了|拌了|撒了|备了|送(?:你|您)?(?=一|两|三|个|[^你您给我他她它到去上人走"
    r"]{0,2}$))"
    r"[^，。！？；、去到在给你我他她它让来时后看听走]{0,6}$"
    r"|(?:附赠?|赠送?|附送|配有?|配备|自带|内置|含|支持|可选)[^，。！？；]{1,12}[、和与及][^，。！？；、和与及去到在给"
    r"你我他她它让来时后看听走]{0,4}$"
    r"|(?:还|也|都|均|更)(?:能|可以?|支持|带|有)(?:自动|一键|直接|远程|随时)?$|它(?:会|还会|能|还能|可以)[^，。！？"
    r"；去在你我他她让陪走吃喝玩坐睡穿跟]{0,6}$|还(?:能|可以|会|带|有|支持)[^，。！？；去在你我他她它让陪走吃喝玩坐睡穿"
    r"]{0,6}$"
)
_GIVEN_AFTER = re.compile(
    r"(?:也|都|还|一并|一同|一起|也一起|统统|全部?)?(?:一并|一起|一同)?(?:送上?(?!给|去|到|走)|附赠|附送|附上|赠送"
    r"|随(?:车|箱|盒|机|包|书|衣|货|单)(?:送|附|寄|到|赠|带)?|奉上|备齐|备好|备上|全包|包了|免费|齐全|任选|可选|可换"
    r"|可调|可拆)"
    r"|(?:也|都|就)?(?:已经?|早已)?[放装躺备塞]?在(?:盒|箱|包装|袋)(?:子)?里|人手一|(?:也|都)(?:全)?(?:算在|包含|包括|含在|包在)|(?:也"
    r"|都)?由我们|统一(?:定做|发放|配发)|认证|专利|款(?!待)|材质|面料|功能|模式"
)
_OFFERED = re.compile(
    r"寄到|送到家|到家|带走|都有|我们|替你|为你|帮你|给你|统一|已经备|备好|备着|备齐|准备|供应"
    r"|提供|全包|包了|都含|含在|算在|包在|算进|送你"
    r"|借你|租给|由[^，。！？]{1,4}(?:出|付|准备|提供|定做)|免费|不用(?:自己)?带|里头"
)
_SERVED = re.compile(
    r"也?能(?!不能)|可以?|直接|照样(?=用|行|可)|也行|就行|支持|适用|放进|扔进|丢进|塞进|进去?|叮|随便|尽管|都行|没问题"
    r"|不怕|随时|能看|可看|欢迎|照接|也接"
)
_CHINESE_AFTER = re.compile(
    r"^(?:做的|制成|材质|面料|质地|打造|制作|款(?!待)|版(?!权)|口味|味(?!道|散|儿|淡|没|还|从)|香型|元素|图案|印花"
    r"|造型|设计|功能|模式|套装|礼盒|专用"
    r"|级|色|提取|精华|萃取|配方|成分|工艺|附赠|赠送|相送|也送|随箱|一并|一同|免费)"
)


def owned(plain: str, start: int, end: int, fields: tuple[str, ...], in_ad: Callable[[str], bool]) -> bool:
    """Whether the scene word at ``[start, end)`` of a folded copy is said to be the product's.

    fields: the word's in the lexicon (``people``, ``food``); in_ad: whether the ad has a word of the copy.
    """
    if "\u3400" <= plain[start] <= "\u9fff":
        return _chinese(plain, start, end, fields, in_ad)
    return english_owned.owned(plain, start, end, fields, in_ad)


def given(plain: str, start: int, end: int) -> bool:
    """Whether the clause of a Chinese word says that it comes with the product, or is done for the reader."""
    before = _clause(plain[max(0, start - _REACH) : start], _CHINESE_CLAUSE)
    return _GIVEN_BEFORE.search(before) is not None or _GIVEN_AFTER.match(plain[end : end + 12]) is not None


def meant_for(plain: str, start: int, end: int) -> bool:
    """Whether the clause of a Chinese word for people says that the product is for them, and no age does."""
    before = _clause(plain[max(0, start - _REACH) : start], _CHINESE_CLAUSE)
    stop = _CHINESE_CLAUSE.search(plain, end)
    after = plain[end : stop.start() if stop else len(plain)]
    if _BROUGHT.search(before) and _COMES.match(after):
        return True
    if _AGE.search(before[-8:]) or _BESIDE.search(before):
        return False
    return _FOR_BEFORE.search(before) is not None or _FOR_AFTER.match(after) is not None


def offered(plain: str, start: int, end: int) -> bool:
    """Whether the clause of a Chinese word says that the seller provides it."""
    before = _clause(plain[max(0, start - _REACH) : start], _CHINESE_CLAUSE)
    stop = _CHINESE_CLAUSE.search(plain, end)
    after = plain[end : stop.start() if stop else len(plain)]
    return given(plain, start, end) or _OFFERED.search(before[-8:] + "|" + after[:12]) is not None


def served(plain: str, start: int, end: int) -> bool:
    """Whether the clause of a Chinese word says that it can be used, or goes."""
    before = _clause(plain[max(0, start - _REACH) : start], _CHINESE_CLAUSE)
    return _SERVED.search(before[-6:] + "|" + plain[end : end + 6]) is not None


def told_of_reader(plain: str, start: int, end: int) -> bool:
    """Whether a word is plainly said of the reader's life: in a question, as yours, as what goes with the product."""
    return asked(plain, end) or _YOURS.search(plain[max(0, start - 24) : start]) is not None


def asked(plain: str, end: int) -> bool:
    """Whether the sentence around `end` is a question."""
    stop = _END.search(plain, end)
    return stop is not None and stop[0] in "?？"


def _clause(text: str, breaks: re.Pattern[str]) -> str:
    last = 0
    for match in breaks.finditer(text):
        last = match.end()
    return text[last:]


def _chinese(plain: str, start: int, end: int, fields: tuple[str, ...], in_ad: Callable[[str], bool]) -> bool:
    before = _clause(plain[max(0, start - _REACH) : start], _CHINESE_CLAUSE)
    if "people" in fields:
        return _CHINESE_FOR.search(before) is not None
    if _CHINESE_AFTER.match(plain[end : end + 4]):
        return True
    if _CHINESE_ITSELF.search(before) or (
        "verb" in fields and (_CHINESE_ABLE.search(before) or _CHINESE_TOOL.match(plain[end : end + 2]))
    ):
        return True
    found = None
    for match in _CHINESE_HAS.finditer(before):
        found = match
    if found is not None and found[0] == "配" and "food" in fields:
        found = None
    if found is not None and _SERVED_FIELDS.intersection(fields) and _CHINESE_SERVED.search(before[: found.end()]):
        found = None  # 配咖啡 and 配皮鞋 are said of what the reader has
    if found is not None and _near(before[found.end() :]):
        return True
    may = _CHINESE_MAY_HAVE.search(before)
    if may is None or not _near(before[may.end() :]):
        return False
    subject = before[max(0, may.start(2) - 2) : may.start(2)]
    return (may[1] in "还也均都皆另且" and may[2] != "是") or (len(subject) == 2 and in_ad(subject))


def _near(gap: str) -> bool:
    return len(gap) <= _CHINESE_GAP and _CHINESE_ELSEWHERE.search(gap) is None
