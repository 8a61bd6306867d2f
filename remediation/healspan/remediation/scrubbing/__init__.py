"""Scrubbing: no secret leaves the process, not to the store, a prompt, a log or an export.

`keys` judges names as they are seen (`seen`), `rules` (with `checks`) find secrets by their form, `pairs` finds names
with values inside text, `entries` beside values in data, and `scrubber` puts them together.
"""

from healspan.remediation.scrubbing.contexts import CleanContexts
from healspan.remediation.scrubbing.entries import name_of
from healspan.remediation.scrubbing.keys import KeyVerdict, judge_key
from healspan.remediation.scrubbing.scrubber import (
    FAILED,
    MAX_TEXT,
    RULE_NAMES,
    Finding,
    Scrubber,
    ScrubSession,
    marker,
)

__all__ = [
    "FAILED",
    "MAX_TEXT",
    "RULE_NAMES",
    "CleanContexts",
    "Finding",
    "KeyVerdict",
    "ScrubSession",
    "Scrubber",
    "judge_key",
    "marker",
    "name_of",
]
