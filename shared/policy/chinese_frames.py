"""What the clauses of a Chinese copy say as a whole: a list longer than the ad's, an exception taken in, a condition
left out.

Each word may stand in the ad while the sentence does not: 枕芯枕套都能洗 where only the cover may be washed, 单饼也包邮
where two are sent free. The clauses of the copy are held against those of the ad that have the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.policy.evidence import Evidence, Word, meaning
from shared.policy.vocabulary import Vocabulary

_HAN = "\u4e00-\u9fff"
_CLAUSE = re.compile(r"[^，。！？；：,!?;:\n]+")
# A subject that something goes for as well, and what goes for it.
_ALSO = re.compile(
    rf"(?P<subject>[{_HAN}、\d]{{1,12}}?)(?:也|都|均|全都|一样|同样|照样|照)(?:一样|照样|同样)?"
    r"(?P<what>(?:能|可以?|会|支持|接|收|行|适|放心|安心|香|没事|不怕|无妨|管|包|免|送|含|退|换|修"
    r"|洗|参加|报|来|开|走|跑|有|在|照|享|赔|保|讲|教|查"
    rf"|测|用|做|办|练|算)[{_HAN}]{{0,8}})"
)
_DENIES = re.compile(
    r"不(?!另|收|加|分|锈钢|仅|但|同|过|少|断|限|止|只|论|管|满意)|无(?!线|缝|痕|框|需|须|限|理由|人机|花果"
    r"|忧)|除外|禁|勿|谢绝|未|没|取消|顺延"
)
_FREE_OF = re.compile(
    rf"(?P<subject>[{_HAN}]{{2,8}}?)(?:也|都|全部?|一律|统统)?(?:免费(?!试|体验|领|咨询)|不(?:另"
    r"|额外)?收[费钱]|不要钱|不花钱|白送|不另收费|包了|全包|全免|免了|免收|不用[交付])"
)
_GRATIS = re.compile(r"免费|含|送|赠|提供|不收|附|配|备|包|\bfree|included|provided|comes? with", re.I)
_HAS = re.compile(
    r"(?:支持|内置|自带|搭载|具备|配备|配有|带有|附有|附带|附赠|另附|内附|采用|选用|设有|装有|备有"
    r"|提供|享受?|还有|外加)"
    rf"(?P<thing>[{_HAN}]{{2,10}})"
)
_ZERO = re.compile(
    rf"(?<![{_HAN}\d]零)(?<![\d一二三四五六七八九十百千])零(?P<noun>(?!食|钱|售|碎|星|头|件|工|下"
    r"|点|花|散|落|嘴|用|基础|距离|负担|压力|门槛"
    rf"|失误|差评|时差|经验|元|起点|开始|买|存|用钱|散|排|风险|距|首付)[{_HAN}]{{2,3}})"
)
_WHOLE = re.compile(
    r"全部|全都|所有|每一?[道只个件款位种张节页套次份盒项台间档条组班期堂题篇步样]|一律|统统|通通"
    r"|个个|任何|哪怕|无论|不管|不论"
)
_PART = re.compile(
    r"其中|部分|仅|只有|只限|限(?!时)|除|个别|首[次单月年期件]"
    r"|前\s?[\d一二三四五六七八九十百]+\s?[名位人单件]|不含|不包括|最低|最高|最多|指定"
)
_BENEFIT = re.compile(r"包邮|免邮|免运费|半价|立减|免费(?!取消|停车|退)|[送赠](?=一|[\d两三]|袋|盒|份)|返现|免单|减免")
_CONDITION = re.compile(
    r"满\s?[\d一二三四五六七八九十百千]+|[买购凑]\s?[\d一二两三四五六七八九十]+|首[次单月年期件]"
    r"|第[二三四五]|前\s?[\d一二三四五六七八九十百]+\s?[名位人单件]"
    r"|新(?:客|用户|人|会员|学员|生|店)|老(?:客|用户|会员|学员|带新)|会员|学生|工作日|平日|周中"
    r"|周[一二三四五六日末]|早鸟|团购|拼团|推荐|晒单|好评|复购|续(?:费|报|订)"
    r"|[两二三四五六2-6]\s?[人件盒箱瓶袋份位]|年付|年卡|套餐|套装|预约|之内|以内|前(?=[，。；\s]"
    r"|报名|下单|取消|通知)|提前|满\s?\d+\s?[岁元]|\d+\s?岁"
)
_LENT = re.compile(
    rf"(?P<thing>[{_HAN}]{{2,4}}?)(?:现场|店里|到店|当场|我们|这里|都|也|全|一并|一起|统一|免费|替你|给你|帮你|为你)*"
    r"(?:现场[借租]|可借|可租|能借|能租|有得借|借给|借你|备好|备齐|备着|准备好|管够|有售"
    r"|随便[用拿借]|全包|一起到|同到|随[箱盒车机]到)"
)
_LENDS = re.compile(
    r"(?<![不无未需自没])(?:备有|借出|出借|可借|借(?![着助鉴给你口])|现场有|备好|准备[了好]"
    r"|赠(?!品)|附(?![近和])|附送|含(?!在)|提供|(?<![之以天月年日期时周])内有|随箱有)(?:了|上|着"
    r"|有)?(?:[一两三二]?[个只把条根张本套副双枚瓶罐盒包支块片对台件册份])?"
    rf"(?P<thing>[{_HAN}]{{2,6}})"
)
_PROVIDES = re.compile(
    r"提供|给|发|含|附|送|赠|配|借|租|备|带|包|免费|有售|一起|套装|清单|\b(?:includ|provid|suppl"
    r"|availab|lent|loan|rent|with|comes|free|covers)",
    re.I,
)
_FREE_FOR = re.compile(rf"免费(?P<thing>[{_HAN}]{{2}})")
_FREELY_TEXT = (
    "体验 领取 参加 参与 试用 试听 试看 试学 试读 试睡 试穿 入场 入内 进场 听课 观看 收听 收看 阅"
    "读 下载 使用 注册 预约 报名 咨询 订阅 享受 享用 获得 获取 领走 拿走 开放 加入 送你 送到 给你"
    " 带走 上门 学习 吃喝 玩耍 品尝 排队 看到 听到"
)
_FREELY = frozenset(_FREELY_TEXT.split())
_BUT = r"[^，。；]{0,3}(?:除外|另[付计收购算]|不[退换含参予可能支保]|自[备理费]|例外)"  # after what is taken out
_AMOUNT = re.compile(
    r"(?P<n>\d+(?:\.\d+)?|[一二两三四五六七八九十百]+)\s?(?P<unit>小时|分钟|公斤|厘米|毫米|毫升|年"
    r"|天|个月|次|节|元|块|克|瓦|度|折|米|升|周|码|档)"
)
_CARRIES = re.compile(
    rf"(?P<what>[{_HAN}]{{2}})(?:自带|还带|另带|带有|带|配有|配|附有"
    rf"|附)(?P<thing>(?![你我他她它来去回走着上出给娃孩宝狗猫爸妈朋])[{_HAN}]{{2,4}})(?=[，。！、；"
    r"]|$)"
)
_LIST = re.compile(rf"[{_HAN}]{{1,6}}(?:、[{_HAN}]{{1,8}}){{1,6}}(?:[和与及加][{_HAN}]{{1,8}})?")
_ITEM = re.compile(rf"[{_HAN}]+?(?=[、和与及加]|$)|(?<=[、和与及加])[{_HAN}]+")
_SPEAKS = frozenset("你我他她它谁哪随任想用走去来看听说吃喝玩睡坐跑练挑选买囤送拿")
_GIVES = re.compile(
    r"(?<![不无未没自需接护转播发输运])(?:附赠|附带|附送|附(?![近和])|赠送|赠(?!品)"
    r"|送(?![货到给上你您我去餐修走别自])|内含|含(?![在泪量金蓄苞笑])|配有|配了|外加|另加|再加"
    rf"|加送|还送|还附|还有(?=[{_HAN}]{{2,5}}一[只把条张本套副双枚瓶罐盒包支块件]))"
    rf"(?P<things>[{_HAN}\d]{{2,8}}(?:[、和与及][{_HAN}\d]{{1,8}}){{0,4}})(?=[，。！；]|$)"
)
_NUMBERS = re.compile(
    r"^(?:[一两二三四五六七八九十\d]+[个只把条根张本套副双枚瓶罐盒包支块片对台件册份团顶公斤]*|了|上|有)"
)
_NUMBERED = re.compile(
    r"[一两二三四五六七八九十\d]+(?:公斤|毫升|[个只把条根张本套副双枚瓶罐盒包支块片对台件册份团顶克升斤])$"
)
_TWIN = re.compile(
    r"(?<![下菜名简清订账表被床无成])(?P<one>[单双])(?P<noun>(?![独纯次价调元位词品车杠方])[\u4e00-\u9fff])"
)
_ALL_IN = re.compile(
    rf"(?P<things>[{_HAN}\d]{{2,8}}(?:[、和与及][{_HAN}\d]{{1,8}}?){{0,4}}?)(?:每人一[份个只条]"
    r"|人手一|(?:全都?|都|也|均|一起|一并|统统)(?:给你|替你|为你)?(?:含|包(?!容)|送|附|赠|免费"
    r"|配齐|齐全|备好|备齐|在学费里|在价里|算在|包在|含在|寄|发(?![现光愁呆])))"
)
_PRICED_THING = re.compile(r"另|自[备带购费理付]|[买售加租][^，。；]{0,6}\d|\d\s?元|[£$€¥]\s?\d")
_ALSO_THERE = re.compile(
    rf"(?P<thing>[{_HAN}]{{2,8}}?)也(?:都|一并|一起|替你|给你|帮你|已经?|就)?"
    r"(?:含在|含了|算在|包在|在里头|在里面|在内|在盒|立在|插在|配在|放在|装在|收在|塞在|夹在|躺在"
    r"|归你|是送的|是赠的|送的|包邮|免邮|发货|照收|照接|照送|照给|奉上"
    r"|备着|备好|修好|洗好|补好|附上|配好|送上|配齐|挂[了着在]|摆[好在上着]|摞|端[到上]|塞好|缠在"
    rf"|叠好|码好|搁在|铺好|煮好|烧好|泡好|烤好|沏好|按[{_HAN}]备|免(?!不了|不得)|归你|带走|带回家"
    r"|抱走"
    rf"|一[并起](?:讲|教|寄|送|给|查|测|做))"
)
_BOTH_DO = re.compile(
    rf"(?P<things>[{_HAN}]{{2,6}}(?:[、和与及跟到][{_HAN}]{{2,6}}){{1,3}}?)(?:都|均|全)(?:能|可以?"
    r"|看|收|接|治|查|测|来|讲|教|适|行|欢迎|有)"
)
_SPARES = re.compile(
    rf"(?:不用|无需|无须|不必|不需要?|(?<![{_HAN}])免)(?:自己|再)?(?:自?[备带]|穿|交|准备|出示|提供"
    r"|签订?|写|填|考|拿|有|付|押|问|找|经过?"
    rf"|过)?(?P<thing>(?![备带穿交签写填考拿有付押问找经过])[{_HAN}]{{2,5}})"
)
_SPARED_OF = re.compile(
    rf"(?P<thing>[{_HAN}]{{2,4}})(?:也|都)?(?:不用|不必|无需|不需要?)(?:过|交|给|带|问|办|填|签)?(?=[，。！；]|$)"
)
_ASKS = re.compile(r"(?<![无不])(?:需|须|请|要求|凭|持|自备|自带|交|具备|提供)[^，。；]{0,12}$")
_ASKED = re.compile(r"[^，。；]{0,2}(?:required|自备|自带|自购|\s?\d+\s?元)")
_LACKS = re.compile(rf"(?:不含|零添加|不加|未加|没加|没有|(?<![{_HAN}])无)(?P<thing>[{_HAN}]{{1,3}})(?=[，。！、；]|$)")
_TAKES_IN = re.compile(rf"(?:连)?(?P<thing>[{_HAN}]{{2,5}}?)(?:也|都)(?![不没别无])[{_HAN}]")
_BESIDES = re.compile(
    r"之外，?(?:还|再|另外?|又)(?:有|送|给|做|教|讲|带|附|配|加)?(?:了|上|一回"
    rf"|一次)?(?P<thing>[{_HAN}]{{2,8}})|之外，?(?P<other>[{_HAN}]{{2,5}}?)也(?=[{_HAN}])"
)
_KEEPS_OUT = re.compile(r"不|没|无|免|由|省|自己|自带|另|先|别")
_NOT_EVEN = re.compile(rf"(?:连)?(?P<thing>[{_HAN}]{{2,3}})(?:都|也)(?:不用|不必|无需|免)(?P<verb>[{_HAN}])")
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
_NUMBER = re.compile(r"\d+(?:\.\d+)?|[一二两三四五六七八九十百千]+")
_NUMERALS = frozenset("零〇一二三四五六七八九十百千万两半")
_CHARGES = re.compile(r"元|块|另|费用|￥|¥|£|\$|€|收费|不含|自[备理费付]|extra|each|cost", re.I)
_STRICT = re.compile(
    r"满\s?[\d一二三四五六七八九十百千]+|[买购凑]\s?[\d一二两三四五六七八九十]+|首[次单月年期件]"
    r"|新(?:客|用户|人|会员|学员)|会员|学生|前\s?\d+\s?[名位人单件]|第[二三四五]"
)
_OWN = re.compile(r"自[备带购费理付]|另[购付收计算]|不含|不提供|不附|不送|需(?:穿|带|有)|须(?:穿|带|有)")
_EXEMPT = frozenset("的了着过们个只是在有和与及也都还就才又再很太更最这那一不没把被给让为从到")


def find_stretched(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """What a folded copy says of more than the ad does: unsupported pieces ``[start, end)`` with their kinds."""
    clauses = _ad_clauses(evidence)
    yield from _exceptions(plain, clauses, evidence, known)
    yield from _charged(plain, clauses)
    yield from _zero(plain, evidence, known)
    yield from _unconditional(plain, clauses)
    yield from _exchanged(plain, "\n".join(clauses))
    yield from _provided(plain, clauses, evidence, known)
    yield from _mispaired(plain, clauses, known)
    yield from _included(plain, clauses, evidence, known)
    yield from _spared(plain, clauses, evidence)
    yield from _conflicting(plain, "\n".join(clauses))
    yield from _taken_in(plain, clauses)
    yield from _besides(plain, clauses, evidence, known)
    yield from _also_there(plain, clauses, evidence, known)
    yield from _all_of_them(plain, clauses, evidence, known)
    yield from _given_things(plain, clauses, evidence, known)
    yield from _longer_lists(plain, clauses, evidence, known)
    yield from _carried(plain, "\n".join(clauses), evidence, known)
    yield from _gratis(plain, clauses, evidence, known)
    yield from _paired(plain, clauses)
    yield from _doubled(plain, "\n".join(clauses))


def _ad_clauses(evidence: Evidence) -> list[str]:
    """The clauses of the ad; those of an attribute are one."""
    clauses = []
    for name, text, _ in evidence.texts:
        if name in ("audience", "domain"):
            continue
        if name.startswith("attributes."):
            clauses.append(text)
        else:
            clauses += [match[0] for match in _CLAUSE.finditer(text)]
    return clauses


def _terms(text: str, whole: str, known: Vocabulary, denied: str = "") -> list[str]:
    """The longest pieces of two characters or more that stand in the ad and mean something, or are `denied`."""
    found: list[str] = []
    place = 0
    while place < len(text) - 1:
        for end in range(min(len(text), place + 6), place + 1, -1):
            piece = text[place:end]
            if piece in whole and not any(char in _EXEMPT for char in piece):
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


def _exceptions(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """教辅也能换 where the ad takes 教辅 out; 枕芯枕套都能机洗 where it says so of one of them."""
    whole = "\n".join(clauses)
    for clause in _CLAUSE.finditer(plain):
        for match in _ALSO.finditer(clause[0]):
            start = clause.start() + match.start("subject")
            end = clause.start() + match.end("what")
            terms = _terms(match["subject"], whole, known, evidence.denied)
            verbs = _terms(match["what"], whole, known)
            for term in terms:
                having = [text for text in clauses if term in text]
                if having and (
                    all(_DENIES.search(text) for text in having)
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


def _charged(plain: str, clauses: list[str]) -> Iterator[Word]:
    """储物柜免费用 where the ad gives away something else."""
    for match in _FREE_OF.finditer(plain):
        subject = match["subject"]
        for size in (4, 3, 2):
            head = subject[-size:]
            having = [text for text in clauses if len(head) == size and head in text]
            if having:
                if not any(_GRATIS.search(text) for text in having) and all(map(_CHARGES.search, having)):
                    yield Word(match.start(), match.end(), "offer", None)
                break


def _mispaired(plain: str, clauses: list[str], known: Vocabulary) -> Iterator[Word]:
    """密封圈也质保 5 年 where the ad gives the seal one year and the pot five."""
    whole = "\n".join(clauses)
    for clause in _CLAUSE.finditer(plain):
        amounts = list(_AMOUNT.finditer(clause[0]))
        if len(amounts) != 1:
            continue
        amount = amounts[0]
        if not _says(amount, whole):
            continue
        before = _terms(clause[0][: amount.start()], whole, known)
        for term in before[:1] if before and clause[0].startswith(before[0]) else ():
            having = [text for text in clauses if term in text]
            others = [other for text in having for other in _AMOUNT.finditer(text) if other["unit"] == amount["unit"]]
            if others and not any(_says(amount, text) for text in having):
                yield Word(clause.start() + amount.start(), clause.start() + amount.end(), "qualifier", None)


def _says(amount: re.Match[str], text: str) -> bool:
    return re.search(rf"(?<![\d.一二三四五六七八九十百]){re.escape(amount['n'])}\s?{amount['unit']}", text) is not None


def _included(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """雪服 in 雪板雪鞋和雪服全含 where the ad lets it."""
    whole = "\n".join(clauses)
    for match in _ALL_IN.finditer(plain):
        place = match.start("things")
        for item in re.split(r"([、和与及])", match["things"]):
            start, place = place, place + len(item)
            thing = _NUMBERED.sub("", _NUMBERS.sub("", item))
            if not 2 <= len(thing) <= 6 or any(char in _SPEAKS for char in thing):
                continue
            head = thing[-2:]
            having = [text for text in clauses if head in text]
            if having:
                if not any(_gives(head, text) for text in having) and all(
                    _OWN.search(text) or _PRICED_THING.search(text) for text in having
                ):
                    yield Word(start, match.end(), "accessory", None)
            elif (
                re.search("[、和与及]", match["things"])
                and not any(thing[k : k + 2] in whole for k in range(len(thing) - 1))
                and head not in known.neutral
                and head not in known.people
                and not any(char in _EXEMPT for char in thing)
                and meaning(thing, False, evidence, known) is None
                and meaning(head, False, evidence, known) is None
            ):
                yield Word(start, match.end(), "accessory", None)


def _gives(thing: str, text: str) -> bool:
    """Whether a clause of the ad gives the thing: 含装备租用, 毛巾免费."""
    return (
        re.search(
            rf"(?:(?<!不)含|附|送|赠|配|免费|提供|备有|包(?!装))[^，。；]{{0,12}}{re.escape(thing)}"
            rf"|{re.escape(thing)}[^，。；]{{0,5}}(?:含|附|送|免费|提供|全包|套装|借用|在内|各一)",
            text,
        )
        is not None
    )


def _also_there(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """谱架也立在旁边 where the ad has no such thing, or does not give it."""
    whole = "\n".join(clauses)
    for match in _ALSO_THERE.finditer(plain):
        thing = match["thing"]
        head = thing[-2:]
        having = [text for text in clauses if head in text]
        if match[0].endswith("免") and re.search(r"免|包邮|不收|\bfree\b", whole, re.I):
            continue
        if having:
            borne = any(
                _gives(head, text) or not (_OWN.search(text) or _PRICED_THING.search(text) or _DENIES.search(text))
                for text in having
            )
        else:
            borne = any(thing[k : k + 2] in whole for k in range(len(thing) - 1)) or (
                meaning(head, False, evidence, known) is not None
            )
        if not borne and not any(char in "你我他她它谁这那" for char in thing):
            yield Word(*match.span(), "accessory", None)


def _all_of_them(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """青少年和成人都看 where the ad has one of the two."""
    whole = "\n".join(clauses)
    for match in _BOTH_DO.finditer(plain):
        items = [(one.start(), one[0]) for one in re.finditer(r"[^、和与及跟到]+", match["things"])]
        if len(items) < 2:
            continue
        borne = [
            any(item[k : k + 2] in whole for k in range(len(item) - 1))
            or meaning(item, False, evidence, known) is not None
            or meaning(item[-2:], False, evidence, known) is not None
            for _, item in items
        ]
        if not any(borne) or any(re.search("[周点月日号上下]午?|[早晚]", item) for _, item in items):
            continue
        for (start, item), own in zip(items, borne, strict=True):
            listed = any(
                known.concepts.get(term) or term in known.people or term in known.scenes for term in (item, item[-2:])
            )
            if not own and listed and len(item) > 1 and not any(char in _EXEMPT for char in item):
                yield Word(match.start() + start, match.start() + start + len(item), "audience", None)


def _conflicting(plain: str, whole: str) -> Iterator[Word]:
    """What a copy says that a rule of the ad forbids: 拿水冲一冲 where it is to be wiped dry."""
    for rule, broken in _CONFLICTS:
        if (match := broken.search(plain)) is None or _REFUSED.search(plain[max(0, match.start() - 4) : match.start()]):
            continue
        if _REFUSES.match(plain[match.end() :]) is None and rule.search(whole) and match[0][:2] not in whole:
            yield Word(*match.span(), "reversal", None)


def _besides(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """视野检查 in 三样之外再做一回视野检查 where the ad has none."""
    whole = "\n".join(clauses)
    for match in _BESIDES.finditer(plain):
        name = "thing" if match["thing"] else "other"
        thing = _NUMBERS.sub("", match[name])
        if len(thing) < 2 or any(char in "你我他她它这那" for char in thing):
            continue
        pieces = [thing[k : k + 2] for k in range(len(thing) - 1)]
        if any(piece in whole for piece in pieces) or any(meaning(piece, False, evidence, known) for piece in pieces):
            continue
        yield Word(*match.span(name), "feature", None)


def _taken_in(plain: str, clauses: list[str]) -> Iterator[Word]:
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


def _spared(plain: str, clauses: list[str], evidence: Evidence) -> Iterator[Word]:
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


def _given_things(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """护照夹 in 送行李牌和护照夹 where the ad gives no such thing, or leaves it out."""
    whole = "\n".join(clauses)
    for match in _GIVES.finditer(plain):
        place = match.start("things")
        for item in re.split(r"([、和与及])", match["things"]):
            start, place = place, place + len(item)
            thing = _NUMBERED.sub("", _NUMBERS.sub("", item))
            if (
                len(thing) < 2
                or len(thing) > 6
                or any(char in _EXEMPT or char in _SPEAKS or char in "自满心情份" for char in thing)
            ):
                continue
            head = thing[-2:]
            if head in known.neutral or head in known.people or thing in known.neutral:
                continue
            if meaning(thing, False, evidence, known) or meaning(head, False, evidence, known):
                continue
            said = [thing[k : k + 2] for k in range(len(thing) - 1) if thing[k : k + 2] in whole]
            if said and not all(piece in evidence.denied and _only_denied(piece, evidence) for piece in said[-1:]):
                continue
            yield Word(start, start + len(item), "accessory", None)


def _only_denied(piece: str, evidence: Evidence) -> bool:
    """Whether the ad has the piece only under a negation."""
    for name, text, marks in evidence.texts:
        place = text.find(piece)
        while place >= 0:
            if name != "audience" and not marks[place]:
                return False
            place = text.find(piece, place + 1)
    return True


def _longer_lists(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """沉香 in 老山檀、楠木、沉香粉 where the ad has the first two of the list."""
    whole = "\n".join(clauses)
    chinese = any("\u4e00" <= char <= "\u9fff" for char in whole)
    for match in _LIST.finditer(plain):
        items = [(one.start() + match.start(), one[0]) for one in _ITEM.finditer(match[0])]
        if len(items) < 3:
            continue
        own = [
            place
            for place, (_, item) in enumerate(items)
            if any(item[:size] in text for text in clauses for size in (len(item), 4, 3, 2) if 2 <= size <= len(item))
            or (len(item) == 1 and item in evidence.letters)
            or meaning(item, False, evidence, known)
            or meaning(item[:2], False, evidence, known)
            or (place < len(items) - 1 and any(item[k : k + 2] in whole for k in range(len(item) - 1)))
        ]
        if len(own) < 2:
            continue
        for place, (start, item) in enumerate(items):
            head = item[:2]
            if place in own or len(head) < 2 or any(char in _EXEMPT or char in _SPEAKS for char in head):
                continue
            if any(char in _NUMERALS for char in item) or (not known.knows(head) and not chinese):
                continue
            if head in known.neutral and place == len(items) - 1 and len(item) > 3:
                continue
            yield Word(start, start + min(len(item), 4), "feature", None)


def _carried(plain: str, whole: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """三件套带挂架 where the ad has no rack."""
    for match in _CARRIES.finditer(plain):
        thing = match["thing"]
        head = thing[-2:]
        if known.knows(plain[match.start() : match.start("thing")][-3:]) or any(char in _NUMERALS for char in thing):
            continue
        if match["what"] not in whole or any(thing[place : place + 2] in whole for place in range(len(thing) - 1)):
            continue
        if any(char in _EXEMPT for char in thing) or head in known.neutral or head in known.people:
            continue
        if meaning(thing, False, evidence, known) is None and meaning(head, False, evidence, known) is None:
            yield Word(*match.span("thing"), "accessory", None)


def _provided(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """运动服现场可借 where the ad tells the reader to wear one."""
    for pattern in (_LENT, _LENDS):
        for match in pattern.finditer(plain):
            if re.search(r"先|自己|记得|提前|请", match[0]):
                continue
            things = _terms(match["thing"], "\n".join(clauses), known)
            if not things:
                continue
            having = [text for text in clauses if things[-1] in text]
            if not any(_PROVIDES.search(text) and not _OWN.search(text) for text in having) and not any(
                meaning(things[-1], True, evidence, known) is None and _PROVIDES.search(text) and not _OWN.search(text)
                for text in having
            ):
                yield Word(match.start(), match.end(), "accessory", None)


def _gratis(plain: str, clauses: list[str], evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """免费复测 where the ad has no such thing."""
    whole = "\n".join(clauses)
    for match in _FREE_FOR.finditer(plain):
        thing = match["thing"]
        if thing in whole or thing in _FREELY or any(char in _EXEMPT for char in thing):
            continue
        if (thing[0] in whole and thing[1] in whole) or any(char in _NUMERALS for char in thing):
            continue
        if meaning(thing, False, evidence, known) is None and meaning(thing, True, evidence, known) is None:
            yield Word(*match.span(), "offer", None)


def _zero(plain: str, evidence: Evidence, known: Vocabulary) -> Iterator[Word]:
    """零噪音 where the ad denies none."""
    for match in _ZERO.finditer(plain):
        noun = match["noun"][:2]
        if match[0][:3] in known.neutral or any(match[0][:3] in text or noun in text for _, text, _ in evidence.texts):
            continue
        if meaning(noun, True, evidence, known) is None and meaning(match[0][:3], False, evidence, known) is None:
            yield Word(match.start(), match.start() + 3, "negation", None)


def _unconditional(plain: str, clauses: list[str]) -> Iterator[Word]:
    """单饼也包邮 where the ad says 买两饼包邮."""
    for match in _BENEFIT.finditer(plain):
        having = [text for text in clauses if match[0] in text]
        wanted = _STRICT if match[0].startswith("免费") else _CONDITION
        if not having or not all(wanted.search(text) for text in having):
            continue
        if not _CONDITION.search(plain) and not any(
            number in plain for text in having for number in re.findall(r"\d+(?:\.\d+)?", text)
        ):
            yield Word(match.start(), match.end(), "qualifier", None)


def _exchanged(plain: str, whole: str) -> Iterator[Word]:
    """后开按扣 where the ad has 前开按扣: a word's opposite or neighbour in the ad's own words."""
    place = 0
    while (match := _SERIAL.search(plain, place)) is not None:
        start, end = match.span()
        place = start + 1
        size = end - start
        for left, right in ((0, 2), (1, 1), (2, 0)) if size == 1 else ((0, 2), (0, 1), (2, 0)):
            before, after = plain[max(0, start - left) : start], plain[end : end + right]
            around = before + after
            if any(char in _NUMERALS for char in around):
                continue
            if len(before) != left or len(after) != right or not all("\u4e00" <= char <= "\u9fff" for char in around):
                continue
            if before + match[0] + after in whole or (size > 1 and match[0] in whole and right == 1):
                break
            if any(char in _EXEMPT for char in around):
                continue
            if any(before + other + after in whole for other in _OTHERS[match[0]]):
                yield Word(start - left, end + right, "reversal", None)
                break


def _doubled(plain: str, whole: str) -> Iterator[Word]:
    """单耳 where the ad has 双耳."""
    for match in _TWIN.finditer(plain):
        one, noun = match["one"], match["noun"]
        other = {"单": "双", "双": "单"}[one]
        if other + noun in whole and one + noun not in whole:
            yield Word(match.start("one"), match.end("noun"), "reversal", None)


def _paired(plain: str, clauses: list[str]) -> Iterator[Word]:
    """18 次直播课 where the ad has 18 次录播课 and 6 次直播: a number beside the wrong one of two."""
    for match in _SERIAL.finditer(plain):
        if len(match[0]) < 2:
            continue
        clause = next((one for one in _CLAUSE.finditer(plain) if one.start() <= match.start() < one.end()), None)
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
