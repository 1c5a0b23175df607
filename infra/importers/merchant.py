"""Google Merchant product feeds as ads: tab-separated text, and RSS 2.0 or Atom with the ``g:`` namespace.

Attributes and formats as in Google's product data specification (support.google.com/merchants/answer/7052112). A
product that is out of stock, for adults, or whose time is over is left out, with the reason. XML is read as a stream,
without document types and entities of its own.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.importers.converting import LeftOut, Row, Source
from infra.importers.mapping import FileFormat
from infra.importers.tables import BadRow, TableError, TableRow, columns_of, read_table, text_of
from infra.importers.values import text_of as cell_text
from shared.domain import Rejection
from shared.preprocess.fields import Refused, shown

if TYPE_CHECKING:
    # The type alone: what parses is defusedxml.
    from xml.etree.ElementTree import Element  # nosec B405

_SPACE = "{http://base.google.com/ns/1.0}"
_ITEMS = {"item", "{http://www.w3.org/2005/Atom}entry"}
_PRICE = re.compile(r"([0-9][0-9.,\u00a0 ]*?)\s*([A-Z]{3})|([A-Z]{3})\s*([0-9][0-9.,\u00a0 ]*)")
_CHINESE = re.compile("[\u3400-\u9fff]")
_STOCK = {"in_stock": None, "preorder": "preorder", "backorder": "backorder"}
_FACTS = ("color", "size", "material", "pattern", "gender", "age_group", "energy_efficiency_class")
_NAMES = {"color": "colour"}  # as the sample's ads have it


def is_merchant_feed(path: Path) -> bool:
    """Whether the file looks like a feed: XML, or text with Google's columns."""
    if path.name.lower().removesuffix(".gz").endswith(".xml"):
        return True
    try:
        return {"id", "title", "link", "availability"} <= {_name(column) for column in columns_of(path)}
    except TableError:
        return False


def merchant_source(
    path: Path, *, domain: str = "ecommerce", language: str | None = None, now: float | None = None
) -> Source:
    """The feed's products as rows of ads; of XML each with its number in the feed instead of a line.

    language: of the ads; None: zh where the title has Chinese characters, else en. now: epoch seconds, against which
    dates are held.

    Raises:
        TableError: the file is none that can be read; a broken one ends so behind its last whole product.
    """
    at = time.time() if now is None else now
    for line, product in _products(path):
        if isinstance(product, BadRow):
            yield Rejection(line, "row", product.reason)
            continue
        try:
            yield _ad(line, product, domain, language, at)
        except Refused as refused:
            yield Rejection(line, refused.field, refused.reason)


def _products(path: Path) -> Iterator[tuple[int, Mapping[str, str] | BadRow]]:
    if path.name.lower().removesuffix(".gz").endswith(".xml"):
        yield from _xml(path)
        return
    for row in read_table(path, FileFormat()):
        if isinstance(row, TableRow):
            yield row.line, {_name(column): cell_text(value) for column, value in row.values.items()}
        else:
            yield row.line, row


def _name(column: str) -> str:
    """``image link`` and ``g:image_link`` are both image_link."""
    return column.strip().lower().removeprefix("g:").replace(" ", "_")


