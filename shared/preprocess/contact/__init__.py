"""Contact data of a person in free text: e-mail addresses, telephone, identity and card numbers, replaced by `KINDS`.

What counts as a telephone number: any that can be dialled as it stands, whoever it belongs to (a shop's hotline too,
for a text does not say whose it is), and one without its area code where a word such as 电话 or "call" announces it.
Service codes (110, 12315, 95588), ids of groups, and numbers announced as an order's, a parcel's or a product's stay.

Numbers are judged by the rules of libphonenumber and python-stdnum (`numbers`, `telephones`) and the words around them;
the expressions here only find what to judge. A text without an ``@`` and without seven digits that could be one number
is returned at once, and loads none of those libraries.
"""

from __future__ import annotations

import re
import unicodedata

EMAIL, PHONE, ID, CARD, ACCOUNT = KINDS = ("[email]", "[phone]", "[id]", "[card]", "[account]")
LONGEST = 64  # characters that one of them may have: what is cut off a text before it is masked is more than that

# Digits of any script, in circles, brackets, above and below the line.
_OTHER_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉①②③④⑤⑥⑦⑧⑨⓪❶❷❸❹❺❻❼❽❾⑴⑵⑶⑷⑸⑹⑺⑻⑼"
_CHINESE_DIGITS = dict(
    zip("零〇一幺壹二两贰貳三叁參四肆五伍六陆陸七柒八捌九玖", "0011122223334455666778899", strict=True)
)
_BETWEEN = " \u00a0\\-‐‑‒–—―－_.．·•~()（）\u20e3"  # what people put between the digits of a number
_DIGIT = rf"[\d{_OTHER_DIGITS}]"
_SPOKEN = rf"[\d{''.join(_CHINESE_DIGITS)}]"
_SPOKEN_MOBILE = rf"{_SPOKEN}{{3}}[ ,，、.·\-—]?{_SPOKEN}{{4}}[ ,，、.·\-—]?{_SPOKEN}{{4}}"
_ODD_MOBILE = r"1[3-9]\d([/*,，、|])\d{4}[/*,，、|]\d{4}"
_MAILERS = (
    "gmail|googlemail|outlook|hotmail|live|yahoo|icloud|qq|foxmail|163|126|sina|sohu|aol|gmx|protonmail|yandex|mail"
)
_SUSPECT = re.compile(
    rf"[@＠]|{_DIGIT}(?:[{_BETWEEN}]{{0,3}}{_DIGIT}){{6}}|{_SPOKEN_MOBILE}|{_ODD_MOBILE}|艾特|[\[({{]at[\])}}]| dot "
    rf"| at (?:{_MAILERS})\.|(?-i:[A-Z]{{2}}\d{{2}}(?: ?[A-Z0-9]{{4}}){{2}})",
    re.IGNORECASE,
)
# Letters of the alphabets that addresses are written in (RFC 6531): Latin with all its marks, Greek, Cyrillic.
_LETTER = r"A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u052f"
_LOCAL = rf"(?<![{_LETTER}._%+'-])[{_LETTER}_](?:[{_LETTER}._%+'-]{{0,62}}[{_LETTER}_+-])?"
_QUOTED = r'"[^"@]{1,62}"'
_LABEL = rf"[{_LETTER}\u4e00-\u9fff](?:[{_LETTER}\u4e00-\u9fff-]{{0,61}}[{_LETTER}\u4e00-\u9fff])?"
_TOP = (
    r"(?:xn--[a-z0-9-]{2,59}|[a-z]{2,24}|[A-Z]{2,24}|中国|中國|公司|网络|手机|网址|商城|香港|台湾|台灣"
    rf"|рф|рус|москва|онлайн|укр|срб|бг|ελ)(?![{_LETTER}])"
)
_SPELT_HOST = rf"(?:{_LABEL}(?:\.| ?[\[({{] ?(?i:dot) ?[\])}}] ?)){{1,8}}{_TOP}"
_USUAL_TOP = r"(?:com|cn|net|org|edu|gov|info|de|uk|fr|ru|jp|hk|tw)(?![A-Za-z0-9])"
# What is no name before "at gmail.com".
_NO_NAME = (
    "look|sign|signed|log|logged|login|in|up|on|out|account|accounts|email|emails|mail|mails|address|inbox|work|works"
    "|working|worked|team|users|user|people|see|seen|available|me|us|him|her|them|it|that|this|here|is|are|be|was|now"
    "|free|visit|page|site|register|registered|back|only|buy|shop|and|or|anyone|someone|host|hosted|arrive|aim|stare|happened"
)
# Each with what a text has to hold for it, in small letters.
_EMAILS = (
    ("@", re.compile(rf"(?:{_LOCAL}|{_QUOTED}) ?@ ?(?:{_LABEL}[.。｡]){{1,8}}{_TOP}")),
    (
        "@",
        re.compile(
            r"[\u4e00-\u9fff]{1,4}@(?:[\u4e00-\u9fff]{1,15}\.){1,3}(?:中国|中國|公司|网络|网址)(?![\u4e00-\u9fff])"
        ),
    ),
    ("@", re.compile(rf"{_LOCAL} ?@ ?(?:{_LABEL} ?[.。｡] ?){{1,4}}{_USUAL_TOP}")),
    ("艾特", re.compile(rf"{_LOCAL} ?艾特 ?{_SPELT_HOST}")),
    ("at", re.compile(rf"{_LOCAL} ?[\[({{] ?(?i:at) ?[\])}}] ?{_SPELT_HOST}")),
    (" dot ", re.compile(rf"{_LOCAL} (?:at|AT) (?:{_LABEL} (?:dot|DOT) ){{1,4}}{_TOP}")),
    (
        " at ",
        re.compile(rf"(?i:(?!(?:{_NO_NAME}) ){_LOCAL} at (?:{_MAILERS})(?:\.[a-z]{{2,4}}){{1,2}})(?![A-Za-z0-9])"),
    ),
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_FOREIGN_DIGIT = re.compile(rf"(?![0-9]){_DIGIT}")
_SIGNS = {ord(wide): chr(ord(wide) - 0xFEE0) for wide in "＠＋－．（）＿＃："}
_SIGNS |= {ord(dash): "-" for dash in "‐‑‒–—―"}
_SIGNS |= dict.fromkeys((0xA0, 0x3000, 0x20E3), " ")  # the last draws a key around a digit
_JOINT = r"[-\s._/]?"
# What an id may be made of: an address, a mobile's number or one with a +, a resident id's, a card's.
_PERSONAL = re.compile(
    rf"[@＠]|\+ ?[0-9]{{2}}|(?<![0-9A-Za-z])(?:(?:(?:00)?86{_JOINT})?1[3-9][0-9]{_JOINT}[0-9]{{4}}{_JOINT}[0-9]{{4}}"
    rf"|[1-8][0-9]{{5}}{_JOINT}[0-9]{{8}}{_JOINT}[0-9]{{3}}[0-9Xx]"
    rf"|(?:[3-689][0-9]|2[2-7])[0-9]{{2}}{_JOINT}[0-9]{{4}}[0-9]*{_JOINT}[0-9]{{2,4}}[0-9]*{_JOINT}[0-9]{{2,7}})(?![0-9A-Za-z])"
)
_MOBILES = (
    re.compile(rf"(?<!{_SPOKEN}){_SPOKEN_MOBILE}(?!{_SPOKEN})"),
    re.compile(r"(?<![\d/*])1[3-9]\d([/*,，、|])\d{4}\1\d{4}(?![\d/*])"),
)


def mask(text: str) -> str:
    """The text with every e-mail address, telephone, identity, card and account number replaced by its kind, such as
    ``[phone]``; ``mask(mask(x)) == mask(x)``, and what holds none comes back as it is.

    text: as `shared.preprocess.text.clean_text` returns it, though any other will do.
    """
    while _SUSPECT.search(text):
        masked = _once(text)
        if masked == text:
            break
        text = masked  # what a number hid from its neighbour may show now; each pass leaves fewer digits
    return text


def named_after(identifier: str) -> bool:
    """Whether an id is made of an e-mail address, or of a mobile's, a resident id's or a card's number.

    Less than `mask` looks for, and quicker. Of ids that are nothing but digits some are taken for such a number by
    chance: one in 17 of eleven digits, in 37 of sixteen, in 400 of nineteen.
    """
    return _PERSONAL.search(identifier) is not None and mask(identifier) != identifier


def _once(text: str) -> str:
    from shared.preprocess.contact import numbers, telephones

    plain = _plain(text)
    small = plain.lower()
    spans = [(*match.span(), EMAIL) for sign, pattern in _EMAILS if sign in small for match in pattern.finditer(plain)]
    spans += [(*match.span(), ACCOUNT) for match in _IBAN.finditer(plain) if numbers.is_iban(match[0])]
    for match in (match for pattern in _MOBILES for match in pattern.finditer(plain)):
        digits = "".join(_CHINESE_DIGITS.get(one, one) for one in match[0] if one.isdigit() or one in _CHINESE_DIGITS)
        spoken = any(one in _CHINESE_DIGITS for one in match[0])
        if (spoken or match.re is _MOBILES[1]) and telephones.is_chinese_mobile(digits):
            spans.append((*match.span(), PHONE))
    for start, end, _ in spans:  # an address before a number is not the page that it belongs to
        plain = plain[:start] + "\n" * (end - start) + plain[end:]
    spans += numbers.find(plain)
    pieces: list[str] = []
    done = 0
    for start, end, kind in sorted(spans):
        if start >= done:
            pieces += [text[done:start], kind]
            done = end
    return "".join((*pieces, text[done:]))


def _plain(text: str) -> str:
    """The text, character for character, with the digits and signs of numbers and addresses as ASCII has them."""
    if text.isascii():
        return text
    return _FOREIGN_DIGIT.sub(lambda match: str(unicodedata.digit(match[0])), text).translate(_SIGNS)
