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
_CHINESE_DIGITS = dict(zip("零〇一幺壹二两三四五六七八九", "00111223456789", strict=True))
_BETWEEN = " \u00a0\\-‐‑‒–—―－_.．·•~()（）\u20e3"  # what people put between the digits of a number
_DIGIT = rf"[\d{_OTHER_DIGITS}]"
_SPOKEN = rf"[\d{''.join(_CHINESE_DIGITS)}]"
_SUSPECT = re.compile(
    rf"[@＠]|{_DIGIT}(?:[{_BETWEEN}]{{0,3}}{_DIGIT}){{6}}|{_SPOKEN}{{11}}|艾特|[\[({{]at[\])}}]| dot "
    r"|(?-i:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2})",
    re.IGNORECASE,
)
_LOCAL = r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_+-])?"
_LABEL = r"[A-Za-z0-9\u4e00-\u9fff](?:[A-Za-z0-9\u4e00-\u9fff-]{0,61}[A-Za-z0-9\u4e00-\u9fff])?"
_TOP = r"(?:[a-z]{2,24}|[A-Z]{2,24}|xn--[a-z0-9-]{2,59}|中国|公司|网络|手机)(?![A-Za-z0-9])"
_EMAILS = (
    re.compile(rf"{_LOCAL} ?@ ?(?:{_LABEL}\.){{1,8}}{_TOP}"),
    re.compile(
        rf"{_LOCAL} ?(?:艾特|[\[({{] ?(?i:at) ?[\])}}]) ?(?:{_LABEL}(?:\.| ?[\[({{] ?(?i:dot) ?[\])}}] ?)){{1,8}}{_TOP}"
    ),
    re.compile(rf"{_LOCAL} at (?:{_LABEL} dot ){{1,4}}{_TOP}"),
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_FOREIGN_DIGIT = re.compile(rf"(?![0-9]){_DIGIT}")
_SIGNS = {ord(wide): chr(ord(wide) - 0xFEE0) for wide in "＠＋－．（）＿＃："}
_SIGNS |= {ord(dash): "-" for dash in "‐‑‒–—―"}
_SIGNS |= dict.fromkeys((0xA0, 0x3000, 0x20E3), " ")  # the last draws a key around a digit
_PERSONAL = re.compile(r"@|(?<![0-9A-Za-z])(?:1[3-9][0-9]{9}|[1-8][0-9]{16}[0-9Xx])(?![0-9A-Za-z])")
_SPOKEN_MOBILE = re.compile(rf"(?<!{_SPOKEN}){_SPOKEN}{{11}}(?!{_SPOKEN})")


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
    """Whether an id is made of an e-mail address, or of what is a Chinese mobile's or resident id's number.

    Less than `mask` looks for: ids are full of digits, and only those that nothing else has by chance may count.
    """
    return _PERSONAL.search(identifier) is not None and mask(identifier) != identifier


def _once(text: str) -> str:
    from shared.preprocess.contact import numbers, telephones

    plain = _plain(text)
    spans = [(*match.span(), EMAIL) for pattern in _EMAILS for match in pattern.finditer(plain)]
    spans += [(*match.span(), ACCOUNT) for match in _IBAN.finditer(plain) if numbers.is_iban(match[0])]
    for match in _SPOKEN_MOBILE.finditer(plain):
        digits = "".join(_CHINESE_DIGITS.get(character, character) for character in match[0])
        if not match[0].isdigit() and telephones.is_chinese_mobile(digits):
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