def _xml(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    number = 0
    above: list[Element] = []
    try:
        with text_of(path, _declared(path)) as text:
            text.reconfigure(newline=None)
            for event, element in iterparse(_Characters(text), events=("start", "end"), forbid_dtd=True):
                if event == "start":
                    above.append(element)
                    continue
                above.pop()
                if element.tag in _ITEMS:
                    number += 1
                    yield number, _product(element)
                    for one in above:  # what was read is let go, or memory would grow with the feed
                        one.clear()
    except ParseError as error:
        raise TableError(f"{path.name} is broken behind product {number}: {error}") from None
    except DefusedXmlException as error:
        raise TableError(f"{path.name} declares a document type or entities, which is refused: {error}") from None
    except (ValueError, LookupError) as error:  # of the encoding
        raise TableError(f"{path.name}: {error}") from None
    if not number:
        raise TableError(f"{path.name} holds no product: neither an <item> nor an Atom <entry>")


def _declared(path: Path) -> str | None:
    """The encoding that the XML declaration names; None: to be recognised."""
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(0)
        first = (gzip.GzipFile(fileobj=file) if head == b"\x1f\x8b" else file).read(200)
    match = re.match(rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]*\sencoding\s*=\s*["']([\w.-]+)["']""", first)
    return match[1].decode() if match else None


class _Characters:
    """A text as a parser reads it, without the declaration: it is decoded already."""

    def __init__(self, text: Any) -> None:
        self._text = text
        self._first = True

    def read(self, size: int = -1) -> str:
        piece: str = self._text.read(size)
        if self._first:
            self._first = False
            piece = re.sub(r"^\s*<\?xml[^>]*\?>", "", piece)
        return piece


def _product(item: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in item:
        tag = str(child.tag)
        name = _name(tag.removeprefix(_SPACE).rpartition("}")[2])
        text = (child.text or child.get("href") or "").strip()
        if text and (tag.startswith(_SPACE) or name not in found):  # g:title is more than the page's title
            found[name] = text
    if "summary" in found:
        found.setdefault("description", found["summary"])
    return found


def _ad(line: int, product: Mapping[str, str], domain: str, language: str | None, now: float) -> Row | LeftOut:
    get = product.get
    stock = re.sub(r"[\s-]+", "_", (get("availability") or "in_stock").lower())
    if stock not in _STOCK:
        return LeftOut(line, "out of stock" if stock == "out_of_stock" else f"availability is {stock[:40]}")
    if (get("adult") or "no").lower() in ("yes", "true"):
        return LeftOut(line, "for adults")
    end = _moment(get("expiration_date"), "expiration_date")
    if end is not None and end <= now:
        return LeftOut(line, "its expiration_date is over")
    title = get("structured_title") or get("title") or ""
    ad: dict[str, Any] = {
        "ad_id": get("id"),
        "title": title,
        "description": get("description"),
        "landing_url": get("link"),
        "image_url": get("image_link"),
        "brand": get("brand"),
        "language": language or ("zh" if _CHINESE.search(title) else "en"),
        "domain": domain,
        "end": end,
        "attributes": _attributes(product, stock, now),
    }
    return Row(line, {name: value for name, value in ad.items() if value not in (None, "", {})})


def _attributes(product: Mapping[str, str], stock: str, now: float) -> dict[str, str | float]:
    facts: dict[str, str | float] = {}
    price, currency = _price(product.get("price"), "price")
    reduced, reduced_currency = _price(product.get("sale_price"), "sale_price")
    if reduced is not None and _holds(product.get("sale_price_effective_date"), now):
        if price is not None and reduced < price and currency == reduced_currency:
            facts["original_price"] = price
        price, currency = reduced, reduced_currency
    if price is not None:
        facts |= {"price": price, "currency": currency}
    if _STOCK.get(stock):
        facts["availability"] = stock
    condition = (product.get("condition") or "new").lower()
    if condition != "new":
        facts["condition"] = condition
    kind = product.get("product_type") or product.get("google_product_category") or ""
    if kind and not kind.isdigit():
        facts["category"] = kind.split(",")[0].strip()
    for name in _FACTS:
        if value := product.get(name):
            facts[_NAMES.get(name, name)] = value
    return facts


def _price(text: str | None, field: str) -> tuple[float | None, str]:
    """Amount and currency of ``15.00 USD``."""
    if not text:
        return None, ""
    match = _PRICE.fullmatch(text.strip().upper())
    if match is None:
        raise Refused(field, f"{field} must be an amount and a currency such as 15.00 USD.")
    amount = re.sub(r"[\u00a0 ]", "", match[1] or match[4])
    if re.search(r",\d{2}$", amount):  # 1.299,00
        amount = amount.replace(".", "").replace(",", ".")
    try:
        found = Decimal(amount.replace(",", ""))
    except InvalidOperation:
        raise Refused(field, f"{field} must be an amount and a currency such as 15.00 USD.") from None
    return int(found) if found == found.to_integral_value() else float(found), match[2] or match[3]


def _holds(span: str | None, now: float) -> bool:
    """Whether a sale's span of time (``start/end``) is now; one without a span always is."""
    if not span:
        return True
    start, _, end = (part.strip() for part in span.partition("/"))
    begins, ends = _moment(start, "sale_price_effective_date"), _moment(end, "sale_price_effective_date")
    return (begins is None or begins <= now) and (ends is None or now < ends)


def _moment(text: str | None, field: str) -> float | None:
    """Epoch seconds of an ISO 8601 time, which Google writes without its seconds."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(field, f"{field} must be an ISO 8601 time, not {shown(text)}.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
