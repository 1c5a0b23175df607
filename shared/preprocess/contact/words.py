"""What the words beside a number say it is. All of them look directly before it (they end in ``$``) or directly after.

Written for texts that people write in Chinese and English: searches, titles, comments.
"""

from __future__ import annotations

import re

_LABEL_ENDS = r"[\s:：,，#(（]*$"


def _before(*words: str, ends: str = _LABEL_ENDS) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(words)}){ends}", re.IGNORECASE)


# A telephone's, whatever digits follow.
CALLED = _before(
    "电话",
    "電話",
    "(?:电话|電話|手机|手機)号码?",
    "手机[:：]",
    "座机|座機|热线|熱線|传真|致电|拨打?|来电|号码",
    "联系(?:方式|电话|我|人)?",
    r"\b(?:tel|telephone|phone|ph|ring|dial|fax|whats ?app|cell|mobile|hotline|landline)",
    r"\bcall(?: (?:us|me|now|today))?(?: (?:on|at))?",
    r"\btext (?:me|us)(?: (?:on|at))?",
    r"\bcontact us(?: today| now)?(?: (?:on|at))?",
    r"\b(?:phone|mobile|cell|contact) (?:no|number)(?: is)?",
    ends=rf"[.。]?(?:号码|号|是|为)?{_LABEL_ENDS}",
)
# A telephone's, if it looks like one.
LIKELY_CALLED = _before(
    "手机|手機|微信号?|同号|打|加我?|vx|wx|v信",
    r"\b(?:text|contact|sms|number is|telegram|signal|[tpm](?=[.:]))",
    ends=r"[\s:：,，.(（]*$",
)
CALLED_AFTER = re.compile(
    r"[\s,，;；(（]*(?:微信|微|vx|wx|v信|同号|联系|短信|打我|电话|\b(?:call|text|whats ?app|telegram|sms)\b)",
    re.IGNORECASE,
)
EXTENSION = re.compile(r" ?(?:转接?|轉|分机|-|,? ?(?:ext|extension)\.?|x) ?\d{1,5}(?!\d)")
MESSENGER = _before("qq|扣扣", ends=r"(?:号码?|號)?[\s:：]*$")  # a person's; a group's number is 群号
CARD = _before(
    "卡号?", "账号|账户|帐号", r"\b(?:card|account|visa|amex|jcb)", ends=rf"(?: (?:no|number))?[.]?{_LABEL_ENDS}"
)
IDENTITY = _before(
    "身份证|身份證|证件|证号", r"\bid", ends=rf"(?:号码?|號碼?| ?(?:no|number))?[.]?(?:是|为)?{_LABEL_ENDS}"
)

# An order's, a product's, a group's.
NOT_A_PERSONS = _before(
    "订单|单号|运单|面单|货号|款号|批号|编号|型号|条码|条形码|序列号|流水号",
    "兑换码|验证码|群号?|会议号?|会议 ?ID|代码|准字",
    r"\b(?:isbn|issn|ean|upc|sku|asin|imei|order|tracking|invoice|ticket|serial|model|item|part|ref|case|set|population)"
    r"(?: (?:no|nr|number|id|code))?",
    ends=r"[.号]?(?:是|为)?[\s:：#-]*$",
)
AMOUNT = re.compile(
    r" ?(?:[元円]|万|亿|块钱|美元|人次|次(?!日)|件|吨|公里|米|毫|%|％|°"
    r"|(?:mm|cm|km|kg|mg|ml|mAh|rpm|MB|GB|views|steps)\b)"
)
CURRENCIES = "¥￥$€£#"
ADDRESS = re.compile(r"(?:://|www\.|\.[a-z]{2,6}[/:?])[!-~]*$", re.IGNORECASE)  # of a page, up to the number
DATE = re.compile(
    r"(?:19|20)\d\d\D(?:0?[1-9]|1[0-2])\D(?:[0-2]?\d|3[01])|(?:[0-2]?\d|3[01])\D(?:[0-2]?\d|3[01])\D(?:19|20)\d\d"
)
