"""What columns and their values are called elsewhere, in Chinese and English: what guessing a mapping goes by.

Headers stand without case, spaces and separators. Of a field's names the first that a file has wins.
"""

from __future__ import annotations

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
        *("orderdate", "orderedat", "时间戳", "行为时间", "发生时间", "操作时间", "事件时间", "时间", "下单时间"),
        *("创建时间", "日期"),
    ),
    "event": (
        *("event", "eventtype", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action"),
        *("actiontype", "activity", "type", "行为类型", "行为", "事件类型", "事件", "操作类型", "操作", "动作"),
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
        *("标题", "商品标题", "商品名称", "商品名", "课程名称", "文章标题", "搜索词", "名称", "内容"),
    ),
    "tags": (
        *("tags", "tag", "category", "categories", "categoryname", "itemcategory", "productcategory", "topic"),
        *("标签", "类目", "分类", "品类", "商品类目", "商品分类", "话题"),
    ),
    "value": ("value", "amount", "revenue", "total", "price", "金额", "实付金额", "订单金额", "价格"),
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
        *("landingurl", "link", "url", "producturl", "productlink", "href", "落地页", "链接", "商品链接", "详情链接"),
        *("网址",),
    ),
    "description": ("description", "desc", "summary", "details", "描述", "商品描述", "简介", "详情", "卖点", "说明"),
    "brand": ("brand", "brandname", "vendor", "manufacturer", "品牌", "品牌名", "厂商"),
    "image_url": ("imageurl", "imagelink", "image", "img", "picture", "photo", "图片", "图片链接", "主图", "商品图片"),
    "language": ("language", "lang", "locale", "语言"),
    "campaign_id": ("campaignid", "campaign", "活动id", "推广计划", "计划"),
    "bid_cpm": ("bidcpm", "cpm", "bid", "出价"),
    "daily_budget": ("dailybudget", "budget", "日预算", "预算"),
    "attributes.price": ("price", "saleprice", "unitprice", "售价", "价格", "单价", "现价", "销售价"),
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
NAMES: dict[Kind, dict[str, Sequence[str]]] = {"events": EVENT_NAMES, "ads": AD_NAMES}
ACTS = {
    **dict.fromkeys(
        ("pv", "detail", "impression_detail", "visit", "read", "play", "watch", "查看", "访问", "阅读"), "view"
    ),
    **dict.fromkeys(("tap", "open", "打开"), "click"),
    **dict.fromkeys(("fav", "collect", "关注", "加收藏"), "favourite"),
    **dict.fromkeys(("add", "addcart", "add_cart", "加入购物车", "加车", "购物车"), "cart"),
    **dict.fromkeys(("pay", "paid", "order_paid", "transaction", "支付", "付款", "成交", "已购买"), "purchase"),
    **dict.fromkeys(("signup", "register", "enrol_course", "报课", "选课", "已报名"), "enrol"),
    **dict.fromkeys(("done", "graduate", "学完", "结课", "已完成"), "complete"),
    **dict.fromkeys(("ask", "问诊", "提问"), "consult"),
    **dict.fromkeys(("block", "dislike", "屏蔽", "踩"), "dismiss"),
}
TIME_FORMATS = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y.%m.%d"),
    *("%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日 %H:%M", "%Y年%m月%d日%H:%M", "%Y年%m月%d日", "%Y%m%d%H%M%S", "%Y%m%d"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y"),
    *("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *("%d %b %Y %H:%M", "%d %b %Y", "%b %d, %Y"),
)
