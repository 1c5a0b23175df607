"""The Global Privacy Platform's string (`regs.gpp`): where its sections are, and what those of the US forbid.

IAB Tech Lab, "Global Privacy Platform: Consent String Specification" (the header) and the technical specification of
each section. No small library for Python keeps up with the sections, so they are read here, against vectors of IAB's
own encoder (`infra/tools/gpp-vectors`).

The string is ``header~section~section…``: URL-safe base64 each, but for the US Privacy section, which is plain. The
header says which sections there are, in the order of their ids. Sections of the US begin with a core segment, 6 bits of
version and then fields of two bits. A segment of type 1 behind it has the browser's Global Privacy Control.

What a section of the US comes to is what Prebid's controls for the Multi-State Privacy Agreement (MSPA) make of it: it
permits personalised ads where nobody opted out, every notice that this needs was given, and no service provider mode
forbids what is not done for the publisher alone. A known child is a child, whoever consented for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits

TCF_EU, US_PRIVACY = 2, 6
_ALPHABET = f"{ascii_uppercase}{ascii_lowercase}{digits}-_"  # of URL-safe base64 (RFC 4648, section 5)
_HEADER = "000011"  # the type of the header, 6 bits
_VERSION_BITS, _RANGES_BITS = 6, 12
_MOST_SECTIONS = 64
_GPC = "011"  # type 1 in two bits, and the control itself

# Fields of two bits, by a letter each: the values that permit, where there are any. `k` is a known child's.
_PERMITTED = {
    "n": ("00", "01"),  # a notice: 2 was not given
    "o": ("00", "10"),  # an opt-out: 1 opted out
    "s": ("00", "10"),  # MspaServiceProviderMode: 1 is on
    "m": ("00", "01"),  # MspaMode: 2 is service provider mode
}
_CHILD = "k"
_MODES = "..s"  # MspaCoveredTransaction, MspaOptOutOptionMode, MspaServiceProviderMode
_STATE = f"nnnoo{'.' * 8}"  # three notices, opt-outs of sale and of targeted advertising, eight sensitive kinds of data

# By section and version the fields behind the version, in their order. A dot is one that says nothing of advertising.
_FIELDS: dict[tuple[int, int], str] = {
    (7, 1): f"nnnn..ooo{'.' * 12}kk.{_MODES}",  # national
    (7, 2): f"nnnn..ooo{'.' * 16}kkk.{_MODES}",
    (8, 1): f"nn.oo{'.' * 9}kk.{_MODES}",  # California: sale, sharing
    (9, 1): f"{_STATE}k{_MODES}",  # Virginia
    (10, 1): f"nnnoo{'.' * 7}k{_MODES}",  # Colorado
    (11, 1): f"nnn.oo{'.' * 8}k{_MODES}",  # Utah
    (12, 1): f"{_STATE}kkk{_MODES}",  # Connecticut
    (13, 1): f"{_STATE}kkk.{_MODES}",  # Florida
    (14, 1): f"{_STATE}kkk.{_MODES}",  # Montana
    (15, 1): f"nnnoo{'.' * 11}kkk.{_MODES}",  # Oregon
    (16, 1): f"{_STATE}k.{_MODES}",  # Texas
    (17, 1): f"nnnoo{'.' * 9}kkkkk.{_MODES}",  # Delaware
    (18, 1): f"nnn.oo{'.' * 8}k{_MODES}",  # Iowa
    (19, 1): f"{_STATE}k.{_MODES}",  # Nebraska
    (20, 1): f"{_STATE}kkk.{_MODES}",  # New Hampshire
    (21, 1): f"nnnoo{'.' * 10}kkkkk.{_MODES}",  # New Jersey
    (22, 1): f"{_STATE}k.{_MODES}",  # Tennessee
    (23, 1): f"{_STATE}k.{_MODES}",  # Minnesota
}
# Those of 2025 begin with the version of the MSPA, whatever it is, and have its fields first.
_FIELDS_OF_MSPA: dict[int, str] = {
    24: ".mnnnoo.",  # Maryland
    **dict.fromkeys((25, 26, 27), ".mnnnook."),  # Indiana, Kentucky, Rhode Island; the sensitive kinds last
}
_OF_US = frozenset(section for section, _ in _FIELDS) | _FIELDS_OF_MSPA.keys()


@dataclass(frozen=True, slots=True)
class Choices:
    """permits: personalised ads. child: a known one, of under 18 years."""

    permits: bool
    child: bool


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
    """Whether `choices_of` can read the section: the national one's or a state's."""
    return section in _OF_US


def choices_of(section: int, text: str) -> Choices | None:
    """What was chosen in this section of the US; None where it cannot be read."""
    try:
        core, *others = map(bits, text.split("."))
    except ValueError:
        return None
    version = int(core[:_VERSION_BITS] or "0", 2)
    fields = _FIELDS_OF_MSPA.get(section) or _FIELDS.get((section, version))
    if fields is None or len(core) < _VERSION_BITS + 2 * len(fields):
        return None
    pairs = [(kind, core[_VERSION_BITS + 2 * place :][:2]) for place, kind in enumerate(fields)]
    permits = all(value in _PERMITTED[kind] for kind, value in pairs if kind in _PERMITTED)
    child = any(value != "00" for kind, value in pairs if kind == _CHILD)
    return Choices(permits and not any(other.startswith(_GPC) for other in others), child)


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
