"""Text from outside as people are shown it, by the command line and by the console."""

from __future__ import annotations

import pytest

from healspan.dashboards.parts import code_of, plain
from healspan.remediation.cli.output import clean
from healspan.remediation.incident import Frame
from healspan.remediation.shown import shown

OBEYED = ["\x1b[2J", "\x9b2J", "\x07", "\u202ereject", "\u2066", "\u200f", "\u061c", "\x7f"]


@pytest.mark.parametrize("text", OBEYED)
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    frame = Frame.model_construct(module="m", function="f", line=1, source_line=f"x{text}", expression=None)
    for said in (shown(text), clean(text), plain(text), code_of((frame,))):
        assert text[0] not in said


def test_what_people_write_stays_as_it_is() -> None:
    text = "naïve – ½ «שלום» 名前\n\tx"
    assert shown(text) == text
