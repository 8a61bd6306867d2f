"""Looks at the keys of a mapping without running code of theirs: shared by the repairers of keys."""

from __future__ import annotations

import gc
import os
import sys
from collections import OrderedDict, defaultdict
from types import MappingProxyType
from typing import Any

from healspan.remediation.repairers.contract import Failure, exact_text
from healspan.remediation.repairers.names import MAX_LENGTH, MAX_NAMES, MAX_TEXT

__all__ = ["key_named", "missed_key", "text_keys"]


def missed_key(failure: Failure, limit: int = MAX_LENGTH) -> str | None:
    """Return the text key that a subscript was asked for if its error names that one, as the mapping's own does.

    Args:
        failure: of a subscript.
        limit: characters that a key may have.
    """
    asked = exact_text(failure.argument, limit)
    return asked if asked is not None and key_named(failure.error, limit) == asked else None


def key_named(error: BaseException, limit: int = MAX_LENGTH) -> str | None:
    """Return the text key that a KeyError names; a subclass has a meaning of its own."""
    return exact_text(error.args[0], limit) if type(error) is KeyError and len(error.args) == 1 else None


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


def _labels(target: Any) -> dict[object, None] | None:
    """Return the columns of a data frame, or the labels of a series, if each is there once."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    if type(target) is getattr(pandas, "DataFrame", None):
        index = target.columns
    elif type(target) is getattr(pandas, "Series", None):
        index = target.index
    else:
        return None
    if type(index) is not pandas.Index or len(index) > MAX_NAMES or not index.is_unique:
        return None
    return dict.fromkeys(index)
