"""Where a Chinese copy turns round what the ad says: a rule broken, a word put in place of one that it excludes,
a thing spared that the ad asks for, an exception taken in.

The ad says 干布擦拭 and the copy 拿水冲一冲; the ad 前开按扣 and the copy 后开按扣; the ad says that only
the cover may be washed and the copy 枕芯枕套都能洗. Holds the rules with what breaks them, the series of words of which
one excludes the others, and the reading of a clause that both this and `chinese_frames` use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.policy.evidence import Evidence, Word
from shared.policy.vocabulary import Vocabulary

HAN_RANGE = "\u4e00-\u9fff"
CLAUSE = re.compile(r"[^，。！？；：,!?;:\n]+")
# A subject that something goes for as well, and what goes for it.
_ALSO = re.compile(
    rf"(?P<subject>[{HAN_RANGE}、\d]{{1,12}}?)(?:也|都|均|全都|一样|同样|照样|照)(?:一样|照样|同样)?"
    r"(?P<what>(?:能|可以?|会|支持|接|收|行|适|放心|安心|香|没事|不怕|无妨|管|包|免|送|含|退|换|修"
    r"|洗|参加|报|来|开|走|跑|有|在|照|享|赔|保|讲|教|查"
    rf"|测|用|做|办|练|算)[{HAN_RANGE}]{{0,8}})"
)
DENIES = re.compile(
    r"不(?!另|收|加|分|锈钢|仅|但|同|过|少|断|限|止|只|论|管|满意)|无(?!线|缝|痕|框|需|须|限|理由|人机|花果"
    r"|忧)|除外|禁|勿|谢绝|未|没|取消|顺延"
)
_BUT = r"[^，。；]{0,3}(?:除外|另[付计收购算]|不[退换含参予可能支保]|自[备理费]|例外)"  # after what is taken out
_TWIN = re.compile(
    r"(?<![下菜名简清订账表被床无成])(?P<one>[单双])(?P<noun>(?![独纯次价调元位词品车杠方])[\u4e00-\u9fff])"
)
_SPARES = re.compile(
    rf"(?:不用|无需|无须|不必|不需要?|(?<![{HAN_RANGE}])免)(?:自己|再)?(?:自?[备带]|穿|交|准备|出示|提供"
    r"|签订?|写|填|考|拿|有|付|押|问|找|经过?"
    rf"|过)?(?P<thing>(?![备带穿交签写填考拿有付押问找经过])[{HAN_RANGE}]{{2,5}})"
)
_SPARED_OF = re.compile(
    rf"(?P<thing>[{HAN_RANGE}]{{2,4}})(?:也|都)?(?:不用|不必|无需|不需要?)(?:过|交|给|带|问|办|填|签)?(?=[，。！；]|$)"
)
_ASKS = re.compile(r"(?<![无不])(?:需|须|请|要求|凭|持|自备|自带|交|具备|提供)[^，。；]{0,12}$")
_ASKED = re.compile(r"[^，。；]{0,2}(?:required|自备|自带|自购|\s?\d+\s?元)")
_LACKS = re.compile(
    rf"(?:不含|零添加|不加|未加|没加|没有|(?<![{HAN_RANGE}])无)(?P<thing>[{HAN_RANGE}]{{1,3}})(?=[，。！、；]|$)"
)
_TAKES_IN = re.compile(rf"(?:连)?(?P<thing>[{HAN_RANGE}]{{2,5}}?)(?:也|都)(?![不没别无])[{HAN_RANGE}]")
_KEEPS_OUT = re.compile(r"不|没|无|免|由|省|自己|自带|另|先|别")
_NOT_EVEN = re.compile(rf"(?:连)?(?P<thing>[{HAN_RANGE}]{{2,3}})(?:都|也)(?:不用|不必|无需|免)(?P<verb>[{HAN_RANGE}])")
_LEAVES_OUT = re.compile(r"(?:不[教含讲收接做上送附提供支持开]|无|除|自[备带点]|禁止?|谢绝|勿|免)[^，。；)）]{0,6}$")
_LEFT_OUT = re.compile(r"[^，。；]{0,3}(?:除外|自[备带点理付]|另[购付收计]|不[含收接做教送退])")
_REFUSED = re.compile(r"[不别没勿免无非]")
_REFUSES = re.compile(r"[^，。！？]{0,4}(?:自己|自理|另|不行|不可|不能|别|不收|不接|免了|就算了|不带|除外)")
_CONFLICTS = tuple(
    (re.compile(rule, re.I | re.S), re.compile(broken))
    for rule, broken in (
        (
            r"(?:不可|不能|勿|不宜|不要)水洗|干布|spot clean|do not wash|wipe (?:clean|down)",
            r"(?:拿|用|过)?水(?:一)?(?:冲|洗(?!澡|手|脸|头)|涮)|[进丢扔]洗衣机|机洗",
        ),
        (
            r"(?:不可|不能|勿|不)机洗|仅?(?:限|可)?手洗|hand wash|dry clean",
            r"(?:进|丢|扔|塞|用|放)[^，。！？]{0,2}洗衣机|机洗",
        ),
        (
            r"(?:不|谢绝|禁止?)[^，。；]{0,4}宠物|\bno (?:dogs|pets)|dogs? (?:are )?not",
            r"带[上着]?(?:狗|猫|毛孩子|宠物)|(?:狗|猫)(?:狗|子|咪)?(?:一起|同来|也来)",
        ),
        (
            r"(?:食宿|餐饮|用餐|午餐|住宿)自理|不[含管包]食?宿|不含餐|无餐饮|不提供餐",
            r"吃住|[包管]吃|[包管]住|管饭|供餐|三顿",
        ),
        (
            r"不录像|不录制|无回放|不(?:提供|支持|设|含)回放|recordings? (?:are|is) not|not recorded"
            r"|no (?:replay|recording)",
            r"录像|回放|回看|重播|录屏",
        ),
        (
            r"须?需?提前[^，。；]{0,6}预约|预约制|(?<![无不])[需须]预约|by appointment"
            r"|book(?:ing)? (?:required|ahead|in advance)",
            r"随到随|不用预约|无需预约|推门就|免预约|临时起意|不用约|说来就来",
        ),
        (r"(?<![无不])(?:需|须|请)空腹|禁食|fasting", r"(?:吃了|吃过|吃完)早饭(?:再|也)|不用空腹|不用饿"),
        (r"冷藏|冰箱|in the fridge|refrigerat", r"室温|台面上|常温(?:放|存|泡)"),
        (r"不捕捉|不带走|不得带走|不可带走", r"(?:抓|捉|捕)到|带回家|装进盒"),
        (r"(?:不可|不能|勿|不宜|禁止)[^，。；]{0,4}明火|not for (?:open|naked) flame", r"明火|直火|火上烤"),
        (r"(?:不可|不能|勿|不宜)[^，。；]{0,4}微波|not microwave", r"进微波炉|微波炉(?:里|转|热|叮)|叮一?下"),
        (
            r"不防水|indoor use|室内(?:使用|用)|(?:雨天|淋雨)[^，。；]{0,2}勿|keep out of|not waterproof"
            r"|(?:不可|避免|勿)[^，。；]{0,2}(?:淋雨|沾水|浸水|泡水)",
            r"(?:雨|雪水|水)[^，。！？]{0,5}(?:也|都)?(?:不怕|不湿|没事|不漏|不进|无妨|照样)|淋不[透湿坏]"
            r"|打不湿|日晒雨淋|泡水|下水|蹚水|冒雨",
        ),
        (
            r"(?:勿|避免|不可|忌)[^，。；]{0,2}(?:暴晒|日晒|阳光)|避光|keep (?:dry|away from sun)",
            r"大太阳|暴晒|晒(?:一)?晒|阳光(?:下|里)放",
        ),
        (
            r"(?:须|需|由|请)?家长[^，。；]{0,4}(?:陪|在场|同)|parent must|with an adult|accompanied",
            r"(?:家长|爸妈|大人)[^，。！？]{0,3}(?:不用|不必|无需)[^，。！？]{0,3}(?:陪|来|跟|在)"
            r"|孩子自己来|放下孩子就走",
        ),
        (
            r"限本人|不可转[让借]|不得转|一卡一人|non.?transferable",
            r"转借|借给|转让|转送|谁[^，。！？]{0,3}都(?:行|能)|换着用",
        ),
        (r"不开药|no prescription|不(?:开|配)处方", r"(?<!先)开(?:点|好)?药|开(?:张|个)?处方|配药"),
        (
            r"自(?:行)?组装|自己装|自组装|self.assembl|assembly required",
            r"(?:装好|组装好)(?:送|寄|发|到)|免组装|到手即用|不用装",
        ),
        (r"不收现金|不接受现金|card (?:payments )?only|cashless", r"现金(?:也|都)|掏现金|收现金"),
        (r"不[打设]折|不参与[^，。；]{0,6}优惠|不与[^，。；]{0,6}同享", r"折上折|叠加|再打折"),
        (r"不讲题|不上新课|不授课", r"讲题|讲透|上新课|讲解难题"),
        (r"不可重复|一次性|使用一次|single.use|disposable", r"反复(?:用|使用)|重复(?:用|使用)|用(?:好)?几[年次回]"),
        (r"^(?!.*直播)(?=.*录播)|pre.?recorded", r"(?:全程|每[节课晚]|[\d一二三四五六七八九十]+[节课次堂])(?:都)?直播"),
        (
            r"不(?:接待|接受|收|招)[^，。；]{0,8}(?:儿童|孩子|岁)|adults? only|18\+|over 18",
            r"(?:带|领|抱)[^，。！？]{0,2}(?:娃|孩子|宝宝|小朋友)|(?:娃|孩子|小朋友)也",
        ),
        (r"不(?:可|能)?过夜|不留宿|当天(?:往返|返)", r"留宿|过夜|住一晚"),
        (
            r"(?:须|需|请)(?:自)?[带备穿][^，。；]{0,8}鞋|bring (?:your own )?\w*.?\w* ?(?:boots|shoes)",
            r"鞋[^，。！？]{0,3}(?:也|都)?[^，。！？]{0,2}(?:备好|借|提供|有得)",
        ),
        (r"不退|不可退|non.?refundable|no refunds?", r"(?:随时|都|也|照样|全额)(?:能|可以?)?退|包退"),
        (r"现场不|不(?:提供|设)现场", r"当场|现场"),
        (r"仅(?:限)?线上|online only", r"线下|到店|面授"),
        (r"不可(?:拆|调)|固定", r"随(?:意|便)?(?:拆|调)|想(?:拆|调)就"),
    )
)
_SERIES = (  # words that exclude each other where one stands for another
    "春 夏 秋 冬",
    "春季 夏季 秋季 冬季",
    "春天 夏天 秋天 冬天",
    "上 下",
    "左 右 双",
    "前 后",
    "内 外",
    "里 外",
    "开 关",
    "大 小 中",
    "高 低 中",
    "长 短 中",
    "冷 热 温",
    "单 双",
    "男 女",
    "早 晚 午",
    "软 硬",
    "干 湿",
    "生 熟",
    "粗 细",
    "薄 厚",
    "深 浅",
    "公 母",
    "升 降",
    "加 减",
    "正 反",
    "快 慢",
    "东 西 南 北",
    "牛 羊 猪 鸭 鹅 鸡 鱼 虾 驴 马 兔 狗 猫",
    "上下 左右 前后",
    "上午 下午 早上 晚上 中午 傍晚 凌晨 清晨",
    "直播 录播 面授",
    "线上 线下",
    "室内 室外 户外",
    "有线 无线",
    "手动 自动 电动 半自动 全自动 手摇",
    "单人 双人 三人 多人",
    "特级 一级 二级 三级 四级 五级 优级",
    "初级 中级 高级",
    "入门 进阶 高阶",
    "图文 视频 音频 文字 直播 动画",
    "上臂 手腕 腕部 指尖 额头 耳朵",
    "东门 西门 南门 北门",
    "大号 中号 小号 加大",
    "一楼 二楼 三楼 四楼 五楼 六楼 负一楼 地下",
    "周一 周二 周三 周四 周五 周六 周日",
    "头层 二层 三层",
    "桌面 桌腿 椅面 椅腿 靠背 扶手",
    "鞋面 鞋底 鞋垫 内里 鞋跟",
    "国产 进口",
    "机洗 手洗 干洗",
    "口服 外用 外敷",
    "饭前 饭后 睡前 餐前 餐后 空腹",
    "浅烘 中烘 深烘",
    "原味 甜味 咸味 辣味",
    "不锈钢 铝合金 碳钢 铸铁 陶瓷 玻璃 塑料",
    "现场 线上 在线 远程",
    "拍摄 录音",
    "固态 液态 粉状",
    "上肢 下肢",
    "上身 下身",
    "小班 中班 大班",
    "小学 初中 高中 大学 幼儿园",
    "微辣 中辣 特辣 重辣 爆辣 不辣",
    "动物奶油 植物奶油 植脂奶油",
    "连续 累计",
    "最低 最高",
    "最多 最少",
    "起 止",
    "免费 付费",
    "小班 大班 一对一",
    "外教 中教",
    "真人 机器 合成 虚拟",
    "婴儿 幼儿 儿童 少年 青年 成人 成年 老年",
    "实心 充气 空心",
    "气垫 弹簧 乳胶",
    "有氧 力量",
    "正装 便装 小样",
    "平装 精装",
    "纸质 电子",
    "单程 往返",
    "到店 上门 寄送",
    "自取 配送 邮寄",
    "工作日 周末 节假日 平日",
    "白天 夜间 夜里 晚间",
    "站票 坐票 座票",
    "硬座 硬卧 软卧",
    "标准 高级 豪华",
)
_OTHERS: dict[str, tuple[str, ...]] = {}
for _row in _SERIES:
    for _name in _row.split():
        _OTHERS[_name] = (*_OTHERS.get(_name, ()), *(other for other in _row.split() if other != _name))
_SERIAL = re.compile("|".join(sorted(map(re.escape, _OTHERS), key=len, reverse=True)))
NUMERALS = frozenset("零〇一二三四五六七八九十百千万两半")
EXEMPT = frozenset("的了着过们个只是在有和与及也都还就才又再很太更最这那一不没把被给让为从到")


def terms_of(text: str, whole: str, known: Vocabulary, denied: str = "") -> list[str]:
    """The longest pieces of two characters or more that stand in the ad and mean something, or are `denied`."""
    found: list[str] = []
    place = 0
    while place < len(text) - 1:
        for end in range(min(len(text), place + 6), place + 1, -1):
            piece = text[place:end]
            if piece in whole and not any(char in EXEMPT for char in piece):
                if (
                    len(piece) > 2
                    or piece in known.concepts
                    or piece in known.scenes
                    or piece not in known.neutral
                    or piece in denied
                ):
                    found.append(piece)
                place = end - 1
                break
        place += 1
    return found


def exceptions(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """教辅也能换 where the ad takes 教辅 out; 枕芯枕套都能机洗 where it says so of one of them."""
    whole = "\n".join(clauses)
    for clause in CLAUSE.finditer(plain):
        for match in _ALSO.finditer(clause[0]):
            start = clause.start() + match.start("subject")
            end = clause.start() + match.end("what")
            terms = terms_of(match["subject"], whole, known, evidence.denied)
            verbs = terms_of(match["what"], whole, known)
            for term in terms:
                having = [text for text in clauses if term in text]
                if having and (
                    all(DENIES.search(text) for text in having)
                    or any(re.search(re.escape(term) + _BUT, text) for text in having)
                ):
                    yield Word(start, end, "reversal", None)
                    break
                if (
                    verbs
                    and match["subject"].endswith(term)
                    and term not in known.people
                    and not any(_beside(term, verb, clauses) for verb in verbs)
                ):
                    yield Word(start, end, "qualifier", None)
                    break


def _beside(term: str, verb: str, clauses: list[str]) -> bool:
    """Whether a clause of the ad has both, or the next one the second."""
    for place, text in enumerate(clauses):
        if verb in text and (term in text or (place and term in clauses[place - 1])):
            return True
    return False


def conflicting(plain: str, whole: str) -> Iterator[Word]:
    """What a copy says that a rule of the ad forbids: 拿水冲一冲 where it is to be wiped dry."""
    for rule, broken in _CONFLICTS:
        if (match := broken.search(plain)) is None or _REFUSED.search(plain[max(0, match.start() - 4) : match.start()]):
            continue
        if _REFUSES.match(plain[match.end() :]) is None and rule.search(whole) and match[0][:2] not in whole:
            yield Word(*match.span(), "reversal", None)


def taken_in(plain: str, clauses: list[str]) -> Iterator[Word]:
    """语法也顺带教 where the ad has the thing only as what is left out; 连冷水都不用加 where one adds it."""
    for match in _TAKES_IN.finditer(plain):
        if _KEEPS_OUT.search(match["thing"] + plain[match.end() - 1 : match.end() + 4]):
            continue
        head = match["thing"][-2:]
        having = [text for text in clauses if head in text]
        if having and all(_left_out(head, text) for text in having):
            yield Word(*match.span(), "reversal", None)
    for match in _NOT_EVEN.finditer(plain):
        if any(match["verb"] + match["thing"] in text or match["thing"] + match["verb"] in text for text in clauses):
            yield Word(*match.span(), "negation", None)


def _left_out(thing: str, text: str) -> bool:
    before, _, after = text.partition(thing)
    return _LEAVES_OUT.search(before) is not None or _LEFT_OUT.match(after) is not None


def spared(plain: str, clauses: list[str], evidence: Evidence) -> Iterator[Word]:
    """不用备泳尿裤, 免健康证明, 不含乳 where the ad asks for the thing, or has it."""
    for match in _SPARES.finditer(plain):
        thing = match["thing"]
        for size in range(len(thing), 1, -1):
            head = thing[:size]
            having = [text for text in clauses if head in text]
            if having:
                asks = [
                    text
                    for text in having
                    if _ASKS.search(text[: text.index(head)]) or _ASKED.match(text[text.index(head) + size :])
                ]
                if asks and len(asks) == len(having):
                    yield Word(match.start(), match.start("thing") + size, "negation", None)
                break
    for match in _SPARED_OF.finditer(plain):
        having = [text for text in clauses if match["thing"] in text]
        if having and all(
            _ASKS.search(text.partition(match["thing"])[0]) or _ASKED.match(text.partition(match["thing"])[2])
            for text in having
        ):
            yield Word(*match.span(), "negation", None)
    for match in _LACKS.finditer(plain):
        thing = match["thing"]
        holds = re.compile(rf"(?<!不)(?<!无)(?:含|配料|成分|原料|主料|加了?)[^。；]{{0,16}}{re.escape(thing)}")
        if any(holds.search(text) for name, text, marks in evidence.texts if name != "audience") and _held(
            thing, evidence
        ):
            yield Word(match.start(), match.end("thing"), "negation", None)


def _held(thing: str, evidence: Evidence) -> bool:
    """Whether the ad has the thing, and never under a negation."""
    marked = [
        bool(marks[match.start()])
        for name, text, marks in evidence.texts
        if name != "audience"
        for match in re.finditer(re.escape(thing), text)
    ]
    return bool(marked) and not any(marked)


def exchanged(plain: str, whole: str) -> Iterator[Word]:
    """后开按扣 where the ad has 前开按扣: a word's opposite or neighbour in the ad's own words."""
    place = 0
    while (match := _SERIAL.search(plain, place)) is not None:
        start, end = match.span()
        place = start + 1
        size = end - start
        for left, right in ((0, 2), (1, 1), (2, 0)) if size == 1 else ((0, 2), (0, 1), (2, 0)):
            before, after = plain[max(0, start - left) : start], plain[end : end + right]
            around = before + after
            if any(char in NUMERALS for char in around):
                continue
            if len(before) != left or len(after) != right or not all("\u4e00" <= char <= "\u9fff" for char in around):
                continue
            if before + match[0] + after in whole or (size > 1 and match[0] in whole and right == 1):
                break
            if any(char in EXEMPT for char in around):
                continue
            if any(before + other + after in whole for other in _OTHERS[match[0]]):
                yield Word(start - left, end + right, "reversal", None)
                break


def doubled(plain: str, whole: str) -> Iterator[Word]:
    """单耳 where the ad has 双耳."""
    for match in _TWIN.finditer(plain):
        one, noun = match["one"], match["noun"]
        other = {"单": "双", "双": "单"}[one]
        if other + noun in whole and one + noun not in whole:
            yield Word(match.start("one"), match.end("noun"), "reversal", None)


def paired(plain: str, clauses: list[str]) -> Iterator[Word]:
    """18 次直播课 where the ad has 18 次录播课 and 6 次直播: a number beside the wrong one of two."""
    for match in _SERIAL.finditer(plain):
        if len(match[0]) < 2:
            continue
        clause = next((one for one in CLAUSE.finditer(plain) if one.start() <= match.start() < one.end()), None)
        if clause is None:
            continue
        numbers = set(re.findall(r"\d+(?:\.\d+)?", clause[0]))
        others = [other for other in _OTHERS[match[0]] if len(other) > 1]
        if len(numbers) != 1 or any(other in clause[0] for other in others):
            continue
        number = re.compile(rf"(?<![\d.]){re.escape(numbers.pop())}(?![\d.])")
        having = [text for text in clauses if number.search(text)]
        named = [text for text in having if match[0] in text]
        if having and not named and all(any(other in text for other in others) for text in having):
            yield Word(match.start(), match.end(), "reversal", None)
