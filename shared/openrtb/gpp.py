"""The Global Privacy Platform's string (`regs.gpp`): where its sections are, and what those of the US forbid.

IAB Tech Lab, "Global Privacy Platform: Consent String Specification" (the header) and the technical specification of
each section. No small library for Python keeps up with the sections, so they are read here, against vectors of IAB's
own encoder (`infra/tools/gpp-vectors`).

The string is ``header~section~section…``: URL-safe base64 each, but for the US Privacy section, which is plain. The
header says which sections there are, in the order of their ids. Sections of the US begin with a core segment, 6 bits of
version and then fields of two bits: 0 does not apply, 1 opted out, 2 did not. A segment of type 1 behind it has the
browser's Global Privacy Control.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

TCF_EU, US_PRIVACY = 2, 6
_ALPHABET = f"{ascii_uppercase}{ascii_lowercase}{digits}-_"  # of URL-safe base64 (RFC 4648, section 5)
_HEADER = "000011"  # the type of the header, 6 bits
_VERSION_BITS, _RANGES_BITS = 6, 12
_MOST_SECTIONS = 64
_PERMITTED = (0, 2)
_GPC = "011"  # type 1 in two bits, and the control itself

# By section the first bits of SaleOptOut, SharingOptOut and TargetedAdvertisingOptOut, as far as it has them: behind as
# many notices, and in the sections of 2025 and after behind two fields on the agreement (MSPA).
_OPT_OUTS: dict[int, tuple[int, ...]] = {
    7: (18, 20, 22),  # national
    8: (12, 14),  # California: sale, sharing
    11: (14, 16),  # Utah
    18: (14, 16),  # Iowa
    # Virginia, Colorado, Connecticut, Florida, Montana, Oregon, Texas, Delaware, Nebraska, New Hampshire, New Jersey,
    # Tennessee, Minnesota: sale, targeted advertising
    **dict.fromkeys((9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23), (12, 14)),
    **dict.fromkeys((24, 25, 26, 27), (16, 18)),  # Maryland, Indiana, Kentucky, Rhode Island
}


def sections_of(gpp: str) -> dict[int, str]:
    """The string's sections by id.

    Raises:
        ValueError: it is no such string, or its header names other sections than it has.
    """
    header, *parts = gpp.split("~")
    ids = _ids(bits(header))
    if len(ids) != len(parts):
        raise ValueError(f"the header names {len(ids)} sections, and there are {len(parts)}")
    return dict(zip(ids, parts, strict=True))


def is_of_us(section: int) -> bool:
    """Whether `permits` can read the section: the national one's or a state's."""
    return section in _OPT_OUTS


def permits(section: int, text: str) -> bool:
    """Whether nobody opted out of sale, sharing or targeted advertising in this section of the US, by choice or by
    Global Privacy Control. Not where it cannot be read."""
    try:
        core, *others = map(bits, text.split("."))
    except ValueError:
        return False
    places = _OPT_OUTS[section]
    if len(core) < places[-1] + 2 or any(other.startswith(_GPC) for other in others):
        return False
    return all(int(core[place : place + 2], 2) in _PERMITTED for place in places)


def bits(text: str) -> str:
    """URL-safe base64 as a text of 0 and 1. Raises ValueError where it is none."""
    places = [_ALPHABET.find(letter) for letter in text]
    if -1 in places:
        raise ValueError("no URL-safe base64")
    return "".join(f"{place:06b}" for place in places)


def _ids(header: str) -> list[int]:
    """The section ids of a header: ranges of Fibonacci-coded distances, each ended by two ones in a row."""
    if not header.startswith(_HEADER) or len(header) < len(_HEADER) + _VERSION_BITS + _RANGES_BITS:
        raise ValueError("no header of a GPP string")
    place = len(_HEADER) + _VERSION_BITS
    ranges = int(header[place : place + _RANGES_BITS], 2)
    place += _RANGES_BITS
    ids: list[int] = []
    last = 0
    for _ in range(ranges):
        spread, place = header[place : place + 1] == "1", place + 1
        distance, place = _fibonacci(header, place)
        first = last = last + distance
        if spread:
            distance, place = _fibonacci(header, place)
            last += distance
        if last - first + len(ids) >= _MOST_SECTIONS:
            raise ValueError("the header names more sections than there are")
        ids += range(first, last + 1)
    return ids


def _fibonacci(text: str, place: int) -> tuple[int, int]:
    """The number that is coded from this place on, and the place behind it."""
    end = text.find("11", place)
    if end < 0:
        raise ValueError("a number without an end")
    value, one, two = 0, 1, 2
    for digit in text[place : end + 1]:
        value += one * (digit == "1")
        one, two = two, one + two
    return value, end + 2
