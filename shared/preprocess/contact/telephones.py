"""Telephone numbers: libphonenumber's metadata, how the digits are grouped, and the words around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.preprocess.contact import words
from shared.preprocess.contact.windows import GROUP, Window

if TYPE_CHECKING:
    import phonenumbers

_MOBILE_GROUPS = {(11,), (3, 4, 4), (3, 8), (7, 4)}
_HYPHENED_MOBILE_GROUPS = {(4, 3, 4), (4, 4, 3), (3, 3, 5), (3, 5, 3), (5, 6), (6, 5), (3, 2, 2, 2, 2), (3, 2, 3, 3)}
_HOTLINE_GROUPS = {(3, 3, 4), (3, 4, 3), (4, 3, 3), (3, 7), (4, 6)}
_ABROAD = ("GB", "AU", "JP", "KR", "TW", "IN", "IE", "NZ", "MY", "TH", "VN", "ID", "PH", "IT", "ES", "NL", "FR", "DE")


def is_telephone(window: Window) -> bool:
    """Whether it is a telephone number by itself, or looks like one and is likely to be meant as one."""
    if len(window.digits) > 15 or (len(window.digits) < 9 and not window.plus) or not _may_ring(window):
        return False
    beside = window.announced(words.CALLED) or window.announced(words.LIKELY_CALLED)
    likely = beside or words.CALLED_AFTER.match(window.text, window.end) is not None
    if window.glued and not likely:
        return False
    if window.plus and _possible(f"+{window.digits}"):
        return True
    if window.digits.startswith("00") and len(window.digits) > 9 and _valid(f"+{window.digits[2:]}", None):
        return True
    return _chinese(window, likely) or _american(window, likely) or _abroad(window, likely)


def is_announced(window: Window) -> bool:
    """Whether a word directly before announces a telephone number, whatever the plan of numbers says about it."""
    digits, shape = window.digits, window.shape
    if not window.announced(words.CALLED) or not _may_ring(window) or len(digits) > (15 if window.plus else 12):
        return False
    if len(shape) == 2:  # 1500-2000, 2010-2015
        low, high = (int(part) for part in (digits[: shape[0]], digits[shape[0] :]))
        if low < high and ((low % 50 == 0 and high % 50 == 0) or (low >= 1900 and high <= 2100)):
            return False
    return not digits.endswith("00000")


def end_of(window: Window) -> int:
    """Where the number ends, its extension included."""
    extension = words.EXTENSION.match(window.text, window.end)
    return extension.end() if extension else window.end


def is_chinese_mobile(digits: str) -> bool:
    """Whether eleven digits are a mobile telephone's number in mainland China."""
    import phonenumbers

    number = _parsed(digits, "CN") if len(digits) == 11 and digits[0] == "1" else None
    return number is not None and phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE


def _may_ring(window: Window) -> bool:
    """Whether nothing around it says that it is an amount, a date, an order, part of a page's address."""
    return not (
        window.announced(words.NOT_A_PERSONS)
        or window.before.rstrip()[-1:] in tuple(words.CURRENCIES)
        or words.AMOUNT.match(window.text, window.end)
        or (window.announced(words.ADDRESS) and not window.plus)
        or words.DATE.fullmatch(window.text[window.start : window.end])
    )


def _chinese(window: Window, likely: bool) -> bool:
    import phonenumbers

    digits, shape = window.digits, window.shape
    prefix, mobile = digits[:-11], digits[-11:]
    if prefix in ("", "0", "86", "086", "0086") and is_chinese_mobile(mobile):
        rest = shape[1:] if shape[0] == len(prefix) else (shape[0] - len(prefix), *shape[1:])
        usual = rest in _MOBILE_GROUPS or (window.hyphened and rest in _HYPHENED_MOBILE_GROUPS)
        return usual or likely or (window.alone and set(rest) == {1})
    if len(digits) < 10:
        return False
    number = _parsed(digits, "CN")
    if number is None or not phonenumbers.is_valid_number(number):
        return False
    if digits[0] == "0" or digits.startswith("86"):
        national = shape[1:] if digits.startswith("86") else shape
        return len(shape) == 1 or likely or national in ((3, 8), (4, 7), (4, 8), (3, 4, 4), (4, 4, 4), (4, 3, 4))
    hotline = digits[:3] in ("400", "800") and len(digits) == 10
    return hotline and (len(shape) == 1 or (shape in _HOTLINE_GROUPS and (likely or window.hyphened)))


def _american(window: Window, likely: bool) -> bool:
    """Of the North American plan: in its usual groups, or announced."""
    shape = window.shape[1:] if window.digits.startswith("1") and window.shape[0] == 1 else window.shape
    national = window.digits[1:] if len(window.digits) == 11 and window.digits[0] == "1" else window.digits
    usual = (
        shape in ((3, 3, 4), (3, 7))
        and window.hyphened
        and (shape == (3, 3, 4) or "(" in window.text[window.start : window.end])
    )
    return len(national) == 10 and (usual or likely) and _valid(national, "US")


def _abroad(window: Window, likely: bool) -> bool:
    """Of another country, with the 0 that its national numbers begin with: grouped as they are there, or announced."""
    import phonenumbers

    digits, shape = window.digits, window.shape
    free = digits[:4] in ("1300", "1800") and shape == (4, 3, 3)  # in Australia, whoever calls
    if not 9 <= len(digits) <= 12 or (digits[0] != "0" and not likely and not free):
        return False
    british = shape == (11,) or shape in ((5, 6), (5, 3, 3), (3, 4, 4), (4, 3, 4), (5, 5))
    if british and _valid(digits, "GB"):
        return True
    # Pairs of digits are a lottery's numbers.
    if not likely and (not 2 <= len(shape) <= 4 or not 2 <= shape[0] <= 5 or set(shape) == {2}):
        return False
    for region in _ABROAD:
        number = _parsed(digits, region)
        if number is None or not phonenumbers.is_valid_number(number):
            continue
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        if likely or tuple(map(len, GROUP.findall(written))) == shape:
            return True
    return False


def _parsed(digits: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    import phonenumbers

    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


def _valid(digits: str, region: str | None) -> bool:
    import phonenumbers

    number = _parsed(digits, region)
    return number is not None and bool(phonenumbers.is_valid_number(number))


def _possible(digits: str) -> bool:
    import phonenumbers

    number = _parsed(digits, None)
    return number is not None and bool(phonenumbers.is_possible_number(number))
