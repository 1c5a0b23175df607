"""What columns and their values are called elsewhere, in Chinese and English: what guessing a mapping goes by.

Headers stand without case, spaces and separators. Of a field's names the first that a file has wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from infra.importers.mapping import Kind

EVENT_NAMES: dict[str, Sequence[str]] = {
    "user_id": (
        *("userid", "uid", "user", "customerid", "customer", "memberid", "member", "visitorid", "buyerid", "openid"),
        *(
            "clientid",
            "用户id",
            "用户编号",
            "用户",
            "会员id",
            "会员编号",
            "会员号",
            "会员",
            "客户id",
            "客户编号",
            "客户",
        ),
        *("买家id", "买家", "顾客id", "顾客编号", "顾客", "学员id", "学员编号", "学员", "读者id", "访客id"),
    ),
    "timestamp": (
        *("timestamp", "eventtime", "time", "ts", "datetime", "occurredat", "createdat", "createtime", "date"),
        *(
            "orderdate",
            "orderedat",
            "visitdate",
            "enrolledon",
            "enroledon",
            "completedon",
            "时间戳",
            "行为时间",
            "发生时间",
            "操作时间",
            "事件时间",
            "时间",
            "下单时间",
        ),
        *("创建时间", "就诊日期", "报名时间", "报名日期", "学习时间", "日期", "就诊时间"),
    ),
    "event": (
        *("event", "eventtype", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action"),
        *("actiontype", "activity", "type", "行为类型", "行为", "事件类型", "事件", "操作类型", "操作", "动作"),
        *("status", "visittype", "就诊类型", "状态"),
    ),
    "item_id": (
        *("itemid", "item", "productid", "product", "sku", "skuid", "goodsid", "contentid", "articleid", "postid"),
        *(
            "courseid",
            "adid",
            "商品id",
            "商品编号",
            "商品编码",
            "商品",
            "货号",
            "内容id",
            "文章id",
            "课程id",
            "课程编号",
        ),
        *("物品id",),
    ),
    "text": (
        *("text", "title", "itemtitle", "itemname", "producttitle", "productname", "name", "query", "searchterm"),
        *(
            "标题",
            "商品标题",
            "商品名称",
            "商品名",
            "课程名称",
            "文章标题",
            "搜索词",
            "名称",
            "内容",
            "主诉",
            "coursename",
        ),
        *("subject", "complaint", "reason"),
    ),
    "tags": (
        *("tags", "tag", "category", "categories", "categoryname", "itemcategory", "productcategory", "topic"),
        *("标签", "类目", "分类", "品类", "商品类目", "商品分类", "话题", "科室", "department"),
    ),
    "value": ("value", "amount", "revenue", "total", "price", "feepaid", "fee", "金额", "实付金额", "订单金额", "价格"),
    "platform": ("platform", "channel", "device", "source", "平台", "渠道", "来源", "终端"),
    "event_id": ("eventid", "logid", "事件id", "日志id"),
}
AD_NAMES: dict[str, Sequence[str]] = {
    "ad_id": (
        *("adid", "id", "sku", "skuid", "productid", "itemid", "goodsid", "courseid", "articleid", "广告id", "商品id"),
        *("商品编号", "商品编码", "货号", "课程id", "课程编号", "文章id", "编号"),
    ),
    "title": (
        *("title", "name", "productname", "producttitle", "itemname", "itemtitle", "coursename", "标题", "商品标题"),
        *("商品名称", "商品名", "课程名称", "文章标题", "名称"),
    ),
    "landing_url": (
        *(
            "landingurl",
            "link",
            "url",
            "webpage",
            "website",
            "page",
            "producturl",
            "productlink",
            "href",
            "落地页",
            "链接",
            "商品链接",
            "详情链接",
        ),
        *("网址",),
    ),
    "description": (
        "description",
        "desc",
        "summary",
        "details",
        "blurb",
        "about",
        "介绍",
        "课程介绍",
        "描述",
        "商品描述",
        "简介",
        "详情",
        "卖点",
        "说明",
    ),
    "brand": ("brand", "brandname", "vendor", "manufacturer", "品牌", "品牌名", "厂商"),
    "image_url": ("imageurl", "imagelink", "image", "img", "picture", "photo", "图片", "图片链接", "主图", "商品图片"),
    "language": ("language", "lang", "locale", "语言"),
    "campaign_id": ("campaignid", "campaign", "活动id", "推广计划", "计划"),
    "bid_cpm": ("bidcpm", "cpm", "bid", "出价"),
    "daily_budget": ("dailybudget", "budget", "日预算", "预算"),
    "attributes.price": (
        "price",
        "saleprice",
        "unitprice",
        "tuition",
        "fee",
        "学费",
        "售价",
        "价格",
        "单价",
        "现价",
        "销售价",
    ),
    "attributes.currency": ("currency", "币种", "货币"),
    "attributes.category": (
        "category",
        "categories",
        "producttype",
        "categoryname",
        "类目",
        "分类",
        "品类",
        "商品类目",
    ),
    "attributes.colour": ("color", "colour", "颜色"),
    "attributes.size": ("size", "尺寸", "尺码", "规格"),
    "attributes.material": ("material", "材质", "面料"),
    "attributes.level": ("level", "难度", "级别"),
}
_PEOPLE = (
    "user|customer|member|visitor|buyer|client|learner|student|patient|reader|subscriber|guest|shopper|account|person"
    "|用户|会员|客户|顾客|买家|学员|学生|患者|病人|读者|访客|居民|就诊卡|病历|健康卡"
)
_THINGS = (
    "product|item|course|class|lesson|article|post|video|service|programme|program|goods|sku|offer|package|procedure"
    "|商品|物品|课程|文章|视频|内容|项目|服务|套餐|检查|产品"
)
_NUMBERED = "id|sku|no|nr|num|number|code|ref|reference|key|编号|编码|代码|号码|号|id号"
_NAMED = "name|title|名称|名字|名|标题"
# What columns are called that the names above do not have: a word for whom or what, and one for its number.
IDS: dict[Kind, dict[str, re.Pattern[str]]] = {
    "events": {
        "user_id": re.compile(f"(?:{_PEOPLE})(?:{_NUMBERED})"),
        "item_id": re.compile(f"(?:{_THINGS})(?:{_NUMBERED})"),
        "text": re.compile(f"(?:{_THINGS})(?:{_NAMED})"),
    },
    "ads": {
        "ad_id": re.compile(f"(?:{_THINGS})(?:{_NUMBERED})"),
        "title": re.compile(f"(?:{_THINGS})(?:{_NAMED})"),
    },
}
TIME_WORDS = re.compile(r"date|time|\b(?:on|at|when)\b|日期|时间|时刻", re.IGNORECASE)
DOMAINS = {
    "health": re.compile(r"patient|clinic|diagnos|appointment|患者|就诊|科室|体检|挂号|病历", re.IGNORECASE),
    "education": re.compile(r"course|learner|student|lesson|tuition|enrol|课程|学员|学费|报名", re.IGNORECASE),
    "social": re.compile(r"article|follower|hashtag|podcast|文章|帖子|短视频|公众号", re.IGNORECASE),
}
NAMES: dict[Kind, dict[str, Sequence[str]]] = {"events": EVENT_NAMES, "ads": AD_NAMES}
ACTS = {
    **dict.fromkeys(
        (
            "pv",
            "detail",
            "impression_detail",
            "visit",
            "visited",
            "viewed",
            "browsed",
            "read",
            "play",
            "watch",
            "查看",
            "访问",
            "阅读",
        ),
        "view",
    ),
    **dict.fromkeys(("tap", "open", "打开"), "click"),
    **dict.fromkeys(("fav", "collect", "关注", "加收藏"), "favourite"),
    **dict.fromkeys(("add", "addcart", "add_cart", "加入购物车", "加车", "购物车"), "cart"),
    **dict.fromkeys(("pay", "paid", "order_paid", "transaction", "支付", "付款", "成交", "已购买"), "purchase"),
    **dict.fromkeys(
        ("signup", "register", "enrol_course", "enrolled", "enrollment", "booked", "报课", "选课", "已报名"), "enrol"
    ),
    **dict.fromkeys(("done", "completed", "finished", "graduate", "学完", "结课", "已完成"), "complete"),
    **dict.fromkeys(("ask", "问诊", "提问", "初诊", "复诊", "线上咨询"), "consult"),
    **dict.fromkeys(("block", "dislike", "屏蔽", "踩"), "dismiss"),
}
TIME_FORMATS = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y.%m.%d"),
    *("%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日 %H:%M", "%Y年%m月%d日%H:%M", "%Y年%m月%d日", "%Y%m%d%H%M%S", "%Y%m%d"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y"),
    *("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *("%d %b %Y %H:%M", "%d %b %Y", "%b %d, %Y"),
)
