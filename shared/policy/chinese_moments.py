"""Numbers of a Chinese copy that tell of the reader's day, not of the product: 加班到九点, 两个人的安静, 第一口香气."""

from __future__ import annotations

import re

from shared.policy.chinese_arithmetic import GROWN
from shared.policy.chinese_numbers import ANY, number_of
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity

_CLAUSE = re.compile(r"[，。！？；：,!?;\n]")
_HELD = re.compile(
    r"开(?!会|心|口|饭|车|灯|窗|门见)|集合|截止|营业|发货|下单|送达|送到|配送|直播|更新|推送|上线|准时|约见|见$|闭"
    r"|打烊|到店|就诊|起播|首播|开抢|抢|报名|预约|停|结束|散场|排练|上课|课|讲|播|场|接听|在线|客服"
)
_READER_CLOCK = re.compile(
    r"加班|下班|上班|起床|醒|睡|数羊|失眠|熬夜|的会|会议|放学|闹钟|通勤|饿|困|凌晨|半夜|深夜|晚自习|写作业|作业|改稿"
    r"|赶稿|地铁|早高峰|晚高峰|清晨|天亮|回家|到家|夜宵|宵夜|早饭|晚饭|午饭|开席|散会|晨会|例会|班车|发呆|犯困"
)
_READER_SPAN = re.compile(
    r"洗完|午休|通勤|排队|等车|堵车|赖床|发呆|刷|路上|下班|早起|多睡|躺|睡前|地铁|公交|摸鱼|课间|饭后|留给自己|喘口气"
    r"|歇|打盹|开会|加班|走神|两部电影|年代|岁月|多年|这些年|那些年|从前|小时候|年后的(?:自己|你|今天)|多年以后"
)
_READER_IDLE = re.compile(
    r"午休|通勤|排队|等车|堵车|赖床|发呆|摸鱼|课间|留给自己|喘口气|歇|打盹|开会|加班|走神|年代|岁月|多年|这些年|那些年|从前|小时候"
)
_PEOPLE = re.compile(r"^[两二三四]个?(?:人|口)(?!一|成|份|间|起)")
_TURN = re.compile(r"[天日年早晨顿回眼步遍口句张颗章页讲集次杯泡碗夜晚趟圈局段家瓶觉场站针剂]")
_STATED_TURN = re.compile(
    r"代|名|位|大|届|品牌|强|方|批|个?(?:周|星期|礼拜|工作日)|[\u4e00-\u9fff]?(?:半价|免费|[一二三四五六七八九]折|打|减|送)"
)
_STRICT = re.compile(r"(?:至少|最少|起码|最多|至多|顶多|[^只]不过|超过|不超过|多达|仅限?)$")
_GROUPED = re.compile(r"人?[的一]?(?:小组|小班|小团|班|团(?!聚|圆)|队|组)")
_GROUP = re.compile(
    r"(?:[每一各]?[班团组场队桌期车批](?![主长友])|每[次回节]|最多|不过|至多|名额|限)[^，。！？；]{0,4}$"
)
_FEW = re.compile(
    r"^(?:[两三四五六七八]|[两三四五六七八][三四五六七八九]|[十百千万]|几十|几百|上百|上千|上万|好几)?[个种口只双张条本"
    r"趟步圈下句声眼遍回次杯碗瓶罐盘桌套件盏把站段部箱包袋盒份节名位架辆场手头样顿觉场封通首支颗朵片块层格行页句字秒]?"
    r"$"
)
_READERS_THING = re.compile(
    r"^(?:种?(?:清晨|黄昏|夜晚|心情|脾气|活法|过法)|张?(?:红票子|票子|钞票)|[小大老旧新胖冷热]?(?:手(?!柄|套|册|机"
    r"|工|作)|脚(?!踏|垫)|脸|眼睛|耳朵|爪子)|字(?!幕|体)|眼睛|耳朵|手(?!柄|套|册|机)|脚(?!踏|垫)|腿|膝盖|口(?!味"
    r"|袋|径|感|腔|罩|红)|嘴|只手|双手|手|句话|句|步(?!道)|眼(?!罩|镜|影|霜|线)|下(?!水)|圈|趟|遍|声(?!道|音)|张嘴"
    r"|脾气|分钟热度|天打鱼|半|头(?!发|盔|枕|像|灯|戴|绳)|边(?!框)|侧(?!键|袋)|端(?!口)|旁|腿|脚|颊|鬓|肩|岸|地(?!垫"
    r"|毯|方|址)|情|遭|觉|顿|场雨|场雪|碗(?!装)|杯(?!装)|盏灯|站地|站路|层楼|楼|部电影|部片|集剧|首歌|句诗|行诗)"
)
_OPENING = re.compile(
    r"(?:说|聊|看|走|绕|吃|喝|尝|咬|抿|数|想|念|等|跑|转|跳|读|写|翻|拍|听|笑|哭|赖|睡|歇|试|打|爬|坐|逛|晃|多|少"
    r"|扒|干|碰|抱|牵|养|生|有|来|这|那|哪|另|前|后|里外|左右|头|买|带|囤|要|入|拎|插|种|摆|挂|点|画|剪|切|煎|煮"
    r"|添|剩|分|做|刷|背|抄)$"
)
_HAVE = re.compile(r"(?:配(?!料)|含|附|带|送|共|有|分|设|装|备|支持|可选|含有|内含|提供|赠)[^，。！？；]{0,3}$")
_COUNTED = re.compile(
    r"多?[个座所家款种位名]|人|用户|条评|次|节|好评|学员|门店|城市|国家|颜色|粉丝|会员|订单|件|单|万|平"
)
_ABOUT = frozenset(["一两", "两三", "三五", "三四", "四五", "五六", "六七", "七八", "八九"])
_COMPANIONS = re.compile(r"(?:个|位|名)?(?:好?朋友|同事|同学|闺蜜|室友|兄弟|姐妹|伙伴|老友|邻居|家人|哥们|死党|小伙伴)")
_TOGETHER = re.compile(r"叫上|约上?|拉上?|带上?|喊上?|凑|和|跟|同|与|一起|结伴|搭伙|拼")
_LASTING = re.compile(r"质保|保修|寿命|能用|续航|有效|用上|经营|创立|教龄")
_DOES = re.compile(r"(?:踩|跑|走|躺|坐|睡|眯|聊|发呆|练|读|看|听|刷|写|等|歇|晒|逛|泡|站|蹲|画|弹)(?:上|了|个|够)?$")
_NOT_RANK = re.compile(r"^(?!名|大|品牌|梯队|集团|的|位的|强)[\u4e00-\u9fff]")
_RANKED = re.compile(
    r"(?:销量|排名|排行|榜|口碑|人气|全国|全球|全网|行业|类目|同类|国内|稳居|稳坐|位列|位居|蝉联|名列|评分|好评|占有率"
    r"|连续|业内|世界|亚洲|本市|全市|全省|全城)[^，。！？；]{0,6}$"
)


