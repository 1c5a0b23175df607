"""Telephone, identity, card and account numbers in a text whose digits are ASCII (`shared.preprocess.contact`).

A run of digits and what people put between them is cut into its groups, and every window of neighbouring groups is
judged, the longest first: by checksum and date (resident ids of GB 11643), by Luhn and the network's prefix (cards,
ISO/IEC 7812), and as a telephone's.
"""

from __future__ import annotations

import re

from shared.preprocess.contact import words
from shared.preprocess.contact.telephones import end_of, is_announced, is_telephone
from shared.preprocess.contact.windows import Window, letter, runs, windows

Span = tuple[int, int, str]

# The first two digits of a resident id. The districts that python-stdnum lists lack many that ids in use have.
_PROVINCES = frozenset(
    map(
        str,
        [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82],
    )
)
_NETWORKS = (
    (re.compile(r"4"), (16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 19)),  # JCB
    (re.compile(r"9558"), (19,)),  # of Chinese banks, before UnionPay
    (re.compile(r"220[0-4]"), (16,)),  # Mir
)  # fmt: skip


def find(text: str) -> list[Span]:
    """Places ``[start, end)`` of the numbers and their kinds, in order."""
    found: list[Span] = []
    for run, groups in runs(text):
        place = 0
        while place < len(groups):
            span = _first(text, run, groups, place)
            if span is None:
                place += 1
                continue
            found.append(span)
            while place < len(groups) and groups[place][0] < span[1]:
                place += 1
    return found


def is_iban(text: str) -> bool:
    """Whether it is an account number of ISO 13616, by its length and checksum."""
    from stdnum import iban

    return bool(iban.is_valid(text, check_country=False))


def _first(text: str, run: re.Match[str], groups: list[tuple[int, int]], place: int) -> Span | None:
    """The number that begins with the group at `place`: the longest that is certain, else the longest that is said."""
    candidates = windows(text, run, groups, place)
    for window in candidates:
        end = _identity(window) or _card(window) or _messenger(window)
        if end is not None:
            return window.start, end[0], end[1]
        if is_telephone(window):
            return window.start, end_of(window), "[phone]"
    for window in candidates:
        if is_announced(window):
            return window.start, end_of(window), "[phone]"
    return None


def _identity(window: Window) -> tuple[int, str] | None:
    """A resident id of 18 characters or of the 15 before 1999, or a US social security number."""
    digits, end = window.digits, window.end
    if len(digits) == 17 and window.text[end : end + 1] in ("X", "x"):
        digits, end = digits + "X", end + 1
    said = window.announced(words.IDENTITY)
    if not said and (letter(window.before[-1:]) or letter(window.text[end : end + 1])):
        return None
    if window.joints.strip(" -"):
        return None
    if len(digits) == 18:
        return (end, "[id]") if _resident(digits, said) else None
    if len(digits) == 15 and (said or (window.shape == (15,) and not window.announced(words.NOT_A_PERSONS))):
        return (end, "[id]") if _resident(f"{digits[:6]}19{digits[6:]}", checked=True) else None
    if window.shape == (3, 2, 4) and window.joints == "--":
        from stdnum.us import ssn

        return (end, "[id]") if ssn.is_valid(digits) else None
    return None


def _resident(digits: str, checked: bool) -> bool:
    """Whether province, birth date and checksum fit. checked: the last need not be looked at."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    if digits[:2] not in _PROVINCES or digits[6:8] not in ("18", "19", "20"):
        return False
    try:
        ric.get_birth_date(digits)
    except ValidationError:
        return False
    return checked or bool(ric.calc_check_digit(digits) == digits[-1])


def _card(window: Window) -> tuple[int, str] | None:
    """A payment card's number."""
    digits, shape = window.digits, window.shape
    if len(digits) < 13 or window.glued or window.joints.strip(" -.") or not digits.strip(digits[0]):
        return None
    if "." in window.joints and shape != (4, 4, 4, 4):
        return None
    from stdnum import luhn

    fours = all(size == 4 for size in shape[:-1]) and shape[-1] <= 4
    usual = len(shape) == 1 or fours or shape in ((4, 6, 5), (4, 6, 4), (6, 13), (6, 10), (8, 8))
    if not usual or not luhn.is_valid(digits):
        return None
    said = window.announced(words.CARD)
    if not said and (window.announced(words.NOT_A_PERSONS) or window.announced(words.ADDRESS) or len(digits) < 15):
        return None
    known = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _NETWORKS)
    return (window.end, "[card]") if said or known else None


def _messenger(window: Window) -> tuple[int, str] | None:
    """A number of QQ, where it is called one."""
    said = len(window.shape) == 1 and len(window.digits) <= 11 and window.announced(words.MESSENGER)
    return (window.end, "[account]") if said else None
