"""The check of an adapter's text lets through what adapters need, and knows what they use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters import HEAD, body

from healspan.remediation.adapter import MODULES, read_text
from healspan.remediation.boundary import Boundary
from healspan.remediation.cli.steps import step_words
from healspan.remediation.diagnosis import assess
from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import RiskLevel
from healspan.remediation.step import AdapterStep, in_words


@pytest.mark.parametrize(
    "text",
    [
        '"""What it is for."""\nimport re\n' + body("return re.sub('a', 'b', arguments['text'])"),
        body("def inner(x):", "    return x + 1", "return [inner(one) for one in arguments['rows']]"),
        body("class Line:", "    def __init__(self, x):", "        self.x = x", "return Line(1).x"),
        body("try:", "    return call()", "except ValueError:", "    return None"),
        body("match arguments:", "    case {'text': str() as text, **rest}:", "        return text", "return None"),
        body("return '{0:>5} {name}'.format(1, name='a_b')"),
        "from datetime import date as d\n" + body("return d(2024, 1, 1)"),
        *("import " + name + "\n" + body("return 1") for name in sorted(MODULES)),
    ],
)
def test_what_adapters_need_passes(text: str) -> None:
    read_text(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (body("return 1"), set()),
        (body("return call()"), {"call"}),
        (body("f = call", "return f()"), {"call"}),
        (body("return [strategy(one) for one in 'ab']"), {"strategy"}),
        (body("return repair('number', 'float', '1')"), {"repair"}),
        (body("return arguments['call']"), set()),
    ],
)
def test_what_it_asks_of_its_host_is_known(text: str, names: set[str]) -> None:
    assert read_text(text).host_names == names
    assert read_text(text).calls is ("call" in names)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_passes_or_is_refused_in_words(text: str) -> None:
    for whole in (text, HEAD + "    " + text):
        try:
            read_text(whole)
        except InvalidFix as refusal:
            assert str(refusal).startswith("adapter")  # noqa: PT017 - nothing else may be raised


def test_a_step_says_what_it_is() -> None:
    step = AdapterStep(text=body("return call(text=strategy('other'))"), arguments=("text",), strategies=("other",))
    assert in_words(step) == "adapter of 2 lines"
    words = step_words(step)
    assert words.startswith("run in the sandbox, with text; the call itself; strategy 'other':\n")
    assert step.text.rstrip() in words


def test_an_adapter_is_of_medium_risk() -> None:
    risk, words = assess(AdapterStep(text=body("return 1")), Boundary("m", None, "app:read", has_checks=True))
    assert risk is RiskLevel.MEDIUM
    assert words
