"""Finds a key that was renamed, for ``record["userName"]`` where the record now says ``user_name``.

What counts as the same name is told by `names`. The owners are built-in mappings, whose keys can be read without
running code of anybody's; the environment; and, where the application has loaded pandas, the columns of a data frame
and the labels of a series.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import OrderedDict, defaultdict
from types import MappingProxyType

from healspan.remediation.repairers.contract import EITHER, Failure, Repaired, exact_text, within
from healspan.remediation.repairers.names import MAX_LENGTH, MAX_NAMES, MAX_TEXT, NameParameters, chosen

__all__ = ["RenamedKeyParameters", "RenamedKeyRepairer", "is_miss", "text_keys"]


class RenamedKeyParameters(NameParameters):
    """Which other names of the key a human knows, and how similar a misspelt one must be."""


class RenamedKeyRepairer:
    """Gives a subscript of a mapping the one present key that means the missing one."""

    name = "renamed_key"
    summary = "use the one key that is the same name written otherwise"
    domain = "`mapping[key]` of built-in mappings, `os.environ`, pandas frames and series, raising `KeyError`"
    losses = EITHER
    library = "rapidfuzz"
    parameters = RenamedKeyParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a subscript raised KeyError itself, not a subclass with a meaning of its own."""
        return kind == "subscript" and type(error) is KeyError

    def repair(self, failure: Failure) -> Repaired | None:
        """Return a key of the mapping, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not RenamedKeyParameters:
            return None
        asked, keys = exact_text(failure.argument, MAX_LENGTH), text_keys(failure.target)
        if asked is None or keys is None or asked in keys or not is_miss(failure.error, asked):
            return None
        found = chosen(asked, keys, parameters)
        return None if found is None else within(parameters, *found)


def is_miss(error: BaseException, asked: str) -> bool:
    """Whether the error names the key that was asked for, as the mapping's own does."""
    return len(error.args) == 1 and exact_text(error.args[0], MAX_LENGTH) == asked


def text_keys(target: object) -> frozenset[str] | None:
    """Return the text keys of a mapping without running code of its keys, or None to decline."""
    if type(target) is MappingProxyType:
        # A view may be of a user's mapping; the collector knows of what, without asking it.
        target = next(iter(gc.get_referents(target)), None)
    if type(target) is defaultdict:
        if target.default_factory is not None:
            return None
    elif target is os.environ:
        target = dict(os.environ)
    elif type(target) is not dict and type(target) is not OrderedDict:
        target = _labels(target)
        if target is None:
            return None
    if len(target) > MAX_NAMES:
        return None
    try:
        keys = list(target)
    except RuntimeError:  # another thread is changing it
        return None
    texts = [key for key in keys if type(key) is str]
    # A key of a text type of its own could be meant, and its hash and equality are its own code.
    if any(type(key) is not str and issubclass(type(key), str) for key in keys):
        return None
    short = frozenset(text for text in texts if len(text) <= MAX_LENGTH)
    return short if sum(map(len, short)) <= MAX_TEXT else None


def _labels(target: object) -> dict[object, None] | None:
    """Return the columns of a data frame, or the labels of a series, if each is there once."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    if type(target) is getattr(pandas, "DataFrame", None):
        index = target.columns  # type: ignore[attr-defined]
    elif type(target) is getattr(pandas, "Series", None):
        index = target.index  # type: ignore[attr-defined]
    else:
        return None
    if type(index) is not pandas.Index or len(index) > MAX_NAMES or not index.is_unique:
        return None
    return dict.fromkeys(index)
