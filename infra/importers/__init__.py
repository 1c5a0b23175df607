"""Bring your own data: files as other systems write them, turned into AdTailor's uploads of events and ads.

A mapping (`mapping`) says which column becomes which field and how; `guess` writes one to begin with. CSV, Parquet and
JSON Lines are read as tables (`tables`), Google Merchant product feeds as they are (`merchant`). `converting` checks
each row by the very rules of the product, writes what is good, and reports the rest by line.
"""

from infra.importers.converting import Report, Source, convert, mapped_source
from infra.importers.guess import guess
from infra.importers.mapping import FIELDS, FileFormat, Mapping, MappingError, load_mapping
from infra.importers.merchant import is_merchant_feed, merchant_source
from infra.importers.tables import BadRow, TableError, TableRow, read_table

__all__ = [
    "FIELDS",
    "BadRow",
    "FileFormat",
    "Mapping",
    "MappingError",
    "Report",
    "Source",
    "TableError",
    "TableRow",
    "convert",
    "guess",
    "is_merchant_feed",
    "load_mapping",
    "mapped_source",
    "merchant_source",
    "read_table",
]
