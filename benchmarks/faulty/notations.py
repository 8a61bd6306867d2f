"""How producers really write names, numbers, days and JSON; a comment says where each is met."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import date
from typing import Any

__all__ = [
    "DAYS",
    "INVISIBLE",
    "JSON",
    "LABELS",
    "NEGATIVE",
    "NUMBERS",
    "RESTYLED",
    "SURE_DAYS",
    "pascal",
    "trailing_comma",
]

# Names


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


RESTYLED: tuple[Callable[[str], str], ...] = (
    snake,  # Python and Ruby services behind the same interface
    pascal,  # .NET serialisers, by default
    str.upper,  # Oracle and Snowflake give column names in capitals
    str.lower,  # PostgreSQL folds unquoted names
    lambda name: snake(name).replace("_", "-"),  # Lisp and HTTP styles
    lambda name: snake(name).replace("_", " ").capitalize(),  # headings of spreadsheets
)
INVISIBLE = (
    "\ufeff{}",  # the first heading of a CSV file that Excel saved as UTF-8
    "{} ",  # headings padded by hand
    "{}\u00a0",  # copied from a web page
    "{}\u200b",  # likewise, from a page that marks where it may be broken
)
LABELS: tuple[Callable[[str], str], ...] = (
    str.upper,  # older filings print captions in capitals
    str.title,
    lambda label: f"{label}:",
    lambda label: label.replace(" ", "  ", 1),  # two spaces, from justified text
    lambda label: label.replace(" ", "\u00a0"),  # so that the label is not broken over lines
    lambda label: f"{label} (Note 3)",  # references to the notes follow the caption
)


# Numbers


def _grouped(value: int, mark: str) -> str:
    return f"{value:,}".replace(",", mark)


_FULL_WIDTH = {ord(","): "，", **{48 + digit: chr(0xFF10 + digit) for digit in range(10)}}
NUMBERS: dict[str, Callable[[int], str]] = {
    "grouped": lambda v: _grouped(v, ","),  # most exports "as displayed"
    "dollars": lambda v: f"${v:,}",  # spreadsheets with a currency format
    "dollars and cents": lambda v: f"$ {v:,}.00",
    "code": lambda v: f"USD {v:,}",  # ISO 4217, in banks' files
    "accounting": lambda v: f"({v:,})",  # negative, in every American filing
    "typeset minus": lambda v: f"\u2212{v:,}",  # U+2212, what typesetters and web pages print
    "hard space": lambda v: _grouped(v, "\u00a0"),  # French and Nordic Excel
    "thin space": lambda v: _grouped(v, "\u202f"),  # French since CLDR 34
    "apostrophe": lambda v: _grouped(v, "'"),  # Switzerland
    "continental": lambda v: f"{_grouped(v, '.')},00",  # Germany, Italy, Brazil; two marks say which is which
    "full width": lambda v: f"{v:,}".translate(_FULL_WIDTH),  # Japanese input methods
    "zero width": lambda v: f"\u200b{v}",  # copied from a filing: the corpus has them
    "footnote": lambda v: f"{v:,}*",
    "trailing minus": lambda v: f"{v:,}-",  # SAP and COBOL exports
}
NEGATIVE = ("accounting", "typeset minus", "trailing minus")


# Days


DAYS: dict[str, Callable[[date], str]] = {
    "filing cover": lambda d: f"{d:%B} {d.day}, {d.year}",  # what a 10-K says on its first page
    "short month": lambda d: f"{d.day} {d:%b} {d.year}",
    "dashes": lambda d: f"{d:%d-%b-%Y}",  # Oracle's default, with four digits
    "slashes": lambda d: f"{d:%Y/%m/%d}",  # Japan; many programs
    "American": lambda d: f"{d:%m/%d/%Y}",
    "German": lambda d: f"{d:%d.%m.%Y}",
}
SURE_DAYS = ("filing cover", "short month", "dashes", "slashes")


# JSON


def trailing_comma(text: str, chance: random.Random) -> str:
    places = [found.start() for found in re.finditer(r"(?<=[\d\"}\]])[}\]]", text)]
    places = [place for place in places if not _in_string(text, place)]
    place = chance.choice(places)
    return f"{text[:place]},{text[place:]}"


def _in_string(text: str, place: int) -> bool:
    return bool(len(re.findall(r'(?<!\\)(?:\\\\)*"', text[:place])) % 2)


JSON: dict[str, Callable[[dict[str, Any], random.Random], str]] = {
    # Templates and people.
    "trailing comma": lambda value, chance: trailing_comma(json.dumps(value), chance),
    # str(dict) instead of json.dumps: the commonest bug of a Python producer.
    "Python literal": lambda value, _: str(value),
    "comments": lambda value, _: f"// generated, do not edit\n{json.dumps(value, indent=2)}",
    # Chat models and documentation generators.
    "fence": lambda value, _: f"```json\n{json.dumps(value, indent=1)}\n```",
    # A BOM that the transport's decoding left in the text.
    "byte order mark": lambda value, _: f"\ufeff{json.dumps(value)}",
    # JSON put together with string formatting: line breaks arrive as they are.
    "raw line break": lambda value, _: json.dumps(value).replace(". ", ".\n", 1),
}
