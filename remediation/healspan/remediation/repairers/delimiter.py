"""Parts a row that was read with the wrong delimiter, for ``row["amount"]`` where row is ``{"id;amount": "7;12"}``.

Such a row has one column, whose name is the whole header. It is read with another delimiter only if header and row
have the same number of fields with it, at least two, and with no other, and if one of the fields is the one that was
asked for. Then it is another notation of the same row. Only rows of `csv.DictReader` carry their header along, so
``line.split(",")[1]`` declines: one line alone does not show what parts it.

Declines also: a row that the wrong delimiter has already cut (``1;3,5`` read with commas); names that are not there
once each; quotation marks, as nobody can tell which of them the first reading has taken away; line breaks.
"""

from __future__ import annotations

from healspan.remediation.repairers.contract import Failure, Loss, Repaired, RepairerParameters, within
from healspan.remediation.repairers.keys import missed_key

__all__ = ["DelimiterParameters", "DelimiterRepairer"]

MAX_LENGTH = 1 << 16
MAX_FIELDS = 1_000
_DELIMITERS = ",;\t|"
_NOT_PLAIN = '"\n\r'


class DelimiterParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class DelimiterRepairer:
    """Gives a subscript of a row that is one field the row as its header parts it."""

    name = "delimiter"
    summary = "part the row with the delimiter of its header"
    domain = "`row[name]` of `csv.DictReader` raising `KeyError`"
    losses = (Loss.NONE,)
    library = ""
    parameters = DelimiterParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a subscript missed a key."""
        return kind == "subscript" and type(error) is KeyError and len(error.args) == 1

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the name, and the row with all its fields, or None."""
        parameters, row = failure.parameters, failure.target
        if not self.applies(failure.kind, failure.error) or type(parameters) is not DelimiterParameters:
            return None
        asked = missed_key(failure)
        if asked is None or type(row) is not dict:
            return None
        try:
            [(header, values)] = row.items()
        except (ValueError, RuntimeError):  # not one column; or another thread is changing it
            return None
        if type(header) is not str or type(values) is not str or max(len(header), len(values)) > MAX_LENGTH:
            return None
        if any(each in header or each in values for each in _NOT_PLAIN):
            return None
        found = [parted for each in _DELIMITERS if (parted := _parted(header, values, each)) is not None]
        if len(found) != 1 or asked not in found[0]:
            return None
        return within(parameters, asked, Loss.NONE, found[0])


def _parted(header: str, values: str, delimiter: str) -> dict[str, str] | None:
    """Return the row by the names of its header if both have as many fields, and more than one."""
    names, fields = header.split(delimiter), values.split(delimiter)
    if not 2 <= len(names) == len(fields) <= MAX_FIELDS or len(set(names)) != len(names) or "" in names:
        return None
    return dict(zip(names, fields, strict=True))