def tells_of_day(plain: str, quantity: Quantity, facts: Facts) -> bool:
    """Whether a number of a folded Chinese copy is the reader's: an hour of the day, a few words, two people."""
    start, end = quantity.start, quantity.end
    before = _CLAUSE.split(plain[:start])[-1]
    after = _CLAUSE.split(plain[end:], maxsplit=1)[0]
    dimension = quantity.unit.dimension
    if dimension == "clock":
        told = any(fact.unit.dimension == "clock" for _, fact, _ in facts.quantities)
        clause = before[-10:] + plain[start:end] + after[:8]
        if _READER_CLOCK.search(clause):
            return not told or _READER_CLOCK.search(before[-6:] + "|" + after[:5]) is not None
        return not told and _HELD.search(before[-6:] + "|" + after[:6]) is None
    if dimension in ("time", "months"):
        if "几" in plain[start:end] and _LASTING.search(before) is None:
            return True
        short = all(fact.value >= 86400 for _, fact, _ in facts.quantities if fact.unit.dimension == "time")
        near_place = re.search(r"地铁|车站|口|步行|楼下|景区|机场", before) is not None
        if dimension == "time" and short and not near_place and _DOES.search(before) and quantity.value <= 7200:
            return True
        told_in = _READER_SPAN if short else _READER_IDLE  # 洗完 tells of the reader where nothing takes so long
        return told_in.search(before[-8:] + "|" + after[:6]) is not None and _HAVE.search(before) is None
    text = plain[start:end]
    if "分之" in text and re.match(r"的?(?:人生|生命|时间|日子|一生)", after):
        return True
    if after.startswith("折") and before.endswith(("步", "对")):
        return True
    if dimension == "length":
        near = any(re.search("地铁|车站|公交", text) for _, text in facts.texts)
        return not near and re.search(r"公司|到家|地铁|上班|那段|这段|路程|通勤|学校", before) is not None
    if dimension == "ordinal" and (text != "第一" or _TURN.match(after)):
        return _RANKED.search(plain[:start]) is None and _STATED_TURN.match(after) is None
    if dimension == "ordinal":
        return text == "第一" and _RANKED.search(plain[:start]) is None and _NOT_RANK.match(after) is not None
    if dimension.startswith("count") and GROWN.search(plain):
        return True
    if _PEOPLE.match(text + after[:1]) and (_GROUP.search(before) or _GROUPED.match(after)):
        return False
    if dimension == "count:person" and _PEOPLE.match(text + after[:1]):
        return (
            not any(fact.unit.dimension == "count:person" for _, fact, _ in facts.quantities)
            or _OPENING.search(before) is not None
        )
    if text == "一半" and (before.endswith(("到", "了", "过", "另", "这", "那")) or after.startswith(("是", "儿"))):
        return True
    if text == "一块" and (
        re.search(r"[元块钱角毛\d]$", before) or not re.search(r"只要|才|花|仅|卖|省|加|减|付|价", before[-3:])
    ):
        return True  # 十七块钱一块
    if text == "俩" and before[-1:] in set("子女妹妻弟娘爷我你咱他她口儿"):
        return True
    if dimension in ("", "count") or dimension.startswith("count:"):
        if _STRICT.search(before):
            return False
        mine = number_of(plain, quantity)
        if mine is not None and len(mine.key) == 1 and mine.key in facts.implied.keys and mine.key != ANY:
            return False
        if before.endswith("等") and "、" in before:
            return False  # 薄荷绿、奶油黄等五种
        if dimension != "count:person" and _COMPANIONS.match(after) and _TOGETHER.search(before + "|" + after):
            return True
        if (dimension != "count:person" and _PEOPLE.match(text + after[:1])) or before.endswith(
            ("家里有", "家有", "手里有")
        ):
            return True
        if not _FEW.match(text) or _HAVE.search(before):
            return False
        counted = text[-1] + after if len(text) > 1 else after
        return (
            _READERS_THING.match(after) is not None
            or _READERS_THING.match(counted) is not None
            or _OPENING.search(before) is not None
            or re.match(r"(?:一起|一共|加起来|合起来|凑)", after) is not None
            or (quantity.literal != "" and _COUNTED.match(after) is None)
            or (len(text) >= 2 and text[:2] in _ABOUT)
        )
    return False
